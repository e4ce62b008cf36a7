"""Finding scans, whole: every layout with one call, tables about people, repetition times, files that are no use."""

import os
import pickle
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from derivatives import (
    small_atlas,
    write_fmriprep_tree,
    write_hcp_tree,
    write_plain_tree,
    write_ukb_tree,
    write_xcpd_tree,
)
from name_trees import fmriprep, sidecar, touch

from brainlm.data.layouts import walking
from brainlm.data.scans import find_scans
from brainlm.errors import ConfigError, DataError


def image(subject: str, *, session: str = "", task: str = "rest") -> str:
    session = f"_ses-{session}" if session else ""
    return f"sub-{subject}{session}_task-{task}_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"


@pytest.fixture
def dataset(tmp_path):
    """Three subjects of fMRIPrep's, by names only."""
    return fmriprep(tmp_path / "d", [image(f"0{number}") for number in (1, 2, 3)])


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return small_atlas(tmp_path_factory.mktemp("atlas"), num_parcels=8, voxel_mm=15)


# Layouts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "settings", "layout"),
    [
        (write_fmriprep_tree, {"sessions": ("1", "2"), "cifti": True, "native": True, "aroma": True}, "bids"),
        (write_xcpd_tree, {"cifti": True, "smoothed": True, "runs": ("1", "2")}, "xcpd"),
        (write_hcp_tree, {}, "hcp"),
        (write_ukb_tree, {"task": True}, "ukb"),
        (write_ukb_tree, {"zips": True, "instances": ("2", "3")}, "ukb"),
        (write_plain_tree, {}, "plain"),
    ],
)
def test_every_layout_gives_each_run_once_with_one_call(atlas, tmp_path, write, settings, layout):
    tree = write(tmp_path, atlas, num_timepoints=3, **settings)
    found = find_scans([tree.root])
    assert found.layout == layout
    assert found.failures == ()
    assert [scan.recording_name for scan in found.scans] == sorted(tree.truth)
    assert found.phenotypes[:2] == (("age", "sex") if tree.participants else ())
    for scan in found.scans:
        known = tree.truth[scan.recording_name]
        assert scan.tr_s in (None, known.tr)
        assert {name: scan.phenotypes.get(name) for name in ("age", "sex")} == (
            tree.phenotypes.get(scan.subject, {"age": None, "sex": None})
        )
        assert (bool(scan.motion) or bool(scan.confounds)) == (layout != "plain")
        for path in (scan.path, scan.mask, scan.confounds, scan.motion):
            assert not path or Path(path.split("!/")[0]).is_file()
        if "!/" not in scan.path:  # the image is the true one, not one of its neighbours
            values = np.asanyarray(nib.load(scan.path).dataobj)
            spread = values.reshape(-1, 3)[values.reshape(-1, 3).min(axis=1) > 0].mean(axis=0)
            assert abs(spread.mean() - known.bold.mean()) < 0.5 * known.bold.mean()
    assert pickle.loads(pickle.dumps(found)) == found


def test_no_image_is_opened(dataset):
    opened: list[str] = []
    listening = True

    def listen(event: str, arguments: tuple) -> None:
        if listening and event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    sys.addaudithook(listen)  # stays for good, but for this flag it does nothing more
    sidecar(dataset / "task-rest_bold.json", RepetitionTime=2.0)
    find_scans([dataset])
    listening = False
    assert str(dataset / "task-rest_bold.json") in opened
    assert not [path for path in opened if path.endswith((".nii.gz", ".tsv"))]


def test_two_kinds_of_folders_can_be_given_together(tmp_path, dataset):
    touch(tmp_path / "plain", "sub-09_bold.nii.gz")
    found = find_scans([dataset, tmp_path / "plain"])
    assert [scan.subject for scan in found.scans] == ["sub-01", "sub-02", "sub-03", "sub-09"]
    assert found.layout == "bids and plain"


def test_the_same_file_given_twice_counts_once(dataset):
    assert len(find_scans([dataset, dataset / "sub-01", dataset / "sub-0[12]"]).scans) == 3


def test_a_run_that_two_folders_hold_is_read_from_neither(tmp_path, dataset):
    other = fmriprep(tmp_path / "other", [image("01"), image("04")])
    found = find_scans([dataset, other])
    assert [scan.subject for scan in found.scans] == ["sub-02", "sub-03", "sub-04"]
    (failure,) = found.failures
    assert "sub-01_task-rest" in failure.reason
    assert str(other) in failure.reason
    assert str(dataset) in failure.reason


# Nothing there --------------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_an_error_that_says_what_was_expected(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no scans in") as caught:
        find_scans([tmp_path / "empty"])
    assert "0 files" in str(caught.value.found)
    assert str(tmp_path / "empty") in str(caught.value)


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no input at"):
        find_scans([tmp_path / "nowhere"])


