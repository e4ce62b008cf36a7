"""Files that are old or new, folders that are whole or absent, one writer at a time, and disk errors in plain words.

Whatever is being written stands in a private folder or file of a random name beside its destination and is renamed when
it is complete. Knows nothing of stores and models.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import secrets
import shutil
import socket
import stat
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from brainlm.errors import BrainLMError, ConfigError, DataError

LOCK_FILE = ".lock"  # in a folder that is being written: by which process
NEW = re.compile(r"\..*\.[0-9a-f]{16}\.new")  # names of private folders of files in the making
FULL = (errno.ENOSPC, errno.EDQUOT)  # what a full disk says
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems say that cannot lock
BEAT_S = 10.0  # between two signs of life of a writer, for other machines
DYING_S = 2.0  # that a killed process may need until its files are closed
WATCH_S = 60.0  # without a sign of life: a writer on another machine is taken for dead

logger = logging.getLogger(__name__)

_swept: set[Path] = set()  # folders in which this process has removed what dead ones left


@contextmanager
def disk_errors(
    path: Path, *, kind: type[BrainLMError] = DataError, codes: Container[int | None] | None = None
) -> Iterator[None]:
    """Turn what the operating system refuses into an error of ours that says what to do; of these ``codes`` only,
    where more than writing goes on inside.
    """
    try:
        yield
    except OSError as error:
        if codes is not None and error.errno not in codes:
            raise
        remedies = {
            errno.ENOSPC: "free space on this disk, or write to another one",
            errno.EDQUOT: "free space within your quota, or write to another disk",
            errno.EACCES: "write where you have permission, or ask for it",
            errno.EPERM: "write where you have permission, or ask for it",
            errno.EROFS: "write to a disk that is not read-only",
            errno.ENOTDIR: "a part of the path is a file: write elsewhere",
            errno.EEXIST: "a part of the path is a file: write elsewhere",
            errno.ELOOP: "a symbolic link stands where a file is to be written: remove it",
        }
        code = error.errno or 0
        raise kind(
            f"cannot write {path}" + (": the disk is full" if code in FULL else ""),
            found=os.strerror(code) if code in remedies else str(error),
            remedy=remedies.get(code, "mend what the system reports, then run the same command again"),
        ) from error


@contextmanager
def replacing_at(path: Path, *, kind: type[BrainLMError] = DataError) -> Iterator[Path]:
    """A path to write to; its file takes the place of ``path`` in one step when all is written and on disk, never else.

    The file is in a private folder, which nobody else can put links into. It gets the permissions of the file that it
    replaces, or those of any new file. The folder of ``path`` is made if it is not there.

    Raises:
        DataError: (or another ``kind``) the disk is full or the place cannot be written; what was there stays.
    """
    with disk_errors(path, kind=kind):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        private = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}.new")
        private.mkdir(mode=0o700)
        descriptor = os.open(private, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            with suppress(OSError):
                _flock(descriptor)  # says that somebody is alive who writes it
            beside = private / path.name
            beside.touch()
            mode = _mode_of(path) or _mode_of(beside)
            try:
                yield beside
            except Exception as error:
                if getattr(error, "errno", None) is None:  # some libraries do not pass on what the system said
                    _raise_if_full(private)
                raise
            if _mode_of(beside) != mode:
                beside.chmod(mode)
            sync(beside)
            beside.replace(path)
        finally:
            shutil.rmtree(private, ignore_errors=True)
            os.close(descriptor)
        sync(path.parent)


@contextmanager
def replacing(path: Path, *, kind: type[BrainLMError] = DataError) -> Iterator[BinaryIO]:
    """``replacing_at`` with the file opened for writing."""
    with replacing_at(path, kind=kind) as beside, beside.open("wb") as file:
        yield file


def check_writable(path: Path) -> None:
    """Refuse a place that cannot be written; worth asking before long work.

    Raises:
        ConfigError: the nearest folder that exists on the way to ``path`` is none, or does not let this user write.
    """
    with disk_errors(path, kind=ConfigError):
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(nearest))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))


def write_text(path: Path, text: str, *, kind: type[BrainLMError] = DataError) -> None:
    """Replace ``path`` by ``text`` in one step, on disk when this returns."""
    with replacing(path, kind=kind) as file:
        file.write(text.encode())


def copy(source: Path, path: Path) -> None:
    """Replace ``path`` by the content of ``source`` in one step."""
    with source.open("rb") as content, replacing(path) as file:
        shutil.copyfileobj(content, file)


def sync(path: Path) -> None:
    """Return once the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def content_of(folder: Path) -> list[Path]:
    """What is in ``folder``, without locks and what processes that died have left of files in the making."""
    return sorted(
        path
        for path in folder.iterdir()
        if not NEW.fullmatch(path.name) and not (path.name.startswith(".") and path.name.endswith(LOCK_FILE))
    )


