"""The charts of the recordings that stand out: spread, connectivity and motion against each other, a dot a recording.

The numbers come from ``brainlm.data.outliers``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy.stats import spearmanr

from brainlm.data.outliers import THRESHOLD, Outliers, Usual
from brainlm.report.sentences import counted, number, shortened
from brainlm.report.store_figures import BAR
from brainlm.report.style import INK, MODEL, MUTED, Mark, Panel, drawing, svg_uri

HEIGHT = 320
RASTER_FROM = 1500  # points; beyond, a picture is smaller than a drawing
NUM_NAMED = 3  # outliers with their name in a chart
NAME_SIZE = (0.45, 0.04)  # of the frame
EDGE = 14.0  # robust z-score at which a chart ends; one recording in other units must not flatten the rest


@dataclass(frozen=True, eq=False)
class _Axis:
    """A quantity of every recording; for a ratio, its ``usual`` values and the z-scores with a dotted line."""

    name: str
    label: str
    values: Float64[np.ndarray, "N"]
    usual: Usual | None = None
    lines: tuple[float, ...] = ()

    @property
    def placed(self) -> Float64[np.ndarray, "N"]:
        """The values within the chart: those beyond its edges lie on them."""
        if self.usual is None:
            return self.values
        return np.clip(self.values, self.usual.ratio_at(-EDGE), self.usual.ratio_at(EDGE))


def outlier_marks(outliers: Outliers) -> tuple[tuple[Mark, Bool[np.ndarray, "N"]], ...]:
    """How the recordings are drawn, by what they stand out for."""
    by_spread, by_connectivity = outliers.by_spread, outliers.by_connectivity
    return (
        (Mark("usual", BAR, "o"), ~by_spread & ~by_connectivity),
        (Mark("by spread", "#1d5c99", "^"), by_spread & ~by_connectivity),
        (Mark("by connectivity", MODEL, "s"), by_connectivity & ~by_spread),
        (Mark("by both", INK, "D"), by_spread & by_connectivity),
    )


def outlier_panels(outliers: Outliers, names: Sequence[str], mean_fd: pd.Series | None) -> tuple[Panel, ...]:
    """Every recording that was read by spread and connectivity, then each of them by motion where that is known.

    Dotted lines are where recordings begin to stand out; the worst have their names.
    """
    found = outliers
    spread = _Axis("spread", "spread, times the cohort's", found.spread, found.usual_spread, (-THRESHOLD, THRESHOLD))
    label = "distance of the correlations, times the usual"
    distance = _Axis("connectivity", label, found.distance, found.usual_distance, (THRESHOLD,))
    pairs = [(spread, distance)]
    if mean_fd is not None:
        motion = _Axis("motion", "mean framewise displacement (mm)", mean_fd.to_numpy(np.float64))
        pairs += [(motion, spread), (motion, distance)]
    drawn = [np.isfinite(x.values) & np.isfinite(y.values) for x, y in pairs]
    return tuple(
        _panel(outliers, names, x, y, chosen) for (x, y), chosen in zip(pairs, drawn, strict=True) if chosen.any()
    )


def _panel(outliers: Outliers, names: Sequence[str], x: _Axis, y: _Axis, drawn: Bool[np.ndarray, "N"]) -> Panel:
    with drawing(HEIGHT) as figure:
        axes = figure.add_subplot()
        for mark, chosen in outlier_marks(outliers):
            _dots(axes, x.placed[chosen & drawn], y.placed[chosen & drawn], mark)
        _finish(axes, "y", y, y.placed[drawn])
        _finish(axes, "x", x, x.placed[drawn])
        stands_out = outliers.by_spread | outliers.by_connectivity
        worst = [index for index in outliers.flagged if drawn[index] and stands_out[index]]
        _name(axes, np.array(worst[:NUM_NAMED], dtype=np.int64), names, x.placed, y.placed)
        uri = svg_uri(figure)
    title = f"{x.name.capitalize()} and {y.name}"
    note = counted(int(drawn.sum()), "recording")
    if drawn.sum() > 2 and np.ptp(x.values[drawn]) > 0 and np.ptp(y.values[drawn]) > 0:
        agreement = float(spearmanr(x.values[drawn], y.values[drawn]).statistic)
        note = f"rank correlation {number(agreement, digits=2)} in {note}"
    num_beyond = int(((x.placed != x.values) | (y.placed != y.values))[drawn].sum())
    note += f"; {num_beyond:,} beyond the frame on its edge" if num_beyond else ""
    told = ", ".join(f"{int((chosen & drawn).sum()):,} {mark.label}" for mark, chosen in outlier_marks(outliers))
    return Panel(title=title, alt=f"{title}, a dot a recording: {told}; {note}.", uri=uri, note=note)


def _dots(axes: Axes, x: Float64[np.ndarray, "M"], y: Float64[np.ndarray, "M"], mark: Mark) -> None:
    usual = mark.label == "usual"
    size, alpha = (13, 0.5) if usual else (34, 1)
    dots = axes.scatter(
        x, y, s=size, c=mark.colour, marker=mark.marker, alpha=alpha, linewidths=0.4, edgecolors="white"
    )
    dots.set_clip_on(False)
    dots.set_rasterized(len(x) > RASTER_FROM)


def _finish(axes: Axes, which: str, quantity: _Axis, placed: Float64[np.ndarray, "M"]) -> None:
    """Scale, label and dotted lines of one axis."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if which == "x":
        axes.set_xlabel(quantity.label)
    else:
        axes.set_title(quantity.label, loc="left", color=MUTED)
    if quantity.usual is None:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        return
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_locator(FixedLocator(ratio_ticks(float(placed.min()), float(placed.max()))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axis.set_minor_locator(NullLocator())
    for z in quantity.lines:
        draw = axes.axvline if which == "x" else axes.axhline
        draw(quantity.usual.ratio_at(z), color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))


def _name(
    axes: Axes,
    worst: Int64[np.ndarray, "K"],
    names: Sequence[str],
    x: Float64[np.ndarray, "N"],
    y: Float64[np.ndarray, "N"],
) -> None:
    """Names beside the dots, left out where they would cover each other."""
    to_frame = axes.transData + axes.transAxes.inverted()
    named: list[np.ndarray] = []
    for index in worst.tolist():
        place = to_frame.transform((x[index], y[index]))
        if any((np.abs(place - other) < NAME_SIZE).all() for other in named):
            continue
        named.append(place)
        on_the_right = place[0] > 0.5
        axes.annotate(
            shortened(names[index]),
            (x[index], y[index]),
            xytext=(-6 if on_the_right else 6, 0),
            textcoords="offset points",
            ha="right" if on_the_right else "left",
            va="center",
            fontsize=8.5,
        )


def ratio_ticks(low: float, high: float) -> list[float]:
    """Round ratios between two others: tenfold, doubling, or even steps, as the range is wide."""
    if high / low > 100:
        return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    if high / low > 3:
        return [2.0**power for power in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
    return [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if tick > 0]
