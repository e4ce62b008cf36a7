"""Permutation tests of all parcels at once, over subjects: paired by sign flips, two groups by exchanged labels.

Which maps are compared is in ``contrast.py``. Shapes: S subjects, P parcels, M permutations. NaN is a parcel without
signal in that subject and left out of that parcel's test only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np
from jaxtyping import Bool, Float64, Int64

from brainlm.evaluation.metrics import RELATIVE_ROUNDING
from brainlm.evaluation.statistics import benjamini_hochberg

FEWEST = 2  # values that a variance needs
MOST_AT_ONCE = 1000  # permutations
NUMBERS_AT_ONCE = 2**23  # labels of subjects held in memory together: 64 MiB
EQUAL = 1e-9  # t values this close (relatively) differ by the order of their sums only


@dataclass(frozen=True, eq=False)
class MapTest:
    """A test in every parcel; NaN where a parcel could not be tested.

    Attributes:
        difference_P: of the means.
        t_P: its paired or Welch t.
        p_P: two-sided, the share of permutations at least as extreme, the observed one among them.
        q_P: p adjusted over parcels for the false discovery rate (Benjamini and Hochberg 1995).
        p_fwe_P: family-wise p of the largest |t| (Nichols and Holmes 2002, Human Brain Mapping 15).
        num_permutations: drawn or enumerated, the observed one not counted.
    """

    difference_P: Float64[np.ndarray, "P"]
    t_P: Float64[np.ndarray, "P"]
    p_P: Float64[np.ndarray, "P"]
    q_P: Float64[np.ndarray, "P"]
    p_fwe_P: Float64[np.ndarray, "P"]
    num_permutations: int


def paired_test(differences_SP: Float64[np.ndarray, "S P"], *, num: int, seed: int) -> MapTest:
    """Whether the subjects' differences are symmetric around 0; each permutation flips the sign of whole subjects.

    With few subjects all flips are gone through instead of drawing ``num`` of them.
    """
    known_SP = np.isfinite(differences_SP)
    values_SP = np.where(known_SP, differences_SP, 0.0)
    count_P, squares_P = known_SP.sum(axis=0), (values_SP**2).sum(axis=0)

    def t_of(signs_MS: np.ndarray) -> np.ndarray:
        mean_MP = _divide(signs_MS @ values_SP, count_P)
        variance_MP = _divide(squares_P - count_P * mean_MP**2, count_P - 1)
        return _t(mean_MP, _divide(variance_MP, count_P), scale=_divide(squares_P, count_P), count_P=count_P)

    observed_1S = np.ones((1, len(differences_SP)))
    mean_P = _divide(values_SP.sum(axis=0), count_P)
    return _test(mean_P, t_of(observed_1S)[0], _flips(len(differences_SP), num, seed), t_of)


def two_sample_test(
    maps_SP: Float64[np.ndarray, "S P"],
    is_first_S: Bool[np.ndarray, "S"],
    *,
    num: int,
    seed: int,
    block_S: Int64[np.ndarray, "S"] | None = None,
) -> MapTest:
    """Whether two groups of subjects have the same maps, by Welch's t; permutations exchange who is in which group.

    The difference is the first group's mean less the second's. Of small groups all exchanges are gone through.

    Args:
        block_S: labels are exchanged within a block (a site) only, and the mean of each block is taken off the maps
            before, so that nothing that differs between blocks is left to be found.
    """
    if block_S is not None:
        maps_SP = _without_block_means(maps_SP, block_S)
    known_SP = np.isfinite(maps_SP)
    centre_P = _divide(np.where(known_SP, maps_SP, 0.0).sum(axis=0), known_SP.sum(axis=0))
    # Around the mean, so that the variances are no small differences of large sums.
    values_SP = np.where(known_SP, maps_SP - centre_P, 0.0)
    squares_SP, counts_SP = values_SP**2, known_SP.astype(np.float64)
    scale_P = _divide(squares_SP.sum(axis=0), known_SP.sum(axis=0))

    def moments(labels_MS: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count_MP = labels_MS @ counts_SP
        mean_MP = _divide(labels_MS @ values_SP, count_MP)
        variance_MP = _divide(labels_MS @ squares_SP - count_MP * mean_MP**2, count_MP - 1)
        return mean_MP, _divide(variance_MP, count_MP), count_MP

    def t_of(labels_MS: np.ndarray) -> np.ndarray:
        mean_MP, error_MP, count_MP = moments(labels_MS)
        others_MP, other_error_MP, other_count_MP = moments(1.0 - labels_MS)
        fewest_MP = np.minimum(count_MP, other_count_MP)
        return _t(mean_MP - others_MP, error_MP + other_error_MP, scale=scale_P, count_P=fewest_MP)

    observed_1S = is_first_S[None].astype(np.float64)
    difference_P = (moments(observed_1S)[0] - moments(1.0 - observed_1S)[0])[0]
    return _test(difference_P, t_of(observed_1S)[0], _exchanges(is_first_S, block_S, num, seed), t_of)


def category_p(
    category_S: Int64[np.ndarray, "S"], is_first_S: Bool[np.ndarray, "S"], *, num: int, seed: int
) -> float | None:
    """Whether two groups fall into categories alike: chi-squared, its p by exchanged labels. None for one category."""
    one_hot_SK = np.eye(int(category_S.max()) + 1)[category_S]
    one_hot_SK = one_hot_SK[:, one_hot_SK.any(axis=0)]
    if one_hot_SK.shape[1] < 2:
        return None
    expected_K = is_first_S.mean() * one_hot_SK.sum(axis=0)

    def chi2(labels_MS: np.ndarray) -> np.ndarray:
        # The second group's part is the same differences over other expectations: a constant factor of each category.
        off_MK = (labels_MS @ one_hot_SK - expected_K) ** 2
        return (off_MK / expected_K + off_MK / (one_hot_SK.sum(axis=0) - expected_K)).sum(axis=1, keepdims=True)

    observed_1 = chi2(is_first_S[None].astype(np.float64))[0]
    return float(_test(observed_1, observed_1, _exchanges(is_first_S, None, num, seed), chi2).p_P[0])


def fewest_permutations(num_parcels: int, level: float) -> int:
    """How many permutations it takes for a single parcel to be able to pass the false discovery rate ``level``."""
    return int(np.ceil(num_parcels / level))


def _test(
    difference_P: np.ndarray,
    observed_P: np.ndarray,
    permutations: Iterator[np.ndarray],
    t_of: Callable[[np.ndarray], np.ndarray],
) -> MapTest:
    testable_P = np.isfinite(observed_P)
    reached_P = np.where(testable_P, np.abs(observed_P) * (1 - EQUAL), np.inf)
    extreme_P, largest_P = np.zeros(len(observed_P)), np.zeros(len(observed_P))
    num = 0
    for rows_MS in permutations:
        # A permutation in which a parcel has no t counts as an extreme one of that parcel.
        null_MP = np.abs(t_of(rows_MS))
        extreme_P += (~(null_MP < reached_P)).sum(axis=0)
        largest_M = np.where(testable_P & np.isfinite(null_MP), null_MP, 0.0).max(axis=1, initial=0.0)
        largest_P += (largest_M[:, None] >= reached_P).sum(axis=0)
        num += len(rows_MS)
    p_P = np.where(testable_P & (num > 0), (1 + extreme_P) / (1 + num), np.nan)
    p_fwe_P = np.where(testable_P & (num > 0), (1 + largest_P) / (1 + num), np.nan)
    q_P = np.full(len(p_P), np.nan)
    known_P = np.isfinite(p_P)
    if known_P.any():
        q_P[known_P] = benjamini_hochberg(p_P[known_P].tolist())
    return MapTest(np.where(testable_P, difference_P, np.nan), observed_P, p_P, q_P, p_fwe_P, num)


def _t(mean_MP: np.ndarray, error_MP: np.ndarray, *, scale: np.ndarray, count_P: np.ndarray) -> np.ndarray:
    """Mean over its standard error; NaN with too few values, or where they do not vary but for rounding."""
    varies = (error_MP > RELATIVE_ROUNDING * scale) & (count_P >= FEWEST)
    return np.where(varies, mean_MP / np.sqrt(np.where(varies, error_MP, 1.0)), np.nan)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The ratio; 0 where there is nothing to divide by, which ``_t`` then leaves out."""
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), 0.0)