def _raise_if_full(folder: Path) -> None:
    """Raise the system's own error if nothing more can be written into ``folder``."""
    with (folder / "probe").open("wb") as file:
        file.write(bytes(2**20))


def _mode_of(path: Path) -> int:
    """The permissions of a file that is there; 0 where there is none."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        return stat.S_IMODE(mode) if stat.S_ISREG(mode) else 0
    return 0


def _sweep(folder: Path) -> None:
    """Remove what dead processes have left in ``folder`` of files in the making; once in the life of this process."""
    if folder in _swept:
        return
    _swept.add(folder)
    with os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if NEW.fullmatch(entry.name)]
    for private in found:
        with suppress(OSError):
            descriptor = os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _flock(descriptor)
                shutil.rmtree(private)
            finally:
                os.close(descriptor)


def _flock(descriptor: int) -> None:
    """Lock until the descriptor is closed or the process ends, however it dies; OSError if another one has it."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """A file that names this process as the one that writes here, until ``release`` or the end of the process.

    The system's own lock tells whether the process that took it is alive. Where file systems have none, or keep it to
    one machine, host, process number and start time do, and signs of life that the writer gives every ``BEAT_S``.

    Args:
        path: the file.
        target: what is written, for the message.

    Raises:
        DataError: another process is writing.
    """

    def __init__(self, path: Path, *, target: Path) -> None:
        self.path = path
        self.target = target
        self._descriptor = -1
        while self._descriptor < 0:
            self._try()
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(owner).encode(), 0)
        self._released = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()

    @property
    def is_released(self) -> bool:
        """Whether it was released."""
        return self._released.is_set()

    def release(self) -> None:
        """Let others write; nothing happens the second time."""
        if self._released.is_set():
            return
        self._released.set()
        self._beating.join()
        if self._is_in_place(self._descriptor):
            self.path.unlink()
        os.close(self._descriptor)

    def _beat(self) -> None:
        while not self._released.wait(BEAT_S):
            with suppress(OSError):
                os.utime(self._descriptor)

    def _try(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # whoever had it removed the folder just now
            return
        try:
            self._take(descriptor)
            if self._is_in_place(descriptor):
                self._descriptor = descriptor
        finally:
            if self._descriptor < 0:
                os.close(descriptor)

    def _is_in_place(self, descriptor: int) -> bool:
        """Whether the file is still the one at the path: whoever had it before may have removed it."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.lstat())
        except FileNotFoundError:
            return False

    def _is_held(self, descriptor: int) -> bool:
        try:
            _flock(descriptor)
        except BlockingIOError:
            return True
        return False

    def _take(self, descriptor: int) -> None:
        """Make sure that nobody else has it."""
        end = time.monotonic() + DYING_S
        try:
            while self._is_held(descriptor):
                owner = _owner(descriptor)
                dies = owner and owner["host"] == socket.gethostname() and not _started(owner["pid"])
                if not dies or time.monotonic() > end:
                    raise self._in_use(owner, descriptor)
                time.sleep(0.01)  # of a killed process, threads may be there a moment longer, and its files open
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        owner = _owner(descriptor)
        if not owner:
            return
        here = owner["host"] == socket.gethostname()
        if here and owner["started"] == _started(owner["pid"]):  # "" of a process that is not there
            raise self._in_use(owner, descriptor)
        if not here and self._shows_life(owner, descriptor):
            raise self._in_use(owner, descriptor)
        logger.info("%s: process %d on %s wrote here and did not finish", self.target, owner["pid"], owner["host"])

    def _shows_life(self, owner: dict[str, Any], descriptor: int) -> bool:
        logger.warning(
            "%s: process %d on %s wrote here; watching for %.0f s whether it still does",
            self.target, owner["pid"], owner["host"], WATCH_S,
        )  # fmt: skip
        before, end = os.fstat(descriptor).st_mtime_ns, time.monotonic() + WATCH_S
        while time.monotonic() < end:
            time.sleep(min(1.0, WATCH_S / 4))
            with suppress(FileNotFoundError), self.path.open("rb") as file:  # opened anew: network disks look again
                if os.fstat(file.fileno()).st_mtime_ns != before:
                    return True
        return False

    def _in_use(self, owner: dict[str, Any], descriptor: int) -> DataError:
        age_s = max(0.0, time.time() - os.fstat(descriptor).st_mtime)
        who = f"process {owner['pid']} on {owner['host']}" if owner else "a process that is starting"
        return DataError(
            f"another process is writing {self.target}",
            expected="one writer at a time",
            found=f"{who}, last sign of life {age_s:.0f} s ago",
            remedy=f"wait for that process, or end it; if it no longer runs there, remove {self.path}",
        )


