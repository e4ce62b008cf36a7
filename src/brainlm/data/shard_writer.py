"""Writing the Arrow files of a store, row by row, into a folder that somebody else makes visible.

The layout is in ``shards.py``; which rows are fit to be written is decided in ``admission.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from brainlm import atomic
from brainlm.data.recording import Phenotype
from brainlm.data.shards import Layout, PhenotypeType, Row, encode, encode_phenotype, open_shard
from brainlm.files import sha256_of

# A record batch is held in memory until it is written. 16 million values are 64 MiB of float32, and far below the
# 2^31 that Arrow's 32-bit list offsets can address.
VALUES_PER_BATCH = 2**24
RECORDINGS_PER_BATCH = 32


class ShardWriter:
    """Rows into numbered Arrow files of a folder, in the order in which they are added.

    A phenotype's column type depends on all recordings, but shards are written as recordings come: a column begins as
    numbers, and shards that are complete are written again at the end if text turned up after them.
    """

    def __init__(self, folder: Path, layout: Layout, *, recordings_per_shard: int, first_shard: int = 0) -> None:
        self.folder = folder
        self.layout = layout
        self.num_rows = 0
        self._recordings_per_shard = recordings_per_shard
        self._first_shard = first_shard
        self._pending: list[Row] = []
        self._num_pending_values = 0
        self._phenotypes: list[list[Mapping[str, Phenotype]]] = []  # per shard, per row
        self._fingerprints: list[list[str]] = []  # the same
        self._schemas: list[pa.Schema] = []  # per shard, as it was written
        self._file: BinaryIO | None = None
        self._stream: Any = None

    def add(self, row: Row) -> None:
        """Take a row; it is on disk at the latest when ``finish`` returns."""
        self._widen(row.phenotypes)
        if self._num_pending_values + row.bold.size > VALUES_PER_BATCH:
            self._flush()
        self._pending.append(row)
        self._num_pending_values += row.bold.size
        self.num_rows += 1
        shard_is_full = self.num_rows % self._recordings_per_shard == 0
        if shard_is_full or len(self._pending) == RECORDINGS_PER_BATCH:
            self._flush()
        if shard_is_full:
            self._close_shard()

    def finish(self, moved: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Write what is left; the manifest's entries of all shards.

        Args:
            moved: subjects whose split turned out to be another one than they were added with, with that split.
        """
        self._flush()
        self._close_shard()
        schema = self.layout.schema()
        for number, written in enumerate(self._schemas):
            if moved or written != schema:
                self._rewrite(number, schema, moved or {})
        return [self._entry(number) for number in range(len(self._schemas))]

    def abandon(self) -> None:
        """Let go of the open file without completing it."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # closing flushes, and a full disk refuses that too
                self._file.close()

    def _widen(self, phenotypes: Mapping[str, Phenotype]) -> None:
        """Make a column of numbers one of text when a text comes."""
        types: dict[str, PhenotypeType] = dict(self.layout.phenotypes)
        types |= {name: "string" for name, value in phenotypes.items() if isinstance(value, str) and value}
        if types != self.layout.phenotypes:
            self.layout = replace(self.layout, phenotypes=types)

    def _path(self, number: int) -> Path:
        return self.folder / f"data-{self._first_shard + number:05d}.arrow"

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._file is None:
            schema = self.layout.schema()
            self._file = self._path(len(self._schemas)).open("wb")
            self._stream = pa.ipc.new_stream(self._file, schema)
            self._schemas.append(schema)
            self._phenotypes.append([])
            self._fingerprints.append([])
        self._stream.write_batch(encode(self._pending, self._schemas[-1]))
        self._phenotypes[-1] += [row.phenotypes for row in self._pending]
        self._fingerprints[-1] += [row.fingerprint for row in self._pending]
        self._pending = []
        self._num_pending_values = 0

    def _close_shard(self) -> None:
        if self._file is None:
            return
        self._stream.close()
        self._file.close()
        self._file = None
        atomic.sync(self._path(len(self._schemas) - 1))

    def _rewrite(self, number: int, schema: pa.Schema, moved: Mapping[str, str]) -> None:
        path = self._path(number)
        beside = path.with_suffix(".rewritten")
        remaining = iter(self._phenotypes[number])
        with beside.open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
            for batch in open_shard(path).to_batches():
                phenotypes = [next(remaining) for _ in range(len(batch))]
                splits = [
                    moved.get(subject, split)
                    for subject, split in zip(
                        *(batch.column(name).to_pylist() for name in ("subject", "split")), strict=True
                    )
                ]
                stream.write_batch(_encoded_anew(batch, phenotypes, splits, self.layout, schema))
        atomic.sync(beside)
        beside.replace(path)

    def _entry(self, number: int) -> dict[str, Any]:
        path = self._path(number)
        return {
            "file": path.name,
            "num_recordings": len(self._phenotypes[number]),
            "num_bytes": path.stat().st_size,
            "sha256": sha256_of(path),
            "fingerprints": self._fingerprints[number],
        }


def _encoded_anew(
    batch: pa.RecordBatch,
    phenotypes: Sequence[Mapping[str, Phenotype]],
    splits: Sequence[str],
    layout: Layout,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """The batch with its phenotype and split columns encoded anew; all other buffers are passed on."""
    columns = [
        encode_phenotype([row.get(name) for row in phenotypes], schema.field(name).type)
        if name in layout.phenotypes
        else pa.array(splits, type=schema.field(name).type)
        if name == "split"
        else batch.column(name)
        for name in schema.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
