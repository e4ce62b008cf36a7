"""A few windows with what was hidden, what the model says and what the best baseline says: for the eye."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brainlm.baselines.predictor import Predictor
from brainlm.data.recording import recording_name
from brainlm.data.shards import KEY_COLUMNS
from brainlm.evaluation.masking import MaskedWindows
from brainlm.files import write_arrays
from brainlm.model.masks import Mask

EXAMPLES_FILE = "examples.npz"
NUM_WINDOWS = 3  # of each condition shown, evenly spaced over the recordings
SHOWN = (Mask("random", 0.75), Mask("future", 1), Mask("future", 2))


@torch.no_grad()
def write_examples(
    path: Path,
    model: Predictor,
    baselines: Sequence[Predictor],
    windows: MaskedWindows,
    results: Mapping[str, Any],
) -> None:
    """Write windows, masks and predictions of the conditions in ``SHOWN`` that were evaluated.

    Args:
        path: the .npz to write.
        model: what was judged.
        baselines: of these, the one that ``results`` found best in a condition is shown beside the model.
        windows: that were evaluated on; evenly spaced ones are shown, not chosen ones.
        results: of ``evaluate_reconstruction``.
    """
    few = copy.copy(windows.thinned(NUM_WINDOWS))
    few.batch_size = NUM_WINDOWS
    metadata = windows.windows.store.metadata
    by_name = {baseline.name: baseline for baseline in baselines}
    columns: dict[str, list[np.ndarray]] = {}  # by name of the array in the file
    for entry in results["conditions"]:
        mask = Mask(entry["mask"], entry["amount"])
        if mask not in SHOWN or entry["best_baseline"] is None:
            continue
        (batch,) = few.batches(mask)
        rows = metadata.iloc[batch.recording_B.tolist()]
        parts = {
            "signal": batch.signal_BPT.masked_fill(~batch.valid_BPT, torch.nan),
            "hidden": batch.hidden_BPT,
            "predicted": model.predict(batch),
            "baseline": by_name[entry["best_baseline"]].predict(batch),
        }
        values = {name: value.cpu().numpy() for name, value in parts.items()}
        values["names"] = np.array([recording_name(*map(str, key)) for key in rows[list(KEY_COLUMNS)].to_numpy()])
        values["condition"] = np.full(len(rows), mask.label)
        values["tr"] = rows["tr"].to_numpy(np.float64)
        values["baseline_name"] = np.full(len(rows), entry["best_baseline"])
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    if columns:
        arrays: dict[str, Any] = {name: np.concatenate(pieces) for name, pieces in columns.items()}
        write_arrays(path, arrays)
