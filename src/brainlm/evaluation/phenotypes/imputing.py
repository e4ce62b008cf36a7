"""What stands in for a missing feature: the median of the training people who have it.

Parcels without coverage make whole rows of a connectome NaN. What is constant is dropped in ``rotation.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, eq=False)
class Filled:
    """Both sides of a fold without gaps; the arrays that came in where there were none.

    Attributes:
        train_MF: the training rows.
        test_LF: the test rows.
        known_F: features of which at least one training row has a value; the others are 0.
    """

    train_MF: Float[np.ndarray, "M F"]
    test_LF: Float[np.ndarray, "L F"]
    known_F: Bool[np.ndarray, "F"]


def fill_gaps(train_MF: Float[np.ndarray, "M F"], test_LF: Float[np.ndarray, "L F"]) -> Filled:
    """Medians of training rows in place of values that are missing or infinite."""
    gaps_MF, gaps_LF = ~np.isfinite(train_MF), ~np.isfinite(test_LF)
    known_F = ~gaps_MF.all(axis=0)
    with_gaps_F = gaps_MF.any(axis=0) | gaps_LF.any(axis=0)
    if not with_gaps_F.any():
        return Filled(train_MF, test_LF, known_F)
    stand_in_F = np.zeros(train_MF.shape[1], dtype=train_MF.dtype)
    wanted_F = with_gaps_F & known_F
    stand_in_F[wanted_F] = _medians(np.where(gaps_MF[:, wanted_F], np.nan, train_MF[:, wanted_F]))
    return Filled(np.where(gaps_MF, stand_in_F, train_MF), np.where(gaps_LF, stand_in_F, test_LF), known_F)


def _medians(values_MF: np.ndarray) -> np.ndarray:
    """As ``np.nanmedian(axis=0)``, which goes column by column in Python: here all columns are sorted at once."""
    ordered_FM = np.sort(np.ascontiguousarray(values_MF.T), axis=1)  # NaN last
    num_F = np.isfinite(ordered_FM).sum(axis=1)
    lower_F, upper_F = (
        np.take_along_axis(ordered_FM, at[:, None], axis=1)[:, 0] for at in ((num_F - 1) // 2, num_F // 2)
    )
    return (lower_F + upper_F) / 2
