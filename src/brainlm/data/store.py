"""A store: a folder of recordings, opened without reading them.

Opening looks at the manifest and the tables of contents only; signals are views on memory-mapped Arrow buffers. How
it is written is in ``store_writer.py``, the layout in ``shards.py``.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int64

from brainlm.atomic import replaced_for, temporary_for
from brainlm.data.field_names import nearest
from brainlm.data.fingerprints import fingerprint_of, pairs_of_copies
from brainlm.data.manifest import ATLAS_IMAGE, MANIFEST_FILE, PARCELS_FILE, Manifest
from brainlm.data.parcels import Parcels
from brainlm.data.quality import QUALITY_COLUMNS
from brainlm.data.recording import Recording
from brainlm.data.shards import FIXED_COLUMNS, Shards, open_shard
from brainlm.data.splits import SPLITS, bare_subject
from brainlm.data.statistics import RecordingStatistics
from brainlm.data.store_appender import StoreAppender, append
from brainlm.data.store_writer import StoreWriter
from brainlm.errors import DataError

__all__ = ["Manifest", "RecordingStatistics", "Store", "StoreAppender", "StoreWriter", "append"]


class RecordingIndexError(DataError, IndexError):
    """Something that names no recording of a store by its position; Python's iteration ends at it, too."""


