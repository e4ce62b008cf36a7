"""``brainlm parcellate`` killed for real, at any moment: started again, it ends with the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from derivatives import small_atlas, truncated, write_fmriprep_tree
from local_cluster import local_cluster

pytestmark = pytest.mark.slow

COMMAND = "import sys; from brainlm.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of 24 runs, one of which is cut off, and the store that an uninterrupted process writes."""
    folder = tmp_path_factory.mktemp("study")
    atlas = small_atlas(folder / "atlas", num_parcels=40, voxel_mm=5)
    subjects = [f"{number:02d}" for number in range(1, 13)]
    tree = write_fmriprep_tree(folder / "study", atlas, subjects=subjects, runs=("1", "2"), num_timepoints=60)
    truncated(next(tree.root.rglob("sub-07_task-rest_run-1_*preproc_bold.nii.gz")))
    assert Attempt(folder, "expected.store").end() == 1
    return folder


class Attempt:
    """The command, run in a session of its own; its words go into a file."""

    def __init__(self, folder, out, *options):
        self.folder, self.out = folder, out
        self.log = folder / f"{out}.log"
        words = ["parcellate", "study", out, "--atlas", "atlas", "--confounds", "motion6", *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, *words],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell without job control starts background processes with SIGINT ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    @property
    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def until(self, share):
        """Let it run until the ledger has grown by a share of what there is to do, or until it ends by itself."""
        aim = self.kept_bytes() + share * 24 * (60 * 40 * 4)
        wait_until(lambda: self.kept_bytes() >= aim or self.process.poll() is not None)
        return self

    def kept_bytes(self):
        ledger = self.folder / f"{self.out}.partial" / "part-1-of-1.ledger"
        return ledger.stat().st_size if ledger.exists() else 0

    def end(self, number=None):
        """Send a signal to all its processes, if any, and wait; its exit status."""
        if number is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
        return self.process.wait(300)

    def finish(self):
        """Let it end, and compare what it wrote; what it said."""
        assert self.end() == 1, self.log.read_text()
        assert files(self.folder / self.out) == files(self.folder / "expected.store")
        assert not (self.folder / f"{self.out}.partial").exists()
        return self.log.read_text()


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed_at_random_moments_with_two_jobs(folder):
    rng, out = random.Random(0), "killed.store"
    statuses = []
    for number in range(4):
        attempt = Attempt(folder, out, "--jobs", "2")
        if number % 2:
            attempt.until(rng.uniform(0.1, 0.5))
        else:
            time.sleep(rng.uniform(0.2, 8))
        statuses.append(attempt.end(signal.SIGKILL))
        if (folder / out).exists():  # it was faster
            (attempt if statuses[-1] == 1 else Attempt(folder, out, "--jobs", "2")).finish()
            shutil.rmtree(folder / out)
    assert statuses.count(-signal.SIGKILL) >= 2
    Attempt(folder, out, "--jobs", "2").finish()


def test_when_only_the_first_process_is_killed_the_others_end(folder):
    attempt = Attempt(folder, "orphans.store", "--jobs", "2").until(0.2)
    children = attempt.children
    assert len(children) >= 2
    attempt.process.kill()
    attempt.end()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    assert "finished in an earlier attempt" in Attempt(folder, "orphans.store", "--jobs", "2").finish()


def test_a_worker_that_is_killed_costs_no_scan(folder):
    attempt = Attempt(folder, "worker.store", "--jobs", "2").until(0.1)
    workers = [child for child in attempt.children if "spawn_main" in " ".join(child.cmdline())]
    workers[0].kill()
    attempt.finish()


def test_control_c_keeps_what_is_finished_and_says_so(folder):
    attempt = Attempt(folder, "interrupted.store", "--jobs", "2").until(0.2)
    assert attempt.end(signal.SIGINT) == 130  # as a terminal does: to all processes
    said = attempt.log.read_text()
    assert "of 24 scans are finished and kept in interrupted.store.partial; the same command goes on from there" in said
    assert "Traceback" not in said
    Attempt(folder, "interrupted.store").finish()  # with another number of jobs


def test_a_lost_worker_of_a_cluster_costs_no_scan_and_a_killed_client_goes_on(folder):
    with local_cluster() as (address, lose_a_worker):
        attempt = Attempt(folder, "cluster.store", "--dask", address).until(0.1)
        lose_a_worker()
        assert attempt.until(0.2).end(signal.SIGKILL) == -signal.SIGKILL
        attempt = Attempt(folder, "cluster.store", "--dask", address).until(0.1)
        lose_a_worker()
        attempt.finish()


def test_a_cluster_that_goes_away_is_said_and_what_is_finished_kept(folder):
    with local_cluster() as (address, _):
        attempt = Attempt(folder, "gone.store", "--dask", address).until(0.2)
    assert attempt.end() == 2
    said = attempt.log.read_text()
    assert f"the Dask cluster at {address} went away" in said
    assert "what is finished is kept" in said
    Attempt(folder, "gone.store").finish()


def test_parts_killed_and_started_again_merge_to_the_same_bytes(folder):
    for part in ("1/2", "2/2"):
        attempt = Attempt(folder, "array.store", "--part", part)
        time.sleep(3)
        attempt.end(signal.SIGKILL)
        Attempt(folder, "array.store", "--part", part).end()
    words = ["merge", "array.store.partial", "--out", "array.store"]
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], cwd=folder, timeout=300, check=False)
    assert done.returncode == 1
    assert files(folder / "array.store") == files(folder / "expected.store")
