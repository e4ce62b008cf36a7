"""The charts of training curves and of example windows, each drawn from plain numbers into one panel.

Scores are in ``score_figures.py``, maps of the brain in ``brain_maps.py``, embeddings in ``embedding_figures.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from matplotlib.ticker import FuncFormatter, MaxNLocator

from brainlm.report.run_folder import Curve, Examples, TrainingLog
from brainlm.report.sentences import number
from brainlm.report.style import HIDDEN, INK, MODEL, MUTED, Mark, Panel, drawing, svg_uri

CHART_HEIGHT = 256
EXAMPLE_HEIGHT = 178
MAX_CURVE_POINTS = 800
PERCENTILES = (90, 50, 10)
MIN_HIDDEN_POINTS = 5
LEAST_SPAN = 0.02  # of a loss or R2 axis
LOG_SCALE_FROM = 20.0  # largest / smallest loss


@dataclass(frozen=True)
class ExampleRow:
    """The panels of one example window, and what stands above them."""

    heading: str
    condition: str
    baseline: str | None
    panels: tuple[Panel, ...]


def training_panels(log: TrainingLog) -> tuple[Panel, ...]:
    """Loss, validation R2 and learning rate over epochs (over steps where the log does not tell the epochs)."""
    per_epoch = log.steps_per_epoch
    found = (
        _curves_panel(log, per_epoch, "Loss", (("train_loss", "training", MUTED), ("val_loss", "validation", MODEL))),
        _curves_panel(log, per_epoch, "R² on validation subjects", (("val_r2", "validation", MODEL),)),
        _curves_panel(log, per_epoch, "Learning rate", (("lr", "learning rate", INK),)),
    )
    return tuple(panel for panel in found if panel is not None)


def _curves_panel(
    log: TrainingLog, per_epoch: float | None, title: str, wanted: Sequence[tuple[str, str, str]]
) -> Panel | None:
    curves = [(log.curve(name), label, colour) for name, label, colour in wanted]
    curves = [entry for entry in curves if len(entry[0].steps)]
    if not curves:
        return None
    with drawing(CHART_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        for curve, label, colour in curves:
            thin = _thinned(curve)
            x = thin.steps if per_epoch is None else (thin.steps + 1) / per_epoch
            dots = {"marker": "o", "markersize": 3.5} if len(thin.steps) <= 60 and label != "training" else {}
            axes.plot(x, thin.values, color=colour, linewidth=1.6, **dots)  # type: ignore[arg-type]
        values = np.concatenate([curve.values for curve, _, _ in curves])
        if title == "Loss" and values.min() > 0 and values.max() / values.min() > LOG_SCALE_FROM:
            axes.set_yscale("log")
        elif title != "Learning rate" and np.ptp(values) < LEAST_SPAN:
            # A flat curve must look flat.
            axes.set_ylim(float(values.mean()) - LEAST_SPAN, float(values.mean()) + LEAST_SPAN)
        if title.startswith("R²") and values.min() < 0 < values.max():
            axes.axhline(0, color=MUTED, linewidth=0.8)
        if log.kept_steps is not None:
            axes.axvline(log.kept_steps / (per_epoch or 1), color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_xlabel("optimiser step" if per_epoch is None else "epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if title == "Learning rate":
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
            axes.set_ylim(bottom=0)
        uri = svg_uri(figure)
    last = ", ".join(f"{label} ends at {curve.values[-1]:.4g}" for curve, label, _ in curves)
    key = tuple(Mark(label, colour, "line") for _, label, colour in curves) if len(curves) > 1 else ()
    return Panel(
        title=title, alt=f"{title} during training: {last}.", uri=uri, note=_curve_note(title, curves), key=key
    )


def _curve_note(title: str, curves: Sequence[tuple[Curve, str, str]]) -> str:
    pieces = []
    for curve, label, _ in curves:
        if label == "validation":
            best = curve.values.min() if title == "Loss" else curve.values.max()
            pieces.append(f"validation: best {number(float(best))}, last {number(float(curve.values[-1]))}")
        elif label == "learning rate":
            pieces.append(f"highest {curve.values.max():.2g}")
    return "; ".join(pieces)


def _thinned(curve: Curve) -> Curve:
    """Means of neighbouring rows, where there are more than a panel can show."""
    width = math.ceil(len(curve.steps) / MAX_CURVE_POINTS)
    if width <= 1:
        return curve
    starts = np.arange(0, len(curve.steps), width)
    counts = np.diff(np.append(starts, len(curve.steps)))
    return Curve(np.add.reduceat(curve.steps, starts) / counts, np.add.reduceat(curve.values, starts) / counts)


def example_rows(
    examples: Examples, parcel_names: Sequence[str], marks: Mapping[str, Mark], *, max_rows: int
) -> tuple[ExampleRow, ...]:
    """The first window of every condition: its parcels at the 90th, 50th and 10th percentile of the model's R2."""
    first = {condition: index for index, condition in reversed(list(enumerate(examples.conditions)))}
    rows = []
    for index in sorted(first.values())[:max_rows]:
        baseline = examples.baseline_names[index] if examples.baseline is not None else None
        panels = _example_panels(examples, index, parcel_names, marks)
        if panels:
            rows.append(ExampleRow(examples.names[index], examples.conditions[index], baseline, panels))
    return tuple(rows)


