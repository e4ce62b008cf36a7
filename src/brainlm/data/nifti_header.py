"""What the header of a NIfTI image promises: shape, type, scaling, place and repetition time, checked.

Reading what follows the header is in ``volumes.py``; whether the image is in MNI space is in ``mni.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float64

from brainlm.data.grid import Grid
from brainlm.errors import DataError

HEADER_BYTES = {348: b"n+1", 540: b"n+2"}  # of NIfTI-1 and NIfTI-2, and what says that header and data are one file
MAX_HEADER_BYTES = max(HEADER_BYTES)
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}
UNSET_TR = 1.0  # stands, without a unit, in files of programs that set nothing
# NIfTI codes of what an affine leads to. 1 and 2 are no standard space: the scanner, another image of the subject.
UNKNOWN, SCANNER, ALIGNED, TALAIRACH, MNI, TEMPLATE = range(6)
STANDARD_SPACES = (TALAIRACH, MNI, TEMPLATE)
MAX_DISAGREEMENT = 0.25  # edges of a voxel between the places by sform and by qform; rotations are stored roughly

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What is needed of a header. ``value = slope * stored + intercept``.

    ``space_code`` is the NIfTI code of what ``grid.affine`` leads to. ``tr_s`` is None where the header has no
    repetition time: zero, NaN, negative, infinite, no time at all, or 1 without a unit, as programs leave it
    that set nothing.
    """

    path: str
    grid: Grid
    num_volumes: int
    dtype: np.dtype[Any]
    data_offset: int
    slope: float
    intercept: float
    space_code: int
    tr_s: float | None

    @property
    def volume_bytes(self) -> int:
        """Bytes of one volume as stored."""
        return self.grid.num_voxels * self.dtype.itemsize


