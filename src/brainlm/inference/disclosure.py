"""What of a checkpoint's records may leave the house: nobody's name, nobody's folders, and still no leak unnoticed.

Subjects the model was trained on become hashes: whoever holds the same people's data can find out that they are among
them, others cannot read them off. ``hub.py`` applies this when it sends a model; local folders keep everything.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

from brainlm.data.fingerprints import UNKNOWN, are_among
from brainlm.data.splits import bare_subject
from brainlm.data.store import Store

Disclosure = Literal["hashed", "omitted"]

PLAIN, HASHED = "training_subjects", "training_subjects_sha256"
VALIDATION = "validation_subjects"  # they choose the checkpoint: the model has seen them, too
FINGERPRINTS = "recording_fingerprints"  # of the recordings that were trained or validated on
FINETUNED = "finetuned"
# Entries that name people or their files, wherever they stand. Of a store's source, only what describes the data set.
PERSONAL = {PLAIN, VALIDATION, "subjects", "exclusions", "r2_per_subject"}
SOURCE_KEPT = ("description", "terms", "url")
PEOPLE_COLUMNS = ("subject", "participant_id", "session")
HASH_NOTE = (
    "SHA-256 of 'SALT:SUBJECT' (subject without 'sub-'). This hides the identifiers from a reader, but not "
    "from someone who can list all that are possible."
)


@dataclass(frozen=True)
class SeenPeople:
    """Whom of a store a model has seen in training or validation; ``subjects`` as the store spells them.

    Attributes:
        subjects: sorted; seen by their recordings, or by name in a data set that the model was trained on.
        copies: those of them whose recordings are known under another name or from another data set.
        namesakes: not among them: whose names were seen, but in another data set and with other recordings.
        is_recorded: whether the model says whom it has seen.
        note: what could not be compared; "" if nothing.
    """

    subjects: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    namesakes: tuple[str, ...] = ()
    is_recorded: bool = True
    note: str = ""


def seen_people(provenance: Mapping[str, Any], store: Store) -> SeenPeople:
    """Whom of ``store`` the model has seen, by the fingerprints of recordings and by names within a data set.

    A data set is known again by its address (``url`` in the manifest) or by the name of the store's folder. Runs of
    earlier versions have no fingerprints: their people are compared by name in whatever data set.
    """
    subjects = store.metadata["subject"].astype(str)
    parts = [part for name in ("data", FINETUNED) if (part := provenance.get(name)) and isinstance(part, Mapping)]
    names = {bare_subject(subject) for subject in provenance.get(FINETUNED, {}).get(PLAIN, ())}
    named = {*(seen_in_training(provenance, subjects) or ()), *(s for s in set(subjects) if bare_subject(s) in names)}
    here = {store.path.name, str(store.manifest.source.get("url", ""))} - {""}
    is_same = any({part.get("store"), part.get("url"), _url(part)} & here for part in parts)
    is_copy = are_among(store.fingerprints, [one for part in parts for one in part.get(FINGERPRINTS, ())])
    copied = set(subjects[is_copy])
    by_name = named if is_same else set()
    data = provenance.get("data", {})
    is_recorded = any(name in data for name in (PLAIN, HASHED))
    note = ""
    if is_recorded and (data.get(PLAIN) or data.get(HASHED)) and FINGERPRINTS not in data:
        by_name = named
        note = (
            "the run is of a version that kept no fingerprints of recordings: people were compared by name alone, "
            "so that copies under other names are not found and other people of the same name count as seen"
        )
    return SeenPeople(
        tuple(sorted(by_name | copied)),
        tuple(sorted(copied - by_name)),
        tuple(sorted(named - by_name - copied)),
        is_recorded,
        note,
    )


def training_record(subjects: Iterable[str], validation: Iterable[str], fingerprints: Iterable[str]) -> dict[str, Any]:
    """What a model's record says of those whom it has seen, for ``seen_people``."""
    return {
        PLAIN: sorted(set(subjects)),
        VALIDATION: sorted(set(validation)),
        FINGERPRINTS: sorted(set(fingerprints) - {UNKNOWN}),
    }


def _url(part: Mapping[str, Any]) -> str | None:
    source = part.get("source")
    return source.get("url") if isinstance(source, Mapping) else None


def seen_in_training(provenance: Mapping[str, Any], subjects: Iterable[str]) -> list[str] | None:
    """Which of ``subjects`` have the names of people the model was trained or validated on, sorted.

    None where its record does not say whom it has seen. ``sub-01`` and ``01`` are the same name. Whether they are the
    same person depends on the data set: see ``seen_people``.
    """
    data = provenance.get("data", {})
    if PLAIN in data:
        seen = {bare_subject(subject) for subject in (*data[PLAIN], *data.get(VALIDATION, ()))}
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
        for part in (kept, public.get(FINETUNED, {})):
            part.pop(HASHED, None)
            part.pop(FINGERPRINTS, None)
    elif PLAIN in data:
        salt = str(data.get("fingerprint", ""))
        names = {*map(bare_subject, data[PLAIN]), *map(bare_subject, data.get(VALIDATION, ()))}
        hashes = sorted(_hash(name, salt) for name in names)
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
