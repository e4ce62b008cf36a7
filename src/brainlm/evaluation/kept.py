"""Arrays that took long to compute, in a file named by all they depend on: a killed job goes on, studies share them.

What the key is made of is the caller's business.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from brainlm.atomic import disk_errors, replacing

logger = logging.getLogger(__name__)


def key_of(*parts: object) -> str:
    """A hash of everything that a result depends on."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def kept_arrays(
    folder: Path, name: str, key: str, compute: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays called ``name`` that were made under this key; if there are none, they are computed and written.

    Raises:
        DataError: the file cannot be written.
    """
    path = folder / f"{name}-{key}.npz"
    found = _read(path)
    if found is not None:
        return found
    arrays = dict(compute())
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    return arrays


def _read(path: Path) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        # numpy leaves a damaged file open that it was given by name.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        logger.warning("%s is damaged and computed again: %s", path, error)
    return None
