"""The checkpoint folder: everything a model needs on another machine, and nothing that can run code.

``config.json`` and ``model.safetensors`` are the network's (``model/checkpoint.py``); beside them stand
``scaler.safetensors``, ``parcels.tsv`` and ``provenance.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open
from safetensors.torch import save

from brainlm.atomic import disk_errors
from brainlm.data.parcels import Parcels
from brainlm.data.scaling import Scaler, ScalerKind
from brainlm.errors import BrainLMError, CheckpointError
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.checkpoint import CONFIG_FILE, WEIGHTS_FILE, read_network, read_tensors, write_network, write_whole

SCALER_FILE = "scaler.safetensors"
PARCELS_FILE = "parcels.tsv"
PROVENANCE_FILE = "provenance.json"
FILES = (CONFIG_FILE, WEIGHTS_FILE, SCALER_FILE, PARCELS_FILE, PROVENANCE_FILE)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds."""

    network: MaskedAutoencoder
    scaler: Scaler
    parcels: Parcels
    provenance: Mapping[str, Any]


def write_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` into ``folder``; every file is whole, the weights come last."""
    folder = Path(folder)
    with disk_errors(folder, kind=CheckpointError):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PARCELS_FILE, checkpoint.parcels.to_tsv().encode())
    write_whole(folder / SCALER_FILE, save(checkpoint.scaler.to_tensors(), metadata={"kind": checkpoint.scaler.kind}))
    write_provenance(folder, checkpoint.provenance)
    write_network(folder, checkpoint.network)


def write_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write where a checkpoint comes from, as JSON."""
    write_whole(folder / PROVENANCE_FILE, (json.dumps(provenance, indent=2, ensure_ascii=False) + "\n").encode())


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """The checkpoint in ``folder``.

    Raises:
        CheckpointError: a file is missing or damaged, or the files do not belong together.
    """
    folder = Path(folder)
    network = read_network(folder)
    scaler = read_scaler(folder)
    parcels = _read_parcels(folder)
    provenance = read_provenance(folder)
    for what, number in (("scaler", len(scaler.valid_P)), ("parcels table", len(parcels))):
        if number != network.tokenizer.num_parcels:
            raise CheckpointError(
                f"the {what} in {folder} does not belong to its weights",
                expected=f"{network.tokenizer.num_parcels} parcels",
                found=str(number),
                remedy="keep the files of one checkpoint together",
            )
    return Checkpoint(network=network, scaler=scaler, parcels=parcels, provenance=provenance)


def read_scaler(folder: Path) -> Scaler:
    """The scaler saved in ``folder``.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    tensors = read_tensors(folder / SCALER_FILE)
    try:
        return Scaler.from_tensors(tensors, kind=_scaler_kind(folder / SCALER_FILE))
    except (KeyError, ValueError, BrainLMError) as error:
        raise CheckpointError(
            f"{folder / SCALER_FILE} is not a scaler",
            found=str(error),
            remedy="restore the checkpoint as it was written",
        ) from error


def _scaler_kind(path: Path) -> ScalerKind:
    with safe_open(path, framework="pt") as file:
        kind = (file.metadata() or {}).get("kind", "none of our kinds")
    if kind not in get_args(ScalerKind):
        raise ValueError(f"kind {kind!r}, expected one of {', '.join(get_args(ScalerKind))}")
    return cast(ScalerKind, kind)


def _read_parcels(folder: Path) -> Parcels:
    if not (folder / PARCELS_FILE).is_file():
        raise CheckpointError(
            f"no {PARCELS_FILE} in {folder}",
            expected="the table of the model's parcels",
            remedy="copy the whole checkpoint folder",
        )
    return Parcels.read(folder / PARCELS_FILE)


def read_provenance(folder: Path) -> dict[str, Any]:
    """Where the checkpoint in ``folder`` comes from.

    Raises:
        CheckpointError: the record is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder / PROVENANCE_FILE} cannot be read",
            expected="the record of where the model comes from",
            found=f"{type(error).__name__}: {error}",
            remedy="copy the whole checkpoint folder",
        ) from error
    return content


def locate(path_or_id: str | Path) -> Path:
    """The local folder of a checkpoint: a path as it is, or a Hugging Face Hub id, downloaded once.

    Raises:
        CheckpointError: there is no such folder, and it is no Hub id that can be had.
    """
    path = Path(path_or_id)
    if path.is_dir():
        return path
    name = str(path_or_id)
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"no checkpoint at {path_or_id}",
            expected="a run folder, a checkpoint folder or a Hub id such as name/model",
            found="a file" if path.exists() else "nothing of that name",
            remedy="check the path; `brainlm pretrain STORE --out RUN` makes a run folder",
        )
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{name} is neither a folder here nor a checkpoint that the Hugging Face Hub gives out",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="check the spelling and the connection, or download it elsewhere and give the folder's path",
        ) from error
