"""Whose recording a file is: entities in its name, and the repetition time in its sidecars.

The signal itself is read in ``read.py``; tables about people are joined in ``people.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainlm.data.repetition import agreed_tr, seconds
from brainlm.errors import ConfigError, DataError
from brainlm.files import damaged, read_text

ENTITIES = {"sub": "subject", "ses": "session", "task": "task", "run": "run"}
IN_RUN_LABEL = ("acq", "ce", "dir")  # entities that tell acquisitions apart, for which a recording has no column
GROUPS = (*ENTITIES.values(), "site")


@dataclass(frozen=True)
class Entities:
    """What a file's name says about its recording; what it does not say is empty."""

    subject: str
    session: str = ""
    task: str = ""
    run: str = ""
    site: str = ""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of ``--pattern``, whose named groups say what is where in a path.

    Raises:
        ConfigError: it is no regular expression, or its groups are not those of ``GROUPS``.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"the pattern {pattern!r} is not a regular expression", found=str(error), remedy="correct --pattern"
        ) from error
    unknown = set(compiled.groupindex) - set(GROUPS)
    if unknown or "subject" not in compiled.groupindex:
        raise ConfigError(
            f"the pattern {pattern!r} does not say what is where",
            expected=f"named groups: subject, and any of {', '.join(GROUPS[1:])}",
            found=", ".join(compiled.groupindex) or "no named group",
            remedy=r"name the groups, such as (?P<subject>\d+)_(?P<run>\d+)",
        )
    return compiled


def entities_of(path: Path, pattern: re.Pattern[str] | None = None) -> Entities:
    """The entities in a file's name (``sub-01_ses-1_task-rest_run-02_...``), or what ``pattern`` finds in its path.

    Raises:
        DataError: no subject there.
    """
    if pattern is not None:
        match = pattern.search(path.as_posix())
        values = {name: value or "" for name, value in match.groupdict().items()} if match else {}
    else:
        named = dict(key_values(path.name))
        values = {name: named.get(key, "") for key, name in ENTITIES.items()} | {"run": run_label(named)}
    subject = values.pop("subject", "")
    if not subject:
        raise DataError(
            f"{path}: whose recording this is cannot be told from its name",
            expected="a name such as sub-01_ses-1_task-rest_run-02_timeseries.tsv"
            if pattern is None
            else f"a path that matches {pattern.pattern!r}",
            found=path.name if pattern is None else path.as_posix(),
            remedy="rename it, or say what is where with --pattern; such as --pattern "
            rf"'{_pattern_like(path)}'",
        )
    return Entities(subject_id(subject), **values)


def _pattern_like(path: Path) -> str:
    """A pattern that takes the longest number in the name for the subject, and the whole name where there is none."""
    numbers = re.findall(r"\d{3,}", path.name.split(".", 1)[0])
    if not numbers:
        return rf"(?P<subject>[^/]+){re.escape(path.suffix)}$"
    longest = max(numbers, key=len)
    return rf"(?P<subject>\d{{{len(longest)}}})[^/]*$"


def subject_id(text: str) -> str:
    """The subject as stored: with ``sub-`` in front, so that ``01`` stays text wherever it is written."""
    return f"sub-{text.strip().removeprefix('sub-')}"


def run_label(entities: Mapping[str, str]) -> str:
    """The run, with whatever else tells acquisitions apart in front: ``dirAP1`` for ``dir-AP_run-1``.

    What a file's recording is called depends on its own name only, never on which other files are there. Other entities
    (rec, space, res, den, desc) tell versions of one recording apart, of which one is read.
    """
    parts = [f"{key}{entities[key]}" for key in IN_RUN_LABEL if entities.get(key)]
    return "".join(parts) + entities.get("run", "")


def part_of_image(entities: Mapping[str, str]) -> str:
    """What a file is if it is only a part of a run's signal, a single echo or a phase; "" if it is all of it."""
    if entities.get("echo"):
        return f"a single echo (echo-{entities['echo']})"
    part = entities.get("part", "mag")
    return "" if part == "mag" else f"part-{part} alone"


def key_values(name: str) -> list[tuple[str, str]]:
    """The ``key-value`` pairs of a BIDS-like name."""
    stem = name.split(".", 1)[0]
    return [(part.split("-", 1)[0], part.split("-", 1)[1]) for part in stem.split("_") if "-" in part]


def repetition_time(path: Path, *, tr: float | None, in_tables: Mapping[str, float], sidecars: Sidecars) -> float:
    """The recording's TR in seconds, from the argument, the file's sidecar or ``in_tables`` (by path).

    Raises:
        DataError: as ``agreed_tr``.
    """
    sources: dict[str, float] = {}
    if tr is not None:
        sources["--tr"] = tr
    sidecar = sidecars.find(path)
    if sidecar is not None:
        sources[str(sidecar)] = seconds(sidecars.content(sidecar)["RepetitionTime"], str(sidecar))
    sources |= in_tables
    return agreed_tr(
        str(path), sources, expected="--tr, a column tr in the participants table, or RepetitionTime in a JSON sidecar"
    )


class Sidecars:
    """The JSON files beside and above the tables; each is looked for and read once."""

    def __init__(self) -> None:
        self._inherited: dict[Path, list[Path]] = {}
        self._contents: dict[Path, Mapping[str, object]] = {}

    def find(self, path: Path) -> Path | None:
        """The file that gives a table's RepetitionTime: of the same name, or the nearest inherited ``*_bold.json``.

        As in BIDS, a ``*_bold.json`` in the table's folder or one above applies when the table's name has all its
        entities. The search ends at the folder with ``dataset_description.json``, or three folders up
        (dataset/subject/session/func).
        """
        own = set(key_values(path.name))
        candidates = [path.with_name(path.name.split(".", 1)[0] + ".json")]
        for folder in (path.parent, *path.parent.parents[:3]):
            applicable = [item for item in self._in_folder(folder) if set(key_values(item.name)) <= own]
            candidates += sorted(applicable, key=lambda item: -len(key_values(item.name)))
            if (folder / "dataset_description.json").is_file():
                break
        return next((item for item in candidates if "RepetitionTime" in self.content(item)), None)

    def content(self, path: Path) -> Mapping[str, object]:
        """The file's entries; none if there is no such file.

        Raises:
            DataError: it is not JSON.
        """
        if path not in self._contents:
            self._contents[path] = read_json(path) if path.is_file() else {}
        return self._contents[path]

    def _in_folder(self, folder: Path) -> list[Path]:
        if folder not in self._inherited:
            self._inherited[folder] = sorted({*folder.glob("bold.json"), *folder.glob("*_bold.json")})
        return self._inherited[folder]


def read_json(path: Path, what: str = "sidecar") -> Mapping[str, object]:
    """The entries of a JSON file; none if it holds something else than entries.

    Raises:
        DataError: it is not JSON.
    """
    about: dict[str, Any] = {"what": f"JSON, a {what}", "remedy": "repair the file"}
    text = read_text(path, **about)
    with damaged(path, **about):
        content = json.loads(text)
        return content if isinstance(content, dict) else {}
