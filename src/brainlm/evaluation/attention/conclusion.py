"""What a study of attention allows to say, in plain sentences made from its numbers alone.

An effect is called one only where q is at most .05 or an interval excludes 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brainlm.evaluation.statistics import SIGNIFICANT, Interval

FLAT = 0.1  # a map within a tenth of equal attention
ALIKE = 0.5  # rank correlation of two maps from which on one may be the other


def conclude(results: Mapping[str, Any]) -> str:
    """The conclusion of a study's results; with a contrast, that comes first."""
    parts = (
        _contrast,
        _confounds,
        _spread,
        _embedding,
        _reconstruction,
        _insertion,
        _silent,
        _amplitude,
        _attribution,
        _consistency,
    )
    return " ".join(sentence for part in parts if (sentence := part(results)))


def _contrast(results: Mapping[str, Any]) -> str:
    contrast = results["contrast"]
    if contrast is None:
        return ""
    first, second = contrast["levels"]
    num_parcels = len(contrast["t"])
    who = (
        f"{contrast['num_subjects'][0]} subjects with themselves"
        if contrast["kind"] == "paired"
        else f"{contrast['num_subjects'][0]} and {contrast['num_subjects'][1]} subjects"
    )
    within = f" within {contrast['within']}" if contrast["within"] else ""
    what = f"between {first} and {second} of {contrast['column']} ({who}{within})"
    found = contrast["num_significant"]
    if not found:
        smallest = contrast["smallest_q"]
        least = "" if smallest is None else f"; the smallest q is {smallest:.2g}"
        return f"Attention is not shown to differ {what}: no parcel at a false discovery rate of 5 %{least}."
    more = sum(
        1 for t, q in zip(contrast["t"], contrast["q"], strict=True) if q is not None and q <= SIGNIFICANT and t > 0
    )
    tested = contrast.get("num_tested", num_parcels)
    patches = f" ({contrast['num_found']} of {tested} patches, each one finding)" if tested < num_parcels else ""
    sentence = (
        f"Attention differs {what}: in {found} of {num_parcels} parcels{patches} at a false discovery rate of 5 %, "
        f"{more} with more in {first} and {found - more} with more in {second}; "
        f"{contrast['num_significant_fwe']} also with the family-wise p of the largest t."
    )
    r = contrast["amplitude_r"]
    if r is not None and abs(r) >= ALIKE:
        sentence += (
            f" The signal's amplitude differs {'alike' if r > 0 else 'the other way round'} (r of the two maps of t"
        )
        sentence += f" {r:.2f}): it may be about amplitude."
    return sentence


def _confounds(results: Mapping[str, Any]) -> str:
    found = [one for one in (results["contrast"] or {}).get("confounds", ()) if one["p"] <= SIGNIFICANT]
    if not found:
        return ""
    columns = ", ".join(one["column"] for one in found)
    about = ": what is found may be about that" if results["contrast"]["num_significant"] else ""
    return f"The two also differ in {columns}{about}."


def _spread(results: Mapping[str, Any]) -> str:
    middle = results["sanity"]["middle_90_percent"]
    low, high = middle["low"], middle["high"]
    if low is None or high is None:
        return ""
    start = "The map is almost flat: nine" if max(1 - low, high - 1) < FLAT else "Nine"
    return f"{start} parcels in ten get between {low:.2f} and {high:.2f} times what equal attention would give them."


def _embedding(results: Mapping[str, Any]) -> str:
    effect = "changes the model's summary of a window"
    return _hidden((results["sanity"]["deletion"] or {}).get("embedding"), effect, "difference of distances")


def _reconstruction(results: Mapping[str, Any]) -> str:
    effect = "costs the reconstruction of others"
    return _hidden((results["sanity"]["deletion"] or {}).get("reconstruction"), effect, "difference of losses of R2")


def _hidden(found: Mapping[str, Any] | None, effect: str, what: str) -> str:
    """Attention marks what is used only if the most attended matter more than random and than the least attended."""
    if not found or found["most_minus_random"]["value"] is None:
        return ""
    random, least = found["most_minus_random"], found["most_minus_least"]
    start, numbers = f"Hiding the most attended parcels {effect}", f"{what} {_with_bounds(random)}"
    if _below(random):
        return f"{start} less than hiding random ones ({numbers}): attention does not mark what is used."
    if not _above(random):
        return f"{start}, but not shown to do so more than hiding random ones ({numbers})."
    if _above(least):
        return f"{start} more than hiding random ones ({numbers}) or the least attended ones ({_with_bounds(least)})."
    least_does = "does so more still" if _below(least) else "is not shown to do so less"
    return (
        f"{start} more than hiding random ones ({numbers}), but hiding the least attended ones {least_does} (most less "
        f"least {_with_bounds(least)}): being attended is not what makes the difference."
    )


def _insertion(results: Mapping[str, Any]) -> str:
    gap = ((results["sanity"]["deletion"] or {}).get("insertion") or {}).get("most_minus_random")
    return _verdict(
        gap,
        above="Shown alone, the most attended parcels restore that summary worse than random ones",
        below="Shown alone, the most attended parcels restore that summary better than random ones",
        level="Shown alone, the most attended parcels are not shown to restore that summary better than random ones",
        what="difference of distances",
    )


def _silent(results: Mapping[str, Any]) -> str:
    r = results["sanity"]["silent_r"]
    if r["value"] is None:
        return ""
    start = f"The map of a window without any signal has a rank correlation of {_with_bounds(r)} with this one"
    if r["value"] >= ALIKE:
        return f"{start}: much of it is where the model looks whatever it is shown."
    return f"{start}."


def _amplitude(results: Mapping[str, Any]) -> str:
    return _verdict(
        results["sanity"]["amplitude_r"],
        above="Over parcels, attention goes with the signal's amplitude",
        below="Over parcels, attention goes against the signal's amplitude",
        level="Over parcels, attention is not shown to go with the signal's amplitude",
        what="rank correlation",
    )


def _attribution(results: Mapping[str, Any]) -> str:
    return _verdict(
        results["sanity"]["attribution_r"],
        above="Gradients point to the same parcels as attention",
        below="Gradients point to other parcels than attention",
        level="Gradients are not shown to point to the same parcels as attention",
        what="rank correlation",
    )


def _consistency(results: Mapping[str, Any]) -> str:
    r = results["sanity"]["consistency"]
    if r["value"] is None:
        return ""
    return f"The map of one subject and the mean of the others have a rank correlation of {_with_bounds(r)}."


def _verdict(interval: Mapping[str, Any] | None, *, above: str, below: str, level: str, what: str) -> str:
    if interval is None or interval["value"] is None:
        return ""
    words = above if _above(interval) else below if _below(interval) else level
    return f"{words} ({what} {_with_bounds(interval)})."


def _above(interval: Mapping[str, Any]) -> bool:
    return Interval.read(interval).verdict == "better"


def _below(interval: Mapping[str, Any]) -> bool:
    return Interval.read(interval).verdict == "worse"


def _with_bounds(interval: Mapping[str, Any]) -> str:
    if interval["low"] is None:
        return _number(interval["value"])
    return f"{_number(interval['value'])} [{_number(interval['low'])}, {_number(interval['high'])}]"


def _number(value: float) -> str:
    """Two decimals, more where a small number would be 0."""
    digits = 2
    while value != 0 and abs(value) < 0.5 * 10**-digits and digits < 6:
        digits += 1
    return f"{value + 0.0:.{digits}f}"
