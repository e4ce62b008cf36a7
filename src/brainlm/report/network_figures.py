"""The charts of a study of functional networks: every feature's scores, clusters, and what is taken for what.

Shapes: C networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from brainlm.evaluation.statistics import Interval
from brainlm.report.forest import NAME_ABOVE, Forest, ForestMethod, forest_limits
from brainlm.report.network_study import CLUSTERING, GROUPS, SCORES, NetworkMethod, NetworkStudy
from brainlm.report.network_words import network_name
from brainlm.report.phenotype_words import has_interval
from brainlm.report.sentences import bounds, number, percent, shortened
from brainlm.report.style import GROUP_LOOKS, INK, MUTED, Mark, Panel, drawing, svg_uri

BELOW = 5.5  # points from an interval over parcels to the one over subjects
CONFUSION_HEIGHT = 344
MAX_NUMBERED = 9  # networks in a matrix whose cells hold numbers
SURROGATE = Mark("95 % of surrogate labels, as smooth in space (tick: their mean)", "#d3d8de", "band")
KEY = (
    Mark("thick, with the mark: over parcels", MUTED, "line"),
    Mark("thin, below: over subjects", MUTED, "thin"),
    SURROGATE,
)


def group_mark(method: NetworkMethod) -> Mark:
    """That of its kind; where a parcel lies counts as a nuisance."""
    colour, marker = GROUP_LOOKS["nuisance" if method.group == "position" else method.group]
    return Mark(method.name, colour, marker)


def _forest(study: NetworkStudy, methods: Sequence[NetworkMethod]) -> Forest:
    rows = [
        ForestMethod(method.name, method.group, group_mark(method), is_main=method.name == study.main)
        for method in methods
    ]
    return Forest(rows, GROUPS)


def score_panels(study: NetworkStudy) -> tuple[Panel, ...]:
    """Both accuracies of every kind of feature, and the paired difference to the best baseline."""
    forest = _forest(study, study.methods)
    found = [name for name in SCORES if any(name in m.scores for m in study.methods)]
    panels = [_score_panel(study, forest, name, SCORES[name]) for name in found]
    differences = {
        method.name: method.minus_best_baseline
        for method in study.methods
        if method.minus_best_baseline is not None and method.name != study.best_baseline
    }
    if any(has_interval(interval) for interval in differences.values()):
        panels.insert(1, _difference_panel(study, differences))
    return tuple(panels)


def clustering_panels(study: NetworkStudy) -> tuple[Panel, ...]:
    """How well clusters without any labels agree with the networks."""
    forest = _forest(study, study.methods)
    return tuple(
        _score_panel(study, forest, name, title)
        for name, title in CLUSTERING.items()
        if any(name in method.clustering for method in study.methods)
    )


def _score_panel(study: NetworkStudy, forest: Forest, name: str, title: str) -> Panel:
    is_clustering = name in CLUSTERING
    scores = {
        method.name: found[name]
        for method in study.methods
        if name in (found := method.clustering if is_clustering else method.scores)
    }
    reference = study.reference(name)
    people = {m.name: m.by_subjects[name] for m in study.methods if name in m.by_subjects}
    nulls = {m.name: null for m in study.methods if math.isfinite((null := _null(m, name)).value)}
    shown = [*scores.values(), *people.values(), *nulls.values()]
    with drawing(forest.height) as figure:
        limits = forest_limits(shown, reference=reference, typical=scores.values(), always=scores.get(study.main or ""))
        axes = forest.axes(figure, limits, reference=reference, label=title[0].lower() + title[1:])
        forest.draw(axes, scores)
        for row, method in forest.drawn_rows():
            y = row.y + NAME_ABOVE + 7
            _draw_beside(axes, y, method.mark.colour, people.get(method.name), nulls.get(method.name))
        uri = svg_uri(figure)
    told = "; ".join(f"{method} {number(score.value)} {bounds(score)}" for method, score in scores.items())
    return Panel(title=title, alt=f"{title} of every feature. {told}.", uri=uri, note=_reference_note(study, name))


def _null(method: NetworkMethod, name: str) -> Interval:
    """Mean on surrogate labels and where 95 % of them lie, where that is known."""
    null = method.null
    if null is None or name not in ("accuracy", "ari"):
        return Interval(math.nan)
    if name == "ari":
        return Interval(null.mean_ari)
    return Interval(null.mean_accuracy, null.low_accuracy, null.high_accuracy)


def _draw_beside(axes: Axes, y: float, colour: str, people: Interval | None, null: Interval | None) -> None:
    if people is not None and has_interval(people):
        axes.plot([people.low, people.high], [y + BELOW] * 2, color=colour, linewidth=0.9, solid_capstyle="butt")
    if null is None:
        return
    if has_interval(null):
        axes.plot([null.low, null.high], [y, y], color=SURROGATE.colour, linewidth=9, solid_capstyle="butt", zorder=1)
    axes.plot([null.value] * 2, [y - 4.5, y + 4.5], color=MUTED, linewidth=1.6, solid_capstyle="butt", zorder=1)


def _reference_note(study: NetworkStudy, name: str) -> str:
    if name == "accuracy":
        return f"dotted line: always the largest network, {percent(study.majority)}"
    if name == "balanced_accuracy":
        return f"dotted line: knowing nothing, 1 of {len(study.networks)}"
    return "dotted line: clusters at random, 0" if name == "ari" else "above 0 by chance, too: compare with the others"


def _difference_panel(study: NetworkStudy, differences: Mapping[str, Interval]) -> Panel:
    """Of those that were compared; they come first, so that the rows are those of the other panels."""
    forest = _forest(study, [method for method in study.methods if method.name in differences])
    limits = forest_limits(differences.values(), reference=0.0, always=differences.get(study.main or ""))
    with drawing(forest.height) as figure:
        axes = forest.axes(figure, limits, reference=0.0, label="difference in accuracy")
        forest.draw(axes, differences, is_difference=True)
        uri = svg_uri(figure)
    told = "; ".join(f"{name} {number(d.value, sign=True)} {bounds(d, sign=True)}" for name, d in differences.items())
    return Panel(
        title="Minus the best baseline",
        alt=f"Paired difference in accuracy to {study.best_baseline}. {told}.",
        uri=uri,
        note=f"{study.best_baseline}, for the model's features; filled: the interval excludes 0",
    )


def confusion_panels(study: NetworkStudy, shown: tuple[str, ...]) -> tuple[Panel, ...]:
    """What each network's parcels are taken for, a panel a method."""
    methods = [method for name in shown if (method := study.method(name)) is not None]
    return tuple(_confusion_panel(study, m, m.confusion_CC) for m in methods if m.confusion_CC is not None)


