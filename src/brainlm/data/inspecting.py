"""What is in a store, as tables: what `brainlm inspect` shows. Nothing is printed here.

Which recordings stand out is in ``outliers.py``; the page with pictures is in ``report/store_page.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from brainlm.data.coverage import Coverage, coverage_of, parts
from brainlm.data.exclusions import group_reasons
from brainlm.data.quality import QUALITY_COLUMNS
from brainlm.data.recording import recording_name
from brainlm.data.shards import KEY_COLUMNS
from brainlm.data.splits import SPLITS
from brainlm.data.store import Store

MAX_CATEGORIES = 12  # of a phenotype's values, and of the parcels without signal, this many are listed
QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


@dataclass(frozen=True, eq=False)
class InspectionTable:
    """A table with a title and, where it needs one, a note; ready to be shown as it is."""

    title: str
    frame: pd.DataFrame
    note: str = ""


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is in a store; ``tables`` are in the order in which they are read best, none of them empty."""

    path: str
    num_recordings: int
    num_subjects: int
    num_parcels: int
    atlas: str
    coverage: Coverage
    tables: tuple[InspectionTable, ...]

    def table(self, title: str) -> pd.DataFrame:
        """The table with this title; raises KeyError when the store has nothing to show there."""
        return {table.title: table.frame for table in self.tables}[title]


def inspect_store(store: Store) -> Inspection:
    """Counts, lengths, parcels without signal, motion, exclusions, spread and phenotypes of a store."""
    metadata = store.metadata
    coverage = coverage_of(store)
    tables = [
        _origin(store),
        _counts(metadata, "split", order=SPLITS),
        *(_counts(metadata, column) for column in ("site", "task", "session", "run", "tr")),
        _quantiles("time points", {"recording": metadata["num_timepoints"]}),
        _quantiles("minutes", {"recording": metadata["num_timepoints"] * metadata["tr"] / 60}),
        _quality(metadata),
        _spread(store),
        _copies(store),
        _without_signal(store, coverage),
        _phenotypes(store),
        _exclusions(store),
    ]
    return Inspection(
        path=str(store.path),
        num_recordings=len(store),
        num_subjects=metadata["subject"].nunique(),
        num_parcels=store.num_parcels,
        atlas=store.manifest.atlas,
        coverage=coverage,
        tables=tuple(table for table in tables if not table.frame.empty),
    )


def _origin(store: Store) -> InspectionTable:
    manifest = store.manifest
    rows = {
        "format version": str(manifest.format_version),
        "written by brainlm": manifest.program_version,
        "atlas": f"{manifest.atlas}, {store.num_parcels} parcels",
        "network columns": ", ".join(store.parcels.networks) or "none",
        "coordinates": "yes" if store.parcels.has_coordinates else "no",
        "stored as": manifest.dtype,
        "shards": str(len(manifest.shards)),
        **{str(name): str(value) for name, value in manifest.source.items()},
        **{f"split {name}": _plain(value) for name, value in manifest.split.items() if _plain(value)},
    }
    return InspectionTable("store", pd.DataFrame({"entry": list(rows), "value": list(rows.values())}))


