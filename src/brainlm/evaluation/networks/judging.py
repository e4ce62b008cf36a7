"""Which features tell networks, by how much, and how sure that is: from outcomes to the content of ``results.json``.

Nothing is fitted here. What follows from the numbers is said in ``conclusion.py``.

Shapes: Q parcels with a network, L surrogate label maps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainlm.evaluation.networks.clustering import adjusted_rand, contingency
from brainlm.evaluation.networks.conclusion import conclude
from brainlm.evaluation.networks.labels import NetworkLabels, units_per_network
from brainlm.evaluation.networks.neighbours import most_often
from brainlm.evaluation.networks.outcomes import Outcome
from brainlm.evaluation.networks.parcel_features import BASELINE_GROUPS
from brainlm.evaluation.networks.running import NetworkStudy
from brainlm.evaluation.networks.scores import ParcelScoring, around
from brainlm.evaluation.plain_json import plain
from brainlm.evaluation.statistics import Interval, few_subjects_note, permutation_p

FORMAT_VERSION = 1
MAIN_METRIC = "accuracy"


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What of a study is only told, not computed with.

    Attributes:
        num_subjects: behind the features.
        num_recordings: likewise.
        surrogate_kind: of the label maps, empty where there are none.
        surrogate_sentence: what they are, or why there are none.
        facts: copied to ``"facts"``.
        settings: copied to ``"settings"``.
        notes: more of them, said first.
    """

    num_subjects: int
    num_recordings: int
    surrogate_kind: str = ""
    surrogate_sentence: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


