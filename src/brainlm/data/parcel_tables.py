"""Tables of parcels as other people write them -> ``Parcels``: other column names and separators, FreeSurfer's colour
tables, FSL's and SPM's XML, coordinates alone.

What is not understood with certainty is refused, with the columns that are expected. Our own form is ``parcels.py``'s.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from brainlm.data.parcels import COORDINATES, REQUIRED_COLUMNS, Parcels
from brainlm.errors import AtlasError
from brainlm.files import read_text

# What people call a column, in small letters and without blanks, dots, underscores, hyphens and brackets.
LABEL_WORDS = (
    "label", "index", "roilabel", "labelid", "roiid", "roiindex", "roi", "id", "parcelid", "regionid", "value", "number"
)  # fmt: skip
NAME_WORDS = (
    "name", "roiname", "regionname", "labelname", "parcelname", "region", "label", "node", "nodename", "parcel", "roi"
)  # fmt: skip
AXIS_FORMS = (
    "{}", "{}mni", "mni{}", "{}mm", "{}mnimm", "mni{}mm", "{}coord", "coord{}", "coor{}", "centroid{}", "center{}"
)  # fmt: skip
AXIS_WORDS: Mapping[str, Sequence[str]] = {
    axis: [form.format(letter) for letter in (axis, direction) for form in AXIS_FORMS]
    for axis, direction in zip(COORDINATES, "ras", strict=True)
}
HEMISPHERE_WORDS = ("hemi", "hemisphere", "side")
# The columns besides that are kept: those that assign parcels to networks.
NETWORK = re.compile(r"network|yeo|communit|module|^aa\d|system|lobe")
SIDES = {"l": "L", "lh": "L", "left": "L", "r": "R", "rh": "R", "right": "R"}
FARTHEST_MM = 200.0  # no place of a brain in MNI space is as far from the origin
EXPECTED = "columns label (integer in the label image), name, and if known x, y, z (MNI mm) and networks such as yeo7"
REMEDY = (
    "write a parcels.tsv: a header line `label name x y z`, tab separated, then a line a parcel in the signals' order"
)


def read_parcel_table(path: str | Path) -> Parcels:
    """The parcels in a table of somebody's, in the order of its lines.

    Read are: our own ``parcels.tsv``; tables with a header, separated by tabs, commas, semicolons or blanks, whose
    columns are called otherwise (``index``, ``ROI Label``, ``ROI``; ``ROI Name``, ``Label``, ``region``; ``R A S``,
    ``x_mni``, ``mni_x``; ``hemi``; ``network``); FreeSurfer's colour tables (``10 Left-Thalamus 0 118 14 0``); XML
    label files of FSL and SPM; and coordinates alone, three numbers a line. A line for the background (0) is left out.
    Without labels, parcels are numbered from 1.

    Raises:
        AtlasError: no such file, or a table that is not understood with certainty.
    """
    path = Path(path)
    if not path.is_file():
        raise AtlasError(f"no parcels table at {path}", remedy="give the path of a parcels.tsv with --parcels")
    text = read_text(path, what="a table of parcels", remedy=REMEDY, kind=AtlasError)
    if text.lstrip().startswith("<"):
        return _of_xml(text, path)
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise _refusal(path, "no line with values")
    separator = next((mark for mark in ("\t", ";", ",") if mark in lines[0]), None)
    rows = [[word.strip().strip('"') for word in line.split(separator)] for line in lines]
    if separator != "\t" and separator is not None:
        rows = _quoted(lines, separator)
    if rows[0][:2] == list(REQUIRED_COLUMNS) and separator == "\t":
        return Parcels.read(path)
    if _is_colour_table(lines):
        return _of_colour_table(lines)
    if all(_number(word) is not None for word in rows[0]):
        return _of_numbers(rows, path)
    return _of_columns(rows, path)


def _quoted(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Rows whose cells may be quoted."""
    import csv

    return [[word.strip() for word in row] for row in csv.reader(lines, delimiter=separator)]


def _is_colour_table(lines: Sequence[str]) -> bool:
    form = re.compile(r"^\s*\d+\s+\S*[^\s\d.,;+-]\S*(\s+\d+){4}\s*$")
    return all(form.match(line) for line in lines)


def _of_colour_table(lines: Sequence[str]) -> Parcels:
    pairs = [line.split()[:2] for line in lines]
    return _parcels([int(label) for label, _ in pairs], [name for _, name in pairs], {})


