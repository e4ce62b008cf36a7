"""Small problems for the tests of estimators: people, features, folds; nothing that ships."""

import numpy as np

from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.problem import Problem


def problem_of(values, *, num_classes=0, groups=None, weights=None, **options) -> Problem:
    """Of one vote each unless told otherwise."""
    values_N = np.asarray(values, dtype=np.float64)
    kind = {0: "regression", 2: "binary"}.get(num_classes, "multiclass")
    groups_N = np.arange(len(values_N)) if groups is None else np.asarray(groups, dtype=np.int64)
    weights_N = np.ones(len(values_N)) if weights is None else np.asarray(weights, dtype=np.float64)
    return Problem(kind, values_N, num_classes, groups_N, weights_N, **options)


def dealt(num_units: int, num_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every ``num_folds``-th unit is tested together."""
    number_N = np.arange(num_units) % num_folds
    return [(np.flatnonzero(number_N != fold), np.flatnonzero(number_N == fold)) for fold in range(num_folds)]


def folds_of(num_units: int, num_folds: int) -> tuple[Fold, ...]:
    """The same as folds of one repeat."""
    return tuple(Fold(str(number + 1), 0, *pair) for number, pair in enumerate(dealt(num_units, num_folds)))


def two_classes(rng, num_units: int, num_features: int, *, effect: float = 0.0):
    """Features and balanced labels; the first feature of the second class is higher by ``effect``."""
    classes_N = rng.permutation(np.arange(num_units) % 2)
    features_NF = rng.normal(size=(num_units, num_features))
    features_NF[:, 0] += effect * classes_N
    return features_NF, classes_N
