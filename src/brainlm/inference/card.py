"""The model card, README.md of a checkpoint: what a stranger must know before using the model, from its own records.

Data and their terms, scaling, architecture, training, scores beside baselines, limits and licence; what was not
recorded is said to be so. The tables of scores are in ``card_scores.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from brainlm.inference.card_scores import eval_results, score_lines
from brainlm.inference.disclosure import HASHED, PLAIN
from brainlm.inference.folder import Checkpoint
from brainlm.model.checkpoint import write_whole
from brainlm.model.config import ModelConfig

CARD_FILE = "README.md"
MARK = "<!-- Made by brainlm from provenance.json. Without this line, brainlm leaves the file as it is. -->"
TAGS = ["brainlm", "fmri", "neuroimaging", "masked-autoencoder", "feature-extraction"]
RELEASED_LICENCE_ID = "cc-by-nc-nd-4.0"  # as the Hub names it
UNKNOWN = "not recorded"
CITATION = """```bibtex
@inproceedings{ortegacaro2024brainlm,
  title     = {{BrainLM}: A foundation model for brain activity recordings},
  author    = {Ortega Caro, Josue and de Oliveira Fonseca, Antonio Henrique and Rizvi, Syed A. and Rosati, Matteo and
               Averill, Christopher and Cross, James L. and Mittal, Prateek and Zappala, Emanuele and
               Dhodapkar, Rahul M. and Abdallah, Chadi and van Dijk, David},
  booktitle = {International Conference on Learning Representations},
  year      = {2024},
  url       = {https://openreview.net/forum?id=RwI7ZEfR27}
}
```"""
SCALERS = {
    "robust": "each parcel: minus the recording's median over time, minus the cohort's median, divided by the cohort's "
    "interquartile range; the cohort's are in `scaler.safetensors`",
    "zscore": "each parcel: minus the recording's mean over time, divided by the recording's standard deviation",
    "none": "signals as they are",
}
HEADS = {
    "plain": "predicts hidden values directly",
    "gaussian": "predicts what a Gaussian conditional mean over parcels leaves over",
    "space-time": "predicts what a Gaussian conditional mean over parcels and time leaves over",
}

logger = logging.getLogger(__name__)


def write_card(
    folder: str | Path, checkpoint: Checkpoint, *, name: str | None = None, license: str | None = None
) -> None:
    """Write README.md into ``folder``, unless one stands there that brainlm did not make or that someone took over."""
    path = Path(folder) / CARD_FILE
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        logger.info("%s was written by someone and stays as it is", path)
        return
    write_whole(path, model_card(checkpoint, name=name, license=license).encode())


def model_card(checkpoint: Checkpoint, *, name: str | None = None, license: str | None = None) -> str:
    """The card as Markdown with the Hub's metadata in front.

    Args:
        checkpoint: with its provenance, and its evaluation where there is one.
        name: the Hub id under which the model can be had, None for a folder.
        license: an identifier of the Hub's list, such as ``cc-by-nc-4.0``; without one, the card says that none was
            chosen.
    """
    sections = {
        "Use": _use(checkpoint, name),
        "Data": _data(checkpoint),
        "Preprocessing and scaling": _scaling(checkpoint),
        "Model": _model(checkpoint),
        "Training": _training(checkpoint),
        "How well it fills in hidden signal": _scores(checkpoint),
        "Intended use and limits": _limits(checkpoint),
        "Licence": _licence(checkpoint, license),
        "Citation": ["The method is that of", "", CITATION, "", "Please cite the data, too."],
    }
    title = f"# {name.split('/')[1] if name else 'BrainLM checkpoint'}"
    lines = ["---", _metadata(checkpoint, name, license).to_yaml(), "---", MARK, "", title, "", _summary(checkpoint)]
    for heading, text in sections.items():
        lines += ["", f"## {heading}", "", *text]
    return "\n".join(lines) + "\n"


def _metadata(checkpoint: Checkpoint, name: str | None, license: str | None) -> ModelCardData:
    evaluation = _own_evaluation(checkpoint)
    results = [] if evaluation is None else eval_results(evaluation)
    chosen = license or (RELEASED_LICENCE_ID if _released(checkpoint) else None)
    return ModelCardData(
        library_name="brainlm",
        license=chosen or "other",
        license_name=None if chosen else "not-chosen",
        pipeline_tag="feature-extraction",
        tags=list(TAGS),
        model_name=(name or "BrainLM checkpoint") if results else None,
        eval_results=results or None,
    )


def _summary(checkpoint: Checkpoint) -> str:
    config, data = checkpoint.network.config, _part(checkpoint.provenance, "data")
    who = (
        "The weights published by the authors of BrainLM, converted."
        if _released(checkpoint)
        else (
            "Trained from scratch with the package brainlm: these are not the weights that the method's authors gave "
            "out."
        )
    )
    return (
        f"A masked autoencoder for fMRI in the manner of BrainLM (Ortega Caro et al., ICLR 2024): it takes "
        f"{len(checkpoint.parcels)} parcels ({_known(data, 'atlas')}) x {config.num_timepoints} time points, fills in "
        f"what is hidden, and turns recordings into vectors. {checkpoint.network.num_parameters:,} parameters. {who}"
    )


def _use(checkpoint: Checkpoint, name: str | None) -> list[str]:
    unfitted = [] if checkpoint.scaler.fitted else ['model.fit_scaler(brainlm.Store.open("your.store"))']
    return [
        "```python",
        "import brainlm",
        "",
        f'model = brainlm.BrainLM.from_pretrained("{name or "path/to/this/folder"}")',
        *unfitted,
        f"recording = brainlm.Recording(bold, tr=..., subject=...)  # bold: (T, {len(checkpoint.parcels)}) float32",
        "vector = model.embed(recording).cls",
        "```",
        "",
        "A recording has the parcels of `parcels.tsv`, in that order, in the units of its own pipeline: scaling is "
        "part of the model.",
    ]


def _data(checkpoint: Checkpoint) -> list[str]:
    data = _part(checkpoint.provenance, "data")
    recordings, subjects = _part(data, "num_recordings"), _part(data, "num_subjects")
    lines = [f"- **{title}**: {text}" for title, text in _source(checkpoint).items()]
    lines += [
        f"- **parcels**: {len(checkpoint.parcels)}, {_known(data, 'atlas')}",
        f"- **repetition time**: {', '.join(f'{tr:g}' for tr in data.get('tr_s', ())) or UNKNOWN} s",
    ]
    if recordings:
        lines += ["", "| split | subjects | recordings |", "| --- | --- | --- |"]
        order = [split for split in ("train", "validation", "test") if split in recordings]
        lines += [f"| {split} | {subjects.get(split, '')} | {recordings[split]} |" for split in order]
        lines += ["", f"Divided by subject{_split_rule(_part(data, 'split'))}."]
    left_out = len(data.get("exclusions", ())) or data.get("num_exclusions", 0)
    if left_out:
        lines += ["", f"Recordings left out, for reasons that the program recorded: {left_out}."]
    return lines


def _source(checkpoint: Checkpoint) -> dict[str, str]:
    """What the store says of where its recordings come from, by title."""
    data = _part(checkpoint.provenance, "data")
    source = _part(data, "source")
    return {
        "data set": _known(source, "description", instead=_known(data, "store")),
        "where from": _known(source, "url"),
        "terms of the data": _known(source, "terms"),
    }


def _split_rule(split: Mapping[str, Any]) -> str:
    pieces = [f"{value:.0%} {name}".replace("%", " %") for name, value in _part(split, "fractions").items()]
    pieces += [
        f"{column} {', '.join(map(str, values))} held out whole" for column, values in _part(split, "held_out").items()
    ]
    return f": {', '.join(pieces)}" if pieces else ""


def _scaling(checkpoint: Checkpoint) -> list[str]:
    scaler = checkpoint.scaler
    fitted = "" if scaler.fitted else " **Its statistics were never published: call `model.fit_scaler` first.**"
    divided = f", then divided by {scaler.divisor:g}" if scaler.divisor != 1 else ""
    num_invalid = int((~scaler.valid_P).sum())
    return [
        "Signals were averaged over parcels before; what was done to the images is up to the data set above. The model "
        "then scales them itself:",
        "",
        f"- **{scaler.kind}**: {SCALERS[scaler.kind]}{divided}.{fitted}",
        *([f"- Parcels without spread in training, which are never used: {num_invalid}."] if num_invalid else []),
        "",
        "Other preprocessing, such as filtering or global signal regression, and other repetition times give other "
        "signals than the model has seen.",
    ]


def _model(checkpoint: Checkpoint) -> list[str]:
    config: ModelConfig = checkpoint.network.config
    tokens = checkpoint.network.tokenizer.num_tokens
    return [
        f"- **patch**: {config.parcels_per_patch} x {config.timepoints_per_patch} (parcels x time points) become one "
        f"token; {tokens:,} tokens and CLS a window",
        f"- **encoder**: width {config.encoder_width}, depth {config.encoder_depth}, heads {config.encoder_heads}, "
        f"feed-forward {config.encoder_mlp}",
        f"- **decoder**: width {config.decoder_width}, depth {config.decoder_depth}, heads {config.decoder_heads}, "
        f"feed-forward {config.decoder_mlp}",
        f"- **positions**: {config.spatial_positions} in space, {config.temporal_positions} in time",
        f"- **head**: {config.head}, {HEADS[config.head]}",
        f"- **parameters**: {checkpoint.network.num_parameters:,}",
    ]


def _training(checkpoint: Checkpoint) -> list[str]:
    if released := _released(checkpoint):
        return [f"Trained by its authors ({_known(released, 'paper')}); only their weights are here."]
    record, settings = checkpoint.provenance, _part(checkpoint.provenance, "training")
    if not settings:
        return [f"Settings: {UNKNOWN}."]
    shown = ("mask", "epochs", "batch_size", "accumulate", "base_learning_rate", "weight_decay", "precision", "seed")
    lines = [f"- **{name.replace('_', ' ')}**: {settings[name]}" for name in shown if name in settings]
    lines += [
        f"- **done**: {record.get('step', '?')} steps, {record.get('num_windows', '?')} windows, with "
        f"{_known(record, 'program')} on {_known(record, 'device')}, {str(record.get('date', ''))[:10] or UNKNOWN}",
        "",
        "All settings are in `provenance.json`.",
    ]
    return lines


def _scores(checkpoint: Checkpoint) -> list[str]:
    evaluation = _own_evaluation(checkpoint)
    if evaluation is not None:
        return score_lines(evaluation)
    return [
        "There are no scores of it here. `brainlm evaluate` judges it beside linear baselines on held-out subjects."
    ]


def _own_evaluation(checkpoint: Checkpoint) -> Mapping[str, Any] | None:
    """The evaluation, unless it is visibly that of another model (left in the folder by an earlier run)."""
    evaluation = checkpoint.evaluation
    if evaluation is None or not evaluation.get("conditions"):
        return None
    judged = _part(evaluation, "model").get("num_parameters", checkpoint.network.num_parameters)
    if judged != checkpoint.network.num_parameters:
        logger.warning("evaluation.json is about a model of %s parameters and is left out of the card", judged)
        return None
    return evaluation


def _limits(checkpoint: Checkpoint) -> list[str]:
    known = "who they were is not recorded here"
    if {PLAIN, HASHED} & _part(checkpoint.provenance, "data").keys():
        known = "`provenance.json` knows them (as hashes, where it was published) and `brainlm evaluate` refuses them"
    lines = [
        "For research: vectors of recordings as features, filling in, forecasts, and methods built on them.",
        "",
        "- Not a medical device, and not for decisions about a person's diagnosis or treatment.",
        f"- People it was trained on do not belong in a test set of anything that uses it; {known}.",
        "- Its vectors may tell apart people, scanners and head motion rather than what you look for: put a linear "
        "model on functional connectivity beside every result.",
        "- It knows the population above. How it does on other ages, diseases, scanners or tasks was not shown.",
        "- Filling in hidden signal well does not make good features by itself.",
    ]
    if checkpoint.evaluation is not None:
        lines.append("- Where the table above shows a baseline ahead, use the baseline.")
    return lines


def _licence(checkpoint: Checkpoint, license: str | None) -> list[str]:
    if released := _released(checkpoint):
        return [
            f"The weights are their authors' ({_known(released, 'repository')}), under {_known(released, 'licence')}. "
            "This is a changed form of them for your own use: **do not pass it on**."
        ]
    terms = _source(checkpoint)["terms of the data"]
    chosen = (
        f"The weights are given out under `{license}` by whoever published them."
        if license
        else "No licence was chosen for these weights: ask whoever published them before you use them."
    )
    return [
        chosen,
        "",
        f"Terms of the data they were trained on: **{terms}**. These may bind what is made from the data, too; using "
        "the weights does not free you from them. That the program brainlm is under Apache-2.0 says nothing about "
        "weights.",
    ]


def _released(checkpoint: Checkpoint) -> Mapping[str, Any]:
    return _part(checkpoint.provenance, "released")


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _known(record: Mapping[str, Any], name: str, *, instead: str = UNKNOWN) -> str:
    """An entry as one line of text."""
    return " ".join(str(record.get(name) or instead).split())
