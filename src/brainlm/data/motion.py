"""Head motion: six parameters from the files of the HCP and of FSL, framewise displacement, and the 24 regressors.

Tables of confounds, and what is made of all this, are in ``confounds.py``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from brainlm.data.volumes import damage, open_file
from brainlm.errors import DataError

HEAD_RADIUS_MM = 50.0  # Power et al. (2012), NeuroImage 59: turns become displacements on a sphere of this radius


@dataclass(frozen=True)
class MotionFile:
    """Where a text file without a header has its translations (mm) and rotations, and the latter's unit in radians."""

    num_columns: int
    translations: int
    rotations: int
    radians: float


# HCP pipelines, Movement_Regressors.txt: mm, degrees, and their derivatives. FSL's MCFLIRT, .par: radians, then mm.
MOTION_FILES: Mapping[str, MotionFile] = {
    "hcp": MotionFile(num_columns=12, translations=0, rotations=3, radians=np.pi / 180),
    "fsl": MotionFile(num_columns=6, translations=3, rotations=0, radians=1.0),
}


def framewise_displacement(motion_T6: Float64[np.ndarray, "T 6"]) -> Float64[np.ndarray, "T"]:
    """How far the head moved since the volume before, in mm; NaN in the first.

    The sum of the absolute differences of the six parameters, turns as arcs on a sphere of 50 mm (Power et al. 2012,
    NeuroImage 59).

    Args:
        motion_T6: three translations in mm, three rotations in radians.
    """
    steps = np.abs(np.diff(motion_T6, axis=0))
    steps[:, 3:] *= HEAD_RADIUS_MM
    return np.concatenate([[np.nan], steps.sum(axis=1)])


def expanded(motion_T6: Float64[np.ndarray, "T 6"]) -> Float64[np.ndarray, "T 24"]:
    """The parameters, their derivatives, and the squares of both (Satterthwaite et al. 2013, NeuroImage 64).

    The first derivative, which is unknown, is that of the second volume, as in nilearn.
    """
    derivative_T6 = np.diff(motion_T6, axis=0)
    derivative_T6 = np.concatenate([derivative_T6[:1], derivative_T6])
    return np.hstack([motion_T6, derivative_T6, motion_T6**2, derivative_T6**2])


def read_motion(path: str, kind: str) -> Float64[np.ndarray, "T 6"]:
    """Translations in mm and rotations in radians from a text file of the ``kind`` (a key of ``MOTION_FILES``).

    Raises:
        DataError: no such file, or not a line of finite numbers, as many as the kind has, for each volume.
    """
    layout = MOTION_FILES[kind]
    text = file_content(path).decode("utf-8-sig", errors="replace")
    try:
        values = np.loadtxt(io.StringIO(text), ndmin=2) if text.strip() else np.zeros((0, 0))
    except ValueError as error:
        raise _unusable(path, layout, str(error)) from error
    if values.shape[1] != layout.num_columns or len(values) < 2:
        raise _unusable(path, layout, f"{values.shape[0]} x {values.shape[1]} numbers")
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if wrong.size:
        raise _unusable(path, layout, f"a value that is not finite in line {wrong[0] + 1}")
    translations = values[:, layout.translations : layout.translations + 3]
    rotations = values[:, layout.rotations : layout.rotations + 3]
    return np.hstack([translations, rotations * layout.radians])


def _unusable(path: str, layout: MotionFile, found: str) -> DataError:
    return DataError(
        f"{path} is not a file of motion parameters",
        expected=f"a line a volume, {layout.num_columns} finite numbers in each",
        found=found,
        remedy="copy it again from where it is whole, or leave it out",
    )


def file_content(path: str) -> bytes:
    """The bytes of a file, or of a member of an archive (``a.zip!/b.par``).

    Raises:
        DataError: it is not there, or cannot be read.
    """
    with damage(path, where="while it was read"), open_file(path) as opened:
        return opened.content.read()
