"""Many scans at a time on the machines of a Dask cluster; the results come to this process, which keeps them.

Processes of this machine are in ``workers.py``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainlm.data.processing import Processed
from brainlm.data.scan import Scan
from brainlm.data.workers import Work, killed
from brainlm.errors import ConfigError, DataError, Failure
from brainlm.extras import check_extra

if TYPE_CHECKING:
    from distributed import Client

AT_WORK = 500  # scans handed to the cluster at a time: more than it has threads, few enough to keep in memory
CONNECT_S = 30  # until a scheduler that does not answer is given up


def over_cluster(scans: Iterable[Scan], task: Work, *, address: str) -> Generator[Sequence[Processed], None, None]:
    """What becomes of each scan, on the workers of the cluster whose scheduler is at ``address``.

    The workers need this package, and all files, those of ``task`` included, under the same paths. A scan whose worker
    is lost goes to another one. Those that were there whenever several workers in a row were lost are done once more at
    the end, one by one: the one that no worker survives becomes a failure, the others are as they would have been.

    Raises:
        ConfigError: the package ``distributed`` is missing, nothing answers there, or the workers cannot do the work.
        DataError: the cluster went away.
    """
    here = f"{Path.cwd()}/"
    remaining = iter(scans)
    suspects: list[Scan] = []
    at_work: dict[Any, Scan] = {}
    with _client(address) as client:

        def submit(scan: Scan) -> None:
            at_work[client.submit(_apply, task, _absolute(scan, here), pure=False)] = scan

        while True:
            while len(at_work) < AT_WORK and (scan := next(remaining, None)) is not None:
                submit(scan)
            if not at_work:
                break
            finished = []
            for future in _done(at_work, address):
                scan, done = at_work.pop(future), _result(future, here, address)
                if done is None:
                    suspects.append(scan)
                else:
                    finished.append(done)
            yield finished
        for scan in suspects:
            submit(scan)
            (future,) = _done(at_work, address)
            done = _result(future, here, address)
            at_work.clear()
            yield [done or killed(scan, "every worker of the cluster that read it was lost")]


def _client(address: str) -> Client:
    check_extra("distributed", what="the workers of a Dask cluster, and this machine,", otherwise="use --jobs")
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {address}",
            expected="the address that the scheduler says when it starts, such as tcp://10.0.0.1:8786",
            found=str(error).splitlines()[0] if str(error) else "no answer",
            remedy="start it (dask scheduler), and its workers (dask worker ADDRESS --nthreads 1)",
        ) from error


def _done(at_work: Iterable[Any], address: str) -> list[Any]:
    """The scans that are finished, at least one."""
    from distributed import wait

    try:
        return list(wait(list(at_work), return_when="FIRST_COMPLETED").done)
    except (CancelledError, OSError) as error:
        raise _gone(address, error) from error


def _result(future: Any, here: str, address: str) -> Processed | None:
    """What became of a scan; None if the scheduler has given it up, because too many workers were lost."""
    from distributed.scheduler import KilledWorker

    try:
        done: Processed = future.result()
    except KilledWorker:
        return None
    except (CancelledError, OSError) as error:
        raise _gone(address, error) from error
    except Exception as error:
        raise ConfigError(
            f"the workers of the cluster at {address} cannot do the work",
            expected="workers with the same version of brainlm and of Python as here",
            found=f"{type(error).__name__}: {error}",
            remedy="install brainlm where the workers run, in the same version",
        ) from error
    finally:
        future.release()
    if done.failure is None:
        return done
    # The same words as on this machine, where paths are as the user gave them.
    words = (done.failure.source, done.failure.reason, done.failure.remedy)
    return replace(done, failure=Failure(*(text.replace(here, "") for text in words)))


def _gone(address: str, error: BaseException) -> DataError:
    return DataError(
        f"the Dask cluster at {address} went away",
        found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        remedy="start it again, then run the same command: what is finished is kept",
    )


def _apply(task: Work, scan: Scan) -> Processed:
    return task(scan)


def _absolute(scan: Scan, here: str) -> Scan:
    paths = {name: getattr(scan, name) for name in ("path", "mask", "confounds", "motion")}
    relative = {name: here + path for name, path in paths.items() if path and not path.startswith("/")}
    return replace(scan, **relative) if relative else scan
