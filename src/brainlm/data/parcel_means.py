"""The mean of every parcel in every volume, over the voxels that have signal, in one pass over the image.

Which voxels belong to which parcel is known from ``label_grid.py``; only these are looked at, and one volume at a time
is in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from brainlm.data.label_grid import LabelGrid
from brainlm.data.volumes import Image, open_image
from brainlm.errors import DataError

MOST_SHOWN = 5  # numbers of empty volumes in a message


@dataclass(frozen=True, eq=False)
class ParcelMeans:
    """``means`` in the units of the scan, NaN for a parcel no voxel of which has signal; which voxels of the labels
    have signal; and the first volume as stored.
    """

    means: Float64[np.ndarray, "T P"]
    valid: Bool[np.ndarray, "V"]
    first_volume: Shaped[np.ndarray, "num_voxels"]


def parcel_means(image: Image, labels: LabelGrid, *, inside: Bool[np.ndarray, "V"]) -> ParcelMeans:
    """The means over those voxels of ``labels`` that are ``inside``, always finite, and not constant in time.

    A voxel that turns out to be constant has been summed with the others, and is taken out of the sums afterwards, as
    constant times weight. That is exact for integers and for zero. Where it would not be, and where a voxel is not
    finite in a volume after the first, the image is read once more without these voxels.

    Sums are taken of the stored values, in float64; ``slope * mean + intercept`` comes last, being linear.

    Raises:
        DataError: volumes without any image, or a damaged file.
    """
    volumes = image.volumes()
    first = next(volumes)
    kept = inside & np.isfinite(first[labels.voxels])
    if not np.isfinite(first).any():
        raise _empty_volumes([0], image)
    labels = labels.only(kept)
    sums = _sum(itertools.chain([first], volumes), image, labels)
    valid = sums.valid
    constant = sums.finite & ~valid
    inexact = sums.lowest.dtype.kind == "f" and bool(sums.lowest[constant].any())
    if inexact or not sums.finite.all():
        with open_image(image.header.path) as again:
            sums_TP = _sum(again.volumes(), again, labels.only(valid)).sums
    else:
        sums_TP = sums.sums
        sums_TP -= labels.weights @ np.where(constant, sums.lowest, 0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        means_TP = sums_TP / (labels.weights @ valid.astype(np.float64))
    everywhere = np.zeros_like(kept)
    everywhere[kept] = valid
    return ParcelMeans(image.header.slope * means_TP + image.header.intercept, everywhere, first)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Weighted sums of stored values, and the lowest and highest value of each voxel: NaN if it was ever NaN."""

    sums: Float64[np.ndarray, "T P"]
    lowest: Shaped[np.ndarray, "V"]
    highest: Shaped[np.ndarray, "V"]

    @property
    def finite(self) -> Bool[np.ndarray, "V"]:
        """Voxels that were finite in every volume."""
        return np.asarray(np.isfinite(self.lowest) & np.isfinite(self.highest))

    @property
    def valid(self) -> Bool[np.ndarray, "V"]:
        """Voxels that were finite in every volume, and not always the same."""
        return self.finite & (self.lowest < self.highest)


def _sum(volumes: Iterable[Shaped[np.ndarray, "num_voxels"]], image: Image, labels: LabelGrid) -> _Sums:
    sums_TP = np.zeros((image.header.num_volumes, labels.weights.shape[0]))
    lowest = highest = np.zeros(0, image.header.dtype)
    empty = []
    for number, volume in enumerate(volumes):
        values = _native(volume[labels.voxels])
        if number == 0:
            lowest, highest = values.copy(), values.copy()
        np.minimum(lowest, values, out=lowest)
        np.maximum(highest, values, out=highest)
        if _is_empty(values):
            empty.append(number)
        sums_TP[number] = labels.weights @ values.astype(np.float64)
    # Where nothing ever changes the atlas lies beside the brain: that is for others to say.
    if empty and (len(empty) < image.header.num_volumes or (lowest < highest).any()):
        raise _empty_volumes(empty, image)
    return _Sums(sums_TP, lowest, highest)


def _native(values: Shaped[np.ndarray, "V"]) -> Shaped[np.ndarray, "V"]:
    """The same numbers in the byte order of this machine, in which arithmetic is fast."""
    if values.dtype.isnative:
        return values
    return values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))


def _is_empty(values: Shaped[np.ndarray, "V"]) -> bool:
    """Whether a volume has one value everywhere, or no finite one."""
    if len(values) < 2:
        return False
    low, high = values.min(), values.max()
    if np.isnan(low):
        finite = values[np.isfinite(values)]
        return not finite.size or bool(finite.min() == finite.max())
    return bool(low == high)


def _empty_volumes(numbers: list[int], image: Image) -> DataError:
    shown = ", ".join(str(number + 1) for number in numbers[:MOST_SHOWN])
    more = ", ..." if len(numbers) > MOST_SHOWN else ""
    return DataError(
        f"{image.header.path} has volumes without an image",
        expected="different finite values within the brain, in every volume",
        found=f"one value, or none, throughout {len(numbers)} of {image.header.num_volumes} volumes: {shown}{more}",
        remedy="cut these volumes off (if they are at an end), or leave the scan out",
    )
