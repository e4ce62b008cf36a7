"""Files of a RUN folder: what to do where one is damaged, and the order of numbered names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def result_file(path: Path, remedy: str) -> dict[str, Any]:
    """What ``brainlm.files`` is to say of a damaged result, given how to get it."""
    return {"what": f"{path.name} as it was written", "remedy": f"delete or replace it: {remedy}"}


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sorts ``version_10`` after ``version_9``."""
    return [(int(piece) if piece.isdigit() else 0, piece) for piece in re.split(r"(\d+)", text)]
