"""A store is whole or absent; what does not fit or cannot be written is refused with a remedy."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

from brainlm import atomic
from brainlm.data import shard_writer
from brainlm.data.manifest import Manifest, sha256_of
from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store, StoreWriter
from brainlm.errors import DataError, Failure


def test_a_phenotype_is_text_everywhere_when_text_turns_up_in_a_late_shard(make_recording, make_store):
    values = [1.0, 2.5, None, float("nan"), 4.0, "high"]
    made = [make_recording(f"{i}", phenotypes={"dose": value, "age": 20.0 + i}) for i, value in enumerate(values)]
    store = make_store(made, phenotypes=["dose", "age"], recordings_per_shard=2)
    assert [store[i].phenotypes["dose"] for i in range(6)] == ["1", "2.5", None, None, "4", "high"]
    assert [store[i].phenotypes["age"] for i in range(6)] == [20.0, 21.0, 22.0, 23.0, 24.0, 25.0]
    assert datasets.load_from_disk(str(store.path))["dose"][0] == "1"
    for i, recording in enumerate(made):
        np.testing.assert_array_equal(store.bold(i), recording.bold)


def test_a_phenotype_nobody_has_is_an_empty_column_of_numbers(make_recording, make_store):
    store = make_store([make_recording("01"), make_recording("02")], phenotypes=["age"])
    assert store.metadata["age"].dtype == np.float64
    assert store[0].phenotypes == {"age": None}


def test_a_phenotype_without_a_column_is_refused_by_name(make_recording, make_store):
    with pytest.raises(DataError, match=r"no column for(.|\n)*found: *iq"):
        make_store([make_recording("01", phenotypes={"iq": 100.0})], phenotypes=["age"])


@pytest.mark.parametrize("names", [["split"], ["bold", "age"], ["age", "age"]])
def test_a_phenotype_cannot_take_the_name_of_another_column(make_recording, make_store, names):
    with pytest.raises(DataError, match="phenotype columns cannot have these names"):
        make_store([make_recording("01")], phenotypes=names)


def test_the_same_subject_session_and_run_twice_is_refused_naming_both_sources(make_recording, make_store):
    twice = [make_recording("01", run="1", source="a.tsv"), make_recording("sub-01", run="1", source="b.tsv")]
    with pytest.raises(DataError, match=r"there twice(.|\n)*a\.tsv and b\.tsv"):
        make_store(twice)


def test_another_number_of_parcels_is_refused_with_both_numbers(make_recording, make_store):
    with pytest.raises(DataError, match=r"6 parcels(.|\n)*7 parcels in b\.tsv"):
        make_store([make_recording("01"), make_recording("02", num_parcels=7, source="b.tsv")])


def test_another_atlas_is_refused(make_recording, make_store):
    with pytest.raises(DataError, match="another atlas"):
        make_store([make_recording("01", atlas="B6")])


def test_a_parcel_that_never_changes_is_refused_with_the_remedy(make_recording, make_store):
    recording = make_recording("01")
    recording.bold[:, 3] = 7.0
    with pytest.raises(DataError, match=r"1 constant parcels, first: column 4(.|\n)*set these parcels to NaN"):
        make_store([recording])


def test_float16_is_refused_where_it_would_overflow_or_flatten_the_signal(make_store, rng):
    noise = rng.normal(0, 1, (30, 6)).astype(np.float32)
    with pytest.raises(DataError, match=r"65504(.|\n)*store as float32"):
        make_store([Recording(noise + 70_000, 2.0, "01")], dtype="float16")
    with pytest.raises(DataError, match=r"without any change as float16(.|\n)*store as float32"):
        make_store([Recording(0.01 * noise + 10_000, 2.0, "01")], dtype="float16")


def test_a_subject_cannot_be_in_two_splits(make_recording, tmp_path):
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6") as writer:
        writer.add(make_recording("01", run="1"), split="train")
        with pytest.raises(DataError, match="two splits"):
            writer.add(make_recording("01", run="2"), split="test")
        with pytest.raises(DataError, match="no such split"):
            writer.add(make_recording("02"), split="dev")


def test_a_refused_recording_leaves_no_trace_and_the_others_are_stored(make_recording, tmp_path):
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6") as writer:
        writer.add(make_recording("01"))
        bad = make_recording("02", num_parcels=5, source="bad.tsv")
        try:
            writer.add(bad)
        except DataError as error:
            writer.exclude(Failure.from_error(bad.source, error))
        writer.add(make_recording("02"))
    store = Store.open(tmp_path / "a.store")
    assert store.metadata["subject"].tolist() == ["01", "02"]
    assert store.manifest.exclusions[0]["source"] == "bad.tsv"
    assert "does not fit the store's parcels" in store.manifest.exclusions[0]["reason"]


def test_no_recordings_at_all_give_no_store_but_the_reasons(tmp_path):
    writer = StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6")
    with pytest.raises(DataError, match=r"no recording was stored(.|\n)*a\.tsv: empty"), writer:
        writer.exclude(Failure("a.tsv", "empty", "leave it out"))
    assert list(tmp_path.iterdir()) == []


def test_the_same_recordings_give_the_same_bytes(recordings, make_store, files_of, tmp_path):
    settings = {"recordings_per_shard": 3, "split_rule": SplitRule(seed=4), "source": {"url": "here"}}
    first = make_store(recordings, path=tmp_path / "1", **settings)
    second = make_store(recordings, path=tmp_path / "2", **settings)
    assert files_of(first.path) == files_of(second.path)
    assert first.fingerprint == second.fingerprint


def test_an_error_while_writing_leaves_nothing_behind(recordings, tmp_path):
    writer = StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6", recordings_per_shard=1)
    writer.__enter__()
    writer.add(recordings[0])
    assert list(tmp_path.iterdir()) != []
    writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_store_is_not_replaced_unless_asked(recordings, make_store):
    old = make_store(recordings)
    with pytest.raises(DataError, match=r"exists already(.|\n)*--overwrite"):
        make_store(recordings[:2])
    assert len(Store.open(old.path)) == 7
    assert len(make_store(recordings[:2], overwrite=True)) == 2
    assert [path.name for path in old.path.parent.iterdir()] == ["a.store"]


def test_an_overwrite_that_fails_leaves_the_old_store(recordings, make_store):
    old = make_store(recordings)
    with pytest.raises(DataError):
        make_store([recordings[0], recordings[0]], overwrite=True)
    assert Store.open(old.path, verify=True).fingerprint == old.fingerprint


@pytest.mark.parametrize("kind", ["folder", "file", "empty folder"])
def test_what_is_not_a_store_is_never_replaced(recordings, make_store, tmp_path, kind):
    path = tmp_path / "a.store"
    if kind == "file":
        path.write_text("dear diary")
    else:
        path.mkdir()
        if kind == "folder":
            (path / "diary.txt").write_text("dear diary")
    with pytest.raises(DataError, match=r"not a store(.|\n)*another path"):
        make_store(recordings, overwrite=True)
    assert path.exists()


def test_a_killed_writer_leaves_no_store_and_the_next_one_cleans_up(tmp_path, make_recording, make_store, caplog):
    path = tmp_path / "a.store"
    code = f"""
