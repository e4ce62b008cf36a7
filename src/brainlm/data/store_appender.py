"""Adding recordings to a store that exists, without touching its shards.

New shards are written beside the old ones; they belong to the store from the moment the manifest lists them. A process
killed at any point leaves the store readable, with the new recordings or without.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

import pandas as pd

from brainlm import atomic
from brainlm.data.admission import Admission
from brainlm.data.fingerprints import are_among, fingerprint_of
from brainlm.data.manifest import MANIFEST_FILE, PARCELS_FILE, Manifest
from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording, recording_name
from brainlm.data.shard_writer import ShardWriter
from brainlm.data.shards import KEY_COLUMNS, STATE_FILE, Layout, Shards, dataset_state, open_shard
from brainlm.data.splits import SPLITS, SplitRule, assign_splits
from brainlm.errors import DataError, Failure

WORK_FOLDER = ".appending"  # within the store


class StoreAppender:
    """Adds recordings to the store at ``path``: use it in a ``with`` block, at whose end they become visible together.

    Old shards and the splits of old subjects stay as they are.

    Args:
        path: the store.
        recordings_per_shard: recordings per new Arrow file.

    Raises:
        DataError: on entering, there is no whole store, or another process adds to it; on leaving, the disk is full.
    """

    def __init__(self, path: str | Path, *, recordings_per_shard: int = 512) -> None:
        self.path = Path(path).absolute()
        self._folder = self.path / WORK_FOLDER
        self._recordings_per_shard = recordings_per_shard
        self._exclusions: list[Failure] = []
        self._broken: DataError | None = None

    def __enter__(self) -> StoreAppender:
        Manifest.read(self.path)  # before anything is created there
        with atomic.disk_errors(self.path):
            self._claimed = atomic.claim(self._folder)
        try:
            self._look_at_the_store()
        except BaseException:
            atomic.abandon(self._claimed)
            raise
        return self

    def _look_at_the_store(self) -> None:
        # Read again, now that no other process can add to it.
        self._manifest = manifest = Manifest.read(self.path)
        manifest.check_files(self.path)
        parcels = Parcels.read(self.path / PARCELS_FILE)
        tables = [open_shard(self.path / shard["file"]) for shard in manifest.shards]
        layout = Layout.of(tables[0].schema, num_parcels=len(parcels), dtype=manifest.dtype)
        self._admission = Admission(
            num_parcels=len(parcels),
            atlas=manifest.atlas,
            dtype=layout.dtype,
            phenotypes=list(layout.phenotypes),
            numeric=[name for name, kind in layout.phenotypes.items() if kind == "float64"],
        )
        shards = Shards(tables, num_parcels=len(parcels))
        known = [
            line for shard in manifest.shards for line in shard.get("fingerprints") or [""] * shard["num_recordings"]
        ]
        self._in_split: dict[str, list[str]] = {split: [] for split in SPLITS}  # fingerprints
        for number, row in enumerate(shards.metadata().to_dict("records")):
            self._in_split[row["split"]].append(known[number] or fingerprint_of(shards.bold(number)))
            name = recording_name(*(row[column] for column in KEY_COLUMNS))
            self._admission.remember(name, subject=row["subject"], split=row["split"], source=row["source"])
        self._shards = ShardWriter(
            self._folder, layout, recordings_per_shard=self._recordings_per_shard, first_shard=len(manifest.shards)
        )

    def add(self, recording: Recording, *, split: str | None = None) -> None:
        """Append a recording as the next row.

        Args:
            recording: of the store's atlas, with no other phenotypes than the store has columns for.
            split: None for the one its subject is in; for a new subject, the one that a copy of the recording is in, or
                else the one that the store's rule gives.

        Raises:
            DataError: it does not fit, or the store's rule cannot decide on one subject alone (the appender goes on
                without it); or the disk refuses (``__cause__`` is an OSError; nothing will be added, whatever the
                caller does).
        """
        if self._broken is not None:
            raise self._broken
        row = self._admission.admit(recording, split or self._decide(recording))
        try:
            with atomic.disk_errors(self.path):
                self._shards.add(row)
        except DataError as error:
            self._broken = error
            raise
        self._in_split[str(row.values["split"])].append(row.fingerprint)

    def exclude(self, failure: Failure) -> None:
        """Note in the manifest an input that was left out."""
        self._exclusions.append(failure)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self._broken is not None:
                    raise self._broken
                with atomic.disk_errors(self.path):
                    self._commit()
        finally:
            self._shards.abandon()
            atomic.abandon(self._claimed)

    def _commit(self) -> None:
        new = self._shards.finish()
        for shard in new:
            # A file of this name can only be left over from an addition that was never committed.
            (self._folder / shard["file"]).replace(self.path / shard["file"])
        atomic.sync(self.path)
        known = self._manifest.exclusions
        failures = [asdict(failure) for failure in self._exclusions]
        manifest = replace(
            self._manifest,
            shards=[*self._manifest.shards, *new],
            exclusions=[*known, *(failure for failure in failures if failure not in known)],
        )
        atomic.write_text(self.path / MANIFEST_FILE, manifest.to_json())
        atomic.write_text(self.path / STATE_FILE, dataset_state(manifest.shards))

    def _decide(self, recording: Recording) -> str:
        present = self._admission.split_of(recording.subject)
        if present is not None:
            return present
        fingerprint = fingerprint_of(recording.bold)
        if with_copy := [split for split, known in self._in_split.items() if are_among([fingerprint], known)[0]]:
            return with_copy[-1]  # test before validation before train
        rule = SplitRule.from_description(self._manifest.split) if self._manifest.split else None
        if rule is None or rule.stratify:
            raise DataError(
                f"subject {recording.subject} is new, and its split cannot be decided from it alone",
                expected="a store whose rule divides subjects by a hash",
                found=f"a rule that keeps proportions of {rule.stratify}" if rule else "a store without a rule",
                remedy="say which split: decide with assign_splits over all people, with existing=...",
            )
        person = {**recording.phenotypes, "subject": recording.subject, "site": recording.site}
        return str(assign_splits(pd.DataFrame([person]), rule, existing={}).iloc[0])


def append(path: str | Path, recordings: Iterable[Recording]) -> None:
    """Add recordings to a store, each to the split of its subject or, if new, to the one the store's rule gives.

    Raises:
        DataError: one of them does not fit; the store is as it was.
    """
    with StoreAppender(path) as appender:
        for recording in recordings:
            appender.add(recording)
