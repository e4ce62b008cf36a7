"""Parcellating: seconds for one image, against mere decompression, nilearn's masker and the loop of usual scripts.

The image and its atlas are made up; ``data/parcellate.py`` is what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray

from brainlm.bench.machine import MIB, available_memory, in_fresh_process, peak_memory, resident_memory
from brainlm.bench.results import Aim, Measure
from brainlm.bench.timing import Timer, in_turn, timer
from brainlm.data.atlas import Atlas
from brainlm.data.label_image import read_label_image
from brainlm.data.parcellate import read_nifti
from brainlm.errors import DataError

VOXEL_MM = 2.0
TR_S = 0.735
# Semi-axes of brain and of parcels in shares of the image's edges. With 2 mm voxels they hold as many voxels as the
# brain of an image of 91 x 109 x 91 has (250,000) and as A424 covers (134,000).
BRAIN_SIZE, PARCELS_SIZE = 0.409, 0.332
# Stored values: a voxel's mean, uniformly between, and its noise. They decide how well the file compresses (3.6 times).
LOWEST, HIGHEST, NOISE = 6000, 14000, 150
LOOPS_NEED = 1.3  # times the float64 image: the image, and the voxels of a parcel
MASKERS_NEED = 3  # times the stored image


@dataclass(frozen=True)
class ParcellationSizes:
    """What is parcellated.

    Args:
        shape: voxels of the image along its axes.
        num_volumes: T.
        num_parcels: P.
        repeats: rounds of parcellating and decompressing.
        slow_repeats: rounds of what takes minutes.
    """

    shape: tuple[int, int, int]
    num_volumes: int
    num_parcels: int
    repeats: int
    slow_repeats: int

    @property
    def stored_bytes(self) -> int:
        """Bytes of the whole image as stored."""
        return 2 * int(np.prod(self.shape)) * self.num_volumes

    @property
    def float64_bytes(self) -> int:
        """Bytes of the whole image in float64."""
        return 4 * self.stored_bytes


def measure_parcellation(folder: Path, sizes: ParcellationSizes) -> list[Measure]:
    """Seconds for an image, relative to decompressing it, and the memory that takes."""
    image, atlas = write_image(folder, sizes)
    ours = timer(partial(read_nifti, image, atlas))
    seconds = in_turn({"ours": ours, "decompress": timer(partial(decompress, image))}, repeats=sizes.repeats)
    title = f"{' x '.join(map(str, sizes.shape))} x {sizes.num_volumes} int16"
    rows = [
        Measure.of("parcellation", f"{title} to {sizes.num_parcels} parcels", "s", seconds["ours"]),
        Measure.of("parcellation", "mere decompression", "s", seconds["decompress"]),
        Measure.of(
            "parcellation",
            "ours / mere decompression",
            "times",
            seconds["ours"] / seconds["decompress"],
            Aim(1.8, at_most=True),
        ),
    ]
    if resident_memory() is None:
        return rows
    grown = in_fresh_process(growth_of_process, image, atlas)
    whole = sizes.float64_bytes
    return [
        *rows,
        Measure.of("parcellation", "memory grown by an image", "MiB", grown / MIB),
        Measure.of("parcellation", "the image in float64", "MiB", whole / MIB),
        Measure.of("parcellation", "memory grown / image in float64", "", grown / whole, Aim(0.1, at_most=True)),
    ]


def measure_loop(folder: Path, sizes: ParcellationSizes) -> list[Measure]:
    """How many times faster than the whole image in float64 and one mean after the other.

    Raises:
        DataError: the memory is not there.
    """
    _check_memory("the loop over parcels", int(LOOPS_NEED * sizes.float64_bytes))
    image, atlas = write_image(folder, sizes)
    return _compare("loop over parcels", partial(by_loop, image, atlas), image, atlas, sizes, Aim(10.0))


def measure_masker(folder: Path, sizes: ParcellationSizes) -> list[Measure]:
    """How many times faster than nilearn's ``NiftiLabelsMasker``, given labels in float32 and as integers.

    Raises:
        DataError: the memory is not there.
    """
    _check_memory("nilearn's masker", MASKERS_NEED * sizes.stored_bytes)
    image, atlas = write_image(folder, sizes)
    as_stored, as_integers = partial(by_masker, image, atlas), partial(by_masker, image, atlas, integers=True)
    return [
        *_compare("nilearn's masker", as_stored, image, atlas, sizes, Aim(15.0)),
        *_compare("nilearn's masker, labels as integers", as_integers, image, atlas, sizes),
    ]


def _compare(
    name: str, slow: Any, image: Path, atlas: Atlas, sizes: ParcellationSizes, aim: Aim | None = None
) -> list[Measure]:
    ours, theirs = timer(partial(read_nifti, image, atlas)), timer(slow)
    ours()  # a round that does not count; of the slow one, a first time costs the same as any other
    rounds = np.array([_around(ours, theirs) for _ in range(sizes.slow_repeats)])
    return [
        Measure.of("parcellation", name, "s", rounds[:, 1]),
        Measure.of("parcellation", f"{name} / ours", "times", rounds[:, 1] / rounds[:, 0], aim),
    ]


def _around(ours: Timer, theirs: Timer) -> tuple[float, float]:
    """Seconds of both; ours is taken before and after, because the other takes minutes in which much can change."""
    before, seconds, after = ours(), theirs(), ours()
    return (before + after) / 2, seconds


def _check_memory(name: str, needed: int) -> None:
    available = available_memory()
    if available is not None and available < needed:
        raise DataError(
            f"{name} needs more memory than there is",
            expected=f"{needed / MIB:,.0f} MiB available",
            found=f"{available / MIB:,.0f} MiB",
            remedy="close other programs, or use a machine with more memory",
        )


# The alternatives -----------------------------------------------------------------------------------------------------


def decompress(image: Path) -> None:
    """Unpack the file, a volume of the usual size at a time, and do nothing with it."""
    from isal import igzip

    with igzip.open(image, "rb") as file:
        while file.read(2 * MIB):
            pass


def by_loop(image: Path, atlas: Atlas) -> Float64[np.ndarray, "T P"]:
    """What is usually written: the image in float64, then for each label the mean of its voxels."""
    import nibabel as nib

    loaded: Any = nib.load(image)
    values = loaded.get_fdata()
    assert atlas.image is not None
    volume = read_label_image(atlas.image).volume
    return np.stack([values[volume == label].mean(axis=0) for label in atlas.parcels.labels], axis=1)


def by_masker(image: Path, atlas: Atlas, *, integers: bool = False) -> NDArray[Any]:
    """The same by nilearn, which orders parcels by their labels.

    It is several times as fast when the labels are integers; A424's image, like many, holds them in float32.
    """
    import nibabel as nib
    from nilearn.maskers import NiftiLabelsMasker

    assert atlas.image is not None
    labels: Any = nib.load(atlas.image)
    if integers:
        labels = nib.Nifti1Image(read_label_image(atlas.image).volume, labels.affine)
    return np.asarray(NiftiLabelsMasker(labels, standardize=None).fit_transform(image))


def growth_of_process(image: Path, atlas: Atlas) -> int:
    """Bytes that this process grows by at most while it parcellates; to be run in a fresh process."""
    before = resident_memory()
    read_nifti(image, atlas)
    peak = peak_memory()
    assert before is not None, "asked before this process was started"
    assert peak is not None
    return peak - before.own - before.mapped


# What is parcellated --------------------------------------------------------------------------------------------------


def write_image(folder: Path, sizes: ParcellationSizes) -> tuple[Path, Atlas]:
    """An image of noise in a brain and an atlas in it; written unless they are in ``folder`` already."""
    import nibabel as nib
    from isal import igzip

    image, labels = folder / "image.nii.gz", folder / "labels.nii.gz"
    if not image.is_file():
        affine = nib.affines.from_matvec(np.eye(3) * VOXEL_MM, -np.array(sizes.shape) * VOXEL_MM / 2)
        nib.save(nib.Nifti1Image(_parcels(sizes), affine), labels)
        header = nib.Nifti1Header()
        header.set_data_shape((*sizes.shape, sizes.num_volumes))
        header.set_data_dtype(np.int16)
        header.set_sform(affine, "mni")
        header.set_qform(affine, "mni")
        header.set_xyzt_units("mm", "sec")
        header["pixdim"][4], header["vox_offset"] = TR_S, header.single_vox_offset
        with igzip.open(image, "wb", compresslevel=1) as file:
            file.write(header.binaryblock + bytes(header.single_vox_offset - header.sizeof_hdr))
            for volume in _volumes(sizes):
                file.write(volume.tobytes())
    return image, Atlas.from_image(labels, None, name="random")


def _volumes(sizes: ParcellationSizes) -> Iterator[NDArray[np.int16]]:
    rng = np.random.default_rng(0)
    brain = np.flatnonzero(_ellipsoid(sizes.shape, BRAIN_SIZE).ravel(order="F"))
    means = rng.uniform(LOWEST, HIGHEST, len(brain)).astype(np.float32)
    volume = np.zeros(int(np.prod(sizes.shape)), np.int16)
    for _ in range(sizes.num_volumes):
        volume[brain] = means + NOISE * rng.standard_normal(len(brain), dtype=np.float32)
        yield volume


def _parcels(sizes: ParcellationSizes) -> NDArray[np.float32]:
    """Every voxel belongs to the nearest of random points; in float32, as in A424."""
    from scipy.spatial import KDTree

    inside = np.argwhere(_ellipsoid(sizes.shape, PARCELS_SIZE))
    points: Int64[np.ndarray, "P 3"] = np.random.default_rng(0).choice(inside, sizes.num_parcels, replace=False)
    labels = np.zeros(sizes.shape, np.float32)
    labels[tuple(inside.T)] = KDTree(points).query(inside)[1] + 1
    return labels


def _ellipsoid(shape: tuple[int, int, int], size: float) -> Bool[np.ndarray, "X Y Z"]:
    axes = np.ogrid[tuple(slice(-0.5, 0.5, 1j * length) for length in shape)]
    return np.asarray(sum((axis / size) ** 2 for axis in axes) < 1)
