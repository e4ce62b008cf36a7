"""What one kind of features says of every parcel, and the file that keeps it.

A file that is there with the same key is not computed again. How good it is is in ``scores.py``.

Shapes: R repeats of the folds, Q parcels with a network, X folds of all repeats, W resamples of subjects, L surrogate
label maps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int8, Int64

from brainlm.evaluation.networks.parcel_features import Group
from brainlm.files import read_cache, write_arrays


@dataclass(frozen=True, eq=False)
class Outcome:
    """Out-of-fold networks, clusters, and the same with subjects drawn anew and with surrogate labels.

    Attributes:
        name: of the features.
        group: what kind they are.
        key: of everything this depends on.
        seconds: what it took, features not included.
        predicted_RQ: the network of each parcel in each repeat.
        k_X: the number of neighbours chosen in each fold; empty for what has no features.
        metric_X: likewise the metric, as a position in ``METRICS``.
        accuracy_W: with features of resampled subjects, k and metric chosen anew; empty where subjects do not matter.
        balanced_W: balanced accuracy likewise.
        cluster_Q: of k-means; empty for what has no features.
        null_L: accuracy with surrogate labels, all else the same.
        observed: the same with the true labels; None where there are no surrogates.
    """

    name: str
    group: Group
    key: str
    seconds: float
    predicted_RQ: Int8[np.ndarray, "R Q"]
    k_X: Int64[np.ndarray, "X"]
    metric_X: Int64[np.ndarray, "X"]
    accuracy_W: Float64[np.ndarray, "W"]
    balanced_W: Float64[np.ndarray, "W"]
    cluster_Q: Int8[np.ndarray, "_"]
    null_L: Float64[np.ndarray, "L"]
    observed: float | None


_ARRAYS = ("predicted_RQ", "k_X", "metric_X", "accuracy_W", "balanced_W", "cluster_Q", "null_L")
_FACTS = ("name", "group", "seconds", "observed")


def outcome_path(folder: Path, name: str) -> Path:
    """Where in the folder of results the outcome of the features ``name`` is kept."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return folder / "outcomes" / f"{slug}.npz"


def save_outcome(path: Path, outcome: Outcome) -> None:
    """Write it in one step: after a crash the file is the old one, the new one, or absent."""
    arrays, facts = ({name: getattr(outcome, name) for name in names} for names in (_ARRAYS, _FACTS))
    write_arrays(path, arrays, key=outcome.key, facts=facts)


def load_outcome(path: Path, *, key: str) -> Outcome | None:
    """The outcome in ``path``; None when it has to be computed: absent, of another key, or damaged (a warning)."""
    found = read_cache(path, key)
    return None if found is None else Outcome(key=key, **found.facts, **found.arrays)
