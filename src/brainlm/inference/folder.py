"""The checkpoint folder: everything a model needs on another machine, and nothing that can run code.

``config.json`` and ``model.safetensors`` are the network's (``model/checkpoint.py``); beside them stand
``scaler.safetensors``, ``parcels.tsv`` and ``provenance.json``, and where the model was judged ``evaluation.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

from brainlm.atomic import disk_errors
from brainlm.data.parcels import Parcels
from brainlm.data.scaling import Scaler
from brainlm.errors import BrainLMError, CheckpointError
from brainlm.files import key_of, read_json, sha256_of, write_json
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.checkpoint import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_belongs,
    read_metadata,
    read_network,
    read_tensors,
    write_network,
    write_whole,
)

SCALER_FILE = "scaler.safetensors"
PARCELS_FILE = "parcels.tsv"
PROVENANCE_FILE = "provenance.json"
EVALUATION_FILE = "evaluation.json"
FILES = (CONFIG_FILE, WEIGHTS_FILE, SCALER_FILE, PARCELS_FILE, PROVENANCE_FILE)  # a checkpoint has all of them


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds; ``evaluation`` is what ``brainlm evaluate`` wrote about it, if it did."""

    network: MaskedAutoencoder
    scaler: Scaler
    parcels: Parcels
    provenance: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None = None


def write_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` into ``folder``; every file is whole, the weights come last.

    An evaluation that stands in the folder stays there where the checkpoint has none.
    """
    folder = Path(folder)
    with disk_errors(folder, kind=CheckpointError):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PARCELS_FILE, checkpoint.parcels.to_tsv().encode())
    write_scaler(folder, checkpoint.scaler)
    write_provenance(folder, checkpoint.provenance)
    if checkpoint.evaluation is not None:
        write_json(folder / EVALUATION_FILE, checkpoint.evaluation, kind=CheckpointError)
    write_network(folder, checkpoint.network, beside=_sha256_beside(folder, checkpoint.provenance))


def _sha256_beside(folder: Path, provenance: Mapping[str, Any]) -> str:
    """Of what belongs to the weights and stays as it is while a run goes on: parcels, scaler, what was trained how on
    which data. A run that is killed between two files of a checkpoint must open.
    """
    data = provenance.get("data", {})
    parts = {name: provenance.get(name) for name in ("model", "training", "finetuned")}
    record = json.dumps({**parts, "fingerprint": data.get("fingerprint")}, sort_keys=True)
    return key_of(sha256_of(folder / PARCELS_FILE), sha256_of(folder / SCALER_FILE), record)


def write_scaler(folder: Path, scaler: Scaler) -> None:
    """Write how recordings are scaled."""
    write_whole(folder / SCALER_FILE, save(scaler.to_tensors(), metadata=scaler.to_metadata()))


def write_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write where a checkpoint comes from, as JSON."""
    write_json(folder / PROVENANCE_FILE, provenance, kind=CheckpointError)


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
    evaluation = read_evaluation(folder)
    for what, number in (("scaler", len(scaler.valid_P)), ("parcels table", len(parcels))):
        if number != network.tokenizer.num_parcels:
            raise CheckpointError(
                f"the {what} in {folder} does not belong to its weights",
                expected=f"{network.tokenizer.num_parcels} parcels",
                found=str(number),
                remedy="keep the files of one checkpoint together",
            )
    check_belongs(folder, network, beside=_sha256_beside(folder, provenance))
    return Checkpoint(network, scaler, parcels, provenance, evaluation)


def read_scaler(folder: Path) -> Scaler:
    """The scaler saved in ``folder``.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    tensors = read_tensors(folder / SCALER_FILE)
    try:
        return Scaler.from_tensors(tensors, read_metadata(folder / SCALER_FILE))
    except (KeyError, ValueError, BrainLMError) as error:
        raise CheckpointError(
            f"{folder / SCALER_FILE} is not a scaler",
            found=str(error),
            remedy="restore the checkpoint as it was written",
        ) from error


def _read_parcels(folder: Path) -> Parcels:
    if not (folder / PARCELS_FILE).is_file():
        raise CheckpointError(
            f"no {PARCELS_FILE} in {folder}",
            expected="the table of the model's parcels",
            remedy="copy the whole checkpoint folder",
        )
    return Parcels.read(folder / PARCELS_FILE)


def read_provenance(folder: Path, *, needs: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Where the checkpoint in ``folder`` comes from, with the entries that it ``needs``.

    Raises:
        CheckpointError: the record is missing or damaged.
    """
    return read_json(
        folder / PROVENANCE_FILE,
        what="the record of where the model comes from",
        remedy="copy the whole checkpoint folder",
        kind=CheckpointError,
        needs=needs,
    )


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """What ``brainlm evaluate`` wrote about the checkpoint in ``folder``; None where it was not judged.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / EVALUATION_FILE
    if not path.exists():
        return None
    remedy = "remove it, or run `brainlm evaluate` again"
    return read_json(path, what="the scores of the model", remedy=remedy, kind=CheckpointError)


def locate(path_or_id: str | Path, *, subfolder: str | None = None) -> Path:
    """The local folder of a checkpoint: a path as it is, or what a Hugging Face Hub id names, downloaded once.

    Args:
        path_or_id: a folder, or ``name/model`` or ``name/model/folder`` on the Hub.
        subfolder: where in the folder or repository the checkpoint is.

    Raises:
        CheckpointError: there is no such folder, it holds several checkpoints to choose from, or it is no Hub id that
            can be had; the message says what to download from where, where that helps.
    """
    path = Path(path_or_id)
    if path.is_dir():
        return _locate_here(path, subfolder)
    from brainlm.inference.download import HubFolder, fetch  # the Hub's client, only where the Hub is asked

    named = None if path.exists() else HubFolder.parse(str(path_or_id), subfolder)
    if named is None:
        raise CheckpointError(
            f"no checkpoint at {path_or_id}",
            expected="a run folder, a checkpoint folder or a Hub id such as name/model or name/model/folder",
            found="a file" if path.exists() else "nothing of that name",
            remedy="check the path; `brainlm pretrain STORE --out RUN` makes a run folder",
        )
    return fetch(named)


def _locate_here(path: Path, subfolder: str | None) -> Path:
    folder = path / subfolder if subfolder else path
    if (folder / CONFIG_FILE).is_file():
        return folder
    inside = sorted(entry.parent.name for entry in path.glob(f"*/{CONFIG_FILE}"))
    if not folder.is_dir():
        raise no_such_folder(str(path), str(subfolder), inside)
    if not subfolder and inside:
        raise several(str(path), inside)
    return folder  # whoever reads it says what is missing


def no_such_folder(where: str, folder: str, inside: Sequence[str]) -> CheckpointError:
    """The error that ``where`` (a path or a Hub id) has no such folder, naming those with a checkpoint ``inside``."""
    return CheckpointError(
        f"{where} has no folder {folder}",
        expected="one of its folders that hold a checkpoint",
        found=", ".join(inside) or "none that does",
        remedy=f"give one of these, such as {where}/{inside[0]}" if inside else "check the name",
    )


def several(where: str, inside: Sequence[str]) -> CheckpointError:
    """The error that ``where`` (a path or a Hub id) is no checkpoint itself, but has some ``inside``."""
    return CheckpointError(
        f"{where} is not a checkpoint itself, its folders are",
        expected="one checkpoint",
        found=", ".join(inside),
        remedy=f"choose one, such as {where}/{inside[0]}",
    )
