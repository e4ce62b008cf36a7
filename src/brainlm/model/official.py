"""The published checkpoints (Hub: vandijklab/brainlm) in our own network: settings and weights, key by key.

Two layouts (docs/released.md): ``brainlm_mae`` (13M) and ``vit_mae`` (111M, 650M). Every key of a file is known, of the
right shape and used, or the file is refused. What belongs to the weights besides the network is in
``inference/released.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brainlm.errors import CheckpointError, ConfigError
from brainlm.files import read_json
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.checkpoint import CONFIG_FILE, WEIGHTS_FILE, filled, read_tensors, unfilled_network
from brainlm.model.config import ModelConfig
from brainlm.model.pickled import read_pickled
from brainlm.model.tokens import sinusoids

PICKLE_FILE = "pytorch_model.bin"
NUM_PARCELS, NUM_TIMEPOINTS = 424, 200  # of the image layout, whose settings do not say them
MASK_RATIO, NORM_EPSILON = 0.75, 1e-12  # where the settings do not say them
MOST_SHOWN = 60  # characters of a wrong value in a message
IMAGE_MODES = ("auto_encode", "predict_last", "predict_last_pixel")
# How far stored sines may be from ours at position 0; at position n, n + 1 times as far: angles are float32, and an
# exponential that is rounded the other way (another processor, another torch) turns them by 8e-8 a position (measured).
SAME = 1e-6


@dataclass(frozen=True, eq=False)
class OfficialFolder:
    """A published checkpoint: its layout, what its settings mean for us, where its weights are, and what share of the
    tokens its own code hides.
    """

    folder: Path
    layout: str
    config: ModelConfig
    num_parcels: int
    mask_ratio: float

    @property
    def needs_coordinates(self) -> bool:
        """True if the weights map MNI coordinates."""
        return self.config.spatial_positions == "coordinates"

    def network(
        self, order: Int64[Tensor, "P"], *, coordinates: Float[Tensor, "P 3"] | None = None
    ) -> MaskedAutoencoder:
        """The network with the folder's weights, on the CPU, ready for inference.

        Args:
            order: the parcels' indices in the order in which patches gather them.
            coordinates: MNI mm, for the 13M.

        Raises:
            CheckpointError: the weights cannot be read, or a key is unknown, missing or of another shape than the
                settings say.
        """
        taken = _Taken(self.folder, _read_weights(self.folder))
        # Before the network is built: settings that contradict the weights may ask for any amount of memory.
        ours = (_sequence if self.layout == "brainlm_mae" else _image)(taken, self.config)
        taken.refuse_rest()
        network = unfilled_network(self.config, order, coordinates=coordinates)
        wanted = network.state_dict()
        kept = {"tokenizer.order_P", "encoder_positions.coordinates_R3", "decoder_positions.coordinates_R3"}
        assert wanted.keys() - kept == ours.keys(), wanted.keys() ^ ours.keys()
        for name, tensor in ours.items():
            assert tensor.shape == wanted[name].shape, (name, tensor.shape, wanted[name].shape)
        ours |= {name: wanted[name] for name in kept & wanted.keys()}
        return filled(network, ours)


def read_official(folder: str | Path) -> OfficialFolder | None:
    """The published checkpoint in ``folder``; None if ``config.json`` is not of their kind.

    Raises:
        CheckpointError: it is of their kind, but has settings that the published checkpoints do not have.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    try:
        settings = read_json(path, what="settings", remedy="", kind=CheckpointError)
    except CheckpointError:  # whoever reads our own folders says so
        return None
    layout = settings.get("model_type")
    if not isinstance(layout, str) or layout not in _CONFIGS:
        return None
    reader = _Settings(path, settings)
    try:
        config, num_parcels = _CONFIGS[layout](reader)
        mask_ratio = reader.real("mask_ratio", MASK_RATIO, low=0.0, high=1.0)
    except ConfigError as error:
        raise reader.unusable(f"{error.problem}: {error.found}", expected=error.expected) from error
    return OfficialFolder(folder, layout, config, num_parcels, mask_ratio)


