"""Who is tested when, and who is trained on meanwhile: never is a subject or a family on both sides.

The division itself is in ``grouping.py``, how folds are asked for in ``fold_rule.py``, their file in ``manifest.py``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.phenotypes.fold_rule import FoldRule
from brainlm.evaluation.phenotypes.grouping import (
    column_texts,
    divide,
    group_codes,
    grouped_folds,
    groups_per_class,
    strata_of,
)
from brainlm.evaluation.phenotypes.targets import Cohort
from brainlm.evaluation.phenotypes.units import as_number, some

__all__ = ["Fold", "FoldRule", "group_codes", "inner_folds", "make_folds"]

# A class needs as many people or families in training: one to learn from, one to choose settings on.
MIN_GROUPS_IN_TRAINING = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Fold:
    """Who is tested, and who is trained on.

    Attributes:
        name: the value that is left out, such as a site; or a number from 1.
        repeat: from 0.
        train_M: positions of units, ascending.
        test_M: positions of units, ascending.
    """

    name: str
    repeat: int
    train_M: Int64[np.ndarray, "_"]
    test_M: Int64[np.ndarray, "_"]


def make_folds(cohort: Cohort, rule: FoldRule) -> tuple[Fold, ...]:
    """The folds of all repeats; in each repeat every unit is tested exactly once.

    Where a person (at level recording) or a family spans two values of the column that is left out, its units outside
    the test fold are not trained on either.

    Raises:
        ConfigError: more folds than people or families, a class that some fold would be without, no such column, the
            column that is left out is the target.
        DataError: a column with one value only, with gaps, or with several values for one person or family.
    """
    groups_N = group_codes(cohort, rule.group)
    make = _random_folds if rule.kind == "k-fold" else _folds_by_column
    folds = make(cohort, groups_N, rule)
    for fold in folds:
        _check_training(cohort, groups_N, fold)
    return folds


def inner_folds(
    cohort: Cohort, train_M: Int64[np.ndarray, "_"], *, num_folds: int, seed: int, group: str | None = None
) -> list[tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]]]:
    """Positions into ``train_M`` to train on and to validate on; people and families (``group``) stay whole.

    Raises:
        ConfigError: too few people.
    """
    return grouped_folds(
        cohort.target.values_N[train_M],
        group_codes(cohort, group)[train_M],
        kind=cohort.target.kind,
        num_folds=num_folds,
        seed=seed,
    )


def _random_folds(cohort: Cohort, groups_N: np.ndarray, rule: FoldRule) -> tuple[Fold, ...]:
    _check_number_of_folds(cohort, groups_N, rule)
    strata_N = np.zeros(len(cohort), dtype=np.int64)
    if rule.stratify:
        strata_N = strata_of(cohort.target.values_N, cohort.target.kind, num_folds=rule.num_folds)
    folds: list[Fold] = []
    for repeat in range(rule.repeats):
        codes_N = divide(groups_N, strata_N, num_folds=rule.num_folds, seed=(rule.seed, repeat))
        folds += _folds_of(codes_N, groups_N, [str(number + 1) for number in range(rule.num_folds)], repeat)
    for fold in folds:
        _check_test(cohort, fold, rule)
    return tuple(folds)


def _folds_of(codes_N: np.ndarray, groups_N: np.ndarray, names: Sequence[str], repeat: int) -> list[Fold]:
    folds = []
    for number, name in enumerate(names):
        test_M = np.flatnonzero(codes_N == number)
        # Not simply everybody else: nobody who belongs to somebody in the test fold.
        train_M = np.flatnonzero(~np.isin(groups_N, groups_N[test_M]))
        folds.append(Fold(name, repeat, train_M, test_M))
    return folds


def _folds_by_column(cohort: Cohort, groups_N: np.ndarray, rule: FoldRule) -> tuple[Fold, ...]:
    names, codes_N = _categories(cohort, rule)
    if rule.kind == "given":
        _check_whole_groups(cohort, groups_N, names, codes_N, rule)
    folds = _folds_of(codes_N, groups_N, names, 0)
    for fold in folds:
        num_left_out = len(cohort) - len(fold.train_M) - len(fold.test_M)
        if num_left_out:
            logger.warning(
                "%s %s: %d units are neither tested nor trained on, for they belong to people or families tested there",
                rule.column,
                fold.name,
                num_left_out,
            )
    return tuple(folds)


def _categories(cohort: Cohort, rule: FoldRule) -> tuple[list[str], Int64[np.ndarray, "N"]]:
    """The values of the column, numbers in their order, and the number of each unit's value."""
    column = rule.column
    if column == cohort.target.name:
        raise ConfigError(
            f"folds by {column} cannot test how well {column} is predicted: no fold would have seen what it is asked",
            expected="folds by another column than the target",
            found=f"--target {column} --folds {rule.name}",
            remedy="use random folds, such as --folds 5",
        )
    words = column_texts(cohort, column, setting="--folds (a number, leave-COLUMN-out, or COLUMN)")
    missing = [name for name, word in zip(cohort.unit_names, words, strict=True) if not word]
    present = set(words) - {""}
    if len(present) < 2:
        raise DataError(
            f"there are no two values of {column} to make folds of",
            expected=f"people with different values of {column}",
            found=f"{next(iter(present))} only" if present else f"no {column} at all",
            remedy="use random folds, such as --folds 5",
        )
    numbers = [as_number(word) for word in present]
    if any(math.isfinite(number) and not number.is_integer() for number in numbers):
        raise ConfigError(
            f"{column} is a measurement, not a set of folds",
            expected="words or whole numbers",
            found=some(sorted(present)),
            remedy="choose a column of categories, such as leave-site-out",
        )
    if missing:
        raise DataError(
            f"{len(missing)} of {len(words)} have no {column}: they belong to no fold",
            expected=f"a value of {column} for everybody with the target",
            found=some(missing),
            remedy="complete the table and import again, or use random folds, such as --folds 5",
        )
    is_numeric = all(map(math.isfinite, numbers))
    names = sorted(present, key=(lambda word: (float(word), word)) if is_numeric else None)
    code_of = {name: code for code, name in enumerate(names)}
    return names, np.array([code_of[word] for word in words], dtype=np.int64)


