"""What workers do instead of reading scans, in a module that other processes can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from brainlm.data.processing import Processed
from brainlm.data.scan import Scan
from brainlm.errors import Failure


@dataclass(frozen=True)
class OddTask:
    """Answers with the scan's name; kills its own process for the scans named, or sleeps until it is ended.

    ``once``: a folder that remembers who was killed; a second attempt succeeds.
    """

    deadly: tuple[str, ...] = ()
    once: Path | None = None
    sleeps: bool = False

    def __call__(self, scan: Scan) -> Processed:
        if self.sleeps:
            time.sleep(600)
        if scan.subject in self.deadly:
            mark = self.once / scan.subject if self.once is not None else None
            if mark is None or not mark.exists():
                if mark is not None:
                    mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return Processed(scan.recording_name, failure=Failure(scan.path, f"{os.getpid()}", ""))
