"""Files are old or new, whatever happens; temporary names cannot be guessed; one process writes at a time."""

import errno
import json
import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from brainlm import atomic
from brainlm.errors import DataError


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(atomic, "WATCH_S", 0.4)
    monkeypatch.setattr(atomic, "BEAT_S", 0.05)
    monkeypatch.setattr(atomic, "_swept", set())


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def killed(code, *arguments):
    """Run ``code`` in a process of its own, which is to kill itself."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from brainlm import atomic
with atomic.replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(tmp_path):
    path = tmp_path / "new" / "a.txt"
    atomic.write_text(path, "one")
    atomic.write_text(path, "two")
    assert (path.read_text(), names(path.parent)) == ("two", ["a.txt"])


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    atomic.write_text(path, "old")

    def fail():
        with atomic.replacing(path) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])


@pytest.mark.parametrize("step", ["mkdir", "write", "sync", "replace"])
def test_a_full_disk_is_called_so_at_every_step(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    atomic.write_text(path, "old")

    def write():
        with atomic.replacing(path) as file:
            file.write(b"new")
            if step == "write":
                full_disk()

    with monkeypatch.context() as within:
        if step != "write":
            within.setattr(*(os, "fsync") if step == "sync" else (atomic.Path, step), full_disk)
        with pytest.raises(DataError, match="disk is full") as caught:
            write()
    assert str(path) in caught.value.problem
    assert "free space" in caught.value.remedy
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])


def test_a_link_under_the_name_itself_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "a.txt").symlink_to(tmp_path / "victim")
    atomic.write_text(tmp_path / "a.txt", "ours")
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "a.txt").is_symlink()


def test_temporary_names_differ_each_time_and_are_private(tmp_path):
    seen = set()
    for _ in range(3):
        with atomic.replacing_at(tmp_path / "a.txt") as beside:
            seen.add(beside.parent.name)
            assert stat.S_IMODE(beside.parent.stat().st_mode) == 0o700
    assert len(seen) == 3


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_any_new_file_and_a_replaced_one_keeps_its_own(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        atomic.write_text(tmp_path / "a.txt", "new")
        with atomic.replacing_at(tmp_path / "b.txt") as beside:
            beside.unlink()
            os.close(os.open(beside, os.O_CREAT | os.O_WRONLY, 0o600))  # as libraries do
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt")} == {mode}
    (tmp_path / "a.txt").chmod(0o640)
    atomic.write_text(tmp_path / "a.txt", "newer")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path):
    path = tmp_path / ("ä" * 120 + ".txt")
    atomic.write_text(path, "text")
    assert path.read_text() == "text"


def test_what_a_killed_writer_leaves_is_no_content_and_goes_with_the_next_write(tmp_path):
    killed(KILLED_WRITER, tmp_path / "a.txt")
    assert len(names(tmp_path)) == 1
    assert atomic.content_of(tmp_path) == []
    atomic.write_text(tmp_path / "other.txt", "text")
    assert names(tmp_path) == ["other.txt"]


def test_what_a_living_process_is_writing_stays(tmp_path, monkeypatch):
    with atomic.replacing(tmp_path / "a.txt") as file:
        monkeypatch.setattr(atomic, "_swept", set())
        atomic.write_text(tmp_path / "b.txt", "b")
        file.write(b"a")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_a_copy_is_whole_or_absent(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("content")
    atomic.copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "content"
    monkeypatch.setattr(atomic.shutil, "copyfileobj", full_disk)
    with pytest.raises(DataError, match="disk is full"):
        atomic.copy(tmp_path / "a", tmp_path / "c")
    assert names(tmp_path) == ["a", "b"]


HOLDER = """
import sys, time
from pathlib import Path
from brainlm import atomic
with atomic.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of ``tmp_path / "run"``."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_told_which_the_first_is(tmp_path, holder):
    with pytest.raises(DataError, match=r"another process is writing .*run") as caught, atomic.locked(tmp_path / "run"):
        pass
    assert f"process {holder.pid} on {socket.gethostname()}" in caught.value.found
    assert str(tmp_path / "run" / ".lock") in caught.value.remedy