def _check_number_of_folds(cohort: Cohort, groups_N: np.ndarray, rule: FoldRule) -> None:
    whom = "people" if rule.group is None else f"people or families ({rule.group})"
    num_groups = len(np.unique(groups_N))
    if rule.num_folds > num_groups:
        raise ConfigError(
            f"more folds than {whom}",
            expected=f"at most {num_groups} folds",
            found=f"--folds {rule.num_folds}",
            remedy="fewer folds",
        )
    sizes = groups_per_class(cohort.target.values_N, groups_N, len(cohort.target.classes))
    for word, size in zip(cohort.target.classes, sizes, strict=True):
        if size < rule.num_folds:
            fewer = f"at most {size} folds, or " if size > MIN_GROUPS_IN_TRAINING else ""
            raise ConfigError(
                f"{cohort.target.name} = {word} would be missing in some test fold",
                expected=f"at least {rule.num_folds} {whom} of every class, one for each fold",
                found=f"{size} with {word}",
                remedy=f"{fewer}leave this class out: name the others with --classes",
            )


def _check_test(cohort: Cohort, fold: Fold, rule: FoldRule) -> None:
    present = set(cohort.target.values_N[fold.test_M].tolist())
    absent = [word for code, word in enumerate(cohort.target.classes) if code not in present]
    if absent or not present:
        raise ConfigError(
            f"test fold {fold.name} of repeat {fold.repeat + 1} has nobody"
            + (f" with {cohort.target.name} = {absent[0]}" if absent else ""),
            expected="every class in every test fold",
            found=f"{len(fold.test_M)} units; families that mix classes, or folds that are not stratified",
            remedy="fewer folds, another --seed" + ("" if rule.stratify else ", or stratified folds"),
        )


def _check_training(cohort: Cohort, groups_N: np.ndarray, fold: Fold) -> None:
    values_M = cohort.target.values_N[fold.train_M]
    sizes = groups_per_class(values_M, groups_N[fold.train_M], len(cohort.target.classes))
    for word, size in zip(cohort.target.classes, sizes, strict=True):
        if size < MIN_GROUPS_IN_TRAINING:
            raise ConfigError(
                f"when fold {fold.name} is tested, too few with {cohort.target.name} = {word} are left to learn from",
                expected=f"at least {MIN_GROUPS_IN_TRAINING} people or families of every class in training",
                found=f"{size} of {word}",
                remedy="leave this class out (name the others with --classes), or use other folds",
            )
    if len(np.unique(values_M)) < 2:
        raise ConfigError(
            f"when fold {fold.name} is tested, {cohort.target.name} is constant in those left to learn from",
            expected="different values in every training fold",
            found=f"{len(fold.train_M)} units with {len(np.unique(values_M))} different values",
            remedy="use other folds, or more people",
        )


def _check_whole_groups(
    cohort: Cohort, groups_N: np.ndarray, names: Sequence[str], codes_N: np.ndarray, rule: FoldRule
) -> None:
    pairs = np.unique(np.stack([groups_N, codes_N], axis=1), axis=0)
    groups, num_folds = np.unique(pairs[:, 0], return_counts=True)
    if (num_folds == 1).all():
        return
    members_M = np.flatnonzero(groups_N == groups[num_folds > 1][0])
    raise DataError(
        f"the folds in {rule.column} divide a person" + (f" or a {rule.group}" if rule.group else ""),
        expected="all recordings of a person, and all members of a family, in one fold",
        found=f"{some(dict.fromkeys(cohort.table['subject'].iloc[members_M]))} in the folds "
        + some(names[code] for code in np.unique(codes_N[members_M])),
        remedy=f"mend the column {rule.column}, or use random folds, such as --folds 5",
    )