def _flips(num_subjects: int, num: int, seed: int) -> Iterator[np.ndarray]:
    """Signs of subjects, never those observed where all are enumerated."""
    if 2**num_subjects <= num:
        every = np.array(list(product((1.0, -1.0), repeat=num_subjects)))[1:]
        yield every
        return
    rng = np.random.default_rng(seed)
    for part in _parts(num, num_subjects):
        yield rng.choice((1.0, -1.0), size=(part, num_subjects))


def _exchanges(
    is_first_S: np.ndarray, block_S: np.ndarray | None, num: int, seed: int
) -> Iterator[Float64[np.ndarray, "M S"]]:
    """Who is in the first group, never as observed where all divisions are enumerated."""
    num_subjects, num_first = len(is_first_S), int(is_first_S.sum())
    if block_S is None and comb(num_subjects, num_first) <= num:
        every = np.zeros((comb(num_subjects, num_first), num_subjects))
        for row, chosen in zip(every, combinations(range(num_subjects), num_first), strict=True):
            row[list(chosen)] = 1.0
        every = every[(every != is_first_S).any(axis=1)]
        yield every
        return
    rng = np.random.default_rng(seed)
    blocks = (
        [np.arange(num_subjects)] if block_S is None else [np.flatnonzero(block_S == b) for b in np.unique(block_S)]
    )
    for part in _parts(num, num_subjects):
        labels_MS = np.tile(is_first_S.astype(np.float64), (part, 1))
        for members in blocks:
            labels_MS[:, members] = rng.permuted(labels_MS[:, members], axis=1)
        yield labels_MS


def _parts(num: int, num_subjects: int) -> Iterator[int]:
    """How many permutations are made at a time."""
    at_once = max(1, min(MOST_AT_ONCE, NUMBERS_AT_ONCE // num_subjects))
    yield from (min(at_once, num - first) for first in range(0, num, at_once))


def _without_block_means(maps_SP: np.ndarray, block_S: np.ndarray) -> np.ndarray:
    """Each block around its own mean over both groups, which exchanging labels within it does not change."""
    out_SP = maps_SP.copy()
    for block in np.unique(block_S):
        members = block_S == block
        known_SP = np.isfinite(maps_SP[members])
        out_SP[members] -= _divide(np.where(known_SP, maps_SP[members], 0.0).sum(axis=0), known_SP.sum(axis=0))
    return out_SP
