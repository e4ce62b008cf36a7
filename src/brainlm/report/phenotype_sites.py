"""The charts of one study by site: each site's score of the methods compared one by one, and model against rival."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from brainlm.report.phenotype_figures import marks_of, shown_names
from brainlm.report.phenotype_study import SiteScore, Study
from brainlm.report.phenotype_words import axis_title, has_interval, metric_title, reference_note, unit_noun
from brainlm.report.sentences import counted, joined, shortened
from brainlm.report.style import BAND, INK, MUTED, Mark, Panel, drawing, svg_uri

ROW_HEIGHT, AXIS_HEIGHT, SQUARE_HEIGHT = 28, 48, 318  # points
MAX_METHODS = 3
MAX_SITES = 30
LOWEST = {"r2": -1.0}  # small sites go far below: an arrow says so


def site_panels(study: Study) -> tuple[tuple[Panel, ...], tuple[Mark, ...]]:
    """The dots of every site and the model against its opponent, with their key; empty without sites."""
    names = site_methods(study)
    if not names:
        return (), ()
    marks = marks_of(study, names)
    by_name = {name: _known(study, name) for name in names}
    panels = [_dots_panel(study, by_name, marks)]
    if study.main in by_name and study.opponent in by_name:
        panels.append(_versus_panel(study, by_name[study.main], by_name[study.opponent]))
    return tuple(panels), tuple(marks.values())


def site_methods(study: Study) -> list[str]:
    """The methods whose sites are drawn: the main one, what it is compared with, and the fusion."""
    available = [method.name for method in study.methods if _known(study, method.name)]
    wanted = (study.main, study.opponent, study.fusion)
    chosen = [name for name in shown_names(study, available) if name in wanted]
    return (chosen or available)[:MAX_METHODS]


def _known(study: Study, name: str) -> dict[str, SiteScore]:
    method = study.method(name)
    rows = method.by_site if method is not None else ()
    return {row.site: row for row in rows if math.isfinite(row.score.value)}


def sites_by_size(study: Study) -> list[tuple[str, int]]:
    """Every site with its number of units, the largest first."""
    sizes = {row.site: row.num for method in study.methods for row in method.by_site}
    return sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))


def _dots_panel(study: Study, by_name: Mapping[str, Mapping[str, SiteScore]], marks: Mapping[str, Mark]) -> Panel:
    sites = sites_by_size(study)
    shown = sites[:MAX_SITES]
    metric = study.main_metric
    low, high = _limits(study, by_name)
    with drawing(ROW_HEIGHT * len(shown) + AXIS_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="x")
        reference = study.reference(metric)
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        for row, (site, _) in enumerate(shown):
            if row % 2 == 0:
                axes.axhspan(row - 0.5, row + 0.5, color=BAND, linewidth=0, zorder=-1)
            _draw_site(axes, row, [(marks[name], known.get(site)) for name, known in by_name.items()], low)
        axes.set_yticks(range(len(shown)), [f"{shortened(site, max_length=14)} ({num:,})" for site, num in shown])
        axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=9.5)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(axis_title(study, metric))
        uri = svg_uri(figure)
    told = f"{metric_title(metric)} of {joined(list(by_name))} in {counted(len(sites), 'site')}"
    note = f"in brackets: n, {unit_noun(study)}s" + (
        f"; the {MAX_SITES} largest of {len(sites)} sites" if len(sites) > MAX_SITES else ""
    )
    note += f"; {reference_note(study, metric)}" if reference is not None else ""
    return Panel(title=f"{metric_title(metric)} by {study.divided_by}", alt=told + ".", uri=uri, note=note)


def _limits(study: Study, by_name: Mapping[str, Mapping[str, SiteScore]]) -> tuple[float, float]:
    scores = [row.score for known in by_name.values() for row in known.values()]
    if study.main_metric == "auroc":
        return -0.02, 1.02
    reference = study.reference(study.main_metric) or 0.0
    low = min([s.low if has_interval(s) else s.value for s in scores] + [reference])
    high = max([s.high if has_interval(s) else s.value for s in scores] + [reference])
    low = max(low, LOWEST.get(study.main_metric, -math.inf))
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _draw_site(axes: Axes, row: int, found: Sequence[tuple[Mark, SiteScore | None]], low: float) -> None:
    offsets = np.linspace(-0.26, 0.26, len(found)) if len(found) > 1 else np.zeros(1)
    for (mark, site), offset in zip(found, offsets, strict=True):
        y = row + float(offset)
        if site is None:
            continue
        if site.score.value < low:
            arrow = {"arrowstyle": "-|>", "color": mark.colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (0, y), (0.06, y), xycoords=axes.get_yaxis_transform(), arrowprops=arrow)
            continue
        if has_interval(site.score):
            axes.plot([site.score.low, site.score.high], [y, y], color=mark.colour, linewidth=1.3, alpha=0.75)
        axes.plot([site.score.value], [y], marker=mark.marker, markersize=5.5, color=mark.colour)


def _versus_panel(study: Study, model: Mapping[str, SiteScore], rival: Mapping[str, SiteScore]) -> Panel:
    """Each site once: the model's score against that of what it is compared with, larger sites larger."""
    both = [(rival[site], model[site]) for site in model if site in rival]
    x, y = (np.array([pair[k].score.value for pair in both]) for k in (0, 1))
    num = np.array([pair[1].num for pair in both], dtype=np.float64)
    num_above, num_level = int((y > x).sum()), int((y == x).sum())
    floor = LOWEST.get(study.main_metric, -math.inf)
    x, y = np.maximum(x, floor), np.maximum(y, floor)
    ends = np.concatenate([x, y]) if len(x) else np.array([0.0, 1.0])
    pad = 0.06 * float(np.ptp(ends)) or 0.05
    limits = float(ends.min()) - pad, float(ends.max()) + pad
    (mark,) = marks_of(study, [str(study.main)]).values()
    with drawing(SQUARE_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid()
        axes.plot(limits, limits, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.scatter(x, y, s=14 + 110 * num / (num.max() if len(num) else 1), c=mark.colour, alpha=0.7,
                     edgecolors="white", linewidths=0.8)  # fmt: skip
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.set_aspect("equal")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(shortened(f"{metric_title(study.main_metric)}, {study.opponent}", max_length=48))
        axes.set_ylabel(shortened(f"{metric_title(study.main_metric)}, {study.main}", max_length=40))
        uri = svg_uri(figure)
    rival_name = "connectivity" if study.best_connectivity else "baseline"
    sites = counted(len(both), "site") if study.divided_by == "site" else f"{len(both):,}"
    note = f"above the diagonal in {num_above} of {sites}"
    note += f", level in {num_level}" if num_level else ""
    return Panel(
        title=f"Model against {rival_name}, {study.divided_by} by {study.divided_by}",
        alt=f"{study.main} against {study.opponent}: {note}.",
        uri=uri,
        note=f"{note}; a larger mark is a larger one",
    )
