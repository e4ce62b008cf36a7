"""What a layout is asked to search, and what it gives back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from brainlm.data.layouts.candidates import Candidate
from brainlm.errors import Failure


@dataclass(frozen=True, eq=False)
class Source:
    """A folder to search, or single ``files`` to take whatever else lies beside them.

    ``pattern`` says what is where in a path, for names that no standard explains; ``notes`` are for the user.
    """

    root: Path
    layout: str
    files: tuple[Path, ...] = ()
    pattern: re.Pattern[str] | None = None
    notes: tuple[str, ...] = ()

    def by_folder(self) -> dict[Path, tuple[Path, ...]]:
        """The single files by their folder, sorted."""
        folders: dict[Path, list[Path]] = {}
        for path in sorted(self.files):
            folders.setdefault(path.parent, []).append(path)
        return {folder: tuple(files) for folder, files in folders.items()}


@dataclass(eq=False)
class Found:
    """What a layout found in a source; ``num_files`` are those it saw."""

    candidates: list[Candidate] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_files: int = 0
