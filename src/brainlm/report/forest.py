"""Forest plots of any methods: a row a method by kind, its interval below its name, all panels with the same rows.

What is judged, and in which metric, is known to the callers (``*_forest.py``), which give scores and axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from brainlm.evaluation.statistics import Interval
from brainlm.report.sentences import bounds, number, shortened
from brainlm.report.style import INK, MUTED, RULE, Mark

HEADER_HEIGHT, ROW_HEIGHT, AXIS_HEIGHT = 24, 31, 48  # points
NAME_ABOVE = 13  # points from the name to its interval
MAX_NAME = 38  # letters that stand beside a number
SMALL = 9.5  # points
# Methods far below the others would squeeze them together: the axis ends this many spreads below the rest.
MAX_REACH = 3.0


@dataclass(frozen=True)
class ForestMethod:
    """What a row shows of a method besides its scores; ``is_main`` draws its mark larger."""

    name: str
    group: str
    mark: Mark
    is_main: bool = False
    ink: str = INK


@dataclass(frozen=True)
class Row:
    """A heading (``method`` None) or a method, ``y`` points below the top."""

    y: float
    title: str
    method: ForestMethod | None = None


class Forest:
    """The rows of one set of methods, to be drawn once a metric.

    Args:
        methods: in their order; neighbours of one group stand below one heading.
        titles: the heading of every group.
    """

    def __init__(self, methods: Sequence[ForestMethod], titles: Mapping[str, str]) -> None:
        self.methods = tuple(methods)
        self.rows = tuple(_rows(methods, titles))
        last = self.rows[-1].y + ROW_HEIGHT if self.rows else HEADER_HEIGHT
        self._depth = last
        self.height = round(last) + AXIS_HEIGHT

    def axes(self, figure: Figure, limits: tuple[float, float], *, reference: float | None, label: str) -> Axes:
        """Empty axes with the headings, the names of all methods and a dotted line at ``reference``."""
        axes = figure.add_subplot()
        axes.grid(axis="x")
        axes.set_xlim(*limits)
        axes.set_ylim(self._depth, 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        for row in self.rows:
            if row.method is None:
                axes.axhline(row.y - 0.5 * HEADER_HEIGHT, color=RULE, linewidth=0.8)
                _write(axes, 0.0, row.y, row.title, color=MUTED, fontweight="bold")
            else:
                _write(axes, 0.0, row.y + 7, shortened(row.title, max_length=MAX_NAME), color=row.method.ink)
        axes.set_xlabel(label)
        return axes

    def draw(self, axes: Axes, scores: Mapping[str, Interval], *, is_difference: bool = False) -> None:
        """Number and interval of every method; of differences those are open whose interval holds 0."""
        for row, method in self.drawn_rows():
            score = scores.get(method.name)
            if score is None or not math.isfinite(score.value):
                continue
            text = number(score.value, sign=is_difference)
            text += f" {bounds(score, sign=is_difference)}" if score.has_limits else ""
            self.write(axes, row, text, colour=method.ink)
            filled = not is_difference or score.verdict in ("better", "worse")
            _draw_interval(axes, row.y + NAME_ABOVE + 7, score, method, filled=filled)

    def write(self, axes: Axes, row: Row, text: str, *, colour: str = INK) -> None:
        """``text`` at the right end of the row of a method."""
        _write(axes, 1.0, row.y + 7, text, color=colour, ha="right")

    def drawn_rows(self) -> Iterator[tuple[Row, ForestMethod]]:
        """The rows of methods, without the headings."""
        for row in self.rows:
            if row.method is not None:
                yield row, row.method


def _rows(methods: Sequence[ForestMethod], titles: Mapping[str, str]) -> Iterator[Row]:
    y, group = 0.0, None
    for method in methods:
        if method.group != group:
            group = method.group
            yield Row(y + 0.62 * HEADER_HEIGHT, titles[group])
            y += HEADER_HEIGHT
        yield Row(y, method.mark.label, method)
        y += ROW_HEIGHT


def forest_limits(
    scores: Iterable[Interval],
    *,
    reference: float | None,
    typical: Iterable[Interval] | None = None,
    always: Interval | None = None,
    lower_is_better: bool = False,
) -> tuple[float, float]:
    """The axis: all intervals, but methods far worse than the others do not squeeze them.

    Args:
        scores: of all methods; those without a number do not count.
        reference: shown in any case.
        typical: those whose spread says what is far, default: all.
        always: the interval that is shown in any case, however bad.
        lower_is_better: bad is far to the right then.
    """
    known = [score for score in scores if math.isfinite(score.value)]
    lows, highs = _edges(known, reference)
    if not lows:
        return 0.0, 1.0
    low, high = min(lows), max(highs)
    values = [score.value for score in (known if typical is None else typical) if math.isfinite(score.value)]
    quarter, three_quarters = np.percentile(values or [low], (25, 75))
    reach = MAX_REACH * max(float(three_quarters - quarter), 0.05 * abs(float(three_quarters)), 1e-6)
    own_lows, own_highs = _edges([always] if always is not None and math.isfinite(always.value) else [], reference)
    if lower_is_better:
        high = min(high, max([float(three_quarters) + reach, *own_highs]))
    else:
        low = max(low, min([float(quarter) - reach, *own_lows]))
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _edges(scores: Iterable[Interval], reference: float | None) -> tuple[list[float], list[float]]:
    found = list(scores)
    lows = [score.low if math.isfinite(score.low) else score.value for score in found]
    highs = [score.high if math.isfinite(score.high) else score.value for score in found]
    known = [reference] if reference is not None else []
    return lows + known, highs + known


def _write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """``x`` is the share of the width. On white, so that grid lines do not cross it."""
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    written = axes.text(
        x, y, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, va="center", bbox=white, **look
    )
    written.set_in_layout(False)


def draw_arrow(axes: Axes, y: float, colour: str, *, to_left: bool) -> None:
    """Says that what belongs at this height is off the axis."""
    end, start = (0.0, 0.06) if to_left else (1.0, 0.94)
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (end, y), (start, y), xycoords=axes.get_yaxis_transform(), arrowprops=arrow)


def _draw_interval(axes: Axes, y: float, score: Interval, method: ForestMethod, *, filled: bool) -> None:
    colour, limits = method.mark.colour, axes.get_xlim()
    if not limits[0] <= score.value <= limits[1]:
        draw_arrow(axes, y, colour, to_left=bool(score.value < limits[0]))
        return
    if score.has_limits:
        axes.plot([score.low, score.high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot([score.value], [y], marker=method.mark.marker, markersize=7 if method.is_main else 6, color=colour,
              markerfacecolor=colour if filled else "white", markeredgewidth=1.2)  # fmt: skip
