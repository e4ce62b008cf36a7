"""The results of one target as tables for spreadsheets: scores, a row a method; predictions, a row a unit and method.

The scores are those of ``results.json``, see ``judging.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainlm.atomic import write_text
from brainlm.data.shards import KEY_COLUMNS
from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.targets import Cohort
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


def prediction_table(cohort: Cohort, folds: Sequence[Fold], methods: Sequence[Predictions]) -> pd.DataFrame:
    """What each method predicted of everyone tested: a row for each method, repeat and unit.

    Columns: ``subject`` (with session, task and run where a unit is a recording), ``site``, ``target``, ``method``,
    ``repeat`` and ``fold`` in which the unit was tested, ``observed`` and ``predicted``. Of classes ``predicted`` is
    the likeliest, and ``probability_CLASS`` says how likely: of two classes the positive one, of more each.
    """
    target = cohort.target
    names = [*(("subject",) if cohort.level == "subject" else KEY_COLUMNS), "site"]
    units = cohort.table[[name for name in names if name in cohort.table]].assign(target=target.name)
    classes = np.array(target.classes, dtype=object)
    observed_N = classes[target.values_N.astype(np.int64)] if len(classes) else target.values_N
    parts = []
    for method in methods:
        for fold in folds:
            values_LK = method.values_RNK[fold.repeat, fold.test_M]
            part = units.iloc[fold.test_M].assign(method=method.method, repeat=fold.repeat + 1, fold=fold.name)
            part["observed"] = observed_N[fold.test_M]
            if not len(classes):
                parts.append(part.assign(predicted=values_LK[:, 0]))
                continue
            likeliest_L = values_LK.argmax(axis=1) if len(classes) > 2 else (values_LK[:, 0] > 0.5).astype(np.int64)
            part["predicted"] = classes[likeliest_L]
            for name, probability_L in zip(classes[-values_LK.shape[1] :], values_LK.T, strict=True):
                part[f"probability_{name}"] = probability_L
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def write_table(results: Mapping[str, Any], path: Path) -> None:
    """Write ``table.csv``."""
    write_text(path, csv_text(score_table(results)))


_PARTS = {"": "value", "_low": "low", "_high": "high"}
