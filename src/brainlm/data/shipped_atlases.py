"""The parcels tables that come with the package: names, places and networks of public atlases, without their images.

``atlas_tables/README.md`` says where each comes from. Images are fetched in ``named_atlases.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from brainlm.data.parcels import Parcels, same_name
from brainlm.data.same_parcels import SAME_PLACE_MM

FOLDER = Path(__file__).parent / "atlas_tables"
FILES: Mapping[str, str] = {
    "A424": "a424.tsv",
    "CC200": "cc200.tsv",
    "glasser": "glasser.tsv",
    "aal:SPM12": "aal.tsv",
    "aal2": "aal2.tsv",
    "harvard_oxford:cort-maxprob-thr25-2mm": "harvard_oxford_cort.tsv",
    "harvard_oxford:cortl-maxprob-thr25-2mm": "harvard_oxford_cortl.tsv",
    "harvard_oxford:sub-maxprob-thr25-2mm": "harvard_oxford_sub.tsv",
    "tian:S1": "tian_s1.tsv",
    "tian:S2": "tian_s2.tsv",
    "tian:S3": "tian_s3.tsv",
    "tian:S4": "tian_s4.tsv",
    "aseg": "aseg.tsv",
}
SCHAEFER = [f"schaefer:{number}:{networks}" for number in range(100, 1001, 100) for networks in (7, 17)]
NAMES = [*FILES, *SCHAEFER]
SUBCORTEX = ("aseg", "tian:S1", "tian:S2", "tian:S3", "tian:S4")
CORTEX = ("glasser", *SCHAEFER)
_SCHAEFER_FILE = "schaefer.tsv"
_SAME = {
    "schaefer": "schaefer:400:7",
    "cc200": "CC200",
    "hcp-mmp": "glasser",
    "aal1": "aal:SPM12",
    "aal116": "aal:SPM12",
}


def canonical(text: str) -> str | None:
    """The atlas's name as it is written here (``schaefer:400:7+aseg`` for ``Schaefer:400+ASEG``); None: not here."""
    known = {name.lower(): name for name in NAMES} | {f"schaefer:{n}": f"schaefer:{n}:7" for n in range(100, 1001, 100)}
    parts = [(_SAME | known).get(part.strip().lower()) for part in text.split("+")]
    return None if None in parts or len(set(parts)) < len(parts) else "+".join(map(str, parts))


@cache
def shipped_parcels(name: str) -> Parcels:
    """The table of ``name``, as ``canonical`` writes it.

    In a composition such as ``schaefer:400:7+aseg`` the parts follow each other; a later part's labels are raised by
    the largest label before it.
    """
    tables: list[pd.DataFrame] = []
    for part in name.split("+"):
        table = _schaefer(part) if part in SCHAEFER else Parcels.read(FOLDER / FILES[part]).table
        offset = int(tables[-1]["label"].max()) if tables else 0
        tables.append(table.assign(label=table["label"] + offset))
    return Parcels(pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0])


@cache
def _schaefer_rows() -> pd.DataFrame:
    return pd.read_csv(FOLDER / _SCHAEFER_FILE, sep="\t", dtype={"name7": str, "name17": str}, keep_default_na=False)


def _schaefer(name: str) -> pd.DataFrame:
    """The parcels are the same with 7 and with 17 networks; their order and their names are not."""
    number, networks = map(int, name.split(":")[1:])
    rows = _schaefer_rows()
    rows = rows[rows["parcels"] == number].reset_index(drop=True)
    table = pd.DataFrame(
        {
            "label": np.arange(1, number + 1) if networks == 7 else rows["label17"],
            "name": f"{networks}Networks_" + rows[f"name{networks}"],
            **{axis: rows[axis].astype(float) for axis in "xyz"},
            "yeo7": rows["name7"].str.split("_").str[1],
            "yeo17": rows["name17"].str.split("_").str[1],
        }
    )
    return table.sort_values("label", ignore_index=True)


@dataclass(frozen=True)
class Candidate:
    """An atlas that a table's columns may be parcels of, and what speaks for it.

    ``num_named`` of its parcels have the name of a column; None where the columns have no names. ``median_mm`` and
    ``num_near``: how far its parcels lie from those given, in order, and how many of them within ``SAME_PLACE_MM``;
    None where no coordinates were given.
    """

    atlas: str
    num_parcels: int
    num_named: int | None = None
    median_mm: float | None = None
    num_near: int | None = None

    @property
    def is_certain(self) -> bool:
        """True when every parcel of the atlas has its column by name, or lies where the parcels given lie."""
        return self.num_parcels in (self.num_named, self.num_near)

    @property
    def evidence(self) -> str:
        """What speaks for it, in words."""
        parts = [f"{self.num_parcels} parcels"]
        if self.num_named is not None:
            parts.append(f"{self.num_named} of its names among the columns")
        if self.median_mm is not None:
            parts.append(f"{self.num_near} within {SAME_PLACE_MM:g} mm of those given (median {self.median_mm:.1f} mm)")
        return ", ".join(parts)


def candidates(shapes: Sequence[int], header: Sequence[str], parcels: Parcels | None = None) -> list[Candidate]:
    """The atlases that come with the package, and compositions of them, that a table may be of; the best first.

    Args:
        shapes: how many parcels the table may have (its columns, or its rows).
        header: the names of its columns, or of its rows; empty where there are none.
        parcels: a table of parcels whose coordinates are compared, if it has some.
    """
    words = {same_name(word) for word in header if not re.fullmatch(r"#?\d+(\.\d+)?", word.strip())}
    found = []
    for atlas, number in _numbers():
        num_named = None
        if words:
            names = {same_name(name) for name in shipped_parcels(atlas).table["name"]}
            num_named = len(words & names)
        if number not in shapes and not number == num_named == len(words):
            continue
        candidate = Candidate(atlas, number, num_named)
        if parcels is not None and parcels.has_coordinates and len(parcels) == number:
            apart_P = np.linalg.norm(shipped_parcels(atlas).coordinates - parcels.coordinates, axis=1)
            near = int((apart_P <= SAME_PLACE_MM).sum())
            candidate = replace(candidate, median_mm=float(np.median(apart_P)), num_near=near)
        found.append(candidate)
    return sorted(found, key=lambda one: (-(one.num_named or 0), -(one.num_near or 0), "+" in one.atlas))


def _numbers() -> Iterator[tuple[str, int]]:
    """Every atlas and composition of cortex and subcortex, with its number of parcels."""
    alone = {name: int(name.split(":")[1]) if name in SCHAEFER else len(shipped_parcels(name)) for name in NAMES}
    yield from alone.items()
    yield from ((f"{cortex}+{below}", alone[cortex] + alone[below]) for cortex in CORTEX for below in SUBCORTEX)