def _of_xml(text: str, path: Path) -> Parcels:
    """FSL's (``<label index="0" x="48" ...>Frontal Pole</label>``) or SPM's (``<index>2001</index><name>...``)."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise _refusal(path, f"XML that ends early: {error}") from error
    found = root.findall(".//label")
    if found and all("index" in item.attrib and (item.text or "").strip() for item in found):
        # In FSL's files of probabilistic atlases the first region is 0, and 1 in the label image (maxprob).
        first = 0 if (root.findtext(".//type") or "").strip().lower() == "label" else 1
        labels = [int(item.attrib["index"]) + first for item in found]
        return _parcels(labels, [str(item.text).strip() for item in found], {})
    if found and all((item.findtext("index") or "").strip().isdecimal() and item.findtext("name") for item in found):
        labels = [int(str(item.findtext("index"))) for item in found]
        return _parcels(labels, [str(item.findtext("name")).strip() for item in found], {})
    raise _refusal(path, f"XML with {len(found)} elements <label>, not of the form of FSL's or SPM's label files")


def _of_numbers(rows: Sequence[Sequence[str]], path: Path) -> Parcels:
    """Coordinates without a header: x y z, or a number and x y z."""
    widths = {len(row) for row in rows}
    values = (
        np.array([[_number(word) for word in row] for row in rows], float) if len(widths) == 1 else np.empty((0, 0))
    )
    if values.shape[1] not in (3, 4) or not np.isfinite(values).all():
        raise _refusal(path, f"numbers without a header, {' or '.join(map(str, sorted(widths)))} in a line")
    labels = values[:, 0] if values.shape[1] == 4 else np.arange(1, len(values) + 1)
    if (labels % 1).any():
        raise _refusal(path, "four numbers in a line, of which the first is no whole number")
    places = dict(zip(COORDINATES, values[:, -3:].T.tolist(), strict=True))
    _check_places(places, path)
    whole = [int(label) for label in labels]
    return _parcels(whole, [f"parcel-{label}" for label in whole], places)


def _of_columns(rows: Sequence[Sequence[str]], path: Path) -> Parcels:
    """A table with a header; its first column may have no name (row numbers)."""
    header, body = list(rows[0]), [list(row) for row in rows[1:]]
    if wrong := [number for number, row in enumerate(body, start=2) if len(row) != len(header)]:
        raise _refusal(path, f"{len(body[wrong[0] - 2])} values in line {wrong[0]} under {len(header)} columns")
    columns = {_plain(word): [row[position] for row in body] for position, word in enumerate(header)}
    if len(columns) < len(header) or not body:
        raise _refusal(path, f"columns {', '.join(header)}" + (", some of them twice" if body else ", no lines below"))
    whole = {word for word, cells in columns.items() if all(re.fullmatch(r"\d+(\.0+)?", cell) for cell in cells)}
    label = next((word for word in LABEL_WORDS if word in whole), None)
    name = next((word for word in NAME_WORDS if word in columns and word not in whole and word != label), None)
    axes = [next((word for word in AXIS_WORDS[axis] if word in columns), None) for axis in COORDINATES]
    if (any(axes) and not all(axes)) or (name is None and not all(axes)):
        raise _refusal(path, f"columns {', '.join(header)}")
    labels = [int(float(cell)) for cell in columns[label]] if label else list(range(1, len(body) + 1))
    names = columns[name] if name else [f"parcel-{number}" for number in labels]
    hemisphere = next((word for word in HEMISPHERE_WORDS if word in columns), None)
    if len(set(names)) < len(names) and hemisphere is not None:
        names = [
            f"{SIDES.get(side.lower(), side)}_{text}" for side, text in zip(columns[hemisphere], names, strict=True)
        ]
    more: dict[str, Sequence[object]] = {}
    if all(axes):
        more = {axis: _numbers(columns[str(word)], path) for axis, word in zip(COORDINATES, axes, strict=True)}
        _check_places(more, path)
    used = {label, name, hemisphere, *axes}
    for word in header:
        if NETWORK.search(_plain(word)) and _plain(word) not in used:
            more[word] = [cell or None for cell in columns[_plain(word)]]
    return _parcels(labels, names, more)


def _numbers(cells: Sequence[str], path: Path) -> Sequence[object]:
    values = [np.nan if cell.lower() in ("", "n/a", "nan") else _number(cell) for cell in cells]
    if None in values:
        raise _refusal(
            path,
            f"{cells[values.index(None)]!r} as a coordinate in line {values.index(None) + 2}",
        )
    return values


def _check_places(places: Mapping[str, Sequence[object]], path: Path) -> None:
    values = np.array([places[axis] for axis in COORDINATES], float)
    if np.isfinite(values).any() and (np.nanmax(np.abs(values)) > FARTHEST_MM or np.nanmin(values) >= 0):
        raise _refusal(
            path,
            f"coordinates from {np.nanmin(values):g} to {np.nanmax(values):g}: these are voxels or metres, not MNI mm",
        )


def _parcels(labels: Sequence[int], names: Sequence[str], more: Mapping[str, Sequence[object]]) -> Parcels:
    table = pd.DataFrame({"label": np.array(labels, np.int64), "name": list(names), **more})
    return Parcels(table[table["label"] > 0].reset_index(drop=True))


def _number(word: str) -> float | None:
    """A number, its decimals after a point or a comma."""
    try:
        return float(word.replace(",", "."))
    except ValueError:
        return None


def _plain(word: str) -> str:
    return re.sub(r"[\s._\-()\[\]#]+", "", word).lower()


def _refusal(path: Path, found: str) -> AtlasError:
    return AtlasError(f"{path} is no parcels table that is understood", expected=EXPECTED, found=found, remedy=REMEDY)
