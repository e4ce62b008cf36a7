"""The charts of a study of attention that say where the model looks: by network and between parcels, by lag.

Maps are drawn by ``brain_maps.py``, layers and heads in ``attention_heads.py``; what speaks for and against a map is in
``attention_evidence.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from brainlm.data.parcels import Parcels
from brainlm.evaluation.statistics import SIGNIFICANT
from brainlm.report.attention_study import AttentionStudy, NetworkAttention
from brainlm.report.parcel_charts import network_column, network_names, network_title
from brainlm.report.phenotype_words import p_number
from brainlm.report.sentences import bounds, number
from brainlm.report.style import FIRST_LEVEL, INK, MODEL, MUTED, SECOND_LEVEL, Mark, Panel, drawing, svg_uri

LAG_HEIGHT = 256
NETWORK_ROW = 27  # points
LAG_LOOKS = {
    "same_parcel": Mark("the same parcel", MODEL, "o"),
    "same_network": Mark("others of the same network", "#1d5c99", "s"),
    "other_network": Mark("parcels of other networks", "#6d7681", "^"),
}
LOG_SCALE_FROM = 30.0  # largest / smallest


def network_axis(study: AttentionStudy, parcels: Parcels | None) -> tuple[str | None, np.ndarray | None]:
    """The column by which parcels are sorted, and the name of each parcel's network; None where there is none."""
    if parcels is None:
        return None, None
    column = study.network_column if study.network_column in parcels.networks else network_column(parcels)
    return column, None if column is None else network_names(parcels, column)


def network_panels(study: AttentionStudy) -> tuple[Panel, ...]:
    """Mean attention of every network with its interval, and the contrast of each."""
    entries = [entry for entry in study.networks if math.isfinite(entry.relative.value)]
    entries.sort(key=lambda entry: -entry.relative.value)
    if not entries:
        return ()
    panels = [_relative_panel(study, entries)]
    if study.contrast is not None and any(math.isfinite(entry.t) for entry in entries):
        panels.append(_network_contrast_panel(study, entries, study.contrast.levels))
    return tuple(panels)


def _rows_axes(axes: Axes, study: AttentionStudy, entries: Sequence[NetworkAttention], centre: float) -> None:
    axes.grid(axis="x")
    axes.axvline(centre, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
    names = [f"{network_title(study.network_column, e.name)} ({e.num_parcels})" for e in entries]
    axes.set_yticks(range(len(entries)), names, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(3))


def _relative_panel(study: AttentionStudy, entries: Sequence[NetworkAttention]) -> Panel:
    with drawing(58 + NETWORK_ROW * len(entries)) as figure:
        axes = figure.add_subplot()
        _rows_axes(axes, study, entries, 1.0)
        for row, entry in enumerate(entries):
            found = entry.relative
            if found.has_limits:
                axes.plot([found.low, found.high], [row, row], color=MODEL, linewidth=2, solid_capstyle="butt")
            axes.plot([found.value], [row], marker="o", markersize=7, color=MODEL)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.set_xlabel("times the uniform level")
        uri = svg_uri(figure)
    told = "; ".join(f"{entry.name} {entry.relative.value:.2f}× {bounds(entry.relative)}" for entry in entries)
    return Panel(
        title="Attention by network",
        alt=f"Mean attention relative to the uniform level by network: {told}.",
        uri=uri,
        note="mean over a network's parcels (their number in brackets); dotted line: the uniform level",
    )


def _network_contrast_panel(
    study: AttentionStudy, entries: Sequence[NetworkAttention], levels: tuple[str, str]
) -> Panel:
    with drawing(58 + NETWORK_ROW * len(entries)) as figure:
        axes = figure.add_subplot()
        _rows_axes(axes, study, entries, 0.0)
        for row, entry in enumerate(entries):
            if not math.isfinite(entry.t):
                continue
            colour = FIRST_LEVEL if entry.t > 0 else SECOND_LEVEL
            filled = colour if entry.q <= SIGNIFICANT else "white"
            axes.plot([0, entry.t], [row, row], color=colour, linewidth=1.2)
            axes.plot([entry.t], [row], marker="o", markersize=8, color=colour, markerfacecolor=filled)
            axes.annotate(f"q = {p_number(entry.q)}", (1.02, row), xycoords=("axes fraction", "data"), va="center",
                          fontsize=9.5, color=MUTED, annotation_clip=False)  # fmt: skip
        axes.margins(x=0.12)
        axes.set_xlabel(f"t, {levels[0]} minus {levels[1]}")
        uri = svg_uri(figure)
    told = "; ".join(f"{entry.name} t {number(entry.t, digits=2)}, q {p_number(entry.q)}" for entry in entries)
    return Panel(
        title="The contrast by network",
        alt=f"t of {levels[0]} minus {levels[1]} by network: {told}.",
        uri=uri,
        note="filled: q ≤ .05, adjusted over networks",
    )


def lag_panels(study: AttentionStudy) -> tuple[Panel, ...]:
    """Attention between patches by lag; none for windows of a single patch."""
    lags = study.lags
    if lags is None or len(lags.lag_G) < 2:
        return ()
    is_timed = math.isfinite(lags.patch_s)
    x = lags.lag_G * (lags.patch_s if is_timed else 1)
    uniform = study.uniform / ((len(lags.lag_G) + 1) // 2)
    curves = {name: values / uniform for name, values in lags.curves.items()}
    values = np.concatenate(list(curves.values()))
    values = values[np.isfinite(values) & (values > 0)]
    with drawing(LAG_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        if len(values) and values.max() / values.min() > LOG_SCALE_FROM:
            axes.set_yscale("log")
        axes.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.axvline(0, color=MUTED, linewidth=0.6)
        for name, curve in reversed(curves.items()):
            mark = LAG_LOOKS[name]
            axes.plot(x, curve, color=mark.colour, marker=mark.marker, markersize=5, linewidth=1.6)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.set_xlabel("seconds (attended minus asking)" if is_timed else "patches (attended minus asking)")
        uri = svg_uri(figure)
    middle = int(np.abs(lags.lag_G).argmin())
    told = "; ".join(f"{LAG_LOOKS[name].label} {number(curve[middle], digits=2)}×" for name, curve in curves.items())
    return (
        Panel(
            title="Between parcels, by lag",
            alt=f"Attention of one patch to another as a multiple of the uniform level, at lag 0: {told}.",
            uri=uri,
            note="a dot a lag of patches; dotted line: the uniform level",
            key=tuple(LAG_LOOKS[name] for name in curves),
        ),
    )
