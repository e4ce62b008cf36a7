"""One value a parcel as colours: the scales, their colour bars and the dots by network.

Scales are made once for a map, so that the map, its bar and its dots always agree. The maps are in ``brain_maps.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize

from brainlm.data.parcels import Parcels
from brainlm.report.sentences import counted, number
from brainlm.report.style import FIRST_LEVEL, INK, MODEL, MUTED, SECOND_LEVEL, Panel, drawing, svg_uri

BAR_HEIGHT = 62
SHOWN_PERCENTILES = (2, 98)  # one odd parcel must not flatten the rest; the ends of the bar point outwards
SCALE_NOTE = "The ends of the scale are set by the 2nd and the 98th percentile of parcels."
LOWEST_SEQUENTIAL = -0.01  # R2
LEAST_T = 3.5  # the end of the scale of a contrast, at least
MIN_NETWORKS, MAX_NETWORKS = 2, 20
YEO7 = (
    *("none", "Visual", "Somatomotor", "Dorsal attention", "Ventral attention"),
    *("Limbic", "Frontoparietal", "Default"),
)
MIDDLE = "#e9e8e3"  # dark enough to be told from paper
BASELINE_TO_MODEL = LinearSegmentedColormap.from_list("brainlm", ["#0f3f78", "#6aa5dc", MIDDLE, "#ee9a66", MODEL])
BELOW_TO_ABOVE = LinearSegmentedColormap.from_list("brainlm2", ["#3b0f6b", "#9a86c4", MIDDLE, "#e9a64a", "#8a4a06"])
LESS_TO_MORE = LinearSegmentedColormap.from_list("brainlm3", ["#4a1463", "#a987bd", MIDDLE, "#7dba84", "#0f5a2c"])

SECOND_TO_FIRST = LinearSegmentedColormap.from_list(
    "brainlm4", [SECOND_LEVEL, "#86a9d8", MIDDLE, "#dd8d8b", FIRST_LEVEL]
)
WRONG_TO_RIGHT = LinearSegmentedColormap.from_list("brainlm5", ["#5a2a0a", "#c98d55", MIDDLE, "#6fb5b0", "#0b4f55"])


@dataclass(frozen=True)
class ColourScale:
    """How values become colours. ``text`` writes a tick, ``label`` says the quantity and its unit, ``reading`` how to
    read the colours, ``centre`` the value they diverge from (None: sequential).
    """

    colours: Colormap
    low: float
    high: float
    label: str
    reading: str
    centre: float | None
    text: Callable[[float], str]

    def mapped(self) -> mpl.cm.ScalarMappable:
        """The values' colours for matplotlib."""
        return mpl.cm.ScalarMappable(Normalize(self.low, self.high), self.colours)


def r2_scale(values: Float[np.ndarray, "P"]) -> ColourScale:
    """Sequential; diverging around 0 where a visible share of the parcels lies below it."""
    low, high = _shown(values)
    label = "R² of the model"
    if low >= LOWEST_SEQUENTIAL:
        return ColourScale(
            mpl.colormaps["viridis"], low, high, label, "Brighter is better.", None, _decimals(high - low)
        )
    reach = max(-low, high)
    reading = "Orange above 0, purple below."
    return ColourScale(BELOW_TO_ABOVE, -reach, reach, label, reading, 0.0, _decimals(2 * reach))


def difference_scale(values: Float[np.ndarray, "P"]) -> ColourScale:
    """Diverging around 0: the baseline's blue where it is ahead, the model's colour where the model is."""
    reach = max(abs(bound) for bound in _shown(values))
    reading = "Orange where the model is ahead, blue where the baseline is."
    return ColourScale(
        BASELINE_TO_MODEL, -reach, reach, "R², model minus best baseline", reading, 0.0, _decimals(2 * reach, sign=True)
    )


def attention_scale(log_ratio: Float[np.ndarray, "P"]) -> ColourScale:
    """For log2(attention / uniform level): diverging around the uniform level, ticks as multiples of it."""
    reach = max(abs(bound) for bound in _shown(log_ratio))
    reading = "Green above the uniform level, purple below."
    label = "CLS attention, times the uniform level"
    return ColourScale(LESS_TO_MORE, -reach, reach, label, reading, 0.0, _multiples(reach))


def contrast_scale(t: Float[np.ndarray, "P"], levels: tuple[str, str]) -> ColourScale:
    """For the t of a contrast: diverging around 0, a colour a level."""
    # Where nothing differs the map shall be pale.
    reach = max(LEAST_T, *(abs(bound) for bound in _shown(t)))
    reading = f"Red where attention is higher in {levels[0]}, blue where in {levels[1]}."
    label = f"t, {levels[0]} minus {levels[1]}"
    return ColourScale(SECOND_TO_FIRST, -reach, reach, label, reading, 0.0, _decimals(2 * reach, sign=True))


def share_scale(label: str, reading: str) -> ColourScale:
    """For shares between 0 and 1, both ends of which mean something: no percentiles."""
    return ColourScale(WRONG_TO_RIGHT, 0.0, 1.0, label, reading, None, lambda value: f"{100 * value:.0f} %")


def plain_scale(values: Float[np.ndarray, "P"], *, label: str, centre: float | None) -> ColourScale:
    """For any quantity: sequential, or diverging around ``centre``."""
    low, high = _shown(values)
    if centre is None:
        return ColourScale(mpl.colormaps["viridis"], low, high, label, "", None, _decimals(high - low))
    reach = max(centre - low, high - centre)
    colours = LESS_TO_MORE if centre else SECOND_TO_FIRST
    return ColourScale(colours, centre - reach, centre + reach, label, "", centre, _decimals(2 * reach))


