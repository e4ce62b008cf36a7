"""From tables to a store: what is joined, what is refused, and that good inputs are stored whatever the bad ones."""

import errno
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainlm.data.importing import import_recordings
from brainlm.data.manifest import ATLAS_IMAGE
from brainlm.data.parcels import Parcels
from brainlm.data.people import PeopleRules
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store
from brainlm.errors import DataError

NUM_PARCELS = 12


@pytest.fixture
def parcels() -> Parcels:
    return Parcels(pd.DataFrame({"label": range(1, NUM_PARCELS + 1), "name": [f"p{i}" for i in range(NUM_PARCELS)]}))


def write(path: Path, *, num_timepoints: int = 30, num_parcels: int = NUM_PARCELS, seed: int = 0) -> np.ndarray:
    """A table of noise at ``path``, and what it holds."""
    bold = np.random.default_rng([seed, *path.name.encode()]).normal(size=(num_timepoints, num_parcels)).round(4)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, bold, delimiter="\t", fmt="%.4f")
    return bold.astype(np.float32)


@pytest.fixture
def study(tmp_path) -> Path:
    """Ten people in folders, two runs each."""
    folder = tmp_path / "study"
    for subject in range(1, 11):
        for run in (1, 2):
            name = f"sub-{subject:02d}_task-rest_run-{run}_ts.tsv"
            write(folder / f"sub-{subject:02d}" / name, num_timepoints=30 + run)
    lines = ["participant_id\tage\tdx\tsite"]
    lines += [f"sub-{s:02d}\t{20 + s}\t{'asd' if s % 2 else 'control'}\t{'AB'[s % 2]}" for s in range(1, 11)]
    (folder / "participants.tsv").write_text("\n".join(lines))
    return folder


def run_import(study: Path, out: Path, parcels: Parcels, **options):
    options = {"tr": 2.0, "atlas": "toy", "participants": study / "participants.tsv", **options}
    return import_recordings([study], out, parcels=parcels, **options)


def test_folder_becomes_a_store_with_signals_phenotypes_and_splits(study, tmp_path, parcels):
    summary = run_import(study, tmp_path / "toy.store", parcels)
    assert (summary.num_recordings, summary.num_subjects, summary.failures) == (20, 10, ())
    store = Store.open(summary.store, verify=True)
    metadata = store.metadata
    assert metadata[["subject", "run"]].values.tolist() == [[f"sub-{s:02d}", r] for s in range(1, 11) for r in "12"]
    assert set(metadata["task"]) == {"rest"}
    assert metadata.loc[0, ["age", "dx", "site", "tr"]].tolist() == [21.0, "asd", "B", 2.0]
    assert metadata.loc[0, "source"] == "sub-01/sub-01_task-rest_run-1_ts.tsv"
    assert (metadata.groupby("subject")["split"].nunique() == 1).all()
    assert summary.num_per_split == metadata["split"].value_counts().sort_index().to_dict()
    for index, row in metadata.iterrows():
        expected = np.loadtxt(study / row["source"]).astype(np.float32)
        np.testing.assert_array_equal(store.bold(index), expected)


def test_same_input_gives_the_same_bytes_wherever_it_lies_and_however_it_is_listed(study, tmp_path, parcels):
    first = run_import(study, tmp_path / "a.store", parcels)
    moved = study.rename(tmp_path / "moved")
    second = run_import(moved, tmp_path / "b.store", parcels)
    names = sorted(path.name for path in first.store.iterdir())
    assert names == sorted(path.name for path in second.store.iterdir())
    for name in names:
        assert (first.store / name).read_bytes() == (second.store / name).read_bytes(), name


def test_files_and_patterns_name_inputs_too_and_each_counts_once(study, tmp_path, parcels):
    folder = study / "sub-01"
    inputs = [folder / "sub-01_task-rest_run-1_ts.tsv", folder, str(study / "sub-0[12]" / "*_run-1_*.tsv")]
    summary = import_recordings(inputs, tmp_path / "a.store", parcels=parcels, atlas="toy", tr=1.0)
    assert (summary.num_recordings, summary.failures) == (3, ())


