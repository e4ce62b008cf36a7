"""How a verb ends: its exit status, and what is said when it is stopped by a signal or meets an error.

Nobody sees a traceback without ``--debug``: an error that is not one of ours is described in words where that is
possible; else its traceback goes into a file, and one line says where.
"""

from __future__ import annotations

import errno
import os
import platform
import shlex
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import brainlm
from brainlm.errors import BrainLMError, ConfigError, DataError
from brainlm.extras import EXTRAS, missing_extra
from brainlm.processes import is_first_process

DONE, SOME_FAILED, WRONG_USAGE, FAULT = 0, 1, 2, 3
SIGNALLED = 128  # plus the number of the signal, as shells have it

DEBUG = "--debug"
GRACE_S = 20.0  # for cleaning up after a signal; SLURM kills 30 s after SIGTERM

OF_MEMORY = ("can't allocate memory", "out of memory", "Unable to allocate")


_running: list[ExitStack] = []  # of the verbs that run, the innermost last: ``demo`` runs others


class Stopped(BaseException):
    """A signal asked for the end. Not a KeyboardInterrupt: Lightning takes those for itself and ends with status 1."""


@contextmanager
def signals_stop() -> Iterator[list[signal.Signals]]:
    """Within, SIGTERM, SIGINT and SIGHUP raise ``Stopped`` where the work is; the list says which one came.

    A signal that was ignored before (nohup, a job in the background) stays ignored. A second one, or cleaning up that
    takes longer than ``GRACE_S``, ends the process at once: whatever is written is whole or absent at any moment.
    """
    received: list[signal.Signals] = []
    timer = threading.Timer(GRACE_S, lambda: os._exit(SIGNALLED + received[0]))
    timer.daemon = True

    def stop(number: int, _: FrameType | None) -> None:
        received.append(signal.Signals(number))
        if len(received) > 1:
            os._exit(SIGNALLED + number)
        timer.start()
        raise Stopped

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):  # Windows has no SIGHUP
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, stop)
    try:
        yield received
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def until_the_end(kept: AbstractContextManager[None]) -> None:
    """Enter ``kept``, and leave it when the verb that runs now ends."""
    _running[-1].enter_context(kept)


@contextmanager
def _ending() -> Iterator[None]:
    with ExitStack() as stack:
        _running.append(stack)
        try:
            yield
        finally:
            _running.pop()


def run_verb(name: str, work: Callable[[], int], *, when_stopped: str, debug: bool = False) -> int:
    """Do ``work`` and return its exit status, whatever happens; what happened is said in words.

    Args:
        name: of the verb.
        work: returns its own exit status.
        when_stopped: what is safe after a signal, and how to go on.
        debug: show tracebacks.
    """
    with signals_stop() as received:
        try:
            with _ending():
                return work()
        except BaseException as error:
            if received or isinstance(error, KeyboardInterrupt):
                number = received[0] if received else signal.SIGINT
                what = "; ".join(getattr(error, "__notes__", ()) or [when_stopped])
                if is_first_process():  # all processes of a run on several devices get the signal
                    complain(f"stopped by {number.name}: {what}", title="")
                return SIGNALLED + number
            if isinstance(error, BrokenPipeError):
                # The reader of our output went away (head, less): nothing more to say, and nothing to flush at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return DONE
            if not isinstance(error, Exception):
                raise  # --help and --print_config end so
            if debug:
                traceback.print_exception(error)
            ours = in_words(error)
            complain(str(ours) if ours is not None else fault_text(f"brainlm {name}", error))
            return WRONG_USAGE if ours is not None else FAULT


def complain(text: str, *, title: str = "error: ") -> None:
    """To the error stream; a stream that is gone (a closed terminal) is no further error."""
    with suppress(OSError):
        sys.stderr.write(f"{title}{text}\n")
        sys.stderr.flush()


def in_words(error: BaseException) -> BrainLMError | None:
    """The error in the user's words where the cause is the machine and not this program; None where it is not known."""
    if isinstance(error, BrainLMError):
        return error
    if isinstance(error, ImportError) and (package := (error.name or "").partition(".")[0]) in EXTRAS:
        return missing_extra(package, what="some of what was asked for")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(t in str(error) for t in OF_MEMORY)):
        return ConfigError(
            "the memory of this machine or device does not suffice",
            found=(str(error) or "no more memory").splitlines()[0],
            remedy="a smaller --batch_size, fewer --jobs, fewer recordings, or a larger machine",
        )
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        problem, remedy = _SYSTEM[error.errno]
        return DataError(problem, found=str(error.filename or "a file that the system does not name"), remedy=remedy)
    return None


_SYSTEM = {
    errno.ENOSPC: ("the disk is full", "free space on this disk, or write to another one"),
    errno.EDQUOT: ("your quota of the disk is used up", "free space within your quota, or write to another disk"),
    errno.EACCES: ("the system does not permit reading or writing this", "ask for permission, or use another folder"),
    errno.EPERM: ("the system does not permit reading or writing this", "ask for permission, or use another folder"),
    errno.EROFS: ("the disk is read-only", "write to another disk"),
    errno.EIO: ("the disk cannot be read or written", "check the disk or the connection to the file server"),
    errno.ESTALE: ("the file server has lost this file", "check the connection to the file server"),
    errno.EMFILE: ("too many files are open", "allow more (ulimit -n 4096), or use fewer --jobs"),
}


def fault_text(what: str, error: BaseException) -> str:
    """One line of a fault of ours: what failed, where its traceback is, how to report it."""
    first = (str(error).strip().splitlines() or [""])[0]
    try:
        where = f"the full traceback is in {write_traceback(what, error)}; please report it with that file"
    except OSError:
        where = f"the traceback could not be written anywhere; {DEBUG} shows it, please report it with that"
    return f"{what} failed, by a fault that is not yours: {type(error).__name__}: {first}; {where}"


def write_traceback(what: str, error: BaseException) -> Path:
    """The file with the traceback: in the user's state folder, or in the temporary one where that cannot be written.

    Raises:
        OSError: neither can be written.
    """
    lines = (
        f"brainlm {brainlm.__version__}, Python {platform.python_version()}, {platform.platform()}",
        shlex.join(["brainlm", *sys.argv[1:]]),
        "",
        "".join(traceback.format_exception(error)),
    )
    name = f"{what.split()[-1]}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{threading.get_native_id()}.txt"
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "brainlm"
    for folder in (state, Path(tempfile.gettempdir())):
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write("\n".join(lines))
        except OSError:
            continue
        return path
    raise OSError(errno.EACCES, "no folder for the traceback can be written")
