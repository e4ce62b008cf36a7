"""The sections of scores beside the baselines: reconstruction by mask, with its tables, and forecasting."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from brainlm.evaluation.statistics import Interval
from brainlm.report import score_figures
from brainlm.report.blocks import Block, Cell, Picture, Section, Sentence, Table
from brainlm.report.evaluation_file import Condition, Evaluation, MethodScore
from brainlm.report.facts import with_store
from brainlm.report.run_folder import RunFolder
from brainlm.report.sentences import VERDICT_MARKS, bounds, counted, number
from brainlm.report.style import VERDICT_COLOURS, Mark, method_marks


def masks(run: RunFolder, marks: Mapping[str, Mark]) -> Section:
    """R2 by mask, beside the baselines, as chart and table."""
    title = "Reconstruction, beside the baselines"
    evaluation = run.evaluation
    if evaluation is None or not evaluation.conditions:
        return Section("masks", title, (Sentence(run.missing("evaluation"), missing=True),))
    caption = (
        f"R² over all hidden values by kind and amount of masking. Bars: {evaluation.confidence_percent} interval, "
        f"bootstrap over {sample(evaluation)}. All methods see the same windows and the same masks. An arrow at the "
        "lower edge is a method below the axis: its value is in the table."
    )
    num_short = int(evaluation.store.get("num_too_short", 0))
    caption += f" {counted(num_short, 'recording')} shorter than a window not evaluated." if num_short else ""
    section = Section(
        "masks",
        title,
        (
            Picture(score_figures.mask_panels(evaluation, marks), caption, key=tuple(marks.values())),
            *_differences(evaluation),
            _r2_table(evaluation),
            _other_table(evaluation, "mae", "Mean absolute error, in scaled units (lower is better)"),
            _other_table(evaluation, "r", "Correlation of predicted and true hidden values"),
        ),
    )
    return with_store(section, run, {"store": evaluation.store})


def _differences(evaluation: Evaluation) -> tuple[Block, ...]:
    panels = score_figures.difference_panels(evaluation)
    caption = (
        "R² of the model minus that of the best baseline of each condition, paired over subjects, with its "
        f"{evaluation.confidence_percent} interval. A difference is coloured only where the interval excludes 0 and "
        "p ≤ .05 (signs of subjects flipped)."
    )
    verdicts = {condition.verdict for condition in evaluation.conditions}
    names = {"better": "model better", "worse": "model worse", "level": "no clear difference"}
    key = tuple(Mark(name, VERDICT_COLOURS[verdict], "o") for verdict, name in names.items() if verdict in verdicts)
    return (Picture(panels, caption, key=key),) if panels else ()


def sample(evaluation: Evaluation) -> str:
    """Whom the scores are about: ``7 subjects (21 recordings, 63 windows)``."""
    store = evaluation.store
    counts = [
        (int(store[f"num_{noun}s"]), noun) for noun in ("subject", "recording", "window") if f"num_{noun}s" in store
    ]
    if not counts:
        return "subjects"
    first, *others = (counted(count, noun) for count, noun in counts)
    return f"{first} ({', '.join(others)})" if others else first


def _r2_table(evaluation: Evaluation) -> Table:
    names = [evaluation.method_names[0], *_strongest_first(evaluation)]
    rows = []
    for condition in evaluation.conditions:
        present = {method.name: method for method in condition.methods}
        model, *others = [_score_cell(condition, present.get(name), "r2") for name in names]
        # The comparison stands beside the model, where no scrolling is needed to see a loss.
        rows.append((_label_cell(evaluation, condition), model, _difference_cell(condition), *others))
    caption = (
        f"R² with its {evaluation.confidence_percent} interval, never clipped; the best baseline of each row is "
        "underlined. Third column: model minus that baseline, paired over subjects; “better” or “worse” only where its "
        "interval excludes 0 and p ≤ .05 (signs of subjects flipped)."
    )
    return Table(("Hidden", names[0], "Model − best baseline", *names[1:]), tuple(rows), caption)


def _strongest_first(evaluation: Evaluation) -> list[str]:
    """The baselines by their mean R² over the conditions they have a score in: the ones to beat need no scrolling."""
    scores: dict[str, list[float]] = {name: [] for name in evaluation.method_names[1:]}
    for condition in evaluation.conditions:
        for method in condition.methods:
            if method.name in scores and math.isfinite(method.r2.value):
                scores[method.name].append(method.r2.value)
    return sorted(scores, key=lambda name: -sum(scores[name]) / max(len(scores[name]), 1))


def _label_cell(evaluation: Evaluation, condition: Condition) -> Cell:
    first = next(other for other in evaluation.conditions if other.mask == condition.mask)
    return Cell(condition.label, look="label first" if condition is first else "label")


def _score_cell(condition: Condition, method: MethodScore | None, measure: str) -> Cell:
    if method is None:
        return Cell("–", look="number")
    score: Interval = getattr(method, measure)
    looks = ["number", "model" if method.is_model else "", "best" if method.name == condition.best_baseline else ""]
    return Cell(number(score.value), bounds(score), " ".join(look for look in looks if look))


def _difference_cell(condition: Condition) -> Cell:
    verdict = condition.verdict
    if condition.difference is None:
        return Cell(VERDICT_MARKS[verdict], look="number verdict")
    mark = "no interval" if verdict == "unknown" else VERDICT_MARKS[verdict]
    text = f"{number(condition.difference.value, sign=True)} {mark}"
    return Cell(text, bounds(condition.difference, sign=True), f"number verdict {verdict}")


def _other_table(evaluation: Evaluation, measure: str, title: str) -> Table:
    names = evaluation.method_names
    rows = []
    for condition in evaluation.conditions:
        present = {method.name: method for method in condition.methods}
        cells = (_score_cell(condition, present.get(name), measure) for name in names)
        rows.append((_label_cell(evaluation, condition), *cells))
    return Table(
        ("Hidden", *names), tuple(rows), f"{title}, with its {evaluation.confidence_percent} interval.", folded=True
    )


def forecasting(run: RunFolder, marks: Mapping[str, Mark]) -> Section:
    """R2 by how far ahead."""
    title = "Forecasting"
    if run.evaluation is None:
        return Section("forecasting", title, (Sentence(run.missing("evaluation"), missing=True),))
    trs = known_trs(run)
    panels = score_figures.forecast_panels(run.evaluation, marks, trs[0] if len(trs) == 1 else None)
    if not panels:
        text = "The evaluation holds no R² by step: `brainlm evaluate RUN STORE` with future masks writes it."
        return Section("forecasting", title, (Sentence(text, missing=True),))
    tr_text = (
        f"TR {trs[0]:g} s" if len(trs) == 1 else "TR not known" if not trs else "recordings of several TRs, so in steps"
    )
    caption = (
        f"R² of the hidden last patches by how far ahead ({tr_text}), pooled over all windows and parcels of "
        f"{sample(run.evaluation)}; no intervals at this level, and neighbouring steps are not independent. 1 − R² is "
        "the share of variance missed."
    )
    shown = {name: mark for name, mark in marks.items() if _has_steps(run.evaluation, name)}
    return Section("forecasting", title, (Picture(panels, caption, key=tuple(shown.values())),))


def _has_steps(evaluation: Evaluation, name: str) -> bool:
    methods = (method for condition in evaluation.conditions for method in condition.methods)
    return any(method.name == name and method.r2_by_step is not None for method in methods)


def known_trs(run: RunFolder) -> list[float]:
    """The repetition times found in the run, in seconds, shortest first."""
    found = np.zeros(0)
    if run.embeddings is not None and "tr" in run.embeddings.metadata:
        metadata = run.embeddings.metadata
        # Only the recordings that were evaluated count: other splits may come from other scanners.
        split = run.evaluation.store.get("split") if run.evaluation is not None else None
        chosen = metadata["split"] == split if "split" in metadata and split else pd.Series(True, index=metadata.index)
        found = metadata.loc[chosen, "tr"].to_numpy(np.float64)
    if not np.isfinite(found).any() and run.examples is not None:
        found = run.examples.tr_s
    return sorted({round(float(tr), 4) for tr in found if np.isfinite(tr)})


def marks_of(run: RunFolder) -> dict[str, Mark]:
    """The marks of all methods of the evaluation, the same in every figure; empty without an evaluation."""
    if run.evaluation is None:
        return {}
    methods = (method for condition in run.evaluation.conditions for method in condition.methods)
    model = next((method.name for method in methods if method.is_model), None)
    return method_marks(run.evaluation.method_names, model)
