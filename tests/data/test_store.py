"""A store gives back what was put in, opens for others too, and says what is wrong with it."""

import dataclasses
import json
import pickle
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest

from brainlm.data import shard_writer
from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.shards import Shards, open_shard
from brainlm.data.store import Store, StoreWriter
from brainlm.errors import DataError
from brainlm.files import CHECKSUM, sealed


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_recording_comes_back_in_the_order_it_was_added(recordings, make_store, dtype):
    store = make_store(recordings, dtype=dtype, recordings_per_shard=3)
    assert len(store) == 7
    assert len(store.manifest.shards) == 3
    for number, recording in enumerate(recordings):
        np.testing.assert_array_equal(store.bold(number), recording.bold.astype(dtype))
        copy = store[number]
        assert copy.bold.dtype == np.float32
        assert (copy.key, copy.tr, copy.atlas) == (recording.key, 2.0, "A6")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_datasets_library_reads_the_same_rows_without_this_package(recordings, make_store, dtype):
    store = make_store(recordings, dtype=dtype, recordings_per_shard=3)
    dataset = datasets.load_from_disk(str(store.path))
    assert dataset.features["bold"] == datasets.Array2D(shape=(None, 6), dtype=dtype)
    rows = dataset.with_format("numpy")
    for number in range(7):
        row = rows[number]
        np.testing.assert_array_equal(row["bold"], store.bold(number))  # (their numpy rows are always float32)
        np.testing.assert_array_equal(row["parcel_median"], store.statistics.median[number])
        assert row["subject"] == store.metadata["subject"][number]
        assert row["num_timepoints"] == store.metadata["num_timepoints"][number]


def test_the_schema_is_the_one_that_the_datasets_library_writes_itself(recordings, make_store, tmp_path):
    store = make_store(recordings)
    dataset = datasets.load_from_disk(str(store.path))
    datasets.disable_progress_bars()
    dataset.save_to_disk(str(tmp_path / "theirs"))
    ours = pa.ipc.open_stream(store.path / "data-00000.arrow").schema
    theirs = pa.ipc.open_stream(next((tmp_path / "theirs").glob("*.arrow"))).schema
    assert ours.equals(theirs, check_metadata=True)


def test_batches_of_any_size_hold_the_same_recordings(recordings, make_store, monkeypatch):
    monkeypatch.setattr(shard_writer, "VALUES_PER_BATCH", 300)  # two or three recordings
    store = make_store(recordings)
    for number, recording in enumerate(recordings):
        np.testing.assert_array_equal(store.bold(number), recording.bold)


def test_the_signal_is_a_read_only_view_of_the_file(recordings, make_store):
    store = make_store(recordings)
    view = store.bold(3)
    assert not view.flags.owndata
    assert not view.flags.writeable
    assert np.shares_memory(view, store.bold(3))


