"""Small files, one reader and one writer for each kind: JSON, YAML, tables, arrays.

A damaged file is an error that names it and says what to do; a damaged cache is absent, with a warning. What we write
carries a checksum of its content, which its reader compares; a file without one (of an older program, or somebody
else's) is read as it is. Where a file lies and what its fields mean is the caller's business.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from brainlm.atomic import disk_errors, replacing, write_text
from brainlm.errors import BrainLMError, DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CHECKSUM = "content_sha256"  # the last entry of a JSON object of ours; of a Parquet table's metadata
ABOUT = "about"  # the member of an archive of ours that holds key, facts and checksum
# An archive may unpack to this many bytes, or to so many times its own size: signals shrink to a half or a third.
FREE_BYTES, MAX_INFLATION = 2**26, 100
# What a spreadsheet program takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

# What libraries raise on damaged files, found by damaging many. A damaged length asks for more memory than there is;
# a list or a number stands where a table of names was expected; brackets are nested deeper than Python calls itself.
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    EOFError,
    MemoryError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

logger = logging.getLogger(__name__)


@contextmanager
def damaged(path: Path, *, what: str, remedy: str, kind: type[BrainLMError] = DataError) -> Iterator[None]:
    """Turn whatever a library says about a damaged file into an error that names it.

    Args:
        path: the file that is read inside.
        what: it should be.
        remedy: what the user can do where it is not.
        kind: of error.
    """
    try:
        yield
    except BrainLMError:
        raise
    except DAMAGE as error:
        said = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        raise kind(
            f"{path} cannot be read",
            expected=what,
            found=f"{type(error).__name__}: {said or 'nothing that makes sense'}",
            remedy=remedy,
        ) from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(*parts: object) -> str:
    """A hash of everything that a result depends on, for ``write_arrays`` and ``read_cache``."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def read_text(path: Path, *, what: str, remedy: str, kind: type[BrainLMError] = DataError) -> str:
    """A text file in UTF-8, with or without a byte-order mark.

    Raises:
        kind: it is not there or not UTF-8.
    """
    with damaged(path, what=what, remedy=remedy, kind=kind):
        return path.read_text(encoding="utf-8-sig")


def read_json(
    path: Path,
    *,
    what: str,
    remedy: str,
    kind: type[BrainLMError] = DataError,
    needs: Mapping[str, type] | None = None,
) -> dict[str, Any]:
    """The JSON object in a file, its checksum compared and left out.

    Args:
        path: the file.
        what: it should be.
        remedy: what the user can do where it is not.
        kind: of error.
        needs: entries that must be there, and their types; ``data.fingerprint`` is an entry within one.

    Raises:
        kind: it is not there, no JSON object, changed since it was written, or lacks an entry.
    """
    text = read_text(path, what=what, remedy=remedy, kind=kind)
    with damaged(path, what=what, remedy=remedy, kind=kind):
        content = with_entries(json.loads(text), needs or {})
        written = content.pop(CHECKSUM, None)
        if written is not None and written != (found := _json_sha256(content)):
            raise ValueError(f"its content has SHA-256 {found}, when it was written {written}")
        return content


def read_yaml(
    path: Path,
    *,
    what: str,
    remedy: str,
    kind: type[BrainLMError] = DataError,
    needs: Mapping[str, type] | None = None,
) -> dict[str, Any]:
    """The mapping in a YAML file; as ``read_json``."""
    import yaml

    text = read_text(path, what=what, remedy=remedy, kind=kind)
    with damaged(path, what=what, remedy=remedy, kind=kind):
        try:
            return with_entries(yaml.safe_load(text), needs or {})
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error


def with_entries(content: Any, needs: Mapping[str, type]) -> dict[str, Any]:
    """``content``, if it is a mapping with these entries of these types.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(content, dict):
        raise ValueError(f"a mapping of names to values is expected, this is a {type(content).__name__}")
    for name, kind in needs.items():
        value: Any = content
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                raise ValueError(f"no entry {name}")
            value = value[part]
        if not isinstance(value, kind):
            raise ValueError(f"{name} is of type {type(value).__name__}, not {kind.__name__}")
    return content


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with a checksum of itself, which ``read_json`` compares."""
    return {**content, CHECKSUM: _json_sha256(json.loads(json.dumps(content)))}


def _json_sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, content: Mapping[str, Any], *, kind: type[BrainLMError] = DataError) -> None:
    """Replace ``path`` by ``content`` and its checksum in one step.

    Raises:
        kind: the disk is full or the place cannot be written.
    """
    write_text(path, json.dumps(sealed(content), indent=1) + "\n", kind=kind)


def read_csv(
    path: Path, *, what: str, remedy: str, kind: type[BrainLMError] = DataError, **options: Any
) -> pd.DataFrame:
    """A table of text, in UTF-8.

    Args:
        path: the file.
        what: it should be.
        remedy: what the user can do where it is not.
        kind: of error.
        options: of ``pandas.read_csv``.

    Raises:
        kind: it is not there, empty, not UTF-8, or no table.
    """
    import pandas as pd

    with damaged(path, what=what, remedy=remedy, kind=kind):
        table: pd.DataFrame = pd.read_csv(path, **{"encoding": "utf-8-sig", **options})
        return table


def csv_text(table: pd.DataFrame, *, sep: str = ",") -> str:
    """A table for people as text, safe to open in a spreadsheet program: a name that it would take for a formula
    (``=HYPERLINK(...)``) begins with an apostrophe. Numbers are as they are.
    """
    import pandas as pd

    safe = table.rename(columns=_harmless)
    for position, kind in enumerate(table.dtypes):
        if not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)):
            safe.isetitem(position, table.iloc[:, position].astype(object).map(_harmless).to_numpy(object))
    text: str = safe.to_csv(sep=sep, index=False, lineterminator="\n")
    return text


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


