"""An append-only file of entries, each whole or absent after any interruption: how finished work is kept.

An entry is a small JSON object and bytes; what entries mean is in ``partial.py``.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainlm import atomic
from brainlm.errors import BrainLMError, DataError

# Before each body: who wrote it, the body's length, and a checksum of length and body.
MAGIC = b"blmL"
FRAME = struct.Struct("<4sQI")
LENGTH = struct.Struct("<Q")
HEAD = struct.Struct("<I")  # before the JSON: its length
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems say that cannot lock

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where the body of an entry is in its file."""

    offset: int
    length: int


@dataclass(frozen=True, eq=False)
class Entry:
    """A JSON object, and the bytes that belong to it."""

    head: Mapping[str, Any]
    payload: memoryview


class Ledger:
    """A ledger, locked for this process until it is closed.

    Opening reads and checks every entry. What follows the last whole one, which an interrupted process could not
    complete, is cut off.

    Args:
        path: the file; made, with its folder, if it is to be written and is not there.
        visit: called with every entry that is there, in the order in which they were added.
        writable: False to read only; several processes may.

    Raises:
        DataError: it is no ledger, another process is writing it, or the disk refuses.
    """

    def __init__(
        self, path: str | Path, visit: Callable[[Place, Entry], None] | None = None, *, writable: bool = True
    ) -> None:
        self.path = Path(path)
        self._writable = writable
        self._file = -1
        self._end = 0
        with atomic.disk_errors(self.path):
            if writable:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY, 0o666)
        try:
            with atomic.disk_errors(self.path):
                self._lock()
                self._recover(visit)
        except BaseException:
            self.close()
            raise

    def read(self, place: Place) -> Entry:
        """The entry at ``place``.

        Raises:
            BrainLMError: it is not what was written.
        """
        entry = self._entry_at(place.offset - FRAME.size)
        if entry is None or entry[0] != place:
            raise BrainLMError(
                f"{self.path} is damaged",
                expected=f"what was written at byte {place.offset}",
                found="other bytes: the disk, or another program, changed them",
                remedy="check the disk, then run the same command again: what is damaged is done again",
            )
        return entry[1]

    def append(self, head: Mapping[str, Any], *payload: bytes | memoryview) -> Place:
        """Add an entry. It outlives this process at once, and the machine when ``sync`` has returned.

        Raises:
            DataError: the disk refuses; the entries before are kept.
        """
        text = json.dumps(head, ensure_ascii=False).encode()
        pieces = [HEAD.pack(len(text)), text, *payload]
        length = sum(len(piece) for piece in pieces)
        frame = FRAME.pack(MAGIC, length, _checksum(LENGTH.pack(length), *pieces))
        place = Place(self._end + FRAME.size, length)
        try:
            with atomic.disk_errors(self.path):
                self._write(frame, *pieces)
        except DataError:
            os.ftruncate(self._file, self._end)  # the space may be what others need
            raise
        self._end = place.offset + length
        return place

    def sync(self) -> None:
        """Return once all entries are on the disk."""
        with atomic.disk_errors(self.path):
            os.fsync(self._file)

    def clear(self) -> None:
        """Remove all entries."""
        self._end = 0
        with atomic.disk_errors(self.path):
            os.ftruncate(self._file, 0)
            os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file, and of the lock."""
        if self._file >= 0:
            if self._writable:
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def _lock(self) -> None:
        import fcntl

        # A lock of the system's goes when the process does, however it dies: nothing has to be cleared up.
        kind = fcntl.LOCK_EX if self._writable else fcntl.LOCK_SH
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._in_use() from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logger.warning("%s cannot be locked here: make sure that no other process writes it", self.path)
        # Whoever had it before may have finished and removed it.
        if not (self.path.exists() and os.path.samestat(os.fstat(self._file), self.path.stat())):
            raise self._in_use()

    def _in_use(self) -> DataError:
        return DataError(
            f"{self.path} is in use",
            expected="one process at a time",
            found="another process that writes it",
            remedy="wait for that process, or end it",
        )

    def _recover(self, visit: Callable[[Place, Entry], None] | None) -> None:
        size = os.fstat(self._file).st_size
        begin = os.pread(self._file, len(MAGIC), 0)
        if not MAGIC.startswith(begin):
            raise DataError(
                f"{self.path} was not written by this program",
                expected="a ledger of finished recordings",
                found=f"a file that begins with {begin!r}",
                remedy="move it away",
            )
        while (found := self._entry_at(self._end)) is not None:
            if visit is not None:
                visit(*found)
            self._end = found[0].offset + found[0].length
        if self._end < size:
            logger.info("%s: %d bytes at its end are no whole entry", self.path, size - self._end)
            if self._is_damaged(size):
                logger.warning("%s is damaged at byte %d: what follows is done again", self.path, self._end)
            if self._writable:
                os.ftruncate(self._file, self._end)
        if self._writable:
            os.fsync(self._file)
            atomic.sync(self.path.parent)

    def _entry_at(self, offset: int) -> tuple[Place, Entry] | None:
        """The entry whose frame begins at ``offset``; None where there is no whole one."""
        frame = os.pread(self._file, FRAME.size, offset)
        if len(frame) < FRAME.size:
            return None
        magic, length, checksum = FRAME.unpack(frame)
        begin = offset + FRAME.size
        if magic != MAGIC or begin + length > os.fstat(self._file).st_size:
            return None
        body = memoryview(self._read(begin, length))
        if len(body) < length or _checksum(LENGTH.pack(length), body) != checksum:
            return None
        (num_text,) = HEAD.unpack(body[: HEAD.size])
        head = json.loads(bytes(body[HEAD.size : HEAD.size + num_text]))
        return Place(begin, length), Entry(head, body[HEAD.size + num_text :])

    def _is_damaged(self, size: int) -> bool:
        """Whether something follows what is no whole entry, which no interruption explains."""
        frame = os.pread(self._file, FRAME.size, self._end)
        return len(frame) == FRAME.size and self._end + FRAME.size + FRAME.unpack(frame)[1] < size

    def _read(self, offset: int, length: int) -> bytearray:
        """These bytes; one call may give fewer than asked for."""
        block = bytearray()
        while len(block) < length and (piece := os.pread(self._file, length - len(block), offset + len(block))):
            block += piece
        return block

    def _write(self, *pieces: bytes | memoryview) -> None:
        """Write all of it at the end: a disk that fills up takes a part and says so only at the next attempt."""
        offset = self._end
        for piece in pieces:
            left = memoryview(piece).cast("B")
            while left:
                written = os.pwrite(self._file, left, offset)
                offset += written
                left = left[written:]


def _checksum(*pieces: bytes | bytearray | memoryview) -> int:
    from isal import isal_zlib

    value = 0
    for piece in pieces:
        value = isal_zlib.crc32(piece, value)
    return value