@dataclass(frozen=True)
class _Settings:
    """The published ``config.json``."""

    path: Path
    values: Mapping[str, Any]

    def number(self, name: str) -> int:
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.unusable(f"{name} is {_shown(value)}", expected="a whole number, 1 or more")
        return value

    def real(self, name: str, default: float, *, low: float, high: float) -> float:
        value = self.values.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise self.unusable(f"{name} is {_shown(value)}", expected=f"a number from {low:g} to {high:g}")
        return float(value)

    def must_be(self, name: str, *allowed: object) -> None:
        if name in self.values and self.values[name] not in allowed:
            raise self.unusable(f"{name} is {_shown(self.values[name])}", expected=" or ".join(map(repr, allowed)))

    def unusable(self, found: str, *, expected: str | None) -> CheckpointError:
        return CheckpointError(
            f"{self.path} has settings that no published BrainLM checkpoint has",
            expected=expected,
            found=found,
            remedy="give one of the folders old_13M, vitmae_111M, vitmae_650M as published; nothing was loaded",
        )

    def sizes(self) -> dict[str, Any]:
        """What both layouts say in the same words."""
        self.must_be("hidden_act", "gelu")
        self.must_be("qkv_bias", True)
        self.must_be("norm_pix_loss", False)
        return {
            "encoder_width": self.number("hidden_size"),
            "encoder_depth": self.number("num_hidden_layers"),
            "encoder_heads": self.number("num_attention_heads"),
            "encoder_mlp": self.number("intermediate_size"),
            "decoder_width": self.number("decoder_hidden_size"),
            "decoder_depth": self.number("decoder_num_hidden_layers"),
            "decoder_heads": self.number("decoder_num_attention_heads"),
            "decoder_mlp": self.number("decoder_intermediate_size"),
            "norm_epsilon": self.real("layer_norm_eps", NORM_EPSILON, low=1e-15, high=1.0),
        }


