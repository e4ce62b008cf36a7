"""Folders that are whole or absent, files that are old or new, and disk errors in the user's words.

Knows nothing of stores: a folder is prepared beside its destination and renamed when it is complete.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from brainlm.errors import BrainLMError, DataError

OWNER_FILE = "writer.json"  # in a folder under construction: which process is writing it

logger = logging.getLogger(__name__)


def temporary_for(path: Path) -> Path:
    """The sibling in which ``path`` is prepared; one per destination, so that two writers meet there."""
    return path.with_name(f".{path.name}.writing")


def replaced_for(path: Path) -> Path:
    """The sibling where the old content of ``path`` stands while the new one takes its place."""
    return path.with_name(f".{path.name}.replaced")


@contextmanager
def disk_errors(path: Path, *, kind: type[BrainLMError] = DataError) -> Iterator[None]:
    """Turn what the operating system refuses into an error of ours that says what to do."""
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "free space on this disk, or write to another one",
            errno.EDQUOT: "free space within your quota, or write to another disk",
            errno.EACCES: "write where you have permission, or ask for it",
            errno.EPERM: "write where you have permission, or ask for it",
            errno.EROFS: "write to a disk that is not read-only",
            errno.ENOTDIR: "a part of the path is a file: write elsewhere",
            errno.EEXIST: "a part of the path is a file: write elsewhere",
        }
        code = error.errno or 0
        raise kind(
            f"cannot write {path}",
            found=os.strerror(code) if code in remedies else str(error),
            remedy=remedies.get(code, "mend what the system reports, then run the same command again"),
        ) from error


def claim(folder: Path) -> None:
    """Create ``folder`` for this process; one left behind by a process that died is removed first.

    Raises:
        DataError: another process is (or, on another machine, may be) writing it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        _clear_leftover(folder)
    for remains in folder.parent.glob(f"{folder.name}-*"):
        shutil.rmtree(remains)
    # The folder appears under its name with its owner in it, so that it is nobody's at no time.
    nameless = folder.with_name(f"{folder.name}-{os.getpid()}")
    nameless.mkdir()
    owner = {"host": socket.gethostname(), "pid": os.getpid()}
    (nameless / OWNER_FILE).write_text(json.dumps(owner), encoding="utf-8")
    try:
        nameless.rename(folder)
    except OSError:
        shutil.rmtree(nameless)
        _clear_leftover(folder)  # another process was faster; it is alive, so this says so
        raise


def _clear_leftover(folder: Path) -> None:
    try:
        owner = json.loads((folder / OWNER_FILE).read_text(encoding="utf-8"))
        host, pid = str(owner["host"]), int(owner["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        host, pid = "an unknown machine", 0
    if host == socket.gethostname() and not _is_running(pid):
        logger.warning("removing %s, left behind by process %d, which did not finish", folder, pid)
        shutil.rmtree(folder)
        return
    raise DataError(
        "another process is writing here, or was killed while it did",
        expected="one writer at a time",
        found=f"{folder} (process {pid} on {host})",
        remedy="wait for that process; if it no longer runs, remove this folder",
    )


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def publish(folder: Path, destination: Path) -> None:
    """Give the finished ``folder`` its name; what stands there goes away only once the new one is in place."""
    for file in sorted(folder.iterdir()):
        sync(file)
    sync(folder)
    old = replaced_for(destination)
    if destination.exists():
        destination.rename(old)
    try:
        folder.rename(destination)
    except OSError:
        if old.exists():
            old.rename(destination)
        raise
    sync(destination.parent)
    (destination / OWNER_FILE).unlink()  # last: a folder without it could not be told from a stranger's
    shutil.rmtree(old, ignore_errors=True)


def recover(destination: Path) -> None:
    """Finish a replacement that was interrupted between its two renames."""
    old = replaced_for(destination)
    if old.exists() and not destination.exists():
        old.rename(destination)
    elif old.exists():
        shutil.rmtree(old)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` in one step when all is written and on disk, and never else."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step, on disk when this returns."""
    with replacing(path) as file:
        file.write(text.encode())


def sync(path: Path) -> None:
    """Return once the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
