"""What a column of a store means as a target: numbers or classes, and whether anything can be learned from it.

Which rows the column has is decided in ``units.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from brainlm.data.field_names import nearest
from brainlm.data.missing_values import is_dates
from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.phenotypes.units import as_number, some, texts

Kind = Literal["regression", "binary", "multiclass"]

MAX_WHOLE_NUMBERS = 10  # distinct ones; more are a measurement
MAX_CLASSES = 20  # that are taken for classes without being asked


@dataclass(frozen=True, eq=False)
class Labels:
    """Made by ``labels_of``.

    Attributes:
        kind: of the target.
        values_U: of every unit; number of its class, or NaN where there is none.
        classes: names, none for regression.
        missing_U: units without a value (the others without a label are of a class that is not asked for).
    """

    kind: Kind
    values_U: Float64[np.ndarray, "U"]
    classes: tuple[str, ...]
    missing_U: Bool[np.ndarray, "U"]


def labels_of(
    column: pd.Series, *, kind: Kind | Literal["auto"], positive: str | None = None, classes: Sequence[str] = ()
) -> Labels:
    """The labels in ``column`` (its name is the target's).

    Numbers with more than 10 distinct values, or with fractions, are regression; two values are binary; text of 3 to
    20 values is multiclass; what else it may be has to be said.

    Raises:
        DataError: nothing known, nothing that varies, or text where numbers are expected.
        ConfigError: settings that do not fit the values.
    """
    name = str(column.name)
    words = np.array(texts(column), dtype=object)
    missing_U = words == ""
    if missing_U.all():
        raise DataError(
            f"nobody has a value of {name}",
            expected="the target in at least some recordings' metadata",
            found=f"all {len(words)} missing",
            remedy="import the table that has it (`--phenotypes`), or choose another target",
        )
    numbers_U = _numbers(column, words)
    is_number = bool(np.isfinite(numbers_U[~missing_U]).all())
    if pd.api.types.is_numeric_dtype(column) and not is_number:
        raise _not_a_number(name, words[~missing_U], numbers_U[~missing_U])
    _check_spelling(name, words[~missing_U], classes)
    if kind in ("auto", "regression") and not is_number and is_dates(words[~missing_U]):
        raise DataError(
            f"{name} has dates, which are neither numbers nor classes",
            expected="a number, such as an age in years or days since a first scan; or classes",
            found=f"{int((~missing_U).sum())} dates: {some(dict.fromkeys(words[~missing_U]))}",
            remedy="compute such a number in the participants table, and import again",
        )
    present = sorted(set(words[~missing_U]), key=lambda word: float(word) if is_number else word)
    wanted = _wanted(name, present, classes)
    chosen = _choose_kind(name, wanted, is_number, words[~missing_U], numbers_U[~missing_U]) if kind == "auto" else kind
    if len(wanted) < 2:
        raise DataError(
            f"the target {name} is constant: there is nothing to predict",
            expected="at least two different values",
            found=f"{wanted[0]} in all {int((~missing_U).sum())} with a value",
            remedy="choose another target, or a store with people who differ in it",
        )
    if chosen == "regression":
        _check_numbers(name, words[~missing_U], numbers_U[~missing_U], positive, classes)
        return Labels("regression", numbers_U, (), missing_U)
    _check_number_of_classes(name, chosen, wanted)
    ordered = _order(name, chosen, wanted, positive)
    code_of = {word: float(code) for code, word in enumerate(ordered)}
    values_U = np.array([code_of.get(word, np.nan) for word in words])
    return Labels(chosen, values_U, ordered, missing_U)


def _numbers(column: pd.Series, words: np.ndarray) -> Float64[np.ndarray, "U"]:
    """The values as numbers; NaN where they are missing or are none."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array([as_number(word) for word in words])


def _check_spelling(name: str, words: np.ndarray, classes: Sequence[str]) -> None:
    """Classes that differ in capitals only are one class, spelled in two ways."""
    spelled: dict[str, set[str]] = {}
    for word in set(words):
        spelled.setdefault(word.casefold(), set()).add(word)
    twice = sorted(variants for variants in map(sorted, spelled.values()) if len(variants) > 1)
    if twice and not classes:
        raise DataError(
            f"{name}: values that differ in capitals only",
            expected="one spelling of each",
            found=" and ".join(twice[0]),
            remedy="mend the table and import again, or say with --classes which values to use",
        )


def _wanted(name: str, present: Sequence[str], classes: Sequence[str]) -> list[str]:
    unknown = [word for word in map(str, classes) if word not in present]
    if unknown:
        raise ConfigError(
            f"nobody has {name} = {unknown[0]}",
            expected=f"--classes with values of {name}",
            found=f"nearest: {nearest(unknown[0], present)}",
            remedy="correct the spelling",
        )
    if len(set(classes)) == 1:
        raise ConfigError(
            "one class is nothing to tell apart",
            expected="at least two values in --classes",
            found=f"{classes[0]} only",
            remedy=f"name another one of {some(word for word in present if word != str(classes[0]))}",
        )
    return [word for word in present if not classes or word in set(map(str, classes))]


def _choose_kind(name: str, wanted: Sequence[str], is_number: bool, words: np.ndarray, numbers: np.ndarray) -> Kind:
    if len(wanted) <= 2:
        return "binary"
    if is_number:
        known = numbers[np.isin(words, wanted)]
        if len(wanted) > MAX_WHOLE_NUMBERS or bool((known != np.round(known)).any()):
            return "regression"
        raise ConfigError(
            f"cannot tell whether {name} is a measurement or a set of classes",
            expected=f"more than {MAX_WHOLE_NUMBERS} different numbers, two values, or words",
            found=f"the {len(wanted)} whole numbers {', '.join(wanted)}",
            remedy="say it: --kind regression or --kind multiclass",
        )
    if len(wanted) <= MAX_CLASSES:
        return "multiclass"
    if np.isfinite(numbers).mean() > 0.5:
        raise _not_a_number(name, words, numbers)
    raise ConfigError(
        f"{name} has too many values to be taken for classes",
        expected=f"numbers, or up to {MAX_CLASSES} different words",
        found=f"{len(wanted)} different values: {some(wanted)}",
        remedy="choose another target; or name the classes with --classes; or say --kind multiclass",
    )


def _check_numbers(
    name: str, words: np.ndarray, numbers: np.ndarray, positive: str | None, classes: Sequence[str]
) -> None:
    if classes or positive is not None:
        raise ConfigError(
            f"{name} is predicted as a number, which has no classes",
            expected="--kind regression alone",
            found="--classes" if classes else f"--positive {positive}",
            remedy="leave it out, or say --kind binary",
        )
    if not np.isfinite(numbers).all():
        raise _not_a_number(name, words, numbers)


def _not_a_number(name: str, words: np.ndarray, numbers: np.ndarray) -> DataError:
    others = sorted(set(words[~np.isfinite(numbers)]))
    return DataError(
        f"{name} has text or infinity where numbers are expected",
        expected="a finite number, or nothing, in every row",
        found=f"{int((~np.isfinite(numbers)).sum())} of {len(words)}: {some(map(repr, others))}",
        remedy="mend these values in the table and import again; if they are classes, say --kind binary or multiclass",
    )


def _check_number_of_classes(name: str, kind: Kind, wanted: Sequence[str]) -> None:
    if (kind == "binary") == (len(wanted) == 2):
        return
    raise ConfigError(
        f"{name} does not have the number of classes that --kind {kind} asks for",
        expected="two" if kind == "binary" else "three or more",
        found=f"{len(wanted)}: {some(wanted)}",
        remedy="choose two with --classes, or say --kind multiclass" if kind == "binary" else "say --kind binary",
    )


def _order(name: str, kind: Kind, wanted: Sequence[str], positive: str | None) -> tuple[str, ...]:
    """Ascending; but the positive one of two comes second."""
    if positive is None:
        return tuple(wanted)
    if kind != "binary" or positive not in wanted:
        raise ConfigError(
            f"{positive} cannot be the positive class of {name}",
            expected="one of its two classes" if kind == "binary" else "a target of two classes",
            found=f"{kind} with the classes {some(wanted)}",
            remedy="correct --positive, or leave it out",
        )
    return (*(word for word in wanted if word != positive), positive)


def check_class_sizes(name: str, classes: Sequence[str], subject_classes: Sequence[tuple[str, int]]) -> None:
    """Refuse a class of one person, given every (subject, class) that there is.

    Raises:
        DataError: some class has fewer than two subjects.
    """
    sizes = Counter(code for _, code in set(subject_classes))
    for code, word in enumerate(classes):
        if sizes[code] < 2:
            counts = ", ".join(f"{other}: {sizes[number]}" for number, other in enumerate(classes))
            raise DataError(
                f"{name} = {word}: a class with one person cannot be both learned and tested",
                expected="at least two people in every class",
                found=counts,
                remedy="leave this class out: name the others with --classes",
            )
