"""A Dask cluster: each scan's own result, whichever worker is lost, and clear words where there is none."""

import os
import sys
from itertools import chain

import pytest
from local_cluster import local_cluster
from odd_tasks import OddTask

from brainlm.data import cluster
from brainlm.data.cluster import over_cluster
from brainlm.data.scan import Scan
from brainlm.errors import ConfigError

SCANS = [Scan(f"{number}.nii", f"{number}.nii", "nifti", f"sub-{number}") for number in range(7)]


@pytest.mark.slow
def test_a_scan_that_no_worker_survives_fails_alone_and_the_others_are_done():
    with local_cluster(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as (address, _):
        work = over_cluster(SCANS, OddTask(deadly=("sub-3",)), address=address)
        found = {done.name: done.failure for done in chain.from_iterable(work)}
    assert set(found) == {scan.recording_name for scan in SCANS}
    for scan in SCANS:
        failure = found[scan.recording_name]
        assert failure.source == scan.path, "paths are as the user gave them"
        assert ("worker of the cluster that read it was lost" in failure.reason) == (scan.subject == "sub-3")


@pytest.mark.slow
def test_workers_that_cannot_do_the_work_end_it_with_a_remedy():
    with local_cluster() as (address, _), pytest.raises(ConfigError) as caught:
        list(over_cluster(SCANS, _NotThere(), address=address))
    assert "cannot do the work" in str(caught.value)
    assert "install brainlm where the workers run" in str(caught.value)


class _NotThere:
    """Cannot be made again elsewhere, as if the package were missing there."""

    def __call__(self, _):
        raise AssertionError

    def __reduce__(self):
        return (_make, (os.getpid(),))


def _make(process):
    if os.getpid() != process:
        raise ModuleNotFoundError("No module named 'brainlm'")
    return _NotThere()


def test_an_address_where_nothing_answers_is_said(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(ConfigError, match=f"no Dask scheduler answers at {address}"):
            list(over_cluster(SCANS, OddTask(), address=address))


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"brainlm\[distributed\]"):
        list(over_cluster(SCANS, OddTask(), address="tcp://127.0.0.1:9"))
