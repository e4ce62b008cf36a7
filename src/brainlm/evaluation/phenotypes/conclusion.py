"""What the statistics allow to say, in plain sentences made from the numbers alone.

What is called a win or a loss is decided by ``Interval.verdict``; what is not shown is not
said. The numbers are made in ``judging.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from brainlm.evaluation.statistics import SIGNIFICANT, Interval, benjamini_hochberg

METRIC_NAMES = {"auroc": "AUROC", "r2": "R²"}


def conclude(results: Mapping[str, Any]) -> str:
    """The conclusion of one target's results; the first sentence is the answer to what most users ask."""
    parts = (_opponent, _best_baseline, _chance, _finetuned, _fusion, _random_init, _site, _seen)
    return " ".join(sentence for part in parts if (sentence := part(results)))


def adjust(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of the results of several targets, their permutation p adjusted for one another and concluded anew.

    False discovery rate by Benjamini and Hochberg over the targets that have a p.
    """
    adjusted = [copy.deepcopy(dict(result)) for result in results]
    tests = [result["permutation"] for result in adjusted if (result["permutation"] or {}).get("p") is not None]
    for test, p in zip(tests, benjamini_hochberg([test["p"] for test in tests]) if tests else [], strict=True):
        test |= {"p_adjusted": p, "num_targets": len(tests)}
    return [result | {"conclusion": conclude(result)} for result in adjusted]


def _opponent(results: Mapping[str, Any]) -> str:
    difference, opponent = results["difference"], results["difference_to"]
    main, target = results["main"], results["target"]["name"]
    if difference is None:
        return f"{main} was compared with no baseline."
    whom = (
        f"functional connectivity ({opponent})" if results["best_connectivity"] else f"the best baseline ({opponent})"
    )
    numbers = _difference(results, difference)
    return _verdict(
        difference,
        won=f"{main} predicts {target} better than {whom}: {numbers}.",
        lost=f"{main} predicts {target} worse than {whom}: {numbers}.",
        level=f"No evidence that {main} predicts {target} better than {whom}: {numbers}.",
    )


def _best_baseline(results: Mapping[str, Any]) -> str:
    """Connectivity may not be the strongest: site or motion alone may do better."""
    best, difference = results["best_baseline"], results["baseline_difference"]
    if difference is None or best == results["difference_to"]:
        return ""
    verdict = _verdict(difference, won="better", lost="worse", level="not shown to be better")
    return f"Against the best baseline of all, {best}, it is {verdict}: {_difference(results, difference)}."


def _chance(results: Mapping[str, Any]) -> str:
    name, main = results["main_metric"], results["main"]
    score = _scores(results, main)[name]
    if score["value"] is None:
        return f"The {METRIC_NAMES[name]} of {main} is undefined."
    chance = results["chance"][name]
    numbers = f"{METRIC_NAMES[name]} {_number(score['value'])}{_bounds(results, score)}, where chance is {chance:g}"
    evidence = [] if score["low"] is None else [score["low"] > chance]
    test = results["permutation"]
    if test is not None and test["p"] is not None:
        adjusted = test["p_adjusted"] is not None and test["num_targets"] > 1
        evidence.append((test["p_adjusted"] if adjusted else test["p"]) <= SIGNIFICANT)
        numbers += f"; permutation p = {_p(test['p'])}"
        numbers += f", {_p(test['p_adjusted'])} adjusted for {test['num_targets']} targets" if adjusted else ""
    if evidence and all(evidence):
        return f"{main} itself is above chance ({numbers})."
    if any(evidence):
        return f"Whether {main} itself is above chance is open: interval and permutation test disagree ({numbers})."
    return f"{main} itself is not shown to be above chance ({numbers})."


def _finetuned(results: Mapping[str, Any]) -> str:
    sentences = []
    for row in results["finetuned"]:
        name, opponent, difference = row["name"], results["difference_to"], row["difference"]
        if difference is None:
            continue
        numbers = _difference(results, difference)
        does = _verdict(difference, won="does better", lost="does worse", level="is not shown to do better")
        sentences.append(f"{name} {does} than {opponent}: {numbers}.")
    return " ".join(sentences)


def _fusion(results: Mapping[str, Any]) -> str:
    difference, fusion = results["fusion_difference"], results["fusion"]
    if difference is None:
        return ""
    start, numbers = f"Stacked with connectivity ({fusion}), the model", _difference(results, difference)
    alone = f"connectivity alone ({results['fusion_over']})"
    does = _verdict(
        difference, won=f"adds to {alone}", lost=f"makes {alone} worse", level=f"is not shown to add to {alone}"
    )
    return f"{start} {does}: {numbers}."


def _random_init(results: Mapping[str, Any]) -> str:
    difference, name = results["random_init_difference"], results["untrained"]
    if difference is None:
        return ""
    if (results.get("facts") or {}).get("model", {}).get("learned_nothing"):
        return "Nothing can be said of pretraining: in its own task the model is no better than the mean (R² near 0)."
    numbers = _difference(results, difference)
    return _verdict(
        difference,
        won=f"Pretraining counts: an encoder with random weights ({name}) does worse ({numbers}).",
        lost=f"An encoder with random weights ({name}) does even better ({numbers}).",
        level=f"Pretraining is not shown to count: an encoder with random weights ({name}) does about as well "
        f"({numbers}).",
    )


def _site(results: Mapping[str, Any]) -> str:
    site = results["site_prediction"]
    if site is None or site["balanced_accuracy"]["value"] is None:
        return ""
    reached = site["balanced_accuracy"]["value"]
    start = (
        f"Which of {site['num_sites']} sites a person was scanned at is read with balanced accuracy {_number(reached)} "
        f"(chance {_number(site['chance'])})"
    )
    target = _scores(results, results["main"]).get("balanced_accuracy")
    if target is None or target["value"] is None:
        return f"{start}."
    # Two tasks with different numbers of classes are compared by how much of the way from chance to perfect they go.
    chance = results["chance"]["balanced_accuracy"]
    of_site, of_target = (
        (value - low) / (1.0 - low) for value, low in ((reached, site["chance"]), (target["value"], chance))
    )
    order = "better than" if of_site > of_target else "no better than"
    shares = f"{100 * of_site:.0f} % against {100 * of_target:.0f} % of the way from chance to perfect"
    return f"{start}: {order} {results['target']['name']}, {shares}."


def _seen(results: Mapping[str, Any]) -> str:
    seen = next(method["seen"] for method in results["methods"] if method["name"] == results["main"])
    return "People in the test folds were seen in pretraining: this is no test on unseen people." if seen else ""


def _scores(results: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(method["scores"] for method in results["methods"] if method["name"] == name)


def _verdict(difference: Mapping[str, Any], *, won: str, lost: str, level: str) -> str:
    """The words for a difference: see ``Interval.verdict``."""
    return {"better": won, "worse": lost}.get(Interval.read(difference).verdict, level)


def _difference(results: Mapping[str, Any], difference: Mapping[str, Any]) -> str:
    if difference["value"] is None:
        return "the difference is undefined"
    name = METRIC_NAMES[results["main_metric"]]
    return f"difference in {name} {_number(difference['value'], sign=True)}{_bounds(results, difference)}"


def _bounds(results: Mapping[str, Any], interval: Mapping[str, Any]) -> str:
    if interval["low"] is None or interval["high"] is None:
        return ", no interval"
    percent = 100 * results["settings"]["confidence"]
    return f", {percent:g} % CI [{_number(interval['low'])}, {_number(interval['high'])}]"


def _number(value: float, *, sign: bool = False) -> str:
    """Three decimals; more where an interval that excludes 0 would otherwise seem to touch it."""
    digits = 3
    while value != 0 and abs(value) < 0.5 * 10**-digits and digits < 6:
        digits += 1
    rounded = round(value, digits) + 0.0  # no minus zero
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}"


def _p(value: float) -> str:
    return f"{value:.2g}"
