"""The charts of a store's page: how many, how long, how much they moved, and which stand out.

Carpets are in ``carpet.py``, maps of the brain in ``brain_maps.py``; the numbers come from ``brainlm.data``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from brainlm.data.splits import SPLITS
from brainlm.report.parcel_charts import MIDDLE, ColourScale
from brainlm.report.sentences import number, shortened
from brainlm.report.style import INK, MUTED, Mark, Panel, drawing, svg_uri

HISTOGRAM_HEIGHT = 236
ROW_HEIGHT = 21
MAX_ROWS = 20  # of a bar chart
MAX_BINS = 30
FAR = 99.5  # percentile beyond which values go into the last bar
BAR = "#8a94a0"
LOWEST_COVERAGE = (0.96, 0.92, 0.8, 0.6, 0.4, 0.2, 0.0)  # where the colours begin: with round ticks above it
HOLES = LinearSegmentedColormap.from_list("holes", ["#3d0c02", "#b5420f", "#f0a76c", MIDDLE])
SPLIT_COLOURS = dict(zip(SPLITS, ("#332288", "#ddcc77", "#44aa99"), strict=True))


def splits_of(metadata: pd.DataFrame) -> list[str]:
    """The splits in the order in which they are used."""
    present = set(metadata["split"])
    return [name for name in SPLITS if name in present] + sorted(present - set(SPLITS))


def split_key(metadata: pd.DataFrame) -> tuple[Mark, ...]:
    """The colours of the splits; nothing where there is but one."""
    splits = splits_of(metadata)
    return tuple(Mark(name, SPLIT_COLOURS.get(name, BAR), "band") for name in splits) if len(splits) > 1 else ()


def bars_panel(metadata: pd.DataFrame, column: str, *, title: str, unit: str = "") -> Panel:
    """Recordings with each value of a column, divided by split (``split_key``); of many values the commonest."""
    known = metadata[metadata[column].astype(str) != ""]
    counts = known[column].value_counts(sort=False).sort_index()
    counts = counts.loc[splits_of(known)] if column == "split" else counts
    if len(counts) > MAX_ROWS:
        counts = counts.sort_values(ascending=False, kind="stable").head(MAX_ROWS)
    by_split = pd.crosstab(known[column], known["split"]).loc[counts.index]
    shown = [f"{value:g}{unit}" if isinstance(value, float) else f"{value}{unit}" for value in counts.index]
    with drawing(56 + ROW_HEIGHT * len(shown)) as figure:
        axes = figure.add_subplot()
        left = np.zeros(len(shown))
        for name in splits_of(known):
            widths = by_split[name].to_numpy(np.float64)
            axes.barh(range(len(shown)), widths, left=left, height=0.7, color=SPLIT_COLOURS.get(name, BAR))
            left += widths
        for row, total in enumerate(left):
            axes.text(total, row, f" {total:,.0f}", va="center", fontsize=9.5)
        axes.set_yticks(range(len(shown)), [shortened(name) for name in shown], color=INK)
        axes.set_xlim(0, left.max() * 1.16)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("recordings")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        uri = svg_uri(figure)
    num_values = known[column].nunique()
    others = f"the {MAX_ROWS} commonest of {num_values:,}" if num_values > len(shown) else ""
    told = ", ".join(f"{name} {int(total):,}" for name, total in zip(shown, left, strict=True))
    return Panel(title=title, alt=f"{title}: {told}.", uri=uri, note=others)


def histogram_panel(
    values: pd.Series, *, title: str, label: str, text: Callable[[float], str], of: str = "recordings"
) -> Panel:
    """How the known values are distributed, their median as a line; ``text`` writes a value with its unit."""
    known = values.dropna().to_numpy(np.float64)
    known = known[np.isfinite(known)]
    low, median, high = (float(value) for value in np.percentile(known, (0, 50, 100)))
    edge = float(np.percentile(known, FAR))
    edge = edge if high - low > 1.5 * (edge - low) and edge > low else high
    num_beyond = int((known > edge).sum())
    with drawing(HISTOGRAM_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        axes.hist(
            np.minimum(known, edge), bins=_bins(known, low, edge).tolist(), color=BAR, edgecolor="white", linewidth=0.5
        )
        axes.axvline(median, color=INK, linewidth=1.4)
        axes.set_xlabel(label)
        axes.set_title(of, loc="left", color=MUTED)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        whole = bool((known % 1 == 0).all())
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=whole))
        uri = svg_uri(figure)
    note = f"median {text(median)}, from {text(low)} to {text(high)}" if high > low else f"{text(median)}, all of them"
    note += f"; {num_beyond:,} beyond {text(edge)} in the last bar" if num_beyond else ""
    unknown = len(values) - len(known)
    note += f"; not known for {unknown:,}" if unknown else ""
    return Panel(title=title, alt=f"{title}, of {len(known):,} {of}: {note}.", uri=uri, note=note)


def _bins(known: Float64[np.ndarray, "N"], low: float, high: float) -> Float64[np.ndarray, "B"]:
    """Edges of the bars: whole numbers get a bar each where there are few."""
    if high == low:
        return np.linspace(low - 0.5 * abs(low or 1), low + 0.5 * abs(low or 1), MAX_BINS)  # an even number: one bar
    if (known % 1 == 0).all() and high - low < MAX_BINS:
        return np.arange(low - 0.5, high + 1)
    return np.linspace(low, high, int(np.clip(4 * math.sqrt(len(known)), 8, MAX_BINS)) + 1)


def site_panel(values: pd.Series, sites: pd.Series, name: str, unit: str, text: Callable[[float], str]) -> Panel:
    """Median, middle half and 5th to 95th percentile of a quantity at each site, the highest median first."""
    frame = pd.DataFrame({"value": values, "site": sites})[sites.astype(str) != ""].dropna()
    shares = frame.groupby("site")["value"].quantile(np.array([0.05, 0.25, 0.5, 0.75, 0.95])).unstack()
    shares = shares.iloc[np.argsort(-shares.to_numpy()[:, 2], kind="stable")[:MAX_ROWS]]
    num_sites, counts = frame["site"].nunique(), frame["site"].value_counts()
    with drawing(56 + ROW_HEIGHT * len(shares)) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="x")
        for row, (low, first, middle, third, high) in enumerate(shares.to_numpy()):
            axes.plot([low, high], [row, row], color="#c3c9d0", linewidth=1.6, solid_capstyle="butt")
            axes.plot([first, third], [row, row], color=BAR, linewidth=6, solid_capstyle="butt")
            axes.plot([middle], [row], marker="|", color=INK, markersize=11, markeredgewidth=2)
        names = [f"{shortened(str(site))} ({counts[site]:,})" for site in shares.index]
        axes.set_yticks(range(len(shares)), names, color=INK)
        axes.set_xlabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set_ylim(len(shares) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        uri = svg_uri(figure)
    told = ", ".join(f"{site} {text(row[2])}" for site, row in zip(shares.index, shares.to_numpy(), strict=True))
    note = "median, middle half, and 5th to 95th percentile; number of recordings in brackets"
    note += f"; the {MAX_ROWS} highest of {num_sites} sites" if num_sites > MAX_ROWS else ""
    return Panel(title=f"By site: {name}", alt=f"{name} by site, medians: {told}.", uri=uri, note=note)


def coverage_scale(share: Float[np.ndarray, "P"], label: str) -> ColourScale:
    """Sequential, from paper for all of it to dark: holes must be seen, and what is nearly complete is no hole."""
    low = max(edge for edge in LOWEST_COVERAGE if edge <= share.min())
    return ColourScale(HOLES, low, 1.0, label, "The darker, the less.", None, share_text)


def share_text(share: float) -> str:
    """``0.973`` as ``97 %``; what is not all is never called 100 %."""
    percents = 100 * share
    if 99 < percents < 100 or 0 < percents < 1:
        return f"{min(max(percents, 0.1), 99.9):.1f} %"
    return f"{percents:.0f} %"


def millimetres(value: float) -> str:
    """``0.083`` as ``0.083 mm``."""
    return f"{number(value, digits=2)} mm"
