"""Where a model comes from, as plain JSON: data, split, program, machine, settings and figures."""

from __future__ import annotations

import dataclasses
import datetime
import platform
from collections.abc import Mapping, Set
from statistics import median_low
from typing import Any

import lightning
import numpy as np
import torch

import brainlm
from brainlm.data.store import Store
from brainlm.data.windows import Windows
from brainlm.inference.disclosure import HASHED, PLAIN, public_provenance, training_record
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.training.config import TrainingConfig


def provenance(
    store: Store,
    network: MaskedAutoencoder,
    training: TrainingConfig,
    *,
    command: str,
    preset: str,
    figures: Mapping[str, float],
    step: int,
    windows_per_step: int,
    seconds: float,
    windows: Windows,
    validation: Windows | None,
) -> dict[str, Any]:
    """The record that a checkpoint carries.

    Args:
        store: the whole store, with all its splits.
        network: what was trained.
        training: how.
        command: as typed.
        preset: that the network started from.
        figures: of the last validation.
        step: optimiser steps done.
        windows_per_step: seen in training, on all devices together.
        seconds: of training, interruptions left out.
        windows: of the training recordings; those without any were not seen.
        validation: the same for those that chose the model.
    """
    return {
        "program": f"brainlm {brainlm.__version__}",
        "command": command,
        "preset": preset,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "num_parameters": network.num_parameters,
        "step": step,
        "num_windows": step * windows_per_step,
        "windows_per_step": windows_per_step,
        "wall_time_s": round(seconds, 1),
        "metrics": dict(figures),
        "data": describe_data(store, windows, validation),
        "scaler": training.scaler,
        "seed": training.seed,
        "model": dataclasses.asdict(network.config),
        "training": dataclasses.asdict(training),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
        },
        "device": device_name(network.device),
    }


def describe_data(store: Store, windows: Windows, validation: Windows | None) -> dict[str, Any]:
    """What the model saw: names, numbers and checksums of the store, and whose recordings it was trained on."""
    table = store.metadata
    train = windows.store.take(windows.recordings)
    chose = None if validation is None else validation.store.take(validation.recordings)
    chosen_by = () if chose is None else chose.metadata["subject"]
    fingerprints = (*train.fingerprints, *(() if chose is None else chose.fingerprints))
    return {
        "store": store.path.name,
        "fingerprint": store.fingerprint,
        "atlas": store.manifest.atlas,
        "num_parcels": store.num_parcels,
        "source": dict(store.manifest.source),
        "split": dict(store.manifest.split),
        "num_recordings": {str(k): int(v) for k, v in table["split"].value_counts().sort_index().items()},
        "num_subjects": {str(k): int(v) for k, v in table.groupby("split")["subject"].nunique().items()},
        "tr_s": sorted({float(tr) for tr in train.metadata["tr"]}),
        "usual_tr_s": median_low(float(tr) for tr in train.metadata["tr"]),  # one that recordings have, not between two
        **training_record(train.metadata["subject"], chosen_by, fingerprints),
        "exclusions": [*store.manifest.exclusions, *(dataclasses.asdict(failure) for failure in windows.excluded)],
    }


def with_finetuning(
    provenance: Mapping[str, Any], store: Store, subjects: Set[str], *, taught: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of a model that was trained further: whom it has now seen as well, and what it was taught.

    Args:
        provenance: of the model before.
        store: that it was taught on.
        subjects: whom it has seen of it, those who decided when to stop included.
        taught: what, and how; stands under ``finetuned`` beside the store and its subjects.
    """
    data = dict(provenance.get("data", {}))
    if PLAIN in data:
        data[PLAIN] = sorted(subjects | set(data[PLAIN]))
    elif HASHED in data:
        alike = public_provenance({"data": {PLAIN: sorted(subjects), "fingerprint": data[HASHED]["salt"]}})
        hashes = set(data[HASHED]["hashes"]).union(alike["data"][HASHED]["hashes"])
        data[HASHED] = {**data[HASHED], "hashes": sorted(hashes)}
    recordings = store.take(np.flatnonzero(store.metadata["subject"].isin(subjects)))
    taught = {
        **taught,
        "store": store.path.name,
        "url": store.manifest.source.get("url", ""),
        "fingerprint": store.fingerprint,
        "num_subjects": len(subjects),
        **training_record(subjects, (), recordings.fingerprints),
    }
    return {**provenance, "data": data, "finetuned": taught}


def device_name(device: torch.device) -> str:
    """The device's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
