"""Which Arrow files below a folder are data: those of data sets that ``save_to_disk`` wrote, or just ``*.arrow`` files.

They are opened in ``arrow_reading.py``; what their columns mean is in ``arrow_columns.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainlm.data.manifest import MANIFEST_FILE, PARCELS_FILE
from brainlm.data.planned import failure_of
from brainlm.data.shards import STATE_FILE
from brainlm.errors import DataError, Failure
from brainlm.files import damaged, read_json

SUFFIX = ".arrow"
CACHE = "cache-"  # what `datasets` leaves beside the data when a data set is filtered or mapped


@dataclass(frozen=True)
class ArrowFile:
    """An Arrow file: where it is, and what it and its data set are called whatever folder they lie in."""

    path: Path
    name: str
    part: str


@dataclass(frozen=True)
class FoundFiles:
    """The Arrow files of an import; ``failures`` are those that should be there, ``notes`` what was passed over."""

    files: tuple[ArrowFile, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """True when there is Arrow data at all."""
        return bool(self.files or self.failures)


def find_arrow_files(inputs: Sequence[Path]) -> FoundFiles:
    """The Arrow files among and below the inputs, in the order of their names.

    Raises:
        DataError: an input is a store of this program.
    """
    files: dict[Path, ArrowFile] = {}
    failures: list[Failure] = []
    notes: list[str] = []
    for given in inputs:
        _refuse_store(given if given.is_dir() else given.parent)
        name = given.resolve().name
        if given.is_file() and given.suffix == SUFFIX:
            part = given.resolve().parent.name
            files.setdefault(given.resolve(), ArrowFile(given, f"{part}/{name}", part))
        # Names do not depend on where the folder lies; one folder's own name tells only when there are others.
        prefix = f"{name}/" if len(inputs) > 1 else ""
        for folder in _data_set_folders(given):
            below = folder.relative_to(given).as_posix()
            if is_store(folder):
                notes.append(f"{prefix}{below} is a store of this program, and was passed over")
                continue
            found, failed = _files_of(folder)
            failures += failed
            for path in found:
                in_store = prefix + path.relative_to(given).as_posix()
                files.setdefault(path.resolve(), ArrowFile(path, in_store, name if below == "." else prefix + below))
    return FoundFiles(tuple(sorted(files.values(), key=lambda file: file.name)), tuple(failures), tuple(notes))


def _data_set_folders(given: Path) -> list[Path]:
    """The folders below ``given`` (a folder) that hold Arrow data, without hidden ones."""
    if not given.is_dir():
        return []
    found = {path.parent for path in (*given.rglob(f"*{SUFFIX}"), *given.rglob(STATE_FILE)) if path.is_file()}
    hidden = {folder for folder in found if any(part.startswith(".") for part in folder.relative_to(given).parts)}
    return sorted(found - hidden)


def _files_of(folder: Path) -> tuple[list[Path], list[Failure]]:
    """The data set's files: those that its ``state.json`` lists, or all but what ``datasets`` keeps for itself."""
    state = folder / STATE_FILE
    if not state.is_file():
        return [path for path in folder.glob(f"*{SUFFIX}") if path.is_file() and not path.name.startswith(CACHE)], []
    try:
        listed = [folder / name for name in _names_in(state)]
    except DataError as error:
        return [], [failure_of(str(folder), error)]
    reason = f"the file is missing, though {STATE_FILE} lists it"
    missing = [Failure(str(path), reason, "copy the data set again") for path in listed if not path.is_file()]
    return [path for path in listed if path.is_file()], missing


def _names_in(state: Path) -> list[str]:
    """The names of the files that a ``state.json`` lists."""
    remedy = f"copy the data set again, or move the *{SUFFIX} files alone into a folder"
    about: dict[str, Any] = {"what": f"a {STATE_FILE} that lists the files of a data set", "remedy": remedy}
    content = read_json(state, **about, needs={"_data_files": list})
    with damaged(state, **about):
        names = [str(item["filename"]) for item in content["_data_files"]]
    if content.get("_indices_data_files"):
        raise DataError(
            f"{state.parent} is a selection of rows, kept as a list of their numbers",
            expected="a data set saved whole",
            found=f"_indices_data_files in {STATE_FILE}",
            remedy="load it with `datasets` and save it again with flatten_indices()",
        )
    return names


def is_store(folder: Path) -> bool:
    """True for a store of this program, which looks like a data set of others."""
    return (folder / MANIFEST_FILE).is_file() and (folder / PARCELS_FILE).is_file()


def _refuse_store(folder: Path) -> None:
    if is_store(folder):
        raise DataError(
            f"{folder} is a store already",
            expected="recordings that are not in a store yet",
            found=f"{MANIFEST_FILE} and {PARCELS_FILE} of this program",
            remedy=f"use it as it is: brainlm inspect {folder}; brainlm.data.store.append adds recordings to a store",
        )
