"""UK Biobank's bulk layout, as folders and as archives: which image is read, and what must not be trusted."""

import json
import zipfile
from pathlib import Path

import pytest
from name_trees import touch

from brainlm.data.scans import find_scans

IMAGE = "fMRI/rfMRI.ica/reg_standard/filtered_func_data_clean.nii.gz"
NATIVE = "fMRI/rfMRI.ica/filtered_func_data_clean.nii.gz"
TASK = "fMRI/tfMRI.feat/reg_standard/filtered_func_data.nii.gz"
MOTION = "fMRI/rfMRI.ica/mc/prefiltered_func_data_mcf.par"
MASK = "fMRI/rfMRI.ica/reg_standard/mask.nii.gz"


def archive(path: Path, *members: str, **texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for member in members:
            file.writestr(member, texts.get(member, ""))
        for name, text in texts.items():
            file.writestr(name.replace("__", "/").replace("_json", ".json"), text)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_folders_and_archives_give_the_same_scans(tmp_path, zipped):
    members = [IMAGE, NATIVE, MOTION, MASK, "fMRI/rfMRI.nii.gz", "fMRI/rfMRI_SBREF.nii.gz", "fMRI/rfMRI_25.dr/a.txt"]
    name = "20227/1234567_20227_2_0"
    inside = tmp_path / name
    if zipped:
        archive(tmp_path / f"{name}.zip", *members, fMRI__rfMRI_json=json.dumps({"RepetitionTime": 0.735}))
        mark = ".zip!"
    else:
        touch(inside, *members)
        (inside / "fMRI" / "rfMRI.json").write_text(json.dumps({"RepetitionTime": 0.735}))
        mark = ""
    found = find_scans([tmp_path])
    assert found.failures == ()
    assert found.layout == "ukb"
    (scan,) = found.scans
    assert scan.recording_name == "sub-1234567_ses-2_task-rest"
    assert scan.path == f"{inside}{mark}/{IMAGE}"
    assert scan.name == f"{name}{mark}/{IMAGE}"
    assert scan.mask == f"{inside}{mark}/{MASK}"
    assert (scan.motion, scan.motion_kind) == (f"{inside}{mark}/{MOTION}", "fsl")
    assert (scan.tr_s, scan.tr_source) == (0.735, f"{inside}{mark}/fMRI/rfMRI.json")
    assert scan.space == "MNI152NLin6Asym"


@pytest.mark.parametrize(
    ("names", "space"),
    [  # the first is read
        ((IMAGE, NATIVE), "MNI152NLin6Asym"),
        (("filtered_func_data_clean_standard.nii.gz", NATIVE), "MNI152NLin6Asym"),
        ((IMAGE, "filtered_func_data_clean_standard.nii.gz"), "MNI152NLin6Asym"),
        ((NATIVE, "fMRI/rfMRI.ica/filtered_func_data.nii.gz"), ""),  # the header must say where it is
    ],
)
def test_of_several_images_one_is_read_by_a_fixed_order(tmp_path, names, space):
    touch(tmp_path / "1234567_20227_2_0", *names)
    (scan,) = find_scans([tmp_path]).scans
    assert scan.name == f"1234567_20227_2_0/{names[0]}"
    assert scan.space == space


def test_visits_arrays_and_the_task_are_told_apart(tmp_path):
    touch(tmp_path, f"a/1234567_20227_2_0/{IMAGE}", f"a/1234567_20227_3_0/{IMAGE}", f"b/1234567_20227_3_1/{IMAGE}")
    touch(tmp_path, f"20249/1234567_20249_2_0/{TASK}", f"20249/1234567_20249_2_0/{IMAGE}")
    assert [scan.recording_name for scan in find_scans([tmp_path]).scans] == [
        "sub-1234567_ses-2_task-faces",
        "sub-1234567_ses-2_task-rest",
        "sub-1234567_ses-3_task-rest",
        "sub-1234567_ses-3_task-rest_run-1",
    ]
    assert len(find_scans([tmp_path], entities={"session": ["3"], "task": ["rest"]}).scans) == 2


def test_what_is_there_unpacked_and_zipped_is_read_once(tmp_path):
    touch(tmp_path / "1234567_20227_2_0", IMAGE)
    archive(tmp_path / "1234567_20227_2_0.zip", IMAGE)
    (scan,) = find_scans([tmp_path]).scans
    assert scan.path == str(tmp_path / "1234567_20227_2_0" / IMAGE)


def test_the_pipelines_own_folders_are_known(tmp_path):
    touch(tmp_path, f"fMRI/1234567/{IMAGE}", f"fMRI/7654321_3/{IMAGE}", "fMRI/1234567/T1/T1.nii.gz")
    names = [scan.recording_name for scan in find_scans([tmp_path / "fMRI"]).scans]
    assert names == ["sub-1234567_task-rest", "sub-7654321_ses-3_task-rest"]
    touch(tmp_path, f"rap/Bulk/Brain MRI/rfMRI/12/1111111_20227_2_0/{IMAGE}", "study/person/fMRI/sub-01_bold.nii.gz")
    assert find_scans([tmp_path / "rap"]).layout == "ukb"
    assert find_scans([tmp_path / "study"]).layout == "plain"
    touch(tmp_path, f"other/person/{IMAGE}")
    (failure,) = find_scans([tmp_path / "other"], layout="ukb").failures
    assert "whose recording this is" in failure.reason
    assert "--pattern" in failure.remedy


@pytest.mark.parametrize("given", ["20227", "20227/1234567_20227_2_0", f"20227/1234567_20227_2_0/{IMAGE}"])
def test_a_visits_folder_or_file_can_be_given_alone(tmp_path, given):
    touch(tmp_path / "20227" / "1234567_20227_2_0", IMAGE, NATIVE, MOTION)
    (scan,) = find_scans([tmp_path / given]).scans
    assert scan.path.endswith(IMAGE)
    assert scan.motion.endswith(MOTION)


def test_a_single_archive_can_be_given_alone(tmp_path):
    path = archive(tmp_path / "1234567_20227_2_0.zip", IMAGE)
    archive(tmp_path / "7654321_20227_2_0.zip", IMAGE)
    (scan,) = find_scans([path]).scans
    assert scan.name == f"{path.as_posix()}!/{IMAGE}"
    assert len(find_scans([tmp_path / "*.zip"]).scans) == 2


@pytest.mark.parametrize("name", [f"../{IMAGE}", "/etc/passwd", "fMRI/../../a.txt", "C:/a.txt", "fMRI\\..\\..\\a"])
def test_an_archive_with_names_that_lead_out_of_it_is_refused(tmp_path, name):
    path = archive(tmp_path / "1234567_20227_2_0.zip", IMAGE, name)
    archive(tmp_path / "7654321_20227_2_0.zip", IMAGE)
    found = find_scans([tmp_path])
    assert [scan.subject for scan in found.scans] == ["sub-7654321"]
    (failure,) = found.failures
    assert failure.source == str(path)
    assert "leads out of the archive" in failure.reason
    assert "do not unpack it" in failure.remedy


def test_damaged_archives_are_failures_and_the_rest_is_found(tmp_path):
    whole = archive(tmp_path / "7654321_20227_2_0.zip", IMAGE)
    (tmp_path / "1234567_20227_2_0.zip").write_bytes(whole.read_bytes()[:50])
    (tmp_path / "1111111_20227_2_0.zip").write_bytes(b"")
    (tmp_path / "2222222_20227_2_0.zip").symlink_to(tmp_path / "nowhere.zip")
    found = find_scans([tmp_path])
    assert [scan.subject for scan in found.scans] == ["sub-7654321"]
    assert ["is a link to nothing" in failure.reason for failure in found.failures] == [True, False, False]
    assert all("cannot be read as a zip archive" in failure.reason for failure in found.failures[1:])


def test_a_bad_repetition_time_in_an_archive_costs_that_scan_only(tmp_path):
    archive(tmp_path / "1234567_20227_2_0.zip", IMAGE, fMRI__rfMRI_json='{"RepetitionTime": 735}')
    archive(tmp_path / "7654321_20227_2_0.zip", IMAGE, fMRI__rfMRI_json="{not json")
    found = find_scans([tmp_path])
    assert [(scan.subject, scan.tr_s) for scan in found.scans] == [("sub-7654321", None)]
    assert "give seconds: 0.735" in found.failures[0].remedy


def test_people_come_from_a_table_with_the_showcases_column(tmp_path):
    touch(tmp_path / "1234567_20227_2_0", IMAGE)
    (tmp_path / "people.csv").write_text("eid,21003-2.0\n1234567,63\n")
    (scan,) = find_scans([tmp_path], participants=tmp_path / "people.csv").scans
    assert scan.phenotypes == {"21003-2.0": 63.0}
