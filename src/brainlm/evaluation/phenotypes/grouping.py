"""Dividing units into parts of like composition without ever dividing a person or a family; scikit-learn does it.

Works on plain arrays where it can. What the parts are for is in ``folds.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from brainlm.data.field_names import nearest
from brainlm.data.fingerprints import joined
from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.phenotypes.targets import Cohort, Kind
from brainlm.evaluation.phenotypes.units import some, texts

NUM_QUANTILES = 5  # by which numbers are stratified
NUM_ATTEMPTS = 5  # at a division, where families mix the classes

logger = logging.getLogger(__name__)


def group_codes(cohort: Cohort, group: str | None) -> Int64[np.ndarray, "N"]:
    """The number of what is never divided: the unit's family where it has one, else its subject.

    People who share a recording belong together, and their families with them.

    Args:
        cohort: the units.
        group: the column of families; None for subjects only.

    Raises:
        ConfigError: no such column.
        DataError: a subject has two families.
    """
    groups_N = cohort.subjects_N if group is None else _family_codes(cohort, group)
    if not cohort.copies:
        return groups_N
    group_of = dict(zip(cohort.table["subject"], (f"{code:09d}" for code in groups_N.tolist()), strict=True))
    pairs = [(group_of[one], group_of[other]) for one, other in cohort.copies]
    whole = joined(list(group_of.values()), pairs)
    names = [whole[group_of[subject]] for subject in cohort.table["subject"]]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _family_codes(cohort: Cohort, group: str) -> Int64[np.ndarray, "N"]:
    families = np.array(column_texts(cohort, group, setting="--group"), dtype=str)
    subjects_N = cohort.subjects_N
    family_of: dict[int, str] = {}
    for subject, family in zip(subjects_N.tolist(), families.tolist(), strict=True):
        if family and family_of.setdefault(subject, family) != family:
            raise several_values(cohort, group, [str(cohort.table["subject"][subjects_N == subject].iloc[0])])
    alone = set(subjects_N.tolist()) - set(family_of)
    if alone:
        logger.info("%d people have no %s: each is taken to be related to nobody", len(alone), group)
    # The kind goes before the name, so that a family is never taken for a person of the same name.
    names = [f"family {family_of[s]}" if s in family_of else f"subject {s:09d}" for s in subjects_N.tolist()]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def column_texts(cohort: Cohort, column: str, *, setting: str) -> list[str]:
    """A column of the cohort as text, one value a unit, missing being empty; ``setting`` is what named it.

    Raises:
        ConfigError: no such column.
        DataError: somebody has several values.
    """
    if column in cohort.varying:
        raise several_values(cohort, column, cohort.varying[column])
    if column not in cohort.table:
        raise ConfigError(
            f"the store has no column {column}",
            expected=f"{setting} with a column of the store's metadata",
            found=f"nearest: {nearest(column, cohort.table.columns)}",
            remedy="correct the spelling; `brainlm inspect` lists what is there",
        )
    return texts(cohort.table[column])


def several_values(cohort: Cohort, column: str, people: Sequence[str]) -> DataError:
    """The error for people who have several values where one is needed."""
    remedy = "mend the table, or choose another column"
    return DataError(
        f"people with more than one value of {column}",
        expected=f"one {column} a person",
        found=f"{len(people)}: {some(people)}",
        remedy=remedy + (", or analyse recording by recording (--level recording)" if column in cohort.varying else ""),
    )


def strata_of(values_N: Float64[np.ndarray, "N"], kind: Kind, *, num_folds: int) -> Int64[np.ndarray, "N"]:
    """What folds should have like shares of: classes, or fifths of a number (fewer where there are few units)."""
    if kind != "regression":
        return values_N.astype(np.int64)
    num_strata = max(1, min(NUM_QUANTILES, len(values_N) // num_folds))
    ranks_N = np.empty(len(values_N), dtype=np.int64)
    ranks_N[np.argsort(values_N, kind="stable")] = np.arange(len(values_N))
    return ranks_N * num_strata // max(len(values_N), 1)


def divide(
    groups_N: Int64[np.ndarray, "N"], strata_N: Int64[np.ndarray, "N"], *, num_folds: int, seed: Sequence[int]
) -> Int64[np.ndarray, "N"]:
    """The number of every unit's fold; units of a group agree, strata are spread evenly.

    Depends on the seed and, as the caller's units are sorted by name, on who is there; not on the order of a store.
    """
    assert 2 <= num_folds <= len(np.unique(groups_N)), "the caller knows how many groups there are"
    random_state = int(np.random.SeedSequence(list(seed)).generate_state(1)[0])
    is_single = len(np.unique(groups_N)) == len(groups_N)
    # The one for groups does the same for groups of one, but tries every fold for every group.
    splitter = (StratifiedKFold if is_single else StratifiedGroupKFold)(
        num_folds, shuffle=True, random_state=random_state
    )
    folds_N = np.full(len(groups_N), -1, dtype=np.int64)
    parts = splitter.split(groups_N[:, None], strata_N, None if is_single else groups_N)
    for number, (_, test) in enumerate(parts):
        folds_N[test] = number
    assert (folds_N >= 0).all()
    return folds_N


def groups_per_class(values_N: Float64[np.ndarray, "N"], groups_N: Int64[np.ndarray, "N"], num: int) -> list[int]:
    """In how many groups each of ``num`` classes occurs."""
    return [len(np.unique(groups_N[values_N == code])) for code in range(num)]


def grouped_folds(
    values_N: Float64[np.ndarray, "N"], groups_N: Int64[np.ndarray, "N"], *, kind: Kind, num_folds: int, seed: int
) -> list[tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]]]:
    """Positions to train on and to validate on, for choosing settings within a training fold.

    Groups stay whole and every class is on both sides of every fold: fewer folds than asked for if a class is small.

    Raises:
        ConfigError: not even two folds are possible.
    """
    codes = np.unique(values_N) if kind != "regression" else np.empty(0)
    possible = [len(np.unique(groups_N)), *(len(np.unique(groups_N[values_N == code])) for code in codes)]
    for number in range(min(num_folds, *possible), 1, -1):
        strata_N = strata_of(values_N, kind, num_folds=number)
        for attempt in range(NUM_ATTEMPTS):
            folds_N = divide(groups_N, strata_N, num_folds=number, seed=(seed, number, attempt))
            present = [set(values_N[folds_N == fold]) for fold in range(number)]
            if all(values.issuperset(codes) for values in present):
                return [(np.flatnonzero(folds_N != fold), np.flatnonzero(folds_N == fold)) for fold in range(number)]
    raise ConfigError(
        "too few people to choose settings within a training fold",
        expected="two parts with all classes in each, no person or family in both",
        found=f"{possible[0]} people or families" + (f"; by class {possible[1:]}" if possible[1:] else ""),
        remedy="leave small classes out (--classes), or make larger training folds",
    )
