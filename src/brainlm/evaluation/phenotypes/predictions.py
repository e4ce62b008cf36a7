"""What one method predicts for people it was not fitted on, and the file that keeps it.

A file that is there with the same key is not computed again. How good predictions are is in ``scores.py``.

Shapes: R repeats of the folds, N units (subjects or recordings), K outputs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from brainlm.files import read_cache, write_arrays

Group = Literal["model", "random-init", "connectivity", "nuisance", "signal", "chance", "neural", "fusion", "finetuned"]
# What a model has to beat; a fusion contains it, and is judged beside it.
BASELINE_GROUPS: tuple[Group, ...] = ("connectivity", "nuisance", "signal", "chance", "neural", "random-init")


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
    facts = {name: getattr(predictions, name) for name in ("method", "group", "seconds", "note", "seen")}
    write_arrays(path, {"values_RNK": predictions.values_RNK}, key=predictions.key, facts=facts)


def load_predictions(path: Path, *, method: str, key: str) -> Predictions | None:
    """The predictions in ``path``; None when they have to be computed: absent, of another method or key, or damaged.

    A damaged file is reported as a warning, since the work it held is done again.
    """
    found = read_predictions(path, key=key)
    return found if found is not None and found.method == method else None


def read_predictions(path: Path, *, key: str | None = None) -> Predictions | None:
    """Whatever predictions are in ``path``; None where there are none, or damaged ones, which a warning says."""
    found = read_cache(path, key)
    return None if found is None else Predictions(key=found.key, **found.facts, **found.arrays)
