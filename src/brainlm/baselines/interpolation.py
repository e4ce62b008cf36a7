"""Methods that know nothing but the parcel's own visible neighbours in time: zero, linear interpolation, last value.

What must be beaten before anything else is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from brainlm.baselines.predictor import ANY_MASK, MaskedBatch


@dataclass(frozen=True)
class Zero:
    """Always 0: the centre of the scaled signal."""

    name: str = "Zero"
    mask_kinds: frozenset[str] = ANY_MASK

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """Zeros."""
        return torch.zeros_like(batch.signal_BPT)


@dataclass(frozen=True)
class LinearInterpolation:
    """A straight line between the parcel's nearest visible time points on both sides.

    Beyond the first or last visible point that point's value; 0 for a parcel of which nothing is visible. Whole hidden
    parcels and the future leave nothing to interpolate, so it is for random masks.
    """

    name: str = "Linear interpolation"
    mask_kinds: frozenset[str] = frozenset({"random"})

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """The interpolated signal."""
        neighbours = nearest_visible(batch.visible)
        left_BPT = batch.seen.gather(2, neighbours.left_BPT.clamp_min(0))
        num_timepoints = batch.signal_BPT.shape[2]
        right_BPT = batch.seen.gather(2, neighbours.right_BPT.clamp_max(num_timepoints - 1))
        time_T = torch.arange(num_timepoints, device=left_BPT.device)
        gap_BPT = (neighbours.right_BPT - neighbours.left_BPT).clamp_min(1)
        line_BPT = torch.lerp(left_BPT, right_BPT, (time_T - neighbours.left_BPT).to(left_BPT.dtype) / gap_BPT)
        has_left_BPT, has_right_BPT = neighbours.left_BPT >= 0, neighbours.right_BPT < num_timepoints
        line_BPT = torch.where(has_left_BPT, torch.where(has_right_BPT, line_BPT, left_BPT), right_BPT)
        return line_BPT * (has_left_BPT | has_right_BPT)


@dataclass(frozen=True)
class LastValue:
    """The parcel's last visible value, held; 0 where nothing was visible before."""

    name: str = "Last value"
    mask_kinds: frozenset[str] = frozenset({"future"})

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """The held signal."""
        left_BPT = nearest_visible(batch.visible).left_BPT
        return batch.seen.gather(2, left_BPT.clamp_min(0)) * (left_BPT >= 0)


@dataclass(frozen=True, eq=False)
class NearestVisible:
    """Indices of the nearest visible time points at or before (-1: none) and at or after (T: none) each time point."""

    left_BPT: Int64[Tensor, "B P T"]
    right_BPT: Int64[Tensor, "B P T"]


def nearest_visible(visible_BPT: Bool[Tensor, "B P T"]) -> NearestVisible:
    """The nearest visible time points on both sides of every time point of every parcel."""
    num_timepoints = visible_BPT.shape[2]
    time_T = torch.arange(num_timepoints, device=visible_BPT.device)
    left_BPT = torch.where(visible_BPT, time_T, -1).cummax(dim=2).values
    right_BPT = torch.where(visible_BPT, time_T, num_timepoints).flip(2).cummin(dim=2).values.flip(2)
    return NearestVisible(left_BPT, right_BPT)
