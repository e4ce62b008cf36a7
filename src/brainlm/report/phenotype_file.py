"""Reads results.json of studies of clinical variables into the objects of ``phenotype_study.py``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainlm.evaluation.statistics import Interval
from brainlm.files import damaged, read_json
from brainlm.report.evaluation_file import number_or_nan, optional_interval
from brainlm.report.phenotype_study import (
    GROUPS,
    LOWER_IS_BETTER,
    MethodCurves,
    Permutation,
    PredictedValues,
    SitePrediction,
    SiteScore,
    Study,
    StudyMethod,
)
from brainlm.report.reading import natural_key, result_file

FORMAT_VERSION = 1
# Any number of them, one a target and set of folds.
STUDIES = ("phenotypes/*/results.json", "`brainlm probe RUN STORE --target COLUMN` writes it")
KINDS = ("regression", "binary", "multiclass")


def read_studies(run: Path) -> tuple[Study, ...]:
    """Every study of a RUN folder, by the names of their folders.

    Raises:
        DataError: a damaged file, which it names.
    """
    pattern, remedy = STUDIES
    studies = []
    for path in sorted(run.glob(pattern), key=lambda path: natural_key(path.parent.name)):
        about = result_file(path, remedy)
        with damaged(path, **about):
            studies.append(read_study(read_json(path, **about), path.parent.name))
    return tuple(studies)


def unfinished_studies(run: Path) -> tuple[str, ...]:
    """The folders of studies that were begun and have no results yet."""
    # The manifest of the folds is written first, the results last.
    begun = sorted(run.glob("phenotypes/*/folds.json"), key=lambda path: natural_key(path.parent.name))
    return tuple(path.parent.name for path in begun if not (path.parent / "results.json").exists())


def read_study(content: Mapping[str, Any], folder: str) -> Study:
    """The study in the parsed ``results.json`` of ``folder`` (its name only).

    Raises:
        ValueError: another format version, kind or group than this program knows. KeyError: a field is missing.
    """
    _require_known(content)
    main_metric = str(content["main_metric"])
    methods = tuple(_method(entry) for entry in content["methods"])
    order = list(GROUPS)
    # Stable: methods of a group without the main metric keep their order, at its end.
    ranked = sorted(methods, key=lambda m: (order.index(m.group), _rank(m.scores.get(main_metric), main_metric)))
    return Study(
        folder=folder,
        target=dict(content["target"]),
        folds=dict(content["folds"]),
        settings=dict(content.get("settings") or {}),
        facts=dict(content.get("facts") or {}),
        main_metric=main_metric,
        metrics=tuple(dict.fromkeys([main_metric, *(str(name) for name in content["metrics"])])),
        chance={str(name): float(level) for name, level in content["chance"].items() if level is not None},
        methods=tuple(ranked),
        main=content.get("main"),
        best_baseline=content.get("best_baseline"),
        best_connectivity=content.get("best_connectivity"),
        opponent=content.get("difference_to"),
        fusion=content.get("fusion"),
        difference=optional_interval(content.get("difference")),
        fusion_difference=optional_interval(content.get("fusion_difference")),
        permutation=_permutation(content.get("permutation")),
        site_prediction=_site_prediction(content.get("site_prediction")),
        curves={str(name): _curves(entry) for name, entry in (content.get("curves") or {}).items()},
        predicted={str(name): _predicted(entry) for name, entry in (content.get("predicted") or {}).items()},
        conclusion=str(content.get("conclusion") or ""),
        notes=tuple(str(note) for note in content.get("notes") or ()),
    )


def _require_known(content: Mapping[str, Any]) -> None:
    if content["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {content['format_version']}, this program reads {FORMAT_VERSION}")
    if content["target"]["kind"] not in KINDS:
        raise ValueError(f"target of kind {content['target']['kind']!r}, this program knows {', '.join(KINDS)}")
    for entry in content["methods"]:
        if entry["group"] not in GROUPS:
            raise ValueError(f"method {entry['name']!r} of group {entry['group']!r}, known are {', '.join(GROUPS)}")


def _rank(score: Interval | None, metric: str) -> float:
    if score is None or not math.isfinite(score.value):
        return math.inf
    return score.value if metric in LOWER_IS_BETTER else -score.value


def _method(entry: Mapping[str, Any]) -> StudyMethod:
    return StudyMethod(
        name=str(entry["name"]),
        group=str(entry["group"]),
        is_seen=bool(entry.get("seen")),
        note=str(entry.get("note") or ""),
        seconds=number_or_nan(entry.get("seconds")),
        scores={str(name): Interval.read(score) for name, score in entry["scores"].items() if score is not None},
        by_site=tuple(
            SiteScore(str(row["site"]), int(row["num"]), Interval.read(row)) for row in entry.get("by_site") or ()
        ),
        minus_best_baseline=optional_interval(entry.get("minus_best_baseline")),
    )


def _permutation(entry: Mapping[str, Any] | None) -> Permutation | None:
    if entry is None:
        return None
    null = np.array([number_or_nan(value) for value in entry.get("null") or ()], dtype=np.float64)
    adjusted = entry.get("p_adjusted")
    return Permutation(
        p=number_or_nan(entry["p"]),
        p_adjusted=None if adjusted is None else float(adjusted),
        num=int(entry["num"]),
        observed=number_or_nan(entry["observed"]),
        null_N=null[np.isfinite(null)],
        blocks=str(entry.get("blocks") or ""),
    )


def _site_prediction(entry: Mapping[str, Any] | None) -> SitePrediction | None:
    if entry is None:
        return None
    return SitePrediction(
        Interval.read(entry["balanced_accuracy"]), chance=float(entry["chance"]), num_sites=int(entry["num_sites"])
    )


def _curves(entry: Mapping[str, Any]) -> MethodCurves:
    return MethodCurves(
        _points(entry.get("roc"), 2), _points(entry.get("pr"), 2), calibration=_points(entry.get("calibration"), 3)
    )


def _points(rows: Sequence[Sequence[float | int | None]] | None, width: int) -> np.ndarray | None:
    """Rows of ``width`` numbers, those with a null left out; None where none is left."""
    if not rows:
        return None
    points = np.array([[number_or_nan(value) for value in row] for row in rows], dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != width:
        raise ValueError(f"a curve of shape {points.shape}, {width} numbers a point are expected")
    points = points[np.isfinite(points).all(axis=1)]
    return points if len(points) else None


def _predicted(entry: Mapping[str, Any]) -> PredictedValues:
    true, predicted = (
        np.array([number_or_nan(v) for v in entry[name]], dtype=np.float64) for name in ("true", "predicted")
    )
    if len(true) != len(predicted):
        raise ValueError(f"{len(true)} true and {len(predicted)} predicted values")
    known = np.isfinite(true) & np.isfinite(predicted)
    return PredictedValues(true_N=true[known], predicted_N=predicted[known])