def _owner(descriptor: int) -> dict[str, Any]:
    """Who took the lock last; nothing where that cannot be read."""
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        return {"host": str(content["host"]), "pid": int(content["pid"]), "started": str(content.get("started", ""))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _started(pid: int) -> str:
    """When a process started, in a form that only compares; "" where there is none (any more)."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]  # a zombie is dead and waits for its parent to notice
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "unknown"


@contextmanager
def locked(folder: Path, *, of: str = "") -> Iterator[None]:
    """Refuse every other process that would write ``folder``, or the file ``of`` in it, until the block ends.

    The folder is made if it is not there, and goes again if nothing came into it.

    Raises:
        DataError: another process is writing there, or the disk refuses.
    """
    with disk_errors(folder):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        lock = Lock(folder / f"{'.' if of else ''}{of}{LOCK_FILE}", target=folder / of)
    try:
        yield
    finally:
        lock.release()
        for path in made:
            with suppress(OSError):  # something is in it
                path.rmdir()


@contextmanager
def replacing_folder(folder: Path, *, kind: type[BrainLMError] = DataError) -> Iterator[Path]:
    """A folder with the content of ``folder``, which takes its place when the block ends, never else.

    Inside, files are replaced (``replacing``), never changed in place: they are the same as those of ``folder``.

    Raises:
        DataError: (or another ``kind``) the disk refuses. Another process is writing there (DataError).
    """
    folder = folder.resolve()  # of a link, what it leads to is replaced
    with disk_errors(folder, kind=kind):
        lock = claim(temporary_for(folder))
        try:
            recover(folder)
            beside = temporary_for(folder)
            there = content_of(folder) if folder.is_dir() else []
            for path in there:
                if path.is_dir() and not path.is_symlink():
                    shutil.copytree(path, beside / path.name, symlinks=True, copy_function=_link)
                else:
                    _link(path, beside / path.name)
            yield beside
            if there or not folder.is_dir():
                publish(lock, folder)
            else:  # a folder that is empty stays the same one: it may be somebody's working directory
                for path in content_of(beside):
                    path.rename(folder / path.name)
        finally:
            abandon(lock)


def _link(source: str | Path, path: str | Path) -> None:
    """The same file under a second name; a copy of it where the disk has no such links."""
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, path, follow_symlinks=False)


def temporary_for(path: Path) -> Path:
    """The sibling in which the folder ``path`` is prepared; one per destination, so that two writers meet there."""
    return path.with_name(f".{path.name}.writing")


def replaced_for(path: Path) -> Path:
    """The sibling where the old content of ``path`` stands while the new one takes its place."""
    return path.with_name(f".{path.name}.replaced")


def claim(folder: Path) -> Lock:
    """Make ``folder`` for this process alone; what a process that died has left in it is removed first.

    Raises:
        DataError: another process is writing it, or it is not what this program left.
    """
    if folder.is_symlink() or (folder.exists() and content_of(folder) and not (folder / LOCK_FILE).is_file()):
        raise DataError(
            f"{folder} was not left by this program",
            expected="a place for what is being written",
            found="a symbolic link" if folder.is_symlink() else "files of somebody else's",
            remedy="move it away",
        )
    lock = Lock(folder / LOCK_FILE, target=folder)
    left = [path for path in folder.iterdir() if path != lock.path]
    if left:
        logger.warning("removing what is in %s, left behind by a process that did not finish", folder)
    for path in left:
        remove(path)
    return lock


def abandon(lock: Lock) -> None:
    """Remove the folder that was claimed and all that is in it; nothing happens where it was published."""
    if lock.is_released:
        return
    folder = lock.path.parent
    with suppress(OSError):
        for path in folder.iterdir():
            if path != lock.path:
                remove(path)
    lock.release()
    with suppress(OSError):
        folder.rmdir()


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def publish(lock: Lock, destination: Path) -> None:
    """Give the finished folder its name; what stands there goes away only once the new one is in place."""
    folder = lock.path.parent
    for file in sorted(folder.iterdir()):
        if not file.is_symlink():
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
    lock.path = destination / LOCK_FILE
    try:
        sync(destination.parent)
    finally:
        lock.release()  # from here on it is nobody's to remove
    shutil.rmtree(old, ignore_errors=True)


def recover(destination: Path) -> None:
    """Finish a replacement that was interrupted between its two renames."""
    old = replaced_for(destination)
    if old.is_symlink():
        return
    if old.exists() and not destination.exists():
        old.rename(destination)
    elif old.exists():
        shutil.rmtree(old)
