"""What predictions are scored against, and every score of a method in all people and in every resample of them.

The scores themselves are in ``regression_scores.py``, ``ranking.py`` and ``calibration.py``; comparing methods is in
``judging.py``. Each is computed for every repeat of the folds, and the repeats are averaged.

Shapes: R repeats, N units, K outputs, C classes (0 for regression), B resamples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64, Int64

from brainlm.errors import DataError
from brainlm.evaluation.phenotypes.calibration import balanced_accuracy, brier, calibration_slope
from brainlm.evaluation.phenotypes.calibration import expected_calibration_error as ece
from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.outcomes import Outcomes, mean_of_known
from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.ranking import auprc, auroc
from brainlm.evaluation.phenotypes.regression_scores import mae, r2, within_fold_r
from brainlm.evaluation.phenotypes.targets import Cohort, Kind
from brainlm.evaluation.statistics import SubjectBootstrap

Metric = Callable[[Outcomes, np.ndarray], np.ndarray]

# The first of a kind decides: which baseline is best, all differences, the permutation test.
METRICS: Mapping[Kind, Mapping[str, Metric]] = MappingProxyType(
    {
        "regression": {"r2": r2, "r": within_fold_r, "mae": mae},
        "binary": {
            "auroc": auroc,
            "auprc": auprc,
            "balanced_accuracy": balanced_accuracy,
            "brier": brier,
            "calibration_slope": calibration_slope,
        },
        "multiclass": {
            "auroc": auroc,
            "auprc": auprc,
            "balanced_accuracy": balanced_accuracy,
            "brier": brier,
            "ece": ece,
        },
    }
)
BLOCK_VALUES = 2**19  # weights held at once: what a processor's cache holds, and large cohorts in little memory


def fold_codes(folds: Sequence[Fold], num_units: int) -> Int64[np.ndarray, "R N"]:
    """The number, in ``folds``, of the fold in which each unit was tested in each repeat; -1 where in none."""
    codes_RN = np.full((1 + max(fold.repeat for fold in folds), num_units), -1, dtype=np.int64)
    for number, fold in enumerate(folds):
        assert (codes_RN[fold.repeat, fold.test_M] == -1).all(), "a unit is tested twice in a repeat"
        codes_RN[fold.repeat, fold.test_M] = number
    return codes_RN


@dataclass(frozen=True, eq=False)
class Scoring:
    """What the predictions of any method on one cohort and its folds are scored against.

    Attributes:
        kind: of the target.
        truth_N: original units, or class codes.
        fold_RN: see ``fold_codes``.
        prior_RNC: share of each class among the people the fold of a unit was trained on.
        weights_N: one vote a subject.
        cluster_N: who is drawn together when people are resampled: the units of a subject, or of a family.
    """

    kind: Kind
    truth_N: Float64[np.ndarray, "N"]
    fold_RN: Int64[np.ndarray, "R N"]
    prior_RNC: Float64[np.ndarray, "R N C"]
    weights_N: Float64[np.ndarray, "N"]
    cluster_N: Int64[np.ndarray, "N"]

    @classmethod
    def of(cls, cohort: Cohort, folds: Sequence[Fold], *, group: str | None = None) -> Scoring:
        """The scoring of a cohort; ``group`` is the column of families, if people are not independent of each other."""
        target, weights_N = cohort.target, cohort.weights_N
        num_units = len(target.values_N)
        fold_RN = fold_codes(folds, num_units)
        prior_RNC = np.zeros((*fold_RN.shape, len(target.classes)))
        codes_N = target.values_N.astype(np.int64) if target.classes else np.zeros(num_units, dtype=np.int64)
        for fold in folds:
            weight_C = np.bincount(codes_N[fold.train_M], weights_N[fold.train_M], minlength=len(target.classes))
            prior_RNC[fold.repeat, fold.test_M] = (weight_C / weight_C.sum())[: len(target.classes)]
        return cls(target.kind, target.values_N, fold_RN, prior_RNC, weights_N, clusters(cohort, group))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all scores, the main one first."""
        return tuple(METRICS[self.kind])

    @property
    def main_metric(self) -> str:
        """The score that methods are compared by."""
        return self.metrics[0]

    @property
    def num_clusters(self) -> int:
        """How many there are to draw from."""
        return int(self.cluster_N.max()) + 1

    def check(self, predictions: Predictions) -> None:
        """Refuse predictions that are not numbers.

        Raises:
            DataError: somebody who was tested has no finite prediction.
        """
        values_RNK = predictions.values_RNK
        num_outputs = len(self.prior_RNC[0, 0]) if self.kind == "multiclass" else 1
        assert values_RNK.shape == (*self.fold_RN.shape, num_outputs), f"{predictions.method}: {values_RNK.shape}"
        lost = (self.fold_RN >= 0) & ~np.isfinite(values_RNK).all(axis=2)
        if lost.any():
            raise DataError(
                f"the method {predictions.method!r} gave no number for some of the people it was tested on",
                expected="a finite prediction of everyone in a test fold",
                found=f"{int(lost.sum())} of {int((self.fold_RN >= 0).sum())} predictions are NaN or infinite",
                remedy="lower its learning rate, look for non-finite features, or leave the method out",
            )

    def tested(self, values_RNK: Float64[np.ndarray, "R N K"], units_N: Bool[np.ndarray, "N"]) -> Iterator[Outcomes]:
        """What was tested of ``units_N``, repeat by repeat."""
        for fold_N, values_NK, prior_NC in zip(self.fold_RN, values_RNK, self.prior_RNC, strict=True):
            kept_N = units_N & (fold_N >= 0)
            yield Outcomes(self.truth_N[kept_N], values_NK[kept_N], fold_N[kept_N], prior_NC[kept_N])

    def statistic(self, truth_N: Float64[np.ndarray, "N"], values_RNK: Float64[np.ndarray, "R N K"]) -> float:
        """The main score of all people if ``truth_N`` were the truth, as the permutation test asks."""
        judged = dataclasses.replace(self, truth_N=truth_N)
        everyone_N = np.ones(len(truth_N), dtype=bool)
        return float(
            judged._score(values_RNK, [self.main_metric], self.weights_N[:, None], everyone_N)[self.main_metric][0]
        )

    def draws(
        self,
        values_RNK: Float64[np.ndarray, "R N K"],
        bootstrap: SubjectBootstrap,
        *,
        metrics: Sequence[str] | None = None,
        units_N: Bool[np.ndarray, "N"] | None = None,
    ) -> dict[str, Float64[np.ndarray, "B"]]:
        """Scores of all people (first) and of every resample (the others); NaN where undefined.

        Args:
            values_RNK: of one method.
            bootstrap: resamples of ``num_clusters``.
            metrics: their names; None is all.
            units_N: score these only, such as those of one site.
        """
        assert bootstrap.counts_RS.shape[1] == self.num_clusters
        names = self.metrics if metrics is None else metrics
        units_N = np.ones(len(self.truth_N), dtype=bool) if units_N is None else units_N
        num_resamples = len(bootstrap.counts_RS)
        step = max(1, BLOCK_VALUES // max(1, int(units_N.sum())))
        blocks = [self._score(values_RNK, names, self.weights_N[:, None], units_N)]
        for start in range(0, num_resamples, step):
            resamples = slice(start, start + step)
            weights_NB = bootstrap.weights(self.cluster_N, self.weights_N, resamples)
            blocks.append(self._score(values_RNK, names, weights_NB, units_N))
        return {name: np.concatenate([block[name] for block in blocks]) for name in names}

    def _score(
        self, values_RNK: np.ndarray, names: Sequence[str], weights_NB: np.ndarray, units_N: np.ndarray
    ) -> dict[str, np.ndarray]:
        of_repeat: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for tested, fold_N in zip(self.tested(values_RNK, units_N), self.fold_RN, strict=True):
            kept_NB = weights_NB[units_N & (fold_N >= 0)]
            for name in names:
                nobody = np.full(kept_NB.shape[1], np.nan)
                of_repeat[name].append(METRICS[self.kind][name](tested, kept_NB) if len(kept_NB) else nobody)
        return {name: mean_of_known(np.stack(values)) for name, values in of_repeat.items()}


def clusters(cohort: Cohort, group: str | None) -> Int64[np.ndarray, "N"]:
    """The number of the family (column ``group``) of each unit; of its subject without one, or where it is unknown."""
    subjects = "subject " + cohort.table["subject"].astype(str)
    if group is None or group not in cohort.table:
        return np.unique(subjects.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)
    families = cohort.table[group]
    known = families.notna() & (families.astype(str) != "")
    names = ("family " + families.astype(str)).where(known, subjects)
    return np.unique(names.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def chance_levels(scoring: Scoring) -> dict[str, float | None]:
    """What each score is for a method that knows nothing but the shares of classes; None where that is no number."""
    levels: dict[str, float | None] = dict.fromkeys(scoring.metrics)
    if scoring.kind == "regression":
        return levels | {"r2": 0.0, "r": 0.0}
    num_classes = scoring.prior_RNC.shape[2]
    positive = float(np.average(scoring.truth_N == 1, weights=scoring.weights_N))
    share = positive if scoring.kind == "binary" else 1.0 / num_classes
    return levels | {"auroc": 0.5, "auprc": share, "balanced_accuracy": 1.0 / num_classes}
