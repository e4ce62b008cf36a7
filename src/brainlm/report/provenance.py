"""provenance.json as rows a reader understands: a free dictionary, of which known names get a title."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brainlm.report.sentences import duration, parameters

# title: names looked for, as the end of a dotted path; the first found counts.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "Data": ("source.description", "description", "data.name", "data.store"),
    "Terms": ("source.terms", "terms", "licence", "license"),
    "Where from": ("source.url", "url"),
    "Data fingerprint": ("fingerprint", "data_fingerprint", "store_fingerprint"),
    "Split": ("data.split", "split_rule", "split"),
    "Subjects": ("data.num_subjects",),
    "Recordings": ("data.num_recordings",),
    "Seed": ("seed", "split.seed"),
    "Scaler": ("scaler.kind", "scaler"),
    "Preset": ("preset",),
    "Parameters": ("num_parameters",),
    "Wall time": ("wall_time_s", "wall_time", "seconds"),
    "Date": ("date", "finished", "started"),
    "Command": ("command",),
    "Versions": ("versions",),
    "Weights evaluated (SHA-256)": ("weights_sha256",),
}
ALWAYS_SHOWN = ("Data", "Terms", "Split", "Subjects", "Recordings", "Scaler", "Command")
EXCLUSIONS = ("exclusions", "excluded")
NUM_EXCLUSIONS = ("num_exclusions",)


@dataclass(frozen=True)
class Exclusion:
    """A recording left out, and why."""

    source: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Provenance:
    """``first`` is always shown, ``facts`` on a click, both by title; ``others`` by the name they have in the file."""

    first: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str], ...]
    exclusions: tuple[Exclusion, ...]
    num_exclusions: int


def describe(content: Mapping[str, Any], fallback: Mapping[str, Any]) -> Provenance:
    """The rows of ``content``; a title it has nothing for is looked up in ``fallback`` (the evaluation's settings)."""
    used: set[str] = set()
    facts = []
    for title, names in KNOWN.items():
        path = find_path(content, names)
        value = _at(content, path) if path else _at(fallback, find_path(fallback, names) or "")
        used |= {path} if path else set()
        if value not in (None, "", {}, []):
            facts.append((title, _text(title, value)))
    exclusions_path = find_path(content, EXCLUSIONS)
    listed = _at(content, exclusions_path) if exclusions_path else None
    exclusions = tuple(_exclusion(entry) for entry in listed) if isinstance(listed, Sequence) else ()
    used |= {exclusions_path} if exclusions_path and exclusions else set()
    counted_path = find_path(content, NUM_EXCLUSIONS)
    num_exclusions = max(len(exclusions), int(_at(content, counted_path)) if counted_path else 0)
    others = [(path, str(value)) for path, value in _leaves(content) if not any(_within(path, known) for known in used)]
    first = tuple(fact for fact in facts if fact[0] in ALWAYS_SHOWN)
    rest = tuple(fact for fact in facts if fact[0] not in ALWAYS_SHOWN)
    return Provenance(
        first=first, facts=rest, others=tuple(others), exclusions=exclusions, num_exclusions=num_exclusions
    )


def find(content: Mapping[str, Any] | None, title: str) -> Any:
    """The raw value of a known title, None where the file has nothing under its names."""
    path = find_path(content or {}, KNOWN[title])
    return _at(content or {}, path) if path else None


def find_path(content: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The dotted path of the first of ``names`` that ends one, outermost first."""
    paths = sorted(_paths(content), key=lambda path: path.count("."))
    for name in names:
        for path in paths:
            if path == name or path.endswith("." + name):
                return path
    return None


def _paths(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in content.items():
        yield prefix + str(name)
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{name}.")


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + str(name), value


def _at(content: Any, path: str) -> Any:
    for name in path.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _within(path: str, known: str) -> bool:
    return path == known or path.startswith(known + ".")


def _text(title: str, value: Any) -> str:
    if title == "Split" and isinstance(value, Mapping) and isinstance(value.get("fractions"), Mapping):
        return _split(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {entry}" for name, entry in _leaves(value) if entry not in (None, "", []))
    if isinstance(value, list):
        return " ".join(map(str, value)) if title == "Command" else ", ".join(map(str, value))
    if title == "Wall time" and isinstance(value, int | float):
        return duration(float(value))
    return parameters(value) if title == "Parameters" and isinstance(value, int) else str(value)


def _split(value: Mapping[str, Any]) -> str:
    """``validation 10 %, test 20 %, site YALE, USM held out whole (rule hash, seed 0)``."""
    pieces = [f"{name} {100 * float(share):g} %" for name, share in value["fractions"].items()]
    for column, held in (value.get("held_out") or {}).items():
        pieces.append(f"{column} {', '.join(map(str, held))} held out whole")
    columns = value.get("columns") or {}
    pieces += [f"{word} {columns[word]}" for word in ("group", "stratify") if columns.get(word)]
    pieces_inside = ", ".join(f"{name} {value[name]}" for name in ("rule", "seed") if name in value)
    return "by subject: " + ", ".join(pieces) + (f" ({pieces_inside})" if pieces_inside else "")


def _exclusion(entry: Any) -> Exclusion:
    if not isinstance(entry, Mapping):
        return Exclusion(str(entry), "", "")
    return Exclusion(*(str(entry.get(name, "")) for name in ("source", "reason", "remedy")))
