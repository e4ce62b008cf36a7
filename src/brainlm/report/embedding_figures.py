"""The charts of the embeddings: maps coloured by a column, recordings joined by subject, shares of variance.

The numbers behind them are computed in ``embedding.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from brainlm.report.embedding import MAX_LEVELS, Projection, Share, is_quantity
from brainlm.report.sentences import counted, percent, shortened
from brainlm.report.style import CATEGORIES, CATEGORY_MARKERS, INK, MISSING, MUTED, Mark, Panel, drawing, svg_uri

MAP_HEIGHT = 300
ROW_HEIGHT = 34
QUANTITY_COLOURS = "viridis"
RASTER_FROM = 1500  # points; beyond, a picture is smaller than a drawing


def column_panel(projection: Projection, values: pd.Series, column: str) -> Panel:
    """The map coloured by ``values``: categories with a key (the commonest ten), a quantity with a colour bar."""
    with drawing(MAP_HEIGHT) as figure:
        axes = figure.add_subplot()
        key = _draw_quantity(axes, projection, values, column) if is_quantity(values) else ()
        if not is_quantity(values):
            key = _draw_categories(axes, projection, values)
        _label(axes, projection)
        uri = svg_uri(figure)
    num_missing = int(values.isna().sum())
    note = f"not known for {counted(num_missing, 'recording')} (pale)" if num_missing else ""
    return Panel(
        title=f"Coloured by {column}",
        alt=f"Embeddings of {counted(len(values), 'recording')} on two principal components, coloured by {column}.",
        uri=uri,
        note=note,
        key=key,
    )


def _draw_categories(axes: Axes, projection: Projection, values: pd.Series) -> tuple[Mark, ...]:
    text = values.map(_plain)
    names = sorted(text.dropna().unique(), key=lambda name: (len(name), name) if name.isdigit() else (0, name))
    if len(names) > MAX_LEVELS:
        names = list(text.value_counts().index[: MAX_LEVELS - 1])
    _scatter(axes, projection.points[~text.isin(names).to_numpy()], MISSING, "o")
    key = []
    for name, colour, marker in zip(names, CATEGORIES, CATEGORY_MARKERS, strict=False):
        chosen = (text == name).to_numpy()
        _scatter(axes, projection.points[chosen], colour, marker)
        key.append(Mark(f"{name} ({int(chosen.sum()):,})", colour, marker))
    num_others = text.nunique() - len(names)
    return (*key, Mark(counted(num_others, "other"), MISSING, "o")) if num_others else tuple(key)


def _plain(value: object) -> str | None:
    """Categories coded as whole numbers read 1, not 1.0."""
    if pd.isna(value):  # type: ignore[call-overload]
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _draw_quantity(axes: Axes, projection: Projection, values: pd.Series, column: str) -> tuple[Mark, ...]:
    known = values.notna().to_numpy()
    _scatter(axes, projection.points[~known], MISSING, "o")
    low, high = np.percentile(values[known].to_numpy(np.float64), (2, 98))
    colours = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), QUANTITY_COLOURS)
    _scatter(axes, projection.points[known], colours.to_rgba(values[known].to_numpy(np.float64)), "o")
    assert axes.figure is not None
    bar = axes.figure.colorbar(colours, ax=axes, extend="both", shrink=0.7, aspect=25, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.set_title(column, fontsize=9, color=MUTED)
    return ()


def subject_panel(projection: Projection, subjects: pd.Series) -> Panel:
    """The map with lines from every recording to the mean of its subject: short lines mean the subject decides."""
    codes, names = pd.factorize(subjects.astype(str))
    counts = np.bincount(codes)
    centres = np.stack([np.bincount(codes, weights=axis) / counts for axis in projection.points.T], axis=1)
    with drawing(MAP_HEIGHT) as figure:
        axes = figure.add_subplot()
        colours = np.array([mpl.colors.to_rgba(colour) for colour in CATEGORIES])[codes % len(CATEGORIES)]
        segments = np.stack([projection.points, centres[codes]], axis=1)
        lines = LineCollection(list(segments), colors=colours, linewidths=0.8, alpha=0.7)
        lines.set_rasterized(len(codes) > RASTER_FROM)
        axes.add_collection(lines)
        _scatter(axes, projection.points, colours, "o", size=12)
        _label(axes, projection)
        uri = svg_uri(figure)
    return Panel(
        title="The same, by subject",
        alt=f"The same map with every recording joined to the mean of its subject, {counted(len(names), 'subject')}.",
        uri=uri,
        note=f"{counted(len(names), 'subject')}; lines join a subject's recordings to their mean, colours repeat",
    )


def _scatter(
    axes: Axes, points: Float[np.ndarray, "N 2"], colour: str | np.ndarray, marker: str, *, size: int = 26
) -> None:
    dots = axes.scatter(points[:, 0], points[:, 1], s=size if len(points) < RASTER_FROM else 6, c=colour, marker=marker,
                        alpha=0.85, linewidths=0.4, edgecolors="white")  # fmt: skip
    dots.set_rasterized(len(points) > RASTER_FROM)


def _label(axes: Axes, projection: Projection) -> None:
    axes.set_xlabel(f"PC 1 ({percent(projection.explained[0])} of variance)")
    axes.set_ylabel(f"PC 2 ({percent(projection.explained[1])})")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.06)
    axes.set_aspect("equal", adjustable="datalim")


def share_panel(found: Sequence[Share], column: str | None) -> Panel:
    """Share of the embeddings' variance by column, with what random labels would give as a tick."""
    with drawing(60 + ROW_HEIGHT * len(found)) as figure:
        axes = figure.add_subplot()
        for row, share in enumerate(found):
            colour = INK if share.column == column else "#8a94a0"
            axes.barh(row, share.share, height=0.5, color=colour)
            axes.plot([share.chance, share.chance], [row - 0.38, row + 0.38], color=CATEGORIES[2], linewidth=2.2)
            end = max(share.share, share.chance)
            axes.text(end + 0.02, row, percent(share.share), va="center", fontsize=9.5)
        axes.set_yticks(range(len(found)), [shortened(share.column) for share in found], color=INK)
        axes.invert_yaxis()
        axes.set_xlim(0, max(max(share.share, share.chance) for share in found) * 1.25 + 0.02)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        uri = svg_uri(figure)
    told = "; ".join(f"{share.column} {percent(share.share)}, chance {percent(share.chance)}" for share in found)
    return Panel(
        title="Share of variance by column",
        alt=f"Share of the embeddings' variance accounted for: {told}.",
        uri=uri,
        note=f"dark: {column}, which the map is coloured by" if column is not None else "",
        key=(Mark("share (eta²)", "#8a94a0", "s"), Mark("by chance", CATEGORIES[2], "tick")),
    )
