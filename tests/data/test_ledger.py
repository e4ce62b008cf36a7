"""A ledger keeps whole entries through any interruption, full disk or second process."""

import errno
import logging
import os

import pytest

from brainlm.data import ledger as ledger_module
from brainlm.data.ledger import Ledger, Place
from brainlm.errors import BrainLMError, DataError

ENTRIES = [({"name": "a", "number": 0.1}, b"first"), ({"name": "ü"}, b""), ({"name": "c"}, bytes(range(256)))]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.partial" / "part-1-of-1.ledger"


@pytest.fixture
def written(path):
    """A ledger with three entries, and where each ends."""
    ledger, ends = Ledger(path), []
    for head, payload in ENTRIES:
        ledger.append(head, payload)
        ends.append(path.stat().st_size)
    ledger.close()
    return path, ends


def read(path, *, writable=False):
    found = []
    Ledger(path, lambda _, entry: found.append((dict(entry.head), bytes(entry.payload))), writable=writable).close()
    return found


def test_entries_are_there_again_in_their_order(written):
    path, _ = written
    assert read(path) == ENTRIES
    assert read(path, writable=True) == ENTRIES


def test_payloads_may_come_in_pieces_and_are_read_from_their_place(path):
    ledger = Ledger(path)
    place = ledger.append({"name": "a"}, b"one", memoryview(b"two"))
    assert bytes(ledger.read(place).payload) == b"onetwo"
    ledger.close()


def test_a_ledger_cut_off_anywhere_keeps_its_whole_entries_and_goes_on(written):
    path, ends = written
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        whole = sum(end <= length for end in ends)
        assert read(path) == ENTRIES[:whole]
        assert path.stat().st_size == length, "a reader changes nothing"
        ledger = Ledger(path)
        ledger.append({"name": "new"}, b"more")
        ledger.close()
        assert read(path) == [*ENTRIES[:whole], ({"name": "new"}, b"more")]


def test_zeros_behind_the_last_entry_are_no_entry(written):
    path, ends = written
    with path.open("ab") as file:
        file.write(bytes(1000))  # what some file systems leave after a loss of power
    assert read(path, writable=True) == ENTRIES
    assert path.stat().st_size == ends[-1]


def test_what_follows_a_damaged_entry_is_not_trusted(written, caplog):
    path, ends = written
    content = bytearray(path.read_bytes())
    content[ends[0] + 20] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert read(path) == ENTRIES[:1]
    assert "is damaged" in caplog.text


def test_an_entry_that_changed_since_it_was_written_is_not_given_out(path):
    ledger = Ledger(path)
    place = ledger.append({"name": "a"}, b"signal")
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    with pytest.raises(BrainLMError, match="is damaged") as caught:
        ledger.read(place)
    assert not isinstance(caught.value, DataError), "it must not pass for a failure of one recording"
    with pytest.raises(BrainLMError, match="is damaged"):
        ledger.read(Place(place.offset, place.length - 1))
    ledger.close()


def test_a_full_disk_keeps_what_was_there(path, monkeypatch):
    ledger = Ledger(path)
    ledger.append(*ENTRIES[0])
    size, write, left = path.stat().st_size, os.pwrite, [40]

    def fill_up(file, data, offset):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = min(len(data), left[0])  # a disk takes what fits, and complains of the rest
        left[0] -= taken
        return write(file, data[:taken], offset)

    monkeypatch.setattr(ledger_module.os, "pwrite", fill_up)
    with pytest.raises(DataError, match=r"No space left on device(.|\n)*free space"):
        ledger.append({"name": "large"}, bytes(1000))
    assert path.stat().st_size == size
    monkeypatch.undo()
    ledger.append(*ENTRIES[1])
    ledger.close()
    assert read(path) == ENTRIES[:2]


def test_only_one_process_writes_and_none_reads_meanwhile(written):
    path, _ = written
    ledger = Ledger(path)
    for writable in (True, False):
        with pytest.raises(DataError, match=r"is in use(.|\n)*wait for that process"):
            Ledger(path, writable=writable)
    ledger.close()
    first, second = Ledger(path, writable=False), Ledger(path, writable=False)
    with pytest.raises(DataError, match="is in use"):
        Ledger(path)
    first.close()
    second.close()


def test_a_ledger_that_another_process_has_just_removed_is_not_gone_on_with(written, monkeypatch):
    import fcntl

    path, _ = written
    lock = fcntl.flock

    def lock_too_late(file, kind):
        path.unlink()
        lock(file, kind)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with pytest.raises(DataError, match="is in use"):
        Ledger(path)


def test_where_nothing_can_be_locked_a_warning_says_so(path, monkeypatch, caplog):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    Ledger(path).close()
    assert "cannot be locked" in caplog.text


def test_another_file_is_not_touched(path):
    path.parent.mkdir()
    path.write_text("my notes")
    with pytest.raises(DataError, match=r"not written by this program(.|\n)*move it away"):
        Ledger(path)
    assert path.read_text() == "my notes"


def test_clearing_begins_anew(written):
    path, _ = written
    ledger = Ledger(path)
    ledger.clear()
    ledger.append(*ENTRIES[2])
    ledger.close()
    assert read(path) == ENTRIES[2:]


def test_a_place_where_nothing_can_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        Ledger(tmp_path / "file" / "a.ledger")
