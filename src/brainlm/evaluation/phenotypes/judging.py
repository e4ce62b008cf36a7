"""Who predicts best, by how much, and how sure that is: from predictions to the content of ``results.json``.

Nothing is fitted here. The scores are in ``scores.py``; what follows from the numbers is said in ``conclusion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from brainlm.evaluation.phenotypes.conclusion import conclude
from brainlm.evaluation.phenotypes.contest import Contest
from brainlm.evaluation.phenotypes.curves import class_curves, predicted_points
from brainlm.evaluation.phenotypes.folds import Fold, FoldRule
from brainlm.evaluation.phenotypes.predictions import BASELINE_GROUPS, Predictions
from brainlm.evaluation.phenotypes.scores import Scoring, chance_levels
from brainlm.evaluation.phenotypes.study_facts import fold_facts, notes, target_facts
from brainlm.evaluation.phenotypes.targets import Cohort
from brainlm.evaluation.plain_json import plain
from brainlm.evaluation.statistics import Interval, SubjectBootstrap, permutation_p

FORMAT_VERSION = 1
UNKNOWN = "unknown"  # the site of those without one


def judge(
    cohort: Cohort,
    rule: FoldRule,
    folds: Sequence[Fold],
    methods: Sequence[Predictions],
    *,
    main: str,
    fusion_over: str | None = None,
    untrained: str | None = None,
    null: Float64[np.ndarray, "M"] | None = None,
    observed: float | None = None,
    blocks: str = "",
    site_prediction: Mapping[str, Any] | None = None,
    num_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    by: str = "site",
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of ``results.json``: every method's scores, the comparisons and the conclusion.

    Args:
        cohort, rule, folds: who was tested when.
        methods: their predictions, in the order of the table; the first fusion is the one that is compared.
        main: name of the method the question is about, chosen before any score was seen.
        fusion_over: the method that the fusion adds the model to; the best of connectivity unless given.
        untrained: the counterpart of ``main`` before any training; the best random-initialised one unless given.
        null: its main metric with permuted labels.
        observed: its main metric with true labels by the very procedure that gave ``null``, where that is a shorter
            one than gave the predictions; a null of one procedure says nothing of another.
        blocks: within what labels were permuted, in words.
        site_prediction: see ``score_sites``.
        num_bootstrap: resamples of people behind each interval.
        confidence: of the intervals.
        seed: of the resamples.
        by: column whose values are also judged one by one.
        facts: copied to ``"facts"``.

    Raises:
        DataError: a method has no number for somebody who was tested.
    """
    scoring = Scoring.of(cohort, folds, group=rule.group)
    for method in methods:
        scoring.check(method)
    bootstrap = SubjectBootstrap.draw(
        scoring.num_clusters, num_bootstrap=num_bootstrap, seed=seed, confidence=confidence
    )
    contest = Contest(scoring, methods, bootstrap)
    assert contest[main].group not in BASELINE_GROUPS, "the main method is not one of the baselines"
    sites = _sites(cohort, by)
    results = {
        "format_version": FORMAT_VERSION,
        "kind": "phenotype",
        "target": target_facts(cohort),
        "folds": fold_facts(rule, folds),
        "settings": {
            "num_bootstrap": num_bootstrap,
            "confidence": confidence,
            "bootstrap_seed": seed,
            "resampled": rule.group or "subject",
            "num_resampled": scoring.num_clusters,
            "by": by,
        },
        "facts": dict(facts or {}),
        "main_metric": scoring.main_metric,
        "metrics": list(scoring.metrics),
        "chance": chance_levels(scoring),
        **_comparisons(contest, main, fusion_over, untrained),
        "methods": [_method(contest, method, sites) for method in methods],
        "permutation": _permutation(contest.value(main) if observed is None else observed, null, blocks),
        "site_prediction": None if site_prediction is None else dict(site_prediction),
        **_figures(contest, main, sites),
        "notes": notes(cohort, rule, scoring, methods, contest.undefined()),
    }
    results = plain(results)
    return results | {"conclusion": conclude(results)}


