"""What a reader of the results has to know beside the scores: target, folds, and the small print.

Everything here is counted or said, nothing is estimated; the estimates are in ``judging.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainlm.evaluation.phenotypes.folds import Fold, FoldRule
from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.scores import Scoring
from brainlm.evaluation.phenotypes.targets import Cohort
from brainlm.evaluation.statistics import few_subjects_note

RESAMPLING_NOTE = (
    "Intervals draw the tested people anew and keep the predictions: they say how much a number would change with "
    "other people of this kind, not with other people to train on."
)
BEST_NOTE = (
    "The best baseline is the one that scored best on these very people. Chance has favoured it, so differences to it "
    "are, if anything, too hard on the model."
)
R_NOTE = "r is of deviations from the mean of each test fold; pooling folds would put who knows nothing below 0."
AUROC_NOTE = "AUROC compares people of the same test fold; pooling folds would put who knows nothing below 0.5."


def target_facts(cohort: Cohort) -> dict[str, Any]:
    """Of what the target is, and of how many."""
    target, weights_N = cohort.target, cohort.weights_N
    facts: dict[str, Any] = {
        "name": target.name,
        "kind": target.kind,
        "classes": list(target.classes),
        "positive": target.classes[1] if target.kind == "binary" else None,
        "unit_of_analysis": cohort.level,
        "num_units": len(target.values_N),
        "num_subjects": cohort.table["subject"].nunique(),
        "num_missing": cohort.num_missing,
        "num_left_out": cohort.num_left_out,
        "mean": None,
        "sd": None,
        "counts": {name: int((target.values_N == code).sum()) for code, name in enumerate(target.classes)},
    }
    if target.kind == "regression":
        mean = float(np.average(target.values_N, weights=weights_N))
        variance = float(np.average((target.values_N - mean) ** 2, weights=weights_N))
        facts |= {"mean": mean, "sd": variance**0.5}
    return facts


def fold_facts(rule: FoldRule, folds: Sequence[Fold]) -> dict[str, Any]:
    """How the folds were made; ``num_folds`` is that of one repeat."""
    names = list(dict.fromkeys(fold.name for fold in folds))
    return {
        "name": rule.name,
        "kind": rule.kind,
        "num_folds": sum(fold.repeat == 0 for fold in folds),
        "repeats": 1 + max(fold.repeat for fold in folds),
        "seed": rule.seed,
        "column": rule.column,
        "group": rule.group,
        "stratify": rule.stratify,
        "sizes": [len(fold.test_M) for fold in folds],
        "sites": names if rule.kind == "leave-one-out" else [],
    }


def notes(
    cohort: Cohort, rule: FoldRule, scoring: Scoring, methods: Sequence[Predictions], undefined: Mapping[str, float]
) -> list[str]:
    """Sentences that belong to the numbers.

    Args:
        cohort, rule, scoring, methods: as judged.
        undefined: share of the resamples in which the main metric of a method could not be computed.
    """
    found = [RESAMPLING_NOTE, BEST_NOTE, R_NOTE if scoring.kind == "regression" else AUROC_NOTE]
    if rule.kind == "leave-one-out":
        found.append(
            f"Intervals are over people of these values of {rule.column}; they do not say how much a number would "
            f"change with others of it."
        )
    if rule.group is not None:
        found.append(f"Families ({rule.group}) are drawn as wholes.")
    if cohort.level == "recording":
        found.append(
            "Recordings are scored, and those of a person share one vote; people are drawn with all of theirs."
        )
    found += few_subjects_note(scoring.num_clusters, "people" if rule.group is None else "families")
    return found + _pair_notes(scoring) + _method_notes(methods, undefined)


def _pair_notes(scoring: Scoring) -> list[str]:
    if scoring.kind == "regression":
        return []
    alone = np.zeros(scoring.fold_RN.shape, dtype=bool)
    for fold in np.unique(scoring.fold_RN[scoring.fold_RN >= 0]):
        inside = scoring.fold_RN == fold
        truth = np.broadcast_to(scoring.truth_N, inside.shape)[inside]
        alone[inside] = len(np.unique(truth)) < 2
    count = int(alone.any(axis=0).sum())
    return [f"{count} of those tested were in a fold of one class, which adds nothing to AUROC."] if count else []


def _method_notes(methods: Sequence[Predictions], undefined: Mapping[str, float]) -> list[str]:
    seen = [method.method for method in methods if method.seen]
    found = [f"People in test folds were seen in pretraining by: {', '.join(seen)}."] if seen else []
    worst = max(undefined.values(), default=0.0)
    if worst > 0:
        found.append(
            f"In up to {100 * worst:.2g} % of the resamples the main metric was undefined (such as one class only); "
            f"they are left out of its interval."
        )
    return found
