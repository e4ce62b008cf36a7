"""A network on disk: ``config.json`` and ``model.safetensors``, enough to rebuild it anywhere; never a pickle.

The scaler, the parcels table and the provenance that complete a checkpoint folder are written by ``inference.py``.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from brainlm.atomic import replacing, replacing_at
from brainlm.errors import BrainLMError, CheckpointError, ConfigError
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import ModelConfig

FORMAT_VERSION = 1
MODEL_TYPE = "brainlm"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def write_network(folder: str | Path, network: MaskedAutoencoder) -> None:
    """Write ``network`` into ``folder``; each file is whole or absent."""
    folder = Path(folder)
    content = {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        "num_parcels": network.tokenizer.num_parcels,
        "model": dataclasses.asdict(network.config),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    _write_tensors(folder / WEIGHTS_FILE, tensors)
    write_whole(folder / CONFIG_FILE, (json.dumps(content, indent=2) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` is never half written, even when the machine stops in the middle.

    Raises:
        CheckpointError: the disk is full or the place cannot be written; what was there before is untouched.
    """
    with replacing(path, kind=CheckpointError) as file:
        file.write(content)


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """``write_whole`` for tensors, straight from memory: as bytes they would be there three times (650M: 8 GB)."""
    with replacing_at(path, kind=CheckpointError) as beside:
        try:
            save_file(tensors, beside)
        except SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))
            raise OSError(int(code[1]) if code else 0, str(error)) from error


def read_network(folder: str | Path) -> MaskedAutoencoder:
    """The network in ``folder``, on the CPU, ready for inference.

    Raises:
        CheckpointError: a file is missing, damaged, of a newer format or of another kind of model, or a tensor is
            missing, unknown or has another shape than the config says.
    """
    folder = Path(folder)
    content = _read_config(folder / CONFIG_FILE)
    config = config_from_dict(content["model"], where=str(folder / CONFIG_FILE))
    tensors = read_tensors(folder / WEIGHTS_FILE)
    num_parcels = content["num_parcels"]
    coordinates = torch.zeros(num_parcels, 3) if config.spatial_positions == "coordinates" else None
    order = tensors.get("tokenizer.order_P")
    if order is None or order.shape != (num_parcels,) or order.dtype != torch.int64:
        raise _unfitting(folder, "tokenizer.order_P", f"int64 ({num_parcels},)", order)
    network = unfilled_network(config, order, coordinates=coordinates)
    _check_tensors(folder, network.state_dict(), tensors)
    return filled(network, tensors)


def unfilled_network(
    config: ModelConfig, order: Int64[Tensor, "P"], *, coordinates: Float[Tensor, "P 3"] | None = None
) -> MaskedAutoencoder:
    """A network whose parameters are still to come from a file: no memory for them, and no random numbers drawn (20 s
    for the 650M). What follows from parcels and settings alone is there.
    """
    with torch.device("meta"):
        return MaskedAutoencoder(config, order, coordinates=coordinates)


def filled(network: MaskedAutoencoder, tensors: dict[str, Tensor]) -> MaskedAutoencoder:
    """An unfilled network with ``tensors``, one for every entry of its state, ready for inference on the CPU.

    They are copied (those of a safetensors file lie in the file, and would change with it) and taken out of ``tensors``
    one by one, so that all of them are never there twice.
    """
    dtypes = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    copies = {
        name: tensors.pop(name).to(dtype, copy=True, memory_format=torch.contiguous_format)
        for name, dtype in dtypes.items()
    }
    assert not tensors, sorted(tensors)
    network.load_state_dict(copies, assign=True)
    return network.eval()


def config_from_dict(settings: Mapping[str, Any], *, where: str) -> ModelConfig:
    """The model config in ``settings``; unknown keys are refused with the nearest known name.

    Raises:
        CheckpointError: a key is unknown, or the values contradict each other.
    """
    known = [field.name for field in dataclasses.fields(ModelConfig)]
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise CheckpointError(
                f"{where}: unknown model setting {key!r}",
                expected=f"{near[0]!r}?" if near else f"one of {', '.join(known)}",
                found=key,
                remedy="use a newer brainlm, or correct the file",
            )
    try:
        return ModelConfig(**settings)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(
            f"{where}: the model settings cannot be used",
            found=error.problem if isinstance(error, ConfigError) else str(error),
            remedy="restore the file as it was written",
        ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}", remedy="give the folder that holds the whole checkpoint")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged",
            expected="a whole safetensors file",
            found=f"{path.stat().st_size} bytes: {error}",
            remedy="copy it again from where it came from",
        ) from error


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(
            f"{path.parent} is not a checkpoint folder",
            expected=f"{CONFIG_FILE} and {WEIGHTS_FILE}",
            found=", ".join(sorted(entry.name for entry in path.parent.glob("*"))[:8]) or "nothing",
            remedy="give the folder of a run, or of a downloaded checkpoint",
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kind = content["model_type"]
        if kind != MODEL_TYPE:
            raise CheckpointError(
                f"{path} belongs to another kind of model",
                expected=f"model_type {MODEL_TYPE!r}, or as published 'brainlm_mae' (13M) or 'vit_mae' (111M, 650M)",
                found=f"model_type {kind!r}",
                remedy="give a run folder, a checkpoint folder, or one of the published folders",
            )
        version = int(content["format_version"])
        int(content["num_parcels"]), content["model"].items()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a brainlm config",
            expected="model_type, format_version, num_parcels and model",
            found=f"{type(error).__name__}: {error}",
            remedy="give a checkpoint folder that brainlm wrote",
        ) from error
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was written by a newer brainlm",
            expected=f"format_version up to {FORMAT_VERSION}",
            found=f"format_version {version}",
            remedy="use a newer brainlm",
        )
    return content


def _check_tensors(folder: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for name in sorted(expected.keys() | found.keys()):
        wanted, given = expected.get(name), found.get(name)
        if wanted is None:
            raise _unfitting(folder, name, "no such tensor", given)
        if given is None or given.shape != wanted.shape:
            raise _unfitting(folder, name, f"shape {tuple(wanted.shape)}", given)


def _unfitting(folder: Path, name: str, expected: str, given: Tensor | None) -> BrainLMError:
    return CheckpointError(
        f"{folder / WEIGHTS_FILE} does not fit its {CONFIG_FILE}: tensor {name}",
        expected=expected,
        found="missing" if given is None else f"{given.dtype}, shape {tuple(given.shape)}",
        remedy="keep the two files of one checkpoint together; nothing was loaded",
    )
