"""Images in any folder: what their names or a pattern say."""

from pathlib import Path

import pytest
from name_trees import sidecar, touch

from brainlm.data.scans import find_scans
from brainlm.errors import ConfigError


def test_images_are_found_below_a_folder_and_other_files_are_counted(tmp_path):
    touch(
        tmp_path,
        "sub-01_task-rest_bold.nii.gz",
        "a/b/sub-02_ses-1_run-3.nii",
        "sub-03_task-rest.dtseries.nii",
        "sub-04_task-rest_timeseries.ptseries.nii",
        "sub-01_task-rest_mask.nii.gz",
        "sub-01_T1w.nii.gz",
        "atlas.dlabel.nii",
        "sub-05_rois.tsv",
        "notes.txt",
        "._sub-01_task-rest_bold.nii.gz",
        ".cache/sub-09_bold.nii.gz",
    )
    found = find_scans([tmp_path])
    assert [(scan.recording_name, scan.kind, scan.name) for scan in found.scans] == [
        ("sub-01_task-rest", "nifti", "sub-01_task-rest_bold.nii.gz"),
        ("sub-02_ses-1_run-3", "nifti", "a/b/sub-02_ses-1_run-3.nii"),
        ("sub-03_task-rest", "cifti", "sub-03_task-rest.dtseries.nii"),
        ("sub-04_task-rest", "cifti", "sub-04_task-rest_timeseries.ptseries.nii"),
    ]
    assert found.layout == "plain"
    assert found.failures == ()
    (note,) = [note for note in found.notes if "passed over" in note]
    assert note.startswith("5 files")


def test_a_pattern_says_what_is_where(tmp_path):
    touch(tmp_path, "NYU/0050952_2/rest.nii.gz", "NYU/0050952_1/rest.nii.gz", "USM/0050432_1/rest.nii.gz")
    found = find_scans([tmp_path], pattern=r"(?P<site>[A-Z]+)/(?P<subject>\d+)_(?P<run>\d)/(?P<task>\w+)\.nii")
    assert [(scan.recording_name, scan.site) for scan in found.scans] == [
        ("sub-0050432_task-rest_run-1", "USM"),
        ("sub-0050952_task-rest_run-1", "NYU"),
        ("sub-0050952_task-rest_run-2", "NYU"),
    ]
    with pytest.raises(ConfigError, match="pattern has no meaning for the layout hcp"):
        find_scans([tmp_path], pattern=r"(?P<subject>\d+)", layout="hcp")


def test_names_that_say_nothing_are_failures_with_a_remedy(tmp_path):
    touch(tmp_path, "sub-01_bold.nii.gz", "rest1.nii.gz")
    found = find_scans([tmp_path])
    assert len(found.scans) == 1
    (failure,) = found.failures
    assert failure.source == str(tmp_path / "rest1.nii.gz")
    assert "--pattern" in failure.remedy


def test_files_and_patterns_of_files_can_be_given(tmp_path):
    touch(tmp_path, *(f"sub-0{number}_bold.nii.gz" for number in range(1, 5)), "sub-01_mask.nii.gz")
    found = find_scans([tmp_path / "sub-0[12]_*", tmp_path / "sub-03_bold.nii.gz"])
    assert [scan.subject for scan in found.scans] == ["sub-01", "sub-02", "sub-03"]
    assert found.scans[0].name == (tmp_path / "sub-01_bold.nii.gz").as_posix()
    assert any("1 of the files given are no images of runs" in note for note in found.notes)


def test_names_as_in_bids_mean_what_they_mean_there(tmp_path):
    stem = "sub-01_task-rest_space-MNI152NLin2009cAsym"
    touch(tmp_path, f"{stem}_desc-preproc_bold.nii.gz", f"{stem}_desc-brain_mask.nii.gz")
    touch(tmp_path, "sub-01_task-rest_desc-confounds_timeseries.tsv", "sub-01_task-rest_echo-1_bold.nii.gz")
    sidecar(tmp_path / "task-rest_bold.json", RepetitionTime=1.5)
    (scan,) = find_scans([tmp_path]).scans
    assert Path(scan.mask).name == f"{stem}_desc-brain_mask.nii.gz"
    assert Path(scan.confounds).name == "sub-01_task-rest_desc-confounds_timeseries.tsv"
    assert (scan.space, scan.tr_s) == ("MNI152NLin2009cAsym", 1.5)
    assert scan.tr_source == str(tmp_path / "task-rest_bold.json")


def test_an_image_without_a_space_is_read_and_its_header_decides(tmp_path):
    (scan,) = find_scans([touch(tmp_path, "sub-01_bold.nii.gz")]).scans
    assert (scan.space, scan.tr_s, scan.tr_source) == ("", None, "")


def test_the_same_run_twice_is_not_read(tmp_path):
    touch(tmp_path, "a/sub-01_bold.nii.gz", "b/sub-01_bold.nii.gz", "sub-02_bold.nii", "sub-02_bold.nii.gz")
    found = find_scans([tmp_path])
    assert found.scans == ()
    assert ["2 files are the same run, sub-01" in failure.reason for failure in found.failures] == [True, False]
    assert found.failures[1].remedy == "move all but one of them away"
