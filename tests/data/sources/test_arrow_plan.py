"""The BrainLM authors' data sets become stores: signals, labels, files, and the split that they came in."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from brainlm.data.importing import import_recordings
from brainlm.data.parcels import Parcels
from brainlm.data.sources import arrow_reading
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store
from brainlm.errors import DataError

NUM_PARCELS = 12
RAW = "Raw_Recording"
ROBUST = "Voxelwise_RobustScaler_Normalized_Recording"


def test_authors_data_become_a_store_with_raw_signals_and_labels(authors, tmp_path, run_import, raw_signal):
    summary = run_import(authors, tmp_path / "a.store")
    assert (summary.num_recordings, summary.num_subjects, summary.failures) == (8, 8, ())
    store = Store.open(summary.store, verify=True)
    metadata = store.metadata.set_index("subject")
    assert metadata.index.tolist() == [f"sub-{1000 + seed}" for seed in range(8)]
    for seed in range(8):
        np.testing.assert_array_equal(store.bold(seed), raw_signal(seed, 20 + seed % 3))
    assert metadata.loc["sub-1003", ["Age.At.MHQ", "Gender", "tr"]].tolist() == [53, "F", 0.735]
    assert np.isnan(metadata.loc["sub-1001", "Age.At.MHQ"])
    assert metadata.loc["sub-1005", "source"] == "val_ukbiobank1000/data-00000-of-00001.arrow, row 2 (1005_2_0.dat)"
    assert not {"Filename", "Patient ID", "eid", RAW, ROBUST} & set(metadata)
    assert any("Brain_Region_Coordinates" in note and "--parcels" in note for note in summary.notes)
    assert any(
        "Patient ID is empty" in note and "subjects are those of the column eid" in note for note in summary.notes
    )


def test_any_column_can_be_chosen_and_a_scaled_one_is_said(authors, tmp_path, run_import, raw_signal):
    raw = run_import(authors, tmp_path / "raw.store")
    scaled = run_import(authors, tmp_path / "scaled.store", column=ROBUST)
    expected = raw_signal(0) - raw_signal(0).mean(axis=0)
    np.testing.assert_array_equal(Store.open(scaled.store).bold(0), expected)
    assert any(ROBUST in note and "scaled by its makers" in note for note in scaled.notes)
    assert not any("scaled by its makers" in note for note in raw.notes)
    # The raw column has parcels first, this one time: both are told by the number of parcels.
    assert "8 tables had parcels in rows and were transposed" in raw.notes
    assert not any("transposed" in note for note in scaled.notes)


def test_a_column_that_is_not_there_ends_the_import_with_those_that_are(
    authors, tmp_path, run_import, save, authors_columns
):
    with pytest.raises(DataError, match="no column 'Raw'") as caught:
        run_import(authors, tmp_path / "a.store", column="Raw")
    assert f"recordings in {RAW}, {ROBUST}" in str(caught.value)
    columns = authors_columns(range(2))
    del columns[RAW]
    with pytest.raises(DataError, match="no raw signal") as caught:
        run_import(save(columns, tmp_path / "scaled"), tmp_path / "a.store")
    assert f"--column {ROBUST}" in str(caught.value)
    assert not (tmp_path / "a.store").exists()


def test_same_data_give_the_same_bytes_wherever_they_lie(authors, tmp_path, files_of, run_import):
    first = run_import(authors, tmp_path / "a.store")
    second = run_import(authors.rename(tmp_path / "moved"), tmp_path / "b.store")
    assert files_of(first.store) == files_of(second.store)


def test_only_files_that_the_data_set_lists_are_read(authors, tmp_path, run_import, shard_of):
    part = authors / "train_ukbiobank1000"
    shutil.copy(shard_of(part), part / "cache-0123.arrow")
    assert run_import(authors, tmp_path / "a.store").num_recordings == 8
    for file in authors.rglob("*.json"):
        file.unlink()
    assert run_import(authors, tmp_path / "b.store").num_recordings == 8


def test_files_folders_and_patterns_name_data_sets(authors, tmp_path, run_import, shard_of):
    parts = ["test_ukbiobank1000", "train_ukbiobank1000", "val_ukbiobank1000"]
    for number, source in enumerate((authors / parts[0], shard_of(authors / parts[0]), authors / "test*")):
        summary = run_import(source, tmp_path / f"{number}.store")
        assert (summary.num_recordings, summary.failures) == (2, ())
        assert "source_split" not in Store.open(summary.store).metadata
    together = import_recordings(
        [authors / part for part in parts],
        tmp_path / "a.store",
        parcels=Parcels.unnamed(NUM_PARCELS),
        atlas="a",
        tr=1.0,
    )
    assert together.num_recordings == 8
    assert Store.open(together.store).metadata["source"].str.startswith(tuple(parts)).all()


def test_arrow_files_of_the_other_layout_are_read(tmp_path, run_import, raw_signal):
    table = pa.table({RAW: [raw_signal(0).T.tolist()], "sub": ["1"], "tr": [2.0]})
    (tmp_path / "in").mkdir()
    with pa.ipc.new_file(str(tmp_path / "in" / "a.arrow"), table.schema) as file:
        file.write_table(table)
    summary = run_import(tmp_path / "in", tmp_path / "a.store", tr=None)
    np.testing.assert_array_equal(Store.open(summary.store).bold(0), raw_signal(0))


def test_files_are_closed_again_when_there_are_many(
    tmp_path, monkeypatch, run_import, save, raw_signal, authors_columns
):
    monkeypatch.setattr(arrow_reading, "MOST_OPEN", 1)
    for part in range(3):
        save(
            authors_columns(range(2 * part, 2 * part + 2), eid=[1000 + part, 2000 + part]), tmp_path / "in" / str(part)
        )
    store = Store.open(run_import(tmp_path / "in", tmp_path / "a.store").store)
    expected = [raw_signal(seed, 20 + seed % 3) for seed in (0, 2, 4, 1, 3, 5)]
    assert all(np.array_equal(store.bold(row), signal) for row, signal in enumerate(expected))


# Splits ---------------------------------------------------------------------------------------------------------------


PARTS = {"train_ukbiobank1000": "train", "val_ukbiobank1000": "validation", "test_ukbiobank1000": "test"}


def test_people_keep_exactly_the_split_they_came_in(authors, tmp_path, run_import):
    summary = run_import(authors, tmp_path / "a.store")
    metadata = Store.open(summary.store).metadata
    assert (metadata["split"] == metadata["source_split"].map(PARTS)).all()
    assert dict(summary.num_per_split) == {"test": 2, "train": 4, "validation": 2}
    assert any("people keep the split of" in note and "(exactly;" in note for note in summary.notes)


def test_without_people_for_validation_some_are_drawn_from_those_for_training(
    authors, tmp_path, run_import, save, authors_columns
):
    shutil.rmtree(authors / "val_ukbiobank1000")
    save(authors_columns(range(20, 60)), authors / "train_more")
    summary = run_import(authors, tmp_path / "a.store")
    metadata = Store.open(summary.store).metadata
    tested = metadata["source_split"] == "test_ukbiobank1000"
    assert ((metadata["split"] == "test") == tested).all()
    assert (metadata["split"] == "validation").any()
    assert any("validation is drawn from those for training" in note for note in summary.notes)


def test_people_on_both_sides_of_their_split_are_divided_anew(authors, tmp_path, run_import, save, authors_columns):
    shutil.rmtree(authors / "test_ukbiobank1000")
    save(authors_columns([0, 9], Filename=["1000_3_0.dat", "1009.dat"]), authors / "test_ukbiobank1000")
    summary = run_import(authors, tmp_path / "a.store", split=None)
    assert any("1 people are in more than one of" in note and "sub-1000" in note for note in summary.notes)
    store = Store.open(summary.store)
    assert store.manifest.split["held_out"] == {}
    assert (store.metadata.groupby("subject")["split"].nunique() == 1).all()


def test_a_rule_of_ones_own_comes_before_theirs(authors, tmp_path, run_import):
    summary = run_import(authors, tmp_path / "a.store", split=SplitRule(test=0.5))
    assert Store.open(summary.store).manifest.split["fractions"]["test"] == 0.5
    assert not any("keep the split" in note for note in summary.notes)


def test_parts_that_are_no_split_are_divided_as_usual(authors, tmp_path, run_import):
    (authors / "test_ukbiobank1000").rename(authors / "testid")
    summary = run_import(authors, tmp_path / "a.store")
    assert any("divided anew" in note and "source_split" in note for note in summary.notes)
    assert Store.open(summary.store).manifest.split["held_out"] == {}


# Text of the authors --------------------------------------------------------------------------------------------------


def test_a_folder_of_dat_files_is_read_without_the_coordinates_among_them(shared, tmp_path, monkeypatch, run_import):
    from brainlm.data.atlas import Atlas

    folder = tmp_path / "dat"
    folder.mkdir()
    shutil.copy(shared / "data" / "a424_example" / "fMRI.dat", folder / "1000001.dat")
    shutil.copy(shared / "atlas" / "A424_Coordinates.txt", folder / "A424_Coordinates.dat")
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(shared / "atlas"))
    atlas = Atlas.load("A424")
    summary = run_import(
        folder, tmp_path / "a.store", parcels=atlas.parcels, atlas=atlas.name, pattern=r"(?P<subject>[^/]+)\.dat$"
    )
    assert (summary.num_recordings, summary.failures) == (1, ())
    assert any("A424_Coordinates.dat" in note for note in summary.notes)
    recording = Store.open(summary.store)[0]
    assert recording.bold.shape == (99, 424)
    assert recording.subject == "sub-1000001"
    np.testing.assert_array_equal(recording.bold, np.loadtxt(folder / "1000001.dat").astype(np.float32))
