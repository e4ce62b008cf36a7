"""The charts of scores: R2 by mask, the difference to the best baseline, and R2 by how far ahead.

Curves and example windows are in ``figures.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from brainlm.report.evaluation_file import Condition, Evaluation
from brainlm.report.sentences import MASK_TITLES, VERDICT_MARKS, counted, number
from brainlm.report.style import BAND, MUTED, VERDICT_COLOURS, Mark, Panel, drawing, svg_uri

MASK_CHART_HEIGHT, DIFFERENCE_CHART_HEIGHT, FORECAST_CHART_HEIGHT = 330, 190, 256
# A baseline far below the others would squeeze them together: the axis ends here, unless the model goes lower.
LOWEST_R2 = -0.15


def mask_panels(evaluation: Evaluation, marks: Mapping[str, Mark]) -> tuple[Panel, ...]:
    """R2 of every method with its interval by amount hidden: one panel a kind of mask, one scale for all."""
    floor, top = _limits(evaluation)
    return tuple(
        _mask_panel(
            [c for c in evaluation.conditions if c.mask == mask], MASK_TITLES.get(mask, mask), marks, floor, top
        )
        for mask in evaluation.masks
    )


def _limits(evaluation: Evaluation) -> tuple[float, float]:
    methods = [method for condition in evaluation.conditions for method in condition.methods]
    lows = [method.r2.low if math.isfinite(method.r2.low) else method.r2.value for method in methods]
    highs = [method.r2.high if math.isfinite(method.r2.high) else method.r2.value for method in methods]
    of_model = [low for low, method in zip(lows, methods, strict=True) if method.is_model]
    floor = max(np.nanmin([*lows, 0.0]), np.nanmin([*of_model, LOWEST_R2]))
    top = np.nanmax([*highs, 0.1])
    return float(floor - 0.06 * (top - floor)), float(top + 0.04 * (top - floor))


def _mask_panel(
    conditions: Sequence[Condition], title: str, marks: Mapping[str, Mark], floor: float, top: float
) -> Panel:
    with drawing(MASK_CHART_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for position, condition in enumerate(conditions):
            if position % 2 == 0:
                axes.axvspan(position - 0.5, position + 0.5, color=BAND, linewidth=0, zorder=0)
            _draw_methods(axes, condition, position, marks, floor)
        axes.set_xlim(-0.5, len(conditions) - 0.5)
        axes.set_ylim(floor, top)
        axes.set_xticks(range(len(conditions)), [_amount(condition) for condition in conditions])
        axes.tick_params(axis="x", length=0)
        axes.set_title("R²", loc="left", color=MUTED)
        uri = svg_uri(figure)
    told = "; ".join(
        f"{condition.label}: "
        + ", ".join(f"{method.name} {number(method.r2.value, digits=2)}" for method in condition.methods)
        for condition in conditions
    )
    return Panel(title=title, alt=f"R² by amount hidden. {told}.", uri=uri)


def _draw_methods(axes: Axes, condition: Condition, position: int, marks: Mapping[str, Mark], floor: float) -> None:
    present = {method.name: method for method in condition.methods}
    names = [name for name in marks if name in present]
    offsets = np.linspace(-0.34, 0.34, len(names)) if len(names) > 1 else np.zeros(1)
    for name, offset in zip(names, offsets, strict=True):
        score, mark, x = present[name].r2, marks[name], position + float(offset)
        if not math.isfinite(score.value):
            continue
        if score.value < floor:
            arrow = {"arrowstyle": "-|>", "color": mark.colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (x, 0), (x, 0.07), xycoords=("data", "axes fraction"), arrowprops=arrow)
            continue
        axes.plot([x, x], [score.low, score.high], color=mark.colour, linewidth=1.5, solid_capstyle="butt")
        size = 8.5 if present[name].is_model else 6.0
        axes.plot([x], [score.value], marker=mark.marker, markersize=size, color=mark.colour, markeredgewidth=0.7)


def difference_panels(evaluation: Evaluation) -> tuple[Panel, ...]:
    """Model minus best baseline with its paired interval: one panel a kind of mask, one scale for all, aligned with
    ``mask_panels``."""
    found = [condition.difference for condition in evaluation.conditions if condition.difference is not None]
    edges = [
        edge for interval in found for edge in (interval.low, interval.high, interval.value) if math.isfinite(edge)
    ]
    if not edges:
        return ()
    low, high = min([*edges, 0.0]), max([*edges, 0.0])
    margin = 0.12 * (high - low) or 0.01
    return tuple(
        _difference_panel(
            [c for c in evaluation.conditions if c.mask == mask],
            MASK_TITLES.get(mask, mask),
            (low - margin, high + margin),
        )
        for mask in evaluation.masks
    )


def _difference_panel(conditions: Sequence[Condition], title: str, limits: tuple[float, float]) -> Panel:
    with drawing(DIFFERENCE_CHART_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for position, condition in enumerate(conditions):
            interval, colour = condition.difference, VERDICT_COLOURS[condition.verdict]
            if interval is None:
                continue
            axes.plot([position] * 2, [interval.low, interval.high], color=colour, linewidth=1.8, solid_capstyle="butt")
            axes.plot([position], [interval.value], marker="o", markersize=6.5, color=colour)
        axes.set_xlim(-0.5, len(conditions) - 0.5)
        axes.set_ylim(*limits)
        axes.set_xticks(range(len(conditions)), [_amount(condition) for condition in conditions])
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_title("difference in R²", loc="left", color=MUTED)
        uri = svg_uri(figure)
    told = "; ".join(
        f"{condition.label} {number(condition.difference.value, sign=True)} ({VERDICT_MARKS[condition.verdict][2:]})"
        for condition in conditions
        if condition.difference is not None
    )
    return Panel(title=title, alt=f"Model minus best baseline: {told}.", uri=uri)


def _amount(condition: Condition) -> str:
    if condition.mask == "future":
        return counted(int(condition.amount), "patch", "patches")
    return f"{100 * condition.amount:g} %"


def forecast_panels(evaluation: Evaluation, marks: Mapping[str, Mark], tr_s: float | None) -> tuple[Panel, ...]:
    """R2 by how far ahead, a panel for every future mask; in seconds where all recordings share one TR."""
    conditions = [
        condition
        for condition in evaluation.conditions
        if condition.mask == "future" and any(method.r2_by_step is not None for method in condition.methods)
    ]
    steps = [m.r2_by_step for condition in conditions for m in condition.methods if m.r2_by_step is not None]
    if not steps:
        return ()
    highest = max(float(np.nanmax(step)) for step in steps)
    of_model = [m.r2_by_step for c in conditions for m in c.methods if m.r2_by_step is not None and m.is_model]
    floor = min([LOWEST_R2, *(float(np.nanmin(step)) for step in of_model)])
    floor = max(floor, min(float(np.nanmin(step)) for step in steps))
    pad = 0.05 * (highest - floor)
    return tuple(_forecast_panel(c, marks, tr_s, (floor - pad, highest + pad)) for c in conditions)


def _forecast_panel(
    condition: Condition, marks: Mapping[str, Mark], tr_s: float | None, limits: tuple[float, float]
) -> Panel:
    methods = {method.name: method for method in condition.methods if method.r2_by_step is not None}
    with drawing(FORECAST_CHART_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        # The model is drawn last, over the others.
        for name in [name for name in reversed(tuple(marks)) if name in methods]:
            values = cast(np.ndarray, methods[name].r2_by_step)
            ahead = np.arange(1, len(values) + 1) * (tr_s or 1)
            mark, is_model = marks[name], methods[name].is_model
            axes.plot(
                ahead,
                values,
                color=mark.colour,
                linewidth=2 if is_model else 1.1,
                marker=mark.marker,
                markersize=6 if is_model else 5,
                markevery=max(1, len(values) // 6),
            )
        axes.set_ylim(*limits)
        axes.set_xlabel("seconds ahead" if tr_s else "time points ahead (TR not known or mixed)")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_title("R²", loc="left", color=MUTED)
        uri = svg_uri(figure)
    told = "; ".join(
        f"{name} from {number(float(cast(np.ndarray, method.r2_by_step)[0]), digits=2)} at the first step to "
        f"{number(float(cast(np.ndarray, method.r2_by_step)[-1]), digits=2)} at the last"
        for name, method in methods.items()
    )
    return Panel(title=f"Last {_amount(condition)}", alt=f"R² by step ahead: {told}.", uri=uri)
