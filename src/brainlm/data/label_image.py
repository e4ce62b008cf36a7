"""A NIfTI image whose integers are parcels: reading it, its labels, and where each parcel's centre lies."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int64

from brainlm.errors import AtlasError


@dataclass(frozen=True, eq=False)
class LabelImage:
    """A label image in memory: ``labels`` are the integers above 0 in it, ascending; ``affine`` takes voxels to mm."""

    path: Path
    volume: Int[np.ndarray, "X Y Z"]
    affine: Float[np.ndarray, "4 4"]
    labels: Int64[np.ndarray, "P"]

    def centroids(self, labels: Int64[np.ndarray, "P"]) -> Float32[np.ndarray, "P 3"]:
        """The centre of gravity of each parcel, in mm, in the order of ``labels``; NaN for one that is not there.

        Of a parcel that is curved, or in both hemispheres, the centre may lie outside it.
        """
        voxels = np.nonzero(self.volume)
        values = self.volume[voxels]
        size = int(max(self.labels.max(), labels.max())) + 1
        counts = np.bincount(values, minlength=size).astype(np.float64)
        counts[counts == 0] = np.nan
        centres = np.stack([np.bincount(values, weights=axis, minlength=size) / counts for axis in voxels], axis=1)
        mm = centres[labels] @ self.affine[:3, :3].T + self.affine[:3, 3]
        return mm.astype(np.float32)


def read_label_image(path: str | Path) -> LabelImage:
    """The label image at ``path``.

    Raises:
        AtlasError: no such file, not a NIfTI image, not three-dimensional, or values that are not whole numbers.
    """
    import nibabel as nib

    path = Path(path)
    if not path.is_file():
        raise AtlasError(f"no label image at {path}", remedy="correct the path")
    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise AtlasError(
            f"{path} cannot be read as an image",
            expected="a NIfTI label image (.nii or .nii.gz)",
            found=str(error),
            remedy="download or write it again",
        ) from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise AtlasError(
            f"{path} is not a label image",
            expected="three dimensions, every voxel the integer of its parcel",
            found=f"shape {values.shape}",
            remedy="give a label image (probabilistic maps, one volume a parcel, are not supported)",
        )
    # Many label images are stored as float: that is fine as long as the values are whole.
    whole = np.isfinite(values) & (values == np.round(values)) & (values >= 0)
    if not whole.all():
        raise AtlasError(
            f"{path} is not a label image",
            expected="whole numbers from 0 (0 is no parcel)",
            found=f"{values[~whole].flat[0]!r} and {int((~whole).sum()) - 1} more such voxels",
            remedy="if it was resampled, resample again with nearest-neighbour interpolation",
        )
    volume = values.astype(np.int32)
    labels = np.unique(volume)
    if not labels[labels > 0].size:
        raise AtlasError(f"{path} holds no parcel", expected="integers above 0", found="only 0")
    return LabelImage(path, volume, np.asarray(image.affine, dtype=np.float64), labels[labels > 0].astype(np.int64))
