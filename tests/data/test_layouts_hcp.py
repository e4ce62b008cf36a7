"""The HCP's layout: which image of a run is read, and what its folders' names mean."""

from pathlib import Path

import pytest
from name_trees import touch

from brainlm.data.scans import find_scans

REST = "100307/MNINonLinear/Results/rfMRI_REST1_LR"


def run_folder(root: Path, run: str, *endings: str, subject: str = "100307") -> Path:
    folder = root / subject / "MNINonLinear" / "Results" / run
    touch(folder, *(f"{run}{ending}" for ending in endings), "Movement_Regressors.txt", "brainmask_fs.2.nii.gz")
    return folder


@pytest.mark.parametrize(
    "endings",
    [  # the first is read
        ("_hp2000_clean.nii.gz", "_Atlas_MSMAll_hp2000_clean.dtseries.nii", ".nii.gz"),
        ("_hp0_clean_rclean_tclean.nii.gz", "_hp0_clean.nii.gz", "_hp2000_clean.nii.gz"),
        ("_Atlas_MSMAll_hp2000_clean.dtseries.nii", "_Atlas_hp2000_clean.dtseries.nii", ".nii.gz"),
        ("_Atlas_MSMAll_hp2000_clean.dtseries.nii", "_Atlas_MSMAll.dtseries.nii"),
        (".nii.gz", "_Atlas_MSMAll.dtseries.nii", "_Atlas.dtseries.nii"),
        (".nii.gz", "_SBRef.nii.gz", "_hp2000_clean_vn.nii.gz", "_s2.atlasroi.L.32k_fs_LR.func.gii", "_mean.nii.gz"),
    ],
)
def test_of_several_images_of_a_run_one_is_read_by_a_fixed_order(tmp_path, endings):
    folder = run_folder(tmp_path, "rfMRI_REST1_LR", *reversed(endings))
    found = find_scans([tmp_path])
    assert [scan.path for scan in found.scans] == [str(folder / f"rfMRI_REST1_LR{endings[0]}")]
    assert found.layout == "hcp"
    assert found.failures == ()


def test_grayordinates_can_be_selected_by_their_space(tmp_path):
    run_folder(tmp_path, "rfMRI_REST1_LR", "_hp2000_clean.nii.gz", "_Atlas_MSMAll_hp2000_clean.dtseries.nii")
    (volume,) = find_scans([tmp_path]).scans
    (surface,) = find_scans([tmp_path], entities={"space": ["fsLR"]}).scans
    assert (volume.kind, surface.kind) == ("nifti", "cifti")
    assert (bool(volume.mask), bool(surface.mask)) == (True, False)


@pytest.mark.parametrize(
    ("subject", "run", "name"),
    [
        ("100307", "rfMRI_REST1_LR", "sub-100307_task-rest_run-1LR"),
        ("100307", "rfMRI_REST2_7T_AP", "sub-100307_task-rest_run-2AP7T"),
        ("100307", "tfMRI_WM_RL", "sub-100307_task-WM_run-RL"),
        ("100307", "tfMRI_MOVIE3_7T_PA", "sub-100307_task-MOVIE_run-3PA7T"),
        ("HCA6002236_V1_MR", "rfMRI_REST1_AP", "sub-HCA6002236_ses-V1_task-rest_run-1AP"),
        ("HCD0001305_V1_MR", "rfMRI_REST1a_PA", "sub-HCD0001305_ses-V1_task-rest_run-1aPA"),
    ],
)
def test_names_of_folders_say_whose_run_it_is(tmp_path, subject, run, name):
    folder = run_folder(tmp_path, run, ".nii.gz", subject=subject)
    (scan,) = find_scans([tmp_path]).scans
    assert scan.recording_name == name
    assert scan.motion == str(folder / "Movement_Regressors.txt")
    assert scan.motion_kind == "hcp"
    assert scan.space == "MNI152NLin6Asym"
    assert scan.tr_s is None  # the header decides


def test_runs_put_end_to_end_are_passed_over(tmp_path):
    run_folder(tmp_path, "rfMRI_REST1_LR", "_hp2000_clean.nii.gz")
    run_folder(tmp_path, "rfMRI_REST", "_Atlas_MSMAll_hp0_clean.dtseries.nii")
    run_folder(tmp_path, "fMRI_CONCAT_ALL", "_Atlas.dtseries.nii")
    found = find_scans([tmp_path])
    assert [scan.run for scan in found.scans] == ["1LR"]
    assert any("2 folders of runs put end to end" in note for note in found.notes)


@pytest.mark.parametrize("given", ["", "100307", "100307/MNINonLinear", "100307/MNINonLinear/Results", REST])
def test_any_folder_of_the_tree_can_be_given(tmp_path, given):
    run_folder(tmp_path, "rfMRI_REST1_LR", "_hp2000_clean.nii.gz")
    touch(tmp_path, "100307/T1w/Results/rfMRI_REST1_LR/rfMRI_REST1_LR.nii.gz", "100307/unprocessed/3T/a.nii.gz")
    found = find_scans([tmp_path / given])
    assert [scan.subject for scan in found.scans] == ["sub-100307"]
    assert f"{tmp_path / given}/{found.scans[0].name}".replace("//", "/") == found.scans[0].path


def test_a_single_file_brings_its_motion_along(tmp_path):
    folder = run_folder(tmp_path, "tfMRI_WM_RL", ".nii.gz", "_Atlas.dtseries.nii")
    (scan,) = find_scans([folder / "tfMRI_WM_RL_Atlas.dtseries.nii"]).scans
    assert (scan.kind, bool(scan.motion)) == ("cifti", True)


def test_people_come_from_a_table_with_the_columns_of_connectomedb(tmp_path):
    run_folder(tmp_path, "rfMRI_REST1_LR", "_hp2000_clean.nii.gz")
    (tmp_path / "people.csv").write_text("Subject,Age_in_Yrs,Gender\n100307,27,F\n")
    (scan,) = find_scans([tmp_path], participants=tmp_path / "people.csv").scans
    assert scan.phenotypes == {"Age_in_Yrs": 27.0, "Gender": "F"}