def _shown(values: Float[np.ndarray, "P"]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, SHOWN_PERCENTILES)
    return (float(low), float(high)) if high > low else (float(low) - 0.01, float(high) + 0.01)


def _multiples(reach: float) -> Callable[[float], str]:
    plain = _decimals(2 * (2**reach - 1))
    return lambda value: f"{plain(2**value)}×"


def _decimals(span: float, *, sign: bool = False) -> Callable[[float], str]:
    """Writes ticks with as many decimals as tell five of them apart over ``span``."""
    digits = max(2, 1 - math.floor(math.log10(span))) if span > 0 else 2
    return lambda value: number(value, digits=digits, sign=sign)


def colour_bar(values: Float[np.ndarray, "P"], scale: ColourScale) -> Panel:
    """The colour bar of a map as a picture of its own."""
    with drawing(BAR_HEIGHT) as figure:
        draw_bar(figure.add_subplot(), values, scale)
        uri = svg_uri(figure)
    return Panel(
        title="", alt=f"Colour bar: {scale.label}, {scale.text(scale.low)} to {scale.text(scale.high)}.", uri=uri
    )


def draw_bar(axes: Axes, values: Float[np.ndarray, "P"], scale: ColourScale) -> None:
    """The colour bar of a map, its ends pointed where values lie beyond them."""
    below, above = bool((values < scale.low).any()), bool((values > scale.high).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    figure = axes.figure
    assert figure is not None
    bar = figure.colorbar(
        scale.mapped(), cax=axes, orientation="horizontal", extend=extend[below, above], extendfrac=0.03
    )
    ticks = np.linspace(scale.low, scale.high, 5)
    bar.set_ticks(list(ticks), labels=[scale.text(tick) for tick in ticks])
    bar.outline.set_visible(False)
    bar.set_label(scale.label, color=INK)


def network_column(parcels: Parcels) -> str | None:
    """The first column that assigns the parcels to a handful of networks."""
    for name in parcels.networks:
        values = parcels.table[name].dropna()
        fractions = values.dtype.kind == "f" and bool((values % 1 != 0).any())
        if not fractions and MIN_NETWORKS <= values.nunique() <= MAX_NETWORKS:
            return name
    return None


def network_names(parcels: Parcels, column: str) -> np.ndarray:
    """The name of each parcel's network, spelled out where the column holds Yeo's numbers."""
    return parcels.table[column].map(lambda value: _network_name(column, value)).to_numpy(object)


def network_title(column: str | None, name: str) -> str:
    """The name of a network as it is written in results, spelled out where it is one of Yeo's numbers."""
    try:
        return _network_name(column or "", float(name))
    except ValueError:
        return name


def dots_panel(
    values: Float[np.ndarray, "P"], parcels: Parcels | None, scale: ColourScale, *, networks: str | None = None
) -> Panel:
    """A dot a parcel by network, best network first; without networks all parcels from lowest to highest.

    ``networks`` is the column to use; default: the first that holds networks.
    """
    column = None
    if parcels is not None:
        column = networks if networks in parcels.networks else network_column(parcels)
    if parcels is None or column is None:
        return _ranked_panel(values, scale)
    names = network_names(parcels, column)
    groups = {name: values[(names == name) & np.isfinite(values)] for name in dict.fromkeys(names)}
    groups = {name: group for name, group in groups.items() if len(group)}
    ordered = sorted(groups, key=lambda name: -float(np.median(groups[name])))
    with drawing(max(150, 40 + 30 * len(ordered))) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="x")
        if scale.centre is not None:
            axes.axvline(scale.centre, color=MUTED, linewidth=0.9)
        for row, name in enumerate(ordered):
            group = np.sort(groups[name])
            # Deterministic jitter: the golden ratio spreads neighbours apart.
            jitter = ((np.arange(len(group)) * 0.618034) % 1 - 0.5) * 0.55
            axes.scatter(
                group, row + jitter, s=17, c=scale.mapped().to_rgba(group), linewidths=0.3, edgecolors="#6b7480"
            )
            axes.plot([np.median(group)] * 2, [row - 0.4, row + 0.4], color=INK, linewidth=1.8)
        axes.set_yticks(range(len(ordered)), [f"{name} ({len(groups[name])})" for name in ordered], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: scale.text(value))
        uri = svg_uri(figure)
    told = ", ".join(f"{name} {scale.text(float(np.median(groups[name])))}" for name in ordered)
    return Panel(
        title=f"{scale.label}, by {column}",
        alt=f"{scale.label} by network, medians: {told}.",
        uri=uri,
        note="a dot a parcel, the bar the median; number of parcels in brackets",
    )


def _network_name(column: str, value: object) -> str:
    if isinstance(value, float) and np.isnan(value):
        return "none"
    if isinstance(value, int | float | np.integer | np.floating):
        return YEO7[int(value)] if column == "yeo7" and 0 <= value < len(YEO7) else f"{value:g}"
    return str(value)


def _ranked_panel(values: Float[np.ndarray, "P"], scale: ColourScale) -> Panel:
    known = np.sort(values[np.isfinite(values)])
    with drawing(230) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        if scale.centre is not None:
            axes.axhline(scale.centre, color=MUTED, linewidth=0.9)
        axes.scatter(np.arange(1, len(known) + 1), known, s=9, c=scale.mapped().to_rgba(known))
        axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: scale.text(value))
        axes.set_xlabel("parcels, from lowest to highest")
        axes.set_title(scale.label, loc="left", color=MUTED)
        uri = svg_uri(figure)
    return Panel(
        title="All parcels, sorted",
        alt=f"{scale.label} of {counted(len(known), 'parcel')}, median {scale.text(float(np.median(known)))}.",
        uri=uri,
    )
