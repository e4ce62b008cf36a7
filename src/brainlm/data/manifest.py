"""The manifest of a store: what it holds, how it came about, and a checksum per shard.

``manifest.json`` is the commit point: a shard that it does not list is not part of the store.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from brainlm.errors import DataError

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
PARCELS_FILE = "parcels.tsv"
ATLAS_IMAGE = "atlas.nii.gz"  # the label image, where there is one; for brain maps


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
        return json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

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
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = int(content["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}") from error
        if version > FORMAT_VERSION:
            raise DataError(
                f"the store {folder} was written by a newer program",
                expected=f"format version {FORMAT_VERSION} or older",
                found=f"format version {version} (program {content.get('program_version', 'unknown')})",
                remedy="update brainlm: pip install -U brainlm",
            )
        try:
            return cls(**{item.name: content[item.name] for item in fields(cls)})
        except KeyError as error:
            raise _damaged(path, f"no entry {error}") from error

    def check_files(self, folder: Path, *, verify: bool = False) -> None:
        """Make sure that the files the manifest lists are there and whole.

        Args:
            folder: the store.
            verify: compare checksums of the shards too, not only sizes: reads everything.

        Raises:
            DataError: a file is missing or is not the one that was written.
        """
        for shard in self.shards:
            file = folder / shard["file"]
            found = f"{file.stat().st_size} bytes" if file.is_file() else "no such file"
            if found != f"{shard['num_bytes']} bytes":
                raise _incomplete(file, expected=f"{shard['num_bytes']} bytes", found=found)
            if verify:
                _compare_checksum(file, shard["sha256"])
        if not (folder / PARCELS_FILE).is_file():
            raise _incomplete(folder / PARCELS_FILE, expected="the parcels table", found="no such file")
        _compare_checksum(folder / PARCELS_FILE, self.parcels_sha256)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare_checksum(file: Path, expected: str) -> None:
    found = sha256_of(file)
    if found != expected:
        raise _incomplete(file, expected=f"SHA-256 {expected}", found=f"SHA-256 {found}")


def _incomplete(file: Path, *, expected: str, found: str) -> DataError:
    return DataError(
        f"the store is damaged: {file}",
        expected=expected,
        found=found,
        remedy="restore the file from a copy, or import the recordings again",
    )


def _damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"the manifest {path} cannot be read",
        expected="the JSON that `brainlm import` wrote",
        found=found,
        remedy="restore the file from a copy, or import the recordings again",
    )


def _describe(folder: Path) -> str:
    if not folder.exists():
        return "no such file or folder"
    if not folder.is_dir():
        return "a file"
    names = sorted(item.name for item in folder.iterdir())
    return f"a folder with {', '.join(names[:5]) or 'nothing in it'}{' ...' if len(names) > 5 else ''}"
