"""Brainmarks' target maps: JSON files ``{subject: value}`` beside the data sets, as phenotypes by subject.

They become a table about people, like one in text that ``people.py`` joins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from brainlm.data.bids import subject_id
from brainlm.data.people import PeopleTable, Recorded
from brainlm.data.planned import listed
from brainlm.data.recording import Phenotype
from brainlm.data.sources.arrow_rows import phenotype_of
from brainlm.errors import DataError
from brainlm.files import read_json

FOLDER = "targets"
_MAP = 'JSON such as {"0050642": "asd", "0050643": "control"}'
_REMEDY = "leave it out of --targets, or mend it"
MARK = "_target_map_"  # abide_target_map_dx.json: of the data set abide, the phenotype dx


def target_files(given: Sequence[str | Path]) -> list[Path]:
    """The JSON files among and in what was given.

    Raises:
        DataError: there is none.
    """
    files: list[Path] = []
    for path in map(Path, given):
        found = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.is_file() else []
        if not found:
            raise DataError(
                f"no target maps at {path}",
                expected="a JSON file of values by subject, or a folder of such files",
                found="a folder without *.json" if path.is_dir() else "nothing there",
                remedy="correct --targets",
            )
        files += found
    return list(dict.fromkeys(files))


def target_files_beside(folder: Path) -> list[Path]:
    """The maps in a ``targets`` folder near a data set, as Brainmarks lays them out; only those named after it.

    ``abide_target_map_dx.json`` belongs to ``abide.a424.arrow``, whose rows are in its folders train, validation, test.
    """
    found = []
    near = folder.resolve()
    for above in (near, *near.parents[:2]):
        for file in sorted((above / FOLDER).glob(f"*{MARK}*.json")):
            data_set = file.name.split(MARK, 1)[0]
            names = (name.split(".", 1)[0] for name in (near.name, near.parent.name))
            if any(name == data_set or name.startswith(f"{data_set}-") for name in names):
                found.append(file)
    return found


def read_targets(files: Iterable[Path], *, taken: Iterable[str]) -> PeopleTable:
    """The maps as phenotypes: ``dx`` of ``abide_target_map_dx.json``, or the whole name where that is ``taken``.

    Raises:
        DataError: a file is no map of values by subject, two files give one phenotype, or one file two for a person.
    """
    taken = set(taken)
    values_of: dict[Recorded, dict[str, Phenotype]] = {}
    columns: list[str] = []
    for file in files:
        values = _read(file)
        name = file.stem.split(MARK, 1)[-1]
        name = file.stem if name in taken or name in columns else name
        if name in taken or name in columns:
            raise DataError(
                f"two sources give the phenotype {name}",
                expected="a name of its own for each",
                found=str(file),
                remedy="rename the file, or leave it out of --targets",
            )
        columns.append(name)
        for subject, value in values.items():
            values_of.setdefault((subject, ""), {})[name] = value
    return PeopleTable(listed([file.name for file in files]), tuple(columns), values_of)


def _read(file: Path) -> Mapping[str, Phenotype]:
    content = read_json(file, what=_MAP, remedy=_REMEDY)
    wrong = [key for key, value in content.items() if not isinstance(value, str | int | float | None)]
    if wrong:
        raise _no_map(file, f"{type(content[wrong[0]]).__name__} for {wrong[0]!r}")
    values = {subject_id(subject): phenotype_of(value) for subject, value in content.items()}
    if len(values) < len(content):
        raise _no_map(file, "a subject twice, with sub- and without")
    return values


def _no_map(file: Path, found: str) -> DataError:
    return DataError(
        f"{file} is not a target map",
        expected=_MAP,
        found=found,
        remedy=_REMEDY,
    )