def test_split_rule_sees_all_people(study, tmp_path, parcels):
    rule = SplitRule(hold_out={"site": ["A"]}, test=0.2, stratify="dx")
    summary = run_import(study, tmp_path / "a.store", parcels, split=rule)
    metadata = Store.open(summary.store).metadata
    assert set(metadata.loc[metadata["site"] == "A", "split"]) == {"test"}


def test_progress_is_told_after_each_recording(study, tmp_path, parcels):
    calls = []
    run_import(study, tmp_path / "a.store", parcels, progress=lambda *call: calls.append(call))
    assert [call[:2] for call in calls] == [(number, 20) for number in range(1, 21)]
    assert calls[0][2] == "sub-01_task-rest_run-1"


def test_label_image_is_kept_in_the_store(study, tmp_path, parcels):
    (tmp_path / "labels.nii.gz").write_bytes(gzip.compress(b"image"))
    (tmp_path / "labels.nii").write_bytes(b"image")
    for name in ("labels.nii.gz", "labels.nii"):
        summary = run_import(study, tmp_path / f"{name}.store", parcels, atlas_image=tmp_path / name)
        assert gzip.decompress((summary.store / ATLAS_IMAGE).read_bytes()) == b"image"
        Store.open(summary.store, verify=True)


def test_tables_that_are_no_signals_are_passed_over_and_said(study, tmp_path, parcels):
    for name in ("sub-01_task-rest_events.tsv", "sub-01_desc-confounds_timeseries.tsv", "README.txt"):
        (study / "sub-01" / name).write_text("onset\tduration\n1\t2\n")
    (study / ".hidden").mkdir()
    write(study / ".hidden" / "sub-99_ts.tsv")
    summary = run_import(study, tmp_path / "a.store", parcels)
    assert (summary.num_recordings, summary.failures) == (20, ())
    assert any("4 files hold no parcel signals" in note and "README.txt" in note for note in summary.notes)


def write_xcpd(folder: Path, parcels: Parcels, *, atlas: str = "mine") -> np.ndarray:
    """One run of XCP-D's output: time series, ALFF, coverage and connectivity; and the series."""
    bold = np.random.default_rng(5).normal(size=(60, NUM_PARCELS))
    frame = pd.DataFrame(bold, columns=parcels.table["name"])
    folder.mkdir(parents=True, exist_ok=True)
    start = f"sub-01_task-rest_space-MNI152NLin6Asym_seg-{atlas}_stat-"
    for name, table in (("mean_timeseries", frame), ("alff_bold", frame[:1]), ("coverage_bold", frame[:1])):
        table.to_csv(folder / f"{start}{name}.tsv", sep="\t", index=False)
    frame.corr().to_csv(folder / f"{start}pearsoncorrelation_relmat.tsv", sep="\t", index_label="Node")
    return bold.astype(np.float32)


def test_of_the_tables_of_an_xcpd_folder_the_time_series_is_stored(tmp_path, parcels):
    expected = write_xcpd(tmp_path / "xcpd" / "sub-01" / "func", parcels)
    summary = import_recordings([tmp_path / "xcpd"], tmp_path / "a.store", parcels=parcels, atlas="toy", tr=2.0)
    assert (summary.num_recordings, summary.failures) == (1, ())
    np.testing.assert_array_equal(Store.open(summary.store).bold(0), expected)
    (note,) = [note for note in summary.notes if "no parcel signals" in note]
    assert note.startswith("3 files")
    assert all(kind in note for kind in ("1 connectivity matrices", "1 ALFF", "1 coverage tables"))


