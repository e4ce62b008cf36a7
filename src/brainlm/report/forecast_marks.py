"""How the methods of a forecast look: colour by kind, shape by method, and the families that share a panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from brainlm.report.forecast_study import GROUPS, PRETRAINED, ForecastCohort
from brainlm.report.style import MODEL, Mark

# The model's own are warm, what it is measured against is cool or grey. Within a kind the shape carries the identity.
LOOKS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "model": ((MODEL, "o"), ("#e58a5f", "D")),
    "finetuned": (("#e0902b", "P"), ("#b9772a", "X")),
    "scratch": (("#7d6a4c", "<"), ("#a08a68", ">")),
    "linear": (("#1d5c99", "s"), ("#5aa5da", "D"), ("#0f2f55", "h"), ("#8fb8ff", "P")),
    "neural": (("#3d8f8a", "d"), ("#7b6bb0", "X"), ("#882255", ">"), ("#aa4499", "s")),
    "simple": (("#6d7681", "v"), ("#9aa3ad", "^"), ("#b9a88f", "<"), ("#4c535b", ">")),
}
# title: groups. Ten curves in one panel cannot be told apart, four can.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "The Transformer": (*PRETRAINED, "scratch"),
    "Linear models and simple rules": ("linear", "simple"),
    "Other neural networks": ("neural",),
}


def forecast_marks(groups: Mapping[str, str]) -> dict[str, Mark]:
    """The mark of every method, from its group: by name, so that it is the same whatever the method reached."""
    num_of_group: Counter[str] = Counter()
    marks = {}
    for name, group in sorted(groups.items(), key=lambda entry: (list(GROUPS).index(entry[1]), entry[0].casefold())):
        looks = LOOKS[group]
        marks[name] = Mark(name, *looks[num_of_group[group] % len(looks)])
        num_of_group[group] += 1
    return marks


def families(cohort: ForecastCohort) -> dict[str, tuple[str, ...]]:
    """The names of the methods of each family, without families that have none."""
    found = {
        title: tuple(method.name for method in cohort.methods if method.group in groups)
        for title, groups in FAMILIES.items()
    }
    return {title: names for title, names in found.items() if names}
