"""Grayordinates: the vertices and voxels that a CIFTI file has values for, and which parcel each belongs to.

A dlabel says it for the atlas; a scan's own grayordinates are matched with it one by one, by surface vertex and by
voxel, never by their number. Reading a scan's series is in ``cifti.py``.
"""

from __future__ import annotations

import functools
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from brainlm.errors import AtlasError, BrainLMError, DataError

DLABEL_SUFFIX = ".dlabel.nii"
SAME_PLACE_MM = 0.01  # affines that differ less are one: they are written with some five digits
VOXEL_STRIDES = np.array([2**24, 2**12, 1])  # no volume has 4096 voxels along an axis
SPACE_STRIDE = 2**40  # beyond every vertex and voxel
# What the parsers of header and XML raise when they meet damaged ones.
UNREADABLE = (
    *(OSError, EOFError, ExpatError, zlib.error),
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
)


@dataclass(frozen=True, eq=False)
class Places:
    """Where grayordinates lie, one entry each.

    ``structure`` counts in ``structures``; ``index`` is the vertex of its surface or, of a voxel, its three indices in
    one number. ``num_vertices`` holds the sizes of the whole surfaces, by structure; ``affine`` takes voxels to mm, and
    is None where there are none.
    """

    structures: tuple[str, ...]
    structure: Int64[np.ndarray, "G"]
    index: Int64[np.ndarray, "G"]
    num_vertices: Mapping[str, int]
    affine: Float64[np.ndarray, "4 4"] | None

    @property
    def keys(self) -> list[str]:
        """By structure, what its grayordinates' ``index`` counts in: its own vertices, or voxels, shared by all."""
        return [name if name in self.num_vertices else "voxels" for name in self.structures]


@dataclass(frozen=True, eq=False)
class LabelGrayordinates:
    """A dlabel in memory: the label of each grayordinate (0: none), and the names of the labels."""

    path: Path
    places: Places
    label: Int64[np.ndarray, "G"]
    names: Mapping[int, str]

    @property
    def labels(self) -> Int64[np.ndarray, "P"]:
        """The labels above 0 that grayordinates have, ascending."""
        return np.unique(self.label[self.label > 0])

    @property
    def table(self) -> pd.DataFrame:
        """The parcels table that the dlabel makes: label and name."""
        names = [self.names[int(label)] for label in self.labels]
        return pd.DataFrame({"label": self.labels, "name": names})


@dataclass(frozen=True, eq=False)
class CiftiFile:
    """An open CIFTI-2 file: nibabel's proxy of its values, unread, and nibabel's axis of each of their dimensions."""

    path: Path
    values: Any
    axes: tuple[Any, ...]

    @property
    def kinds(self) -> str:
        """The axes in words, for messages."""
        return " x ".join(f"{type(axis).__name__} of {len(axis):,}" for axis in self.axes)


def open_cifti(path: str | Path, error: type[BrainLMError]) -> CiftiFile:
    """The CIFTI-2 file at ``path``.

    Raises:
        error: it cannot be read, is no CIFTI-2 file, or is shorter than its header promises.
    """
    import nibabel as nib

    path = Path(path)
    logger = nib.imageglobals.logger
    log_level = logger.level
    damaged = (
        *(nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, nib.cifti2.Cifti2HeaderError),
        *UNREADABLE,
    )
    try:
        # Of headers whose voxels have no size, as the HCP writes them, nibabel tells every time on the terminal.
        logger.setLevel("ERROR")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes that contradict each other, which are compared below
            file = _opened(path)
    except FileNotFoundError as found:
        raise error(f"no file at {path}", remedy="correct the path, or mend the link") from found
    except damaged as found:
        raise error(
            f"{path} cannot be read as a CIFTI file",
            expected="CIFTI-2 (.dtseries.nii, .ptseries.nii, .dlabel.nii)",
            found=str(found).splitlines()[0] if str(found) else type(found).__name__,
            remedy="copy it again from where it is whole",
        ) from found
    finally:
        logger.setLevel(log_level)
    shape = tuple(len(axis) for axis in file.axes)
    if file.values.shape != shape:
        raise error(
            f"{path} contradicts itself",
            expected=f"{_times(shape)} values, as its grayordinates and time points say",
            found=f"{_times(file.values.shape)} values by its header",
            remedy="write it again",
        )
    promised = file.values.offset + int(np.prod(shape)) * file.values.dtype.itemsize
    if path.stat().st_size < promised:
        raise error(
            f"{path} is shorter than what its header promises",
            expected=f"{promised:,} bytes for {_times(shape)} values",
            found=f"{path.stat().st_size:,} bytes",
            remedy="copy it again from where it is whole; this one was cut off",
        )
    return file


