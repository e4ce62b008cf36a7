"""A store in the making: what is finished of it, kept beside it in one ledger for each process that writes one.

Bytes and their safety are in ``ledger.py``; who fills it is in ``parcellating.py``; how it becomes a store, in
``assembling.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from brainlm.data.ledger import Entry, Ledger, Place
from brainlm.data.parcels import Parcels
from brainlm.data.processing import Processed
from brainlm.data.quality import QUALITY_COLUMNS, MeasuredSignal, Quality
from brainlm.errors import ConfigError, DataError, Failure

FORMAT_VERSION = 1
LEDGER_SUFFIX = ".ledger"


@dataclass(frozen=True)
class Part:
    """Which share of the scans a job takes: of 20 parts, part 3 takes those whose position is 3, 23, 43, ..."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Part:
        """From ``3/20``; None is the whole.

        Raises:
            ConfigError: not of this form, or out of range.
        """
        if text is None:
            return cls()
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        part = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not 1 <= part.number <= part.of:
            raise ConfigError(
                f"--part {text} is no part of a whole",
                expected="the number of the job and of all jobs, such as 3/20; the first is 1/20, the last 20/20",
                found=repr(text),
                remedy="correct it; job arrays that count from 0 need one more",
            )
        return part

    @property
    def is_whole(self) -> bool:
        """True when it is everything."""
        return self.of == 1

    @property
    def file_name(self) -> str:
        """The name of its ledger."""
        width = len(str(self.of))
        return f"part-{self.number:0{width}d}-of-{self.of}{LEDGER_SUFFIX}"

    def takes(self, position: int) -> bool:
        """Whether the scan at this position, counted from 1, is among its share."""
        return position % self.of == self.number % self.of

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class Outcome:
    """What is known of a finished scan without reading its signal; ``failure`` is None where there is one."""

    place: Place
    fingerprint: str
    tr_s: float
    how: str
    failure: Failure | None
    excluded: bool