import os, signal, numpy as np
from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.store import StoreWriter
with StoreWriter({str(path)!r}, Parcels.unnamed(6), atlas="A6", recordings_per_shard=1) as writer:
    writer.add(Recording(np.random.default_rng(0).normal(size=(30, 6)).astype("float32"), 2.0, "01"))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -9
    assert [item.name for item in tmp_path.iterdir()] == [".a.store.writing"]
    with pytest.raises(DataError, match="interrupted, or goes on"):
        Store.open(path)
    assert len(make_store([make_recording("01")])) == 1
    assert "left behind by a process" in caplog.text
    assert [item.name for item in tmp_path.iterdir()] == ["a.store"]


def test_a_second_writer_at_the_same_path_is_refused_while_the_first_is_alive(make_recording, make_store, tmp_path):
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6") as writer:
        writer.add(make_recording("01"))
        with pytest.raises(DataError, match="another process is writing"):
            make_store([make_recording("02")])
    assert Store.open(tmp_path / "a.store").metadata["subject"].tolist() == ["01"]


def test_a_writer_on_another_machine_is_refused_while_it_gives_signs_of_life(
    make_recording, make_store, tmp_path, monkeypatch
):
    leftover = tmp_path / ".a.store.writing"
    leftover.mkdir()
    lock = leftover / atomic.LOCK_FILE
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    monkeypatch.setattr(atomic.time, "sleep", lambda _: os.utime(lock))  # as its writer does now and then
    with pytest.raises(DataError, match=r"process 1 on elsewhere(.|\n)*remove .*\.lock"):
        make_store([make_recording("01")])
    assert leftover.exists()


