"""Writing a store, whole or absent, and adding recordings to one without touching its shards.

What a shard looks like is in ``shards.py``, reading in ``store.py``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

import numpy as np

import brainlm
from brainlm import atomic
from brainlm.data.admission import Admission
from brainlm.data.manifest import MANIFEST_FILE, PARCELS_FILE, Manifest
from brainlm.data.parcels import Parcels
from brainlm.data.quality import Quality
from brainlm.data.recording import Recording
from brainlm.data.shard_writer import ShardWriter
from brainlm.data.shards import (
    RESERVED_COLUMNS,
    RESERVED_WITH_QUALITY,
    STATE_FILE,
    Layout,
    StoredType,
    dataset_state,
    write_dataset_info,
)
from brainlm.data.splits import SplitRule
from brainlm.errors import DataError, Failure

COVERAGE_DECIMALS = 4  # in parcels.tsv


class StoreWriter:
    """Writes a store: use it in a ``with`` block; the store appears when the block ends well, and only then.

    Args:
        path: the folder to create.
        parcels: the table of the recordings' columns.
        atlas: the atlas's identifier.
        dtype: stored type; float16 halves the size and keeps three significant digits.
        split_rule: how the splits were decided (for the manifest, and for recordings appended later).
        phenotypes: the phenotype columns; a recording may lack some, but may not bring others.
        source: free text for the manifest, such as description, terms, url.
        has_quality: give the store the columns of ``quality.py``, and its parcels table their mean coverage.
        before_publishing: called with the manifest when all is on disk but not yet under its name.
        recordings_per_shard: recordings per Arrow file.
        overwrite: replace a store that is already at ``path``; anything else there is never replaced.

    Raises:
        DataError: a phenotype cannot be a column; on entering, the path is taken, cannot be written, or another process
            writes there; on leaving, no recording was added, or the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        parcels: Parcels,
        *,
        atlas: str,
        dtype: StoredType = "float32",
        split_rule: SplitRule | None = None,
        phenotypes: Sequence[str] = (),
        source: Mapping[str, str] | None = None,
        has_quality: bool = False,
        before_publishing: Callable[[Manifest], None] | None = None,
        recordings_per_shard: int = 512,
        overwrite: bool = False,
    ) -> None:
        check_phenotype_names(phenotypes, has_quality=has_quality)
        self.path = Path(path).absolute()
        self._parcels = parcels
        self._overwrite = overwrite
        self._folder = atomic.temporary_for(self.path)
        self._exclusions: list[Failure] = []
        self._broken: DataError | None = None
        self._moved: dict[str, str] = {}
        self._admission = Admission(num_parcels=len(parcels), atlas=atlas, dtype=dtype, phenotypes=phenotypes)
        self._before_publishing = before_publishing
        self._coverage_sum = np.zeros(len(parcels))
        self._num_covered = 0
        layout = Layout(len(parcels), dtype, dict.fromkeys(phenotypes, "float64"), has_quality)
        self._shards = ShardWriter(self._folder, layout, recordings_per_shard=recordings_per_shard)
        self._manifest = Manifest(
            atlas=atlas,
            parcels_sha256=parcels.fingerprint,
            program_version=brainlm.__version__,
            dtype=dtype,
            shards=[],
            split=split_rule.describe() if split_rule else {},
            source=dict(source or {}),
        )

    def __enter__(self) -> StoreWriter:
        with atomic.disk_errors(self.path):
            self._check_path()
            self._claimed = atomic.claim(self._folder)
            try:
                atomic.recover(self.path)
                self._check_path()
            except BaseException:
                atomic.abandon(self._claimed)
                raise
        return self

    def add(self, recording: Recording, *, split: str = "train", quality: Quality | None = None) -> str:
        """Append a recording as the next row; ``quality`` is for stores that have columns for it.

        Returns:
            The fingerprint of its signal.

        Raises:
            DataError: it does not fit (the writer goes on without it), or the disk refuses (``__cause__`` is an
                OSError; the store is lost, whatever the caller does).
        """
        if self._broken is not None:
            raise self._broken
        assert quality is None or self._shards.layout.has_quality, "a store with has_quality"
        row = self._admission.admit(recording, split, quality)
        try:
            with atomic.disk_errors(self.path):
                self._shards.add(row)
        except DataError as error:
            self._broken = error
            raise
        if quality is not None:
            self._coverage_sum += quality.parcel_coverage
            self._num_covered += 1
        return row.fingerprint

    def exclude(self, failure: Failure) -> None:
        """Note in the manifest an input that was left out."""
        self._exclusions.append(failure)

    def move(self, splits: Mapping[str, str]) -> None:
        """Put subjects that were added into another split, with all their recordings."""
        self._moved |= splits

    def attach(self, file: str | Path, name: str) -> None:
        """Keep a copy of a file in the store's folder, such as the atlas's label image."""
        with atomic.disk_errors(self.path):
            shutil.copyfile(file, self._folder / name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self._broken is not None:
                    raise self._broken
                with atomic.disk_errors(self.path):
                    self._finish()
        finally:
            self._shards.abandon()
            atomic.abandon(self._claimed)

    def _finish(self) -> None:
        if self._shards.num_rows == 0:
            raise _nothing_stored(self.path, self._exclusions)
        exclusions = [asdict(failure) for failure in self._exclusions]
        parcels = self._with_coverage(self._parcels)
        manifest = replace(
            self._manifest,
            shards=self._shards.finish(self._moved),
            exclusions=exclusions,
            parcels_sha256=parcels.fingerprint,
        )
        parcels.write(self._folder / PARCELS_FILE)
        write_dataset_info(self._folder, self._shards.layout)
        (self._folder / STATE_FILE).write_text(dataset_state(manifest.shards), encoding="utf-8")
        (self._folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
        if self._before_publishing is not None:
            self._before_publishing(manifest)
        atomic.publish(self._claimed, self.path)
        manifest.remember(self.path)

    def _with_coverage(self, parcels: Parcels) -> Parcels:
        """The table with the mean coverage of each parcel over the recordings, where it is known."""
        if not self._num_covered:
            return parcels
        table = parcels.table.drop(columns="coverage", errors="ignore")
        return Parcels(table.assign(coverage=(self._coverage_sum / self._num_covered).round(COVERAGE_DECIMALS)))

    def _check_path(self) -> None:
        check_destination(self.path, overwrite=self._overwrite)


def check_destination(path: Path, *, overwrite: bool) -> None:
    """Make sure that a store may be written to ``path``.

    Raises:
        DataError: something stands there that may not be replaced.
    """
    is_store = (path / MANIFEST_FILE).is_file()
    if not path.exists() or (overwrite and is_store):
        return
    raise DataError(
        f"{path} exists already",
        expected="a path that is free" + (", or a store to replace" if overwrite else ""),
        found="a store" if is_store else "something that is not a store",
        remedy="pass --overwrite to replace it, or choose another path" if is_store else "choose another path",
    )


def _nothing_stored(path: Path, exclusions: Sequence[Failure]) -> DataError:
    reasons = "; ".join(f"{failure.source}: {failure.reason}" for failure in exclusions[:3])
    return DataError(
        f"no recording was stored, so {path} was not created",
        expected="at least one recording",
        found=f"{len(exclusions)} inputs left out{': ' if reasons else ''}{reasons}",
        remedy="mend the inputs, beginning with these" if exclusions else "add recordings before the block ends",
    )


def check_phenotype_names(names: Sequence[str], *, has_quality: bool = False) -> None:
    """Make sure that the phenotypes can be columns of a store.

    Raises:
        DataError: a name is there twice, or a store has another column of this name.
    """
    reserved = RESERVED_WITH_QUALITY if has_quality else RESERVED_COLUMNS
    wrong = sorted({name for name in names if name in reserved or list(names).count(name) > 1})
    if wrong:
        raise DataError(
            "phenotype columns cannot have these names",
            expected=f"each name once, and none of {', '.join(sorted(reserved))}",
            found=", ".join(wrong),
            remedy="rename these columns",
        )
