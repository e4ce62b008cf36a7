"""Parcels on the grid of a scan: as a loop over voxels would put them, whatever way the axes run."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from brainlm.data.atlas import Atlas
from brainlm.data.grid import Grid
from brainlm.data.label_grid import MIN_VOLUME_SHARE, label_grid
from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError

SHAPE = (12, 14, 10)
AFFINE = np.array([[-2.0, 0, 0, 11], [0, 2.0, 0, -13], [0, 0, 2.0, -9], [0, 0, 0, 1]])
LABELS = (30, 4, 7, 11, 2)  # with gaps, and in another order than that of the numbers
RESAMPLED, SAMPLED = "labels resampled", "labels resampled, small parcels sampled"


@pytest.fixture
def volume(rng) -> np.ndarray:
    """Five blobs around random points, empty towards the edge, and one parcel of a single voxel."""
    points = rng.uniform(3, [9, 11, 7], (4, 3))
    indices = np.indices(SHAPE).reshape(3, -1).T
    nearest = np.linalg.norm(indices[:, None] - points, axis=2).argmin(axis=1)
    inside = np.linalg.norm((indices - (np.array(SHAPE) - 1) / 2) / np.array(SHAPE), axis=1) < 0.42
    values = np.where(inside, np.array(LABELS)[nearest], 0).reshape(SHAPE)
    values[6, 7, 5] = LABELS[4]
    return values


@pytest.fixture
def make_atlas(tmp_path):
    def make(volume, affine=AFFINE, labels=LABELS, name="toy") -> Atlas:
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(volume.astype(np.float32), affine), path)
        table = pd.DataFrame({"label": labels, "name": [f"area {label}" for label in labels]})
        return Atlas.from_image(path, table, name=name)

    return make


@pytest.fixture
def atlas(make_atlas, volume) -> Atlas:
    return make_atlas(volume)


def centred(shape, size_mm, *, angles=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)) -> Grid:
    """A grid whose middle is that of the atlas, turned by angles and moved by mm."""
    rotation = nib.eulerangles.euler2mat(*angles)
    matrix = rotation @ np.diag(np.broadcast_to(np.asarray(size_mm, float), 3))
    middle = AFFINE[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + AFFINE[:3, 3]
    offset = middle + shift - matrix @ ((np.array(shape) - 1) / 2)
    return Grid(tuple(shape), nib.affines.from_matvec(matrix, offset))


def nearest_voxel(grid: Grid, mm) -> tuple | None:
    """The indices of the voxel of ``grid`` around a point, the slow way; None outside."""
    place = np.floor(nib.affines.apply_affine(np.linalg.inv(grid.affine), mm) + 0.5 + 1e-6).astype(int)
    return tuple(place) if (place >= 0).all() and (place < grid.shape).all() else None


def dense(labels, grid) -> tuple[np.ndarray, np.ndarray]:
    """Weights and counts as arrays of parcels and the axes of the image."""
    arrays = []
    for matrix in (labels.weights, labels.counts):
        full = np.zeros((matrix.shape[0], grid.num_voxels))
        full[:, labels.voxels] = matrix.toarray()
        arrays.append(full.reshape(-1, *grid.shape, order="F"))
    return arrays[0], arrays[1]


def by_loops(volume, grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labels at image voxels, atlas voxels in image voxels, which parcels lose), one voxel at a time."""
    atlas_grid = Grid(SHAPE, AFFINE)
    weights, counts = (np.zeros((len(LABELS), *grid.shape)) for _ in range(2))
    for index in np.ndindex(grid.shape):
        there = nearest_voxel(atlas_grid, nib.affines.apply_affine(grid.affine, index))
        if there is not None and volume[there]:
            weights[(LABELS.index(volume[there]), *index)] = 1
    for index in np.argwhere(volume):
        there = nearest_voxel(grid, nib.affines.apply_affine(AFFINE, index))
        if there is not None:
            counts[(LABELS.index(volume[tuple(index)]), *there)] += 1
    left, in_view = (array.sum(axis=(1, 2, 3)) for array in (weights, counts))
    return weights, counts, left * grid.voxel_mm3 < MIN_VOLUME_SHARE * in_view * 8.0


