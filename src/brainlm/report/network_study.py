"""One study of functional networks as frozen objects: which features of a parcel tell the network it belongs to.

The numbers are computed in ``brainlm.evaluation.networks`` and read by ``network_file.py``. What was not computed is
None, or an empty tuple. Shapes: P parcels, C networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.evaluation.statistics import Interval, Verdict

# In the order in which they are listed: the model's own features first, then what they are measured against.
GROUPS: Mapping[str, str] = {
    "model": "Pretrained model",
    "random-init": "Same encoder, never trained",
    "connectivity": "Functional connectivity",
    "signal": "Raw signal",
    "neural": "Other neural networks",
    "position": "Where the parcel lies",
    "chance": "Knowing nothing",
}
SCORES: Mapping[str, str] = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy"}
CLUSTERING: Mapping[str, str] = {"ari": "Adjusted Rand index", "nmi": "Normalised mutual information"}


@dataclass(frozen=True)
class NullScores:
    """What the same features reach on surrogate labels that are as smooth in space as the true ones, and p.

    ``low_accuracy`` and ``high_accuracy`` hold 95 % of the surrogates; ``observed_accuracy`` is the true labels' in the
    procedure that the surrogates were put through, which may be shorter than that of the scores.
    """

    p_accuracy: float
    p_ari: float
    observed_accuracy: float
    mean_accuracy: float
    low_accuracy: float
    high_accuracy: float
    mean_ari: float


@dataclass(frozen=True, eq=False)
class NetworkMethod:
    """What one kind of feature reached: intervals over parcels (``scores``) and over subjects (``by_subjects``).

    ``confusion_CC``: rows are the true networks, each sums to 1.
    """

    name: str
    group: str
    k: str
    metric: str
    scores: Mapping[str, Interval]
    by_subjects: Mapping[str, Interval]
    clustering: Mapping[str, Interval]
    confusion_CC: Float[np.ndarray, "C C"] | None
    minus_best_baseline: Interval | None
    null: NullScores | None
    seconds: float


@dataclass(frozen=True, eq=False)
class NetworkStudy:
    """Everything `brainlm networks` wrote about one column of labels.

    ``predicted`` and ``share_right`` are there for a few methods: a network or None a parcel, and the share of repeats
    in which it was right. ``difference`` is in accuracy, main features minus best baseline.
    """

    folder: str
    labels: str
    networks: Mapping[str, int]
    num_parcels: int
    num_missing: int
    num_pairs: int | None
    num_subjects: int | None
    num_recordings: int | None
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    methods: tuple[NetworkMethod, ...]
    main: str | None
    best_baseline: str | None
    difference: Interval | None
    true_P: tuple[str | None, ...]
    predicted: Mapping[str, tuple[str | None, ...]]
    share_right: Mapping[str, Float[np.ndarray, "P"]]
    surrogates: str
    conclusion: str
    notes: tuple[str, ...]

    @property
    def confidence_percent(self) -> str:
        """The level of every interval, as text: ``95 %``."""
        return f"{100 * float(self.settings.get('confidence') or 0.95):g} %"

    @property
    def verdict(self) -> Verdict:
        """Of the main features against the best baseline."""
        return "unknown" if self.difference is None else self.difference.verdict

    @property
    def majority(self) -> float:
        """The share of parcels in the largest network: the accuracy of always saying it."""
        return max(self.networks.values()) / max(sum(self.networks.values()), 1)

    def method(self, name: str | None) -> NetworkMethod | None:
        """The method of that name, None without one."""
        return next((method for method in self.methods if method.name == name), None)

    def reference(self, score: str) -> float | None:
        """What knowing nothing gives in a score: the largest network, one in as many as there are, or 0."""
        levels = {"accuracy": self.majority, "balanced_accuracy": 1 / max(len(self.networks), 1), "ari": 0.0}
        return levels.get(score)
