"""The results of one target as a table, one row a method, for spreadsheets.

The numbers are those of ``results.json``, see ``judging.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from brainlm.atomic import write_text
from brainlm.files import csv_text


def score_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """A column for each score and its limits; empty where undefined."""
    rows = []
    for method in results["methods"]:
        row = {"method": method["name"], "group": method["group"]}
        intervals = method["scores"] | {f"{results['main_metric']}_minus_best_baseline": method["minus_best_baseline"]}
        for name, interval in intervals.items():
            row |= {name + suffix: (interval or {}).get(part) for suffix, part in _PARTS.items()}
        rows.append(row | {"seen": method["seen"], "seconds": method["seconds"], "note": method["note"]})
    return pd.DataFrame(rows)


def write_table(results: Mapping[str, Any], path: Path) -> None:
    """Write ``table.csv``."""
    write_text(path, csv_text(score_table(results)))


_PARTS = {"": "value", "_low": "low", "_high": "high"}