@pytest.mark.parametrize("other", ["4S20Parcels", "Aal"])
def test_of_two_atlases_of_one_run_the_one_that_fits_is_stored(tmp_path, parcels, other):
    func = tmp_path / "xcpd" / "sub-01" / "func"
    expected = write_xcpd(func, parcels)
    noise = np.random.default_rng(1).normal(size=(60, 20))
    names = [f"N{number}" for number in range(20)]
    path = func / f"sub-01_task-rest_space-MNI152NLin6Asym_seg-{other}_stat-mean_timeseries.tsv"
    pd.DataFrame(noise, columns=names).to_csv(path, sep="\t", index=False)
    summary = import_recordings([tmp_path / "xcpd"], tmp_path / "a.store", parcels=parcels, atlas="toy", tr=2.0)
    assert (summary.num_recordings, summary.failures) == (1, ())
    np.testing.assert_array_equal(Store.open(summary.store).bold(0), expected)
    assert any("60 rows x 20 columns" in note and path.name in note for note in summary.notes)


def test_of_two_tables_that_fit_the_one_that_names_the_atlas_is_stored_and_the_other_is_listed(tmp_path, parcels):
    func = tmp_path / "xcpd"
    first = write_xcpd(func, parcels, atlas="another")
    pd.DataFrame(first[:, ::-1], columns=parcels.table["name"]).to_csv(
        func / "sub-01_task-rest_seg-toy_stat-mean_timeseries.tsv", sep="\t", index=False
    )
    summary = import_recordings([func], tmp_path / "a.store", parcels=parcels, atlas="toy", tr=2.0)
    assert "seg-toy" in Store.open(summary.store).metadata["source"][0]
    assert "is there twice" in summary.failures[0].reason


def test_a_table_that_cannot_be_read_does_not_take_the_place_of_one_that_can(study, tmp_path, parcels):
    (study / "sub-03" / "sub-03_task-rest_run-1_desc-a_ts.tsv").write_text("")
    (study / "sub-03" / "sub-03_task-rest_run-1_desc-z_ts.tsv").write_text("")
    summary = run_import(study, tmp_path / "a.store", parcels)
    assert summary.num_recordings == 20
    assert [failure.reason.split(" (")[0] for failure in summary.failures] == ["is empty"] * 2


def test_entities_that_tell_acquisitions_apart_do_so_as_for_images(tmp_path, parcels):
    names = ["dir-AP", "dir-PA", "acq-mb2", "acq-mb4_dir-AP_run-2", "ce-x"]
    for name in names:
        write(tmp_path / "in" / f"sub-01_task-rest_{name}_ts.tsv")
    summary = import_recordings([tmp_path / "in"], tmp_path / "a.store", parcels=parcels, atlas="toy", tr=2.0)
    assert (summary.num_recordings, summary.failures) == (5, ())
    runs = set(Store.open(summary.store).metadata["run"])
    assert runs == {"dirAP", "dirPA", "acqmb2", "acqmb4dirAP2", "cex"}


def test_single_echoes_are_named_as_what_they_are(tmp_path, parcels):
    for subject, echoes in (("01", ("_echo-1", "_echo-2", "")), ("02", ("_echo-1", "_echo-2"))):
        for echo in echoes:
            write(tmp_path / "in" / f"sub-{subject}_task-rest{echo}_ts.tsv")
    summary = import_recordings([tmp_path / "in"], tmp_path / "a.store", parcels=parcels, atlas="toy", tr=2.0)
    assert summary.num_recordings == 1
    (failure,) = summary.failures
    assert "sub-02" in failure.source
    assert "a single echo (echo-1), a single echo (echo-2)" in failure.reason
    assert "combine" in failure.remedy
    assert any("2 single echoes or phases" in note for note in summary.notes)


# Bad inputs: each is listed with path, reason and remedy; the others are stored -------------------------------------


def with_nan(path: Path) -> None:
    bold = np.loadtxt(path)
    bold[4, 5] = np.nan
    np.savetxt(path, bold)


