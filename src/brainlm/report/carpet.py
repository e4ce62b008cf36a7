"""A recording at a glance: every parcel's signal as grey levels over time, and how much it jumps from volume to volume.

Power (2017), A simple but useful way to assess fMRI scan qualities, NeuroImage 154: 150-158.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32, Int64
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from brainlm.data.parcels import Parcels
from brainlm.report.parcel_charts import network_column, network_names
from brainlm.report.sentences import counted
from brainlm.report.style import INK, MUTED, Panel, drawing, svg_uri

CARPET_HEIGHT = 340
MAX_ROWS, MAX_COLUMNS = 440, 600  # beyond, neighbours are averaged: more than a panel has pixels
REACH = 2.0  # z-scores shown from black to white
NO_SIGNAL = "#e9cf8e"
MAX_NETWORK_NAME = 17
LEAST_NAMED_SHARE = 0.045  # of the height that a network needs for its name to fit
GREYS = LinearSegmentedColormap.from_list(
    "carpet",
    ["#000000", "#ffffff"],
    N=32,  # few levels: a smaller file
).with_extremes(bad=NO_SIGNAL)


def carpet_panel(bold_TP: Float[np.ndarray, "T P"], tr_s: float, parcels: Parcels, *, title: str, note: str) -> Panel:
    """The recording's carpet, parcels by network where these are known, below the trace of its jumps (DVARS)."""
    signal_TP = z_scored(bold_TP)
    order_P, names = _order(parcels)
    stop_s = len(signal_TP) * tr_s
    with drawing(CARPET_HEIGHT) as figure:
        top, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 4.6))
        top.plot((np.arange(1, len(signal_TP)) + 0.5) * tr_s, jumps(signal_TP), color=INK, linewidth=0.8)
        top.set_xlim(0, stop_s)
        top.set_ylim(bottom=0)
        top.yaxis.set_major_locator(MaxNLocator(2))
        top.tick_params(axis="x", length=0)
        top.set_title("DVARS of the z-scores", loc="left", color=MUTED, fontsize=9.5)
        carpet_RC = _averaged(_averaged(signal_TP[:, order_P].T, MAX_ROWS).T, MAX_COLUMNS).T
        axes.imshow(
            np.ma.masked_invalid(carpet_RC),
            cmap=GREYS,
            vmin=-REACH,
            vmax=REACH,
            aspect="auto",
            interpolation="none",
            extent=(0, stop_s, len(order_P), 0),
        )
        axes.spines[:].set_visible(False)
        _mark_networks(axes, names)
        axes.set_xlabel("time (s)")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        uri = svg_uri(figure)
    num_missing = int(np.isnan(signal_TP).all(axis=0).sum())
    shown = f"{counted(signal_TP.shape[1], 'parcel')} by {counted(len(signal_TP), 'time point')}"
    missing = f", {counted(num_missing, 'parcel')} without signal" if num_missing else ""
    return Panel(title=title, alt=f"Carpet plot of {title}: {shown}{missing}. {note}.", uri=uri, note=note)


def z_scored(bold_TP: Float[np.ndarray, "T P"]) -> Float32[np.ndarray, "T P"]:
    """Every parcel with mean 0 and standard deviation 1 over time; NaN without signal."""
    signal_TP = np.asarray(bold_TP, dtype=np.float64)
    spread_P = signal_TP.std(axis=0)
    scaled = (signal_TP - signal_TP.mean(axis=0)) / np.where(spread_P > 0, spread_P, np.nan)
    return scaled.astype(np.float32)


def jumps(signal_TP: Float[np.ndarray, "T P"]) -> Float[np.ndarray, "S"]:
    """Root mean square over parcels of the change from each time point to the next (S = T - 1)."""
    known = np.isfinite(signal_TP).all(axis=0)
    return np.sqrt(np.square(np.diff(signal_TP[:, known], axis=0)).mean(axis=1))


def _order(parcels: Parcels) -> tuple[Int64[np.ndarray, "P"], np.ndarray | None]:
    """By network, else from the back of the brain to its front, else as in the atlas; and each one's network."""
    column = network_column(parcels)
    if column is not None:
        order = parcels.order(f"network:{column}")
        return order, network_names(parcels, column)[order]
    return parcels.order("y" if parcels.has_coordinates else "atlas"), None


def order_note(parcels: Parcels) -> str:
    """How the rows of a carpet are ordered, for the caption."""
    column = network_column(parcels)
    if column is not None:
        return "by network" + (f" ({column})" if column != "network" else "")
    return "from the back of the brain (top) to its front" if parcels.has_coordinates else "in the order of the atlas"


def _averaged(values: Float[np.ndarray, "R C"], most: int) -> Float[np.ndarray, "r C"]:
    """Means of neighbouring rows, where there are more than ``most``; NaN only where all are."""
    width = math.ceil(len(values) / most)
    if width == 1:
        return values
    starts = np.arange(0, len(values), width)
    count = np.add.reduceat(np.isfinite(values).astype(np.float32), starts)
    total = np.add.reduceat(np.nan_to_num(values), starts)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _mark_networks(axes: Axes, names: np.ndarray | None) -> None:
    """Lines between the networks, and the names of those that are high enough."""
    if names is None:
        axes.set_yticks([])
        return
    edges = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    for edge in edges[1:-1]:
        axes.axhline(edge, color="white", linewidth=1.4)
        axes.axhline(edge, color=INK, linewidth=0.5)
    spans = [(a, b) for a, b in pairwise(edges) if b - a >= LEAST_NAMED_SHARE * len(names)]
    labels = [str(names[a]) for a, _ in spans]
    labels = [name if len(name) <= MAX_NETWORK_NAME else name[: MAX_NETWORK_NAME - 1] + "…" for name in labels]
    axes.set_yticks([(a + b) / 2 for a, b in spans], labels, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
