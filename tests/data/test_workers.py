"""Worker processes: each scan's own result, whoever dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import chain
from pathlib import Path

import psutil
import pytest
from odd_tasks import OddTask

from brainlm.data.scan import Scan
from brainlm.data.workers import one_after_another, over_processes

SCANS = [Scan(f"{number}.nii", f"{number}.nii", "nifti", f"sub-{number}") for number in range(7)]


def results(generator):
    return {done.name: done.failure for done in chain.from_iterable(generator)}


def children():
    found = psutil.Process().children(recursive=True)
    alive = [child for child in found if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "spawn_main" in " ".join(child.cmdline())]


def wait_until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_one_after_another_in_this_process():
    found = results(one_after_another(SCANS, OddTask()))
    assert [failure.source for failure in found.values()] == [scan.path for scan in SCANS]
    assert {failure.reason for failure in found.values()} == {str(os.getpid())}


def test_a_scan_that_kills_its_process_fails_alone_and_the_others_are_done():
    found = results(over_processes(SCANS, OddTask(deadly=("sub-2", "sub-5")), jobs=2))
    assert set(found) == {scan.recording_name for scan in SCANS}
    for scan in SCANS:
        failure = found[scan.recording_name]
        assert failure.source == scan.path
        assert ("was killed" in failure.reason) == (scan.subject in ("sub-2", "sub-5"))
    assert "fewer jobs" in found["sub-2"].remedy
    assert not children()


@pytest.mark.slow
def test_a_process_that_was_killed_once_leaves_no_trace(tmp_path):
    found = results(over_processes(SCANS, OddTask(deadly=("sub-0", "sub-6"), once=tmp_path), jobs=2))
    assert len(found) == len(SCANS)
    assert all(failure.reason.isdecimal() for failure in found.values())


@pytest.mark.slow
def test_leaving_early_ends_the_processes_at_once():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # however the tests were started
    started = time.monotonic()
    interrupt = threading.Timer(8, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with closing(over_processes(SCANS, OddTask(sleeps=True), jobs=2)) as work, pytest.raises(KeyboardInterrupt):
        next(work)
    signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 60, "the workers sleep for ten minutes"
    assert not children()


@pytest.mark.slow
def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from odd_tasks import OddTask\n"
        "from brainlm.data.scan import Scan\n"
        "from brainlm.data.workers import over_processes\n"
        "if __name__ == '__main__':\n"
        "    scans = [Scan('a', 'a', 'nifti', f'sub-{n}') for n in range(4)]\n"
        "    list(over_processes(scans, OddTask(sleeps=True), jobs=2))\n"
    )
    with subprocess.Popen([sys.executable, str(script)]) as process:
        parent = psutil.Process(process.pid)
        wait_until(lambda: len(parent.children(recursive=True)) >= 3, "two workers, and multiprocessing's tracker")
        workers = parent.children(recursive=True)
        time.sleep(3)  # until they are at work
        process.kill()
    wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers), "orphans")


@pytest.mark.slow
def test_a_script_that_cannot_be_started_twice_is_told_so(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from odd_tasks import OddTask\n"
        "from brainlm.data.scan import Scan\n"
        "from brainlm.data.workers import over_processes\n"
        "list(over_processes([Scan('a', 'a', 'nifti', 'sub-1')], OddTask(), jobs=2))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert "no process for the work can be started" in done.stderr
    assert "__main__" in done.stderr
