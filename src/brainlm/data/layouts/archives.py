"""What is in a zip archive, without unpacking it: the names of the members that matter, and its small JSON files.

An archive with names that lead out of it is refused as a whole, though nothing is unpacked: it is not what it says.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from brainlm.data.planned import failure_of
from brainlm.errors import DataError, Failure

ENCRYPTED = 0x1  # bit of a member's flags


@dataclass(frozen=True, eq=False)
class Archive:
    """The members that matter, by name, and the contents of the JSON files among them."""

    members: frozenset[str]
    sidecars: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def look_into(path: str, of_interest: Callable[[str], bool]) -> Archive | Failure:
    """The archive at ``path``, or why it cannot be used."""
    try:
        return _look_into(path, of_interest)
    except DataError as error:
        return failure_of(path, error)


def _look_into(path: str, of_interest: Callable[[str], bool]) -> Archive:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                _check_name(path, member.orig_filename)
            kept = [member for member in members if of_interest(member.filename)]
            if any(member.flag_bits & ENCRYPTED for member in kept):
                raise DataError(f"{path} is encrypted", remedy="decrypt it first")
            texts = {item.filename: archive.read(item) for item in kept if item.filename.endswith(".json")}
    except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read as a zip archive",
            expected="a whole archive",
            found=str(error) or type(error).__name__,
            remedy="download it again",
        ) from error
    return Archive(frozenset(item.filename for item in kept), {name: _json(text) for name, text in texts.items()})


def _check_name(path: str, name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise DataError(
            f"{path} has a member whose name leads out of the archive",
            expected="names below the archive",
            found=repr(name),
            remedy="do not unpack it; download it again, and tell whoever gave it to you",
        )


def _json(text: bytes) -> Mapping[str, object]:
    """A sidecar's content; nothing where it is damaged: the header then says the repetition time alone."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
