"""The tables of a study of attention: what a map must be held against, the parcels one by one, what was run."""

from __future__ import annotations

import math

import numpy as np

from brainlm.data.parcels import Parcels
from brainlm.evaluation.statistics import Interval
from brainlm.report.attention_study import AttentionStudy
from brainlm.report.blocks import Block, Cell, Sentence, Table
from brainlm.report.facts import facts_table
from brainlm.report.phenotype_words import p_number
from brainlm.report.sentences import bounds, number

MAX_PARCELS = 20  # with the most attention, listed
# What the check is, and how to read a value near 0 and one near 1.
CHECKS = {
    "amplitude_r": (
        "Signal amplitude",
        "Rank correlation over parcels of attention with the signal's standard deviation. Far from 0: the model looks "
        "(or does not look) where the signal is strong, and the map may say little else.",
    ),
    "connectivity_r": (
        "Connectivity strength",
        "With a parcel's mean absolute correlation with all others. Near 1: hubs of functional connectivity would do "
        "as a map.",
    ),
    "silent_r": (
        "No signal at all",
        "With the map of a window without any signal. Near 1: the model looks there whatever it is shown, and the map "
        "is about its weights, not about brains.",
    ),
    "attribution_r": (
        "Gradient attribution",
        "With integrated gradients of the embedding. Near 1: two ways of asking the model agree.",
    ),
    "consistency": (
        "Between subjects",
        "Mean rank correlation of one subject's map with the mean of the others. Near 1: the map hardly depends on "
        "whose brain it is; near 0: there is no common map.",
    ),
}
DELETIONS = {
    "embedding": (
        "Deletion, embedding",
        "Change of the embedding when the most attended parcels are hidden, minus random ones. Above 0: attention "
        "marks what the embedding uses.",
    ),
    "reconstruction": (
        "Deletion, reconstruction",
        "Loss of R² at reconstructing others when the most attended parcels are hidden, minus random ones. Above 0: "
        "attention marks what reconstruction uses.",
    ),
    "insertion": (
        "Insertion, embedding",
        "Change of the embedding when only the most attended parcels are shown, minus random ones. Below 0: they "
        "stand for the whole better than random ones.",
    ),
}

AGAINST_LEAST = (
    "The same minus the least attended parcels. Near 0 although it differs from random: any choice that picks alike "
    "parcels does that, not the most attended ones."
)


def sanity(study: AttentionStudy) -> list[Block]:
    """A row a check; nothing without any."""
    rows = []
    for name, (title, about) in CHECKS.items():
        if name in study.sanity:
            rows.append((Cell(title, look="method"), _score(study.sanity[name]), Cell(about, look="why")))
    for name, (title, about) in DELETIONS.items():
        found = study.deletion.get(name)
        if found is not None and found.most_minus_random is not None:
            cell = _score(found.most_minus_random, is_difference=True)
            rows.append((Cell(title, look="method"), cell, Cell(about, look="why")))
        if found is not None and found.most_minus_least is not None:
            cell = _score(found.most_minus_least, is_difference=True)
            rows.append((Cell(f"{title}, against least", look="method"), cell, Cell(AGAINST_LEAST, look="why")))
    if not rows:
        return []
    interval = f", {study.confidence_percent} intervals over subjects in brackets" * study.has_intervals
    caption = f"What a map of attention has to be held against{interval}."
    return [Table(("Against", "Value", "What it means"), tuple(rows), caption, words=True)]


def _score(score: Interval, *, is_difference: bool = False) -> Cell:
    if not math.isfinite(score.value):
        return Cell("–", look="number")
    digits = 3 if is_difference else 2
    has_interval = score.has_limits
    small = bounds(score, sign=is_difference) if has_interval else ""
    return Cell(number(score.value, digits=digits, sign=is_difference), small, "number")


def parcels(table: Parcels | None, study: AttentionStudy) -> list[Block]:
    """The parcels with the strongest contrast, without one those with the most attention, folded."""
    contrast = study.contrast
    strength = study.relative_P if contrast is None else np.abs(contrast.t_P)
    order = np.argsort(-np.nan_to_num(strength, nan=-1.0), kind="stable")
    order = order[np.isfinite(strength[order])]
    if study.patch_P is not None:  # parcels of a patch have one attention: the first of them stands for all
        order = order[np.sort(np.unique(study.patch_P[order], return_index=True)[1])]
    order = order[:MAX_PARCELS]
    if not len(order):
        return []
    names = [f"parcel {place + 1}" if table is None else str(table.table["name"].iloc[place]) for place in order]
    rows = []
    for name, place in zip(names, order, strict=True):
        cells = [Cell(name, look="name"), _relative(study, int(place))]
        if contrast is not None:
            cells += [
                Cell(number(float(contrast.t_P[place]), digits=2, sign=True), look="number"),
                Cell(p_number(float(contrast.p_P[place])), look="number"),
                Cell(p_number(float(contrast.q_P[place])), look="number"),
            ]
        rows.append(tuple(cells))
    head = ("Parcel", "Attention", *(("t", "p", "q") if contrast is not None else ()))
    one = "parcels" if study.patch_P is None else "patches, by their first parcel,"
    what = "with the largest |t|" if contrast is not None else "with the most attention"
    caption = (
        f"The {len(rows)} {one} {what}, attention as a multiple of the uniform level"
        f"{' with its interval' * study.has_intervals}. All parcels are in `attention/{study.folder}/table.csv`."
    ).replace("`", "")
    return [Table(head, tuple(rows), caption, folded=True)]


def _relative(study: AttentionStudy, place: int) -> Cell:
    text = f"{study.relative_P[place]:.2f}×"
    if study.low_P is None or study.high_P is None or not np.isfinite(study.low_P[place]):
        return Cell(text, look="number")
    low, high = study.low_P[place] / study.uniform, study.high_P[place] / study.uniform
    return Cell(text, f"[{low:.2f}, {high:.2f}]", "number")


def facts(study: AttentionStudy) -> list[Block]:
    """Notes, the files beside the results, and what was run as a folded table."""
    blocks: list[Block] = [Sentence(" ".join(note.rstrip(".") + "." for note in study.notes))] if study.notes else []
    if study.files:
        names = ", ".join(f"`{name}`" for name in study.files)
        blocks.append(Sentence(f"Beside the results in `attention/{study.folder}/`: {names}."))
    caption = f"What was run for attention/{study.folder}, settings included."
    table = facts_table({**study.facts, **study.settings}, caption)
    return [*blocks, *([table] if table is not None else [])]
