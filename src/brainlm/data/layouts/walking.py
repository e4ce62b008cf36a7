"""Folders, one at a time: their files' names, without opening any. What cannot be looked into is a failure.

Which folders are worth entering is known to each layout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from brainlm.errors import DataError, Failure

MAX_POINTER_BYTES = 1000
POINTERS = {b"/annex/objects/": "git-annex", b"version https://git-lfs": "Git LFS"}


@dataclass(frozen=True, eq=False)
class Folder:
    """The names of the files in one folder; ``name`` is its path below the one given ("" for that one itself).

    ``broken`` are those that are links to nothing.
    """

    path: str
    name: str
    files: frozenset[str]
    broken: frozenset[str] = frozenset()

    def path_of(self, file: str) -> str:
        """The path of a file in it."""
        return os.path.join(self.path, file)  # noqa: PTH118  a million of these

    def name_of(self, file: str) -> str:
        """The path of a file in it below the folder given, with forward slashes."""
        return f"{self.name}/{file}" if self.name else file


@dataclass(eq=False)
class Walker:
    """Goes through folders, and keeps what it could not look into."""

    failures: list[Failure] = field(default_factory=list)
    num_files: int = 0

    def folders(self, root: str | Path, enter: Callable[[str, str], bool]) -> Iterator[Folder]:
        """The folder and those below that ``enter(parent, name)`` says yes to, in the order of their names.

        Links to folders are followed, but never back to where they came from. Hidden files and folders are not seen.
        """
        yield from self._below(str(root), "", enter)

    def one(self, path: str | Path, name: str = "") -> Folder:
        """A single folder."""
        folder, _ = self._listed(str(path), name)
        return folder

    def _below(self, path: str, name: str, enter: Callable[[str, str], bool]) -> Iterator[Folder]:
        folder, children = self._listed(path, name)
        yield folder
        for child in sorted(folder.broken):
            if "." not in child and enter(path, child):
                below = folder.path_of(child)
                self.failures.append(Failure(below, "this folder is a link to nothing", "mend or remove the link"))
        for child, is_link in sorted(children):
            if not enter(path, child):
                continue
            below = folder.path_of(child)
            if is_link and _leads_back(below, path):
                self.failures.append(
                    Failure(below, "this link leads back to a folder above it, and was not followed", "remove the link")
                )
                continue
            yield from self._below(below, folder.name_of(child), enter)

    def _listed(self, path: str, name: str) -> tuple[Folder, list[tuple[str, bool]]]:
        files, broken, children = [], [], []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    kind = _kind(entry)
                    if kind == "folder":
                        children.append((entry.name, entry.is_symlink()))
                    else:
                        files.append(entry.name)
                        if kind == "broken":
                            broken.append(entry.name)
        except OSError as error:
            self.failures.append(
                Failure(
                    path,
                    f"this folder cannot be looked into: {error.strerror or error}",
                    "give yourself the right to read it (chmod u+rX), or leave it out",
                )
            )
        self.num_files += len(files)
        return Folder(path, name, frozenset(files), frozenset(broken)), children


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return "folder"
        return "broken" if entry.is_symlink() and not entry.is_file() else "file"
    except OSError:  # a link into a folder that is closed to us
        return "broken"


def _leads_back(link: str, folder: str) -> bool:
    target = os.path.realpath(link)
    return Path(os.path.realpath(folder)).is_relative_to(target)


def check_file(folder: Folder, file: str) -> None:
    """Make sure that a file can be read later on.

    Raises:
        DataError: it is a link to nothing, its name is no text, or the user may not read it.
    """
    path = folder.path_of(file)
    if file in folder.broken:
        raise DataError(
            f"{path} is a link to nothing",
            expected="a file",
            found=f"a link to {Path(path).readlink()}, which is not there",
            remedy="fetch its content (datalad get, git annex get), or remove the link",
        )
    if pointer := _pointer_in(path):
        raise DataError(
            f"{path} is not the file itself, but a pointer to it",
            expected="the file's content",
            found=pointer,
            remedy="fetch its content (datalad get, git annex get or git lfs pull), or leave it out",
        )
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{printable(path)}: its name is not text in UTF-8",
            found=f"byte {error.start + 1} of the path",
            remedy="rename it (convmv -f latin1 -t utf8), or leave it out",
        ) from error
    if not os.access(path, os.R_OK):
        raise DataError(
            f"{path} cannot be read",
            expected="a file that you may read",
            found="no permission",
            remedy="give yourself the right to read it (chmod u+r), or leave it out",
        )


def _pointer_in(path: str) -> str:
    """What stands in place of a file whose content git-annex or Git LFS has not fetched; "" where it is there."""
    try:
        if not 0 < os.stat(path).st_size <= MAX_POINTER_BYTES:  # noqa: PTH116  a million of these
            return ""
        with open(path, "rb") as file:  # noqa: PTH123
            content = file.read(MAX_POINTER_BYTES)
    except OSError:  # said below
        return ""
    for start, program in POINTERS.items():
        if content.startswith(start):
            return f"a pointer of {program}: {content[:60].decode('utf-8', 'replace').splitlines()[0]}..."
    return ""


def printable(text: str) -> str:
    """The text with what no encoding explains (names of files from other systems) written out as bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def matching(given: str | Path) -> list[Path]:
    """The path itself, or the files and folders that a pattern such as ``data/sub-*.nii.gz`` matches."""
    given = Path(given)
    if os.path.lexists(given):  # a link to nothing is there, too, and fails with its own message
        return [given]
    fixed = next((folder for folder in given.parents if not set("*?[") & set(str(folder))), Path())
    return sorted(fixed.glob(str(given.relative_to(fixed))))
