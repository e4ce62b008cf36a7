"""Reads results.json of studies of attention into the objects of ``attention_study.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.evaluation.statistics import Interval
from brainlm.files import damaged, read_json
from brainlm.report.attention_study import (
    AttentionContrast,
    AttentionStudy,
    Confound,
    DeletionCurves,
    LagCurves,
    NetworkAttention,
)
from brainlm.report.evaluation_file import number_or_nan, optional_interval
from brainlm.report.reading import natural_key, result_file

FORMAT_VERSION = 1
# Any number of them, one a choice of layer, head and contrast.
ATTENTION_STUDIES = ("attention/*/results.json", "`brainlm attention RUN STORE` writes it")
CURVES = ("most", "random", "least")
LAGS = ("same_parcel", "same_network", "other_network")
SANITY = ("amplitude_r", "connectivity_r", "silent_r", "attribution_r", "consistency")
DELETIONS = ("embedding", "reconstruction", "insertion")


def read_attention_studies(run: Path) -> tuple[AttentionStudy, ...]:
    """Every study of attention of a RUN folder, by the names of their folders.

    Raises:
        DataError: a damaged file, which it names.
    """
    pattern, remedy = ATTENTION_STUDIES
    studies = []
    for path in sorted(run.glob(pattern), key=lambda path: natural_key(path.parent.name)):
        about = result_file(path, remedy)
        with damaged(path, **about):
            studies.append(read_attention_study(read_json(path, **about), path.parent.name))
    return tuple(studies)


def read_attention_study(content: Mapping[str, Any], folder: str) -> AttentionStudy:
    """The study in the parsed ``results.json`` of ``folder`` (its name only).

    Raises:
        ValueError: another format version than this program knows, or lists of different lengths. KeyError: a field is
        missing.
    """
    if content["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {content['format_version']}, this program reads {FORMAT_VERSION}")
    parcels = content["parcels"]
    attention_P = _numbers(parcels["attention"])
    num_parcels = len(attention_P)
    maps = {
        name: _optional_map(parcels.get(name), num_parcels)
        for name in ("low", "high", "rollout", "attribution", "patch")
    }
    sanity = content.get("sanity") or {}
    deletion = sanity.get("deletion") or {}
    return AttentionStudy(
        folder=folder,
        what=str(content["what"]),
        uniform=float(content["uniform"]),
        facts=dict(content.get("facts") or {}),
        settings=dict(content.get("settings") or {}),
        num_subjects=content.get("num_subjects"),
        num_recordings=content.get("num_recordings"),
        attention_P=attention_P,
        **{f"{name}_P": values for name, values in maps.items()},
        heads_LHP=_heads(content.get("heads"), num_parcels),
        lags=_lags(content.get("lags")),
        networks=tuple(_network(entry) for entry in content.get("networks") or ()),
        sanity={name: found for name in SANITY if (found := optional_interval(sanity.get(name))) is not None},
        shares=tuple(float(share) for share in deletion.get("shares") or ()),
        deletion={name: _deletion(deletion[name]) for name in DELETIONS if deletion.get(name)},
        contrast=_contrast(content.get("contrast"), num_parcels),
        files=_files(content.get("files") or {}),
        conclusion=str(content.get("conclusion") or ""),
        notes=tuple(str(note) for note in content.get("notes") or ()),
    )


def _numbers(values: Sequence[float | int | None]) -> Float[np.ndarray, "N"]:
    return np.array([number_or_nan(value) for value in values], dtype=np.float64)


def _map(values: Sequence[float | int | None], num_parcels: int) -> Float[np.ndarray, "P"]:
    found = _numbers(values)
    if len(found) != num_parcels:
        raise ValueError(f"a map of {len(found)} parcels beside one of {num_parcels}")
    return found


def _optional_map(values: Sequence[float | int | None] | None, num_parcels: int) -> Float[np.ndarray, "P"] | None:
    """None where it is not there or holds no number."""
    found = _map(values, num_parcels) if values else None
    return found if found is not None and np.isfinite(found).any() else None


def _heads(layers: Sequence[Sequence[Sequence[float | int | None]]] | None, num_parcels: int) -> np.ndarray | None:
    if not layers:
        return None
    return np.array([[_map(head, num_parcels) for head in heads] for heads in layers], dtype=np.float64)


def _lags(entry: Mapping[str, Any] | None) -> LagCurves | None:
    if not entry or not entry.get("lag"):
        return None
    lag_G = _numbers(entry["lag"])
    curves = {name: _map(entry[name], len(lag_G)) for name in LAGS if entry.get(name)}
    curves = {name: values for name, values in curves.items() if np.isfinite(values).any()}
    return LagCurves(number_or_nan(entry.get("tr_patch_s")), lag_G, curves) if curves else None


def _network(entry: Mapping[str, Any]) -> NetworkAttention:
    tested = entry.get("contrast") or {}
    t, p, q = (number_or_nan(tested.get(name)) for name in ("t", "p", "q"))
    relative = Interval.read(entry["attention_relative"])
    return NetworkAttention(str(entry["name"]), int(entry["num_parcels"]), relative, t=t, p=p, q=q)


def _deletion(entry: Mapping[str, Any]) -> DeletionCurves:
    curves = {name: tuple(_interval_or_nan(score) for score in entry[name]) for name in CURVES if entry.get(name)}
    gaps = (optional_interval(entry.get(name)) for name in ("most_minus_random", "most_minus_least"))
    return DeletionCurves(curves, *gaps)


def _interval_or_nan(entry: Mapping[str, Any] | None) -> Interval:
    return Interval.read(entry or {})


def _contrast(entry: Mapping[str, Any] | None, num_parcels: int) -> AttentionContrast | None:
    if entry is None:
        return None
    first, second = entry["levels"]
    num_first, num_second = entry["num_subjects"]
    return AttentionContrast(
        column=str(entry["column"]),
        levels=(str(first), str(second)),
        kind=str(entry["kind"]),
        num_subjects=(int(num_first), int(num_second)),
        num_left_out=int(entry.get("left_out") or 0),
        t_P=_map(entry["t"], num_parcels),
        p_P=_map(entry["p"], num_parcels),
        q_P=_map(entry["q"], num_parcels),
        p_fwe_P=_optional_map(entry.get("p_fwe"), num_parcels),
        difference_P=_map(entry["difference"], num_parcels),
        amplitude_r=_correlation(entry.get("amplitude_r")),
        confounds=tuple(
            Confound(str(row["column"]), number_or_nan(row.get("p")), str(row.get("sentence") or ""))
            for row in entry.get("confounds") or ()
        ),
        num_permutations=int(entry["num_permutations"]),
    )


def _correlation(entry: Mapping[str, Any] | float | None) -> Interval | None:
    """With an interval or, over the parcels of one map, without."""
    if entry is None or isinstance(entry, Mapping):
        return optional_interval(entry)
    return Interval(float(entry))


def _files(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of all files that were written beside the results."""
    found = [entry.get("surface"), entry.get("view"), *(entry.get("nifti") or ())]
    return tuple(str(name) for name in found if name)
