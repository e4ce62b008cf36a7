"""Forest plots of a study: every method with its interval, by kind of method, in one metric a panel.

All panels of a study share their rows, so that they read across. Curves are in ``phenotype_figures.py``, sites in
``phenotype_sites.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from brainlm.report.evaluation_file import Interval
from brainlm.report.phenotype_study import GROUPS, LOWER_IS_BETTER, Study, StudyMethod
from brainlm.report.phenotype_words import DAGGER, axis_title, has_interval, metric_title, reference_note
from brainlm.report.sentences import bounds, number, shortened
from brainlm.report.style import GROUP_LOOKS, INK, MUTED, RULE, SEEN, Panel, drawing, svg_uri

HEADER_HEIGHT, ROW_HEIGHT, AXIS_HEIGHT = 24, 31, 48  # points
NAME_ABOVE = 13  # points from the name to its interval
MAX_NAME = 38  # letters that stand beside a number
SMALL = 9.5  # points
# Methods far below the others would squeeze them together: the axis ends this many spreads below the model.
MAX_REACH = 3.0


@dataclass(frozen=True)
class Row:
    """A heading (``method`` None) or a method, ``y`` points below the top."""

    y: float
    title: str
    method: StudyMethod | None = None


def forest_panels(study: Study) -> tuple[Panel, ...]:
    """The main metric, the paired difference to the best baseline, and one more metric, as far as there are any."""
    rows = list(_rows(study.methods))
    panels = [_score_panel(study, rows, study.main_metric)]
    differences = {m.name: m.minus_best_baseline for m in study.methods if m.minus_best_baseline is not None}
    if any(has_interval(interval) for interval in differences.values()):
        panels.append(_difference_panel(study, rows, differences))
    second = second_metric(study)
    return (*panels, _score_panel(study, rows, second)) if second else tuple(panels)


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


def _rows(methods: Sequence[StudyMethod]) -> Iterator[Row]:
    y, group = 0.0, None
    for method in methods:
        if method.group != group:
            group = method.group
            yield Row(y + 0.62 * HEADER_HEIGHT, GROUPS[group])
            y += HEADER_HEIGHT
        yield Row(y, method.name, method)
        y += ROW_HEIGHT


def _height(rows: Sequence[Row]) -> float:
    return (rows[-1].y + ROW_HEIGHT) if rows else HEADER_HEIGHT


def _score_panel(study: Study, rows: Sequence[Row], metric: str) -> Panel:
    scores = {method.name: method.scores[metric] for method in study.methods if metric in method.scores}
    reference = study.reference(metric)
    limits = _limits(study, scores, reference, metric)
    with drawing(round(_height(rows)) + AXIS_HEIGHT) as figure:
        axes = _axes(figure.add_subplot(), rows, limits)
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        for row in rows:
            _draw_row(axes, row, scores, limits, is_difference=False)
        axes.set_xlabel(axis_title(study, metric))
        uri = svg_uri(figure)
    told = "; ".join(f"{name} {number(score.value)} {bounds(score)}" for name, score in scores.items())
    return Panel(
        title=metric_title(metric)[0].upper() + metric_title(metric)[1:],
        alt=f"{metric_title(metric)} of every method. {told}.",
        uri=uri,
        note=reference_note(study, metric),
    )


def _difference_panel(study: Study, rows: Sequence[Row], differences: Mapping[str, Interval]) -> Panel:
    others = {name: d for name, d in differences.items() if name != study.best_baseline}
    limits = _limits(study, others, 0.0, study.main_metric)
    with drawing(round(_height(rows)) + AXIS_HEIGHT) as figure:
        axes = _axes(figure.add_subplot(), rows, limits)
        axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        for row in rows:
            _draw_row(axes, row, others, limits, is_difference=True)
            if row.method is not None and row.method.name == study.best_baseline:
                _write(axes, 1.0, row.y + 7, "the best baseline", color=MUTED, ha="right")
        axes.set_xlabel(f"difference in {metric_title(study.main_metric)}")
        uri = svg_uri(figure)
    told = "; ".join(f"{name} {number(d.value, sign=True)} {bounds(d, sign=True)}" for name, d in others.items())
    return Panel(
        title="Minus the best baseline",
        alt=f"Paired difference in {metric_title(study.main_metric)} to {study.best_baseline}. {told}.",
        uri=uri,
        note=f"{study.best_baseline}; filled: the interval excludes 0",
    )


def _axes(axes: Axes, rows: Sequence[Row], limits: tuple[float, float]) -> Axes:
    axes.grid(axis="x")
    axes.set_xlim(*limits)
    axes.set_ylim(_height(rows), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return axes


def _limits(study: Study, scores: Mapping[str, Interval], reference: float | None, metric: str) -> tuple[float, float]:
    """The axis: all intervals, but methods far worse than the model's do not squeeze the others."""
    lows, highs = _edges(scores.values(), reference)
    if not lows:
        return 0.0, 1.0
    low, high = min(lows), max(highs)
    own = [score for name, score in scores.items() if (m := study.method(name)) is not None and m.group != "chance"]
    quarter, three_quarters = np.percentile([s.value for s in own if math.isfinite(s.value)] or [low], (25, 75))
    reach = MAX_REACH * max(float(three_quarters - quarter), 0.05 * abs(float(three_quarters)), 1e-6)
    main = study.method(study.main)
    own_lows, own_highs = _edges([scores[main.name]] if main is not None and main.name in scores else [], reference)
    if metric in LOWER_IS_BETTER:
        high = min(high, max([float(three_quarters) + reach, *own_highs]))
    else:
        low = max(low, min([float(quarter) - reach, *own_lows]))
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _edges(scores: Iterable[Interval], reference: float | None) -> tuple[list[float], list[float]]:
    found = [score for score in scores if math.isfinite(score.value)]
    lows = [score.low if math.isfinite(score.low) else score.value for score in found]
    highs = [score.high if math.isfinite(score.high) else score.value for score in found]
    known = [reference] if reference is not None else []
    return lows + known, highs + known


