"""What the statistics allow to say, in plain sentences made from the numbers alone.

What is called a win or a loss is decided by ``Interval.verdict``. The numbers are made in
``judging.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brainlm.evaluation.statistics import SIGNIFICANT, Interval

FEWEST_DRAWS = 3  # of random weights, before pretraining is said to count


def conclude(results: Mapping[str, Any]) -> str:
    """The conclusion of one study; the first sentence is the answer to what most users ask."""
    parts = (_main, _best_model, _null, _coordinates, _pretraining, _clusters)
    return " ".join(sentence for part in parts if (sentence := part(results)))


def _main(results: Mapping[str, Any]) -> str:
    main, best, difference = results["main"], results["best_baseline"], results["difference"]
    score = _row(results, main)["scores"]["accuracy"]
    start = f"From the {main}, k-NN names the network of {_percent(score['value'])} of parcels rightly{_bounds(score)}"
    other = f"the best baseline, {best} ({_percent(_row(results, best)['scores']['accuracy']['value'])})"
    return f"{start}: {_compared(difference)} than {other}, difference {_points(difference)}."


def _best_model(results: Mapping[str, Any]) -> str:
    """The model's best row, where it is not the main one; chosen after the fact, so said as such."""
    name = results["best_model"]
    if name == results["main"]:
        return ""
    row = _row(results, name)
    return (
        f"The model's best features, seen afterwards, are its {name} ({_percent(row['scores']['accuracy']['value'])}): "
        f"{_compared(row['minus_best_baseline'])} than {results['best_baseline']}, "
        f"difference {_points(row['minus_best_baseline'])}."
    )


def _null(results: Mapping[str, Any]) -> str:
    null = _row(results, results["main"])["null"]
    if null is None or null["p_accuracy"] is None:
        return ""
    above = "above" if null["p_accuracy"] <= SIGNIFICANT else "not shown to be above"
    return (
        f"This is {above} what smoothness in space alone gives: label maps as smooth, but otherwise arbitrary, are "
        f"named rightly for {_percent(null['mean_accuracy'])} (p = {null['p_accuracy']:.2g})."
    )


def _coordinates(results: Mapping[str, Any]) -> str:
    name, difference = results["position"], results["position_difference"]
    if name is None:
        return ""
    place = _percent(_row(results, name)["scores"]["accuracy"]["value"])
    than = f"than where parcels lie ({name}, {place}), difference {_points(difference)}"
    return f"By itself it is {_compared(difference)} {than}."


def _pretraining(results: Mapping[str, Any]) -> str:
    """A verdict where every draw of random weights gives the same, and the features are above smoothness in space."""
    draws = results["pretraining_draws"]
    if not draws:
        return ""
    if (results.get("facts") or {}).get("model", {}).get("learned_nothing"):
        return "Nothing can be said of pretraining: in its own task the model is no better than the mean (R² near 0)."
    verdicts = {Interval.read(one).verdict for one in draws}
    closest = (
        max(draws, key=lambda one: one["value"]) if verdicts == {"worse"} else min(draws, key=lambda one: one["value"])
    )
    which = f"in the closest of {len(draws)} draws" if len(draws) > 1 else "in a single draw"
    numbers = f"{which} the difference is {_points(closest)}"
    p = (_row(results, results["main"])["null"] or {}).get("p_accuracy")
    if verdicts == {"worse"}:
        return f"The same features of an encoder with random weights do even better ({numbers})."
    if verdicts == {"better"} and len(draws) >= FEWEST_DRAWS and (p is None or p <= SIGNIFICANT):
        return f"Pretraining counts: the same features of an encoder with random weights do worse ({numbers})."
    if verdicts == {"better"}:
        why = (
            "so few draws of random weights say too little"
            if len(draws) < FEWEST_DRAWS
            else "the features are not shown to tell networks beyond smoothness in space"
        )
        return f"Pretraining is not shown to count: encoders with random weights do worse ({numbers}), but {why}."
    return (
        f"Pretraining is not shown to count: the same features of an encoder with random weights do about as well "
        f"({numbers})."
    )


def _clusters(results: Mapping[str, Any]) -> str:
    rows = {row["name"]: row["clustering"] for row in results["methods"] if row["clustering"] is not None}
    main = results["main"]
    if main not in rows:
        return ""
    best = max(rows, key=lambda name: rows[name]["ari"]["value"])
    start = f"Without labels, clusters of the {main} agree with the networks by an adjusted Rand index of "
    said = f"{start}{rows[main]['ari']['value']:.2f}"
    return f"{said}." if best == main else f"{said}; the highest is that of {best}, {rows[best]['ari']['value']:.2f}."


def _row(results: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = next(row for row in results["methods"] if row["name"] == name)
    return row


def _compared(difference: Mapping[str, Any]) -> str:
    verdict = Interval.read(difference).verdict
    return verdict if verdict in ("better", "worse") else "not shown to be better"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(difference: Mapping[str, Any]) -> str:
    """A difference of shares in percentage points."""
    text = f"{100 * difference['value']:+.1f} points"
    if difference["low"] is None:
        return text
    return f"{text}, 95 % CI [{100 * difference['low']:+.1f}, {100 * difference['high']:+.1f}]"


def _bounds(interval: Mapping[str, Any]) -> str:
    if interval["low"] is None:
        return ""
    return f" (95 % CI [{_percent(interval['low'])}, {_percent(interval['high'])}])"
