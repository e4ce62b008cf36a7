"""What the statistics of a forecast allow to say, in plain sentences made from the numbers alone.

What is called a win or a loss is decided by ``Interval.verdict``. The numbers are made in
``judging.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brainlm.evaluation.statistics import Interval


def conclude(results: Mapping[str, Any]) -> str:
    """The conclusion of ``results``; of each cohort first who wins, then how far anybody sees."""
    several = len(results["cohorts"]) > 1
    sentences = []
    for cohort in results["cohorts"]:
        start = f"On {cohort['name']} ({cohort['num_subjects']} people): " if several else ""
        parts = [part(cohort) for part in (_lead, _reach, _ceiling, _comparisons)]
        sentences.append(start + " ".join(part for part in parts if part))
    limited = [band["cohort"] for band in results["bands"] if band["is_limited"]]
    if limited:
        where = f" of {' and '.join(limited)}" if several else ""
        sentences.append(
            f"The recordings{where} look low-pass filtered, which makes any forecast look better than it is."
        )
    return " ".join(sentences)


def _lead(cohort: Mapping[str, Any]) -> str:
    main, best, lead = cohort["main"], cohort["best_baseline"], cohort["difference"]
    if best is None or lead is None or lead["value"] is None:
        return f"{main} was compared with no baseline."
    scores = {method["name"]: method["scores"]["r2"]["value"] for method in cohort["methods"]}
    numbers = (
        f"R² {_number(scores[main])} against {_number(scores[best])}, {_signed(lead)}, "
        f"paired p {_p(cohort['p_paired'])}"
    )
    if lead["low"] is None:
        return f"{main} and the best baseline ({best}) cannot be told apart with one person: {numbers}."
    verdict = Interval.read(lead).verdict
    if verdict in ("better", "worse"):
        return f"{main} forecasts {verdict} than the best baseline ({best}): {numbers}."
    return f"No evidence that {main} forecasts better than the best baseline ({best}): {numbers}."


def _reach(cohort: Mapping[str, Any]) -> str:
    """Until which step anybody is above 0 with the whole interval."""
    main = next(method for method in cohort["methods"] if method["name"] == cohort["main"])
    first = main["by_step"]["r2"][0]
    if first["value"] is None:
        return ""
    reach = _last_above(main)
    steps = f"at the first step its R² is {_number(first['value'])}{_bounds(first)}"
    if reach == 0:
        return f"{_capital(steps)}, and at no step is it shown to be above 0."
    others = max(_last_above(method) for method in cohort["methods"])
    whole = len(main["by_step"]["r2"])
    until = f"at all {whole} steps" if reach == whole else f"up to step {reach} of {whole}"
    best = f"; the method that sees furthest is so up to step {others}" if others > reach else ""
    return f"{_capital(steps)}; it is above 0 {until}{best}."


def _last_above(method: Mapping[str, Any]) -> int:
    """How many steps from the first on have the whole interval above 0."""
    count = 0
    for interval in method["by_step"]["r2"]:
        lowest = interval["value"] if interval["low"] is None else interval["low"]
        if lowest is None or lowest <= 0:
            break
        count += 1
    return count


def _ceiling(cohort: Mapping[str, Any]) -> str:
    ceiling = cohort["ceiling"]
    if ceiling["r2"] is None:
        return ""
    return (
        f"A linear model of each parcel's own past could reach about {_number(ceiling['r2'])} over all steps and "
        f"{_number(ceiling['r2_by_step'][0])} at the first."
    )


def _comparisons(cohort: Mapping[str, Any]) -> str:
    sentences = []
    for entry in cohort["comparisons"]:
        lead = entry["difference"]
        if lead["low"] is None or entry["other"] == cohort["best_baseline"]:
            continue
        verdict = Interval.read(lead).verdict
        does = f"does {verdict} than" if verdict in ("better", "worse") else "is not shown to differ from"
        sentences.append(f"{entry['name']} {does} {entry['other']} ({_signed(lead)}).")
    return " ".join(sentences)


def _signed(lead: Mapping[str, float]) -> str:
    return f"difference {lead['value']:+.4f}" + (
        f" [{lead['low']:+.4f}, {lead['high']:+.4f}]" if lead["low"] is not None else ""
    )


def _bounds(interval: Mapping[str, float | None]) -> str:
    if interval["low"] is None or interval["high"] is None:
        return ""
    return f" [{interval['low']:.3f}, {interval['high']:.3f}]"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _p(p: float | None) -> str:
    return "undefined" if p is None else f"{p:.2g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
