"""Two methods on the same people: the difference of their R2, its interval, and how often chance would do as much.

Scores of one method are made in ``judging.py``.

Shapes: S subjects, 8 terms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from brainlm.evaluation.metrics import Term, r2
from brainlm.evaluation.phenotypes.significance import permutation_p
from brainlm.evaluation.statistics import Interval, SubjectBootstrap

NUM_FLIPS = 10_000


@dataclass(frozen=True)
class Difference:
    """R2 of one method minus that of another, and the p of the sign-flip test (None where it is undefined)."""

    r2: Interval
    p: float | None


def difference(
    sums_SK: Float64[np.ndarray, "S 8"],
    others_SK: Float64[np.ndarray, "S 8"],
    bootstrap: SubjectBootstrap,
    *,
    seed: int,
) -> Difference:
    """The difference with an interval over subjects.

    Both methods are scored on the same values, so that the difference of their R2 is a sum over subjects: of how much
    smaller the squared error is, over the variation of all values. If neither were better, each subject's part could as
    well have the other sign.

    Args:
        sums_SK, others_SK: the sums of each subject.
        bootstrap: of these subjects.
        seed: of the signs.
    """
    assert np.array_equal(sums_SK[:, Term.COUNT], others_SK[:, Term.COUNT]), "the same values for both"
    gain_S = others_SK[:, Term.SQUARED_ERROR] - sums_SK[:, Term.SQUARED_ERROR]
    return Difference(bootstrap.difference(sums_SK, others_SK, r2), sign_flip_p(gain_S, seed=seed))


def sign_flip_p(gain_S: Float64[np.ndarray, "S"], *, num_flips: int = NUM_FLIPS, seed: int) -> float | None:
    """Two-sided p of a sum over subjects against random signs of each; None with fewer than two subjects."""
    if len(gain_S) < 2:
        return None
    signs_MS = 2.0 * np.random.default_rng(seed).integers(0, 2, size=(num_flips, len(gain_S))) - 1.0
    return permutation_p(abs(float(gain_S.sum())), np.abs(signs_MS @ gain_S))
