"""Forest plots of a study: every method with its interval, by kind of method, in one metric a panel.

All panels of a study share their rows, so that they read across. How a forest is drawn is in ``forest.py``; curves are
in ``phenotype_figures.py``, sites in ``phenotype_sites.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from brainlm.evaluation.statistics import Interval
from brainlm.report.forest import MAX_NAME, Forest, ForestMethod, forest_limits
from brainlm.report.phenotype_study import GROUPS, LOWER_IS_BETTER, Study
from brainlm.report.phenotype_words import DAGGER, axis_title, has_interval, metric_title, reference_note
from brainlm.report.sentences import bounds, number, shortened
from brainlm.report.style import GROUP_LOOKS, INK, MUTED, SEEN, Mark, Panel, drawing, svg_uri


def forest_panels(study: Study) -> tuple[Panel, ...]:
    """The main metric, the paired difference to the best baseline, and one more metric, as far as there are any."""
    forest = _forest(study)
    panels = [_score_panel(study, forest, study.main_metric)]
    differences = {m.name: m.minus_best_baseline for m in study.methods if m.minus_best_baseline is not None}
    if any(has_interval(interval) for interval in differences.values()):
        panels.append(_difference_panel(study, forest, differences))
    second = second_metric(study)
    return (*panels, _score_panel(study, forest, second)) if second else tuple(panels)


def second_metric(study: Study) -> str | None:
    """What is drawn beside the main metric: the error in units, or for classes the balanced accuracy."""
    reached = [
        name
        for name in study.metrics
        if name != study.main_metric
        and any(name in m.scores and math.isfinite(m.scores[name].value) for m in study.methods)
    ]
    wanted = "mae" if study.kind == "regression" else "balanced_accuracy"
    return wanted if wanted in reached else next(iter(reached), None)


def _forest(study: Study) -> Forest:
    methods = []
    for method in study.methods:
        dagger = f" {DAGGER}" * method.is_seen
        label = shortened(method.name, max_length=MAX_NAME - len(dagger)) + dagger
        methods.append(
            ForestMethod(
                name=method.name,
                group=method.group,
                mark=Mark(label, *GROUP_LOOKS[method.group]),
                is_main=method.group == "model",
                ink=SEEN if method.is_seen else INK,
            )
        )
    return Forest(methods, GROUPS)


def _score_panel(study: Study, forest: Forest, metric: str) -> Panel:
    scores = {method.name: method.scores[metric] for method in study.methods if metric in method.scores}
    reference = study.reference(metric)
    with drawing(forest.height) as figure:
        limits = _limits(study, scores, reference, metric)
        axes = forest.axes(figure, limits, reference=reference, label=axis_title(study, metric))
        forest.draw(axes, scores)
        uri = svg_uri(figure)
    told = "; ".join(f"{name} {number(score.value)} {bounds(score)}" for name, score in scores.items())
    return Panel(
        title=metric_title(metric)[0].upper() + metric_title(metric)[1:],
        alt=f"{metric_title(metric)} of every method. {told}.",
        uri=uri,
        note=reference_note(study, metric),
    )


def _difference_panel(study: Study, forest: Forest, differences: Mapping[str, Interval]) -> Panel:
    others = {name: d for name, d in differences.items() if name != study.best_baseline}
    limits = _limits(study, others, 0.0, study.main_metric)
    with drawing(forest.height) as figure:
        label = f"difference in {metric_title(study.main_metric)}"
        axes = forest.axes(figure, limits, reference=0.0, label=label)
        forest.draw(axes, others, is_difference=True)
        for row, method in forest.drawn_rows():
            if method.name == study.best_baseline:
                forest.write(axes, row, "the best baseline", colour=MUTED)
        uri = svg_uri(figure)
    told = "; ".join(f"{name} {number(d.value, sign=True)} {bounds(d, sign=True)}" for name, d in others.items())
    return Panel(
        title="Minus the best baseline",
        alt=f"Paired difference in {metric_title(study.main_metric)} to {study.best_baseline}. {told}.",
        uri=uri,
        note=f"{study.best_baseline}; filled: the interval excludes 0",
    )


def _limits(study: Study, scores: Mapping[str, Interval], reference: float | None, metric: str) -> tuple[float, float]:
    """The axis: those who know nothing do not say what is far."""
    own = [score for name, score in scores.items() if (m := study.method(name)) is not None and m.group != "chance"]
    return forest_limits(
        scores.values(),
        reference=reference,
        typical=own,
        always=scores.get(study.main or ""),
        lower_is_better=metric in LOWER_IS_BETTER,
    )
