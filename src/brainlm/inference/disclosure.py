"""What of a checkpoint's records may leave the house: nobody's name, nobody's folders, and still no leak unnoticed.

Subjects the model was trained on become hashes: whoever holds the same people's data can find out that they are among
them, others cannot read them off. ``hub.py`` applies this when it sends a model; local folders keep everything.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

from brainlm.data.splits import bare_subject

Disclosure = Literal["hashed", "omitted"]

PLAIN, HASHED = "training_subjects", "training_subjects_sha256"
# Entries that name people or their files, wherever they stand. Of a store's source, only what describes the data set.
PERSONAL = {PLAIN, "subjects", "exclusions", "r2_per_subject"}
SOURCE_KEPT = ("description", "terms", "url")
PEOPLE_COLUMNS = ("subject", "participant_id", "session")
HASH_NOTE = (
    "SHA-256 of 'SALT:SUBJECT' (subject without 'sub-'). This hides the identifiers from a reader, but not "
    "from someone who can list all that are possible."
)


def seen_in_training(provenance: Mapping[str, Any], subjects: Iterable[str]) -> list[str] | None:
    """Which of ``subjects`` the model was trained on, sorted; None where its record does not say whom it has seen.

    ``sub-01`` and ``01`` are the same person.
    """
    data = provenance.get("data", {})
    if PLAIN in data:
        seen = {bare_subject(subject) for subject in data[PLAIN]}
        return sorted(subject for subject in set(subjects) if bare_subject(subject) in seen)
    if HASHED in data:
        hashes, salt = set(data[HASHED]["hashes"]), data[HASHED]["salt"]
        return sorted(subject for subject in set(subjects) if _hash(subject, salt) in hashes)
    return None


def public_provenance(provenance: Mapping[str, Any], *, subjects: Disclosure = "hashed") -> dict[str, Any]:
    """The record of where a model comes from, without what names people or tells where files lie.

    Args:
        provenance: as in ``provenance.json``.
        subjects: what becomes of the training subjects' identifiers: ``hashed``, or ``omitted``, which also takes away
            the possibility to refuse them in an evaluation.
    """
    public: dict[str, Any] = _scrubbed(provenance)
    data = provenance.get("data", {})
    if not isinstance(data, Mapping):
        return public
    kept = public.get("data", {})
    if isinstance(data.get("source"), Mapping):
        kept["source"] = {name: kept["source"][name] for name in SOURCE_KEPT if name in kept["source"]}
    if data.get("exclusions"):
        kept["num_exclusions"] = len(data["exclusions"])
    if isinstance(data.get("split"), Mapping):
        kept["split"] = _public_split(kept["split"])
    if subjects == "omitted":
        kept.pop(HASHED, None)
    elif PLAIN in data:
        salt = str(data.get("fingerprint", ""))
        hashes = sorted(_hash(subject, salt) for subject in data[PLAIN])
        kept[HASHED] = {"salt": salt, "hashes": hashes, "note": HASH_NOTE}
    return public


def public_evaluation(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a model without those of single people, and without the folders where run and store lie."""
    public: dict[str, Any] = _scrubbed(evaluation)
    for part, name in (("store", "path"), ("model", "run")):
        if isinstance(public.get(part), dict) and name in public[part]:
            public[part][name] = _last_part(str(public[part][name]))
    return public


def _hash(subject: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}:{bare_subject(subject)}".encode()).hexdigest()


def _public_split(split: dict[str, Any]) -> dict[str, Any]:
    """Values by which people were held out are named for sites and the like, and counted for people and families."""
    columns = split.get("columns")
    by_person = {*PEOPLE_COLUMNS, columns.get("group") if isinstance(columns, Mapping) else None}
    held_out = split.get("held_out")
    if isinstance(held_out, Mapping):
        split["held_out"] = {
            column: [f"{len(values)} of them"] if column in by_person else values for column, values in held_out.items()
        }
    return split


def _scrubbed(value: Any) -> Any:
    """A copy without personal entries, and with paths shortened to their last part."""
    if isinstance(value, Mapping):
        return {
            key: _without_folders(entry) if key == "command" and isinstance(entry, str) else _scrubbed(entry)
            for key, entry in value.items()
            if key not in PERSONAL
        }
    if isinstance(value, list | tuple):
        return [_scrubbed(entry) for entry in value]
    return _last_part(value) if isinstance(value, str) and _is_absolute(value) else value


def _without_folders(command: str) -> str:
    """A command as typed, with the folders of its paths taken away."""
    try:
        words = shlex.split(command)
    except ValueError:  # an unbalanced quote
        return command.split(maxsplit=1)[0]
    return shlex.join(re.sub(r"[^=]*[/\\]", "", word.rstrip("/\\")) for word in words)  # --out=a/b becomes --out=b


def _is_absolute(text: str) -> bool:
    return "\n" not in text and (PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute())


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