def _plain(value: object) -> str:
    """A value of the manifest as text; what is not set is empty."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items() if _plain(item))
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _counts(metadata: pd.DataFrame, column: str, *, order: Sequence[str] = ()) -> InspectionTable:
    """Recordings and subjects for each value of a column; empty when no recording has a value there."""
    present = metadata[metadata[column].astype(str) != ""]
    frame = present.groupby(column, sort=True).agg(recordings=("subject", "size"), subjects=("subject", "nunique"))
    if order:
        frame = frame.reindex([value for value in order if value in frame.index])
    frame["percent"] = (100 * frame["recordings"] / max(len(metadata), 1)).round(1)
    note = f"{len(metadata) - len(present)} recordings without {column}" if len(present) < len(metadata) else ""
    if column == "tr" and len(frame) > 1:
        note = "repetition times are mixed: the same window is a different number of seconds"
    return InspectionTable(f"by {column}", frame.reset_index(), note)


def _quantiles(title: str, columns: dict[str, pd.Series]) -> InspectionTable:
    rows = [
        {"per": name, "total": float(values.sum()), **{key: float(values.quantile(q)) for key, q in QUANTILES.items()}}
        for name, values in columns.items()
    ]
    return InspectionTable(title, pd.DataFrame(rows).round(2))


def measured_columns(metadata: pd.DataFrame) -> list[str]:
    """The columns that say how good a scan was, where any is known: measured here, or imported under these names."""
    numbers = (name for name in QUALITY_COLUMNS if name in metadata and pd.api.types.is_numeric_dtype(metadata[name]))
    return [name for name in numbers if metadata[name].notna().any()]


def _quality(metadata: pd.DataFrame) -> InspectionTable:
    rows = [
        {
            "of each recording": name,
            "known": int(metadata[name].notna().sum()),
            **{key: float(metadata[name].quantile(q)) for key, q in QUANTILES.items()},
        }
        for name in measured_columns(metadata)
    ]
    return InspectionTable("motion and quality", pd.DataFrame(rows), "mean_fd and max_fd are in mm" if rows else "")


def _spread(store: Store) -> InspectionTable:
    """How level and spread differ between recordings: units that were mixed up show here."""
    levels, spreads = [], []
    for rows in parts(store):
        statistics = store.statistics_of(rows)
        levels.append(np.nanmedian(statistics.median, axis=1))
        spreads.append(np.nanmedian(statistics.std, axis=1))
    level, spread = pd.Series(np.concatenate(levels)), pd.Series(np.concatenate(spreads))
    found = [
        {"of each recording": name, **{key: values.quantile(q) for key, q in QUANTILES.items()}}
        for name, values in (("median over parcels of the median", level), ("median over parcels of the SD", spread))
    ]
    ratio = spread.max() / spread.min()
    note = f"the widest recording has {ratio:.0f} times the spread of the narrowest" if ratio > 100 else ""
    return InspectionTable("level and spread", pd.DataFrame(found), note)


def _copies(store: Store) -> InspectionTable:
    """Recordings with the same signal, and the splits that they are in."""
    metadata = store.metadata
    names = [recording_name(*map(str, key)) for key in metadata[list(KEY_COLUMNS)].itertuples(index=False)]
    rows = [(names[i], names[j], metadata["split"][i], metadata["split"][j]) for i, j in store.copies]
    frame = pd.DataFrame(rows[:MAX_CATEGORIES], columns=["recording", "has the signal of", "split", "and split"])
    note = f"{len(rows)} pairs, whatever their units; folds keep such people together" if rows else ""
    return InspectionTable("the same signal twice", frame, note)


def _without_signal(store: Store, coverage: Coverage) -> InspectionTable:
    num_P = coverage.num_without_signal
    worst = np.argsort(-num_P, kind="stable")[: min(MAX_CATEGORIES, int((num_P > 0).sum()))]
    parcels = store.parcels.table.iloc[worst]
    frame = pd.DataFrame(
        {
            "label": parcels["label"].to_numpy(),
            "name": parcels["name"].to_numpy(),
            "recordings": num_P[worst],
            "percent": (100 * num_P[worst] / max(len(store), 1)).round(1),
        }
    )
    note = (
        f"{int((num_P > 0).sum())} of {store.num_parcels} parcels lack signal somewhere; "
        f"{coverage.num_incomplete} of {len(store)} recordings lack some"
    )
    return InspectionTable("parcels without signal", frame, note)


def _phenotypes(store: Store) -> InspectionTable:
    """Every phenotype, counted by recording."""
    metadata, rows = store.metadata, []
    for name in store.phenotypes:
        values = metadata[name]
        rows.append(
            {
                "phenotype": name,
                "kind": "number" if pd.api.types.is_numeric_dtype(values) else "text",
                "present": int(values.notna().sum()),
                "missing": int(values.isna().sum()),
                "values": _range(values.dropna()),
            }
        )
    return InspectionTable("phenotypes", pd.DataFrame(rows), "counted by recording" if rows else "")


def _range(values: pd.Series) -> str:
    if values.empty:
        return "none"
    if pd.api.types.is_numeric_dtype(values):
        return f"{values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}, SD {values.std(ddof=0):.4g}"
    counts = values.value_counts()
    shown = ", ".join(f"{value} ({number})" for value, number in counts.head(MAX_CATEGORIES).items())
    return shown + (f", and {len(counts) - MAX_CATEGORIES} more" if len(counts) > MAX_CATEGORIES else "")


def _exclusions(store: Store) -> InspectionTable:
    """By reason: each with its remedy and the first of the inputs."""
    exclusions = store.manifest.exclusions
    groups = group_reasons(exclusions)
    rows = [(group.num_inputs, group.reason, group.remedy, group.examples) for group in groups]
    frame = pd.DataFrame(rows, columns=["inputs", "reason", "remedy", "which"])
    note = f"{len(exclusions)} inputs, each listed in manifest.json" if exclusions else ""
    return InspectionTable("left out", frame, note)
