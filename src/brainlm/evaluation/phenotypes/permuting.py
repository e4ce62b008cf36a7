"""How often labels that belong to other people are predicted as well: the whole cross-validation, run again on each.

Features, folds and people stay, labels move within exchangeability blocks, and everything that looks at labels is
fitted anew, the choice of the strength included. What p follows is in ``significance.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from joblib import Parallel, delayed, parallel_config

from brainlm.errors import ConfigError
from brainlm.evaluation.phenotypes.estimators import Estimator, fit_predict
from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.linear import ridge
from brainlm.evaluation.phenotypes.problem import InnerFolds, Problem
from brainlm.evaluation.phenotypes.rotation import Coordinates
from brainlm.processes import worker_settings

Statistic = Callable[[np.ndarray, np.ndarray], float]
"""Of the labels (N,) and the predictions (R, N, K), NaN where a unit was not tested: the higher the better."""

InnerRule = Callable[[Problem, np.ndarray], InnerFolds]
"""The inner folds of a problem and the positions of its training units."""


@dataclass(frozen=True, eq=False)
class NullScores:
    """The statistic with the labels of others.

    Attributes:
        observed: with everybody's own labels, by exactly the same procedure.
        null_T: with each permutation.
        num_fixed: units whose label cannot move: no other group of their size is in their block, or nothing but that
            label within their person.
    """

    observed: float
    null_T: Float64[np.ndarray, "T"]
    num_fixed: int


def null_scores(
    coordinates: Iterable[Coordinates],
    problem: Problem,
    folds: Sequence[Fold],
    blocks_N: Int64[np.ndarray, "N"],
    *,
    num: int,
    seed: int,
    statistic: Statistic,
    inner: InnerRule,
    estimator: Estimator = "linear",
    jobs: int = 1,
    within_N: Int64[np.ndarray, "N"] | None = None,
) -> NullScores:
    """The null distribution of ``statistic`` for one block of features.

    Args:
        coordinates: of the block in each of ``folds``, taken one after the other; they do not depend on labels.
        problem: the true labels.
        folds: of one or more repeats.
        blocks_N: labels move within a block only: the site, so that what site alone predicts stays in the null; and
            with it the test fold where folds are stratified by the label, so that they stay stratified.
        num: permutations.
        seed: of the permutations.
        statistic: see ``Statistic``.
        inner: see ``InnerRule``; asked once a fold for ridge regression, which fits all permutations at once, and once
            a fold and permutation for everything else.
        estimator: as in ``fit_predict``. Support vector machines and perceptrons take minutes a hundred.
        jobs: processes, for what is not fitted at once.
        within_N: for a label that changes within a person, such as the condition of a run: the person of each unit.
            Labels then move among the units of a person, and ``blocks_N`` has no say.

    Raises:
        ConfigError: no label can move.
    """
    swaps = _Swaps.of(problem, blocks_N) if within_N is None else _Shuffles.of(problem, within_N)
    rng = np.random.default_rng(seed)
    labels = [problem.values_N, *(swaps.draw(rng) for _ in range(num))]
    fits_at_once = problem.kind == "regression" and estimator == "linear"
    shape = (len(labels), max(fold.repeat for fold in folds) + 1, len(problem.values_N), problem.num_outputs)
    predicted = np.full(shape, np.nan)
    for fold, features in zip(folds, coordinates, strict=True):  # a fold at a time: all of them can be gigabytes
        if fits_at_once:
            of_labels = _ridge_predictions(features, problem, fold, np.stack(labels, axis=1), inner)
        else:
            one = delayed(_prediction)
            tasks = (one(features, problem.with_values(values_N), fold, inner, estimator) for values_N in labels)
            with parallel_config(backend="loky", **worker_settings()):
                of_labels = Parallel(n_jobs=jobs)(tasks)
        for index, predicted_LK in enumerate(of_labels):
            predicted[index, fold.repeat, fold.test_M] = predicted_LK
    scores = [float(statistic(values_N, of_these)) for values_N, of_these in zip(labels, predicted, strict=True)]
    return NullScores(scores[0], np.array(scores[1:], dtype=np.float64), swaps.num_fixed)


def blocks_of(*codes: np.ndarray) -> Int64[np.ndarray, "N"]:
    """One block for each combination of values that occurs, such as of site and test fold."""
    combined_N = np.zeros(len(codes[0]), dtype=np.int64)
    for values_N in codes:
        parts_N = np.unique(values_N, return_inverse=True)[1]
        combined_N = np.unique(combined_N * (int(parts_N.max()) + 1) + parts_N, return_inverse=True)[1]
    return combined_N.astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Swaps:
    """Groups that may exchange their labels; each is a matrix (groups, units of a group) of positions."""

    values_N: np.ndarray
    exchangeable: tuple[np.ndarray, ...]
    num_fixed: int

    @classmethod
    def of(cls, problem: Problem, blocks_N: np.ndarray) -> _Swaps:
        """Subjects (or families) move as wholes, to places of the same number of recordings (or members)."""
        by_kind: dict[tuple[tuple[int, ...], int], list[np.ndarray]] = {}
        for rows in _rows_of_groups(problem.groups_N):
            # A family spread over sites exchanges with families spread in the same way.
            where = tuple(int(block) for block in sorted(blocks_N[rows]))
            ordered = rows[np.argsort(blocks_N[rows], kind="stable")]
            by_kind.setdefault((where, len(rows)), []).append(ordered)
        exchangeable = tuple(np.stack(groups) for groups in by_kind.values() if len(groups) > 1)
        num_fixed = len(blocks_N) - sum(rows.size for rows in exchangeable)
        if not any(len(np.unique(problem.values_N[rows], axis=0)) > 1 for rows in exchangeable):
            raise ConfigError(
                "no label can be exchanged between people",
                expected="blocks with at least two people whose labels differ",
                found=f"{len(np.unique(blocks_N))} blocks of {len(blocks_N)} units",
                remedy="permute without blocks, or leave the permutation test out",
            )
        return cls(problem.values_N, exchangeable, num_fixed)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        permuted_N = self.values_N.copy()
        for rows in self.exchangeable:
            permuted_N[rows] = self.values_N[rows[rng.permutation(len(rows))]]
        return permuted_N


@dataclass(frozen=True, eq=False)
class _Shuffles:
    """People whose own labels may be dealt anew among their units."""

    values_N: np.ndarray
    people: tuple[np.ndarray, ...]
    num_fixed: int

    @classmethod
    def of(cls, problem: Problem, person_N: np.ndarray) -> _Shuffles:
        people = tuple(rows for rows in _rows_of_groups(person_N) if len(np.unique(problem.values_N[rows])) > 1)
        if not people:
            raise ConfigError(
                "no label can be exchanged within people",
                expected="people with different labels",
                found=f"{len(np.unique(person_N))} people, each with one label throughout",
                remedy="use --level subject, or leave the permutation test out",
            )
        return cls(problem.values_N, people, len(person_N) - sum(map(len, people)))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        permuted_N = self.values_N.copy()
        for rows in self.people:
            permuted_N[rows] = rng.permutation(self.values_N[rows])
        return permuted_N


def _rows_of_groups(groups_N: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(groups_N, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups_N[order])) + 1)


def _prediction(
    features: Coordinates, problem: Problem, fold: Fold, inner: InnerRule, estimator: Estimator
) -> np.ndarray:
    """Of the test units of one fold, with one set of labels."""
    return fit_predict(estimator, features, problem, fold.train_M, inner=inner(problem, fold.train_M)).predicted_LK


def _ridge_predictions(
    features: Coordinates, problem: Problem, fold: Fold, labels_NT: np.ndarray, inner: InnerRule
) -> list[np.ndarray]:
    """The same for all permutations at once: what is solved for one target is solved for all."""
    scales = [problem.with_values(values_N).scale_of(fold.train_M) for values_N in labels_NT.T]
    rows_TM = [scale.standardised(values_N[fold.train_M]) for scale, values_N in zip(scales, labels_NT.T, strict=True)]
    weights_M = problem.weights_N[fold.train_M]
    fits = ridge(features, np.stack(rows_TM, axis=1), weights_M, inner=inner(problem, fold.train_M))
    return [scale.original(values_L)[:, None] for scale, values_L in zip(scales, fits.predicted_LT.T, strict=True)]
