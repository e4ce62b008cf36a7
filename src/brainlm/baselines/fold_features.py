"""What every table of features looks like to cross-validation: units in rows, perhaps something to fit in each fold.

Fixed features (connectomes, embeddings) have nothing to fit; the tangent space and principal components have. What is
done to features whatever they are (confounds, scaling, the predictive model) is not the business of this file.

Shapes: N units (subjects, or recordings), M of them, R recordings, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64


@runtime_checkable
class FittedFeatures(Protocol):
    """Features after a fold's training units were looked at."""

    def transform(self, units_M: Int64[np.ndarray, "M"]) -> Float32[np.ndarray, "M F"]:
        """A row for each of these units, in this order, whether they took part in the fit or not."""
        ...


@runtime_checkable
class FoldFeatures(Protocol):
    """Features that may depend on who is in the training part of a fold, and on nobody else."""

    @property
    def num_units(self) -> int:
        """N."""
        ...

    def fit(self, train_M: Int64[np.ndarray, "M"]) -> FittedFeatures:
        """Fit to these units only; the object itself does not change, so folds cannot see each other."""
        ...


@dataclass(frozen=True, eq=False)
class FixedFeatures:
    """Features that each unit has by itself: a matrix."""

    values_NF: Float32[np.ndarray, "N F"]

    @property
    def num_units(self) -> int:
        """N."""
        return len(self.values_NF)

    def fit(self, train_M: Int64[np.ndarray, "M"]) -> FixedFeatures:  # noqa: ARG002
        """Itself: there is nothing to fit."""
        return self

    def transform(self, units_M: Int64[np.ndarray, "M"]) -> Float32[np.ndarray, "M F"]:
        """The rows of the matrix."""
        return self.values_NF[units_M]


def mean_by_unit(
    values_RF: Float32[np.ndarray, "R F"], recordings: Sequence[Int64[np.ndarray, "_"]]
) -> Float32[np.ndarray, "N F"]:
    """The mean of each feature over the recordings of each unit.

    A NaN (a parcel without signal) does not count; where no recording of a unit has the feature, it is NaN.

    Args:
        values_RF: a row for each recording.
        recordings: the rows of each unit; none is without.
    """
    counts_N = np.array([len(positions) for positions in recordings])
    assert (counts_N > 0).all(), "every unit has a recording"
    rows_R = np.concatenate(recordings) if len(recordings) else np.zeros(0, np.int64)
    if (counts_N == 1).all():
        is_all = len(rows_R) == len(values_RF) and (rows_R == np.arange(len(rows_R))).all()
        return values_RF if is_all else values_RF[rows_R]  # a second copy of every connectome would be gigabytes
    means_NF = np.empty((len(recordings), values_RF.shape[1]), np.float32)
    for unit, positions in enumerate(recordings):
        own_KF = values_RF[positions]
        known_KF = ~np.isnan(own_KF)
        total_F = np.where(known_KF, own_KF, 0).sum(axis=0, dtype=np.float64)
        count_F = known_KF.sum(axis=0)
        means_NF[unit] = np.where(count_F > 0, total_F / np.maximum(count_F, 1), np.nan)
    return means_NF
