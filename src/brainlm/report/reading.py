"""How files of a RUN folder are read: JSON, the order of numbered names, and errors that name the damaged file."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brainlm.errors import BrainLMError, DataError


@contextmanager
def naming(path: Path, remedy: str) -> Iterator[None]:
    """Turns whatever a library says about a damaged file into an error that names it."""
    try:
        yield
    except BrainLMError:
        raise
    # AttributeError: the file holds a list or a number where a table of names was expected.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path.name} cannot be read",
            found=f"{path}: {type(error).__name__}: {error}",
            remedy=f"delete or replace it: {remedy}",
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"a JSON object is expected, this is a {type(content).__name__}")
    return content


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sorts ``version_10`` after ``version_9``."""
    return [(int(piece) if piece.isdigit() else 0, piece) for piece in re.split(r"(\d+)", text)]
