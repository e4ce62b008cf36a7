"""A 4-D NIfTI image, volume by volume, straight from the compressed file: in the stored type, one at a time.

What the header says is checked in ``nifti_header.py``. An image may be a member of a zip archive (``a.zip!/b.nii.gz``):
it is read in place, never unpacked.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Bool, Shaped

from brainlm.data.grid import Grid
from brainlm.data.nifti_header import MAX_HEADER_BYTES, NiftiHeader, parse_header
from brainlm.errors import DataError

IN_ZIP = ".zip!/"  # stands between the path of an archive and the name of a member
GZIP_MAGIC = b"\x1f\x8b"
MOST_COMPRESSED = 1032  # times: what deflate can reach at best (zlib, technical details)


@dataclass(frozen=True)
class OpenFile:
    """A file or a member of an archive, open for reading; ``num_bytes`` is its length, of a member unpacked."""

    content: BufferedIOBase
    num_bytes: int


class Image:
    """An open image: ``header`` says what there is, ``volumes`` reads it, once, from front to back."""

    def __init__(self, header: NiftiHeader, file: BufferedIOBase) -> None:
        self.header = header
        self._file = file

    def volumes(self) -> Iterator[Shaped[np.ndarray, "V"]]:
        """The stored values of each volume, first axis fastest, in the byte order of the file, read-only.

        Raises:
            DataError: the file is damaged, or ends before or after what its header promises.
        """
        header = self.header
        self._read(header.data_offset, done=0)
        for number in range(header.num_volumes):
            block = self._read(header.volume_bytes, done=number)
            yield np.frombuffer(block, dtype=header.dtype)
        # Reading on to the end is what compares the checksum of a compressed file.
        rest = self._read(header.volume_bytes, done=header.num_volumes, at_most=True)
        if len(rest) == header.volume_bytes:
            raise DataError(
                f"{header.path} holds more than its header promises",
                expected=f"{header.num_volumes} volumes",
                found="one more at least",
                remedy="correct the header, or write the image again",
            )

    def _read(self, num_bytes: int, *, done: int, at_most: bool = False) -> bytes:
        total = self.header.num_volumes
        try:
            with damage(self.header.path, where=f"after {done} of {total} volumes"):
                block = self._file.read(num_bytes)
        except EOFError:
            block, at_most = b"", False
        if len(block) < num_bytes and not at_most:
            found = f"{done} whole volumes, perhaps a few more" if done < total else "a compressed file without its end"
            raise _cut_off(self.header.path, f"{total} volumes of {self.header.volume_bytes:,} bytes", found)
        return block


@contextmanager
def open_image(path: str | Path) -> Iterator[Image]:
    """The image at ``path``, its header read and checked.

    Raises:
        DataError: it cannot be opened or is not a NIfTI image, or its header promises more than the file can hold.
    """
    name = str(path)
    with ExitStack() as stack:
        with damage(name, where="in its header"):
            opened = stack.enter_context(open_file(name))
            raw, num_bytes = opened.content, opened.num_bytes
            most = num_bytes
            file = raw
            if raw.read(2) == GZIP_MAGIC:
                from isal import igzip

                most = num_bytes * MOST_COMPRESSED
                raw.seek(0)
                file = stack.enter_context(cast(BufferedIOBase, igzip.open(raw, "rb")))
            else:
                raw.seek(0)
            try:
                block = file.read(MAX_HEADER_BYTES)
            except EOFError as error:  # of what follows the header, too, if that is little
                raise _cut_off(name, "a complete compressed file", f"{num_bytes:,} bytes") from error
        header = parse_header(block, name)
        promised = header.data_offset + header.num_volumes * header.volume_bytes
        if promised > most:
            found = f"{num_bytes:,} bytes" + (", which cannot unpack to that many" if most > num_bytes else "")
            raise _cut_off(name, f"{promised:,} bytes for {header.num_volumes} volumes", found)
        # The header is small: starting again is simpler than keeping what was read beyond it.
        file.seek(0)
        yield Image(header, file)


def _cut_off(path: str, expected: str, found: str) -> DataError:
    return DataError(
        f"{path} ends before what its header promises",
        expected=expected,
        found=found,
        remedy="copy it again from where it is complete, or correct the header",
    )


@contextmanager
def open_file(name: str) -> Iterator[OpenFile]:
    """The file at a path, or the member of an archive (``a.zip!/b.par``), as it is; for use under ``damage``."""
    if IN_ZIP not in name:
        path = Path(name)
        with path.open("rb") as file:
            yield OpenFile(file, path.stat().st_size)
        return
    archive, member = name.split(IN_ZIP, 1)
    with zipfile.ZipFile(archive + IN_ZIP.removesuffix("!/")) as opened, opened.open(member) as unpacked:
        yield OpenFile(cast(BufferedIOBase, unpacked), opened.getinfo(member).file_size)


@contextmanager
def damage(path: str, *, where: str) -> Iterator[None]:
    """Turn what system, archive and decompression report about a file into an error that names it.

    The end of a compressed file that comes too early stays an ``EOFError``: what is missing is for the caller to say.
    """
    from isal import isal_zlib

    bad_stream = cast(type[Exception], isal_zlib.error)  # its stub calls it an instance

    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"no file at {path}", remedy="correct the path, or mend the link") from error
    except KeyError as error:
        raise DataError(f"no file at {path}", found=str(error), remedy="correct the name in the archive") from error
    except (gzip.BadGzipFile, bad_stream, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is damaged",
            expected="a complete compressed file",
            found=f"{error} ({where})",
            remedy="copy it again from where it is whole",
        ) from error
    except (OSError, RuntimeError, NotImplementedError) as error:  # the latter two: encrypted members, odd methods
        raise DataError(
            f"{path} cannot be read",
            found=f"{error} ({where})",
            remedy="check permissions, disk and network, then run it again",
        ) from error


def read_mask(path: str | Path, grid: Grid) -> Bool[np.ndarray, "V"]:
    """Which voxels of ``grid`` the mask image at ``path`` includes: those where it is above 0.

    A mask on another grid is sampled at the nearest voxel.

    Raises:
        DataError: it cannot be read, has several volumes, or includes nothing of the grid.
    """
    with open_image(path) as image:
        header = image.header
        if header.num_volumes > 1:
            raise DataError(
                f"the mask {path} has several volumes",
                expected="one volume",
                found=f"{header.num_volumes} volumes",
                remedy="give the brain mask that belongs to the scan",
            )
        (values,) = image.volumes()
    inside = values * header.slope + header.intercept > 0  # NaN is not above 0
    if not header.grid.same_as(grid):
        inside = grid.sample(inside.reshape(header.grid.shape, order="F"), header.grid)
    if not inside.any():
        raise DataError(
            f"the mask {path} includes no voxel of the scan",
            expected="values above 0 where the brain is, on the scan's grid",
            found=f"{int((values > 0).sum())} such voxels in the mask",
            remedy="give the brain mask that belongs to the scan, or none",
        )
    return np.asarray(inside)
