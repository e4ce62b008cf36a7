"""The first layer of networks over ready-made features: each standardised by the training fold, missing ones set to 0.

Part of the network, not of the data, so that the features of a large store are never copied for a fold.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

RECORDINGS_AT_ONCE = 64  # bounds the memory of fitting


class Standardise(nn.Module):
    """(x − mean) / standard deviation of each feature; NaN, and features that never varied, become 0.

    Args:
        mean: of each feature, in any shape.
        std: likewise; 0 where the feature never varied in training.
    """

    mean: Tensor
    rate: Tensor

    def __init__(self, mean: Float[Tensor, "*F"], std: Float[Tensor, "*F"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("rate", torch.where(std > 0, 1 / std, 0.0).float())

    @classmethod
    def fit(cls, features: Float32[np.ndarray, "N *F"], training_M: Int64[np.ndarray, "M"]) -> Standardise:
        """Mean and deviation over the training recordings that have the feature; NaN where one has not."""
        shape = features.shape[1:]
        count, total, square = (np.zeros(shape) for _ in range(3))
        # About the first values that are known: sums of squares of large numbers that vary little would lose digits.
        origin = np.nan_to_num(features[training_M[0]])
        for first in range(0, len(training_M), RECORDINGS_AT_ONCE):
            part = features[training_M[first : first + RECORDINGS_AT_ONCE]]
            known = np.isfinite(part)
            part = np.where(known, part - origin, np.float32(0))
            count += known.sum(axis=0)
            total += part.sum(axis=0, dtype=np.float64)
            square += np.einsum("n...,n...->...", part, part, dtype=np.float64)
        count = np.maximum(count, 1)
        variance = np.maximum(square / count - (total / count) ** 2, 0)
        return cls(torch.from_numpy(total / count + origin), torch.from_numpy(np.sqrt(variance)))

    def forward(self, features: Float[Tensor, "B *F"]) -> Float[Tensor, "B *F"]:
        """The same features in units of the training fold's deviations, finite everywhere."""
        return torch.nan_to_num((features - self.mean) * self.rate, nan=0.0)