GRIDS = {
    "finer": centred((24, 28, 20), 1.0, shift=(0.1, 0.2, 0.3)),
    "shifted": centred(SHAPE, 2.0, shift=(0.5, -0.5, 0.5)),
    "coarser": centred((8, 9, 7), 3.0),
    "coarsest": centred((6, 7, 5), 4.0),
    "anisotropic": centred((10, 12, 6), (2.5, 2.5, 4.0)),
    "oblique": centred((15, 17, 14), 2.0, angles=(0.3, -0.2, 0.4)),
    "oblique, finer": centred((28, 32, 26), 1.1, angles=(0.3, -0.2, 0.4)),
    "small view": centred((7, 14, 10), 2.0, shift=(5.0, 0, 0)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_parcels_are_where_a_loop_over_voxels_puts_them(atlas, volume, name):
    grid = GRIDS[name]
    labels = label_grid(atlas, grid)
    weights, counts = dense(labels, grid)
    expected_weights, expected_counts, lost = by_loops(volume, grid)
    expected_weights[lost] = expected_counts[lost]
    np.testing.assert_array_equal(counts, expected_counts)
    np.testing.assert_array_equal(weights, expected_weights)
    assert labels.how == (SAMPLED if lost.any() else RESAMPLED)
    assert lost.any() == (name in ("coarsest", "anisotropic"))
    assert not lost[:4].any()
    np.testing.assert_array_equal(labels.num_atlas_voxels, [(volume == label).sum() for label in LABELS])
    assert (np.diff(labels.voxels) > 0).all()


def test_the_same_grid_is_used_as_it_is(atlas, volume):
    labels = label_grid(atlas, Grid(SHAPE, AFFINE + 1e-6))
    weights, counts = dense(labels, Grid(SHAPE, AFFINE))
    assert labels.how == "same grid"
    assert labels.share_in_view == 1
    np.testing.assert_array_equal(weights, np.stack([volume == label for label in LABELS]))
    np.testing.assert_array_equal(weights, counts)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("steps", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_flips_and_permutations_of_the_axes_change_nothing(atlas, volume, order, steps):
    """The data of a scan turned round, its affine with it: each voxel keeps its place in space, and its label."""
    image = nib.Nifti1Image(volume.astype(np.int16), AFFINE)
    turned = image.as_reoriented(np.stack([np.argsort(order), np.array(steps)[np.argsort(order)]], axis=1))
    grid = Grid(turned.shape, turned.affine)
    weights, _ = dense(label_grid(atlas, grid), grid)
    expected = np.asanyarray(turned.dataobj)
    np.testing.assert_array_equal(weights, np.stack([expected == label for label in LABELS]))


def test_a_parcel_of_one_voxel_is_never_lost_in_a_coarse_image(make_atlas, volume):
    lost = 0
    for shift in np.linspace(0, 3, 7):
        labels = label_grid(make_atlas(volume), centred((6, 7, 5), 4.0, shift=(shift, 0, 0)))
        assert (labels.counts.sum(axis=1) > 0).all()
        assert (labels.weights.sum(axis=1) > 0).all()
        lost += labels.how == SAMPLED
    assert lost > 0


def test_a_parcel_out_of_view_has_no_voxels_but_is_counted(make_atlas):
    volume = np.zeros(SHAPE, int)
    volume[:6], volume[6:] = 1, 2
    atlas = make_atlas(volume, labels=(1, 2))
    labels = label_grid(atlas, Grid((6, 14, 10), AFFINE))
    assert labels.how == RESAMPLED
    assert labels.counts.sum(axis=1).tolist() == [*labels.num_atlas_voxels.tolist()[:1], 0]
    assert labels.share_in_view == pytest.approx(0.5)


def test_halves_between_voxels_all_go_the_same_way(make_atlas):
    """1 mm voxels whose every second centre lies on a border of the atlas's: each parcel gets the same volume."""
    volume = np.zeros(SHAPE, int)
    volume[2:10, 2:10, 2:4] = np.arange(1, 9)[:, None, None]
    atlas = make_atlas(volume, labels=tuple(range(1, 9)))
    affine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    labels = label_grid(atlas, Grid((24, 28, 20), affine))
    assert labels.how == RESAMPLED
    np.testing.assert_array_equal(labels.weights.sum(axis=1), np.full(8, 8 * 2 * 8))


def test_leaving_voxels_out_keeps_the_others(atlas, rng):
    grid = GRIDS["oblique"]
    labels = label_grid(atlas, grid)
    kept = rng.random(len(labels.voxels)) < 0.5
    fewer = labels.only(kept)
    weights, counts = dense(labels, grid)
    fewer_weights, fewer_counts = dense(fewer, grid)
    mask = np.zeros(grid.num_voxels, bool)
    mask[labels.voxels[kept]] = True
    mask = mask.reshape(grid.shape, order="F")
    np.testing.assert_array_equal(fewer_weights, weights * mask)
    np.testing.assert_array_equal(fewer_counts, counts * mask)
    np.testing.assert_array_equal(fewer.num_atlas_voxels, labels.num_atlas_voxels)


def test_another_image_at_the_same_path_is_not_mistaken_for_the_first(make_atlas, volume):
    grid = Grid(SHAPE, AFFINE)
    first = label_grid(make_atlas(volume), grid)
    assert label_grid(make_atlas(volume), grid) is first, "thousands of scans share one grid"
    second = label_grid(make_atlas(volume[::-1]), grid)
    assert not np.array_equal(dense(first, grid)[0], dense(second, grid)[0])


def test_an_atlas_without_label_image_is_an_error():
    atlas = Atlas(Parcels.unnamed(3), None, "table", "0")
    with pytest.raises(AtlasError, match="no label image"):
        label_grid(atlas, Grid(SHAPE, AFFINE))
