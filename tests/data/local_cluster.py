"""A Dask cluster of two workers in a process of its own, whose workers can be killed, as by an outage."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_cluster(**settings: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of its scheduler, and a function that kills one of its workers."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", **settings}
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as process:

        def lose_a_worker() -> None:
            print("one", file=process.stdin, flush=True)

        try:
            yield process.stdout.readline().strip(), lose_a_worker
        finally:
            process.stdin.close()


def _run() -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)  # noqa: T201
        for number, _ in enumerate(sys.stdin):
            worker = list(cluster.workers.values())[number % 2]
            while worker.pid is None:  # it is just being started again
                time.sleep(0.1)
            os.kill(worker.pid, signal.SIGKILL)


if __name__ == "__main__":
    _run()
