"""Everything a model is, apart from what its parcels table says: sizes, patches, positions, head; and the presets.

Importing this needs no torch, so that help texts stay instant. Building the network is in ``autoencoder.py``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from brainlm.errors import ConfigError

Head = Literal["plain", "gaussian", "space-time"]
Spatial = Literal["learned", "coordinates"]
Temporal = Literal["learned", "sinusoidal"]
HEADS, SPATIAL, TEMPORAL = get_args(Head), get_args(Spatial), get_args(Temporal)


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
        spatial_positions: ``learned`` (one vector a patch) or ``coordinates`` (a linear map of MNI coordinates).
        temporal_positions: ``learned`` or ``sinusoidal``.
        dropout: share of activations dropped after attention and feed-forward layers while training.
        head: ``plain`` predicts the hidden signal (the paper); ``gaussian`` starts from the Gaussian conditional mean
            of the hidden values given the visible ones of the same time point and predicts what that leaves over;
            ``space-time`` does the same given all visible values of the window (docs/model.md).
        own_covariance_points: without ``head=plain``: how many time points the population's covariance counts for when
            it is blended with the recording's own outside the window: weight n / (n + this). 0 means never blended.
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

    def __post_init__(self) -> None:
        self._check_positive()
        self._check_choices()
        step = self.timepoints_per_patch
        if self.num_timepoints % step:
            nearest = max(step, self.num_timepoints // step * step)
            raise ConfigError(
                "the window is not a whole number of patches",
                expected=f"num_timepoints a multiple of timepoints_per_patch={step}",
                found=f"num_timepoints={self.num_timepoints}",
                remedy=f"use {nearest} time points, or another patch",
            )
        for part, width, heads in (
            ("encoder", self.encoder_width, self.encoder_heads),
            ("decoder", self.decoder_width, self.decoder_heads),
        ):
            if width % heads or (self.temporal_positions == "sinusoidal" and width % 2):
                raise ConfigError(
                    f"the {part}'s width does not fit its heads",
                    expected=f"{part}_width a multiple of {part}_heads (and even, for sinusoidal positions)",
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

    def _check_positive(self) -> None:
        may_be_zero = {"own_covariance_points"}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and (value < 0 or (value == 0 and field.name not in may_be_zero)):
                raise ConfigError(
                    f"{field.name} cannot be {value}", expected="a positive whole number", found=str(value)
                )

    def _check_choices(self) -> None:
        for name, choices in (("head", HEADS), ("spatial_positions", SPATIAL), ("temporal_positions", TEMPORAL)):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} cannot be {getattr(self, name)!r}",
                    expected=f"one of {', '.join(choices)}",
                    found=str(getattr(self, name)),
                )

    @property
    def num_temporal_patches(self) -> int:
        """How many patches one parcel's window is cut into."""
        return self.num_timepoints // self.timepoints_per_patch

    def num_spatial_patches(self, num_parcels: int) -> int:
        """How many patches it takes to cover ``num_parcels`` parcels; the last may be padded."""
        return -(-num_parcels // self.parcels_per_patch)

    def num_tokens(self, num_parcels: int) -> int:
        """N, the number of patches of a window (CLS not counted)."""
        return self.num_spatial_patches(num_parcels) * self.num_temporal_patches


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
