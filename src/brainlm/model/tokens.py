"""From a window to tokens and back: cutting into patches, embedding them, and saying where each comes from.

Shapes: B batch, P parcels, T time points, R spatial patches (rows of parcels), C temporal patches (columns of time),
N = R x C patches in row-major order, V = values of one patch, D width. Which patches are hidden is in ``masks.py``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from brainlm.model.config import ModelConfig
from brainlm.model.layers import INIT_STD

MILLIMETRES_PER_UNIT = 100.0  # MNI coordinates reach about +-100 mm; divided by this they are of order one
LONGEST_PERIOD = 10_000.0  # of the sinusoidal encoding, as in the original Transformer


class Tokenizer(nn.Module):
    """Cuts windows into patches of ``parcels_per_patch x timepoints_per_patch`` and puts patches back.

    Holds no weights; it knows the order in which parcels lie next to each other and which places are padding.
    """

    order_P: Tensor
    position_P: Tensor

    def __init__(self, config: ModelConfig, order: Int64[Tensor, "P"]) -> None:
        super().__init__()
        self.num_parcels = len(order)
        self.num_rows = config.num_spatial_patches(self.num_parcels)
        self.num_columns = config.num_temporal_patches
        self.parcels_per_patch = config.parcels_per_patch
        self.timepoints_per_patch = config.timepoints_per_patch
        self.in_atlas_order = bool((order == torch.arange(self.num_parcels, device=order.device)).all())
        self.register_buffer("order_P", order.clone())
        self.register_buffer("position_P", torch.argsort(order), persistent=False)

    @property
    def num_tokens(self) -> int:
        """N, the number of patches of a window."""
        return self.num_rows * self.num_columns

    @property
    def values_per_patch(self) -> int:
        """V, the number of values in one patch."""
        return self.parcels_per_patch * self.timepoints_per_patch

    @property
    def num_padded_parcels(self) -> int:
        """How many places of the last spatial patch hold no parcel."""
        return self.num_rows * self.parcels_per_patch - self.num_parcels

    def patches(self, values_BPT: Shaped[Tensor, "B P T"]) -> Shaped[Tensor, "B N V"]:
        """The values of each patch; padded places hold zeros (False for booleans)."""
        if not self.in_atlas_order:
            values_BPT = values_BPT.index_select(1, self.order_P)
        if self.num_padded_parcels:
            values_BPT = F.pad(values_BPT, (0, 0, 0, self.num_padded_parcels))
        batch = values_BPT.shape[0]
        cut = values_BPT.reshape(
            batch, self.num_rows, self.parcels_per_patch, self.num_columns, self.timepoints_per_patch
        )
        return cut.transpose(2, 3).reshape(batch, self.num_tokens, self.values_per_patch)

    def windows(self, patches_BNV: Shaped[Tensor, "B N V"]) -> Shaped[Tensor, "B P T"]:
        """The inverse of ``patches``: padded places are dropped."""
        batch = patches_BNV.shape[0]
        cut = patches_BNV.reshape(
            batch, self.num_rows, self.num_columns, self.parcels_per_patch, self.timepoints_per_patch
        )
        values = cut.transpose(2, 3).reshape(batch, self.num_rows * self.parcels_per_patch, -1)
        values = values[:, : self.num_parcels]
        return values if self.in_atlas_order else values.index_select(1, self.position_P)

    def expand(self, flag_BN: Bool[Tensor, "B N"]) -> Bool[Tensor, "B P T"]:
        """A flag per patch, repeated for every value of the patch."""
        return self.windows(flag_BN[:, :, None].expand(-1, -1, self.values_per_patch))

    def rows_of_parcels(self) -> Int64[Tensor, "P"]:
        """The spatial patch that each parcel (in atlas order) belongs to."""
        return self.position_P // self.parcels_per_patch


class Positions(nn.Module):
    """What is added to each token so that the network knows its place: one part for space, one for time."""

    coordinates_R3: Tensor
    time_CD: Tensor

    def __init__(self, config: ModelConfig, width: int, tokenizer: Tokenizer, coordinates: Tensor | None) -> None:
        super().__init__()
        self.num_columns = tokenizer.num_columns
        if config.spatial_positions == "learned":
            self.space_RD = nn.Parameter(torch.empty(tokenizer.num_rows, width))
            nn.init.trunc_normal_(self.space_RD, std=INIT_STD)
        else:
            assert coordinates is not None, "coordinates are checked before the network is built"
            self.project = nn.Linear(3, width)
            self.register_buffer("coordinates_R3", _patch_centres(tokenizer, coordinates))
        self.learned_space = config.spatial_positions == "learned"
        if config.temporal_positions == "learned":
            self.time_CD = nn.Parameter(torch.empty(tokenizer.num_columns, width))
            nn.init.trunc_normal_(self.time_CD, std=INIT_STD)
        else:
            self.register_buffer("time_CD", _sinusoids(tokenizer.num_columns, width), persistent=False)

    def forward(self) -> Float[Tensor, "N D"]:
        """The encoding of every patch, in row-major order."""
        space_RD = self.space_RD if self.learned_space else self.project(self.coordinates_R3)
        return (space_RD[:, None, :] + self.time_CD[None, :, :]).flatten(0, 1)


def _patch_centres(tokenizer: Tokenizer, coordinates: Float[Tensor, "P 3"]) -> Float[Tensor, "R 3"]:
    """Mean coordinates of the parcels of each spatial patch, in units of ``MILLIMETRES_PER_UNIT``."""
    rows = tokenizer.rows_of_parcels()
    sums = torch.zeros(tokenizer.num_rows, 3).index_add_(0, rows, coordinates.float())
    counts = torch.bincount(rows, minlength=tokenizer.num_rows)
    return sums / counts[:, None] / MILLIMETRES_PER_UNIT


def _sinusoids(length: int, width: int) -> Float[Tensor, "C D"]:
    """Sines and cosines of geometrically spaced frequencies (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(LONGEST_PERIOD) / width))
    angles = torch.arange(length)[:, None] * rates[None, :]
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
