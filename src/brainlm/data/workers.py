"""Many scans at a time, over processes or a Dask cluster; results come back as they are finished, in any order.

A worker that dies takes no result of another scan with it. What is done to a scan is in ``processing.py``.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

from brainlm.data.atlas import Atlas
from brainlm.data.processing import ParcellationSettings, Processed, process
from brainlm.data.scan import Scan
from brainlm.errors import ConfigError, Failure
from brainlm.processes import start_worker

Work = Callable[[Scan], Processed]  # what is done to a scan; it must be possible to send it to other processes
WAITING_PER_JOB = 2  # scans handed to the processes beforehand, so that none of them waits for the next


@dataclass(frozen=True, eq=False)
class Task:
    """What is usually done to every scan."""

    atlas: Atlas
    settings: ParcellationSettings

    def __call__(self, scan: Scan) -> Processed:
        """What becomes of a scan."""
        return process(scan, self.atlas, self.settings)


def one_after_another(scans: Iterable[Scan], task: Work) -> Generator[Sequence[Processed], None, None]:
    """What becomes of each scan, in this process."""
    for scan in scans:
        yield [task(scan)]


def over_processes(scans: Iterable[Scan], task: Work, *, jobs: int) -> Generator[Sequence[Processed], None, None]:
    """What becomes of each scan, over ``jobs`` processes of one thread each.

    When a process is killed (usually because the memory ran out), the scans that were at work are done again one by
    one: the one that gets its process killed alone becomes a failure, the others are as they would have been.

    Raises:
        ConfigError: no process can be started.
    """
    remaining = iter(scans)
    suspects: Sequence[Scan] = ()
    is_more = True
    while is_more:
        with _pool(jobs, task) as pool:
            at_work: dict[Future[Processed], Scan] = {}
            while not suspects:
                while len(at_work) < WAITING_PER_JOB * jobs and (scan := next(remaining, None)) is not None:
                    at_work[pool.submit(_in_worker, scan)] = scan
                if not at_work:
                    is_more = False
                    break
                done = wait(at_work, return_when=FIRST_COMPLETED).done
                suspects = [at_work[future] for future in done if _was_killed(future)]
                yield [future.result() for future in done if not _was_killed(future)]
                for future in done:
                    at_work.pop(future)
                if suspects:
                    suspects = [*suspects, *at_work.values()]
        for scan in suspects:
            yield [_alone(scan, task)]
        suspects = ()


def _was_killed(future: Future[Processed]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _alone(scan: Scan, task: Work) -> Processed:
    """What becomes of a scan in a process of its own."""
    with _pool(1, task) as pool:
        try:
            return pool.submit(_in_worker, scan).result()
        except BrokenProcessPool:
            return killed(scan, "the process that read it was killed, twice")


def killed(scan: Scan, problem: str) -> Processed:
    """The failure of a scan that no worker survived."""
    remedy = "its memory probably did not suffice: use fewer jobs or a larger machine; else check the file"
    return Processed(scan.recording_name, failure=Failure(scan.path, problem, remedy))


@contextmanager
def _pool(jobs: int, task: Work) -> Iterator[ProcessPoolExecutor]:
    """Processes that do ``task``, started and ready; they end with this block, however it is left."""
    # New interpreters, not forks: threads of this process (rich, Arrow, BLAS) would leave their locks behind in forks.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(task, os.getpid()))
    try:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise ConfigError(
                "no process for the work can be started",
                expected="a program whose start can be repeated in other processes",
                found="a process that ended at once; its own message is above",
                remedy='in a script, call this below `if __name__ == "__main__":`; or use one job',
            ) from error
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()  # at once, instead of after the scan it is at
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_task: Work | None = None  # of this worker process


def _start(task: Work, parent: int) -> None:
    """Make this process a worker."""
    global _task
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    _task = task
    threadpool_limits(1)
    start_worker(parent)


def _in_worker(scan: Scan) -> Processed:
    assert _task is not None
    return _task(scan)
