"""The words around a study of functional networks: what the labels are, what was done, who is ahead.

The conclusion itself comes with the numbers, from ``brainlm.evaluation.networks``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from brainlm.report.network_study import NetworkStudy
from brainlm.report.parcel_charts import network_title
from brainlm.report.phenotype_words import has_interval, p_number
from brainlm.report.sentences import VERDICT_MARKS, bounds, counted, joined, number, percent


def network_name(study: NetworkStudy, name: str) -> str:
    """As written in the results, spelled out where it is one of Yeo's numbers."""
    return network_title(study.labels, name)


def about(study: NetworkStudy) -> str:
    """Which parcels, which networks, from whom, and how they are kept apart."""
    sizes = [f"{network_name(study, name)} {size}" for name, size in study.networks.items()]
    labelled = sum(study.networks.values())
    text = f"Labels: {study.labels}, {counted(len(study.networks), 'network')} of {counted(labelled, 'parcel')}"
    text += f" ({', '.join(sizes)})"
    text += f"; {counted(study.num_missing, 'parcel')} without a label left out" if study.num_missing else ""
    if study.num_recordings is not None:
        text += f". Features from {counted(study.num_recordings, 'recording')}"
        text += f" of {counted(study.num_subjects, 'subject')}" if study.num_subjects is not None else ""
    folds, repeats = study.settings.get("folds"), study.settings.get("repeats")
    text += ". The same k-nearest-neighbour classifier for all, k and metric chosen in inner folds"
    if folds:
        text += f"; {folds} folds over parcels" + (f", {repeats} times over" if repeats and repeats != 1 else "")
    if study.num_pairs:
        text += f"; {counted(study.num_pairs, 'left-right pair')} never torn apart"
    pretraining = str(study.facts.get("pretraining") or "").strip().rstrip(".")
    return text + (f". Pretraining: {pretraining}" if pretraining else "") + "."


def about_null(study: NetworkStudy) -> str:
    """What the main features, the best baseline and the parcels' places reach on labels that mean nothing but are as
    smooth; empty where not computed.
    """
    told = []
    shown = [method for method in study.methods if method.name in (study.main, study.best_baseline)]
    shown += [method for method in study.methods if method.group == "position"][:1]
    for method in shown:
        null = method.null
        if null is None or not math.isfinite(null.mean_accuracy) or "accuracy" not in method.scores:
            continue
        observed = null.observed_accuracy
        reached = percent(observed if math.isfinite(observed) else method.scores["accuracy"].value)
        told.append(f"{method.name} {reached} against {percent(null.mean_accuracy)} (p = {p_number(null.p_accuracy)})")
    if not told:
        return ""
    start = study.surrogates.rstrip(".") + ". " if study.surrogates else ""
    return (
        f"{start}Accuracy on the true labels against the mean on surrogate ones: {'; '.join(told)}. What a feature "
        "reaches on surrogates it owes to smoothness in space, not to networks."
    )


def interval_note(study: NetworkStudy) -> str:
    """What the two intervals are."""
    return (
        f"{study.confidence_percent} intervals: over parcels (left-right pairs as one), and over subjects where there "
        "are enough"
    )


def tally(studies: Sequence[NetworkStudy]) -> str:
    """One sentence a study for the summary; empty without any that was compared."""
    pieces = []
    for study in studies:
        main, rival, found = study.method(study.main), study.method(study.best_baseline), study.difference
        if main is None or rival is None or found is None or "accuracy" not in main.scores:
            continue
        reached = percent(main.scores["accuracy"].value)
        verdict = VERDICT_MARKS[study.verdict][2:] if study.verdict != "unknown" else "not compared"
        than = {"better": "better than", "worse": "worse than"}.get(study.verdict, f"{verdict} to")
        pieces.append(
            f"{study.labels}, {reached} of parcels right by {main.name}, {than} {rival.name} "
            f"({number(found.value, sign=True)}" + (f" {bounds(found, sign=True)}" if has_interval(found) else "") + ")"
        )
    return f"Functional networks: {joined(pieces)}." if pieces else ""
