"""What one method predicts for people it was not fitted on, and the file that keeps it.

A file that is there with the same key is not computed again. How good predictions are is in ``scores.py``.

Shapes: R repeats of the folds, N units (subjects or recordings), K outputs.
"""

from __future__ import annotations

import json
import logging
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

from brainlm.atomic import disk_errors, replacing

Group = Literal["model", "random-init", "connectivity", "nuisance", "signal", "chance", "neural", "fusion", "finetuned"]
# What a model has to beat; a fusion contains it, and is judged beside it.
BASELINE_GROUPS: tuple[Group, ...] = ("connectivity", "nuisance", "signal", "chance", "neural", "random-init")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Out-of-fold predictions of one method.

    Args:
        method: its name in tables.
        group: what kind of method; decides what it is compared with and its colour.
        key: of everything the predictions depend on (data, labels, folds, settings); another key, other predictions.
        seconds: what they took.
        note: a remark for the table, such as how many test people were seen in pretraining.
        seen: people in a test fold were seen in pretraining.
        values_RNK: regression: K = 1, in original units. binary: K = 1, probability of the positive class. multiclass:
            one probability a class. Probabilities are of the population the cohort comes from: a method fitted with
            classes weighted against their shares has to undo that, or its calibration and balanced accuracy suffer.
            NaN: not tested in that repeat.
    """

    method: str
    group: Group
    key: str
    seconds: float
    note: str
    seen: bool
    values_RNK: Float64[np.ndarray, "R N K"]


def predictions_path(folder: Path, method: str) -> Path:
    """Where in a study folder the predictions of ``method`` are kept."""
    slug = re.sub(r"[^a-z0-9]+", "-", method.lower().replace("+", " plus ")).strip("-")
    return folder / "predictions" / f"{slug}.npz"


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write ``predictions`` in one step: after a crash the file is the old one, the new one, or absent."""
    facts = {name: getattr(predictions, name) for name in ("method", "group", "key", "seconds", "note", "seen")}
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez_compressed(file, facts=np.array(json.dumps(facts)), values=predictions.values_RNK)


def load_predictions(path: Path, *, method: str, key: str) -> Predictions | None:
    """The predictions in ``path``; None when they have to be computed: absent, of another method or key, or damaged.

    A damaged file is reported as a warning, since the work it held is done again.
    """
    found = read_predictions(path)
    return found if found is not None and (found.method, found.key) == (method, key) else None


def read_predictions(path: Path) -> Predictions | None:
    """Whatever predictions are in ``path``; None where there are none, or damaged ones, which a warning says."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            facts = json.loads(str(content["facts"]))
            values_RNK = content["values"].astype(np.float64)
        return Predictions(
            method=str(facts["method"]),
            group=_group(facts["group"]),
            key=str(facts["key"]),
            seconds=float(facts["seconds"]),
            note=str(facts["note"]),
            seen=bool(facts["seen"]),
            values_RNK=values_RNK,
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        logger.warning("%s is damaged (%s): its predictions are computed again", path, error)
        return None


def _group(name: object) -> Group:
    for group in get_args(Group):
        if group == name:
            return group
    raise ValueError(f"unknown group of methods {name!r}")
