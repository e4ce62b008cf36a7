"""The folds' file: who was tested when, by name, so that a second run tests the same people or says why it cannot.

Labels are in it as a checksum only: the file may travel further than the clinical table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from brainlm.errors import ConfigError
from brainlm.evaluation.phenotypes.fold_rule import FoldRule
from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.targets import Cohort
from brainlm.evaluation.phenotypes.units import some
from brainlm.files import damaged, read_json, with_entries, write_json

FORMAT_VERSION = 1


def write_manifest(path: Path, cohort: Cohort, folds: Sequence[Fold], rule: FoldRule) -> None:
    """Write the folds to ``path`` as JSON, replacing what is there in one step.

    Raises:
        DataError: the disk refuses.
    """
    write_json(path, _content(cohort, folds) | {"rule": {"name": rule.name, **asdict(rule)}})


def check_manifest(path: Path, cohort: Cohort, folds: Sequence[Fold]) -> None:
    """Return if ``path`` has these folds of these people with these labels.

    Raises:
        ConfigError: it is not there, is damaged, or has others: it says what differs.
    """
    there = _read(path)
    here = _content(cohort, folds)
    found = _difference(there, here)
    if found is None:
        return
    rule = there["rule"]
    raise ConfigError(
        f"{path} has other folds than this run",
        expected=f"the same people, labels and folds as there ({rule.get('name')}, seed {rule.get('seed')}, "
        f"group {rule.get('group')}, stratify {rule.get('stratify')})",
        found=found,
        remedy=f"use the same store and settings, or put the folder {path.parent} away and start anew",
    )


def _content(cohort: Cohort, folds: Sequence[Fold]) -> dict[str, Any]:
    names = cohort.unit_names
    everybody = np.arange(len(cohort))
    labels = [[name, repr(value)] for name, value in zip(names, cohort.target.values_N.tolist(), strict=True)]
    return {
        "format_version": FORMAT_VERSION,
        "target": {
            "name": cohort.target.name,
            "kind": cohort.target.kind,
            "classes": list(cohort.target.classes),
            "level": cohort.level,
        },
        "labels_sha256": hashlib.sha256(json.dumps(labels).encode()).hexdigest(),
        "units": list(names),
        # Who is trained on: everybody else, but for relatives of those who are tested.
        "folds": [
            {
                "name": fold.name,
                "repeat": fold.repeat,
                "test": _named(names, fold.test_M),
                "left_out": _named(names, np.setdiff1d(everybody, np.union1d(fold.test_M, fold.train_M))),
            }
            for fold in folds
        ],
    }


def _named(names: Sequence[str], units_M: Int64[np.ndarray, "_"]) -> list[str]:
    return [names[unit] for unit in units_M.tolist()]


def _read(path: Path) -> Mapping[str, Any]:
    remedy = f"put the folder {path.parent} away and start anew"
    what: dict[str, Any] = {"what": "the folds that an earlier run wrote", "remedy": remedy, "kind": ConfigError}
    there = read_json(path, **what, needs={"format_version": int})
    version = there["format_version"]
    if version != FORMAT_VERSION:
        raise ConfigError(
            f"{path} was written by another version of this program",
            expected=f"format version {FORMAT_VERSION}",
            found=str(version),
            remedy=f"use that version, or {remedy}",
        )
    with damaged(path, **what):
        with_entries(there, {"target": dict, "labels_sha256": str, "units": list, "rule": dict, "folds": list})
        for fold in there["folds"]:
            with_entries(fold, {"name": str, "repeat": int, "test": list, "left_out": list})
    return there


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """What differs first, in words; None if nothing does."""
    for key, value in here["target"].items():
        if there["target"].get(key) != value:
            return f"the target's {key} is {value} here, {there['target'].get(key)} there"
    gone, new = (sorted(set(a["units"]) - set(b["units"])) for a, b in ((there, here), (here, there)))
    if gone or new:
        return f"only there: {some(gone) or 'nobody'}; only here: {some(new) or 'nobody'}"
    if there["labels_sha256"] != here["labels_sha256"]:
        return f"the same people, but other values of {here['target']['name']}"
    return _difference_of_folds(there["folds"], here["folds"])


def _difference_of_folds(there: Sequence[Mapping[str, Any]], here: Sequence[Mapping[str, Any]]) -> str | None:
    where_there, where_here = _places(there), _places(here)
    if [(fold["name"], fold["repeat"]) for fold in there] != [(fold["name"], fold["repeat"]) for fold in here]:
        return f"{len(here)} folds here ({some(_titles(here))}), {len(there)} there ({some(_titles(there))})"
    moved = [key for key, place in where_here.items() if where_there.get(key) != place]
    if moved:
        repeat, name = first = moved[0]
        num_moved = len({unit for _, unit in moved})
        return (
            f"{num_moved} are tested in another fold; first: {name} in fold {where_here[first]} of repeat {repeat + 1} "
            f"here, {where_there.get(first, 'none')} there (another seed, group or stratify)"
        )
    for one, other in zip(there, here, strict=True):
        if set(one["left_out"]) != set(other["left_out"]):
            return f"fold {one['name']}: others are left out of training (another group)"
    return None


def _places(folds: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], str]:
    return {(fold["repeat"], name): fold["name"] for fold in folds for name in fold["test"]}


def _titles(folds: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{fold['name']} of repeat {fold['repeat'] + 1}" for fold in folds]
