"""The charts that say what a map of attention is worth: the contrast parcel by parcel, deletion, and other views of it.

Where the model looks is in ``attention_figures.py``. P parcels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.stats import rankdata

from brainlm.evaluation.statistics import SIGNIFICANT, Interval
from brainlm.report.attention_study import AttentionContrast, AttentionStudy, DeletionCurves
from brainlm.report.phenotype_words import p_number
from brainlm.report.sentences import bounds, counted, number
from brainlm.report.style import FIRST_LEVEL, MODEL, MUTED, SECOND_LEVEL, Mark, Panel, drawing, svg_uri

VOLCANO_HEIGHT, DELETION_HEIGHT, SCATTER_HEIGHT = 318, 256, 318
UNCLEAR = "#aab3bd"
ORDERS = {
    "most": Mark("most attended", MODEL, "o"),
    "random": Mark("random", "#4c535b", "s"),
    "least": Mark("least attended", "#1d5c99", "^"),
}
# What is done, what is measured on the way.
DELETION_TITLES = {
    "embedding": ("Parcels hidden: embedding", "change of the embedding"),
    "reconstruction": ("Parcels hidden: reconstruction", "loss of R²"),
    "insertion": ("Only these parcels shown", "change of the embedding"),
}


def volcano_panel(study: AttentionStudy, contrast: AttentionContrast) -> Panel:
    """Every parcel's difference against its p, those that stay after the false discovery rate in colour."""
    x = 100 * contrast.difference_P / study.uniform
    known = np.isfinite(x) & np.isfinite(contrast.p_P) & (contrast.p_P > 0)
    is_clear = contrast.is_significant_P & known
    y = -np.log10(np.where(known, contrast.p_P, 1.0))
    with drawing(VOLCANO_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        axes.axvline(0, color=MUTED, linewidth=0.8)
        unclear = known & ~is_clear
        axes.scatter(x[unclear], y[unclear], s=15, c=UNCLEAR, linewidths=0)
        colours = np.where(x[is_clear] > 0, FIRST_LEVEL, SECOND_LEVEL)
        axes.scatter(x[is_clear], y[is_clear], s=24, c=list(colours), linewidths=0.4, edgecolors="white")
        if is_clear.any():
            # Between the largest p that stays and the smallest that does not.
            axes.axhline(float(y[is_clear].min()), color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.margins(x=0.12, y=0.1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(
            f"difference, % of the uniform level ({contrast.levels[0]} − {contrast.levels[1]})", fontsize=10
        )
        axes.set_ylabel("−log10 p")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        uri = svg_uri(figure)
    num = int(is_clear.sum())
    smallest = contrast.smallest_q
    told = f"{num or 'no'} of {counted(int(known.sum()), 'parcel')} with q ≤ {SIGNIFICANT:g}"
    note = f"{told}; smallest q = {p_number(smallest)}" if math.isfinite(smallest) else told
    note += f"; smallest p possible: {p_number(1 / (contrast.num_permutations + 1))}"
    note += "; dotted line: the largest p with q ≤ .05" if num else ""
    return Panel(title="Every parcel", alt=f"Difference in attention against −log10 p: {note}.", uri=uri, note=note)


def deletion_panels(study: AttentionStudy) -> tuple[tuple[Panel, ...], tuple[Mark, ...]]:
    """What changes when the most, the least attended or random parcels are hidden, or only they are shown."""
    found = {name: curves for name, curves in study.deletion.items() if curves.curves}
    panels = tuple(_deletion_panel(study, name, curves) for name, curves in found.items())
    used = [name for name in ORDERS if any(name in curves.curves for curves in found.values())]
    return panels, tuple(ORDERS[name] for name in used)


def _deletion_panel(study: AttentionStudy, name: str, found: DeletionCurves) -> Panel:
    title, label = DELETION_TITLES[name]
    shares = np.array(study.shares) * 100
    # Side by side, so that intervals do not cover one another.
    apart = 0.12 * float(np.diff(shares).min()) if len(shares) > 1 else 0.5
    with drawing(DELETION_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="y")
        for place, (order, scores) in enumerate(found.curves.items()):
            mark = ORDERS[order]
            num = min(len(scores), len(shares))
            x = shares[:num] + (place - 1) * apart
            axes.plot(x, [score.value for score in scores[:num]], color=mark.colour, linewidth=1.4,
                      marker=mark.marker, markersize=6)  # fmt: skip
            for position, score in zip(x, scores[:num], strict=True):
                axes.plot([position, position], [score.low, score.high], color=mark.colour, linewidth=1.6)
        axes.set_xticks(shares, [f"{share:g} %" for share in shares])
        axes.set_xlabel("parcels shown" if name == "insertion" else "parcels hidden")
        axes.set_title(label, loc="left", color=MUTED)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        uri = svg_uri(figure)
    told = "; ".join(f"{ORDERS[order].label} {_ends(scores)}" for order, scores in found.curves.items())
    return Panel(title=title, alt=f"{label[0].upper()}{label[1:]} by share of parcels: {told}.", uri=uri,
                 note=_deletion_note(found))  # fmt: skip


def _ends(scores: Sequence[Interval]) -> str:
    first, last = scores[0], scores[-1]
    return f"{number(first.value)} to {number(last.value)}"


def _deletion_note(found: DeletionCurves) -> str:
    told = []
    for other, difference in (("random", found.most_minus_random), ("least", found.most_minus_least)):
        if difference is not None and math.isfinite(difference.value):
            has_interval = difference.has_limits
            limits = f" {bounds(difference, sign=True)}" if has_interval else ""
            told.append(f"most − {other}: {number(difference.value, sign=True)}{limits}")
    return "; ".join(told)


def other_view_panels(study: AttentionStudy) -> tuple[Panel, ...]:
    """Attention of every parcel against its rollout and against gradient-based attribution."""
    found = []
    if study.rollout_P is not None:
        found.append(_scatter_panel(study, study.rollout_P, "Attention rollout", "rollout, share"))
    if study.attribution_P is not None:
        found.append(_scatter_panel(study, study.attribution_P, "Gradient attribution", "attribution, share"))
    return tuple(found)


def _scatter_panel(study: AttentionStudy, other_P: Float[np.ndarray, "P"], title: str, label: str) -> Panel:
    known = np.isfinite(study.relative_P) & np.isfinite(other_P)
    x, y = study.relative_P[known], other_P[known]
    scale = len(y) / y.sum() if y.sum() > 0 and (y >= 0).all() else 1.0
    with drawing(SCATTER_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.grid()
        axes.scatter(x, y * scale, s=16, c=MODEL, alpha=0.6, linewidths=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if scale != 1.0:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.set_xlabel("attention, times the uniform level")
        axes.set_ylabel("times the mean parcel" if scale != 1.0 else label)
        uri = svg_uri(figure)
    varies = len(x) > 2 and bool(np.ptp(x) > 0) and bool(np.ptp(y) > 0)
    r = float(np.corrcoef(rankdata(x), rankdata(y))[0, 1]) if varies else math.nan
    note = f"rank correlation {number(r, digits=2)} over {counted(len(x), 'parcel')} of the group maps"
    return Panel(title=title, alt=f"{title} against attention, a dot a parcel: {note}.", uri=uri, note=note)
