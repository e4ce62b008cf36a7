"""Which layout a folder or file has, from the names on its first levels."""

from __future__ import annotations

import itertools
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from brainlm.data.bids import read_json
from brainlm.data.layouts.ukb import BULK
from brainlm.errors import DataError

DESCRIPTION = "dataset_description.json"
MOST_LOOKED_AT = 2000  # entries of a level: enough to know a layout by, quick in folders of 76,000
MOST_FOLDERS = 300
MOST_LEVELS = 4  # Bulk/Brain MRI/rfMRI/12/1234567_20227_2_0.zip
PIPELINE_FOLDER = re.compile(r"/fMRI/(rfMRI\.ica|tfMRI\.feat)(/|$)")
BIDS_FOLDER = re.compile(r"^(sub|ses)-[^.]+$")


def layout_of(path: Path) -> str:
    """``bids``, ``xcpd``, ``hcp``, ``ukb`` or ``plain``.

    A description of the data set decides where there is one; else what the folders are called.
    """
    text = path.absolute().as_posix()
    if "/MNINonLinear" in text:
        return "hcp"
    if any(BULK.match(part) for part in path.absolute().parts) or PIPELINE_FOLDER.search(text):
        return "ukb"
    if (root := _described_root(path)) is not None:
        return "xcpd" if "xcp" in _generators(root) else "bids"
    if not path.is_dir():
        return "plain"
    folders = list(itertools.islice(_subfolders(path), MOST_LOOKED_AT))
    if any(BIDS_FOLDER.match(name) for name in folders) or BIDS_FOLDER.match(path.name):
        return "bids"
    if "MNINonLinear" in folders or any((path / name / "MNINonLinear").is_dir() for name in folders):
        return "hcp"
    return "ukb" if _has_bulk(path) else "plain"


def _described_root(path: Path) -> Path | None:
    """The data set with a description that a folder or file lies in, if it lies where such a data set has its own."""
    if path.is_dir() and (path / DESCRIPTION).is_file():
        return path
    for folder in [path, *path.parents]:
        above = folder.parent
        if BIDS_FOLDER.match(folder.name) and (above / DESCRIPTION).is_file():
            return above
    return None


def _generators(root: Path) -> str:
    """The names of the programs that made a data set, in small letters.

    Raises:
        DataError: the description is not JSON.
    """
    content = description(root)
    listed = content.get("GeneratedBy")
    made_by = listed if isinstance(listed, list) else [content.get("PipelineDescription")]
    names = [str(item.get("Name", "")) for item in made_by if isinstance(item, dict)]
    return " ".join([*names, str(content.get("Name", ""))]).lower()


def description(root: Path) -> Mapping[str, object]:
    """The entries of a data set's description; none where there is no such file.

    Raises:
        DataError: it is not JSON.
    """
    path = root / DESCRIPTION
    return read_json(path, "description") if path.is_file() else {}


def _subfolders(path: Path) -> Iterator[str]:
    try:
        with os.scandir(path) as entries:
            yield from (entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return  # said when the folder is walked


def _has_bulk(path: Path) -> bool:
    """Whether UK Biobank's names are somewhere near the top: breadth first, in a limited number of folders."""
    waiting = deque([(path, 0)])
    for _ in range(MOST_FOLDERS):
        if not waiting:
            break
        folder, depth = waiting.popleft()
        if any((folder / "fMRI" / name).is_dir() for name in ("rfMRI.ica", "tfMRI.feat")):
            return True
        if any(map(BULK.match, _names(folder))):
            return True
        if depth < MOST_LEVELS:
            waiting += [(folder / name, depth + 1) for name in itertools.islice(_subfolders(folder), MOST_FOLDERS)]
    return False


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in itertools.islice(entries, MOST_LOOKED_AT)]
    except OSError:
        return []


def derivatives_of(path: Path) -> Path:
    """The one data set of derivatives in a raw data set; the folder itself where it is not raw.

    Raises:
        DataError: a raw data set without derivatives, or with several.
    """
    if not _is_raw(path):
        return path
    folder = path / "derivatives"
    sets = sorted(
        folder / name
        for name in _subfolders(folder)
        if (folder / name / DESCRIPTION).is_file() or any(map(BIDS_FOLDER.match, _subfolders(folder / name)))
    )
    if not sets and "DatasetType" not in description(path):
        return path  # derivatives whose description does not say so
    if len(sets) != 1:
        raise DataError(
            f"{path} is a raw data set, whose images are not in a standard space",
            expected="a folder of derivatives",
            found=f"in {folder}: {', '.join(item.name for item in sets) or 'none'}",
            remedy="give one of these folders" if sets else "preprocess the data first, with fMRIPrep for example",
        )
    return sets[0]


def _is_raw(path: Path) -> bool:
    said = description(path)
    kind = str(said.get("DatasetType", "")).lower()
    made = "GeneratedBy" in said or "PipelineDescription" in said
    return bool(said) and (kind == "raw" or (not kind and not made))


def raw_dataset_of(folder: Path) -> Path | None:
    """The raw data set that a folder of derivatives lies in (``raw/derivatives/fmriprep``), where there is one."""
    above = folder.absolute().parent
    places = [above.parent] if above.name == "derivatives" else []
    places += [above, above / "rawdata"]
    return next((place for place in places if _is_raw_quietly(place)), None)


def _is_raw_quietly(path: Path) -> bool:
    """As ``_is_raw``; a description that cannot be read is no reason to stop, as nobody gave this folder."""
    try:
        return _is_raw(path)
    except DataError:
        return False
