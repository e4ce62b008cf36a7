"""A fine-tuned checkpoint: the folder it is kept in, and what it predicts for the people of a store.

Beside what every checkpoint folder holds stand ``head.json`` (the target, its units, the head's settings) and
``head.safetensors``. How a head is trained is in ``training/finetune.py``, how well it predicts in ``evaluation``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import torch
from safetensors.torch import save

from brainlm.data.shards import KEY_COLUMNS
from brainlm.data.store import Store
from brainlm.errors import CheckpointError, ConfigError
from brainlm.files import damaged, read_json, sha256_of, write_json
from brainlm.inference.batching import scaled_windows
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.checks import amplitudes, check_tr, warn_of_amplitude
from brainlm.inference.folder import locate
from brainlm.model.checkpoint import read_tensors, write_whole
from brainlm.model.head import Head, Predictor, TargetKind, TargetUnits
from brainlm.model.head_config import HeadConfig

HEAD_FILE = "head.safetensors"
HEAD_SETTINGS_FILE = "head.json"
FORMAT_VERSION = 1
PREDICTED = "predicted"
PROBABILITY = "probability of {}"

Level = Literal["subject", "recording"]


@dataclass(frozen=True, eq=False)
class FinetunedHead:
    """A head and what its numbers mean."""

    head: Head
    units: TargetUnits


def write_finetuned(folder: str | Path, model: BrainLM, finetuned: FinetunedHead, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint folder that ``BrainLM.from_pretrained`` opens and ``predict_store`` applies.

    Args:
        folder: made if it is not there.
        model: with the fine-tuned encoder.
        finetuned: the head that goes with it.
        facts: what ``head.json`` is to say of how it came about, as JSON.

    Raises:
        CheckpointError: the disk is full or the place cannot be written.
    """
    folder = Path(folder)
    model.save_pretrained(folder)
    head, units = finetuned.head, finetuned.units
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    write_whole(folder / HEAD_FILE, save(tensors))
    settings = {"target": dataclasses.asdict(units), "head": dataclasses.asdict(head.config)}
    content = {"format_version": FORMAT_VERSION, **settings, "facts": dict(facts)}
    content["weights_sha256"] = sha256_of(folder / HEAD_FILE)
    write_json(folder / HEAD_SETTINGS_FILE, content, kind=CheckpointError)


def read_head(folder: str | Path, *, width: int) -> FinetunedHead:
    """The head in ``folder``, ready for inference on the CPU.

    Args:
        folder: of a fine-tuned checkpoint.
        width: D of the encoder beside it.

    Raises:
        CheckpointError: there is none, it is damaged, or it does not belong to the encoder.
    """
    units, config, written = _settings(Path(folder))
    found = sha256_of(Path(folder) / HEAD_FILE) if (Path(folder) / HEAD_FILE).is_file() else None
    if written is not None and found is not None and written != found:
        raise CheckpointError(
            f"{Path(folder) / HEAD_FILE} is not the head that {HEAD_SETTINGS_FILE} describes, or was changed since",
            expected=f"SHA-256 {written}",
            found=f"SHA-256 {found}",
            remedy="copy the whole checkpoint folder again from where it came from; nothing was loaded",
        )
    with torch.random.fork_rng(devices=[]):  # the numbers it starts from are replaced
        head = Head(config, width=width, num_outputs=units.num_outputs)
    tensors, wanted = read_tensors(Path(folder) / HEAD_FILE), head.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    if shapes != expected:
        raise CheckpointError(
            f"{Path(folder) / HEAD_FILE} does not belong to the model beside it",
            expected=str(expected),
            found=str(shapes),
            remedy="keep the files of one checkpoint together; nothing was loaded",
        )
    head.load_state_dict(tensors)
    return FinetunedHead(head.eval(), units)


def target_of(folder: str | Path) -> TargetUnits:
    """What the fine-tuned model in ``folder`` predicts.

    Raises:
        CheckpointError: it has no head, or one that is damaged.
    """
    return _settings(Path(folder))[0]


