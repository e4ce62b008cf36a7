"""One study of a clinical variable as frozen objects: methods, intervals, sites, curves, permutations.

The numbers are computed in ``brainlm.evaluation.phenotypes`` and read by ``phenotype_file.py``; here they are only
asked. What was not computed is None, or an empty tuple.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.evaluation.statistics import Interval

# In the order in which they are listed: the model's own ways first, then what it is measured against.
GROUPS: Mapping[str, str] = {
    "model": "Pretrained model, frozen",
    "finetuned": "Pretrained model, fine-tuned",
    "fusion": "Model and connectivity together",
    "random-init": "Same encoder, never trained",
    "connectivity": "Functional connectivity",
    "neural": "Other neural networks",
    "signal": "Signal without connectivity",
    "nuisance": "Nuisance variables only",
    "chance": "Knowing nothing",
}
LOWER_IS_BETTER = ("mae", "brier", "ece")


@dataclass(frozen=True)
class SiteScore:
    """The main metric of one method in one site of ``num`` units."""

    site: str
    num: int
    score: Interval


@dataclass(frozen=True, eq=False)
class StudyMethod:
    """What one method reached. ``is_seen``: people it was tested on were in its pretraining data."""

    name: str
    group: str
    is_seen: bool
    note: str
    seconds: float
    scores: Mapping[str, Interval]
    by_site: tuple[SiteScore, ...]
    minus_best_baseline: Interval | None


@dataclass(frozen=True, eq=False)
class Permutation:
    """The main result on shuffled labels; ``p_adjusted`` is Benjamini-Hochberg's over the targets of one call."""

    p: float
    p_adjusted: float | None
    num: int
    observed: float
    null_N: Float[np.ndarray, "N"]
    blocks: str


@dataclass(frozen=True)
class SitePrediction:
    """How well the model's embedding tells the site, as balanced accuracy; ``chance`` is 1 over the sites."""

    balanced_accuracy: Interval
    chance: float
    num_sites: int


@dataclass(frozen=True, eq=False)
class MethodCurves:
    """Points of one method's curves: (fpr, tpr), (recall, precision), (mean predicted, share observed, number)."""

    roc: Float[np.ndarray, "N 2"] | None
    pr: Float[np.ndarray, "M 2"] | None
    calibration: Float[np.ndarray, "B 3"] | None


@dataclass(frozen=True, eq=False)
class PredictedValues:
    """True and out-of-fold predicted value of every unit, in original units."""

    true_N: Float[np.ndarray, "N"]
    predicted_N: Float[np.ndarray, "N"]


@dataclass(frozen=True, eq=False)
class Study:
    """One target in one set of folds: everything `brainlm probe` and `brainlm finetune` wrote about it.

    ``difference`` is the main method minus ``opponent`` (the best connectivity, without any the best baseline),
    ``fusion_difference`` the fusion minus the connectivity in it, both in the main metric and paired over subjects.
    ``chance`` is what knowing nothing gives, by metric.
    """

    folder: str
    target: Mapping[str, Any]
    folds: Mapping[str, Any]
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    main_metric: str
    metrics: tuple[str, ...]
    chance: Mapping[str, float]
    methods: tuple[StudyMethod, ...]
    main: str | None
    best_baseline: str | None
    best_connectivity: str | None
    opponent: str | None
    fusion: str | None
    difference: Interval | None
    fusion_difference: Interval | None
    permutation: Permutation | None
    site_prediction: SitePrediction | None
    curves: Mapping[str, MethodCurves]
    predicted: Mapping[str, PredictedValues]
    conclusion: str
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The target's name."""
        return str(self.target["name"])

    @property
    def kind(self) -> str:
        """``regression``, ``binary`` or ``multiclass``."""
        return str(self.target["kind"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, none for a regression."""
        return tuple(str(name) for name in self.target.get("classes") or ())

    @property
    def fold_name(self) -> str:
        """``5x5-fold``, ``leave-site-out``."""
        return str(self.folds["name"])

    @property
    def confidence_percent(self) -> str:
        """The level of every interval, as text: ``95 %``."""
        return f"{100 * float(self.settings.get('confidence') or 0.95):g} %"

    @property
    def seen_methods(self) -> tuple[StudyMethod, ...]:
        """Those that met people of the test folds in pretraining."""
        return tuple(method for method in self.methods if method.is_seen)

    def method(self, name: str | None) -> StudyMethod | None:
        """The method of that name, None without one."""
        return next((method for method in self.methods if method.name == name), None)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """How many units each class has, in the order of ``classes``; none where not recorded."""
        counts = self.target.get("counts")
        if not counts or not self.classes:
            return ()
        found = [counts[name] for name in self.classes] if isinstance(counts, Mapping) else list(counts)
        return tuple(int(count) for count in found)

    def reference(self, metric: str) -> float | None:
        """What knowing nothing gives in ``metric``; None where there is no such number.

        For errors that is what the best of the ``chance`` methods reached.
        """
        level = self.chance.get(metric)
        if level is not None:
            return level
        scores = [m.scores[metric].value for m in self.methods if m.group == "chance" and metric in m.scores]
        finite = [score for score in scores if math.isfinite(score)]
        return min(finite) if finite and metric in LOWER_IS_BETTER else None

    @property
    def divided_by(self) -> str:
        """The column whose values are also judged one by one, ``site`` as a rule."""
        return str(self.settings.get("by") or "site")
