"""The charts of every layer and head of a study of attention: parcel by parcel, by network, and how widely each looks.

Shapes: P parcels, L layers, H heads, R rows, K networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from brainlm.data.parcels import Parcels
from brainlm.report.attention_figures import network_axis
from brainlm.report.attention_study import AttentionStudy
from brainlm.report.parcel_charts import ColourScale, attention_scale, colour_bar
from brainlm.report.sentences import counted, shortened
from brainlm.report.style import MODEL, Panel, drawing, svg_uri

HEIGHT = 380
MAX_ROWS = 200  # of layers and heads; beyond, a row a layer
MAX_LAYER_TICKS = 16
MAX_TICK = 17  # letters
LEAST_REACH = 1.0  # per cent of parcels, of the axis of how widely heads look
LEAST_TICK_SPACE = 0.042  # of the width, between the names of networks


@dataclass(frozen=True, eq=False)
class HeadRows:
    """Attention of every layer and head as log2 of multiples of the uniform level, a row a head (or a layer)."""

    values_RP: Float[np.ndarray, "R P"]
    layer_R: Int64[np.ndarray, "R"]  # counted from 1
    is_mean: bool


def head_panels(study: AttentionStudy, parcels: Parcels | None) -> tuple[tuple[Panel, ...], Panel | None]:
    """Every layer and head parcel by parcel, by network, and how widely it looks; and the colour bar of the first."""
    rows = _head_rows(study)
    if rows is None:
        return (), None
    scale = attention_scale(rows.values_RP.ravel())
    _, names = network_axis(study, parcels)
    places = np.arange(rows.values_RP.shape[1]) if names is None else _sorted_by_network(names, parcels)
    panels = [_strip_panel(rows, places, None if names is None else names[places], scale)]
    panels += [_network_strip_panel(rows, names, scale)] if names is not None else []
    panels.append(_width_panel(rows))
    return tuple(panels), colour_bar(rows.values_RP.ravel(), scale)


def _head_rows(study: AttentionStudy) -> HeadRows | None:
    heads_LHP = study.heads_LHP
    if heads_LHP is None or not np.isfinite(heads_LHP).any():
        return None
    num_layers, num_heads, num_parcels = heads_LHP.shape
    is_mean = num_layers * num_heads > MAX_ROWS
    shown_RP = heads_LHP.mean(axis=1) if is_mean else heads_LHP.reshape(-1, num_parcels)
    ratio_RP = shown_RP / study.uniform
    values_RP = np.log2(np.where(ratio_RP > 0, ratio_RP, np.nan))
    layer_R = np.repeat(np.arange(1, num_layers + 1), 1 if is_mean else num_heads)
    return HeadRows(values_RP, layer_R, is_mean) if np.isfinite(values_RP).any() else None


def _sorted_by_network(names: np.ndarray, parcels: Parcels | None) -> Int64[np.ndarray, "P"]:
    """Network by network, each from the back of the brain to the front."""
    has_place = parcels is not None and parcels.has_coordinates
    second = parcels.coordinates[:, 1] if parcels is not None and has_place else np.arange(len(names))
    return np.lexsort((second, np.unique(names.astype(str), return_inverse=True)[1]))


def _strip_panel(rows: HeadRows, places: np.ndarray, names: np.ndarray | None, scale: ColourScale) -> Panel:
    with drawing(HEIGHT) as figure:
        axes = figure.add_subplot()
        _draw_strip(axes, rows, rows.values_RP[:, places], scale)
        if names is not None:
            starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
            edges = np.r_[starts, len(names)]
            for edge in starts[1:]:
                axes.axvline(edge - 0.5, color="white", linewidth=1.2)
            _name_columns(axes, [str(names[start]) for start in starts], (edges[:-1] + edges[1:] - 1) / 2, len(names))
        else:
            axes.set_xlabel("parcels, in the order of the atlas")
            axes.set_xticks([])
        uri = svg_uri(figure)
    order = "sorted by network" if names is not None else "in the order of the atlas"
    return Panel(
        title="Parcel by parcel",
        alt=f"Attention to each parcel {order}, in {_what_rows(rows)}; colours as in the bar below.",
        uri=uri,
        note=f"a column a parcel, {order}; a row a {'layer, mean over heads' if rows.is_mean else 'head'}",
    )


def _network_strip_panel(rows: HeadRows, names: np.ndarray, scale: ColourScale) -> Panel:
    found = sorted(set(names.astype(str)))
    means_RK = np.stack([_mean_log(rows.values_RP[:, names.astype(str) == name]) for name in found], axis=1)
    with drawing(HEIGHT) as figure:
        axes = figure.add_subplot()
        _draw_strip(axes, rows, means_RK, scale)
        _name_columns(axes, found, np.arange(len(found), dtype=np.float64), len(found))
        uri = svg_uri(figure)
    top = np.unravel_index(np.nanargmax(means_RK), means_RK.shape)
    told = f"the most goes to {found[top[1]]} in layer {rows.layer_R[top[0]]}"
    return Panel(
        title="By network",
        alt=f"Mean attention to each network in {_what_rows(rows)}: {told}.",
        uri=uri,
        note=f"mean over a network's parcels; {told}",
    )


def _mean_log(values_RK: np.ndarray) -> np.ndarray:
    """log2 of the mean multiple, over the parcels that have one."""
    ratio = 2.0**values_RK
    counts = np.isfinite(ratio).sum(axis=1)
    total = np.where(np.isfinite(ratio), ratio, 0.0).sum(axis=1)
    return np.log2(np.where(counts > 0, total / np.maximum(counts, 1), np.nan))


def _draw_strip(axes: Axes, rows: HeadRows, values: np.ndarray, scale: ColourScale) -> None:
    shown = np.ma.masked_invalid(values)
    picture = axes.imshow(
        shown, aspect="auto", interpolation="nearest", cmap=scale.colours, vmin=scale.low, vmax=scale.high
    )
    picture.set_rasterized(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _name_layers(axes, rows)


def _name_layers(axes: Axes, rows: HeadRows) -> None:
    layers = np.unique(rows.layer_R)
    centres = [float(np.flatnonzero(rows.layer_R == layer).mean()) for layer in layers]
    for layer in layers[1:]:
        edge = int(np.flatnonzero(rows.layer_R == layer)[0]) - 0.5
        axes.axhline(edge, color="white", linewidth=1.4 if len(layers) <= MAX_LAYER_TICKS else 0.4)
    every = math.ceil(len(layers) / MAX_LAYER_TICKS)
    axes.set_yticks(centres[::every], [f"layer {layer}" for layer in layers[::every]])
    axes.tick_params(axis="both", length=0)


def _name_columns(axes: Axes, names: Sequence[str], centres: np.ndarray, num_columns: int) -> None:
    """Names below their columns, those that would overlap the one before left out."""
    kept: list[int] = []
    for place, centre in enumerate(centres):
        if not kept or (centre - centres[kept[-1]]) / num_columns >= LEAST_TICK_SPACE:
            kept.append(place)
    written = [shortened(names[n], max_length=MAX_TICK) for n in kept]
    axes.set_xticks([centres[n] for n in kept], written, rotation=90, fontsize=9.5)


def _width_panel(rows: HeadRows) -> Panel:
    """The number of parcels that would get as uneven a share if they were paid alike: exp of the entropy."""
    shares = np.nan_to_num(2.0**rows.values_RP)
    shares = shares / shares.sum(axis=1, keepdims=True)
    entropy_R = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1)
    width_R = 100 * np.exp(entropy_R) / np.isfinite(rows.values_RP).any(axis=0).sum()
    with drawing(HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="x")
        axes.scatter(width_R, np.arange(len(width_R)), s=26 if len(width_R) <= 60 else 10, c=MODEL, linewidths=0)
        axes.set_ylim(len(width_R) - 0.5, -0.5)
        layers = np.unique(rows.layer_R)
        for layer in layers[1:]:
            axes.axhline(int(np.flatnonzero(rows.layer_R == layer)[0]) - 0.5, color="#e6eaee", linewidth=0.8)
        centres = [float(np.flatnonzero(rows.layer_R == layer).mean()) for layer in layers]
        every = math.ceil(len(layers) / MAX_LAYER_TICKS)
        axes.set_yticks(centres[::every], [f"layer {layer}" for layer in layers[::every]])
        axes.tick_params(axis="y", length=0)
        reach = max(100 - float(width_R.min()), LEAST_REACH)
        axes.set_xlim(100 - 1.15 * reach, 100 + 0.1 * reach)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("effective share of parcels (%)")
        uri = svg_uri(figure)
    narrowest = int(width_R.argmin())
    told = f"from {width_R.min():.3g} % (layer {rows.layer_R[narrowest]}) to {width_R.max():.3g} %"
    return Panel(
        title="How widely each looks",
        alt=f"Effective share of parcels attended to in {_what_rows(rows)}: {told}.",
        uri=uri,
        note=f"exp(entropy) over the number of parcels, 100 %: all alike; {told}",
    )


def _what_rows(rows: HeadRows) -> str:
    num_layers = len(np.unique(rows.layer_R))
    if rows.is_mean:
        return f"{counted(num_layers, 'layer')}, mean over heads"
    return f"{counted(num_layers, 'layer')} of {counted(len(rows.layer_R) // num_layers, 'head')}"