def score_sites(
    cohort: Cohort, folds: Sequence[Fold], predictions: Predictions, *, num_bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """How well a method tells which site a person was scanned at.

    Args:
        cohort: with the site as its target, two or more; ``folds`` have people of every site on both sides.
        folds: of this cohort.
        predictions: of the site.
        num_bootstrap: resamples behind the interval.
        seed: of the resamples.
    """
    scoring = Scoring.of(cohort, folds)
    scoring.check(predictions)
    bootstrap = SubjectBootstrap.draw(scoring.num_clusters, num_bootstrap=num_bootstrap, seed=seed)
    draws = scoring.draws(predictions.values_RNK, bootstrap, metrics=["balanced_accuracy"])["balanced_accuracy"]
    num_sites = len(cohort.target.classes)
    reached = bootstrap.interval_of(float(draws[0]), draws[1:])
    return {"balanced_accuracy": reached.as_dict(), "chance": 1.0 / num_sites, "num_sites": num_sites}


def _comparisons(contest: Contest, main: str, fusion_over: str | None, untrained: str | None) -> dict[str, Any]:
    connectivity, baseline = contest.best(["connectivity"]), contest.best(BASELINE_GROUPS)
    random_init, fusion = untrained or contest.best(["random-init"]), contest.first("fusion")
    opponent = connectivity or baseline
    fusion_over = fusion_over or connectivity
    fusion_difference = None if fusion is None else contest.difference(fusion, fusion_over)
    return {
        "main": main,
        "best_baseline": baseline,
        "best_connectivity": connectivity,
        "untrained": random_init,
        "fusion": fusion,
        "fusion_over": None if fusion is None else fusion_over,
        "difference_to": opponent,
        "difference": _fields(contest.difference(main, opponent)),
        "baseline_difference": _fields(contest.difference(main, baseline)),
        "fusion_difference": _fields(fusion_difference),
        "finetuned": [
            {"name": row.method, "difference": _fields(contest.difference(row.method, opponent))}
            for row in contest.methods
            if row.group == "finetuned"
        ],
        "random_init_difference": _fields(contest.difference(main, random_init)),
    }


def _method(contest: Contest, method: Predictions, sites: Sequence[str]) -> dict[str, Any]:
    best = contest.best(BASELINE_GROUPS)
    return {
        "name": method.method,
        "group": method.group,
        "seen": method.seen,
        "note": method.note,
        "seconds": method.seconds,
        "scores": {metric: interval.as_dict() for metric, interval in contest.scores(method.method).items()},
        "by_site": contest.by_site(method.method, sites) if len(set(sites)) > 1 else [],
        "minus_best_baseline": _fields(contest.difference(method.method, best)),
    }


def _permutation(observed: float, null: np.ndarray | None, blocks: str) -> dict[str, Any] | None:
    if null is None or len(null) == 0:
        return None
    p = permutation_p(observed, null)
    facts = {"p": p, "num": len(null), "observed": observed, "null": null, "blocks": blocks}
    return facts | {"p_adjusted": None, "num_targets": 1}


def _figures(contest: Contest, main: str, sites: Sequence[str]) -> dict[str, Any]:
    shown = [main, contest.best(["connectivity"]), contest.first("fusion")]
    shown += [contest.first("finetuned"), contest.best(["random-init"])]
    values = {name: contest[name].values_RNK for name in dict.fromkeys(shown) if name is not None}
    if contest.scoring.kind == "regression":
        points = {name: predicted_points(contest.scoring, value, sites) for name, value in values.items()}
        return {"curves": {}, "predicted": points}
    return {"curves": {name: class_curves(contest.scoring, value) for name, value in values.items()}, "predicted": {}}


def _sites(cohort: Cohort, by: str) -> list[str]:
    if by not in cohort.table:
        return [UNKNOWN] * len(cohort.table)
    column = cohort.table[by]
    return column.astype(str).where(column.notna() & (column.astype(str) != ""), UNKNOWN).tolist()


def _fields(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else interval.as_dict()
