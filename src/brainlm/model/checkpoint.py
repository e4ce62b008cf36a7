"""A network on disk: ``config.json`` and ``model.safetensors``, enough to rebuild it anywhere; never a pickle.

The scaler, the parcels table and the provenance that complete a checkpoint folder are written by ``inference.py``.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from brainlm.atomic import replacing, replacing_at
from brainlm.errors import BrainLMError, CheckpointError, ConfigError
from brainlm.files import CHECKSUM, damaged, read_json, with_entries
from brainlm.model.autoencoder import LinearMoments, MaskedAutoencoder
from brainlm.model.config import ModelConfig

FORMAT_VERSION = 1
MODEL_TYPE = "brainlm"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
# Each is a side of a tensor in the file, or divides one.
_STORED_SIZES = (
    *(f"{part}_{size}" for part in ("encoder", "decoder") for size in ("width", "heads", "mlp")),
    "parcels_per_patch",
    "timepoints_per_patch",
)
MOST_COLUMNS = 10**6  # patches along time, of which sines are computed that no file holds


def write_network(folder: str | Path, network: MaskedAutoencoder, *, beside: str = "") -> None:
    """Write ``network`` into ``folder``; each file is whole or absent.

    Args:
        folder: made if it is not there.
        network: to write.
        beside: a hash of the files beside it that belong to it; stands with the weights, so that both are replaced in
            one step, and is compared by ``check_belongs``.
    """
    folder = Path(folder)
    content = {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        "num_parcels": network.tokenizer.num_parcels,
        "model": dataclasses.asdict(network.config),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    _write_tensors(folder / WEIGHTS_FILE, tensors, {CHECKSUM: _sha256(network, beside)})
    write_whole(folder / CONFIG_FILE, (json.dumps(content, indent=2) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` is never half written, even when the machine stops in the middle.

    Raises:
        CheckpointError: the disk is full or the place cannot be written; what was there before is untouched.
    """
    with replacing(path, kind=CheckpointError) as file:
        file.write(content)


def _write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """``write_whole`` for tensors, straight from memory: as bytes they would be there three times (650M: 8 GB)."""
    with replacing_at(path, kind=CheckpointError) as beside:
        try:
            save_file(tensors, beside, metadata=metadata)
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
    order = tensors.get("tokenizer.order_P")
    if order is None or order.shape != (num_parcels,) or order.dtype != torch.int64:
        raise _unfitting(folder, "tokenizer.order_P", f"int64 ({num_parcels},)", order)
    _check_sizes(folder, config, tensors)
    coordinates = torch.zeros(num_parcels, 3) if config.spatial_positions == "coordinates" else None
    try:
        network = unfilled_network(config, order, coordinates=coordinates)
    except (ConfigError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise CheckpointError(
            f"{folder / CONFIG_FILE} describes no network that can be built",
            expected="the settings that were written with the weights",
            found=str(error).splitlines()[0],
            remedy="restore the file as it was written",
        ) from error
    _check_tensors(folder, network.state_dict(), tensors)
    return filled(network, tensors)


def check_belongs(folder: Path, network: MaskedAutoencoder, *, beside: str) -> None:
    """Make sure that weights, settings and what stands beside them were written together.

    Checkpoints that older programs wrote do not say.

    Raises:
        CheckpointError: they were not, or one of them was changed since.
    """
    written = read_metadata(folder / WEIGHTS_FILE).get(CHECKSUM)
    if written is not None and written != (found := _sha256(network, beside)):
        raise CheckpointError(
            f"the files in {folder} do not belong together, or one was changed since they were written",
            expected=f"SHA-256 {written} over settings, weights, scaler, parcels and training record",
            found=f"SHA-256 {found}",
            remedy="copy the whole checkpoint folder again from where it came from; nothing was loaded",
        )


def _sha256(network: MaskedAutoencoder, beside: str) -> str:
    content = {"model": dataclasses.asdict(network.config), "beside": beside}
    lines = [json.dumps(content, sort_keys=True), *tensor_lines(network.state_dict())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def tensor_lines(tensors: Mapping[str, Tensor]) -> list[str]:
    """Name, type, shape and hash of the content of each tensor, by name; on the CPU nothing is copied."""
    with ThreadPoolExecutor() as pool:  # the 650M are 2.6 GB; hashing lets go of the interpreter
        return list(pool.map(_line, *zip(*sorted(tensors.items()), strict=True)))


def _line(name: str, tensor: Tensor) -> str:
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return f"{name} {tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(content).hexdigest()}"


def _check_sizes(folder: Path, config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise unless the file has room for what the config says: to build a network of any size may take for ever."""
    num_values = sum(tensor.numel() for tensor in tensors.values())
    for part, depth in (("encoder", config.encoder_depth), ("decoder", config.decoder_depth)):
        blocks = {name.split(".")[2] for name in tensors if name.startswith(f"{part}.blocks.")}
        _require(folder, f"{part}_depth", depth, len(blocks) == depth, f"{len(blocks)} blocks")
    for name in _STORED_SIZES:
        _require(folder, name, getattr(config, name), getattr(config, name) <= num_values, f"{num_values:,} values")
    columns = config.num_columns
    _require(folder, "num_timepoints", config.num_timepoints, columns <= MOST_COLUMNS, f"windows of {columns} patches")


def _require(folder: Path, name: str, value: int, fits: bool, there: str) -> None:
    if not fits:
        raise CheckpointError(
            f"{folder / CONFIG_FILE} does not fit its {WEIGHTS_FILE}: {name}",
            expected="the settings that were written with the weights",
            found=f"{name} {value}, weights with {there}",
            remedy="keep the two files of one checkpoint together; nothing was loaded",
        )


def unfilled_network(
    config: ModelConfig, order: Int64[Tensor, "P"], *, coordinates: Float[Tensor, "P 3"] | None = None
) -> MaskedAutoencoder:
    """A network whose parameters are still to come from a file: no memory for them, and no random numbers drawn (20 s
    for the 650M). What follows from parcels and settings alone is there.
    """
    with torch.device("meta"):
        linear = LinearMoments.independent(len(order), config.num_timepoints, device=torch.device("meta"))
        return MaskedAutoencoder(config, order, coordinates=coordinates, linear=linear)


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


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file holds beside its tensors."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(
            f"{path.parent} is not a checkpoint folder",
            expected=f"{CONFIG_FILE} and {WEIGHTS_FILE}",
            found=", ".join(sorted(entry.name for entry in path.parent.glob("*"))[:8]) or "nothing",
            remedy="give the folder of a run, or of a downloaded checkpoint",
        )
    what: dict[str, Any] = {
        "what": "model_type, format_version, num_parcels and model",
        "remedy": "give a checkpoint folder that brainlm wrote",
        "kind": CheckpointError,
    }
    content = read_json(path, **what)
    kind = content.get("model_type")
    if "model_type" in content and kind != MODEL_TYPE:
        raise CheckpointError(
            f"{path} belongs to another kind of model",
            expected=f"model_type {MODEL_TYPE!r}, or as published 'brainlm_mae' (13M) or 'vit_mae' (111M, 650M)",
            found=f"model_type {kind!r}",
            remedy="give a run folder, a checkpoint folder, or one of the published folders",
        )
    with damaged(path, **what):
        with_entries(content, {"format_version": int, "num_parcels": int, "model": dict})
    version = content["format_version"]
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
