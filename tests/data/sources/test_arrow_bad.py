"""Bad rows and files of others' Arrow data are listed, and the others are stored."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from brainlm.data.store import Store
from brainlm.errors import ConfigError, DataError

NUM_PARCELS = 12
RAW = "Raw_Recording"


def with_nan(signal):
    signal[3, 4] = np.nan
    return signal


BAD_ROWS = {
    "one parcel less": (
        lambda signal: signal[:-1],
        "Raw_Recording, does not fit the parcels table of 12 (found: 11 rows x 21 columns)",
    ),
    "one parcel more": (lambda signal: np.pad(signal, ((0, 1), (0, 0))), "(found: 13 rows x 21 columns)"),
    "square": (lambda signal: signal[:, :NUM_PARCELS], "which is time is unknown"),
    "NaN": (with_nan, "NaN or infinity inside a parcel"),
    "one time point": (lambda signal: signal[:, :1], "no time course"),
    "never changes": (np.ones_like, "no parcel has any signal"),
    "no rows": (lambda _: np.empty((0, 0), np.float32), "is empty"),
    "missing": (lambda _: None, "is empty"),
    "ragged": (lambda _: [[1.0, 2.0], [1.0]], "not equally long (found: lengths 2, 1)"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_listed_and_the_others_are_stored(tmp_path, kind, run_import, save, authors_columns, shard_of):
    spoil, message = BAD_ROWS[kind]
    columns = authors_columns(range(3))
    spoilt = spoil(columns[RAW][1])
    columns[RAW] = [signal.tolist() for signal in columns[RAW]]
    columns[RAW][1] = spoilt.tolist() if isinstance(spoilt, np.ndarray) else spoilt
    folder = save(columns, tmp_path / "in")
    summary = run_import(folder, tmp_path / "a.store")
    assert Store.open(summary.store, verify=True).metadata["subject"].tolist() == ["sub-1000", "sub-1002"]
    (failure,) = summary.failures
    assert failure.source == f"{shard_of(folder)}, row 2"
    assert message in failure.reason
    assert failure.remedy


def test_a_square_recording_is_read_as_the_user_says(tmp_path, run_import, save, raw_signal, authors_columns):
    folder = save(authors_columns([0], **{RAW: [raw_signal(0, NUM_PARCELS)]}), tmp_path / "in")
    for orientation, expected in (
        ("time-first", raw_signal(0, NUM_PARCELS)),
        ("parcels-first", raw_signal(0, NUM_PARCELS).T),
    ):
        summary = run_import(folder, tmp_path / f"{orientation}.store", orientation=orientation)
        np.testing.assert_array_equal(Store.open(summary.store).bold(0), expected)


def test_a_column_of_words_fails_its_rows(tmp_path, run_import, save, authors_columns):
    columns = authors_columns(range(2), Words_Recording=[[["a"] * NUM_PARCELS] * 20] * 2)
    with pytest.raises(DataError, match="no input could be used") as caught:
        run_import(save(columns, tmp_path / "in"), tmp_path / "a.store", column="Words_Recording")
    assert "is not made of numbers" in str(caught.value)


def write_stream(path: Path, raw_signal, num_batches: int) -> int:
    """Write a stream of as many record batches, a row each; its size."""
    path.parent.mkdir()
    rows = [{RAW: raw_signal(row).T.tolist(), "sub": f"{row}"} for row in range(num_batches)]
    table = pa.Table.from_pylist(rows)
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=1)
    return path.stat().st_size


@pytest.mark.parametrize("num_bytes_missing", [1, 8, 2000])
def test_what_a_file_has_before_it_was_cut_off_is_imported_and_the_rest_listed(
    tmp_path, num_bytes_missing, run_import, raw_signal
):
    path = tmp_path / "in" / "a.arrow"
    size = write_stream(path, raw_signal, 4)
    path.write_bytes(path.read_bytes()[: size - num_bytes_missing])
    summary = run_import(tmp_path / "in", tmp_path / "a.store")
    num_whole = 4 if num_bytes_missing <= 8 else 3
    assert summary.num_recordings == num_whole
    (failure,) = summary.failures
    assert failure.source == str(path)
    assert f"cut off after its first {num_whole} rows" in failure.reason


@pytest.mark.parametrize("content", [b"", b"junk" * 1000, b"ARROW1\0\0" + b"junk" * 1000, b"\xff" * 8])
def test_junk_that_calls_itself_arrow_is_listed(authors, tmp_path, content, run_import, shard_of):
    shard_of(authors / "val_ukbiobank1000").write_bytes(content)
    summary = run_import(authors, tmp_path / "a.store")
    assert summary.num_recordings == 6
    (failure,) = summary.failures
    assert failure.source == str(shard_of(authors / "val_ukbiobank1000"))
    assert "damaged or cut off" in failure.reason


def test_damaged_offsets_are_not_followed(tmp_path, run_import, raw_signal):
    path = tmp_path / "in" / "a.arrow"
    write_stream(path, raw_signal, 1)
    content = path.read_bytes()
    offsets = np.arange(0, 20 * (NUM_PARCELS + 1), 20, dtype=np.int32).tobytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, b"\x7f" * len(offsets)))
    with pytest.raises(DataError, match="no input could be used") as caught:
        run_import(tmp_path / "in", tmp_path / "a.store")
    assert "damaged" in str(caught.value)


def test_a_missing_shard_and_a_damaged_list_of_shards_are_listed(authors, tmp_path, run_import, shard_of):
    shard = shard_of(authors / "val_ukbiobank1000")
    shard.unlink()
    (authors / "test_ukbiobank1000" / "state.json").write_text("{")
    summary = run_import(authors, tmp_path / "a.store")
    assert summary.num_recordings == 4
    assert {failure.source for failure in summary.failures} == {str(shard), str(authors / "test_ukbiobank1000")}


def test_a_selection_of_rows_by_number_is_not_taken_for_the_whole(authors, tmp_path, run_import):
    state = authors / "val_ukbiobank1000" / "state.json"
    content = json.loads(state.read_text()) | {"_indices_data_files": [{"filename": "indices.arrow"}]}
    state.write_text(json.dumps(content))
    summary = run_import(authors, tmp_path / "a.store")
    assert summary.num_recordings == 6
    assert "selection of rows" in summary.failures[0].reason
    assert "flatten_indices" in summary.failures[0].remedy


def test_without_repetition_time_nothing_is_imported(authors, tmp_path, run_import):
    with pytest.raises(DataError, match="no input could be used") as caught:
        run_import(authors, tmp_path / "a.store", tr=None)
    assert "repetition time is unknown" in str(caught.value)
    assert "--tr" in str(caught.value)


def test_a_store_is_no_source(authors, tmp_path, run_import):
    summary = run_import(authors, tmp_path / "a.store")
    for source in (summary.store, summary.store / "data-00000.arrow"):
        with pytest.raises(DataError, match="is a store already") as caught:
            run_import(source, tmp_path / "b.store")
        assert "brainlm inspect" in str(caught.value)


def test_a_store_below_the_source_is_passed_over(authors, run_import):
    for _ in range(2):
        summary = run_import(authors, authors / "a.store", overwrite=True)
        assert (summary.num_recordings, summary.failures) == (8, ())
    assert any("a.store is a store of this program" in note for note in summary.notes)


def test_tables_beside_arrow_data_are_passed_over_and_said(authors, tmp_path, run_import, raw_signal):
    np.savetxt(authors / "sub-1_ts.dat", raw_signal(0))
    summary = run_import(authors, tmp_path / "a.store")
    assert summary.num_recordings == 8
    assert "1 tables beside Arrow data were passed over: sub-1_ts.dat" in summary.notes


def test_options_of_the_other_kind_are_refused(authors, tmp_path, run_import, raw_signal):
    with pytest.raises(ConfigError, match="--drop_columns has no meaning for Arrow data"):
        run_import(authors, tmp_path / "a.store", drop_columns=["time"])
    np.savetxt(tmp_path / "sub-1.dat", raw_signal(0))
    with pytest.raises(ConfigError, match="--column has no meaning for tables"):
        run_import(tmp_path / "sub-1.dat", tmp_path / "a.store", column=RAW)


def test_participants_add_to_the_labels_but_may_not_repeat_them(authors, tmp_path, run_import):
    table = tmp_path / "people.csv"
    table.write_text("subject,iq,site\n" + "\n".join(f"{1000 + seed},{90 + seed},A" for seed in range(7)))
    summary = run_import(authors, tmp_path / "a.store", participants=table)
    metadata = Store.open(summary.store).metadata.set_index("subject")
    assert metadata.loc["sub-1003", ["iq", "site", "Gender"]].tolist() == [93, "A", "F"]
    assert "1 subjects with recordings are not in people.csv, and have no phenotypes: sub-1007" in summary.notes
    table.write_text("subject,Gender\n1000,F")
    with pytest.raises(DataError, match="same phenotypes") as caught:
        run_import(authors, tmp_path / "b.store", participants=table)
    assert "Gender in the data set and in" in str(caught.value)
