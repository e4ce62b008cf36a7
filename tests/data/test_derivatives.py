"""The made-up derivatives are what they say: series come out of the images, confounds are what nilearn expects."""

import zipfile

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from derivatives import (
    a424_atlas,
    grid_2009c,
    made_up_motion,
    mni_grid,
    paint_cifti,
    paint_nifti,
    series,
    shortened,
    small_atlas,
    truncated,
    write_fmriprep_tree,
    write_hcp_tree,
    write_plain_tree,
    write_ukb_tree,
    write_xcpd_tree,
)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return small_atlas(tmp_path_factory.mktemp("atlas"), num_parcels=12, voxel_mm=12)


def means(image: nib.Nifti1Image, labels: np.ndarray, num_parcels: int) -> np.ndarray:
    values = np.asanyarray(image.dataobj)
    return np.stack([values[labels == label].mean(axis=0) for label in range(1, num_parcels + 1)], axis=1)


@pytest.mark.parametrize(
    "grid",
    [
        None,
        mni_grid(8),
        mni_grid(10, flip_x=False, flip_y=True),
        mni_grid(10, axes="yzx"),
        mni_grid(10, oblique_deg=10),
        grid_2009c(10),
    ],
)
def test_series_come_out_of_painted_images_whatever_their_grid(atlas, tmp_path, grid):
    bold = series(6, 12)
    painted = paint_nifti(bold, atlas, tmp_path / "a.nii.gz", grid=grid, mask=tmp_path / "m.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(means(image, painted.labels, 12), bold, atol=0.05)
    np.testing.assert_allclose(image.affine, painted.grid.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / "m.nii.gz").dataobj) > 0, painted.brain)


def test_half_a_parcel_can_be_without_signal_and_a_drift_is_added_to_the_truth(atlas, tmp_path):
    bold = series(5, 12)
    whole = paint_nifti(bold, atlas, tmp_path / "a.nii", dtype="float32")
    half = paint_nifti(bold, atlas, tmp_path / "b.nii", dtype="float32", coverage={3: 0.5}, drift=100)
    assert abs(half.num_voxels_P[2] - whole.num_voxels_P[2] / 2) <= 1
    drifted = means(nib.load(tmp_path / "b.nii"), half.labels, 12)
    np.testing.assert_allclose(drifted - bold, np.repeat(np.arange(5)[:, None] * 25, 12, axis=1), atol=1e-2)


@pytest.mark.parametrize("name", ["a.dtseries.nii", "a.ptseries.nii"])
def test_cifti_images_hold_the_series_and_the_repetition_time(atlas, tmp_path, name):
    image = nib.load(paint_cifti(series(5, 12), atlas, tmp_path / name, tr=0.72))
    assert image.header.get_axis(0).step == 0.72
    if name.startswith("a.p"):
        np.testing.assert_allclose(image.get_fdata(), series(5, 12), rtol=1e-6)


def test_trees_hold_a_truth_for_each_run(atlas, tmp_path):
    settings = {"num_timepoints": 4, "subjects": ("01",)}
    fmriprep = write_fmriprep_tree(tmp_path / "a", atlas, sessions=("1", "2"), cifti=True, **settings)
    xcpd = write_xcpd_tree(tmp_path / "b", atlas, **settings)
    hcp = write_hcp_tree(tmp_path / "c", atlas, num_timepoints=4, subjects=("100307",))
    ukb = write_ukb_tree(tmp_path / "d", atlas, num_timepoints=4, subjects=("1234567",), zips=True, task=True)
    plain = write_plain_tree(tmp_path / "e", atlas, num_timepoints=4)
    assert list(fmriprep.truth) == ["sub-01_ses-1_task-rest", "sub-01_ses-2_task-rest"]
    assert list(xcpd.truth) == ["sub-01_task-rest"]
    assert list(hcp.truth) == ["sub-100307_task-rest_run-1LR", "sub-100307_task-WM_run-RL"]
    assert list(ukb.truth) == ["sub-1234567_ses-2_task-rest", "sub-1234567_ses-2_task-faces"]
    assert list(plain.truth) == ["sub-01_task-rest", "sub-02_task-rest"]
    assert all(known.bold.shape == (4, 12) for tree in (fmriprep, hcp, ukb) for known in tree.truth.values())
    with zipfile.ZipFile(ukb.root / "20227" / "1234567_20227_2_0.zip") as archive:
        assert "fMRI/rfMRI.ica/reg_standard/filtered_func_data_clean.nii.gz" in archive.namelist()


def test_nilearn_takes_the_confounds_of_the_fmriprep_tree(atlas, tmp_path):
    from nilearn.interfaces.fmriprep import load_confounds

    tree = write_fmriprep_tree(tmp_path, atlas, subjects=("01", "02"), num_timepoints=80)
    path = next(tree.root.rglob("sub-02*desc-preproc_bold.nii.gz"))
    table, kept = load_confounds(
        str(path), strategy=("motion", "high_pass", "wm_csf", "scrub"), motion="full", fd_threshold=0.5, scrub=0
    )
    assert table.shape[0] == 80
    jump = tree.truth["sub-02_task-rest"].motion.jumps[0]
    assert jump not in kept
    compcor, _ = load_confounds(str(path), strategy=("high_pass", "compcor"), compcor="anat_combined", n_compcor=5)
    assert sum("a_comp_cor" in name for name in compcor) == 5


def test_framewise_displacement_counts_a_jump_once():
    motion = made_up_motion(20, jumps=(7,), jump_mm=2.0)
    assert np.isnan(motion.fd_mm[0])
    assert np.flatnonzero(motion.fd_mm > 1).tolist() == [7]


def test_files_can_be_cut_off(atlas, tmp_path):
    paint_nifti(series(3, 12), atlas, tmp_path / "a.nii.gz")
    paint_nifti(series(3, 12), atlas, tmp_path / "b.nii.gz")
    truncated(tmp_path / "a.nii.gz")
    shortened(tmp_path / "b.nii.gz")
    for name in ("a", "b"):
        with pytest.raises((OSError, EOFError, ValueError)):
            np.asanyarray(nib.load(tmp_path / f"{name}.nii.gz").dataobj)


def test_real_series_go_into_the_real_atlas(shared, tmp_path):
    atlas = a424_atlas(shared)
    bold = series(2, 424, shared=shared)
    painted = paint_nifti(bold, atlas, tmp_path / "a.nii.gz")
    assert painted.num_voxels_P.min() == 1
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(means(image, painted.labels, 424), bold, atol=1.0)
    assert not np.array_equal(series(2, 424, seed=1, shared=shared), bold)
    assert series(100, 200, shared=shared).shape == (100, 200)
    assert pd.notna(bold).all()
