"""The words of the page: numbers as text, the verdict in plain language, and what each method is.

A loss is called a loss. Whether a difference is called one is decided by ``Interval.verdict``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from brainlm.evaluation.statistics import Interval, Verdict
from brainlm.report.embedding import Share
from brainlm.report.evaluation_file import Condition, Evaluation

VERDICT_MARKS: dict[Verdict, str] = {
    "better": "▲ better",
    "worse": "▼ worse",
    "level": "○ no clear difference",
    "unknown": "not compared",
}
MASK_TITLES = {"random": "Random patches hidden", "future": "Last patches hidden", "parcel": "Whole parcels hidden"}
# split: (adjective, remark)
SPLITS = {
    "test": ("held-out ", ""),
    "validation": ("validation ", ", on which the checkpoint was chosen"),
    "train": ("training ", ", which are not held out"),
}
# A name belongs to the first entry whose word it contains.
METHOD_NOTES: tuple[tuple[str, str], ...] = (
    ("zero", "predicts 0 everywhere, the centre of the scaled signal: what knowing nothing gives"),
    ("interpolation", "draws a straight line in time between the nearest visible points of the same parcel"),
    ("last value", "repeats the last visible value of the same parcel"),
    ("ar(", "predicts each parcel from its own recent past, with coefficients fitted on training subjects"),
    ("recording and window, space-time", "as Gaussian (recording and window), and using how the signal decays in time"),
    ("recording and window", "as Gaussian (recording), learning from the visible part of the window as well"),
    ("recording, space-time", "as Gaussian (recording), and using how the signal decays in time"),
    ("recording", "as Gaussian (space), the covariance of this recording's own points outside the window blended in"),
    ("space-time", "predicts from all visible values, by how parcels covary and how the signal decays in time"),
    ("gaussian", "predicts hidden parcels from those visible at the same time, by the covariance of training subjects"),
)


def number(value: float, *, digits: int = 3, sign: bool = False) -> str:
    """``value`` with a true minus sign; a number too small for ``digits`` keeps one significant digit."""
    if not math.isfinite(value):
        return "n/a"
    tiny = 0 < abs(value) < 0.5 * 10**-digits
    text = f"{abs(value):.1g}" if tiny else f"{abs(value):.{digits}f}"
    if "e" in text:
        text = f"{abs(value):.{digits}f}"
    zero = float(text) == 0
    return ("−" if value < 0 and not zero else "+" if sign and not zero else "") + text


def bounds(interval: Interval, *, sign: bool = False) -> str:
    """``[low, high]``."""
    return f"[{number(interval.low, sign=sign)}, {number(interval.high, sign=sign)}]"


def with_bounds(interval: Interval) -> str:
    """``value [low, high]``."""
    return f"{number(interval.value)} {bounds(interval)}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 subject``, ``7 subjects``, ``1,200 subjects``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def shortened(name: str, *, max_length: int = 20) -> str:
    """The name if it is short, else its beginning."""
    return name if len(name) <= max_length else name[: max_length - 1] + "…"


def joined(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def condition_text(condition: Condition) -> str:
    """The condition inside a sentence: ``at 75 % random masking``."""
    if condition.mask == "random":
        return f"with {100 * condition.amount:g} % of the patches hidden at random"
    if condition.mask == "parcel":
        return f"with {100 * condition.amount:g} % of the parcels hidden throughout the window"
    if condition.mask == "future":
        return f"with the last {counted(int(condition.amount), 'patch', 'patches')} hidden"
    return f"in the condition “{condition.label}”"


def tested_on(evaluation: Evaluation) -> str:
    """``7 held-out subjects (21 recordings)``."""
    store = evaluation.store
    split = str(store.get("split", ""))
    adjective, remark = SPLITS.get(split, (f"“{split}” " if split else "", ""))
    if store.get("num_subjects") is None:
        return f"the {adjective}subjects{remark}"
    recordings = store.get("num_recordings")
    inside = "" if recordings is None else f" ({counted(int(recordings), 'recording')})"
    return counted(int(store["num_subjects"]), f"{adjective}subject") + inside + remark


def headline(evaluation: Evaluation) -> str:
    """What the model explains, what the best baseline explains, and whether they differ."""
    condition = evaluation.headline
    if condition is None or condition.model is None:
        return "The evaluation holds no score of the model."
    reached = condition.model.r2
    start = f"On {tested_on(evaluation)}, {condition_text(condition)}, the model "
    if reached.value > 0:
        start += f"explains {with_bounds(reached)} of the variance of the hidden signal (R²)"
    else:
        start += f"does not predict the hidden signal: R² is {with_bounds(reached)}, no better than its mean"
    if condition.baseline is None or condition.difference is None:
        return start + ". It was not compared with a baseline."
    return f"{start}. {comparison(condition)}"


def comparison(condition: Condition) -> str:
    """The sentence that says who is ahead, by how much, and whether the interval allows to say so."""
    assert condition.baseline is not None
    assert condition.difference is not None
    difference = condition.difference
    start = f"The best baseline, {condition.baseline.name}, reaches {with_bounds(condition.baseline.r2)}: "
    verdict = condition.verdict
    if verdict == "better":
        return f"{start}the model is better by {with_bounds(difference)}."
    if verdict == "worse":
        loss = Interval(-difference.value, -difference.high, -difference.low)
        return f"{start}the model is worse by {with_bounds(loss)}."
    if verdict == "level":
        includes = difference.low <= 0 <= difference.high
        why = "an interval that includes 0" if includes else f"p {difference.p:.2g} with signs of subjects flipped"
        return (
            f"{start}there is no clear difference (model minus baseline {number(difference.value, sign=True)} "
            f"{bounds(difference, sign=True)}, {why})."
        )
    return f"{start}the model differs by {number(difference.value, sign=True)}, for which there is no interval."


def tally(evaluation: Evaluation) -> str:
    """In how many conditions the model wins, loses, or neither."""
    verdicts = [condition.verdict for condition in evaluation.conditions if condition.verdict != "unknown"]
    if len(verdicts) < 2:
        return ""
    wins, losses, level = (verdicts.count(name) for name in ("better", "worse", "level"))
    if len(verdicts) in (wins, losses):
        return f"In all {len(verdicts)} conditions the model is {verdicts[0]} than the best baseline."
    if len(verdicts) == level:
        return f"In none of the {len(verdicts)} conditions do the model and the best baseline differ clearly."
    pieces = [f"better than the best baseline in {wins}"] if wins else []
    pieces += [f"worse in {losses}" if wins else f"worse than the best baseline in {losses}"] if losses else []
    pieces += [f"not clearly different from it in {level}"] if level else []
    return f"Over all {len(verdicts)} conditions the model is {joined(pieces)}."


def dominance(found: Sequence[Share], column: str | None) -> str:
    """What the embeddings vary with: the column that accounts for most, then the chosen one and the subject."""
    by_name = {share.column: share for share in found}
    chosen = by_name.get(column or "")
    other = next((by_name[name] for name in ("subject", "site") if name in by_name and name != column), None)
    if not found:
        return ""
    largest = max(found, key=lambda share: share.share - share.chance)

    def says(share: Share) -> str:
        return f"{share.column} accounts for {percent(share.share)} ({percent(share.chance)} by chance)"

    named = [says(share) for share in dict.fromkeys((largest, chosen, other)) if share]
    named[0] += f", the most of {len(found)} columns" if len(found) > 2 else ""
    return f"Of the variance of the embeddings, {'; '.join(named)}."


def percent(share: float) -> str:
    """``0.0512`` as ``5.1 %``."""
    return f"{100 * share:.{1 if share < 0.1 else 0}f} %"


def parameters(count: int) -> str:
    """``940,000`` as ``0.94 million``."""
    return f"{count / 1e6:.{2 if count < 1e7 else 0}f} million" if count >= 100_000 else f"{count:,}"


def duration(seconds: float) -> str:
    """``3725`` as ``1 h 2 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def method_note(name: str, *, is_model: bool) -> str:
    """One line on what the method does, empty for one this page does not know."""
    if is_model:
        return "the masked autoencoder of this run"
    return next((note for word, note in METHOD_NOTES if word in name.lower()), "")
