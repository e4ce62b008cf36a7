"""The sections about attention: one a study, with its map, where it comes from, its contrast and what it is worth.

The charts are in ``attention_figures.py``, ``attention_heads.py`` and ``attention_evidence.py``, the tables in
``attention_tables.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from brainlm.evaluation.statistics import SIGNIFICANT
from brainlm.report import (
    attention_evidence,
    attention_figures,
    attention_heads,
    attention_tables,
    brain_views,
    parcel_charts,
)
from brainlm.report.attention_study import AttentionContrast, AttentionStudy
from brainlm.report.blocks import Block, Picture, Section, Sentence, View
from brainlm.report.brain_maps import Brain, PaintedBrain, picture
from brainlm.report.facts import with_store
from brainlm.report.phenotype_words import p_number
from brainlm.report.run_folder import RunFolder
from brainlm.report.sentences import counted, number

NEARLY_EQUAL = 1.15  # largest / smallest attention of a parcel


def sections(run: RunFolder, brain: Brain | None) -> tuple[Section, ...]:
    """One section a study of attention; none where there is none."""
    return tuple(
        with_store(study_section(run, brain, study, f"attention_{place}"), run, study.facts)
        for place, study in enumerate(run.attention_studies, start=1)
    )


def study_section(run: RunFolder, brain: Brain | None, study: AttentionStudy, anchor: str) -> Section:
    """The conclusion, whom it is about, the map, then layers, networks, contrast and checks."""
    blocks: list[Block] = [Sentence(study.conclusion or "The results hold no conclusion.", conclusion=True)]
    blocks += _confounds(study)
    blocks.append(Sentence(_about(study)))
    if not np.isfinite(study.relative_P).any():
        blocks.append(Sentence("No parcel has signal: there is no map.", missing=True))
        return Section(anchor, _title(study), tuple(blocks))
    blocks += [*_map(run, brain, study), *_contrast(run, brain, study), *_networks(study), *_heads(run, study)]
    blocks += [*_checks(study), *_turned(brain, study), *attention_tables.parcels(run.parcels, study)]
    blocks += attention_tables.facts(study)
    return Section(anchor, _title(study), tuple(blocks))


def _title(study: AttentionStudy) -> str:
    if study.contrast is None:
        return "Where the model looks"
    first, second = study.contrast.levels
    return f"Where the model looks: {study.contrast.column}, {first} against {second}"


def _about(study: AttentionStudy) -> str:
    """What is shown, of whom, and what a contrast compares."""
    text = study.what[0].upper() + study.what[1:] if study.what else "Attention"
    if study.num_recordings is not None:
        text += f", of {counted(study.num_recordings, 'recording')}"
        text += f" of {counted(study.num_subjects, 'subject')}" if study.num_subjects is not None else ""
    text += "; nothing was hidden from the model."
    if study.num_subjects == 1:
        text += " One subject: there are no intervals, and nothing here can be said of people in general."
    contrast = study.contrast
    if contrast is not None:
        text += f" {_compared(contrast)}"
    pretraining = str(study.facts.get("pretraining") or "").strip().rstrip(".")
    return text + (f" Pretraining: {pretraining}." if pretraining else "")


def _compared(contrast: AttentionContrast) -> str:
    first, second = contrast.levels
    if contrast.is_paired:
        text = f"Contrast: {first} minus {second} within {counted(contrast.num_subjects[0], 'subject')} (paired)"
    else:
        sizes = [counted(num, "subject") for num in contrast.num_subjects]
        text = f"Contrast: {first} ({sizes[0]}) minus {second} ({sizes[1]}), different people"
    left_out = contrast.num_left_out
    text += f"; {counted(left_out, 'subject')} left out, not in it or not in both" if left_out else ""
    return text + "."


def _confounds(study: AttentionStudy) -> list[Block]:
    """In red what differs between the levels; what was looked at and does not, in one plain sentence."""
    rows = study.contrast.confounds if study.contrast is not None else ()
    differing = [row for row in rows if row.p <= SIGNIFICANT]
    blocks: list[Block] = []
    if differing:
        text = " ".join(row.sentence or f"{row.column} differs (p = {p_number(row.p)})." for row in differing)
        blocks.append(Sentence(f"The two levels differ in more than the label: {text}", warning=True))
    alike = [row for row in rows if row.p > SIGNIFICANT]
    if alike:
        told = ", ".join(f"{row.column} (p = {p_number(row.p)})" for row in alike)
        blocks.append(Sentence(f"Not shown to differ between the two levels: {told}."))
    return blocks


def _log_ratio(study: AttentionStudy) -> np.ndarray:
    ratio = study.relative_P
    return np.log2(np.where(ratio > 0, ratio, np.nan))


def _map(run: RunFolder, brain: Brain | None, study: AttentionStudy) -> list[Block]:
    values = _log_ratio(study)
    ratio = study.relative_P[np.isfinite(study.relative_P)]
    about = (
        f"{study.what[:1].upper()}{study.what[1:]}: mean over subjects, as a multiple of what each parcel would get if "
        f"attention were equal: from {ratio.min():.2f}× to {ratio.max():.2f}×."
    )
    if ratio.max() / ratio.min() < NEARLY_EQUAL:
        about += " That is nearly equal attention: the colours magnify differences of a few per cent."
    num_silent = len(values) - len(ratio)
    about += f" {counted(num_silent, 'parcel')} without signal not shown." if num_silent else ""
    about += f" {_clear_parcels(study)}" if study.has_intervals else ""
    blocks: list[Block] = []
    if brain is None:
        text = "There is no map of the brain: neither a label image nor coordinates are in the run folder."
        blocks.append(Sentence(text, missing=True))
    scale = parcel_charts.attention_scale(values)
    networks = attention_figures.network_axis(study, run.parcels)[0]
    return [*blocks, picture(run.parcels, brain, values, scale, about, networks=networks)]


def _clear_parcels(study: AttentionStudy) -> str:
    assert study.low_P is not None
    assert study.high_P is not None
    above, below = int((study.low_P > study.uniform).sum()), int((study.high_P < study.uniform).sum())
    return (
        f"The {study.confidence_percent} interval over subjects lies above the uniform level in "
        f"{counted(above, 'parcel')} and below it in {below:,}."
    )


def _contrast(run: RunFolder, brain: Brain | None, study: AttentionStudy) -> list[Block]:
    contrast = study.contrast
    if contrast is None:
        return []
    if not np.isfinite(contrast.t_P).any():
        return [Sentence("The contrast has no t: too few subjects, or no parcel that varies.", missing=True)]
    volcano = attention_evidence.volcano_panel(study, contrast)
    scale = parcel_charts.contrast_scale(contrast.t_P, contrast.levels)
    is_clear = contrast.is_significant_P
    blocks: list[Block] = [Sentence(_found(contrast))]
    about = (
        f"t of {contrast.levels[0]} minus {contrast.levels[1]} in every parcel, whether significant or not; p by "
        f"{contrast.num_permutations:,} {'sign flips' if contrast.is_paired else 'permutations'} over subjects, "
        "q after Benjamini-Hochberg over parcels."
    )
    blocks.append(picture(run.parcels, brain, contrast.t_P, scale, about, side=volcano, drawn_as_above=True))
    if is_clear.any() and brain is not None:
        masked = np.where(is_clear, contrast.t_P, np.nan)
        num = counted(int(is_clear.sum()), "parcel")
        about = f"The same, only the {num} with q ≤ {SIGNIFICANT:g} coloured, on the same scale."
        blocks.append(Picture(brain.tiles(masked, scale), about, layout="brain"))
    return blocks


def _found(contrast: AttentionContrast) -> str:
    num, tested = int(contrast.is_significant_P.sum()), int(np.isfinite(contrast.t_P).sum())
    text = f"{num or 'None'} of {counted(tested, 'parcel')} {'differs' if num == 1 or not num else 'differ'}"
    if num:
        higher = int((contrast.is_significant_P & (contrast.t_P > 0)).sum())
        text += (
            f" at q ≤ {SIGNIFICANT:g}: attention is higher in “{contrast.levels[0]}” in {higher} of them, in "
            f"“{contrast.levels[1]}” in {num - higher}."
        )
    else:
        text += (
            f" at q ≤ {SIGNIFICANT:g} (smallest q = {p_number(contrast.smallest_q)}). The map below is then not to be "
            "read parcel by parcel: patterns like it arise by chance."
        )
    if contrast.p_fwe_P is not None:
        family = int((np.nan_to_num(contrast.p_fwe_P, nan=1.0) <= SIGNIFICANT).sum())
        text += f" Corrected for the family of all parcels (largest |t|): {family}."
    r = contrast.amplitude_r
    if r is not None and math.isfinite(r.value):
        text += (
            " Rank correlation over parcels with the same contrast of the signal's amplitude: "
            f"{number(r.value, digits=2)}."
        )
    return text


def _networks(study: AttentionStudy) -> list[Block]:
    """By network, its contrast, and between parcels by lag: all that is found without choosing a seed region."""
    panels = attention_figures.network_panels(study)
    lags = attention_figures.lag_panels(study)
    caption = f"Mean attention of each network's parcels. {_interval_note(study)}" if panels else ""
    caption += " Contrast: the same test on these means." * (len(panels) > 1)
    if lags:
        caption += (
            " By lag: attention of one patch of a parcel to one patch of another, mean over all pairs that far apart "
            "in time; dotted: equal attention. Positive lags look ahead: nothing forbids this model to."
        )
    return [Picture((*panels, *lags), caption.strip())] if panels or lags else []


def _interval_note(study: AttentionStudy) -> str:
    if not study.has_intervals:
        return "No intervals: they are over subjects, and there are too few."
    resamples = study.settings.get("num_bootstrap")
    count = f", {int(resamples):,} resamples" if resamples else ""
    return f"{study.confidence_percent} intervals: bootstrap over subjects{count}."


def _heads(run: RunFolder, study: AttentionStudy) -> list[Block]:
    panels, bar = attention_heads.head_panels(study, run.parcels)
    if not panels:
        return []
    caption = (
        "Attention of the CLS token in every layer, mean over recordings; the rows of all panels are the "
        "same. A map of the last layer says nothing about the others."
    )
    return [Picture(panels, caption, bar=bar)]


def _checks(study: AttentionStudy) -> list[Block]:
    blocks: list[Block] = [*attention_tables.sanity(study)]
    panels, key = attention_evidence.deletion_panels(study)
    if panels:
        caption = (
            "Does attention mark what the model uses? If it does, hiding the most attended parcels changes more than "
            "hiding as many random ones, and hiding the least attended less. Where the most and the least attended "
            "change the same, it is not their attention that matters. " + _interval_note(study)
        )
        blocks.append(Picture(panels, caption, key=key))
    others = attention_evidence.other_view_panels(study)
    if others:
        caption = (
            "Two other answers to the same question. Rollout carries attention through all layers; attribution follows "
            "gradients of the embedding (integrated gradients). A dot a parcel; neither is the truth."
        )
        blocks.append(Picture(others, caption))
    return blocks


def _turned(brain: Brain | None, study: AttentionStudy) -> list[Block]:
    """The maps on a brain to turn, folded."""
    if brain is None:
        return []
    values = _log_ratio(study)
    found: list[tuple[str, np.ndarray, parcel_charts.ColourScale]] = [
        ("Attention", values, parcel_charts.attention_scale(values))
    ]
    contrast = study.contrast
    if contrast is not None and np.isfinite(contrast.t_P).any():
        scale = parcel_charts.contrast_scale(contrast.t_P, contrast.levels)
        found.append((f"{contrast.levels[0]} minus {contrast.levels[1]}", contrast.t_P, scale))
    kind = "inflated surface" if isinstance(brain, PaintedBrain) else "a marker a parcel"
    return [
        View(
            f"{name}, on a brain to turn",
            brain_views.document(brain, values, scale),
            f"{name}: {kind}. Drag to turn, scroll to come closer; the colours are those of the map above.",
        )
        for name, values, scale in found
    ]


def tally(studies: Sequence[AttentionStudy]) -> str:
    """One sentence for the summary: in how many parcels each contrast was found; empty without a contrast."""
    pieces = []
    for study in studies:
        contrast = study.contrast
        if contrast is None or not np.isfinite(contrast.q_P).any():
            continue
        num, tested = int(contrast.is_significant_P.sum()), int(np.isfinite(contrast.q_P).sum())
        name = f"{contrast.column} ({contrast.levels[0]} against {contrast.levels[1]})"
        pieces.append(f"{name} in {num} of {counted(tested, 'parcel')}" if num else f"{name} in no parcel")
    if not pieces:
        return ""
    return f"Attention differs at q ≤ {SIGNIFICANT:g}: " + "; ".join(pieces) + "."
