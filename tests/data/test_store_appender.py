"""A store grows without its old shards being touched, and stays readable whenever the process dies."""

import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

from brainlm.data import shard_writer
from brainlm.data.splits import SplitRule, assign_splits
from brainlm.data.store import Store, StoreAppender, append
from brainlm.errors import DataError, Failure


@pytest.fixture
def grown(recordings, make_store):
    """A store of five that takes two more."""
    return make_store(recordings[:5], recordings_per_shard=3, split_rule=SplitRule(), splits={"01": "test"})


def test_appended_recordings_follow_the_old_ones_whose_shards_stay_as_they_are(grown, recordings, files_of):
    before = files_of(grown.path)
    append(grown.path, recordings[5:])
    store = Store.open(grown.path, verify=True)
    assert len(store) == 7
    for number, recording in enumerate(recordings):
        np.testing.assert_array_equal(store.bold(number), recording.bold)
    after = files_of(grown.path)
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {"manifest.json", "state.json", "data-00002.arrow"}
    dataset = datasets.load_from_disk(str(grown.path)).with_format("numpy")
    np.testing.assert_array_equal(dataset[6]["bold"], recordings[6].bold)


def test_a_new_run_of_an_old_subject_joins_its_split(grown, make_recording):
    append(grown.path, [make_recording("01", run="2")])
    assert Store.open(grown.path).metadata["split"].tolist()[-1] == "test"


def test_a_new_subject_gets_the_split_it_would_have_had_from_the_beginning(make_recording, make_store, tmp_path):
    everyone = [make_recording(f"{number:03d}") for number in range(40)]
    rule = SplitRule(seed=3)
    splits = make_store(everyone, path=tmp_path / "b.store").metadata
    splits = dict(zip(splits["subject"], assign_splits(splits, rule), strict=True))
    store = make_store(everyone[:10], split_rule=rule, splits=splits)
    append(store.path, everyone[10:])
    metadata = Store.open(store.path).metadata
    assert dict(zip(metadata["subject"], metadata["split"], strict=True)) == splits
    assert set(splits.values()) == {"train", "validation", "test"}


def test_a_new_subject_needs_a_split_where_the_rule_cannot_decide(make_recording, make_store):
    store = make_store([make_recording("01", site="NYU")], split_rule=SplitRule(stratify="site"))
    with pytest.raises(DataError, match=r"proportions of site(.|\n)*existing"):
        append(store.path, [make_recording("02", site="NYU")])
    with StoreAppender(store.path) as appender:
        appender.add(make_recording("02", site="NYU"), split="test")
    assert Store.open(store.path).metadata["split"].tolist() == ["train", "test"]


def test_a_recording_that_is_there_already_is_refused_and_the_store_is_as_it_was(grown, recordings, files_of):
    before = files_of(grown.path)
    with pytest.raises(DataError, match="there twice"):
        append(grown.path, [recordings[5], recordings[0]])
    assert files_of(grown.path) == before


def test_a_column_of_numbers_takes_no_text_later(make_recording, make_store):
    store = make_store([make_recording("01", phenotypes={"age": 30.0})], phenotypes=["age"])
    with pytest.raises(DataError, match="phenotype age is a number"), StoreAppender(store.path) as appender:
        appender.add(make_recording("02", phenotypes={"age": "old"}), split="train")
    with StoreAppender(store.path) as appender:
        appender.add(make_recording("02", phenotypes={"age": None}), split="train")
        appender.exclude(Failure("b.tsv", "empty", ""))
    store = Store.open(store.path)
    assert len(store) == 2
    assert store.manifest.exclusions == [{"source": "b.tsv", "reason": "empty", "remedy": ""}]


def test_a_full_disk_leaves_the_store_as_it_was(grown, recordings, files_of, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    before = files_of(grown.path)
    with monkeypatch.context() as patch:
        patch.setattr(shard_writer.ShardWriter, "_path", lambda *_: Path("/dev/full"))
        with pytest.raises(DataError, match=r"No space left on device(.|\n)*free space"):
            append(grown.path, recordings[5:])
    assert files_of(grown.path) == before
    append(grown.path, recordings[5:])
    assert len(Store.open(grown.path)) == 7


def test_two_processes_do_not_append_at_the_same_time(grown, make_recording):
    with StoreAppender(grown.path) as first:
        first.add(make_recording("90"), split="train")
        with pytest.raises(DataError, match="another process is writing"):
            append(grown.path, [make_recording("91")])
    assert len(Store.open(grown.path)) == 6


def test_nothing_is_appended_to_what_is_no_store(tmp_path, make_recording):
    with pytest.raises(DataError, match="is not a store"):
        append(tmp_path, [make_recording("01")])
    assert list(tmp_path.iterdir()) == []


def test_appending_killed_at_any_step_leaves_a_readable_store(grown, recordings, tmp_path):
    """A real process is killed before each of its file operations in turn; then the same append is run again."""
    np.savez(tmp_path / "new.npz", *[recording.bold for recording in recordings[5:]])
    code = f"""
import os, shutil, sys, numpy as np
from pathlib import Path
from brainlm import atomic
from brainlm.data import shards
from brainlm.data.recording import Recording
from brainlm.data.store import Store, append
import datasets
new = [Recording(b, 2.0, f"{{i + 5:02d}}") for i, b in enumerate(np.load({str(tmp_path / "new.npz")!r}).values())]
steps = 0
def counted(function, deadly):
    def call(*arguments, **settings):
        global steps
        steps += 1
        if steps == deadly:
            os._exit(9)
        return function(*arguments, **settings)
    return call
deadly = 0
while True:
    deadly += 1
    copy = Path({str(tmp_path)!r}) / f"copy-{{deadly}}"
    shutil.copytree({str(grown.path)!r}, copy)
    child = os.fork()
    if child == 0:
        methods = [(Path, name) for name in ("replace", "rename", "mkdir", "write_text")]
        for owner, name in [*methods, (atomic, "sync"), (shutil, "rmtree")]:
            setattr(owner, name, counted(getattr(owner, name), deadly))
        append(copy, new)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(deadly)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    num_steps = int(done.stdout)
    assert num_steps > 8
    lengths = []
    for step in range(1, num_steps):
        store = Store.open(tmp_path / f"copy-{step}", verify=True)
        lengths.append(len(store))
        assert len(datasets.load_from_disk(str(store.path))) in (5, 7)
        if len(store) == 5:
            append(store.path, recordings[5:])
        whole = Store.open(store.path, verify=True)
        np.testing.assert_array_equal(whole.bold(6), recordings[6].bold)
        assert whole.fingerprint == Store.open(tmp_path / f"copy-{num_steps}").fingerprint
    assert sorted(lengths) == lengths  # old until the manifest is replaced, new from then on
    assert set(lengths) == {5, 7}