def test_the_lock_of_a_killed_process_is_taken_even_before_its_parent_has_noticed(tmp_path, holder):
    holder.kill()
    while holder.poll() is None and "Z" not in Path(f"/proc/{holder.pid}/stat").read_text():
        time.sleep(0.01)
    with atomic.locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / ".lock").read_text())["pid"] == os.getpid()
    assert names(tmp_path / "run") == []


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path):
    with pytest.raises(RuntimeError), atomic.locked(tmp_path / "runs" / "one"):
        raise RuntimeError
    assert names(tmp_path) == []
    with atomic.locked(tmp_path / "runs" / "one"):
        atomic.write_text(tmp_path / "runs" / "one" / "a", "")
    assert names(tmp_path / "runs" / "one") == ["a"]


def test_two_files_of_a_folder_are_locked_apart(tmp_path):
    with atomic.locked(tmp_path, of="a"), atomic.locked(tmp_path, of="b"), atomic.locked(tmp_path):
        assert atomic.content_of(tmp_path) == []
        with pytest.raises(DataError, match="another process"), atomic.locked(tmp_path, of="a"):
            pass
    assert names(tmp_path) == []


def without_locks(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize(
    ("started", "is_free"), [(lambda: atomic._started(os.getppid()), False), (lambda: "1", True), (lambda: "", True)]
)
def test_where_the_disk_has_no_locks_number_and_start_time_of_the_process_tell(tmp_path, monkeypatch, started, is_free):
    monkeypatch.setattr(atomic, "_flock", without_locks)
    owner = {"host": socket.gethostname(), "pid": os.getppid(), "started": started()}
    (tmp_path / ".lock").write_text(json.dumps(owner))
    if is_free:  # the number is another process's by now
        with atomic.locked(tmp_path):
            pass
        assert names(tmp_path) == []
    else:
        with pytest.raises(DataError, match="another process"), atomic.locked(tmp_path):
            pass


def test_a_writer_on_another_machine_is_dead_only_without_signs_of_life(tmp_path, caplog):
    lock = tmp_path / ".lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "started": "1"}))
    alive = threading.Event()

    def beat():
        while not alive.wait(0.05):
            os.utime(lock)

    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(DataError, match="process 7 on elsewhere") as caught, atomic.locked(tmp_path):
        pass
    alive.set()
    thread.join()
    assert f"remove {lock}" in caught.value.remedy
    with atomic.locked(tmp_path):
        assert "watching" in caplog.text


def test_a_holder_gives_signs_of_life(tmp_path):
    with atomic.locked(tmp_path):
        before = (tmp_path / ".lock").stat().st_mtime_ns
        time.sleep(0.3)
        assert (tmp_path / ".lock").stat().st_mtime_ns > before


@pytest.mark.parametrize("text", ["", "half a reco", "[]", '{"host": 1}'])
def test_a_lock_that_cannot_be_read_is_nobodys(tmp_path, text):
    (tmp_path / ".lock").write_text(text)
    with atomic.locked(tmp_path):
        pass


def test_a_lock_is_not_taken_through_a_link(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(DataError, match="symbolic link"), atomic.locked(tmp_path / "run"):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def _count(folder, turns, results):
    for _ in range(turns):
        try:
            with atomic.locked(folder):
                path = folder / "count"
                number = int(path.read_text()) if path.exists() else 0
                atomic.write_text(path, str(number + 1))
                results.put(1)
        except DataError:
            results.put(0)


def test_many_processes_never_hold_it_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [context.Process(target=_count, args=(tmp_path, 30, results)) for _ in range(4)]
    for process in processes:
        process.start()
    held = sum(results.get() for _ in range(4 * 30))
    for process in processes:
        process.join()
    assert int((tmp_path / "count").read_text()) == held > 0


def test_a_claimed_folder_loses_what_a_dead_process_left_and_never_what_others_put_there(tmp_path):
    folder = tmp_path / ".a.writing"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not left by this program"):
        atomic.claim(folder)
    (folder / ".lock").write_text("{}")
    lock = atomic.claim(folder)
    assert names(folder) == [".lock"]
    atomic.abandon(lock)
    assert names(tmp_path) == []


def test_a_claim_through_a_link_is_refused(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / ".lock").write_text("{}")
    (tmp_path / "victim" / "precious").write_text("")
    (tmp_path / ".a.writing").symlink_to(tmp_path / "victim")
    with pytest.raises(DataError, match="symbolic link"):
        atomic.claim(tmp_path / ".a.writing")
    assert names(tmp_path / "victim") == [".lock", "precious"]


def test_a_published_folder_is_nobodys_to_remove(tmp_path):
    lock = atomic.claim(atomic.temporary_for(tmp_path / "a"))
    (tmp_path / ".a.writing" / "file").write_text("")
    atomic.publish(lock, tmp_path / "a")
    atomic.abandon(lock)
    assert (names(tmp_path), names(tmp_path / "a")) == (["a"], ["file"])


REPLACING_FOLDER = """
import os, signal, sys
from pathlib import Path
from brainlm import atomic
if sys.argv[2] == "between":
    atomic.sync = lambda path: None
    rename = Path.rename
    def renamed(path, other):
        if path.name == ".model.writing":
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, other)
    Path.rename = renamed
with atomic.replacing_folder(Path(sys.argv[1])) as beside:
    atomic.write_text(beside / "a", "new")
    if sys.argv[2] == "half":
        os.kill(os.getpid(), signal.SIGKILL)
    atomic.write_text(beside / "b", "new")
"""


def write_pair(folder, text):
    with atomic.replacing_folder(folder) as beside:
        for name in ("a", "b"):
            atomic.write_text(beside / name, text)


def fail_after_one(beside):
    atomic.write_text(beside / "a", "new")
    full_disk()


def test_files_of_a_folder_are_replaced_together_and_others_stay(tmp_path):
    folder = tmp_path / "model"
    write_pair(folder, "old")
    (folder / "results").mkdir()
    (folder / "results" / "c").write_text("kept")
    (folder / "nowhere").symlink_to(tmp_path / "absent")
    write_pair(folder, "new")
    assert names(tmp_path) == ["model"]
    assert names(folder) == ["a", "b", "nowhere", "results"]
    assert [(folder / name).read_text() for name in ("a", "b", "results/c")] == ["new", "new", "kept"]


def test_a_folder_keeps_its_files_where_the_new_ones_fail(tmp_path):
    write_pair(tmp_path / "model", "old")
    with pytest.raises(DataError), atomic.replacing_folder(tmp_path / "model") as beside:
        fail_after_one(beside)
    assert names(tmp_path) == ["model"]
    assert [(tmp_path / "model" / name).read_text() for name in ("a", "b")] == ["old", "old"]


@pytest.mark.parametrize("when", ["half", "between"])
def test_a_kill_while_a_folder_is_replaced_loses_nothing_and_the_next_writer_goes_on(tmp_path, when):
    folder = tmp_path / "model"
    write_pair(folder, "old")
    killed(REPLACING_FOLDER, folder, when)
    there = folder if when == "half" else atomic.replaced_for(folder)
    assert [(there / name).read_text() for name in ("a", "b")] == ["old", "old"]
    (there / "c").write_text("kept")
    write_pair(folder, "new")
    assert names(tmp_path) == ["model"]
    assert [(folder / name).read_text() for name in ("a", "b", "c")] == ["new", "new", "kept"]


def test_files_come_into_an_empty_folder_without_a_new_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    before = folder.stat().st_ino
    write_pair(folder, "new")
    assert (folder.stat().st_ino, names(folder)) == (before, ["a", "b"])
