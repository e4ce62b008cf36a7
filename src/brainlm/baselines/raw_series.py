"""The parcels' time series themselves as features, reduced to principal components within each fold.

What a model has to offer beyond the numbers it is given. Resting recordings are not aligned in time from person to
person, so little is to be expected of it.

Shapes: N recordings or units, M units of a fold, B windows, P parcels, T time points, F features, K components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64
from sklearn.decomposition import PCA

from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.windows import Windows

RECORDINGS_AT_ONCE = 64  # read and scaled together

# Components kept; fewer where a fold has fewer training units. Of the values usual for connectivity and raw signals
# (10 to 100), the middle: noise is not worth a search.
NUM_COMPONENTS = 50


def raw_series(store: Store, num_timepoints: int, *, scaler: Scaler | None = None) -> Float32[np.ndarray, "N F"]:
    """The first ``num_timepoints`` of every recording, flattened parcel by parcel: F = P x T.

    Parcels without signal, and the time after a shorter recording's end, are 0, the centre of the scaled signal. Time
    points are those of the scanner: recordings of different repetition times cover different times.

    Args:
        store: recordings of any lengths.
        num_timepoints: T.
        scaler: how signals are scaled; None: each parcel of each recording to mean 0 and deviation 1. One that was
            fitted to a cohort must have been fitted to nobody who is predicted.
    """
    scaler = scaler or Scaler.unfitted(store.num_parcels, "zscore")
    windows = Windows(store, num_timepoints, pad_short=True)
    values_NF = np.empty((len(store), store.num_parcels * num_timepoints), np.float32)
    for first in range(0, len(store), RECORDINGS_AT_ONCE):
        recordings_B = np.arange(first, min(first + RECORDINGS_AT_ONCE, len(store)))
        batch = windows.batch(recordings_B, np.zeros_like(recordings_B))
        values_NF[recordings_B] = scaler.apply(batch.raw_BPT, batch.statistics).signal_BPT.flatten(1).numpy()
    return values_NF


@dataclass(frozen=True, eq=False)
class PrincipalFeatures:
    """Scores of units on the principal components of each fold's training units; ``FoldFeatures``.

    Args:
        values_NF: a row for each unit, without NaN.
        num_components: K.
        seed: of the randomised decomposition (Halko et al. 2011, SIAM Review).
    """

    values_NF: Float32[np.ndarray, "N F"]
    num_components: int = NUM_COMPONENTS
    seed: int = 0

    @property
    def num_units(self) -> int:
        """N."""
        return len(self.values_NF)

    def fit(self, train_M: Int64[np.ndarray, "M"]) -> FittedComponents:
        """The components of these units; no more than their number less one."""
        num_components = min(self.num_components, len(train_M) - 1, self.values_NF.shape[1])
        assert num_components > 0, "two training units or more"
        decomposition = PCA(num_components, svd_solver="randomized", random_state=self.seed)
        return FittedComponents(self, decomposition.fit(self.values_NF[train_M]))


@dataclass(frozen=True, eq=False)
class FittedComponents:
    """A fold's principal components; ``FittedFeatures``."""

    source: PrincipalFeatures
    decomposition: PCA

    def transform(self, units_M: Int64[np.ndarray, "M"]) -> Float32[np.ndarray, "M K"]:
        """The scores of these units."""
        return self.decomposition.transform(self.source.values_NF[units_M])
