"""Everything a model is, apart from what its parcels table says: sizes, patches, positions, head; and the presets.

Importing this needs no torch, so that help texts stay instant. Building the network is in ``autoencoder.py``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from brainlm.errors import ConfigError

Head = Literal["plain", "gaussian", "space-time"]
Spatial = Literal["learned", "coordinates", "grid"]
Temporal = Literal["learned", "sinusoidal", "grid"]
Norm = Literal["before", "after"]
CHOICES = {"head": Head, "spatial_positions": Spatial, "temporal_positions": Temporal, "norm": Norm}
MAY_BE_ZERO = frozenset({"own_covariance_points", "image_size", "value_convolution"})


@dataclass(frozen=True)
class Stack:
    """Sizes and choices of a stack of Transformer blocks; see ``ModelConfig``."""

    width: int
    depth: int
    num_heads: int
    mlp: int
    dropout: float
    norm: Norm
    norm_epsilon: float
    value_convolution: int


@dataclass(frozen=True)
class ModelConfig:
    """Settings of a masked autoencoder over windows of P parcels x T time points; defaults: the paper's 13M model.

    Args:
        num_timepoints: T, the length of a window in time points.
        parcels_per_patch: parcels that share one token; a P that does not divide is padded, the padding is not valid.
        timepoints_per_patch: time points of one token; must divide ``num_timepoints``.
        parcel_order: which parcels are neighbours in a patch: ``y`` (MNI y, as in the paper), ``atlas`` or
            ``network:<column of parcels.tsv>``.
        encoder_width: D of the encoder.
        encoder_depth: number of encoder blocks.
        encoder_heads: attention heads of the encoder.
        encoder_mlp: hidden width of the encoder's feed-forward layers.
        decoder_width: D of the decoder.
        decoder_depth: number of decoder blocks.
        decoder_heads: attention heads of the decoder.
        decoder_mlp: hidden width of the decoder's feed-forward layers.
        spatial_positions: ``learned`` (one vector a patch), ``coordinates`` (a linear map of MNI coordinates) or
            ``grid`` (fixed sines and cosines of row and column, as for images; then the temporal ones, too).
        temporal_positions: ``learned``, ``sinusoidal`` or ``grid``.
        dropout: share of activations dropped after attention and feed-forward layers while training.
        head: ``plain`` predicts the hidden signal (the paper); ``gaussian`` starts from the Gaussian conditional mean
            of the hidden values given the visible ones of the same time point and predicts what that leaves over;
            ``space-time`` does the same given all visible values of the window (docs/model.md).
        own_covariance_points: without ``head=plain``: how many time points the population's covariance counts for when
            it is blended with the recording's own outside the window: weight n / (n + this). 0 means never blended.
        image_size: 0, or the side in pixels of a square in whose centre the window lies (111M and 650M as published):
            patches cover the whole square, and all of them, with signal or without, are seen unless hidden.
        image_fill: the value of the square outside the window.
        coordinate_unit_mm: MNI coordinates are divided by this many mm before they are mapped.
        norm: LayerNorm ``before`` attention and feed-forward layers, or ``after`` their sums (13M as published).
        norm_epsilon: what LayerNorm adds to the variance.
        value_convolution: 0, or the odd length of a filter along the tokens, one a head, of the attention's values,
            added to what attention returns (13M as published).
        head_layers: linear layers from the decoder to the predicted values, 1 or 2 (with a LeakyReLU between).
    """

    num_timepoints: int = 200
    parcels_per_patch: int = 1
    timepoints_per_patch: int = 20
    parcel_order: str = "y"
    encoder_width: int = 512
    encoder_depth: int = 4
    encoder_heads: int = 4
    encoder_mlp: int = 1024
    decoder_width: int = 512
    decoder_depth: int = 2
    decoder_heads: int = 4
    decoder_mlp: int = 1024
    spatial_positions: Spatial = "learned"
    temporal_positions: Temporal = "learned"
    dropout: float = 0.0
    head: Head = "plain"
    own_covariance_points: int = 0
    image_size: int = 0
    image_fill: float = -1.0
    coordinate_unit_mm: float = 100.0
    norm: Norm = "before"
    norm_epsilon: float = 1e-5
    value_convolution: int = 0
    head_layers: int = 1

    def __post_init__(self) -> None:
        self._check_positive()
        self._check_choices()
        self._check_patches()
        for part, width, heads in (
            ("encoder", self.encoder_width, self.encoder_heads),
            ("decoder", self.decoder_width, self.decoder_heads),
        ):
            parts = {"sinusoidal": 2, "grid": 4}.get(self.temporal_positions, 1)
            if width % heads or width % parts:
                raise ConfigError(
                    f"the {part}'s width does not fit its heads or positions",
                    expected=f"{part}_width a multiple of {part}_heads (and of 2 for sinusoidal, 4 for grid positions)",
                    found=f"{part}_width={width}, {part}_heads={heads}",
                    remedy=f"change {part}_width or {part}_heads",
                )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError("dropout is not a share", expected="0 <= dropout < 1", found=str(self.dropout))
        if self.head == "plain" and self.own_covariance_points:
            raise ConfigError(
                "own_covariance_points needs a Gaussian head",
                found=f"head=plain, own_covariance_points={self.own_covariance_points}",
                remedy="set head=gaussian or head=space-time, or leave own_covariance_points at 0",
            )
        self._check_as_published()

    def _check_patches(self) -> None:
        step, side = self.timepoints_per_patch, self.image_size
        if side and (side % step or side % self.parcels_per_patch or side < self.num_timepoints):
            raise ConfigError(
                "the image is not a whole number of patches, or smaller than the window",
                expected=f"image_size a multiple of {self.parcels_per_patch} and {step}, {self.num_timepoints} or more",
                found=f"image_size={side}",
            )
        if not side and self.num_timepoints % step:
            nearest = max(step, self.num_timepoints // step * step)
            raise ConfigError(
                "the window is not a whole number of patches",
                expected=f"num_timepoints a multiple of timepoints_per_patch={step}",
                found=f"num_timepoints={self.num_timepoints}",
                remedy=f"use {nearest} time points, or another patch",
            )

    def _check_as_published(self) -> None:
        grids = (self.spatial_positions == "grid") + (self.temporal_positions == "grid")
        for wrong, expected, found in (
            (grids == 1, "both positions grid, or neither", f"{self.spatial_positions}, {self.temporal_positions}"),
            (
                self.value_convolution and self.value_convolution % 2 == 0,
                "an odd value_convolution",
                str(self.value_convolution),
            ),
            (self.head_layers not in (1, 2), "head_layers 1 or 2", str(self.head_layers)),
            (not self.coordinate_unit_mm > 0, "coordinate_unit_mm > 0", str(self.coordinate_unit_mm)),
            (not self.norm_epsilon > 0, "norm_epsilon > 0", str(self.norm_epsilon)),
            (not math.isfinite(self.image_fill), "a finite image_fill", str(self.image_fill)),
        ):
            if wrong:
                raise ConfigError("the model's settings contradict each other", expected=expected, found=found)

    def _check_positive(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and (value < 0 or (value == 0 and field.name not in MAY_BE_ZERO)):
                raise ConfigError(
                    f"{field.name} cannot be {value}", expected="a positive whole number", found=str(value)
                )

    def _check_choices(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(
                    f"{name} cannot be {getattr(self, name)!r}",
                    expected=f"one of {', '.join(get_args(choices))}",
                    found=str(getattr(self, name)),
                )

    @property
    def encoder(self) -> Stack:
        """The encoder's blocks."""
        return self._stack(self.encoder_width, self.encoder_depth, self.encoder_heads, self.encoder_mlp)

    @property
    def decoder(self) -> Stack:
        """The decoder's blocks."""
        return self._stack(self.decoder_width, self.decoder_depth, self.decoder_heads, self.decoder_mlp)

    def _stack(self, width: int, depth: int, num_heads: int, mlp: int) -> Stack:
        return Stack(width, depth, num_heads, mlp, self.dropout, self.norm, self.norm_epsilon, self.value_convolution)

    @property
    def num_columns(self) -> int:
        """How many patches one row of parcels is cut into, those outside the window (``image_size``) counted."""
        return (self.image_size or self.num_timepoints) // self.timepoints_per_patch

    @property
    def columns_with_signal(self) -> range:
        """The columns of patches that lie in the window, wholly or in part."""
        first, step = self.time_offset, self.timepoints_per_patch
        return range(first // step, -(-(first + self.num_timepoints) // step))

    @property
    def num_temporal_patches(self) -> int:
        """How many patches of one row of parcels lie in the window, wholly or in part."""
        return len(self.columns_with_signal)

    @property
    def time_offset(self) -> int:
        """Where in the image the window's first time point lies; 0 without an image."""
        return max(0, self.image_size - self.num_timepoints) // 2

    @property
    def last_patch(self) -> int:
        """How many of the window's time points its last patch holds."""
        inside = self.time_offset + self.num_timepoints
        return inside - self.columns_with_signal[-1] * self.timepoints_per_patch

    def parcel_offset(self, num_parcels: int) -> int:
        """Where in the image the first parcel lies; 0 without an image."""
        return max(0, self.image_size - num_parcels) // 2

    def num_spatial_patches(self, num_parcels: int) -> int:
        """How many patches it takes to cover ``num_parcels`` parcels, or the image; the last may be padded."""
        return -(-(self.image_size or num_parcels) // self.parcels_per_patch)

    def num_tokens(self, num_parcels: int) -> int:
        """N, the number of patches of a window (CLS not counted)."""
        return self.num_spatial_patches(num_parcels) * self.num_columns


PRESETS: dict[str, ModelConfig] = {
    # Small enough for `make demo` on two cores; patches of 1 x 20 as in the paper.
    "tiny": ModelConfig(
        encoder_width=96,
        encoder_depth=3,
        encoder_heads=3,
        encoder_mlp=256,
        decoder_width=96,
        decoder_depth=1,
        decoder_heads=3,
        decoder_mlp=256,
    ),
    "13m": ModelConfig(),
    "111m": ModelConfig(
        parcels_per_patch=8,
        encoder_width=768,
        encoder_depth=12,
        encoder_heads=12,
        encoder_mlp=3072,
        decoder_depth=8,
        decoder_heads=16,
        decoder_mlp=2048,
    ),
    "650m": ModelConfig(
        parcels_per_patch=8,
        encoder_width=1280,
        encoder_depth=32,
        encoder_heads=16,
        encoder_mlp=5120,
        decoder_depth=8,
        decoder_heads=16,
        decoder_mlp=2048,
    ),
}


def preset(name: str) -> ModelConfig:
    """The preset called ``name``.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}", expected=f"one of {', '.join(PRESETS)}", found=name)
    return PRESETS[name]
