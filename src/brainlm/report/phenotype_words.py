"""The words around a study of a clinical variable: names of metrics, whom it is about, the folds, what is in red.

The sentence of conclusion itself comes with the numbers, from ``brainlm.evaluation.phenotypes``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from brainlm.evaluation.statistics import Interval
from brainlm.report.phenotype_study import LOWER_IS_BETTER, Study
from brainlm.report.sentences import counted, joined, number

DAGGER = "†"
METRICS: Mapping[str, str] = {
    "r2": "R²",
    "r": "r",
    "mae": "MAE",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
    "calibration_slope": "calibration slope",
    "ece": "calibration error (ECE)",
}
# What each number means to who has not met it, for the caption of the table.
METRIC_NOTES: Mapping[str, str] = {
    "r2": "R² is not clipped: 0 is what predicting the mean gives, below 0 is worse",
    "r": "r compares people of the same test fold only",
    "mae": "MAE is in the units of the target, lower is better",
    "auroc": "AUROC compares people of the same test fold only, 0.5 is chance",
    "auprc": "AUPRC of a useless method is the share of the class",
    "brier": "Brier score: squared error of the probability, lower is better",
    "calibration_slope": "calibration slope: 1 is calibrated, below 1 overconfident",
    "ece": "calibration error: mean gap between probability and share, lower is better",
}


def metric_title(metric: str) -> str:
    """``AUROC``; a metric this page does not know keeps its name."""
    return METRICS.get(metric, metric.replace("_", " "))


def axis_title(study: Study, metric: str) -> str:
    """The metric with its unit, and which way is better where that is not up."""
    unit = f", in units of {study.name}" if metric == "mae" else ""
    better = " (lower is better)" if metric in LOWER_IS_BETTER else ""
    return f"{metric_title(metric)}{unit}{better}"


def unit_noun(study: Study) -> str:
    """What is one row of the analysis: ``subject`` or ``recording``."""
    return "recording" if study.target.get("unit_of_analysis") == "recording" else "subject"


def sample_size(study: Study) -> str:
    """``871 subjects``, ``99 recordings of 33 subjects``."""
    units, subjects = study.target.get("num_units"), study.target.get("num_subjects")
    text = counted(int(units), unit_noun(study)) if units is not None else "the " + unit_noun(study) + "s"
    if unit_noun(study) == "recording" and subjects is not None:
        text += f" of {counted(int(subjects), 'subject')}"
    return text


def about_target(study: Study) -> str:
    """Whom the study is about and what is predicted."""
    target = study.target
    text = f"Target: {study.name}, of {sample_size(study)}"
    if study.class_counts:
        text += ": " + joined([f"{name} {n:,}" for name, n in zip(study.classes, study.class_counts, strict=True)])
    elif study.classes:
        text += ": " + joined(study.classes)
    elif target.get("mean") is not None:
        spread = f" ± {number(float(target['sd']), digits=2)} (SD)" if target.get("sd") is not None else ""
        text += f", mean {number(float(target['mean']), digits=2)}{spread}"
    if study.kind == "binary" and target.get("positive"):
        text += f"; “positive” means {target['positive']}"
    missing = target.get("num_missing")
    text += f"; {counted(int(missing), unit_noun(study))} without the label left out" if missing else ""
    return text + "."


def about_folds(study: Study) -> str:
    """How people were kept apart."""
    folds = study.folds
    text = f"Folds: {study.fold_name}"
    num_folds, repeats = folds.get("num_folds"), folds.get("repeats")
    text += f" ({num_folds} folds, {repeats} times over)" if num_folds and repeats and repeats > 1 else ""
    sizes = [int(size) for size in folds.get("sizes") or ()]
    if sizes:
        smallest, largest = min(sizes), max(sizes)
        each = f"{largest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"
        text += f", {counted(len(sizes), 'test fold')} of {each} {unit_noun(study)}s"
    text += "; nobody is in the training and the test part of one fold"
    text += f", families (column {folds['group']}) stay together" if folds.get("group") else ""
    confounds = _listed(study.facts.get("confounds"))
    text += f". Regressed out of the features within each training fold: {confounds}" if confounds else ""
    harmonised = _listed(study.facts.get("harmonised"))
    text += f". Harmonised within each training fold: {harmonised}" if harmonised else ""
    pretraining = str(study.facts.get("pretraining") or "").strip().rstrip(".")
    text += f". Pretraining: {pretraining}" if pretraining else ""
    return text + "."


def _listed(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return joined([str(entry) for entry in value])
    return "yes" if value is True else ""


def about_seen(study: Study) -> str:
    """The warning that goes with what is printed in red; empty where nothing is."""
    seen = study.seen_methods
    if not seen:
        return ""
    names = joined([method.name for method in seen])
    verb = "is" if len(seen) == 1 else "are"
    return (
        f"{DAGGER} In red: {names} {verb} not fully held out. People of the test folds were in the pretraining data, "
        "so these numbers may be too good. Folds of people that pretraining never saw would tell."
    )


def interval_note(study: Study) -> str:
    """What every interval on the figures of a study is."""
    resamples = study.settings.get("num_bootstrap")
    count = f", {int(resamples):,} resamples" if resamples else ""
    return f"{study.confidence_percent} intervals: bootstrap over subjects{count}"


def p_text(p: float, num: int) -> str:
    """``p = 0.012``; the smallest that ``num`` permutations can give is said to be that."""
    if not math.isfinite(p):
        return "p not known"
    smallest = p <= 1 / (num + 1) * (1 + 1e-9)
    return f"p = {p_number(p)}" + (f" (the smallest that {counted(num, 'permutation')} can give)" if smallest else "")


def metric_notes(metrics: Sequence[str]) -> str:
    """One line a metric, for the caption of the table."""
    return "; ".join(METRIC_NOTES[name] for name in metrics if name in METRIC_NOTES)


def reference_note(study: Study, metric: str) -> str:
    """What the dotted line of a chart of ``metric`` is; empty without one."""
    reference = study.reference(metric)
    if reference is None:
        return ""
    means = {"r2": "predicting the mean", "mae": "knowing nothing", "brier": "knowing nothing"}
    text = number(reference, digits=2)
    return f"dotted line: {means.get(metric, 'chance')}, {text.rstrip('0').rstrip('.') if '.' in text else text}"


def p_number(p: float) -> str:
    """``0.0050``, ``0.123``: small ones with one more digit."""
    return number(p, digits=4 if p < 0.01 else 3)


def has_interval(score: Interval | None) -> bool:
    """Whether there is a number with both limits."""
    return score is not None and math.isfinite(score.value + score.low + score.high)


def tally(studies: Sequence[Study]) -> str:
    """Where the model is ahead of functional connectivity, behind, or neither; empty where nothing was compared."""
    words = {"better": "better for {}", "worse": "worse for {}", "level": "not clearly different for {}"}
    compared = [study for study in studies if study.best_connectivity is not None]
    named = {verdict: [_named(s, studies) for s in compared if _verdict(s) == verdict] for verdict in words}
    pieces = [text.format(joined(named[verdict])) for verdict, text in words.items() if named[verdict]]
    if not pieces:
        return ""
    start = "Clinical variables, model against functional connectivity on the same test folds: "
    seen = any(method.is_seen for study in studies for method in study.methods if method.name == study.main)
    return start + ", ".join(pieces) + "." + " Some test people were in the pretraining data." * seen


def _verdict(study: Study) -> str:
    return "unknown" if study.difference is None else study.difference.verdict


def _named(study: Study, studies: Sequence[Study]) -> str:
    is_alone = sum(other.name == study.name for other in studies) == 1
    return study.name if is_alone else f"{study.name} ({study.fold_name})"
