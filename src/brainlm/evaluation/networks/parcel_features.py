"""What is known of a parcel without its network: numbers from each recording, or none but where it lies.

Features of models are in ``model_features.py``, of trained networks in ``neural.py``. Nothing here knows labels.

Shapes: N recordings, P parcels, F numbers, T time points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from brainlm.baselines.connectome import correlation, unit_series
from brainlm.data.parcels import Parcels
from brainlm.data.store import Store

Group = Literal["model", "random-init", "connectivity", "signal", "neural", "position", "chance"]
# What a model has to beat. An encoder with random weights is a control of pretraining and one of them.
BASELINE_GROUPS: tuple[Group, ...] = ("random-init", "connectivity", "signal", "neural", "position", "chance")

SERIES_POINTS = 200  # time points at most, from the beginning of a recording: as many as the paper's windows have
HIGHEST_R = 0.999999  # copies of one parcel would have an infinite Fisher z


@dataclass(frozen=True, eq=False)
class ParcelFeatures:
    """Numbers of every parcel; NaN where there are none (no signal in that recording, or a parcel with itself).

    Attributes:
        name: of the row in tables.
        group: what kind of features they are; decides what they are compared with.
        values_NPF: of each recording; one row for what does not depend on recordings. None: no features at all.
        combine: how recordings become one description of a parcel: the mean of their numbers, or all of them.
    """

    name: str
    group: Group
    values_NPF: Float32[np.ndarray, "N P F"] | None
    combine: Literal["mean", "concatenate"] = "mean"

    @property
    def by_recording(self) -> bool:
        """Whether other people would give other numbers."""
        return self.values_NPF is not None and len(self.values_NPF) > 1


def series_features(store: Store) -> ParcelFeatures:
    """The parcels' own time courses, each of mean 0 and deviation 1, all recordings in a row.

    Shorter recordings end in zeros. The distance between two parcels then is a matter of their mean correlation.
    """
    num_points = min(SERIES_POINTS, int(store.num_timepoints.max()))
    values_NPT = np.zeros((len(store), store.num_parcels, num_points), np.float32)
    for index in range(len(store)):
        series = unit_series(store.bold(index)[:num_points])
        length = len(series.unit_TP)
        values_NPT[index, :, :length] = series.unit_TP.T * np.float32(np.sqrt(length))
        values_NPT[index, ~series.present_P] = np.nan
    return ParcelFeatures("raw series", "signal", values_NPT, "concatenate")


def connectivity_profiles(store: Store) -> ParcelFeatures:
    """Fisher's z of each parcel's correlation with every other one, the mean of recordings."""
    values_NPP = np.empty((len(store), store.num_parcels, store.num_parcels), np.float32)
    for index in range(len(store)):
        r_PP = correlation(store.bold(index))
        values_NPP[index] = np.arctanh(np.clip(r_PP, -HIGHEST_R, HIGHEST_R))
    return ParcelFeatures("functional connectivity", "connectivity", without_itself(values_NPP))


def without_itself(values_NPP: Float32[np.ndarray, "N P P"]) -> Float32[np.ndarray, "N P P"]:
    """What parcels have to do with each other, NaN for a parcel with itself: no number of it can be compared."""
    out_NPP = values_NPP.copy()
    diagonal = np.arange(out_NPP.shape[1])
    out_NPP[:, diagonal, diagonal] = np.nan
    return out_NPP


def position_features(parcels: Parcels) -> list[ParcelFeatures]:
    """Where parcels lie (MNI, mm), as it is and with both halves of the brain laid on each other; none if unknown."""
    if not parcels.has_coordinates:
        return []
    place_P3 = parcels.coordinates
    folded_P3 = np.concatenate((np.abs(place_P3[:, :1]), place_P3[:, 1:]), axis=1)
    return [
        ParcelFeatures("MNI coordinates", "position", place_P3[None]),
        ParcelFeatures("MNI coordinates, halves mirrored", "position", folded_P3[None]),
    ]


def majority() -> ParcelFeatures:
    """No features: everybody is said to belong to the largest network of the training parcels."""
    return ParcelFeatures("majority", "chance", None)