@dataclass(frozen=True, eq=False)
class Arrays:
    """What an archive of ours holds: arrays by name, facts as JSON can hold them, and the key it was made under."""

    arrays: dict[str, Any]
    facts: dict[str, Any]
    key: str


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], *, key: str = "", facts: Mapping[str, Any] | None = None
) -> None:
    """Replace ``path`` by a NumPy archive of ``arrays`` with facts and a checksum of all, in one step.

    Args:
        path: of the ``.npz``; its folder is made if it is not there.
        arrays: by name; no objects.
        key: a hash of everything they depend on, where they are a cache.
        facts: about them.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    import numpy as np

    facts = dict(facts or {})
    about = json.dumps({"key": key, "facts": facts, "sha256": _arrays_sha256(arrays, key, facts)})
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **{ABOUT: np.array(about)}, **arrays)


def read_arrays(path: Path, *, what: str, remedy: str, kind: type[BrainLMError] = DataError) -> Arrays:
    """The arrays of a NumPy archive, their checksum compared if it has one.

    Raises:
        kind: it is not there or damaged, or claims to hold more than it can.
    """
    with damaged(path, what=what, remedy=remedy, kind=kind):
        arrays = load_archive(path)
        if ABOUT not in arrays:
            return Arrays(arrays, {}, "")
        about = json.loads(str(arrays.pop(ABOUT)))
        if about["sha256"] != _arrays_sha256(arrays, about["key"], about["facts"]):
            raise ValueError("its content is not what was written: the checksums differ")
        return Arrays(arrays, about["facts"], about["key"])


def _arrays_sha256(arrays: Mapping[str, np.ndarray], key: str, facts: Mapping[str, Any]) -> str:
    import numpy as np

    digest = hashlib.sha256(json.dumps([key, json.loads(json.dumps(facts))], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"\n{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def load_archive(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file, which may not claim to be out of proportion to the file.

    Raises:
        Exception: one of ``DAMAGE``.
    """
    size = path.stat().st_size
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
        if claimed > max(FREE_BYTES, MAX_INFLATION * size):
            raise ValueError(f"{size:,} bytes that claim to hold {claimed:,}")
        arrays = {}
        for member in archive.infolist():
            with archive.open(member) as opened:
                arrays[member.filename.removesuffix(".npy")] = read_array(opened, member.file_size)
        return arrays


def read_array(opened: Any, num_bytes: int) -> np.ndarray:
    """The array in an open file in NumPy's format, if its header agrees with the ``num_bytes`` that the file has.

    Raises:
        Exception: one of ``DAMAGE``.
    """
    import numpy as np

    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(opened)
    if version not in readers:
        raise ValueError(f"version {version} of NumPy's format")
    shape, _, dtype = readers[version](opened)
    claimed, there = math.prod(shape) * dtype.itemsize, num_bytes - opened.tell()
    if dtype.hasobject or claimed != there:
        raise ValueError(f"{there:,} bytes that claim to be {dtype} {shape}")
    opened.seek(0)
    return np.lib.format.read_array(opened, allow_pickle=False)


def read_cache(path: Path, key: str | None = None) -> Arrays | None:
    """What ``write_arrays`` wrote under this key, or under any; None where it has to be computed.

    A damaged file is reported as a warning, since the work it held is done again.
    """
    if not path.is_file():
        return None
    try:
        found = read_arrays(path, what="arrays and their checksum", remedy="nothing: it is computed again")
    except DataError as error:
        logger.warning("%s is damaged and computed again: %s", path, error.found)
        return None
    return found if found.key and key in (None, found.key) else None


def cached_arrays(path: Path, key: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that were made under this key; if there are none, they are computed and written.

    Raises:
        DataError: the file cannot be written.
    """
    found = read_cache(path, key)
    if found is not None:
        return found.arrays
    arrays = dict(compute())
    write_arrays(path, arrays, key=key)
    return arrays


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Replace ``path`` by ``table`` as Parquet, with a checksum of its content, in one step.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {**(columns.schema.metadata or {}), CHECKSUM.encode(): _table_sha256(columns).encode()}
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            pq.write_table(columns.replace_schema_metadata(metadata), file)


def read_parquet(path: Path, *, what: str, remedy: str, kind: type[BrainLMError] = DataError) -> pd.DataFrame:
    """The table in a Parquet file, its checksum compared if it has one.

    Raises:
        kind: it is not there or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with damaged(path, what=what, remedy=remedy, kind=kind):
        try:
            with path.open("rb") as file:  # by its name, pyarrow would take folders like "site=1" for columns
                columns = pq.read_table(file)
            written = (columns.schema.metadata or {}).get(CHECKSUM.encode())
            if written is not None and written.decode() != _table_sha256(columns):
                raise ValueError("its content is not what was written: the checksums differ")
            table: pd.DataFrame = columns.to_pandas()
            return table
        except pa.ArrowException as error:
            raise ValueError(str(error)) from error


def _table_sha256(table: Any) -> str:
    """Of what pandas makes of a ``pyarrow.Table``; the same however it is chunked."""
    import numpy as np
    import pyarrow as pa

    digest = hashlib.sha256((table.schema.metadata or {}).get(b"pandas", b""))
    for name in table.column_names:
        column = table[name].combine_chunks()
        digest.update(f"\n{name} {len(column)}\n".encode())
        if pa.types.is_list(column.type) and not column.null_count:  # vectors: many numbers
            lengths = np.diff(column.offsets.to_numpy())
            digest.update(lengths.astype("<i8").tobytes() + column.flatten().to_numpy(zero_copy_only=False).tobytes())
        else:
            digest.update(json.dumps(column.to_pylist(), default=str).encode())
    return digest.hexdigest()
