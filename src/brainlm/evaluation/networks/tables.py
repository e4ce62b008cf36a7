"""The results as tables for spreadsheets: one row a kind of features, one row a parcel.

The numbers are those of ``results.json``, see ``judging.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from brainlm.atomic import write_text
from brainlm.data.parcels import Parcels
from brainlm.files import csv_text

_PARTS = {"": "value", "_low": "low", "_high": "high"}


def method_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """A column for each score and its limits; empty where undefined."""
    rows = []
    for method in results["methods"]:
        row = {"method": method["name"], "group": method["group"], "k": method["k"], "metric": method["metric"]}
        intervals = dict(method["scores"])
        intervals |= {f"{name}_by_subjects": interval for name, interval in method["by_subjects"].items()}
        intervals |= {name: (method["clustering"] or {}).get(name) for name in ("ari", "nmi")}
        intervals["accuracy_minus_best_baseline"] = method["minus_best_baseline"]
        for name, interval in intervals.items():
            row |= {name + suffix: (interval or {}).get(part) for suffix, part in _PARTS.items()}
        null = method["null"] or {}
        row |= {f"null_{name}": null.get(name) for name in ("mean_accuracy", "p_accuracy", "mean_ari", "p_ari")}
        rows.append(row | {"seconds": method["seconds"]})
    table = pd.DataFrame(rows)
    table["k"] = table["k"].astype("Int64")
    return table


def parcel_table(results: Mapping[str, Any], parcels: Parcels) -> pd.DataFrame:
    """Every parcel with its network and what the rows that are shown say of it."""
    table = parcels.table[["label", "name"]].copy()
    table["network"] = results["parcels"]["true"]
    for name, said in results["parcels"]["predicted"].items():
        table[name] = said
        table[f"{name}: share of repeats right"] = results["parcels"]["share_right"][name]
    return table


def write_tables(results: Mapping[str, Any], parcels: Parcels, folder: Path) -> None:
    """Write ``table.csv`` and ``parcels.csv``.

    Raises:
        DataError: the disk refuses.
    """
    tables = {"table.csv": method_table(results), "parcels.csv": parcel_table(results, parcels)}
    for name, table in tables.items():
        write_text(folder / name, csv_text(table))