def judge(
    study: NetworkStudy,
    outcomes: Sequence[Outcome],
    draws: Sequence[Outcome] = (),
    *,
    main: str,
    around_it: Surroundings,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The content of ``results.json``: every row's scores, the comparisons and the conclusion.

    Args:
        study: on what parcels.
        outcomes: one a row, in the order of the table.
        draws: the main features of further networks with random weights; no rows, but what pretraining has to beat.
        main: the row that the question is about, chosen before any score was seen.
        around_it: what else is to be told.
        num_bootstrap: resamples of parcels behind the intervals.
        seed: of the resamples.
    """
    scoring = ParcelScoring.of(study.labels, num_bootstrap=num_bootstrap, seed=seed)
    by_name = {outcome.name: outcome for outcome in outcomes}
    best = _best(scoring, [outcome for outcome in outcomes if outcome.group in BASELINE_GROUPS])
    places = [outcome for outcome in outcomes if outcome.group == "position"]
    place = _best(scoring, places) if places else None
    best_model = _best(scoring, [outcome for outcome in outcomes if outcome.group == "model"])
    rows = [_row(scoring, outcome, best, study, around_it.num_subjects) for outcome in outcomes]
    shown = [by_name[name] for name in dict.fromkeys((main, best.name, best_model.name))]
    labels = study.labels
    twins = [one for one in outcomes if one.group == "random-init" and one.name.startswith(main)][:1]
    pretraining = [_difference(scoring, MAIN_METRIC, by_name[main], twin) for twin in (*twins, *draws)]
    results = {
        "format_version": FORMAT_VERSION,
        "kind": "networks",
        "labels": labels.column,
        "networks": [
            {"name": name, "num_parcels": int(size)} for name, size in zip(labels.names, labels.sizes, strict=True)
        ],
        "num_parcels": len(labels.positions),
        "num_missing": labels.num_missing,
        "num_pairs": labels.num_pairs,
        "num_subjects": around_it.num_subjects,
        "num_recordings": around_it.num_recordings,
        "facts": dict(around_it.facts),
        "settings": {
            "num_bootstrap": num_bootstrap,
            "confidence": scoring.bootstrap.confidence,
            "num_resampled": scoring.bootstrap.counts_RS.shape[1],
            **around_it.settings,
        },
        "main_metric": MAIN_METRIC,
        "methods": rows,
        "main": main,
        "best_baseline": best.name,
        "best_model": best_model.name,
        "difference": _difference(scoring, MAIN_METRIC, by_name[main], best),
        "balanced_difference": _difference(scoring, "balanced_accuracy", by_name[main], best),
        "position": place.name if place else None,
        "position_difference": _difference(scoring, MAIN_METRIC, by_name[main], place) if place else None,
        "pretraining_difference": next(iter(pretraining), None),
        "pretraining_draws": pretraining,
        "parcels": _parcels(scoring, shown, labels),
        "surrogates": {
            "kind": around_it.surrogate_kind,
            "num": len(study.surrogate_LQ),
            "sentence": around_it.surrogate_sentence,
        },
        "notes": [*few_subjects_note(around_it.num_subjects), *around_it.notes, *_notes(study)],
    }
    results = plain(results)
    return results | {"conclusion": conclude(results)}


def _best(scoring: ParcelScoring, outcomes: Iterable[Outcome]) -> Outcome:
    """The one of highest accuracy; of equals the first."""
    found = max(outcomes, key=lambda outcome: float(scoring.share_right(outcome.predicted_RQ).mean()), default=None)
    assert found is not None, "somebody to choose from"
    return found


def _row(
    scoring: ParcelScoring, outcome: Outcome, best: Outcome, study: NetworkStudy, num_subjects: int
) -> dict[str, Any]:
    metric, k = most_often(outcome.metric_X, outcome.k_X) if len(outcome.k_X) else (None, None)
    scores = scoring.scores(outcome.predicted_RQ)
    compared = outcome.group == "model"
    return {
        "name": outcome.name,
        "group": outcome.group,
        "k": k,
        "metric": metric,
        "scores": {name: interval.as_dict() for name, interval in scores.items()},
        "by_subjects": _by_subjects(outcome, scores, num_subjects),
        "clustering": _clustering(scoring, outcome),
        "confusion": scoring.confusion(outcome.predicted_RQ).round(4),
        "minus_best_baseline": _difference(scoring, MAIN_METRIC, outcome, best) if compared else None,
        "null": _null(scoring, outcome, study),
        "seconds": outcome.seconds,
    }


def _by_subjects(outcome: Outcome, scores: Mapping[str, Interval], num_subjects: int) -> dict[str, Any]:
    """The scores again, their intervals from features of resampled subjects; no limits where subjects do not matter.

    A resample has about 63 % of the subjects, which by itself lowers scores: the intervals are the spread of the
    resamples, laid around the score of all subjects.
    """
    found = {}
    for name, values_W in (("accuracy", outcome.accuracy_W), ("balanced_accuracy", outcome.balanced_W)):
        value = scores[name].value
        found[name] = around(value, values_W, num_drawn=num_subjects).as_dict()
    return found


def _clustering(scoring: ParcelScoring, outcome: Outcome) -> dict[str, Any] | None:
    if len(outcome.cluster_Q) == 0:
        return None
    return {name: interval.as_dict() for name, interval in scoring.clustering(outcome.cluster_Q).items()}


def _null(scoring: ParcelScoring, outcome: Outcome, study: NetworkStudy) -> dict[str, Any] | None:
    if outcome.observed is None or len(outcome.null_L) == 0:
        return None
    everybody = np.ones((1, len(scoring.number_Q)))
    ari_L = np.array(
        [adjusted_rand(contingency(outcome.cluster_Q, number_Q, everybody))[0] for number_Q in study.surrogate_LQ]
    )
    ari = float(adjusted_rand(contingency(outcome.cluster_Q, scoring.number_Q, everybody))[0])
    low, high = np.quantile(outcome.null_L, [0.025, 0.975])
    return {
        "p_accuracy": permutation_p(outcome.observed, outcome.null_L),
        "p_ari": permutation_p(ari, ari_L),
        "observed_accuracy": outcome.observed,
        "mean_accuracy": outcome.null_L.mean(),
        "low_accuracy": low,
        "high_accuracy": high,
        "mean_ari": ari_L.mean(),
    }


def _difference(scoring: ParcelScoring, metric: str, outcome: Outcome, other: Outcome) -> dict[str, Any]:
    return scoring.difference(metric, outcome.predicted_RQ, other.predicted_RQ).as_dict()


def _parcels(scoring: ParcelScoring, shown: Sequence[Outcome], labels: NetworkLabels) -> dict[str, Any]:
    """For every parcel of the atlas, null where it has no network: the truth, and what is said most often."""

    def spread(values: Sequence[Any]) -> list[Any]:
        out: list[Any] = [None] * len(labels.number_P)
        for position, value in zip(labels.positions.tolist(), values, strict=True):
            out[position] = value
        return out

    said = {one.name: pd.DataFrame(one.predicted_RQ).mode().iloc[0].astype(int).tolist() for one in shown}
    return {
        "true": spread([labels.names[number] for number in labels.numbers]),
        "predicted": {name: spread([labels.names[number] for number in numbers]) for name, numbers in said.items()},
        "share_right": {one.name: spread(scoring.share_right(one.predicted_RQ).round(4).tolist()) for one in shown},
    }


def _notes(study: NetworkStudy) -> list[str]:
    labels, notes = study.labels, []
    num_folds = len(study.folds) // study.num_repeats
    if labels.num_missing:
        left_out = [f"{name} ({count})" for name, count in labels.left_out]
        among = f", among them those of networks left out as too small: {', '.join(left_out)}" if left_out else ""
        notes.append(f"{labels.num_missing} parcels without a network take part in nothing{among}.")
    few = [name for name, units in zip(labels.names, units_per_network(labels), strict=True) if units < num_folds]
    if few:
        notes.append(
            f"Fewer pairs and single parcels than {num_folds} folds: {', '.join(few)}; some folds test none of them."
        )
    notes.append(
        "Attention profiles of many recordings side by side follow each parcel's signal in steps of a patch, so those "
        "that fluctuate together have alike ones: raw series are their nearest control."
    )
    notes.append(
        "Intervals over parcels draw homologous pairs as one, but take neighbouring pairs for independent, which they "
        "are not: they are narrower than they should be. The surrogate labels do respect neighbourhood."
    )
    return notes
