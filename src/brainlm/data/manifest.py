"""The manifest of a store: what it holds, how it came about, and a checksum per shard.

``manifest.json`` is the commit point: a shard that it does not list is not part of the store. Every shard is compared
with its checksum before it is used; that it was is remembered in the user's cache folder, so that it happens once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from brainlm.errors import DataError
from brainlm.files import damaged, read_json, sealed, sha256_of, with_entries, write_json

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
PARCELS_FILE = "parcels.tsv"
ATLAS_IMAGE = "atlas.nii.gz"  # the label image, where there is one; for brain maps
REMEDY = "restore the file from a copy, or import the recordings again"
# A file that was written to within this time may be written to again without its time of change telling.
RECENT_NS = 2_000_000_000
MANY_BYTES = 2**32  # seconds to read and hash; from here on it is announced

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    ``split`` describes the rule (see ``SplitRule.describe``) or is empty when splits were given from outside;
    ``exclusions`` holds one {source, reason, remedy} per input left out; ``shards`` one
    {file, num_recordings, num_bytes, sha256} per Arrow file, in the order of the rows; ``source`` is free text by name.
    """

    atlas: str
    parcels_sha256: str
    program_version: str
    dtype: Literal["float32", "float16"]
    shards: list[dict[str, Any]]
    split: dict[str, Any] = field(default_factory=dict)
    exclusions: list[dict[str, str]] = field(default_factory=list)
    source: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def num_recordings(self) -> int:
        """How many recordings all shards hold together."""
        return sum(int(shard["num_recordings"]) for shard in self.shards)

    def to_json(self) -> str:
        """The manifest as JSON; the same manifest gives the same text."""
        return json.dumps(sealed(asdict(self)), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: str | Path) -> Manifest:
        """The manifest of the store in ``folder``.

        Raises:
            DataError: there is none, it is damaged, or a newer program wrote it.
        """
        path = Path(folder) / MANIFEST_FILE
        if not path.is_file():
            raise DataError(
                f"{folder} is not a store",
                expected=f"a folder with {MANIFEST_FILE}",
                found=_describe(Path(folder)),
                remedy="give the folder that `brainlm import` wrote",
            )
        what: dict[str, Any] = {"what": "the JSON that `brainlm import` wrote", "remedy": REMEDY}
        content = read_json(path, **what, needs={"format_version": int})
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise DataError(
                f"the store {folder} was written by a newer program",
                expected=f"format version {FORMAT_VERSION} or older",
                found=f"format version {version} (program {content.get('program_version', 'unknown')})",
                remedy="update brainlm: pip install -U brainlm",
            )
        with damaged(path, **what):
            with_entries(
                content, {"atlas": str, "parcels_sha256": str, "shards": list, "exclusions": list, "source": dict}
            )
            for shard in content["shards"]:
                with_entries(shard, {"file": str, "num_recordings": int, "num_bytes": int, "sha256": str})
                if Path(shard["file"]).name != shard["file"]:
                    raise ValueError(f"a shard outside the store: {shard['file']}")
            if not content["shards"]:
                raise ValueError("it lists no shards")
            return cls(**{item.name: content[item.name] for item in fields(cls)})

    def check_files(self, folder: Path, *, verify: bool = False) -> None:
        """Make sure that the files the manifest lists are there and are those that were written.

        Args:
            folder: the store.
            verify: read shards that were found whole before and have not been written to since, too.

        Raises:
            DataError: a file is missing or is not the one that was written.
        """
        for shard in self.shards:
            file = folder / shard["file"]
            found = f"{file.stat().st_size} bytes" if file.is_file() else "no such file"
            if found != f"{shard['num_bytes']} bytes":
                raise _incomplete(file, expected=f"{shard['num_bytes']} bytes", found=found)
        if not (folder / PARCELS_FILE).is_file():
            raise _incomplete(folder / PARCELS_FILE, expected="the parcels table", found="no such file")
        _compare_checksum(folder / PARCELS_FILE, self.parcels_sha256)
        known = {} if verify else _found_whole(folder)
        states = {shard["file"]: _state(folder / shard["file"], shard) for shard in self.shards}
        new = [shard for shard in self.shards if known.get(shard["file"]) != states[shard["file"]]]
        if not new:
            return
        num_bytes = sum(shard["num_bytes"] for shard in new)
        if num_bytes > MANY_BYTES:
            logger.warning("comparing %.1f GB of %s with its checksums, once", num_bytes / 1e9, folder)
        with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter
            list(pool.map(lambda shard: _compare_checksum(folder / shard["file"], shard["sha256"]), new))
        self.remember(folder, states)

    def remember(self, folder: Path, states: Mapping[str, Sequence[object]] | None = None) -> None:
        """Note that the shards in ``folder`` are whole: they are not read again before they have been written to.

        Args:
            folder: the store.
            states: of the shards when they were read; by default as they are now.
        """
        states = states or {shard["file"]: _state(folder / shard["file"], shard) for shard in self.shards}
        settled = {name: list(state) for name, state in states.items() if state}
        if settled:
            with suppress(DataError):  # no such folder, or a full one: the shards are read again next time
                write_json(_record(folder), {"store": str(folder), "shards": settled})


def _state(file: Path, shard: Mapping[str, Any]) -> list[object]:
    """By which a shard that was found whole is known again; nothing where a change would not tell."""
    status = file.stat()
    if time.time_ns() - status.st_mtime_ns < RECENT_NS:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ino, shard["sha256"]]


def _record(folder: Path) -> Path:
    """Where it is remembered which shards of a store were found whole; replaced in one step, so processes may race."""
    import pooch  # slow to import, as are its users

    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]
    return Path(pooch.os_cache("brainlm")) / "whole" / f"{name}.json"


def _found_whole(folder: Path) -> dict[str, Any]:
    """The states in which the shards of a store were found whole; none where nothing, or nothing legible, is noted."""
    with suppress(DataError):
        content = read_json(_record(folder), what="shards found whole", remedy="remove it", needs={"shards": dict})
        shards: dict[str, Any] = content["shards"]
        return shards
    return {}


def _compare_checksum(file: Path, expected: str) -> None:
    found = sha256_of(file)
    if found != expected:
        raise _incomplete(file, expected=f"SHA-256 {expected}", found=f"SHA-256 {found}")


def _incomplete(file: Path, *, expected: str, found: str) -> DataError:
    return DataError(
        f"the store is damaged: {file}",
        expected=expected,
        found=found,
        remedy=REMEDY,
    )


def _describe(folder: Path) -> str:
    if not folder.exists():
        return "no such file or folder"
    if not folder.is_dir():
        return "a file"
    names = sorted(item.name for item in folder.iterdir())
    return f"a folder with {', '.join(names[:5]) or 'nothing in it'}{' ...' if len(names) > 5 else ''}"