def test_statistics_are_those_of_the_signal_and_nan_without_signal(recordings, make_store):
    store = make_store(recordings)
    for number, recording in enumerate(recordings):
        signal = recording.bold.astype(np.float64)
        np.testing.assert_allclose(store.statistics.median[number], np.median(signal, axis=0), rtol=1e-6)
        np.testing.assert_allclose(store.statistics.mean[number], signal.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(store.statistics.std[number], signal.std(axis=0), rtol=1e-6)
    assert np.isnan(store.statistics.std[2, 4])
    assert np.isfinite(np.delete(store.statistics.std, 2, axis=0)).all()


def test_statistics_of_raw_units_far_from_zero_are_exact(make_store, rng):
    bold = (12_000 + rng.normal(0, 0.5, (400, 6))).astype(np.float32)
    store = make_store([Recording(bold, 2.0, "01")])
    np.testing.assert_allclose(store.statistics.std[0], bold.astype(np.float64).std(axis=0), rtol=1e-6)


def test_metadata_have_a_row_a_recording_with_all_columns_in_order(make_recording, make_store):
    made = [
        make_recording("01", site="NYU", session="a", task="rest", run="1", source="one.tsv", phenotypes={"age": 30.5}),
        make_recording("02", tr=0.72, num_timepoints=40, phenotypes={"group": "patient"}),
    ]
    metadata = make_store(made, phenotypes=["age", "group"], splits={"02": "test"}).metadata
    columns = "subject session task run site tr num_timepoints source split age group"
    assert list(metadata.columns) == columns.split()
    assert list(metadata.iloc[0])[:10] == ["01", "a", "rest", "1", "NYU", 2.0, 30, "one.tsv", "train", 30.5]
    assert metadata["age"].isna().tolist() == [False, True]
    assert metadata["group"].isna().tolist() == [True, False]
    assert metadata["split"].tolist() == ["train", "test"]


def test_changing_the_metadata_does_not_change_the_store(recordings, make_store):
    store = make_store(recordings)
    metadata = store.metadata
    metadata["subject"] = "nobody"
    assert store.metadata["subject"][0] == "00"


def test_different_repetition_times_are_kept_and_shown(make_recording, make_store):
    store = make_store([make_recording("01", tr=2.0), make_recording("02", tr=0.8)])
    assert store.metadata["tr"].tolist() == [2.0, 0.8]
    assert store[1].tr == 0.8


def test_a_selection_keeps_order_and_shows_only_its_recordings(recordings, make_store):
    store = make_store(recordings, splits={"01": "test", "04": "test", "05": "validation"})
    test = store.select(split="test")
    assert test.metadata["subject"].tolist() == ["01", "04"]
    np.testing.assert_array_equal(test.bold(1), recordings[4].bold)
    np.testing.assert_array_equal(test.statistics.mean, store.statistics.mean[[1, 4]])
    assert len(store.select(split=["test", "validation"], subject=["01", "05", "06"])) == 2
    assert test.fingerprint != store.fingerprint
    assert store.select(split="test").fingerprint == test.fingerprint


def test_an_unknown_column_or_value_is_refused_with_the_nearest(recordings, make_store):
    store = make_store(recordings)
    with pytest.raises(DataError, match=r"no column subjct(.|\n)*nearest: subject"):
        store.select(subjct="01")
    with pytest.raises(DataError, match=r"no recording has split = trian(.|\n)*nearest: train"):
        store.select(split="trian")
    with pytest.raises(DataError, match="no recording has subject = 99"):
        store.select(subject=["01", "99"])


def test_a_split_that_nobody_fell_into_is_named_with_the_others_and_what_to_do(recordings, make_store):
    store = make_store(recordings, splits={"01": "validation"})
    with pytest.raises(DataError, match="no test people") as caught:
        store.select(split="test")
    assert "validation 1 people" in caught.value.found
    assert "spelling" not in caught.value.remedy
    assert "--split train or validation or all" in caught.value.remedy


def test_a_selection_survives_the_way_to_another_process(recordings, make_store):
    chosen = make_store(recordings).take([5, 2])
    data = pickle.dumps(chosen)
    copy = pickle.loads(data)
    assert len(data) < 2000
    assert copy.fingerprint == chosen.fingerprint
    np.testing.assert_array_equal(copy.bold(0), recordings[5].bold)


def test_an_index_beyond_the_end_is_an_index_error_and_iteration_ends(recordings, make_store):
    store = make_store(recordings)
    with pytest.raises(IndexError):
        store[7]
    assert [recording.subject for recording in store] == [recording.subject for recording in recordings]
    assert store[-1].subject == "06"


@pytest.mark.parametrize("index", [["01"], "01", slice(0, 2), 1.0, None, True, np.array([True]), 7, -8])
def test_what_is_no_position_is_refused_with_how_to_choose(index, recordings, make_store):
    store = make_store(recordings)
    for ask in (store.__getitem__, store.bold):
        with pytest.raises(DataError, match=r"0 to 6(.|\n)*store\.take(.|\n)*store\.select") as refused:
            ask(index)
        assert repr(index) in str(refused.value)


@pytest.mark.parametrize("indices", [["01"], [0, 7], [-8], [True] * 7, [0.5], slice(0, 2)])
def test_positions_that_are_none_are_refused_when_several_are_taken(indices, recordings, make_store):
    with pytest.raises(DataError, match=r"0 to 6(.|\n)*store\.select"):
        make_store(recordings).take(indices)


def test_what_a_store_a_recording_and_parcels_print_is_short_and_says_what_they_are(recordings, make_store):
    store = make_store(recordings)
    for thing, facts in (
        (store, ("Store(", str(store.path), "7 recordings")),
        (store[0], ("Recording(", store[0].name, f"{store[0].num_timepoints} time points")),
        (store.parcels, (f"Parcels({store.num_parcels}", "coordinates")),
    ):
        assert all(fact in repr(thing) for fact in facts), repr(thing)
        assert len(repr(thing)) < 200


def test_a_folder_that_is_no_store_is_refused_with_what_is_there(tmp_path):
    (tmp_path / "diary.txt").write_text("")
    with pytest.raises(DataError, match=r"is not a store(.|\n)*diary\.txt"):
        Store.open(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        Store.open(tmp_path / "nowhere")


def test_a_missing_or_shortened_shard_is_refused_by_name(recordings, make_store):
    store = make_store(recordings, recordings_per_shard=3)
    shard = store.path / "data-00001.arrow"
    content = shard.read_bytes()
    shard.write_bytes(content[:-100])
    with pytest.raises(
        DataError, match=rf"data-00001\.arrow(.|\n)*{len(content)} bytes(.|\n)*{len(content) - 100} bytes"
    ):
        Store.open(store.path)
    shard.unlink()
    with pytest.raises(DataError, match=r"data-00001\.arrow(.|\n)*no such file"):
        Store.open(store.path)


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x80
    path.write_bytes(content)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder where it is remembered which shards were found whole; every file counts as long unchanged."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("brainlm.data.manifest.RECENT_NS", 0)
    return tmp_path / "cache" / "brainlm" / "whole"


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that are read to be compared with their checksum."""
    from brainlm.data import manifest

    names = []
    whole = manifest.sha256_of
    monkeypatch.setattr(manifest, "sha256_of", lambda path: names.append(path.name) or whole(path))
    return names


def test_no_flipped_byte_of_a_shard_is_used(recordings, make_store):
    store = make_store(recordings, recordings_per_shard=3)
    shard = store.path / "data-00001.arrow"
    size = shard.stat().st_size
    for position in [*range(0, 2000, 97), *range(2000, size - 1500, size // 20), *range(size - 1500, size, 61)]:
        flip(shard, position)
        with pytest.raises(DataError, match=r"data-00001\.arrow(.|\n)*SHA-256(.|\n)*SHA-256(.|\n)*restore"):
            Store.open(store.path)
        flip(shard, position)
    assert len(Store.open(store.path)) == len(recordings)


def test_a_shard_of_another_store_is_refused(recordings, make_store, tmp_path):
    one = make_store(recordings)
    changed = dataclasses.replace(recordings[0], bold=recordings[0].bold + 1)
    other = make_store([changed, *recordings[1:]], path=tmp_path / "b.store")
    (one.path / "data-00000.arrow").write_bytes((other.path / "data-00000.arrow").read_bytes())
    with pytest.raises(DataError, match=r"data-00000\.arrow"):
        Store.open(one.path)


def test_shards_are_compared_with_their_checksums_once(recordings, make_store, cache, hashed):
    store = make_store(recordings, recordings_per_shard=3)
    for record in cache.iterdir():  # writing a store remembers its shards
        record.unlink()
    hashed.clear()
    Store.open(store.path)
    assert [name for name in hashed if name.endswith(".arrow")] == [item["file"] for item in store.manifest.shards]
    hashed.clear()
    Store.open(store.path)
    assert hashed == ["parcels.tsv"]
    Store.open(store.path, verify=True)
    assert len(hashed) > 2
    hashed.clear()
    (store.path / "data-00001.arrow").write_bytes((store.path / "data-00001.arrow").read_bytes())
    Store.open(store.path)
    assert hashed == ["parcels.tsv", "data-00001.arrow"]
    flip(store.path / "data-00001.arrow", 500)
    with pytest.raises(DataError, match="SHA-256"):
        Store.open(store.path)


@pytest.mark.usefixtures("cache")
def test_a_store_that_was_just_written_is_not_read_again(recordings, make_store, hashed):
    Store.open(make_store(recordings, recordings_per_shard=3).path)
    assert set(hashed) == {"parcels.tsv"}


@pytest.mark.parametrize("text", ["", "[]", '{"shards": 3}', '{"shards": {"data-00000.arrow": [1, 2, 3, "x"]}}'])
def test_a_damaged_note_of_whole_shards_is_not_believed(recordings, make_store, cache, hashed, text):
    store = make_store(recordings)
    (record,) = cache.iterdir()
    record.write_text(text)
    hashed.clear()
    Store.open(store.path)
    assert "data-00000.arrow" in hashed


def test_a_store_opens_where_nothing_can_be_remembered(recordings, make_store, cache, hashed):
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where a folder should be")
    store = make_store(recordings)
    for _ in range(2):
        hashed.clear()
        assert len(Store.open(store.path)) == len(recordings)
        assert "data-00000.arrow" in hashed


def test_a_shard_written_to_a_moment_ago_is_read_again(recordings, make_store, tmp_path, monkeypatch, hashed):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = make_store(recordings)
    hashed.clear()
    Store.open(store.path)
    assert "data-00000.arrow" in hashed


@pytest.mark.parametrize("entry", [[], 3, None, [{}], [3], [{"file": "../x.arrow"}]], ids=repr)
def test_a_manifest_with_other_shards_than_files_is_refused(recordings, make_store, entry):
    store = make_store(recordings)
    path = store.path / "manifest.json"
    content = json.loads(path.read_text())
    (shard,) = content["shards"]
    content["shards"] = [shard | entry[0]] if entry == [{"file": "../x.arrow"}] else entry
    path.write_text(json.dumps({name: value for name, value in content.items() if name != CHECKSUM}))
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        Store.open(store.path)


def test_a_changed_word_in_the_manifest_is_refused(recordings, make_store):
    store = make_store(recordings)
    path = store.path / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 0'))
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        Store.open(store.path)


def test_offsets_that_lead_out_of_the_signals_are_refused(recordings, make_store):
    path = make_store(recordings).path / "data-00000.arrow"
    first_points = np.cumsum([0, *(len(recording.bold) for recording in recordings)]).astype("<i4").tobytes()
    position, refused = path.read_bytes().index(first_points), 0
    for byte in range(len(first_points)):
        flip(path, position + byte)
        try:
            shards = Shards([open_shard(path)], num_parcels=6)
            assert all(shards.bold(row).sum() is not None for row in range(len(shards)))
        except DataError:
            refused += 1
        flip(path, position + byte)
    assert refused > len(recordings)


def test_a_changed_parcels_table_is_refused(recordings, make_store):
    store = make_store(recordings)
    Parcels.unnamed(6).table.assign(x=0.0).to_csv(store.path / "parcels.tsv", sep="\t")
    with pytest.raises(DataError, match=r"parcels\.tsv"):
        Store.open(store.path)
    (store.path / "parcels.tsv").unlink()
    with pytest.raises(DataError, match=r"parcels\.tsv(.|\n)*no such file"):
        Store.open(store.path)


def test_a_newer_format_is_refused_with_the_command_to_run(recordings, make_store):
    store = make_store(recordings)
    content = json.loads((store.path / "manifest.json").read_text())
    del content[CHECKSUM]
    (store.path / "manifest.json").write_text(json.dumps(sealed({**content, "format_version": 99})))
    with pytest.raises(DataError, match=r"format version 99(.|\n)*pip install"):
        Store.open(store.path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 1}'])
def test_a_damaged_manifest_is_refused(recordings, make_store, text):
    store = make_store(recordings)
    (store.path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        Store.open(store.path)


def test_a_shard_that_is_no_arrow_file_is_refused(recordings, make_store):
    store = make_store(recordings)
    shard = store.path / "data-00000.arrow"
    shard.write_bytes(b"\x07" * shard.stat().st_size)
    with pytest.raises(DataError, match="SHA-256"):
        Store.open(store.path)
    with pytest.raises(DataError, match="cannot be read"):
        open_shard(shard)


def test_a_store_can_be_moved(recordings, make_store, tmp_path):
    store = make_store(recordings)
    store.path.rename(tmp_path / "elsewhere")
    assert Store.open(tmp_path / "elsewhere", verify=True).fingerprint == store.fingerprint


@pytest.mark.slow
def test_ten_thousand_recordings_open_within_a_second(tmp_path):
    num_recordings, rng = 10_000, np.random.default_rng(0)
    bold = rng.normal(size=(4, 200)).astype(np.float32)
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(200), atlas="A") as writer:
        for number in range(num_recordings):
            writer.add(Recording(bold, 2.0, f"{number}"))
    fastest = np.inf
    for _ in range(3):  # the machine may be busy with something else
        start = time.perf_counter()
        store = Store.open(tmp_path / "a.store")
        assert len(store.metadata) == num_recordings
        fastest = min(fastest, time.perf_counter() - start)
    assert fastest < 1.0


def test_reading_every_recording_takes_no_memory_of_the_process(tmp_path, rng):
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell anonymous from mapped memory")

    def anonymous_mib():
        line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) / 1024

    bold = rng.normal(size=(500, 400)).astype(np.float32)
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(400), atlas="A") as writer:
        for number in range(100):
            writer.add(Recording(bold, 2.0, f"{number}"))
    store = Store.open(tmp_path / "a.store")
    before = anonymous_mib()
    total = sum(float(store.bold(number)[::50].sum()) for number in range(100))
    assert np.isfinite(total)
    size_mib = sum(shard["num_bytes"] for shard in store.manifest.shards) / 2**20
    assert size_mib > 70
    assert anonymous_mib() - before < 10