def _settings(folder: Path) -> tuple[TargetUnits, HeadConfig, str | None]:
    path = folder / HEAD_SETTINGS_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder} predicts nothing: it has no head",
            expected=f"{HEAD_SETTINGS_FILE} and {HEAD_FILE} beside the model",
            found="a model that was not fine-tuned",
            remedy="give the folder of a fine-tuned model; `brainlm finetune RUN STORE --target COLUMN` makes one",
        )
    remedy = "copy the whole checkpoint folder, or use a newer brainlm"
    what: dict[str, Any] = {"what": f"format_version {FORMAT_VERSION}, target and head", "remedy": remedy}
    content = read_json(path, **what, kind=CheckpointError, needs={"format_version": int, "target": dict, "head": dict})
    with damaged(path, **what, kind=CheckpointError):
        if content["format_version"] > FORMAT_VERSION:
            raise ValueError(f"format_version {content['format_version']}, written by a newer brainlm")
        units = TargetUnits(**{**content["target"], "classes": tuple(content["target"]["classes"])})
        try:
            config = HeadConfig(**content["head"])
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if units.kind not in get_args(TargetKind):
            raise ValueError(f"{units.kind!r}, not one of {', '.join(get_args(TargetKind))}")
    return units, config, content.get("weights_sha256")


def check_recordings(model: BrainLM, store: Store) -> None:
    """Raise unless the store has the model's parcels in their order, and repetition times near the trained ones."""
    model.check_store(store)
    for recording, tr in enumerate(store.metadata["tr"]):
        check_tr(float(tr), model.trained_tr_s, what=f"recording {recording + 1} of {store.path}")


@torch.no_grad()
def predict_store(
    run: str | Path,
    store: Store,
    *,
    level: Level = "subject",
    batch_size: int = 32,
    resample: bool = False,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """What a fine-tuned model predicts, one row a subject (or a recording), in the order of the store.

    The columns are ``subject``, ``num_recordings``, ``predicted`` (a value in original units, or the most probable
    class) and for classes ``probability of CLASS``. Windows are averaged to a recording, recordings to a subject. One
    row a recording has session, task and run instead of the number.

    Args:
        run: the folder that ``brainlm finetune`` wrote, or a Hub id.
        store: of the model's parcels.
        level: what a row is.
        batch_size: windows at a time; changes no result.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        device: where the model runs.
        on_progress: called with recordings done and of how many.

    Raises:
        CheckpointError: the folder holds no fine-tuned model.
        DataError: the store has other parcels than the model, in another order, or another repetition time.
    """
    folder = locate(run)
    model = BrainLM.from_pretrained(folder).to(device)
    finetuned = read_head(folder, width=model.config.encoder_width)
    model.check_store(store) if resample else check_recordings(model, store)
    predictor = Predictor(model.network, finetuned.head.to(device)).eval()
    parts: list[pd.DataFrame] = []
    for batch in scaled_windows(model, store, batch_size, resample=resample):
        raw_BK = predictor(batch.signal_BPT, batch.valid_BPT)
        part = pd.DataFrame(finetuned.units.in_units(raw_BK.cpu()).numpy())
        part["recording"], part["amplitude"] = batch.recording_B.cpu().numpy(), amplitudes(batch).cpu().numpy()
        parts.append(part)
        if on_progress is not None:
            on_progress(int(batch.recording_B[-1]) + 1, len(store))
    by_recording = pd.concat(parts).groupby("recording").mean()
    amplitude = float(by_recording.pop("amplitude").median())
    warn_of_amplitude(amplitude, model.scaler, what=f"the store {store.path}")
    return _table(by_recording, store, finetuned.units, level)


def _table(by_recording: pd.DataFrame, store: Store, units: TargetUnits, level: Level) -> pd.DataFrame:
    """The predictions, one row a recording in the order of the store, as the user is to see them."""
    if level == "recording":
        table = store.metadata[list(KEY_COLUMNS)].copy()
        values = by_recording
    else:
        groups = by_recording.groupby(store.metadata["subject"].to_numpy(), sort=False)
        values = groups.mean().reset_index(drop=True)
        table = pd.DataFrame({"subject": list(groups.groups), "num_recordings": groups.size().to_numpy()})
    if units.kind == "regression":
        table[PREDICTED] = values[0]
        return table
    if units.kind == "binary":
        values = pd.concat([1 - values[0], values[0]], axis=1, keys=range(2))
    table[PREDICTED] = [units.classes[code] for code in values.to_numpy().argmax(axis=1)]
    for code, name in enumerate(units.classes):
        table[PROBABILITY.format(name)] = values[code]
    return table
