"""Where the demo's data files are: in the installed package `connattractor`, in the cache, or in its wheel on PyPI.

The package is GPL-3.0 and only its data files are opened: its code is never imported, nothing of it is redistributed.
What the files mean is in ``demo.py``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from brainlm.errors import DataError

PACKAGE = "connattractor"
VERSION = "0.1.0"
WHEEL = f"{PACKAGE}-{VERSION}-py3-none-any.whl"
WHEEL_SHA256 = "01172a7dfd28bfe18590c96d422cda08b1a9574a8364a911e41e12977f4440b1"
DATA = "resources"  # the folder within the wheel
MARK = "MIST122_relabeled.tsv"  # a file by which that folder is recognised

logger = logging.getLogger(__name__)


def demo_folder(path: str | Path | None = None, *, cache: str | Path | None = None) -> Path:
    """The folder with the atlas's files and the recordings (in ``ex_timeseries_task``).

    Args:
        path: the wheel, or a folder into which it was unpacked; by default the installed package, else the cache.
        cache: where a downloaded wheel is unpacked; by default the user's cache folder.

    Raises:
        DataError: ``path`` is neither, there is no internet, or the wheel is not the expected one.
    """
    if path is not None:
        return _given(Path(path), cache)
    installed = _installed()
    if installed is not None:
        return installed
    unpacked = _cache(cache) / f"{PACKAGE}-{VERSION}"
    if not (unpacked / MARK).is_file():
        with tempfile.TemporaryDirectory() as folder:
            _unpack(_download(Path(folder)), unpacked)
    return unpacked


def _given(path: Path, cache: str | Path | None) -> Path:
    for folder in (path, path / DATA):
        if (folder / MARK).is_file():
            return folder
    wheel = path / WHEEL if (path / WHEEL).is_file() else path
    if wheel.is_file() and zipfile.is_zipfile(wheel):
        unpacked = _cache(cache) / f"{PACKAGE}-{VERSION}"
        if not (unpacked / MARK).is_file():
            _unpack(wheel, unpacked)
        return unpacked
    raise DataError(
        f"the demo's data are not at {path}",
        expected=f"{WHEEL}, or the folder into which it was unpacked",
        found="no such file or folder" if not path.exists() else f"no {MARK} in it",
        remedy=f"pip download --no-deps {PACKAGE}=={VERSION}",
    )


def _installed() -> Path | None:
    """The data folder of the installed package, found through pip's records: the package is not imported."""
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    folder = Path(str(distribution.locate_file(DATA)))
    return folder if distribution.version == VERSION and (folder / MARK).is_file() else None


def _cache(cache: str | Path | None) -> Path:
    import pooch

    return Path(cache) if cache is not None else Path(pooch.os_cache("brainlm"))


def _download(folder: Path) -> Path:
    logger.info("downloading the demo's data: %s %s from PyPI (24 MB, GPL-3.0, data files only)", PACKAGE, VERSION)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    done = subprocess.run(
        [*command, f"{PACKAGE}=={VERSION}", "-d", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not (folder / WHEEL).is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise DataError(
            "the demo's data could not be downloaded",
            expected=f"{PACKAGE} {VERSION} from PyPI",
            found=lines[-1] if lines else f"pip ended with {done.returncode}",
            remedy=f"where there is internet: pip download --no-deps {PACKAGE}=={VERSION}; then give the wheel's path",
        )
    return folder / WHEEL


def _unpack(wheel: Path, folder: Path) -> None:
    """Check the wheel and put its data files into ``folder``, which is whole or absent."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise DataError(
            f"{wheel.name} is not the file the demo was made with",
            expected=f"SHA-256 {WHEEL_SHA256}",
            found=f"SHA-256 {digest}",
            remedy="download it again from PyPI",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(beside, [name for name in archive.namelist() if name.startswith(f"{DATA}/")])
        if not folder.exists():
            (beside / DATA).rename(folder)
    finally:
        shutil.rmtree(beside)