SPOILED = {
    "wrong number of columns": (
        lambda path: write(path, num_parcels=9),
        "fit the parcels table of 12 (found: 30 rows x 9",
    ),
    "square": (lambda path: write(path, num_timepoints=NUM_PARCELS), "which is time is unknown"),
    "NaN": (with_nan, "NaN or infinity inside a parcel"),
    "constant": (lambda path: np.savetxt(path, np.ones((30, NUM_PARCELS))), "no parcel has any signal"),
    "empty": (lambda path: path.write_text(""), "is empty"),
    "binary junk": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), "is not a table in text"),
    "text": (lambda path: path.write_text(path.read_text().replace("1", "l")), "not a number"),
    "cut off": (lambda path: path.write_text(path.read_text()[:-30]), "not equally long"),
    "no subject in the name": (lambda path: path.rename(path.with_name("scan1.tsv")), "whose recording this is"),
    "contradicting TR": (
        lambda path: path.with_suffix(".json").write_text('{"RepetitionTime": 0.72}'),
        "contradict each other",
    ),
    "damaged sidecar": (lambda path: path.with_suffix(".json").write_text("{"), "cannot be read"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_bad_input_is_listed_and_the_others_are_stored(study, tmp_path, parcels, kind):
    spoil, message = SPOILED[kind]
    path = study / "sub-03" / "sub-03_task-rest_run-1_ts.tsv"
    spoil(path)
    path = path if path.exists() else path.with_name("scan1.tsv")
    summary = run_import(study, tmp_path / "a.store", parcels)
    assert summary.num_recordings == 19
    (failure,) = summary.failures
    assert failure.source == str(path)
    assert not failure.reason.startswith(str(path))
    assert message in failure.reason
    assert failure.remedy
    store = Store.open(summary.store, verify=True)
    assert len(store) == 19
    assert store.manifest.exclusions[0]["source"] == str(path)


def as_broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("../.git/annex/objects/x/y/MD5E-s100.tsv")


def as_pointer(path: Path) -> None:
    path.write_text("/annex/objects/MD5E-s100--0123456789abcdef.tsv\n")


def as_lfs_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 3\n")


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


NOT_THERE = {
    "link to nothing": (as_broken_link, "is a link to nothing", "datalad get"),
    "pointer of git-annex": (as_pointer, "a pointer of git-annex", "datalad get"),
    "pointer of Git LFS": (as_lfs_pointer, "a pointer of Git LFS", "git lfs pull"),
    "folder": (as_folder, "is a folder", "rename it"),
}


@pytest.mark.parametrize("by_pattern", [False, True])
@pytest.mark.parametrize("kind", NOT_THERE)
def test_what_matches_and_is_no_readable_file_is_named_with_its_remedy(study, tmp_path, parcels, kind, by_pattern):
    spoil, reason, remedy = NOT_THERE[kind]
    path = study / "sub-03" / "sub-03_task-rest_run-1_ts.tsv"
    spoil(path)
    given = study / "sub-*" / "*_ts.tsv" if by_pattern else study
    summary = import_recordings([given], tmp_path / "a.store", parcels=parcels, atlas="toy", tr=2.0)
    assert summary.num_recordings == 19
    (failure,) = summary.failures
    assert failure.source == str(path)
    assert reason in failure.reason
    assert remedy in failure.remedy


@pytest.mark.parametrize("ending", ["tsv.gz", "xlsx", "h5", "ptseries.nii"])
def test_tables_of_kinds_that_are_not_read_are_named(study, tmp_path, parcels, ending):
    (study / f"sub-11_ts.{ending}").write_bytes(b"x")
    notes = run_import(study, tmp_path / "a.store", parcels).notes
    assert any("convert them" in note and f"sub-11_ts.{ending}" in note for note in notes)


def test_folders_that_a_pattern_matches_are_searched(study, tmp_path, parcels):
    given = study / "sub-0[12]"
    summary = import_recordings([given], tmp_path / "a.store", parcels=parcels, atlas="toy", tr=2.0)
    assert summary.num_recordings == 4


def test_constant_parcels_are_stored_as_nan_and_counted(study, tmp_path, parcels):
    path = study / "sub-03" / "sub-03_task-rest_run-1_ts.tsv"
    bold = write(path)
    bold[:, 2] = 5
    np.savetxt(path, bold)
    summary = run_import(study, tmp_path / "a.store", parcels)
    assert "1 parcels in 1 recordings are constant or missing: no signal, stored as NaN" in summary.notes
    store = Store.open(summary.store).select(subject="sub-03", run="1")
    assert np.flatnonzero(np.isnan(store.bold(0)).all(axis=0)).tolist() == [2]


def test_transposed_and_reordered_tables_are_put_right_and_said(study, tmp_path, parcels):
    path = study / "sub-03" / "sub-03_task-rest_run-1_ts.tsv"
    expected = np.loadtxt(path).astype(np.float32)
    np.savetxt(path, np.loadtxt(path).T)
    other = study / "sub-04" / "sub-04_task-rest_run-1_ts.tsv"
    reversed_names = "\t".join(parcels.table["name"][::-1])
    np.savetxt(other, np.loadtxt(other)[:, ::-1], header=reversed_names, delimiter="\t", comments="")
    summary = run_import(study, tmp_path / "a.store", parcels)
    assert (summary.num_recordings, summary.failures) == (20, ())
    assert "1 tables had parcels in rows and were transposed" in summary.notes
    assert any(note.startswith("1 tables had another order of parcels") for note in summary.notes)
    np.testing.assert_array_equal(Store.open(summary.store).select(subject="sub-03", run="1").bold(0), expected)


def test_missing_tr_fails_each_recording_that_has_none(study, tmp_path, parcels):
    known = study / "sub-05" / "sub-05_task-rest_run-1_ts.json"
    known.write_text(json.dumps({"RepetitionTime": 1.5}))
    summary = run_import(study, tmp_path / "a.store", parcels, tr=None)
    assert summary.num_recordings == 1
    assert len(summary.failures) == 19
    assert all("repetition time is unknown" in failure.reason for failure in summary.failures)


def test_mixed_repetition_times_are_kept_and_said(study, tmp_path, parcels):
    for subject in range(1, 11):
        for run, tr in ((1, 2.0), (2, 0.72)):
            path = study / f"sub-{subject:02d}" / f"sub-{subject:02d}_task-rest_run-{run}_ts.json"
            path.write_text(json.dumps({"RepetitionTime": tr}))
    summary = run_import(study, tmp_path / "a.store", parcels, tr=None)
    assert "2 repetition times, kept as they are: 0.72 s (10), 2 s (10)" in summary.notes
    assert set(Store.open(summary.store).metadata["tr"]) == {0.72, 2.0}


def test_second_recording_of_the_same_name_fails_naming_both_files(study, tmp_path, parcels):
    second = study / "copies" / "sub-03_task-rest_run-1_desc-again_ts.tsv"
    write(second)
    summary = run_import(study, tmp_path / "a.store", parcels)
    (failure,) = summary.failures
    assert summary.num_recordings == 20
    assert str(second) in failure.reason
    assert str(study / "sub-03" / "sub-03_task-rest_run-1_ts.tsv") in failure.reason


def test_participants_without_recording_and_the_reverse_are_said_and_kept_in_the_manifest(study, tmp_path, parcels):
    table = study / "participants.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-1], "sub-77\t9\tasd\tA"]))
    summary = run_import(study, tmp_path / "a.store", parcels)
    assert summary.num_recordings == 20
    notes = [
        "1 participants of participants.tsv have no recording: sub-77",
        "1 subjects with recordings are not in participants.tsv, and have no phenotypes: sub-10",
    ]
    assert list(summary.notes[:3]) == ["participants.tsv: matched 9 of 10 subjects by participant_id", *notes]
    store = Store.open(summary.store)
    assert all(note in store.manifest.source["notes"] for note in notes)
    assert store.metadata.set_index("subject").loc["sub-10", "age"].isna().all()


def test_a_code_for_missing_in_a_table_is_asked_about_and_then_missing(study, tmp_path, parcels):
    table = study / "participants.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-1], "sub-10\t-9999\tasd\tA"]))
    summary = run_import(study, tmp_path / "a.store", parcels)
    assert any("--missing -9999" in note for note in summary.notes)
    assert Store.open(summary.store).metadata["age"].min() == -9999
    rules = PeopleRules.parse(missing=["-9999"])
    summary = run_import(study, tmp_path / "b.store", parcels, people_rules=rules)
    assert not any("-9999" in note for note in summary.notes)
    assert Store.open(summary.store).metadata["age"].min() > 0


def test_names_without_subjects_are_answered_with_the_pattern_that_finds_those_of_the_table(tmp_path, parcels):
    for name in ("NYU_0050952_rois", "CMU_a_0050642_rois"):
        write(tmp_path / "in" / f"{name}.tsv")
    (tmp_path / "p.csv").write_text(",SUB_ID,SITE_ID,DX_GROUP\n0,50952,NYU,1\n1,50642,CMU,2\n")
    options = {"parcels": parcels, "atlas": "toy", "tr": 2.0, "participants": tmp_path / "p.csv"}
    with pytest.raises(DataError, match="cannot be told from their names") as caught:
        import_recordings([tmp_path / "in"], tmp_path / "a.store", **options)
    pattern = r"(?P<subject>\d+)_rois"
    assert f"--pattern '{pattern}'" in caught.value.remedy
    summary = import_recordings([tmp_path / "in"], tmp_path / "a.store", pattern=pattern, **options)
    assert "matched 2 of 2 subjects by SUB_ID, after removing 'sub-' and leading zeros" in " ".join(summary.notes)
    assert Store.open(summary.store).metadata["site"].tolist() == ["CMU", "NYU"]


def test_recordings_of_a_participant_with_contradicting_lines_fail(study, tmp_path, parcels):
    table = study / "participants.tsv"
    table.write_text(table.read_text() + "\nsub-03\t99\tasd\tB")
    summary = run_import(study, tmp_path / "a.store", parcels)
    assert summary.num_recordings == 18
    assert all("more than once" in failure.reason for failure in summary.failures)


def test_site_in_path_and_table_must_agree(tmp_path, parcels):
    for site, subject in (("A", "1"), ("B", "2")):
        write(tmp_path / "in" / site / f"{subject}.tsv")
    (tmp_path / "people.csv").write_text("subject,site\n1,A\n2,C\n")
    summary = import_recordings(
        [tmp_path / "in"],
        tmp_path / "a.store",
        parcels=parcels,
        atlas="toy",
        tr=2.0,
        participants=tmp_path / "people.csv",
        pattern=r"(?P<site>[A-Z])/(?P<subject>\d)\.tsv",
    )
    assert summary.num_recordings == 1
    assert "about the site (found: B in the path, C in" in summary.failures[0].reason


def test_values_too_large_for_float16_fail_that_recording_only(study, tmp_path, parcels):
    path = study / "sub-03" / "sub-03_task-rest_run-1_ts.tsv"
    np.savetxt(path, np.loadtxt(path) * 1e6)
    summary = run_import(study, tmp_path / "a.store", parcels, dtype="float16")
    assert summary.num_recordings == 19
    assert "float16" in summary.failures[0].reason
    assert Store.open(summary.store).bold(0).dtype == np.float16


# What ends an import: nothing is written ------------------------------------------------------------------------------


def test_nothing_usable_is_an_error_and_leaves_no_store(study, tmp_path, parcels):
    with pytest.raises(DataError, match="no input could be used") as caught:
        run_import(study, tmp_path / "a.store", Parcels.unnamed(5))
    assert "20 failed" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study"]
    with pytest.raises(DataError, match="no input could be used"):
        run_import(study, tmp_path / "a.store", parcels, tr=None)


@pytest.mark.parametrize("given", ["nowhere", "study/*.nii", "empty"])
@pytest.mark.usefixtures("study")
def test_inputs_that_are_not_there_are_errors(tmp_path, parcels, given):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no input at|no tables in") as caught:
        import_recordings([tmp_path / given], tmp_path / "a.store", parcels=parcels, atlas="toy", tr=2.0)
    assert given in str(caught.value)


def test_a_store_that_is_there_stays_unless_overwritten(study, tmp_path, parcels):
    run_import(study, tmp_path / "a.store", parcels)
    before = (tmp_path / "a.store" / "manifest.json").read_bytes()
    with pytest.raises(DataError, match="overwrite"):
        run_import(study, tmp_path / "a.store", parcels, dtype="float16")
    assert (tmp_path / "a.store" / "manifest.json").read_bytes() == before
    assert run_import(study, tmp_path / "a.store", parcels, dtype="float16", overwrite=True).num_recordings == 20


def test_full_disk_ends_the_import_with_one_message(study, tmp_path, parcels, monkeypatch):
    from brainlm.data.store_writer import ShardWriter

    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ShardWriter, "add", full)
    with pytest.raises(DataError, match="No space left"):
        run_import(study, tmp_path / "a.store", parcels)
    assert not (tmp_path / "a.store").exists()