def _example_panels(
    examples: Examples, index: int, parcel_names: Sequence[str], marks: Mapping[str, Mark]
) -> tuple[Panel, ...]:
    scores = window_r2(examples.signal[index], examples.predicted[index], examples.hidden[index])
    ranked = np.argsort(scores)[: int(np.isfinite(scores).sum())]  # NaN sorts last
    if not len(ranked):
        return ()
    chosen = [int(ranked[round(percentile / 100 * (len(ranked) - 1))]) for percentile in PERCENTILES]
    rival = (
        window_r2(examples.signal[index], examples.baseline[index], examples.hidden[index])
        if examples.baseline is not None
        else None
    )
    rival_mark = marks.get(examples.baseline_names[index])
    shown = np.concatenate([examples.signal[index, chosen], examples.predicted[index, chosen]])
    limits = float(np.nanmin(shown)), float(np.nanmax(shown))
    panels = []
    for percentile, parcel in zip(PERCENTILES, chosen, strict=True):
        note = f"{percentile}th percentile: R² {number(float(scores[parcel]), digits=2)}"
        note += f" (baseline {number(float(rival[parcel]), digits=2)})" if rival is not None else ""
        panels.append(
            Panel(
                title=parcel_names[parcel],
                alt=f"Signal of {parcel_names[parcel]} with the model's prediction of the hidden part. {note}.",
                uri=_example_uri(examples, index, parcel, limits, rival_mark.colour if rival_mark else MUTED),
                note=note,
            )
        )
    return tuple(panels)


def window_r2(
    signal: Float32[np.ndarray, "P T"], predicted: Float32[np.ndarray, "P T"], hidden: Bool[np.ndarray, "P T"]
) -> Float[np.ndarray, "P"]:
    """R2 of every parcel over its hidden points of one window; NaN with fewer than 5 points or without variance."""
    counted_PT = hidden & np.isfinite(signal) & np.isfinite(predicted)
    num_points = counted_PT.sum(axis=1)
    values = np.where(counted_PT, signal, 0).astype(np.float64)
    mean = values.sum(axis=1) / np.maximum(num_points, 1)
    total = (np.where(counted_PT, signal - mean[:, None], 0.0) ** 2).sum(axis=1)
    error = (np.where(counted_PT, np.nan_to_num(signal - predicted), 0.0) ** 2).sum(axis=1)
    enough = (num_points >= MIN_HIDDEN_POINTS) & (total > 0)
    return np.where(enough, 1 - error / np.where(total > 0, total, 1), np.nan)


def _example_uri(examples: Examples, index: int, parcel: int, limits: tuple[float, float], rival_colour: str) -> str:
    signal, hidden = examples.signal[index, parcel], examples.hidden[index, parcel]
    tr_s = examples.tr_s[index]
    time = np.arange(len(signal)) * (tr_s if np.isfinite(tr_s) else 1)
    with drawing(EXAMPLE_HEIGHT) as figure:
        axes = figure.add_subplot()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
        step = time[1] - time[0] if len(time) > 1 else 1
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            axes.axvspan((start - 0.5) * step, (stop - 0.5) * step, color=HIDDEN, linewidth=0)
        axes.plot(time, signal, color=INK, linewidth=0.9)
        if examples.baseline is not None:
            axes.plot(time, np.where(hidden, examples.baseline[index, parcel], np.nan), color=rival_colour, linewidth=1)
        axes.plot(time, np.where(hidden, examples.predicted[index, parcel], np.nan), color=MODEL, linewidth=1.9)
        margin = 0.05 * (limits[1] - limits[0]) or 1
        axes.set_ylim(limits[0] - margin, limits[1] + margin)
        axes.set_xlim(-0.5 * step, time[-1] + 0.5 * step)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel("time (s)" if np.isfinite(tr_s) else "time point (TR not known)")
        return svg_uri(figure)