def _opened(path: Path) -> CiftiFile:
    import nibabel as nib

    image: Any = nib.load(path)
    if not isinstance(image, nib.Cifti2Image):
        raise ValueError(f"{type(image).__name__}, not CIFTI-2")
    axes = tuple(image.header.get_axis(number) for number in range(len(image.shape)))
    for axis in axes:
        if axis.size is None or None in getattr(axis, "nvertices", {}).values():
            raise ValueError(f"a {type(axis).__name__} that does not say how long it is")
    return CiftiFile(path, image.dataobj, axes)


def places_of(axis: Any) -> Places:
    """The places of nibabel's ``BrainModelAxis``."""
    names = np.asarray(axis.name, dtype=str)
    structures, structure = np.unique(names, return_inverse=True)
    index = np.asarray(axis.vertex, dtype=np.int64).copy()
    voxels = ~np.asarray(axis.surface_mask)
    index[voxels] = np.asarray(axis.voxel, dtype=np.int64)[voxels] @ VOXEL_STRIDES
    return Places(
        tuple(str(name) for name in structures),
        structure.astype(np.int64),
        index,
        {str(name): int(number) for name, number in axis.nvertices.items()},
        np.asarray(axis.affine, dtype=np.float64) if voxels.any() else None,
    )


def read_dlabel(path: str | Path) -> LabelGrayordinates:
    """The labels of the dlabel at ``path``.

    Raises:
        AtlasError: it cannot be read, is no dlabel, holds several maps, or labels that are not in its table.
    """
    path = Path(path)
    from nibabel.cifti2 import BrainModelAxis, LabelAxis

    file = open_cifti(path, AtlasError)
    if [type(axis) for axis in file.axes] != [LabelAxis, BrainModelAxis] or len(file.axes[0]) != 1:
        raise AtlasError(
            f"{path} is not a dlabel of one atlas",
            expected="one map of labels over vertices and voxels (.dlabel.nii)",
            found=file.kinds,
            remedy="write the map that is meant to a file of its own (wb_command -cifti-merge)",
        )
    maps, brain = file.axes
    values = np.asarray(file.values[0], dtype=np.float64)
    names = {int(key): str(name) for key, (name, _) in maps.label[0].items()}
    unknown = ~np.isin(values, [0, *names])
    if unknown.any() or (values < 0).any() or not (values > 0).any():
        wrong = values[unknown | (values < 0)]
        raise AtlasError(
            f"{path} cannot be used as an atlas",
            expected="labels above 0, all of them in its table",
            found=f"{wrong.size} others, first {wrong[0]:g}" if wrong.size else "no label above 0",
            remedy="correct its label table, or write it again",
        )
    return LabelGrayordinates(path, places_of(brain), values.astype(np.int64), names)


