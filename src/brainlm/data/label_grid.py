"""Which voxels of a scan belong to which parcel, and with what weight, from the atlas's image and the scan's grid.

Both lie in MNI space (``mni.py`` sees to that). What the voxels hold is averaged in ``parcellate.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64
from scipy.sparse import csr_array, diags_array

from brainlm.data.atlas import Atlas
from brainlm.data.grid import Grid
from brainlm.data.label_image import LabelImage, read_label_image
from brainlm.errors import AtlasError

How = Literal["same grid", "labels resampled", "labels resampled, small parcels sampled"]

# A parcel that resampling leaves with less than this share of its volume (as far as it lies in the image) is as good
# as lost: what is left of it can lie all on one side.
MIN_VOLUME_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class LabelGrid:
    """The parcels of an atlas on the grid of a scan.

    ``voxels`` are the numbers of the image's voxels that are needed, ascending, first axis fastest; they are the
    columns of both matrices. ``weights`` says how much a voxel counts in a parcel (rows need not add up to 1),
    ``counts`` how many of the parcel's atlas voxels fall into it. ``num_atlas_voxels`` also counts those that fall
    outside the image.
    """

    voxels: Int64[np.ndarray, "V"]
    weights: csr_array
    counts: csr_array
    num_atlas_voxels: Int64[np.ndarray, "P"]
    how: How

    @property
    def share_in_view(self) -> float:
        """The share of all the atlas's voxels that fall into the image."""
        return float(self.counts.sum() / self.num_atlas_voxels.sum())

    def only(self, kept_V: Bool[np.ndarray, "V"]) -> LabelGrid:
        """The same without the voxels that are not kept."""
        kept = np.flatnonzero(kept_V)
        weights = self.weights[:, kept]
        counts = weights if self.counts is self.weights else self.counts[:, kept]
        return LabelGrid(self.voxels[kept], weights, counts, self.num_atlas_voxels, self.how)


def label_grid(atlas: Atlas, grid: Grid) -> LabelGrid:
    """The parcels of ``atlas``, in the order of its table, on ``grid``.

    - The same grid: each voxel has its label.
    - Another one: every voxel of the image takes the label at its centre (nearest neighbour).
    - A parcel that this leaves with less than half of its volume (``MIN_VOLUME_SHARE``), as far as it lies in the
      image, is sampled the other way: each of its atlas voxels takes the value of the image voxel its centre falls
      into. No parcel in view is lost then. It shares these voxels with the parcels around it: of an image coarser than
      a parcel, nothing better can be had.

    The second way for all parcels would be worse for the others: it weighs voxels on their borders as much as those
    inside. A parcel outside the image has no voxels. The last few results are kept: thousands of scans share a grid.

    Raises:
        AtlasError: the atlas has no label image.
    """
    if atlas.image is None:
        raise AtlasError(
            f"the atlas {atlas.name} has no label image",
            expected="a NIfTI image whose integers are the parcels' labels",
            found="a table of parcels only",
            remedy="give --atlas the path of the image (with parcels.tsv beside it)",
        )
    labels = tuple(int(label) for label in atlas.parcels.labels)
    return _label_grid(atlas.image, atlas.sha256, labels, grid.shape, grid.affine.tobytes())


def atlas_voxels(atlas: Atlas) -> LabelImage:
    """The label image of an atlas that has one; the last one is kept."""
    assert atlas.image is not None, "label_grid was asked first"
    return _read(atlas.image, atlas.sha256)


@lru_cache(maxsize=1)
def _read(path: object, sha256: str) -> LabelImage:
    del sha256  # only tells one content of a path from another
    return read_label_image(str(path))


@lru_cache(maxsize=4)
def _label_grid(
    path: object, sha256: str, labels: tuple[int, ...], shape: tuple[int, int, int], affine: bytes
) -> LabelGrid:
    image = _read(path, sha256)
    grid = Grid(shape, np.frombuffer(affine).reshape(4, 4))
    atlas_grid = Grid(image.volume.shape, image.affine)
    parcels = _positions(image, labels)
    counts, num_atlas_voxels = _by_atlas_voxels(image, atlas_grid, parcels, grid)
    if grid.same_as(atlas_grid):
        return _compact(counts, counts, num_atlas_voxels, "same grid")
    weights = _by_image_voxels(image, atlas_grid, parcels, grid)
    in_view_mm3 = counts.sum(axis=1) * atlas_grid.voxel_mm3
    left_mm3 = weights.sum(axis=1) * grid.voxel_mm3
    lost = left_mm3 < MIN_VOLUME_SHARE * in_view_mm3
    if not lost.any():
        return _compact(weights, counts, num_atlas_voxels, "labels resampled")
    weights = (diags_array(1.0 - lost) @ weights + diags_array(lost.astype(np.float64)) @ counts).tocsr()
    weights.eliminate_zeros()
    return _compact(weights, counts, num_atlas_voxels, "labels resampled, small parcels sampled")


def _positions(image: LabelImage, labels: tuple[int, ...]) -> Int64[np.ndarray, "L"]:
    """The row of each label in the table, by label; -1 for no parcel."""
    parcels = np.full(int(max(image.labels.max(), *labels)) + 1, -1, dtype=np.int64)
    parcels[list(labels)] = np.arange(len(labels))
    return parcels


def _by_atlas_voxels(
    image: LabelImage, atlas_grid: Grid, parcels: Int64[np.ndarray, "L"], grid: Grid
) -> tuple[csr_array, Int64[np.ndarray, "P"]]:
    """How many voxels of each parcel fall into each image voxel, and how many it has."""
    indices = np.argwhere(image.volume)
    rows = parcels[image.volume[tuple(indices.T)]]
    indices, rows = indices[rows >= 0], rows[rows >= 0]
    num_parcels = int(parcels.max()) + 1
    voxels = grid.voxels_at(indices, atlas_grid)
    inside = voxels >= 0
    ones = np.ones(int(inside.sum()))
    # Converting from coordinates adds up what falls into one voxel.
    counts = csr_array((ones, (rows[inside], voxels[inside])), shape=(num_parcels, grid.num_voxels))
    return counts, np.bincount(rows, minlength=num_parcels)


def _by_image_voxels(image: LabelImage, atlas_grid: Grid, parcels: Int64[np.ndarray, "L"], grid: Grid) -> csr_array:
    """One for each image voxel whose centre lies in a parcel."""
    rows = parcels[grid.sample(image.volume, atlas_grid)]
    voxels = np.flatnonzero(rows >= 0)
    shape = (int(parcels.max()) + 1, grid.num_voxels)
    return csr_array((np.ones(len(voxels)), (rows[voxels], voxels)), shape=shape)


def _compact(weights: csr_array, counts: csr_array, num_atlas_voxels: Int64[np.ndarray, "P"], how: How) -> LabelGrid:
    """Both matrices with the columns that either needs."""
    voxels = np.union1d(weights.indices, counts.indices).astype(np.int64)
    same = counts is weights
    weights = weights[:, voxels]
    return LabelGrid(voxels, weights, weights if same else counts[:, voxels], num_atlas_voxels, how)
