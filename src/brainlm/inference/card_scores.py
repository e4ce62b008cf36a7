"""evaluation.json inside a model card: a table of all methods for each kind of mask, and who is ahead by how much.

A baseline that wins stands there as winning. The rest of the card is in ``card.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal

from huggingface_hub import EvalResult

MASKS = {"random": "Random patches hidden", "future": "Last patches hidden", "parcel": "Whole parcels hidden"}
SPLITS = {"test": "held-out ", "validation": "validation ", "train": "training "}
Verdict = Literal["ahead", "behind", "no clear difference", "not compared"]


def score_lines(evaluation: Mapping[str, Any]) -> list[str]:
    """The section on how well hidden signal is filled in, as lines of Markdown."""
    conditions: Sequence[Mapping[str, Any]] = evaluation["conditions"]
    percent = f"{100 * float(evaluation.get('settings', {}).get('confidence', 0.95)):g} %"
    lines = [
        f"R² of hidden values on {_judged_on(evaluation['store'])}, with {percent} intervals over subjects; 1 is "
        "perfect, 0 is as good as the mean, and nothing is clipped. All methods saw the same windows and masks. The "
        "best of each column is bold.",
        "",
    ]
    if evaluation["store"].get("split") != "test":
        lines += ["**These are not held-out test subjects, so this is a look and no evaluation.**", ""]
    for mask in dict.fromkeys(condition["mask"] for condition in conditions):
        chosen = [condition for condition in conditions if condition["mask"] == mask]
        lines += [f"{MASKS.get(mask, mask)}:", "", *_methods_table(chosen), ""]
    lines += ["The model against the best baseline of each condition:", "", *_lead_table(conditions), ""]
    lines += [f"{_tally(conditions)} Many conditions are compared, without correction.", ""]
    lines += [f"- {note}" for note in evaluation.get("notes", ())]
    return lines


def eval_results(evaluation: Mapping[str, Any]) -> list[EvalResult]:
    """The model's own R² in each condition, for the Hub's listing; what it must be compared with is in the card."""
    return [
        EvalResult(
            task_type="masked-signal-reconstruction",
            task_name="Filling in hidden fMRI signal",
            dataset_type="parcellated-fmri",
            dataset_name=_name_of(evaluation["store"]),
            dataset_split=evaluation["store"].get("split"),
            metric_type="r2",
            metric_name=f"R² ({condition['label']})",
            metric_value=round(method["r2"], 4),
        )
        for condition in evaluation["conditions"]
        for method in condition["methods"]
        if method["is_model"] and method["r2"] is not None
    ]


def _judged_on(store: Mapping[str, Any]) -> str:
    kind = SPLITS.get(str(store.get("split")), f"{store.get('split', '')} ".lstrip())
    counted = f"{store.get('num_subjects')} {kind}subjects ({store.get('num_recordings')} recordings)"
    return f"{counted} of the store {_name_of(store)}"


def _name_of(store: Mapping[str, Any]) -> str:
    return PurePath(str(store.get("path", "unnamed"))).stem


def _methods_table(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    labels = [str(condition["label"]).removeprefix(f"{condition['mask']} ") for condition in conditions]
    lines = [_row("method", *labels), _row("---", *["---"] * len(labels))]
    best = [max((m["r2"] for m in c["methods"] if m["r2"] is not None), default=None) for c in conditions]
    for name in dict.fromkeys(method["name"] for condition in conditions for method in condition["methods"]):
        cells = []
        for condition, top in zip(conditions, best, strict=True):
            method = next((m for m in condition["methods"] if m["name"] == name), None)
            cells.append("" if method is None else _score(method["r2"], method["r2_low"], method["r2_high"], best=top))
        is_model = any(m["is_model"] for c in conditions for m in c["methods"] if m["name"] == name)
        lines.append(_row(f"{name} (this model)" if is_model else name, *cells))
    return lines


def _lead_table(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [_row("hidden", "best baseline", "model minus baseline", "the model is"), _row(*["---"] * 4)]
    for condition in conditions:
        lead = condition.get("difference")
        text = "" if lead is None else _score(lead["r2"], lead["low"], lead["high"], sign=True)
        lines.append(_row(condition["label"], condition.get("best_baseline") or "", text, _verdict(lead)))
    return lines


def _verdict(lead: Mapping[str, Any] | None) -> Verdict:
    """Ahead or behind only where the interval of the paired difference excludes 0."""
    if lead is None or lead["low"] is None or lead["high"] is None:
        return "not compared"
    return "ahead" if lead["low"] > 0 else "behind" if lead["high"] < 0 else "no clear difference"


def _tally(conditions: Sequence[Mapping[str, Any]]) -> str:
    verdicts = [_verdict(condition.get("difference")) for condition in conditions]
    ahead, behind, level = (verdicts.count(name) for name in ("ahead", "behind", "no clear difference"))
    return (
        f"Of {len(verdicts)} conditions, the model is ahead of the best baseline in {ahead} and behind it in {behind}; "
        f"in {level} there is no clear difference."
    )


def _score(
    value: float | None, low: float | None, high: float | None, *, best: float | None = None, sign: bool = False
) -> str:
    if value is None:
        return ""
    text = f"**{_number(value, sign=sign)}**" if value == best else _number(value, sign=sign)
    return text if low is None or high is None else f"{text} [{_number(low, sign=sign)}, {_number(high, sign=sign)}]"


def _number(value: float, *, sign: bool) -> str:
    if not math.isfinite(value):
        return "n/a"
    text = f"{value:+.4f}" if sign else f"{value:.3f}"  # differences are small
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "−")


def _row(*cells: object) -> str:
    """A row of a Markdown table; what is written by others must not end its cells."""
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
