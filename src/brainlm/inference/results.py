"""What a model says of a recording, as plain arrays.

T time points, P parcels, W windows, D width, L layers, H heads, C temporal patches of a window, G = 2C - 1 lags.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32


def _shapes(result: Embedding | Reconstruction | Attention) -> str:
    """A result by the shapes of its arrays."""
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    shown = [f"{name} {getattr(value, 'shape', value)}" for name, value in values.items()]
    return f"{type(result).__name__}({', '.join(shown)})"


@dataclass(frozen=True, eq=False)
class Embedding:
    """A recording as vectors: ``cls`` and ``mean`` (of all patch tokens) averaged over windows, ``parcels`` averaged
    over windows and time (NaN for parcels without signal), ``windows`` the CLS vector of each window.
    """

    cls: Float32[np.ndarray, "D"]
    mean: Float32[np.ndarray, "D"]
    parcels: Float32[np.ndarray, "P D"]
    windows: Float32[np.ndarray, "W D"]

    __repr__ = _shapes


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

    __repr__ = _shapes


@dataclass(frozen=True, eq=False)
class Attention:
    """Where the encoder looks, averaged over windows; NaN for parcels without signal.

    Parcels with signal that share a patch share its value equally. Over all parcels, shares sum to one less what the
    asking token pays to CLS and, in an image, to patches without data.

    Attributes:
        cls: share of each parcel in what CLS attends to, summed over time; of the chosen layer, mean over heads or of
            the chosen head.
        layers: the same of every layer and head.
        rollout: the same through all layers: attention rollout (Abnar and Zuidema 2020).
        parcels: share of each parcel (columns) in what the patches of each parcel (rows) attend to: mean over asking,
            sum over attended times; of the layer and head of ``cls``.
        lags: from one patch of a parcel (rows) to one of another (columns), mean over all pairs of patches at that lag;
            attended minus asking time, from -(C - 1) to C - 1 patches; NaN where no window has such a pair.
    """

    cls: Float32[np.ndarray, "P"]
    layers: Float32[np.ndarray, "L H P"]
    rollout: Float32[np.ndarray, "P"]
    parcels: Float32[np.ndarray, "P P"]
    lags: Float32[np.ndarray, "G P P"]

    __repr__ = _shapes