def cached_dlabel(path: Path) -> LabelGrayordinates:
    """``read_dlabel``, once in a process as long as the file stays the same."""
    if not path.is_file():
        raise AtlasError(f"no dlabel at {path}", remedy="correct the path")
    status = path.stat()
    return _cached(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def _cached(path: Path, _modified: int, _size: int) -> LabelGrayordinates:
    return read_dlabel(path)


def matched(scan: Places, atlas: LabelGrayordinates, path: str) -> Int64[np.ndarray, "V"]:
    """The label of each of the scan's grayordinates; 0 where the atlas has none there.

    Vertices match by structure and number, voxels by their place. Order and number of grayordinates may differ: those
    only in the scan (a medial wall) have no label, those only in the atlas lower the coverage of their parcels.

    Raises:
        DataError: other surfaces, another volume, voxels that belong to other structures, one that is there twice, or
            nothing in common with any parcel.
    """
    _check_surfaces(scan, atlas, path)
    _check_volume(scan, atlas, path)
    spaces = {name: code for code, name in enumerate(sorted({*scan.keys, *atlas.places.keys}))}
    ours, theirs = (_encoded(places, spaces) for places in (scan, atlas.places))
    if len(np.unique(ours)) < len(ours):
        raise DataError(
            f"{path} has a vertex or voxel twice",
            expected="every grayordinate once",
            found=f"{len(ours) - len(np.unique(ours))} repeated",
            remedy="write it again",
        )
    found = pd.Index(theirs).get_indexer(pd.Index(ours))
    _check_structures(scan, atlas, found, path)
    label_V = np.where(found >= 0, atlas.label[found], 0)
    if not (label_V > 0).any():
        raise DataError(
            f"{path} and the atlas have no grayordinates in common",
            expected=f"grayordinates of {', '.join(atlas.places.structures[:3])}, ... as in {atlas.path}",
            found=f"{len(ours):,} grayordinates of {', '.join(scan.structures[:3])}",
            remedy="give the dlabel that belongs to these grayordinates",
        )
    return label_V


def _encoded(places: Places, spaces: Mapping[str, int]) -> Int64[np.ndarray, "G"]:
    """One number for each place, the same in all files."""
    space_S = np.array([spaces[key] for key in places.keys], dtype=np.int64)
    return space_S[places.structure] * SPACE_STRIDE + places.index


def _check_surfaces(scan: Places, atlas: LabelGrayordinates, path: str) -> None:
    for name in scan.num_vertices.keys() & atlas.places.num_vertices.keys():
        here, there = scan.num_vertices[name], atlas.places.num_vertices[name]
        if here != there:
            raise DataError(
                f"{path} lies on another surface than the atlas",
                expected=f"{there:,} vertices of {name}, as in {atlas.path}",
                found=f"{here:,} vertices",
                remedy="resample it (wb_command -cifti-resample), or give a dlabel of this resolution",
            )


def _check_volume(scan: Places, atlas: LabelGrayordinates, path: str) -> None:
    there = atlas.places
    if scan.affine is None or there.affine is None:
        return
    if not np.allclose(scan.affine, there.affine, rtol=0, atol=SAME_PLACE_MM):
        raise DataError(
            f"the voxels of {path} lie elsewhere than the atlas's",
            expected=f"the affine {there.affine[:3].round(3).tolist()}, as in {atlas.path}",
            found=f"{scan.affine[:3].round(3).tolist()}",
            remedy="resample it to the volume of the atlas's dlabel (wb_command -cifti-resample)",
        )


def _check_structures(scan: Places, atlas: LabelGrayordinates, found: Int64[np.ndarray, "V"], path: str) -> None:
    """A voxel that is thalamus in one file and putamen in the other stands for different grids or conventions."""
    ours = np.array(scan.structures)[scan.structure[found >= 0]]
    theirs = np.array(atlas.places.structures)[atlas.places.structure[found[found >= 0]]]
    other = np.flatnonzero(ours != theirs)
    if other.size:
        raise DataError(
            f"{path} and the atlas put voxels into different structures",
            expected=f"{theirs[other[0]]}, as in {atlas.path}",
            found=f"{ours[other[0]]}, and {other.size - 1} more such voxels",
            remedy="give the dlabel that belongs to these grayordinates",
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{length:,}" for length in shape)
