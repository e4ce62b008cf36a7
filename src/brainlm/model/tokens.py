"""From a window to tokens and back: cutting into patches, embedding them, and saying where each comes from.

Shapes: B batch, P parcels, T time points, R spatial patches (rows of parcels), C temporal patches (columns of time),
N = R x C patches in row-major order, V = values of one patch, D width. With ``image_size`` the patches cover a square
with the window in its centre. Which patches are hidden is in ``masks.py``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from brainlm.errors import ConfigError
from brainlm.model.config import ModelConfig
from brainlm.model.layers import INIT_STD

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
        if config.image_size and self.num_parcels > config.image_size:
            raise ConfigError(
                "the parcels do not fit into the image",
                expected=f"at most image_size={config.image_size} parcels",
                found=str(self.num_parcels),
            )
        self.num_timepoints = config.num_timepoints
        self.num_rows = config.num_spatial_patches(self.num_parcels)
        self.num_columns = config.num_columns
        self.columns_with_signal = config.columns_with_signal
        self.first_parcel, self.first_timepoint = config.parcel_offset(self.num_parcels), config.time_offset
        self.fill = config.image_fill if config.image_size else 0.0
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
    def padding(self) -> tuple[int, int, int, int]:
        """How many places without data lie before and after the time points, and before and after the parcels."""
        below = self.num_rows * self.parcels_per_patch - self.num_parcels - self.first_parcel
        behind = self.num_columns * self.timepoints_per_patch - self.num_timepoints - self.first_timepoint
        return self.first_timepoint, behind, self.first_parcel, below

    def patches(self, values_BPT: Shaped[Tensor, "B P T"]) -> Shaped[Tensor, "B N V"]:
        """The values of each patch; places without data hold the fill (False for booleans)."""
        if not self.in_atlas_order:
            values_BPT = values_BPT.index_select(1, self.order_P)
        if any(self.padding):
            values_BPT = F.pad(values_BPT, self.padding, value=0.0 if values_BPT.dtype is torch.bool else self.fill)
        batch = values_BPT.shape[0]
        cut = values_BPT.reshape(
            batch, self.num_rows, self.parcels_per_patch, self.num_columns, self.timepoints_per_patch
        )
        return cut.transpose(2, 3).reshape(batch, self.num_tokens, self.values_per_patch)

    def windows(self, patches_BNV: Shaped[Tensor, "B N V"]) -> Shaped[Tensor, "B P T"]:
        """The inverse of ``patches``: places without data are dropped."""
        batch = patches_BNV.shape[0]
        cut = patches_BNV.reshape(
            batch, self.num_rows, self.num_columns, self.parcels_per_patch, self.timepoints_per_patch
        )
        values = cut.transpose(2, 3).reshape(batch, self.num_rows * self.parcels_per_patch, -1)
        parcels = slice(self.first_parcel, self.first_parcel + self.num_parcels)
        values = values[:, parcels, self.first_timepoint : self.first_timepoint + self.num_timepoints]
        return values if self.in_atlas_order else values.index_select(1, self.position_P)

    def expand(self, flag_BN: Bool[Tensor, "B N"]) -> Bool[Tensor, "B P T"]:
        """A flag per patch, repeated for every value of the patch."""
        return self.windows(flag_BN[:, :, None].expand(-1, -1, self.values_per_patch))

    def rows_of_parcels(self) -> Int64[Tensor, "P"]:
        """The spatial patch that each parcel (in atlas order) belongs to."""
        return (self.position_P + self.first_parcel) // self.parcels_per_patch


class Positions(nn.Module):
    """What is added to each token so that the network knows its place: one part for space, one for time."""

    coordinates_R3: Tensor
    time_CD: Tensor
    grid_ND: Tensor

    def __init__(self, config: ModelConfig, width: int, tokenizer: Tokenizer, coordinates: Tensor | None) -> None:
        super().__init__()
        self.space, self.time = config.spatial_positions, config.temporal_positions
        if self.space == "grid":
            # Stored with the weights: published ones bring their own.
            self.register_buffer("grid_ND", _grid(tokenizer, width))
            return
        if self.space == "learned":
            self.space_RD = nn.Parameter(torch.empty(tokenizer.num_rows, width))
            nn.init.trunc_normal_(self.space_RD, std=INIT_STD)
        else:
            assert coordinates is not None, "coordinates are checked before the network is built"
            self.project = nn.Linear(3, width)
            centres_R3 = _patch_centres(tokenizer, coordinates) / config.coordinate_unit_mm
            self.register_buffer("coordinates_R3", centres_R3)
        if self.time == "learned":
            self.time_CD = nn.Parameter(torch.empty(tokenizer.num_columns, width))
            nn.init.trunc_normal_(self.time_CD, std=INIT_STD)
        else:
            time_CD = sinusoids(tokenizer.num_columns, width, device=tokenizer.order_P.device)
            self.register_buffer("time_CD", time_CD, persistent=False)

    def forward(self) -> Float[Tensor, "N D"]:
        """The encoding of every patch, in row-major order."""
        if self.space == "grid":
            return self.grid_ND
        space_RD = self.space_RD if self.space == "learned" else self.project(self.coordinates_R3)
        return (space_RD[:, None, :] + self.time_CD[None, :, :]).flatten(0, 1)


def _patch_centres(tokenizer: Tokenizer, coordinates: Float[Tensor, "P 3"]) -> Float[Tensor, "R 3"]:
    """Mean coordinates (mm) of the parcels of each spatial patch."""
    rows = tokenizer.rows_of_parcels()
    sums = torch.zeros(tokenizer.num_rows, 3, device=rows.device).index_add_(0, rows, coordinates.float())
    return sums / torch.bincount(rows, minlength=tokenizer.num_rows).clamp(min=1)[:, None]


def sinusoids(length: int, width: int, *, device: torch.device | None = None) -> Float[Tensor, "C D"]:
    """Sines and cosines of geometrically spaced frequencies, in turn (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(LONGEST_PERIOD) / width))
    angles = torch.arange(length, device=device)[:, None] * rates[None, :]
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def _grid(tokenizer: Tokenizer, width: int) -> Float[Tensor, "N D"]:
    """Half of the width for the column, half for the row, each the sines and then the cosines (He et al. 2022)."""
    device, num_rows, num_columns = tokenizer.order_P.device, tokenizer.num_rows, tokenizer.num_columns
    rates = LONGEST_PERIOD ** -(torch.arange(width // 4, dtype=torch.float64, device=device) / (width // 4))

    def along(length: int) -> Tensor:
        angles = torch.arange(length, device=device)[:, None] * rates[None, :]
        return torch.cat((angles.sin(), angles.cos()), dim=1).float()

    columns_RCD = along(num_columns)[None].expand(num_rows, -1, -1)
    rows_RCD = along(num_rows)[:, None].expand(-1, num_columns, -1)
    return torch.cat((columns_RCD, rows_RCD), dim=2).flatten(0, 1).contiguous()