def parse_header(block: bytes, path: str) -> NiftiHeader:
    """The header at the beginning of a file, given at least its first 540 bytes (fewer if the file ends before).

    Raises:
        DataError: not a NIfTI image in one file, of more than four dimensions, of numbers that are none (colours,
            complex), or with affines that cannot be used or contradict each other.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    size, endianness = _size_of(block)
    if len(block) < size or not size or block[344 if size == 348 else 4 :][:3] != HEADER_BYTES[size]:
        raise DataError(
            f"{path} is not a NIfTI image",
            expected="a header and its image in one file, .nii or .nii.gz",
            found=f"a file that begins with {bytes(block[:8])!r}" if block else "an empty file",
            remedy="convert it to .nii.gz, or leave it out",
        )
    kind = Nifti1Header if size == 348 else Nifti2Header
    header = kind(block[:size], endianness=endianness, check=False)
    slope, intercept = _scaling(header, path)
    shape = _shape(header, path)
    affine, space_code = _affine(header, Grid(shape[:3], np.eye(4)), path)
    return NiftiHeader(
        path=path,
        grid=Grid(shape[:3], affine),
        num_volumes=shape[3],
        dtype=_dtype(header, path),
        # What begins before the header's end has not been set.
        data_offset=max(int(header["vox_offset"]) if np.isfinite(header["vox_offset"]) else 0, size + 4),
        slope=slope,
        intercept=intercept,
        space_code=space_code,
        tr_s=_repetition_time(header),
    )


def _size_of(block: bytes) -> tuple[int, str]:
    """The size that the header says it has, which also tells the order of its bytes; 0 when it is no header."""
    for endianness in "<>":
        if len(block) >= 4 and (size := struct.unpack(f"{endianness}i", block[:4])[0]) in HEADER_BYTES:
            return size, endianness
    return 0, "<"


def _shape(header: Any, path: str) -> tuple[int, int, int, int]:
    """X, Y, Z, T; T is 1 for a single volume."""
    num_dimensions, *sizes = (int(size) for size in header["dim"])
    shape = sizes[:num_dimensions] if 0 < num_dimensions < 8 else []
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if not 3 <= len(shape) <= 4 or min(shape) < 1:
        raise DataError(
            f"{path} does not have the dimensions of an image over time",
            expected="three dimensions of space and one of time",
            found=" x ".join(str(size) for size in shape) or f"{num_dimensions} dimensions",
            remedy="give the 4-D image, or leave this one out",
        )
    first, second, third, *time = shape
    return first, second, third, time[0] if time else 1


def _dtype(header: Any, path: str) -> np.dtype[Any]:
    code = int(header["datatype"])
    try:
        dtype = header.get_data_dtype()
    except (KeyError, ValueError):
        dtype = np.dtype("V")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise DataError(
            f"{path} does not hold plain numbers",
            expected="integers or floating-point numbers of up to 64 bits",
            found=f"NIfTI data type {code}" + (f" ({dtype.name})" if dtype.itemsize else ""),
            remedy="convert it (float32 fits everything), or leave it out",
        )
    return np.dtype(dtype)


def _scaling(header: Any, path: str) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):  # by the standard: not scaled
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        raise DataError(
            f"{path}: its values cannot be scaled",
            expected="a finite scl_slope and scl_inter in the header",
            found=f"scl_slope {slope:g}, scl_inter {intercept:g}",
            remedy="correct the header, or write the image again",
        )
    return slope, intercept


def _affine(header: Any, grid: Grid, path: str) -> tuple[Float64[np.ndarray, "4 4"], int]:
    """The affine that holds, with its code: the sform where there is one, else the qform.

    A header may place an image twice, in the scanner by its qform and in a standard space by its sform. Two places in
    one space, or a standard space only in the qform, which programs ignore beside an sform, is a contradiction.
    """
    placed = {
        name: (_finite(matrix), int(header[f"{name}_code"]))
        for name, matrix in (("sform", header.get_sform), ("qform", header.get_qform))
        if int(header[f"{name}_code"]) > 0
    }
    for name, (matrix, code) in placed.items():
        if matrix is None:
            raise DataError(
                f"{path}: the {name} of its header places nothing",
                expected="an affine that is finite and has a volume",
                found=f"{name}_code {code}",
                remedy=f"correct the header, for instance with the {'q' if name == 'sform' else 's'}form, or write "
                "the image again",
            )
    if not placed:
        raise DataError(
            f"{path}: its header does not say where its voxels lie",
            expected="an affine with a code: sform_code or qform_code above 0",
            found="sform_code 0, qform_code 0",
            remedy="copy the header's geometry from an image that is known to be right",
        )
    affines = {name: (matrix, code) for name, (matrix, code) in placed.items() if matrix is not None}
    affine, code = affines.get("sform") or affines["qform"]
    if len(affines) == 2:
        other, other_code = affines["qform"]
        here = Grid(grid.shape, affine)
        distance = here.distance_mm(other)
        one_standard = code in STANDARD_SPACES and other_code != code
        if distance > MAX_DISAGREEMENT * here.edge_mm and not one_standard:
            raise DataError(
                f"{path}: sform and qform of its header disagree",
                expected="the same place, or a standard space in the sform and another space in the qform",
                found=f"corners {distance:.3g} mm apart, sform_code {code}, qform_code {other_code}",
                remedy="find out which of them is right and copy it over the other (fslorient -copysform2qform or "
                "-copyqform2sform)",
            )
    return affine, code


def _finite(matrix: Callable[[], Any]) -> Float64[np.ndarray, "4 4"] | None:
    from nibabel.spatialimages import HeaderDataError

    try:
        affine = np.asarray(matrix(), dtype=np.float64)
    except (ValueError, np.linalg.LinAlgError, HeaderDataError):  # a quaternion that is none
        return None
    usable = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0
    return affine if usable else None


def _repetition_time(header: Any) -> float | None:
    try:
        unit = header.get_xyzt_units()[1]
    except KeyError:
        unit = "unknown"
    stored = float(header["pixdim"][4])
    if unit not in SECONDS or (unit == "unknown" and stored == UNSET_TR):
        return None
    # Headers keep 32 bits: what was written as 0.735 is 0.735 again, not 0.7350000143.
    tr_s = float(np.format_float_positional(np.float32(stored), unique=True)) * SECONDS[unit] if stored > 0 else 0.0
    return tr_s if 0 < tr_s < np.inf else None
