"""The scores of a cohort over all steps: R2 of every method, its difference to the best baseline, and people apart.

All panels share their rows, so that they read across.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from brainlm.evaluation.statistics import Interval
from brainlm.report.forecast_study import GROUPS, ForecastCohort
from brainlm.report.forest import NAME_ABOVE, Forest, ForestMethod, draw_arrow, forest_limits
from brainlm.report.phenotype_words import has_interval
from brainlm.report.sentences import bounds, counted, number
from brainlm.report.style import MUTED, Mark, Panel, drawing, svg_uri

GOLDEN = 0.618034  # spreads neighbours apart, the same way every time
JITTER = 7.0  # points
RASTER_FROM = 1500  # dots; beyond, a picture is smaller than a drawing
EDGES = (5, 95)  # percentiles of people that are within the axis


def forest_panels(cohort: ForecastCohort, marks: Mapping[str, Mark]) -> tuple[Panel, ...]:
    """R2 with its interval, the paired difference to the best baseline, and R2 of each person, as far as known."""
    forest = Forest(
        [
            ForestMethod(method.name, method.group, marks[method.name], is_main=method.name == cohort.main)
            for method in cohort.methods
        ],
        GROUPS,
    )
    panels = [_score_panel(cohort, forest)]
    differences = {
        method.name: method.minus_best_baseline
        for method in cohort.methods
        if method.minus_best_baseline is not None and method.name != cohort.best_baseline
    }
    if any(has_interval(interval) for interval in differences.values()):
        panels.append(_difference_panel(cohort, forest, differences))
    if any(len(method.r2_subject_N) > 1 for method in cohort.methods):
        panels.append(_people_panel(cohort, forest))
    return tuple(panels)


def _score_panel(cohort: ForecastCohort, forest: Forest) -> Panel:
    scores = {method.name: method.scores["r2"] for method in cohort.methods if "r2" in method.scores}
    limits = forest_limits(scores.values(), reference=0.0, always=scores.get(cohort.main or ""))
    with drawing(forest.height) as figure:
        axes = forest.axes(figure, limits, reference=0.0, label="R² over all steps")
        if cohort.ceiling is not None and limits[0] <= cohort.ceiling.r2 <= limits[1]:
            axes.axvline(cohort.ceiling.r2, color=MUTED, linewidth=1.1, linestyle=(0, (4, 2)), zorder=0)
        forest.draw(axes, scores)
        uri = svg_uri(figure)
    told = "; ".join(f"{name} {number(score.value)} {bounds(score)}" for name, score in scores.items())
    note = "dotted line: predicting the mean, 0"
    if cohort.ceiling is not None and math.isfinite(cohort.ceiling.r2):
        note += f"; dashed: the linear ceiling, {number(cohort.ceiling.r2)}"
    return Panel(title="R² over all steps", alt=f"R² of every method over all steps. {told}.", uri=uri, note=note)


def _difference_panel(cohort: ForecastCohort, forest: Forest, differences: Mapping[str, Interval]) -> Panel:
    limits = forest_limits(differences.values(), reference=0.0, always=differences.get(cohort.main or ""))
    with drawing(forest.height) as figure:
        axes = forest.axes(figure, limits, reference=0.0, label="difference in R²")
        forest.draw(axes, differences, is_difference=True)
        for row, method in forest.drawn_rows():
            if method.name == cohort.best_baseline:
                forest.write(axes, row, "the best baseline", colour=MUTED)
        uri = svg_uri(figure)
    told = "; ".join(f"{name} {number(d.value, sign=True)} {bounds(d, sign=True)}" for name, d in differences.items())
    return Panel(
        title="Minus the best baseline",
        alt=f"Paired difference in R² to {cohort.best_baseline}. {told}.",
        uri=uri,
        note=f"{cohort.best_baseline}; filled: better or worse",
    )


def _people_panel(cohort: ForecastCohort, forest: Forest) -> Panel:
    people = {method.name: method.r2_subject_N for method in cohort.methods if len(method.r2_subject_N)}
    ends = [Interval(float(np.median(r2)), *map(float, np.percentile(r2, EDGES))) for r2 in people.values()]
    low, high = forest_limits(ends, reference=0.0)
    drawn = [r2 for r2 in people.values() if low <= float(np.median(r2)) <= high]
    num_dots = sum(len(r2) for r2 in drawn)
    num_beyond = sum(int(((r2 < low) | (r2 > high)).sum()) for r2 in drawn)
    with drawing(forest.height) as figure:
        axes = forest.axes(figure, (low, high), reference=0.0, label="R² of each subject")
        for row, method in forest.drawn_rows():
            r2_N = people.get(method.name)
            if r2_N is None:
                continue
            y, middle = row.y + NAME_ABOVE + 7, float(np.median(r2_N))
            forest.write(axes, row, f"median {number(middle)}")
            if not low <= middle <= high:
                draw_arrow(axes, y, method.mark.colour, to_left=middle < low)
                continue
            jitter = ((np.arange(len(r2_N)) * GOLDEN) % 1 - 0.5) * JITTER
            dots = axes.scatter(
                np.clip(r2_N, low, high), y + jitter, s=9, c=method.mark.colour, alpha=0.5, linewidths=0
            )
            dots.set_rasterized(num_dots > RASTER_FROM)
            axes.plot([middle] * 2, [y - 5, y + 5], color=method.ink, linewidth=1.8)
        uri = svg_uri(figure)
    told = "; ".join(f"{name} median {number(float(np.median(r2)))}" for name, r2 in people.items())
    note = "a dot a subject, the bar the median"
    note += f"; {counted(num_beyond, 'dot')} drawn at the edge" if num_beyond else ""
    return Panel(title="Subject by subject", alt=f"R² of each subject. {told}.", uri=uri, note=note)