class Store:
    """Recordings of one atlas on disk; made by ``Store.open``, narrowed by ``select``.

    Attributes:
        path: the folder.
        parcels: the table of the recordings' columns.
        manifest: how the store came about.
    """

    def __init__(
        self, path: Path, *, manifest: Manifest, parcels: Parcels, shards: Shards, rows: Int64[np.ndarray, "N"]
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.parcels = parcels
        self._shards = shards
        self._rows = rows

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> Store:
        """The store at ``path``.

        Args:
            path: the folder that ``brainlm import`` wrote.
            verify: read and compare also those shards that were found whole before and have not been written to since.

        Raises:
            DataError: it is not a store, not a whole one, not the one the manifest describes, or of a newer format.
        """
        path = Path(path).absolute()
        _check_not_unfinished(path)
        manifest = Manifest.read(path)
        manifest.check_files(path, verify=verify)
        parcels = Parcels.read(path / PARCELS_FILE)
        tables = [open_shard(path / shard["file"]) for shard in manifest.shards]
        shards = Shards(tables, num_parcels=len(parcels))
        for shard in manifest.shards:
            # Stores of earlier versions have none: they are computed from the signals when somebody asks.
            shards.fingerprints += shard.get("fingerprints") or [""] * shard["num_recordings"]
        return cls(path, manifest=manifest, parcels=parcels, shards=shards, rows=np.arange(len(shards)))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_parcels(self) -> int:
        """P, the number of parcels."""
        return len(self.parcels)

    @property
    def atlas_image(self) -> Path | None:
        """The label image that was kept with the store, if one was."""
        image = self.path / ATLAS_IMAGE
        return image if image.is_file() else None

    @cached_property
    def num_timepoints(self) -> Int64[np.ndarray, "N"]:
        """T of every recording."""
        return self._shards.num_timepoints[self._rows]

    def bold(self, index: Any) -> Float[np.ndarray, "T P"]:
        """The signal of a recording in its stored type: a read-only view on the file, no copy."""
        return self._shards.bold(int(self._rows[self._position(index)]))

    def __getitem__(self, index: Any) -> Recording:
        """The recording at ``index``, an integer (from the end where negative); its signal copied and float32.

        Raises:
            RecordingIndexError: there is none, or ``index`` is not an integer; see ``select`` and ``take``.
        """
        index = self._position(index)
        row: dict[str, Any] = {str(name): value for name, value in self._metadata.iloc[index].items()}
        phenotypes = {name: None if pd.isna(row[name]) else row[name] for name in self.phenotypes}
        return Recording(
            bold=np.array(self.bold(index), dtype=np.float32),
            tr=float(row["tr"]),
            atlas=self.manifest.atlas,
            phenotypes=phenotypes,
            **{name: row[name] for name in ("subject", "session", "task", "run", "site", "source")},
        )

    @property
    def metadata(self) -> pd.DataFrame:
        """One row a recording: subject, session, task, run, site, tr (s), num_timepoints, source, split; where scans
        were parcellated, how good they were (``quality_columns``); then the phenotypes.
        """
        return self._metadata.copy(deep=False)

    @property
    def quality_columns(self) -> tuple[str, ...]:
        """The columns that say how good each scan was; none in a store that was imported from tables."""
        return tuple(QUALITY_COLUMNS) if self._shards.has_quality else ()

    @property
    def phenotypes(self) -> tuple[str, ...]:
        """The columns that are phenotypes."""
        others = {*FIXED_COLUMNS, *self.quality_columns}
        return tuple(str(name) for name in self._metadata if name not in others)

    @property
    def parcel_coverage(self) -> Float32[np.ndarray, "N P"]:
        """The share of each parcel's atlas voxels with signal (a copy); NaN throughout where it is not known."""
        return self._shards.parcel_coverage(self._rows.tolist())

    @cached_property
    def _metadata(self) -> pd.DataFrame:
        return self._shards.metadata().iloc[self._rows].reset_index(drop=True)

    @cached_property
    def statistics(self) -> RecordingStatistics:
        """Median, mean and standard deviation per recording and parcel; NaN for parcels without signal."""
        return self.statistics_of(np.arange(len(self)))

    def statistics_of(self, indices: Sequence[int] | Int64[np.ndarray, "M"]) -> RecordingStatistics:
        """The statistics of some recordings, without reading those of the others."""
        return self._shards.statistics(self._rows[np.asarray(indices, dtype=np.int64)].tolist())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what is stored and which recordings are selected: equal means equal data in equal order."""
        digest = hashlib.sha256(self.manifest.parcels_sha256.encode())
        for shard in self.manifest.shards:
            digest.update(shard["sha256"].encode())
        digest.update(self._rows.astype("<i8").tobytes())
        return digest.hexdigest()

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the signal of every recording; see ``fingerprints.py``. Not to be confused with ``fingerprint``."""
        known = self._shards.fingerprints
        for row in self._rows.tolist():
            known[row] = known[row] or fingerprint_of(self._shards.bold(row))
        return tuple(known[row] for row in self._rows.tolist())

    @cached_property
    def copies(self) -> tuple[tuple[int, int], ...]:
        """The positions of all pairs of recordings with the same signal, whatever their names and units."""
        return tuple((int(one), int(other)) for one, other in pairs_of_copies(self.fingerprints))

    @property
    def people_with_copies(self) -> tuple[tuple[str, str], ...]:
        """Pairs of subjects who share a recording, each pair once: one person under two names, or a mix-up."""
        names = [bare_subject(subject) for subject in self._metadata["subject"]]
        pairs = {(min(names[i], names[j]), max(names[i], names[j])) for i, j in self.copies if names[i] != names[j]}
        return tuple(sorted(pairs))

    def select(self, **columns: Any) -> Store:
        """The recordings whose metadata have the given value, or one of the given values, in every column named.

        ``store.select(split="train", site=["NYU", "USM"])``. The order of the recordings stays.

        Raises:
            DataError: no such column, or a value that no recording of this store has there.
        """
        keep = np.ones(len(self), dtype=bool)
        for column, wanted in columns.items():
            if column not in self._metadata:
                raise _unknown(f"the store has no column {column}", column, [str(name) for name in self._metadata])
            values = [wanted] if isinstance(wanted, str) or np.ndim(wanted) == 0 else list(wanted)
            present = set(self._metadata[column].dropna())
            for value in values:
                if value not in present and column == "split" and value in SPLITS:
                    raise self._no_split(value)
                if value not in present:
                    raise _unknown(f"no recording has {column} = {value}", str(value), sorted(map(str, present)))
            keep &= self._metadata[column].isin(values).to_numpy()
        return self.take(np.flatnonzero(keep))

    def _no_split(self, split: str) -> DataError:
        subjects = self._metadata.groupby("split")["subject"].nunique()
        others = [name for name in SPLITS if name in subjects]
        return DataError(
            f"the store has no {split} people",
            expected=f"recordings of the {split} split",
            found=", ".join(f"{name} {subjects[name]}" for name in others) + f" people in {self.path}"
            if others
            else f"no recordings in {self.path}",
            remedy=f"take others (--split {' or '.join([*others, 'all'])}), or import again with people for it, such "
            "as --split 0.6,0.2,0.2: a split follows from a hash of each name, and may be empty where people are few",
        )

    def take(self, indices: Any) -> Store:
        """The recordings at these positions (a sequence or an array of integers), in this order.

        Raises:
            RecordingIndexError: a position beyond the end, or no position at all, such as a name or a mask.
        """
        positions = [self._position(index) for index in np.asarray(indices).ravel().tolist()]
        rows = self._rows[np.array(positions, dtype=np.int64)]
        return Store(self.path, manifest=self.manifest, parcels=self.parcels, shards=self._shards, rows=rows)

    def _position(self, index: Any) -> int:
        try:
            position = None if isinstance(index, bool | np.bool_) else operator.index(index)
        except TypeError:
            position = None
        if position is not None and -len(self) <= position < len(self):
            return position
        raise RecordingIndexError(
            "a store gives a recording by its position",
            expected=f"an integer from 0 to {len(self) - 1}, or from -{len(self)} to -1" if len(self) else "no index",
            found=f"{index!r} in a store of {len(self)} recordings",
            remedy="several by position: store.take([0, 2]), or store.take(np.flatnonzero(mask)); by their metadata: "
            'store.select(subject="01", split="test")',
        )

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} recordings, {self.num_parcels} parcels, {self.manifest.atlas})"

    def __reduce__(self) -> tuple[object, ...]:
        # Another process maps the files again; nothing of the signals travels.
        return (_reopen, (self.path, self._rows))


def _reopen(path: Path, rows: np.ndarray) -> Store:
    return Store.open(path).take(rows)


def _check_not_unfinished(path: Path) -> None:
    for leftover in (temporary_for(path), replaced_for(path)):
        if not path.exists() and leftover.exists():
            raise DataError(
                f"the store {path} is not there: writing it was interrupted, or goes on",
                expected=f"a folder with {MANIFEST_FILE}",
                found=f"{leftover}",
                remedy="wait for the process that writes it, or run the import again",
            )


def _unknown(problem: str, wanted: str, names: Sequence[str]) -> DataError:
    return DataError(
        problem,
        expected="one of the names or values in store.metadata",
        found=f"nearest: {nearest(wanted, names)}",
        remedy="correct the spelling; `brainlm inspect` lists what is there",
    )