def test_path_that_cannot_be_written_is_an_error(study, tmp_path, parcels):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write") as caught:
        run_import(study, tmp_path / "file" / "a.store", parcels)
    assert str(tmp_path / "file" / "a.store") in str(caught.value)


def test_implausible_tr_is_an_error_before_anything_is_read(study, tmp_path, parcels):
    with pytest.raises(DataError, match="give seconds: 2"):
        run_import(study, tmp_path / "a.store", parcels, tr=2000.0)


def test_raw_abide_files_become_a_store(shared, tmp_path):
    folder = shared / "data" / "abide"
    summary = import_recordings(
        [folder / "raw_1D"],
        tmp_path / "abide.store",
        parcels=Parcels.unnamed(200),
        atlas="CC200",
        participants=folder / "participants.tsv",
        pattern=r"_(?P<subject>\d{7})_rois",
        split=SplitRule(hold_out={"site": ["USM"]}),
    )
    assert (summary.num_recordings, summary.failures) == (4, ())
    metadata = Store.open(summary.store).metadata
    assert metadata["site"].tolist() == ["USM", "CMU", "NYU", "NYU"]
    assert metadata["split"].tolist()[0] == "test"
    assert metadata["dx"].notna().all()


def test_copies_under_other_names_are_named_and_stay_in_one_split(tmp_path, parcels):
    folder = tmp_path / "copies"
    folder.mkdir()
    rng = np.random.default_rng(0)
    signals = rng.normal(100, 5, (20, 40, len(parcels)))
    for number in range(40):  # 20 people, each twice under another name and in other units
        np.savetxt(folder / f"sub-{number:02d}_timeseries.tsv", signals[number // 2] * (1 + number % 2), delimiter="\t")
    summary = import_recordings(
        [folder], tmp_path / "copies.store", parcels=parcels, atlas="A6", tr=2.0, split=SplitRule(0.3, 0.3)
    )
    split = Store.open(tmp_path / "copies.store").metadata["split"].to_numpy()
    assert (split[::2] == split[1::2]).all()
    assert set(split) == {"train", "validation", "test"}
    assert summary.num_per_split == {name: int((split == name).sum()) for name in ("test", "train", "validation")}
    note = next(note for note in summary.notes if "same signal" in note)
    assert note.startswith("20 pairs")
    assert "sub-00 = sub-01" in note
    assert Store.open(tmp_path / "copies.store", verify=True).copies == tuple((n, n + 1) for n in range(0, 40, 2))
