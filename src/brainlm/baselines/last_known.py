"""The two forecasts that fit nothing: the last value stays, or the mean of the context comes.

What is fitted to training recordings is in ``autoregressive.py`` and ``var.py``.

Shapes: B batch, P parcels, T time points of the context, H time points of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainlm.baselines.forecaster import Group
from brainlm.baselines.interpolation import nearest_visible


@dataclass(frozen=True)
class LastValue:
    """Each parcel keeps its last valid value; 0 where it has none."""

    name: str = "Last value"
    group: Group = "simple"
    tuned: str = ""
    seconds: float | None = None

    def predict(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"], horizon: int
    ) -> Float[Tensor, "B P {horizon}"]:
        """The value, at every step."""
        last_BP1 = nearest_visible(valid_BPT).left_BPT[:, :, -1:]
        value_BP1 = context_BPT.gather(2, last_BP1.clamp_min(0)) * (last_BP1 >= 0)
        return value_BP1.expand(-1, -1, horizon)


@dataclass(frozen=True)
class ContextMean:
    """Each parcel returns at once to the mean of its context; 0 where it has none."""

    name: str = "Context mean"
    group: Group = "simple"
    tuned: str = ""
    seconds: float | None = None

    def predict(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"], horizon: int
    ) -> Float[Tensor, "B P {horizon}"]:
        """The mean, at every step."""
        return context_mean(context_BPT, valid_BPT).expand(-1, -1, horizon)


def context_mean(context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> Float[Tensor, "B P 1"]:
    """The mean of each parcel's valid values; 0 where it has none."""
    total_BP1 = context_BPT.masked_fill(~valid_BPT, 0.0).sum(dim=2, keepdim=True)
    return total_BP1 / valid_BPT.sum(dim=2, keepdim=True).clamp(min=1).to(torch.float32)
