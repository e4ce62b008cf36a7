"""What was run, as a folded table: the facts that results carry with them, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from brainlm.report.blocks import Cell, Section, Sentence, Table
from brainlm.report.run_folder import RunFolder
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


def with_store(section: Section, run: RunFolder, facts: Mapping[str, object]) -> Section:
    """The section, with the name of the store that its results are of below its first block, if not the run's own.

    A page shows whatever lies in its folder; two of its studies need not be about the same people.
    """
    used = facts.get("store")
    about: Mapping[str, object] = used if isinstance(used, Mapping) else {"name": used}
    name = str(about.get("name") or PurePath(str(about.get("path") or "")).name)
    record = run.provenance or {}
    own = [part for part in (record.get("data"), record.get("finetuned")) if isinstance(part, Mapping)]
    names = [str(part["store"]) for part in own if part.get("store")]
    is_own = name in names or any(
        about.get("fingerprint") == part["fingerprint"] for part in own if "fingerprint" in part
    )
    if not name or not names or is_own:
        return section
    text = f"These results are of the store {name}, not of {joined(names)}, which the model was trained on."
    first, *others = section.blocks
    return replace(section, blocks=(first, Sentence(text, warning=True), *others))


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