def _shown(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."


def _sequence_config(settings: _Settings) -> tuple[ModelConfig, int]:
    """One parcel a token, post-norm blocks with a convolution, raw millimetres."""
    settings.must_be("use_tanh_decoder", False)
    settings.must_be("loss_fn", "mse")
    if settings.number("num_landmarks") != settings.number("segment_means_seq_len"):
        raise settings.unusable("num_landmarks differs from segment_means_seq_len", expected="equal: exact attention")
    if settings.number("decoder_hidden_size") != settings.number("hidden_size"):
        raise settings.unusable("decoder_hidden_size differs from hidden_size", expected="equal (they share positions)")
    config = ModelConfig(
        num_timepoints=settings.number("num_timepoints_per_voxel"),
        timepoints_per_patch=settings.number("timepoint_patching_size"),
        parcel_order="atlas",
        spatial_positions="coordinates",
        temporal_positions="sinusoidal",
        coordinate_unit_mm=1.0,
        norm="after",
        value_convolution=settings.number("conv_kernel_size"),
        head_layers=2,
        **settings.sizes(),
    )
    return config, settings.number("num_brain_voxels")


def _image_config(settings: _Settings) -> tuple[ModelConfig, int]:
    """A window of 424 x 200 in the middle of a square image, square patches, positions of a grid."""
    settings.must_be("num_channels", 3)
    settings.must_be("train_mode", *IMAGE_MODES)
    size = settings.values.get("image_size")
    side = size[0] if isinstance(size, list) and len(size) == 2 and size[0] == size[1] else size
    if not isinstance(side, int) or side < NUM_PARCELS:
        raise settings.unusable(f"image_size is {_shown(size)}", expected=f"a square of {NUM_PARCELS} pixels or more")
    config = ModelConfig(
        num_timepoints=NUM_TIMEPOINTS,
        parcels_per_patch=settings.number("patch_size"),
        timepoints_per_patch=settings.number("patch_size"),
        parcel_order="y",
        spatial_positions="grid",
        temporal_positions="grid",
        image_size=side,
        **settings.sizes(),
    )
    return config, NUM_PARCELS


_CONFIGS = {"brainlm_mae": _sequence_config, "vit_mae": _image_config}


class _Taken:
    """The tensors of a published file, each to be taken once, in the shape that the settings imply."""

    def __init__(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        self.folder = folder
        self._left = dict(tensors)

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor called ``name``, as float32."""
        tensor = self._left.pop(name, None)
        if tensor is None or tuple(tensor.shape) != shape:
            raise self.unfitting(
                name, f"shape {shape}", "missing" if tensor is None else f"shape {tuple(tensor.shape)}"
            )
        if not tensor.is_floating_point() or tensor.layout is not torch.strided or tensor.is_meta:
            raise self.unfitting(name, "floating-point numbers", f"{tensor.dtype}, {tensor.layout}, {tensor.device}")
        tensor = tensor.float()
        if not tensor.isfinite().all():
            raise self.unfitting(name, "finite numbers", "NaN or infinity")
        return tensor

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Of a tensor that was not taken yet; empty if there is none."""
        return tuple(self._left[name].shape) if name in self._left else ()

    def linear(self, theirs: str, ours: str, wide: int, narrow: int) -> dict[str, Tensor]:
        """Weight and bias of a linear map from ``narrow`` to ``wide`` (or of a LayerNorm, when ``narrow`` is 0)."""
        weight = self.take(f"{theirs}.weight", *((wide, narrow) if narrow else (wide,)))
        return {f"{ours}.weight": weight, f"{ours}.bias": self.take(f"{theirs}.bias", wide)}

    def unused(self, name: str, *shape: int) -> None:
        """A tensor that their code may store and never uses."""
        if name in self._left and tuple(self._left.pop(name).shape) != shape:
            raise self.unfitting(name, f"shape {shape}", "another shape")

    def refuse_rest(self) -> None:
        for name, tensor in sorted(self._left.items()):
            raise self.unfitting(name, "no such tensor", f"shape {tuple(tensor.shape)}")

    def unfitting(self, name: str, expected: str, found: str) -> CheckpointError:
        return CheckpointError(
            f"the weights in {self.folder} do not fit its {CONFIG_FILE}: {name}",
            expected=expected,
            found=found,
            remedy="keep the two files of one published checkpoint together; nothing was loaded",
        )


def _sequence(taken: _Taken, config: ModelConfig) -> dict[str, Tensor]:
    """The weights of the 13M layout under our names."""
    width, decoder_width, step = config.encoder_width, config.decoder_width, config.timepoints_per_patch
    ours = {
        "cls_D": taken.take("vit.embeddings.cls_token", 1, 1, width).flatten(),
        "mask_D": taken.take("decoder.mask_token", 1, 1, decoder_width).flatten(),
        **taken.linear("vit.embeddings.signal_embedding_projection", "embed", width, step),
        **taken.linear("vit.embeddings.xyz_embedding_projection", "encoder_positions.project", width, 3),
        **taken.linear("decoder.decoder_xyz_projection", "decoder_positions.project", decoder_width, 3),
        **taken.linear("vit.layernorm", "encoder.norm", width, 0),
        **taken.linear("decoder.decoder_norm", "decoder.norm", decoder_width, 0),
        **taken.linear("decoder.decoder_embed", "to_decoder", decoder_width, width),
        **taken.linear("decoder.decoder_pred1", "head.0", decoder_width // 2, decoder_width),
        **taken.linear("decoder.decoder_pred2", "head.2", step, decoder_width // 2),
    }
    for part, wide in (("vit.embeddings", width), ("decoder", decoder_width)):
        _check_sinusoids(taken, f"{part}.pos_embedding.pe", config.num_columns, wide)
    num_unused = (*taken.shape_of("decoder.decoder_pred.weight"), 0)[0]  # the head of the class theirs is derived from
    taken.unused("decoder.decoder_pred.weight", num_unused, decoder_width)
    taken.unused("decoder.decoder_pred.bias", num_unused)
    for theirs, mine, stack in (
        ("vit.encoder.layer", "encoder.blocks", config.encoder),
        ("decoder.decoder_layers", "decoder.blocks", config.decoder),
    ):
        for number in range(stack.depth):
            layer, block = f"{theirs}.{number}", f"{mine}.{number}"
            ours |= _attention(taken, f"{layer}.attention.self", f"{layer}.attention.output.dense", block, stack.width)
            ours |= taken.linear(f"{layer}.attention.output.LayerNorm", f"{block}.attention_norm", stack.width, 0)
            ours |= _feed_forward(taken, layer, block, stack.width, stack.mlp)
            ours |= taken.linear(f"{layer}.output.LayerNorm", f"{block}.feed_forward_norm", stack.width, 0)
            kernel = taken.take(f"{layer}.attention.self.conv.weight", stack.num_heads, 1, config.value_convolution, 1)
            ours[f"{block}.attention.filter_HL"] = kernel[:, 0, :, 0].contiguous()
    return ours


def _image(taken: _Taken, config: ModelConfig) -> dict[str, Tensor]:
    """The weights of the image layouts under our names, their three equal channels folded into one."""
    width, decoder_width, side = config.encoder_width, config.decoder_width, config.parcels_per_patch
    num_patches, num_values = config.num_tokens(NUM_PARCELS), side * side
    places_ND = taken.take("vit.embeddings.position_embeddings", 1, num_patches + 1, width)[0]
    decoder_places_ND = taken.take("decoder.decoder_pos_embed", 1, num_patches + 1, decoder_width)[0]
    if decoder_places_ND[0].any():
        raise taken.unfitting("decoder.decoder_pos_embed", "zeros in its first row (CLS)", "other values")
    projection = taken.take("vit.embeddings.patch_embeddings.projection.weight", width, 3, side, side)
    # The same picture three times: summed weights give the same tokens; averaged ones the same average prediction.
    prediction = taken.take("decoder.decoder_pred.weight", num_values * 3, decoder_width)
    prediction_bias = taken.take("decoder.decoder_pred.bias", num_values * 3)
    ours = {
        "cls_D": taken.take("vit.embeddings.cls_token", 1, 1, width).flatten() + places_ND[0],
        "mask_D": taken.take("decoder.mask_token", 1, 1, decoder_width).flatten(),
        "encoder_positions.grid_ND": places_ND[1:].contiguous(),
        "decoder_positions.grid_ND": decoder_places_ND[1:].contiguous(),
        "embed.weight": projection.sum(dim=1).flatten(1),
        "embed.bias": taken.take("vit.embeddings.patch_embeddings.projection.bias", width),
        "head.weight": prediction.unflatten(0, (num_values, 3)).mean(dim=1),
        "head.bias": prediction_bias.unflatten(0, (num_values, 3)).mean(dim=1),
        **taken.linear("vit.layernorm", "encoder.norm", width, 0),
        **taken.linear("decoder.decoder_norm", "decoder.norm", decoder_width, 0),
        **taken.linear("decoder.decoder_embed", "to_decoder", decoder_width, width),
    }
    for theirs, mine, stack in (
        ("vit.encoder.layer", "encoder.blocks", config.encoder),
        ("decoder.decoder_layers", "decoder.blocks", config.decoder),
    ):
        for number in range(stack.depth):
            layer, block = f"{theirs}.{number}", f"{mine}.{number}"
            inner = f"{layer}.attention.attention"
            ours |= _attention(taken, inner, f"{layer}.attention.output.dense", block, stack.width)
            ours |= taken.linear(f"{layer}.layernorm_before", f"{block}.attention_norm", stack.width, 0)
            ours |= _feed_forward(taken, layer, block, stack.width, stack.mlp)
            ours |= taken.linear(f"{layer}.layernorm_after", f"{block}.feed_forward_norm", stack.width, 0)
    return ours


def _attention(taken: _Taken, inner: str, output: str, block: str, width: int) -> dict[str, Tensor]:
    """Their three projections, joined into our one, and the projection behind attention."""
    parts = [taken.linear(f"{inner}.{name}", name, width, width) for name in ("query", "key", "value")]
    joined = {
        f"{block}.attention.qkv.{kind}": torch.cat([part[name] for part in parts for name in part if kind in name])
        for kind in ("weight", "bias")
    }
    return joined | taken.linear(output, f"{block}.attention.out", width, width)


def _feed_forward(taken: _Taken, layer: str, block: str, width: int, mlp: int) -> dict[str, Tensor]:
    expand = taken.linear(f"{layer}.intermediate.dense", f"{block}.feed_forward.expand", mlp, width)
    return expand | taken.linear(f"{layer}.output.dense", f"{block}.feed_forward.contract", width, mlp)


def _check_sinusoids(taken: _Taken, name: str, num_columns: int, width: int) -> None:
    """Their stored sines, of the window's ``num_columns`` positions and more, must be the ones we compute."""
    length = max(num_columns, *taken.shape_of(name)[:1], 1)
    stored_LD = taken.take(name, length, width)
    allowed_L1 = SAME * torch.arange(1, length + 1)[:, None]
    if ((stored_LD - sinusoids(length, width)).abs() > allowed_L1).any():
        raise taken.unfitting(name, "sines and cosines of the position", "other values")


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a published folder: of the safetensors file if there is one, else of the pickle."""
    if (folder / WEIGHTS_FILE).is_file():
        return read_tensors(folder / WEIGHTS_FILE)
    path = folder / PICKLE_FILE
    if not path.is_file():
        raise CheckpointError(
            f"no weights in {folder}",
            expected=f"{PICKLE_FILE} or {WEIGHTS_FILE}",
            found=", ".join(sorted(entry.name for entry in folder.iterdir())[:8]),
            remedy="download the whole folder",
        )
    return read_pickled(path)
