"""Images for the demo, painted from its own recordings: somewhere to start from where no whole-brain image is at hand.

Every voxel of a parcel carries the parcel's series and noise of its own; the recordings and the atlas are read in
``demo.py``.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from brainlm.atomic import replacing, write_text
from brainlm.data.atlas import Atlas
from brainlm.data.recording import Recording
from brainlm.data.store import Store

SPACE = "MNI152NLin6Asym"
# In standard deviations of a parcel's series, in the middle of the parcels:
LEVEL = 50.0  # of the whole signal, as of a scanner
NOISE = 2.0  # of each voxel
COARSER = 2  # every so many of the atlas's voxels in each direction
STEP = 0.005  # one step of the stored integers; 16 bits reach 160


def write_demo_images(store: Store, folder: Path, *, num_recordings: int = 2, seed: int = 0) -> list[Path]:
    """Paint the first test recordings of ``store`` into 4-D images, named and described as in BIDS derivatives.

    Args:
        store: with its atlas's label image.
        folder: the data set to write; what is there already is kept.
        num_recordings: how many are painted.
        seed: of the noise.

    Returns:
        The images.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    atlas = Atlas.load(store.path)
    assert atlas.image is not None, "the demo's store keeps its label image"
    chosen = store.select(split="test")
    labels: Any = nib.load(atlas.image)
    # Coarser than the atlas, as scans are: a fraction of the disk, and the grids have to be brought together.
    label_XYZ = np.asarray(labels.dataobj)[::COARSER, ::COARSER, ::COARSER].astype(np.int64)
    affine = labels.affine @ np.diag([COARSER, COARSER, COARSER, 1])
    images = []
    description = {"Name": "painted demo", "BIDSVersion": "1.8.0", "DatasetType": "derivative"}
    write_text(folder / "dataset_description.json", json.dumps(description))
    for index in range(min(num_recordings, len(chosen))):
        recording = chosen[index]
        path = folder / recording.subject / "func" / f"{recording.name}_space-{SPACE}_desc-preproc_bold.nii.gz"
        images.append(path)
        if path.exists():
            continue
        sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
        write_text(sidecar, json.dumps({"RepetitionTime": recording.tr, "TaskName": recording.task}))
        _paint(recording, label_XYZ, affine, atlas, path, np.random.default_rng(seed + index))
    return images


def _paint(
    recording: Recording,
    label_XYZ: np.ndarray,
    affine: np.ndarray,
    atlas: Atlas,
    path: Path,
    rng: np.random.Generator,
) -> None:
    has_signal_P = np.isfinite(recording.bold).all(axis=0)
    spread = float(np.median(recording.bold[:, has_signal_P].std(axis=0)))
    image_XYZT = np.zeros((*label_XYZ.shape, recording.num_timepoints), np.int16)
    for column, label in enumerate(atlas.parcels.labels):
        if not has_signal_P[column]:
            continue  # nothing in the image either
        voxels = np.nonzero(label_XYZ == label)
        series_T = recording.bold[:, column] - recording.bold[:, column].mean()
        noise_VT = NOISE * spread * rng.standard_normal((len(voxels[0]), recording.num_timepoints))
        image_XYZT[voxels] = np.round((LEVEL * spread + series_T + noise_VT) / (STEP * spread)).astype(np.int16)
    image = nib.Nifti1Image(image_XYZT, affine)
    image.header.set_slope_inter(STEP * spread, 0)
    image.header["pixdim"][4] = recording.tr
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="mni")
    with replacing(path) as file:
        file.write(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
