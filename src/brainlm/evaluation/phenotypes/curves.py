"""The points behind the figures of one method: ROC, precision-recall, calibration, predicted against true.

Areas under these curves are the scores of ``ranking.py``; drawing them is the report's work.

Shapes: R repeats, N units, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from sklearn.metrics import precision_recall_curve, roc_curve

from brainlm.evaluation.phenotypes.calibration import NUM_BINS, confidence, is_right
from brainlm.evaluation.phenotypes.outcomes import OneVsRest
from brainlm.evaluation.phenotypes.scores import Scoring

NUM_POINTS = 200


def class_curves(scoring: Scoring, values_RNK: Float64[np.ndarray, "R N K"]) -> dict[str, list[list[float]]]:
    """``roc`` [fpr, tpr], ``pr`` [recall, precision] and ``calibration`` [mean probability, share, people] points."""
    return {
        "roc": roc_points(scoring, values_RNK),
        "pr": precision_recall_points(scoring, values_RNK),
        "calibration": calibration_points(scoring, values_RNK),
    }


def roc_points(scoring: Scoring, values_RNK: Float64[np.ndarray, "R N K"]) -> list[list[float]]:
    """The mean of the curves of the test folds, each weighing as much as it has pairs: its area is our AUROC.

    One curve through the pooled predictions would have another area, see ``ranking.auroc``. Classes and repeats are
    averaged.
    """
    grid = np.linspace(0.0, 1.0, NUM_POINTS - 1)
    curves = []
    for fold_N, weights_N, classes in _repeats(scoring, values_RNK):
        for one in classes:
            total, pairs = np.zeros_like(grid), 0.0
            for fold in np.unique(fold_N):
                inside = fold_N == fold
                positive, weight = one.positive_N[inside], weights_N[inside]
                num_pairs = weight[positive].sum() * weight[~positive].sum()
                if num_pairs > 0:
                    fpr, tpr, _ = roc_curve(
                        positive, one.score_N[inside], sample_weight=weight, drop_intermediate=False
                    )
                    total, pairs = total + num_pairs * np.interp(grid, fpr, tpr), pairs + num_pairs
            if pairs > 0:
                curves.append(total / pairs)
    return [[0.0, 0.0], *_points(grid, np.mean(curves, axis=0))] if curves else []


def precision_recall_points(scoring: Scoring, values_RNK: Float64[np.ndarray, "R N K"]) -> list[list[float]]:
    """Precision where each recall is first reached, folds pooled, the mean over classes and repeats."""
    grid = np.linspace(1.0 / NUM_POINTS, 1.0, NUM_POINTS)
    curves = []
    for _, weights_N, classes in _repeats(scoring, values_RNK):
        for one in classes:
            if one.positive_N.any():
                precision, recall, _ = precision_recall_curve(one.positive_N, one.score_N, sample_weight=weights_N)
                # scikit-learn counts recall down, and ends at recall 0 with a precision nobody reached.
                first = np.searchsorted(recall[-2::-1], grid - 1e-9)
                curves.append(precision[-2::-1][np.minimum(first, len(precision) - 2)])
    return _points(grid, np.mean(curves, axis=0)) if curves else []


def calibration_points(scoring: Scoring, values_RNK: Float64[np.ndarray, "R N K"]) -> list[list[float]]:
    """Bins with equally many people: of a binary target the positive class, of several the likeliest one."""
    everyone_N = np.ones(len(scoring.truth_N), dtype=bool)
    predicted, happened, weight = [], [], []
    for tested, fold_N in zip(scoring.tested(values_RNK, everyone_N), scoring.fold_RN, strict=True):
        binary = scoring.kind == "binary"
        predicted.append(tested.predicted_NK[:, 0] if binary else confidence(tested))
        happened.append(tested.truth_N if binary else is_right(tested))
        weight.append(scoring.weights_N[fold_N >= 0])
    p, y, w = (np.concatenate(parts) for parts in (predicted, happened, weight))
    edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, NUM_BINS + 1)))
    bins = np.searchsorted(edges[1:-1], p, side="left")
    rows = []
    for number in np.unique(bins):
        inside = bins == number
        people = float(w[inside].sum()) / len(scoring.fold_RN)
        means = [float(np.average(values[inside], weights=w[inside])) for values in (p, y)]
        rows.append([*means, round(people, 1)])
    return rows


def predicted_points(
    scoring: Scoring, values_RNK: Float64[np.ndarray, "R N K"], sites: Sequence[str]
) -> dict[str, list[Any]]:
    """Truth and mean prediction over repeats of everyone tested, with their site and without their name."""
    tested_RN = scoring.fold_RN >= 0
    times_N = tested_RN.sum(axis=0)
    total_N = np.where(tested_RN, np.nan_to_num(values_RNK[:, :, 0]), 0.0).sum(axis=0)
    kept = np.flatnonzero(times_N).tolist()
    return {
        "true": scoring.truth_N[kept].tolist(),
        "predicted": (total_N[kept] / times_N[kept]).tolist(),
        "site": [sites[position] for position in kept],
    }


def _repeats(scoring: Scoring, values_RNK: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, list[OneVsRest]]]:
    everyone_N = np.ones(len(scoring.truth_N), dtype=bool)
    for tested, fold_N in zip(scoring.tested(values_RNK, everyone_N), scoring.fold_RN, strict=True):
        yield tested.fold_N, scoring.weights_N[fold_N >= 0], tested.one_vs_rest()


def _points(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    return [[round(float(a), 5), round(float(b), 5)] for a, b in zip(x, y, strict=True)]