def _draw_row(
    axes: Axes, row: Row, scores: Mapping[str, Interval], limits: tuple[float, float], *, is_difference: bool
) -> None:
    if row.method is None:
        axes.axhline(row.y - 0.5 * HEADER_HEIGHT, color=RULE, linewidth=0.8)
        _write(axes, 0.0, row.y, row.title, color=MUTED, fontweight="bold")
        return
    name = shortened(row.title, max_length=MAX_NAME - 2 * row.method.is_seen) + f" {DAGGER}" * row.method.is_seen
    ink = SEEN if row.method.is_seen else INK
    _write(axes, 0.0, row.y + 7, name, color=ink)
    score = scores.get(row.method.name)
    if score is None or not math.isfinite(score.value):
        return
    text = number(score.value, sign=is_difference) + (f" {bounds(score, sign=is_difference)}" * has_interval(score))
    _write(axes, 1.0, row.y + 7, text, color=ink, ha="right")
    is_clear = not is_difference or score.verdict in ("better", "worse")
    _draw_interval(axes, row.y + NAME_ABOVE + 7, score, row.method.group, limits, filled=is_clear)


def _write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """``x`` is the share of the width. On white, so that grid lines do not cross it."""
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    written = axes.text(
        x, y, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, va="center", bbox=white, **look
    )
    written.set_in_layout(False)


def _draw_interval(
    axes: Axes, y: float, score: Interval, group: str, limits: tuple[float, float], *, filled: bool
) -> None:
    colour, marker = GROUP_LOOKS[group]
    if not limits[0] <= score.value <= limits[1]:
        end, start = (0.0, 0.06) if score.value < limits[0] else (1.0, 0.94)
        arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (end, y), (start, y), xycoords=axes.get_yaxis_transform(), arrowprops=arrow)
        return
    if has_interval(score):
        axes.plot([score.low, score.high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot([score.value], [y], marker=marker, markersize=7 if group == "model" else 6, color=colour,
              markerfacecolor=colour if filled else "white", markeredgewidth=1.2)  # fmt: skip
