"""The processes of a run on several devices: when one of them is lost, all end soon, and one says what to do.

Lightning's own handling is replaced: it takes SIGTERM for itself and ends a run half-way with exit status 0, and kills
without a word the processes that are left when one of them is lost.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from brainlm.errors import BrainLMError, CheckpointError
from brainlm.processes import LOOK_EVERY_S, end_with, is_first_process

WRONG_USAGE = 2  # the exit status of an error that the user can mend
SETTLE_S = 3.0  # until it is known which process was lost first: the others meet errors of their own

logger = logging.getLogger(__name__)


def take_over(trainer: Trainer) -> None:
    """Keep Lightning from handling signals and lost processes; ``all_or_none`` does."""
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    theirs = trainer.strategy.launcher
    if isinstance(theirs, _SubprocessScriptLauncher) and not theirs.cluster_environment.creates_processes_externally:
        trainer.strategy._launcher = _Launcher(theirs.cluster_environment, theirs.num_processes, theirs.num_nodes)


class _Launcher(_SubprocessScriptLauncher):
    """Starts the further processes as Lightning does, and watches them in our own way."""

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:  # noqa: ARG002
        """Lightning's hook."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        self._call_children_scripts()
        threading.Thread(target=self._watch, name="watch-ranks", daemon=True).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            lost = self._settled() if isinstance(error, Exception) and not isinstance(error, BrainLMError) else None
            self.kill(signal.SIGKILL)  # before Lightning cleans up, which takes seconds
            if lost is not None:
                raise lost from error
            raise

    def _settled(self) -> BrainLMError | None:
        """Whether an error here only came of the loss of another process, which may take a moment to show."""
        end = time.monotonic() + SETTLE_S
        while (found := self.lost()) is None and time.monotonic() < end:
            time.sleep(LOOK_EVERY_S)
        return found

    def lost(self) -> BrainLMError | None:
        """The error that says which process was lost, if one was."""
        for rank, process in enumerate(self.procs, start=1):
            code = process.poll()
            if code:
                how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
                return _lost(rank, found=f"process {process.pid}: {how}")
        return None

    def _watch(self) -> None:
        while any(process.poll() is None for process in self.procs):
            time.sleep(LOOK_EVERY_S)
            if (error := self.lost()) is not None:
                self.kill(signal.SIGKILL)
                _end(error)  # the main thread waits for the lost process, where no exception reaches it


def _lost(rank: int, *, found: str) -> BrainLMError:
    return CheckpointError(
        f"process {rank} of this run on several devices was lost; the others are ended, too",
        found=found,
        remedy="the run folder has the last saved state, and the same command goes on from there; if memory was short, "
        "use more processes of fewer windows each",
    )


def _end(error: BrainLMError | None) -> NoReturn:
    if error is not None:
        logger.critical("%s", error)
    os._exit(WRONG_USAGE)


@contextmanager
def all_or_none() -> Iterator[None]:
    """Within, the processes of a run end together: none is left when this one is stopped or another one is lost."""
    if is_first_process():
        yield
        return
    # Of those that are left when the first process is lost, one says so.
    speaks = os.environ.get("LOCAL_RANK") == "1"
    lost = _lost(0, found="the process that started the others is gone") if speaks else None
    end_with(os.getppid(), lambda: _end(lost))
    try:
        yield
    except Exception as error:
        if not isinstance(error, BrainLMError):
            time.sleep(2 * SETTLE_S)  # it may come of the end of another one; then this one is ended meanwhile
        raise
