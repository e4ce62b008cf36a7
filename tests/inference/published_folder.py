"""Folders in the two layouts of the published checkpoints, with weights of our own making.

Names and shapes are written down as the authors' code stores them, on purpose not taken from ``model/official.py``.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

NUM_SINES = 5000  # rows of the table of sines that the 13M's file holds

_BOTH = {
    "hidden_act": "gelu",
    "qkv_bias": True,
    "norm_pix_loss": False,
    "layer_norm_eps": 1e-12,
    "mask_ratio": 0.75,
    "num_channels": 3,
}

SEQUENCE = {
    **_BOTH,
    "model_type": "brainlm_mae",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 20,
    "num_brain_voxels": 6,
    "num_timepoints_per_voxel": 40,
    "timepoint_patching_size": 10,
    "conv_kernel_size": 5,
    "num_landmarks": 64,
    "segment_means_seq_len": 64,
    "use_tanh_decoder": False,
    "loss_fn": "mse",
}
IMAGE = {
    **_BOTH,
    "model_type": "vit_mae",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "decoder_hidden_size": 12,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 20,
    "image_size": [432, 432],
    "patch_size": 16,
    "train_mode": "auto_encode",
}

FULL_SIZE = {
    "old_13M": {
        **SEQUENCE,
        **{"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
        **{"decoder_hidden_size": 512, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 4},
        **{"decoder_intermediate_size": 1024, "num_brain_voxels": 424, "num_timepoints_per_voxel": 200},
        **{"timepoint_patching_size": 20, "conv_kernel_size": 65},
    },
    "vitmae_111M": {
        **IMAGE,
        **{"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
        **{"decoder_hidden_size": 512, "decoder_num_hidden_layers": 8, "decoder_num_attention_heads": 16},
        **{"decoder_intermediate_size": 2048},
    },
    "vitmae_650M": {
        **IMAGE,
        **{"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120},
        **{"decoder_hidden_size": 512, "decoder_num_hidden_layers": 8, "decoder_num_attention_heads": 16},
        **{"decoder_intermediate_size": 2048, "image_size": [434, 434], "patch_size": 14},
    },
}


def shapes_of(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of a published file with these settings, in the authors' names."""
    width, decoder_width = settings["hidden_size"], settings["decoder_hidden_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "vit.embeddings.cls_token": (1, 1, width),
        "decoder.mask_token": (1, 1, decoder_width),
    }

    def linear(name: str, wide: int, narrow: int) -> None:
        shapes.update({f"{name}.weight": (wide, narrow), f"{name}.bias": (wide,)})

    def norm(name: str, wide: int) -> None:
        shapes.update({f"{name}.weight": (wide,), f"{name}.bias": (wide,)})

    norm("vit.layernorm", width)
    norm("decoder.decoder_norm", decoder_width)
    linear("decoder.decoder_embed", decoder_width, width)
    is_image = settings["model_type"] == "vit_mae"
    if is_image:
        side = settings["patch_size"]
        num_places = (settings["image_size"][0] // side) ** 2 + 1
        shapes["vit.embeddings.position_embeddings"] = (1, num_places, width)
        shapes["decoder.decoder_pos_embed"] = (1, num_places, decoder_width)
        shapes["vit.embeddings.patch_embeddings.projection.weight"] = (width, 3, side, side)
        shapes["vit.embeddings.patch_embeddings.projection.bias"] = (width,)
        linear("decoder.decoder_pred", 3 * side**2, decoder_width)
    else:
        step = settings["timepoint_patching_size"]
        linear("vit.embeddings.signal_embedding_projection", width, step)
        linear("vit.embeddings.xyz_embedding_projection", width, 3)
        linear("decoder.decoder_xyz_projection", decoder_width, 3)
        shapes["vit.embeddings.pos_embedding.pe"] = (NUM_SINES, width)
        shapes["decoder.pos_embedding.pe"] = (NUM_SINES, decoder_width)
        linear("decoder.decoder_pred", 768, decoder_width)  # never used
        linear("decoder.decoder_pred1", decoder_width // 2, decoder_width)
        linear("decoder.decoder_pred2", step, decoder_width // 2)
    for part, kind in (("vit.encoder.layer", ""), ("decoder.decoder_layers", "decoder_")):
        wide, mlp = settings[f"{kind}hidden_size"], settings[f"{kind}intermediate_size"]
        for number in range(settings[f"{kind}num_hidden_layers"]):
            layer = f"{part}.{number}"
            inner = f"{layer}.attention.attention" if is_image else f"{layer}.attention.self"
            for name in ("query", "key", "value"):
                linear(f"{inner}.{name}", wide, wide)
            linear(f"{layer}.attention.output.dense", wide, wide)
            linear(f"{layer}.intermediate.dense", mlp, wide)
            linear(f"{layer}.output.dense", wide, mlp)
            if is_image:
                norm(f"{layer}.layernorm_before", wide)
                norm(f"{layer}.layernorm_after", wide)
            else:
                norm(f"{layer}.attention.output.LayerNorm", wide)
                norm(f"{layer}.output.LayerNorm", wide)
                heads = settings[f"{kind}num_attention_heads"]
                shapes[f"{inner}.conv.weight"] = (heads, 1, settings["conv_kernel_size"], 1)
    return shapes


def sines(length: int, width: int) -> Tensor:
    """Sines and cosines by turns, computed in double precision: not bit by bit what float32 gives."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    angles = position / 10_000.0 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).float()


def weights_of(settings: Mapping[str, Any], *, seed: int = 0) -> dict[str, Tensor]:
    """Random weights, large enough for everything to matter; norms near one."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes_of(settings).items():
        if name.endswith(".pe"):
            weights[name] = sines(*shape)
            continue
        spread = 1 / math.sqrt(shape[-1]) if len(shape) == 2 else 0.1
        weights[name] = spread * torch.randn(shape, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            weights[name] += 1
    if "decoder.decoder_pos_embed" in weights:
        weights["decoder.decoder_pos_embed"][:, 0] = 0
    return weights


def light_weights_of(settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of any size in a few bytes of file: one number, repeated without memory. Sines are as they must be."""
    return {
        name: sines(*shape) if name.endswith(".pe") else torch.zeros(1).expand(*shape)
        for name, shape in shapes_of(settings).items()
    }


def write_published(
    folder: Path, settings: Mapping[str, Any], weights: Mapping[str, Tensor] | None = None, *, as_safetensors=False
) -> Path:
    """Write ``config.json`` and the weights (random unless given); returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))
    weights = weights_of(settings) if weights is None else weights
    if as_safetensors:
        save_file(dict(weights), folder / "model.safetensors")
    else:
        torch.save(dict(weights), folder / "pytorch_model.bin")
    return folder
