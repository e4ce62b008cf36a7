"""Reads results.json of studies of functional networks into the objects of ``network_study.py``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.evaluation.statistics import Interval
from brainlm.files import damaged, read_json
from brainlm.report.evaluation_file import number_or_nan, optional_interval
from brainlm.report.network_study import CLUSTERING, GROUPS, SCORES, NetworkMethod, NetworkStudy, NullScores
from brainlm.report.reading import natural_key, result_file

FORMAT_VERSION = 1
# Any number of them, one a column of labels.
NETWORK_STUDIES = ("networks/*/results.json", "`brainlm networks RUN STORE --labels COLUMN` writes it")


def read_network_studies(run: Path) -> tuple[NetworkStudy, ...]:
    """Every study of networks of a RUN folder, by the names of their folders.

    Raises:
        DataError: a damaged file, which it names.
    """
    pattern, remedy = NETWORK_STUDIES
    studies = []
    for path in sorted(run.glob(pattern), key=lambda path: natural_key(path.parent.name)):
        about = result_file(path, remedy)
        with damaged(path, **about):
            studies.append(read_network_study(read_json(path, **about), path.parent.name))
    return tuple(studies)


def read_network_study(content: Mapping[str, Any], folder: str) -> NetworkStudy:
    """The study in the parsed ``results.json`` of ``folder`` (its name only).

    Raises:
        ValueError: another format version or group than this program knows, or lists of different lengths. KeyError: a
        field is missing.
    """
    _require_known(content)
    networks = {str(entry["name"]): int(entry["num_parcels"]) for entry in content["networks"]}
    methods = [_method(entry, len(networks)) for entry in content["methods"]]
    order = list(GROUPS)
    parcels = content["parcels"]
    true_P = _names(parcels["true"], len(parcels["true"]))
    return NetworkStudy(
        folder=folder,
        labels=str(content["labels"]),
        networks=networks,
        num_parcels=int(content["num_parcels"]),
        num_missing=int(content.get("num_missing") or 0),
        num_pairs=content.get("num_pairs"),
        num_subjects=content.get("num_subjects"),
        num_recordings=content.get("num_recordings"),
        facts=dict(content.get("facts") or {}),
        settings=dict(content.get("settings") or {}),
        # Stable: methods without a score keep their order, at the end of their group.
        methods=tuple(sorted(methods, key=lambda method: (order.index(method.group), -_rank(method)))),
        main=content.get("main"),
        best_baseline=content.get("best_baseline"),
        difference=optional_interval(content.get("difference")),
        true_P=true_P,
        predicted={str(n): _names(row, len(true_P)) for n, row in (parcels.get("predicted") or {}).items() if row},
        share_right={str(n): _shares(row, len(true_P)) for n, row in (parcels.get("share_right") or {}).items() if row},
        surrogates=str((content.get("surrogates") or {}).get("sentence") or ""),
        conclusion=str(content.get("conclusion") or ""),
        notes=tuple(str(note) for note in content.get("notes") or ()),
    )


def _require_known(content: Mapping[str, Any]) -> None:
    if content["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {content['format_version']}, this program reads {FORMAT_VERSION}")
    for entry in content["methods"]:
        if entry["group"] not in GROUPS:
            raise ValueError(f"method {entry['name']!r} of group {entry['group']!r}, known are {', '.join(GROUPS)}")


def _rank(method: NetworkMethod) -> float:
    score = method.scores.get("accuracy")
    return -math.inf if score is None or not math.isfinite(score.value) else score.value


def _method(entry: Mapping[str, Any], num_networks: int) -> NetworkMethod:
    return NetworkMethod(
        name=str(entry["name"]),
        group=str(entry["group"]),
        k=_told(entry.get("k")),
        metric=_told(entry.get("metric")),
        scores=_intervals(entry["scores"], tuple(SCORES)),
        by_subjects=_intervals(entry.get("by_subjects"), tuple(SCORES)),
        clustering=_intervals(entry.get("clustering"), tuple(CLUSTERING)),
        confusion_CC=_confusion(entry.get("confusion"), num_networks),
        minus_best_baseline=optional_interval(entry.get("minus_best_baseline")),
        null=_null(entry.get("null")),
        seconds=number_or_nan(entry.get("seconds")),
    )


def _told(value: object) -> str:
    """What was chosen, in one fold or in several."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(dict.fromkeys(str(entry) for entry in value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({count})" for name, count in value.items())
    return "" if value is None else str(value)


def _intervals(entries: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Interval]:
    found = {name: (entries or {}).get(name) for name in names}
    return {name: Interval.read(entry) for name, entry in found.items() if entry is not None}


def _confusion(
    rows: Sequence[Sequence[float | int | None]] | None, num_networks: int
) -> Float[np.ndarray, "C C"] | None:
    if not rows:
        return None
    found = np.array([[number_or_nan(value) for value in row] for row in rows], dtype=np.float64)
    if found.shape != (num_networks, num_networks):
        raise ValueError(f"a confusion matrix of shape {found.shape} for {num_networks} networks")
    total = np.nansum(found, axis=1, keepdims=True)
    return np.where(total > 0, found / np.where(total > 0, total, 1.0), np.nan)


def _null(entry: Mapping[str, Any] | None) -> NullScores | None:
    if entry is None:
        return None
    names = [field.name for field in fields(NullScores)]
    return NullScores(**{name: number_or_nan(entry.get(name)) for name in names})


def _names(values: Sequence[object], num_parcels: int) -> tuple[str | None, ...]:
    if len(values) != num_parcels:
        raise ValueError(f"the networks of {len(values)} parcels beside those of {num_parcels}")
    return tuple(None if value is None else str(value) for value in values)


def _shares(values: Sequence[float | int | None], num_parcels: int) -> Float[np.ndarray, "P"]:
    if len(values) != num_parcels:
        raise ValueError(f"shares of {len(values)} parcels beside the networks of {num_parcels}")
    return np.array([number_or_nan(value) for value in values], dtype=np.float64)