def test_a_folder_of_other_files_is_an_error_that_names_the_layout(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "README")
    with pytest.raises(DataError, match="no scans in") as caught:
        find_scans([tmp_path])
    assert "layout: bids" in str(caught.value)


# Selection ------------------------------------------------------------------------------------------------------------


def test_entities_select_with_and_without_their_prefix(tmp_path):
    names = [image(sub, session=ses, task=task) for sub in ("01", "02") for ses in "12" for task in ("rest", "nback")]
    root = fmriprep(tmp_path / "d", names)
    found = find_scans([root], entities={"task": ["rest"], "session": ["ses-2"], "subject": ["sub-02", "01"]})
    assert [scan.recording_name for scan in found.scans] == ["sub-01_ses-2_task-rest", "sub-02_ses-2_task-rest"]
    assert any("6 runs were left out by --session 2 --subject 01 02 --task rest" in note for note in found.notes)


def test_a_selection_that_leaves_nothing_says_what_there_is(dataset):
    with pytest.raises(DataError, match="no scan is left") as caught:
        find_scans([dataset], entities={"task": ["rset"]})
    assert caught.value.expected == "--task rset"
    assert "task: rest" in str(caught.value.found)


def test_a_selection_may_leave_nothing_of_one_input(tmp_path, dataset):
    other = fmriprep(tmp_path / "other", [image("09", task="nback")])
    assert len(find_scans([dataset, other], entities={"task": ["rest"]}).scans) == 3


def test_an_unknown_entity_is_refused_with_the_nearest(dataset):
    with pytest.raises(ConfigError, match="cannot be selected by 'tsk'") as caught:
        find_scans([dataset], entities={"tsk": ["rest"]})
    assert "nearest: task" in str(caught.value)


# Repetition time ------------------------------------------------------------------------------------------------------


def test_the_repetition_time_is_that_of_sidecar_and_table_and_their_contradiction_costs_that_scan_only(dataset):
    func = dataset / "sub-01" / "func"
    sidecar(func / image("01").replace(".nii.gz", ".json"), RepetitionTime=2.0, SkullStripped=False)
    sidecar(dataset / "sub-02" / "func" / image("02").replace(".nii.gz", ".json"), RepetitionTime=2.0)
    (dataset / "participants.tsv").write_text("participant_id\ttr\nsub-01\t2.0\nsub-02\t0.8\nsub-03\tn/a\n")
    found = find_scans([dataset])
    assert [(scan.subject, scan.tr_s) for scan in found.scans] == [("sub-01", 2.0), ("sub-03", None)]
    assert str(func) in found.scans[0].tr_source
    assert "participants.tsv" in found.scans[0].tr_source
    (failure,) = found.failures
    assert "contradict each other about the repetition time" in failure.reason
    given = find_scans([dataset], tr=0.72)
    assert {(scan.tr_s, scan.tr_source) for scan in given.scans} == {(0.72, "--tr")}


@pytest.mark.parametrize("text", ["{", '{"RepetitionTime": 0}', '{"RepetitionTime": 2000}', "\xff"])
def test_a_sidecar_that_cannot_be_used_costs_that_scan_only(dataset, text):
    path = dataset / "sub-02" / "func" / image("02").replace(".nii.gz", ".json")
    path.write_bytes(text.encode("latin-1"))
    found = find_scans([dataset])
    assert [scan.subject for scan in found.scans] == ["sub-01", "sub-03"]
    assert str(path) in found.failures[0].reason


def test_the_repetition_time_given_must_be_in_seconds(dataset):
    with pytest.raises(DataError, match="not usable") as caught:
        find_scans([dataset], tr=720.0)
    assert "0.72" in str(caught.value.remedy)


# Files that cannot be used --------------------------------------------------------------------------------------------


def test_links_to_nothing_are_failures_and_links_to_files_are_not(tmp_path, dataset):
    path = dataset / "sub-01" / "func" / image("01")
    path.unlink()
    path.symlink_to("../../.git/annex/objects/abc")
    other = dataset / "sub-02" / "func" / image("02")
    other.rename(tmp_path / "content")
    other.symlink_to(tmp_path / "content")
    (dataset / "sub-04").symlink_to(tmp_path / "nowhere")
    found = find_scans([dataset])
    assert [scan.subject for scan in found.scans] == ["sub-02", "sub-03"]
    assert {failure.source for failure in found.failures} == {str(path), str(dataset / "sub-04")}
    assert any("datalad get" in failure.remedy for failure in found.failures)


def test_links_that_lead_in_a_circle_are_not_followed(tmp_path, dataset):
    (dataset / "sub-01" / "func" / "ses-1").symlink_to(dataset)
    (tmp_path / "elsewhere" / "func").mkdir(parents=True)
    touch(tmp_path / "elsewhere" / "func", image("05"))
    (dataset / "sub-05").symlink_to(tmp_path / "elsewhere")
    found = find_scans([dataset])
    assert [scan.subject for scan in found.scans] == ["sub-01", "sub-02", "sub-03", "sub-05"]
    (failure,) = found.failures
    assert "leads back" in failure.reason


