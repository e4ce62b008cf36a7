"""A disk that is full, at whatever moment, costs nothing that was finished."""

import errno
import os
import re

import pytest
from derivatives import small_atlas, write_plain_tree

from brainlm.data import ledger as ledger_module
from brainlm.data.parcellating import parcellate_scans
from brainlm.data.scans import find_scans
from brainlm.data.shard_writer import ShardWriter
from brainlm.data.store import Store
from brainlm.errors import DataError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """``run(out)``: parcellate six scans."""
    folder = tmp_path_factory.mktemp("study")
    atlas = small_atlas(folder / "atlas")
    names = {f"sub-{number}": f"sub-{number}_bold" for number in range(6)}
    tree = write_plain_tree(folder / "scans", atlas, names=names)
    found = find_scans([tree.root])
    return lambda out: parcellate_scans(found, out, atlas=atlas)


@pytest.fixture
def expected(run, tmp_path, files_of):
    return files_of(run(tmp_path / "expected.store").store)


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def finished_before(summary):
    note = next((note for note in summary.notes if "in an earlier attempt" in note), "0")
    return int(re.match(r"\d+", note)[0])


@pytest.mark.parametrize("room", [100, 9_000, 16_000, 24_000])
def test_while_scans_are_read_it_keeps_those_that_found_room(run, expected, tmp_path, files_of, monkeypatch, room):
    out, write, left = tmp_path / "a.store", os.pwrite, [room]

    def filling_up(file, data, offset):
        taken = min(len(data), left[0]) or full_disk()  # a disk takes what fits, and complains of the rest
        left[0] -= taken
        return write(file, data[:taken], offset)

    with monkeypatch.context() as within:
        within.setattr(ledger_module.os, "pwrite", filling_up)
        with pytest.raises(DataError, match=r"No space left on device(.|\n)*free space(.|\n)*what is finished is kept"):
            run(out)
    assert (tmp_path / "a.store.partial" / "part-1-of-1.ledger").stat().st_size <= room
    summary = run(out)
    assert (finished_before(summary) > 0) == (room > 9_000)
    assert files_of(out) == expected


def test_while_the_store_is_written_it_keeps_all(run, expected, tmp_path, files_of, monkeypatch):
    out = tmp_path / "a.store"
    with monkeypatch.context() as within:
        within.setattr(ShardWriter, "_close_shard", full_disk)
        with pytest.raises(DataError, match=r"No space left on device(.|\n)*what is finished is kept"):
            run(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.store.partial", "expected.store"]
    assert finished_before(run(out)) == 6
    assert files_of(out) == expected
    assert len(Store.open(out, verify=True)) == 6