def test_an_overwrite_killed_between_its_two_renames_is_undone_by_the_next_writer(recordings, make_store):
    old = make_store(recordings)
    old.path.rename(atomic.replaced_for(old.path))
    with pytest.raises(DataError, match="interrupted"):
        Store.open(old.path)
    with pytest.raises(DataError, match="exists already"):
        make_store(recordings[:1])
    assert len(Store.open(old.path, verify=True)) == 7


def test_a_full_disk_is_reported_with_the_remedy_and_leaves_nothing(recordings, make_store, monkeypatch, tmp_path):
    # /dev/full is a file that the system itself declares full.
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(shard_writer.ShardWriter, "_path", lambda *_: Path("/dev/full"))
    with pytest.raises(DataError, match=r"No space left on device(.|\n)*free space"):
        make_store(recordings, recordings_per_shard=2)
    assert list(tmp_path.iterdir()) == []


def test_a_caller_who_goes_on_after_a_full_disk_does_not_get_a_store_with_holes(recordings, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6", recordings_per_shard=1)
    writer.__enter__()
    writer.add(recordings[0])
    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "encode", full)
        with pytest.raises(DataError, match="No space left") as refused:
            writer.add(recordings[1])
    assert isinstance(refused.value.__cause__, OSError)
    with pytest.raises(DataError, match="No space left"):
        writer.add(recordings[2])
    with pytest.raises(DataError, match="No space left"):
        writer.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_is_reported(recordings, make_store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write(.|\n)*part of the path is a file"):
        make_store(recordings, path=tmp_path / "file" / "a.store")


def test_an_overwrite_that_cannot_be_renamed_gives_the_old_store_back(recordings, make_store, monkeypatch):
    old = make_store(recordings)
    rename = Path.rename

    def refuse(self, target):
        if self.name.endswith(".writing"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DataError, match="Input/output error"):
        make_store(recordings[:1], overwrite=True)
    assert Store.open(old.path, verify=True).fingerprint == old.fingerprint


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_without_permission_is_reported(recordings, make_store, monkeypatch, code):
    def refuse(self, *_, **__):
        raise OSError(code, "refused", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match=r"cannot write .*a\.store(.|\n)*remedy"):
        make_store(recordings)


def test_a_file_attached_is_part_of_the_store(recordings, tmp_path):
    (tmp_path / "image.nii").write_bytes(b"image")
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6") as writer:
        writer.add(recordings[0])
        writer.attach(tmp_path / "image.nii", "atlas.nii")
    assert (tmp_path / "a.store" / "atlas.nii").read_bytes() == b"image"


def test_the_manifest_tells_how_the_store_came_about(recordings, make_store):
    rule = SplitRule(test=0.3, hold_out={"site": ["NYU"]})
    store = make_store(recordings, split_rule=rule, source={"terms": "CC0"}, recordings_per_shard=4)
    manifest = Manifest.read(store.path)
    assert manifest.num_recordings == 7
    assert (manifest.atlas, manifest.dtype, manifest.source) == ("A6", "float32", {"terms": "CC0"})
    assert SplitRule.from_description(manifest.split) == rule
    assert manifest.parcels_sha256 == store.parcels.fingerprint
    for shard in manifest.shards:
        assert shard["sha256"] == sha256_of(store.path / shard["file"])