def test_folders_and_files_that_may_not_be_read_are_failures(dataset, monkeypatch):
    closed, secret = str(dataset / "sub-01" / "func"), str(dataset / "sub-02" / "func" / image("02"))
    scandir, access = os.scandir, os.access

    def refusing(path):
        if str(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return scandir(path)

    monkeypatch.setattr(walking.os, "scandir", refusing)  # root may read everything
    monkeypatch.setattr(walking.os, "access", lambda path, mode: str(path) != secret and access(path, mode))
    found = find_scans([dataset])
    assert [scan.subject for scan in found.scans] == ["sub-03"]
    assert {failure.source for failure in found.failures} == {closed, secret}
    assert all("chmod" in failure.remedy for failure in found.failures)


def test_spaces_and_unicode_in_names_do_no_harm_but_names_that_are_no_text_are_failures(tmp_path):
    touch(tmp_path, "with space/sub-01_task-gerät_bold.nii.gz", "日本/sub-02_task-休息_bold.nii.gz")
    bad = os.fsencode(tmp_path) + b"/sub-03_task-ger\xe4t_bold.nii.gz"
    with open(bad, "wb"):  # noqa: PTH123  pathlib takes no bytes
        pass
    found = find_scans([tmp_path])
    assert [scan.recording_name for scan in found.scans] == ["sub-01_task-gerät", "sub-02_task-休息"]
    (failure,) = found.failures
    assert "not text in UTF-8" in failure.reason
    failure.reason.encode()
    failure.source.encode()


# People ---------------------------------------------------------------------------------------------------------------


def test_participants_come_from_the_data_set_or_from_the_raw_one_above(tmp_path):
    raw = tmp_path / "raw"
    root = fmriprep(raw / "derivatives" / "fmriprep", [image("01")])
    sidecar(raw / "dataset_description.json", Name="raw", DatasetType="raw")
    (raw / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-02\t40\n")
    found = find_scans([root])
    assert found.scans[0].phenotypes == {"age": 30.0}
    assert any("1 participants of participants.tsv have no recording: sub-02" in note for note in found.notes)
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t31\n")
    assert find_scans([root]).scans[0].phenotypes == {"age": 31.0}
    given = tmp_path / "given.csv"
    given.write_text("participant_id,age,site\n01,32,NYU\n")
    scan = find_scans([root], participants=given).scans[0]
    assert (scan.phenotypes, scan.site) == ({"age": 32.0}, "NYU")


def test_further_tables_join_by_participant_and_session(tmp_path):
    root = fmriprep(tmp_path / "d", [image("01", session=ses) for ses in "12"])
    (tmp_path / "iq.csv").write_text("eid,iq\n01,100\n")
    (tmp_path / "mood.tsv").write_text("participant_id\tsession_id\tmood\nsub-01\tses-2\tlow\n")
    (root / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tdays\nses-1\t0\nses-2\t9\n")
    found = find_scans([root], phenotypes=[tmp_path / "iq.csv", tmp_path / "mood.tsv"])
    assert found.phenotypes == ("days", "iq", "mood")
    assert [scan.phenotypes for scan in found.scans] == [
        {"days": 0.0, "iq": 100.0},
        {"days": 9.0, "iq": 100.0, "mood": "low"},
    ]
    assert "1 sessions have no line in mood.tsv: sub-01_ses-1" in found.notes


def test_contradicting_lines_cost_that_participant_only(dataset):
    (dataset / "participants.tsv").write_text(
        "\ufeffparticipant_id\tage\nsub-01\t30\nsub-01\t31\nsub-02\t40\nsub-02\t40\n", encoding="utf-8"
    )
    found = find_scans([dataset])
    assert [(scan.subject, dict(scan.phenotypes)) for scan in found.scans] == [
        ("sub-02", {"age": 40.0}),
        ("sub-03", {}),
    ]
    (failure,) = found.failures
    assert "more than once, with different values" in failure.reason
    assert any("1 subjects with recordings are not in participants.tsv" in note for note in found.notes)


def test_a_participants_table_that_cannot_be_read_is_an_error(dataset):
    (dataset / "participants.tsv").write_bytes(b"PK\x03\x04 a spreadsheet")
    with pytest.raises(DataError, match="is no text"):
        find_scans([dataset])


def test_two_data_sets_with_a_participants_table_each_need_one_that_is_given(tmp_path, dataset):
    other = fmriprep(tmp_path / "other", [image("09")])
    for root, age in ((dataset, 1), (other, 2)):
        (root / "participants.tsv").write_text(f"participant_id\tage\nsub-01\t{age}\n")
    with pytest.raises(ConfigError, match="more than one participants table"):
        find_scans([dataset, other])
    assert len(find_scans([dataset / "sub-01", dataset / "sub-02"]).scans) == 2
    assert len(find_scans([dataset, other], participants=other / "participants.tsv").scans) == 4