def _confusion_panel(study: NetworkStudy, method: NetworkMethod, confusion_CC: Float[np.ndarray, "C C"]) -> Panel:
    names = [shortened(network_name(study, name), max_length=18) for name in study.networks]
    colour = group_mark(method).colour
    colours = mpl.colors.LinearSegmentedColormap.from_list("share", ["#ffffff", colour])
    with drawing(CONFUSION_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.imshow(np.nan_to_num(confusion_CC), cmap=colours, vmin=0, vmax=1, aspect="auto")
        if len(names) <= MAX_NUMBERED:
            _number_cells(axes, confusion_CC)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9.5)
        axes.set_yticks(range(len(names)), names, fontsize=9.5)
        axes.tick_params(axis="both", length=0)
        axes.set_xlabel("taken for")
        axes.set_ylabel("true network")
        uri = svg_uri(figure)
    known = np.nan_to_num(np.diag(confusion_CC))
    best, worst = names[int(known.argmax())], names[int(known.argmin())]
    told = f"best {best}, {percent(float(known.max()))}; worst {worst}, {percent(float(known.min()))}"
    return Panel(
        title=method.name,
        alt=f"Confusion of networks by {method.name}, share right: {told}.",
        uri=uri,
        note=f"right: {told}",
    )


def _number_cells(axes: Axes, confusion_CC: np.ndarray) -> None:
    for row, values in enumerate(confusion_CC):
        for column, share in enumerate(values):
            if math.isfinite(share) and share >= 0.005:
                ink = "white" if share > 0.6 else INK
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9.5, color=ink)
