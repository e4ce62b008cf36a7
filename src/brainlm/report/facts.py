"""What was run, as a folded table: the facts that results carry with them, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brainlm.report.blocks import Cell, Table
from brainlm.report.sentences import duration, joined

# fact: title
TITLES: Mapping[str, str] = {
    "run": "Run",
    "model": "Model",
    "store": "Store",
    "test_store": "Second store",
    "preset": "Preset",
    "num_parameters": "Parameters",
    "weights_sha256": "Weights (SHA-256)",
    "pretraining": "Pretraining",
    "confounds": "Confounds",
    "harmonised": "Harmonised",
    "versions": "Versions",
    "wall_time_s": "Wall time",
}


def facts_table(facts: Mapping[str, object], caption: str) -> Table | None:
    """One row a fact that says something; None where none does."""
    rows = [
        (Cell(TITLES.get(name, name.replace("_", " ")), look="name"), Cell(told(name, value), look="why"))
        for name, value in facts.items()
        if value not in (None, "", [], {}, False)
    ]
    return Table(("What", "Value"), tuple(rows), caption, folded=True, words=True) if rows else None


def told(name: str, value: object) -> str:
    """A fact in words: durations and counts as such, lists and tables joined."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name.endswith("_s") and is_number:
        return duration(float(value))  # type: ignore[arg-type]
    if name.startswith("num_") and is_number:
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return joined([str(entry) for entry in value])
    return str(value)
