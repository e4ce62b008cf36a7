"""One value a parcel as a NIfTI image in the atlas's grid, for viewers and for other people's maps."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.atomic import disk_errors, replacing
from brainlm.data.label_image import read_label_image
from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError


def write_image(path: Path, parcels: Parcels, atlas: Path, values: Float[np.ndarray, "P"], *, description: str) -> None:
    """Every voxel of a parcel gets its value (float32); 0 outside the parcels, and NaN in parcels without one.

    Args:
        path: a ``.nii.gz``; the same values give the same bytes.
        atlas: the label image.
        description: for the header, 79 characters at most.

    Raises:
        AtlasError: the image cannot be read or holds none of the parcels' labels.
        DataError: the file cannot be written.
    """
    import nibabel as nib

    labels = read_label_image(atlas)
    if not np.isin(parcels.labels, labels.labels).any():
        raise AtlasError(
            "the label image does not belong to the parcels table",
            expected="an image whose values are the labels of parcels.tsv",
            found=f"{atlas}: labels {labels.labels.min()} to {labels.labels.max()}",
            remedy="replace it by the atlas's label image, or delete it to do without images",
        )
    value_of = np.zeros(int(max(labels.labels.max(), parcels.labels.max())) + 1, dtype=np.float32)
    value_of[parcels.labels] = values
    header: Any = nib.load(atlas).header.copy()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    header["descrip"] = description.encode()[:79]
    header["cal_min"] = header["cal_max"] = 0
    image = nib.Nifti1Image(value_of[labels.volume], labels.affine, header)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(gzip.compress(image.to_bytes(), mtime=0))
