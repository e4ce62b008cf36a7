"""The charts of one study beside the forest plot: predicted against true, curves of classes, shuffled labels.

Sites have ``phenotype_sites.py``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from brainlm.report.phenotype_study import MethodCurves, Permutation, SitePrediction, Study
from brainlm.report.phenotype_words import DAGGER, metric_title, p_number, p_text
from brainlm.report.sentences import bounds, counted, number, percent
from brainlm.report.style import GROUP_LOOKS, MODEL, MUTED, SEEN, Mark, Panel, drawing, svg_uri

SQUARE_HEIGHT, HISTOGRAM_HEIGHT = 318, 236
MAX_CURVES = 5
MAX_CALIBRATED = 3  # more than these hide one another
MAX_SCATTERS = 3
RASTER_FROM = 1500  # points; beyond, a picture is smaller than a drawing
SPARE_MARKERS = ("h", "D", "^", "s", "P", "v", ">", "<", "d", "X", "o")
DASHES = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (1, 1)))
NULL_COLOUR = "#aab3bd"


def shown_names(study: Study, available: Sequence[str]) -> list[str]:
    """Of ``available``, the main method, what it is compared with, the fusion, then the others by group."""
    first = [name for name in (study.main, study.opponent, study.fusion) if name is not None and name in available]
    return list(dict.fromkeys([*first, *(m.name for m in study.methods if m.name in available)]))


def marks_of(study: Study, names: Sequence[str]) -> dict[str, Mark]:
    """The mark of every method: that of its kind; a second one of a kind is paler and has another shape."""
    marks: dict[str, Mark] = {}
    num_of_kind: Counter[str] = Counter()
    for name in names:
        method = study.method(name)
        group = method.group if method is not None else "chance"
        colour, marker = GROUP_LOOKS[group]
        used = {mark.marker for mark in marks.values()}
        if marker in used:
            marker = next((spare for spare in SPARE_MARKERS if spare not in used), marker)
        label = name + f" {DAGGER}" * (method is not None and method.is_seen)
        marks[name] = Mark(label, _paler(colour, num_of_kind[group]), marker)
        num_of_kind[group] += 1
    return marks


def _paler(colour: str, steps: int) -> str:
    if steps == 0:
        return colour
    rgb = np.array(mpl.colors.to_rgb(colour))
    red, green, blue = 1 - (1 - rgb) * max(0.75**steps, 0.4)
    return str(mpl.colors.to_hex((float(red), float(green), float(blue))))


def predicted_panels(study: Study) -> tuple[Panel, ...]:
    """Predicted against true value of every unit, a panel a method, all on one scale."""
    names = [name for name in shown_names(study, list(study.predicted)) if len(study.predicted[name].true_N)]
    names = names[:MAX_SCATTERS]
    if not names:
        return ()
    values = np.concatenate([study.predicted[name].true_N for name in names])
    # A wild prediction shall not squeeze all others: the axes are those of the true values, and a quarter more.
    reach = 0.25 * (float(np.ptp(values)) or 1.0)
    both = np.concatenate([values, *(study.predicted[name].predicted_N for name in names)])
    limits = max(both.min(), values.min() - reach), min(both.max(), values.max() + reach)
    pad = 0.03 * (limits[1] - limits[0]) or 1.0
    return tuple(_predicted_panel(study, name, (float(limits[0] - pad), float(limits[1] + pad))) for name in names)


def _predicted_panel(study: Study, name: str, limits: tuple[float, float]) -> Panel:
    method, values = study.method(name), study.predicted[name]
    colour, _ = GROUP_LOOKS[method.group if method is not None else "chance"]
    num = len(values.true_N)
    inside = (values.predicted_N >= limits[0]) & (values.predicted_N <= limits[1])
    with drawing(SQUARE_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid()
        axes.plot(limits, limits, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        mean = float(values.true_N.mean())
        axes.plot(limits, [mean, mean], color=MUTED, linewidth=0.8)
        dots = axes.scatter(values.true_N, np.clip(values.predicted_N, *limits), s=16 if num < 600 else 9, c=colour,
                            alpha=0.45, linewidths=0)  # fmt: skip
        dots.set_rasterized(num > RASTER_FROM)
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.set_aspect("equal")
        _square_ticks(axes)
        axes.set_xlabel(f"{study.name}, true")
        axes.set_ylabel(f"{study.name}, predicted")
        uri = svg_uri(figure)
    reached = {} if method is None else method.scores
    scores = [f"{metric_title(m)} {number(reached[m].value, digits=2)}" for m in ("r2", "r", "mae") if m in reached]
    note = ", ".join([f"n = {num:,}", *scores])
    note += f"; {counted(num - int(inside.sum()), 'prediction')} drawn at the edge" if not inside.all() else ""
    title = name + f" {DAGGER}" * (method is not None and method.is_seen)
    return Panel(title=title, alt=f"Predicted against true {study.name} by {name}: {note}.", uri=uri, note=note)


def _square_ticks(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))


def curve_panels(study: Study) -> tuple[tuple[Panel, ...], tuple[Mark, ...]]:
    """ROC, precision-recall and calibration of the methods compared one by one, and the key to all of them."""
    names = shown_names(study, list(study.curves))[:MAX_CURVES]
    marks = marks_of(study, names)
    prevalence = study.reference("auprc")
    found = (
        _curve_panel(study, marks, "ROC", _roc, ("false positive rate", "true positive rate"), "diagonal"),
        _curve_panel(study, marks, "Precision and recall", _pr, ("recall", "precision"), prevalence),
        _calibration_panel(study, marks),
    )
    panels = tuple(panel for panel in found if panel is not None)
    return panels, tuple(marks.values()) if panels else ()


def _roc(curves: MethodCurves) -> np.ndarray | None:
    return curves.roc


def _pr(curves: MethodCurves) -> np.ndarray | None:
    return curves.pr


def _curve_panel(
    study: Study,
    marks: dict[str, Mark],
    title: str,
    points_of: Callable[[MethodCurves], np.ndarray | None],
    labels: tuple[str, str],
    chance: str | float | None,
) -> Panel | None:
    curves = {name: points for name in marks if (points := points_of(study.curves[name])) is not None}
    if not curves:
        return None
    with drawing(SQUARE_HEIGHT) as figure:
        axes = _unit_square(figure.add_subplot(), labels)
        if chance is not None:
            ends = [0, 1] if chance == "diagonal" else [chance, chance]
            axes.plot([0, 1], ends, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        # The main method is drawn last, over the others.
        for name, points in reversed(curves.items()):
            _draw_curve(axes, points, marks[name], DASHES[list(marks).index(name)], is_main=name == study.main)
        uri = svg_uri(figure)
    metric = "auroc" if title == "ROC" else "auprc"
    told = "; ".join(
        f"{name} {metric_title(metric)} {number(method.scores[metric].value, digits=2)}"
        for name in curves
        if (method := study.method(name)) is not None and metric in method.scores
    )
    line = (
        "the diagonal"
        if chance == "diagonal"
        else ""
        if chance is None
        else f"share of cases, {percent(float(chance))}"
    )
    return Panel(title=title, alt=f"{title} curves: {told or ', '.join(curves)}.", uri=uri,
                 note=f"dotted line: chance ({line})" if line else "")  # fmt: skip


def _unit_square(axes: Axes, labels: tuple[str, str]) -> Axes:
    axes.grid()
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    return axes


def _draw_curve(axes: Axes, points: np.ndarray, mark: Mark, dashes: Any, *, is_main: bool) -> None:
    axes.plot(
        points[:, 0],
        points[:, 1],
        color=mark.colour,
        linewidth=2.2 if is_main else 1.4,
        linestyle=dashes,
        marker=mark.marker,
        markersize=6 if is_main else 5,
        markevery=0.2,  # of the way along the curve
    )


def _calibration_panel(study: Study, marks: dict[str, Mark]) -> Panel | None:
    found = {name: points for name in marks if (points := study.curves[name].calibration) is not None}
    curves = {name: found[name] for name in list(found)[:MAX_CALIBRATED]}
    if not curves:
        return None
    positive = str(study.target.get("positive") or "the class")
    share = f"share that is {positive}" if study.kind == "binary" else "share that is right"
    largest = max(float(points[:, 2].max()) for points in curves.values()) or 1.0
    with drawing(SQUARE_HEIGHT) as figure:
        axes = _unit_square(figure.add_subplot(), ("predicted probability", share))
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        for name, points in reversed(curves.items()):
            mark, is_main = marks[name], name == study.main
            axes.plot(points[:, 0], points[:, 1], color=mark.colour, linewidth=2 if is_main else 1.1)
            axes.scatter(points[:, 0], points[:, 1], s=12 + 60 * points[:, 2] / largest, c=mark.colour,
                         marker=mark.marker, zorder=3)  # fmt: skip
        uri = svg_uri(figure)
    told = "; ".join(f"{name} in {counted(len(points), 'bin')}" for name, points in curves.items())
    note = "dotted line: calibrated; a larger mark is a fuller bin"
    note += f"; the first {len(curves)} methods" if len(curves) < len(found) else ""
    return Panel(title="Calibration", alt=f"Predicted probability against the share observed: {told}.", uri=uri,
                 note=note)  # fmt: skip


def permutation_panel(study: Study, permutation: Permutation) -> Panel | None:
    """The main metric on shuffled labels, with what was reached on the true ones; None without shuffled values."""
    null, observed = permutation.null_N, permutation.observed
    if not len(null) or not math.isfinite(observed):
        return None
    main = study.method(study.main)
    colour = SEEN if main is not None and main.is_seen else MODEL
    with drawing(HISTOGRAM_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        axes.hist(null, bins=min(30, max(8, round(2 * len(null) ** 0.5))), color=NULL_COLOUR, edgecolor="white",
                  linewidth=0.5)  # fmt: skip
        axes.axvline(observed, color=colour, linewidth=2.4)
        axes.margins(x=0.06)
        top = axes.get_ylim()[1] * 1.14
        axes.set_ylim(0, top)
        is_right = observed > (min(null.min(), observed) + max(null.max(), observed)) / 2
        axes.annotate(f"true labels: {number(observed)}", (observed, top), xytext=(-5 if is_right else 5, -3),
                      textcoords="offset points", ha="right" if is_right else "left", va="top", fontsize=9.5,
                      color=colour)  # fmt: skip
        axes.set_xlabel(metric_title(study.main_metric))
        axes.set_ylabel("permutations")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        uri = svg_uri(figure)
    note = p_text(permutation.p, permutation.num)
    if permutation.p_adjusted is not None:
        note += f"; adjusted over the targets: p = {p_number(permutation.p_adjusted)}"
    told = f"{number(float(null.min()))} to {number(float(null.max()))} on shuffled labels, {number(observed)} on true"
    return Panel(title="Shuffled labels", alt=f"{metric_title(study.main_metric)}: {told}; {note}.", uri=uri, note=note)


def site_prediction_panel(found: SitePrediction) -> Panel | None:
    """How well the embedding tells the site, between chance and certainty; None where not computed."""
    score = found.balanced_accuracy
    if not math.isfinite(score.value):
        return None
    with drawing(110) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="x")
        axes.axvline(found.chance, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.plot([score.low, score.high], [0, 0], color=MODEL, linewidth=2, solid_capstyle="butt")
        axes.plot([score.value], [0], marker="o", markersize=8, color=MODEL)
        axes.set_xlim(0, 1)
        axes.set_ylim(-1, 1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("balanced accuracy")
        uri = svg_uri(figure)
    told = f"{number(score.value, digits=2)} {bounds(score)}"
    return Panel(
        title="What else is in the embedding: the site",
        alt=f"Balanced accuracy of telling the site from the embedding: {told}, chance {number(found.chance)}.",
        uri=uri,
        note=f"{told}; dotted line: chance, {number(found.chance)} with {counted(found.num_sites, 'site')}",
    )
