"""What a model says of a recording, as plain arrays. T time points, P parcels, W windows, D width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32


@dataclass(frozen=True, eq=False)
class Embedding:
    """A recording as vectors: ``cls`` and ``mean`` (of all patch tokens) averaged over windows, ``parcels`` averaged
    over windows and time (NaN for parcels without signal), ``windows`` the CLS vector of each window.
    """

    cls: Float32[np.ndarray, "D"]
    mean: Float32[np.ndarray, "D"]
    parcels: Float32[np.ndarray, "P D"]
    windows: Float32[np.ndarray, "W D"]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A recording with parts hidden and predicted back, in scaled units.

    ``predicted`` equals ``signal`` where nothing was hidden; both are NaN where there is no valid data or no window.
    ``r2`` is pooled over the hidden valid values and never clipped.
    """

    signal: Float32[np.ndarray, "T P"]
    predicted: Float32[np.ndarray, "T P"]
    hidden: Bool[np.ndarray, "T P"]
    r2: float


@dataclass(frozen=True, eq=False)
class Attention:
    """Where the encoder looks, averaged over heads and windows: ``cls`` from CLS to each parcel (summed over time),
    ``parcels`` from each parcel's tokens to each other's. Parcels of one patch share its value equally.
    """

    cls: Float32[np.ndarray, "P"]
    parcels: Float32[np.ndarray, "P P"]