class Partial:
    """One ledger of a store in the making, opened; use it in a ``with`` block.

    Attributes:
        header: what decides the numbers: atlas, settings, program; empty in a new one.
        plan: which recordings there are to be, and what is known of them; empty until it is written.
        outcomes: what is finished, by recording name.
        published: the store that was made of it, by the checksum of its manifest; "" if none.
    """

    def __init__(self, path: str | Path, *, writable: bool = True) -> None:
        self._forget()
        self._ledger = Ledger(path, self._take, writable=writable)
        self.path = self._ledger.path

    def _forget(self) -> None:
        self.header: Mapping[str, Any] = {}
        self.plan: Mapping[str, Any] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.published = ""
        self._atlas: Place | None = None

    def __enter__(self) -> Partial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.close()

    def begin(self, header: Mapping[str, Any], parcels: Parcels, image: Path | None, *, overwrite: bool) -> None:
        """Write the header and the atlas, or make sure that those that are there are the same.

        Raises:
            DataError: they are others, something was finished with them, and ``overwrite`` does not allow to lose it.
        """
        header = {"format_version": FORMAT_VERSION, **header}
        if self.header and self.header != header:
            if not overwrite and any(outcome.failure is None for outcome in self.outcomes.values()):
                raise _other_settings(self.path, self.header, header)
            self._ledger.clear()
            self._forget()
        if not self.header or self._atlas is None:
            self._add({"kind": "header", "header": header})
            # A column at a time: JSON gives numbers back as they were, and text tables do not always.
            table = {str(name): parcels.table[name].tolist() for name in parcels.table}
            content = image.read_bytes() if image is not None else b""
            self._add({"kind": "atlas", "table": table, "image": image.name if image is not None else ""}, content)
            self._ledger.sync()

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Say which recordings there are to be; one that is the same already is not written again."""
        if self.plan != plan:
            self._add({"kind": "plan", "plan": plan})
            self._ledger.sync()

    def add(self, done: Processed, fingerprint: str) -> None:
        """Keep what became of a scan; it is on the disk once ``sync`` has returned."""
        head: dict[str, Any] = {"kind": "scan", "name": done.name, "fingerprint": fingerprint}
        if done.signal is None:
            assert done.failure is not None
            self._add(head | {"failure": asdict(done.failure), "excluded": done.excluded})
            return
        bold_TP, quality = done.signal.bold, done.signal.quality
        assert quality is not None
        head |= {"tr_s": done.tr_s, "how": done.how, "num_without_signal": done.signal.num_without_signal}
        head |= {"shape": list(bold_TP.shape), "quality": {**quality.columns}}
        arrays = (quality.parcel_coverage, bold_TP)
        self._add(head, *(np.ascontiguousarray(array, "<f4").data.cast("B") for array in arrays))

    def sync(self) -> None:
        """Return once all of it is on the disk."""
        self._ledger.sync()

    def note_published(self, manifest_sha256: str) -> None:
        """Say which store is about to take its place."""
        self._add({"kind": "published", "manifest": manifest_sha256})
        self._ledger.sync()

    def is_finished(self, name: str, fingerprint: str) -> bool:
        """Whether a scan need not be done again. What failed is tried again, since its cause may have been mended."""
        known = self.outcomes.get(name)
        return known is not None and known.fingerprint == fingerprint and (known.failure is None or known.excluded)

    def signal(self, name: str) -> MeasuredSignal:
        """The signal of a recording that was finished.

        Raises:
            BrainLMError: the disk gives something else than what was written.
        """
        entry = self._ledger.read(self.outcomes[name].place)
        values = np.frombuffer(entry.payload, "<f4").astype(np.float32)
        num_timepoints, num_parcels = entry.head["shape"]
        known = {column: entry.head["quality"][column] for column in QUALITY_COLUMNS if column != "coverage"}
        quality = Quality(**known, parcel_coverage=values[:num_parcels])
        bold_TP = values[num_parcels:].reshape(num_timepoints, num_parcels)
        return MeasuredSignal(bold_TP, entry.head["num_without_signal"], quality=quality)

    def atlas(self) -> tuple[Parcels, str, bytes]:
        """The parcels, and the name and content of the label image ("" and nothing where there is none)."""
        import pandas as pd

        assert self._atlas is not None
        entry = self._ledger.read(self._atlas)
        return Parcels(pd.DataFrame(entry.head["table"])), entry.head["image"], bytes(entry.payload)

    def _add(self, head: Mapping[str, Any], *payload: bytes | memoryview) -> None:
        self._take(self._ledger.append(head, *payload), Entry(head, memoryview(b"")))

    def _take(self, place: Place, entry: Entry) -> None:
        head = entry.head
        if head["kind"] == "header":
            self.header = head["header"]
        elif head["kind"] == "atlas":
            self._atlas = place
        elif head["kind"] == "plan":
            self.plan = head["plan"]
        elif head["kind"] == "published":
            self.published = head["manifest"]
        else:
            failure = Failure(**head["failure"]) if "failure" in head else None
            self.outcomes[head["name"]] = Outcome(
                place,
                head["fingerprint"],
                head.get("tr_s", math.nan),
                head.get("how", ""),
                failure,
                head.get("excluded", False),
            )


def differences(one: Mapping[str, Any], other: Mapping[str, Any], places: tuple[str, str]) -> list[str]:
    """What two headers say differently, in words."""
    first, second = _flat(one), _flat(other)
    return [
        f"{name}: {first.get(name, 'nothing')} in {places[0]}, {second.get(name, 'nothing')} in {places[1]}"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def _other_settings(path: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> DataError:
    return DataError(
        f"{path} was begun with other settings",
        expected="the same atlas, settings and program, so that all recordings of a store are alike",
        found="; ".join(differences(there, now, ("this file", "the command"))),
        remedy="give the same settings to go on, --overwrite to begin anew, or another path for the store",
    )


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
