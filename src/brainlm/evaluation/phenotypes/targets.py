"""Who is analysed, and what is to be predicted of them: one row a person (or a recording), in an order of its own.

What a unit is, is decided in ``units.py``; what its labels mean (numbers, classes), in ``labels.py``; who is tested
when, in ``folds.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from brainlm.data.field_names import nearest
from brainlm.data.missing_values import NO_CODES, MissingRule, is_number, questionable
from brainlm.data.recording import recording_name
from brainlm.data.shards import KEY_COLUMNS
from brainlm.data.store import Store
from brainlm.errors import DataError
from brainlm.evaluation.phenotypes.labels import Kind, Labels, check_class_sizes, labels_of
from brainlm.evaluation.phenotypes.units import Level, Units, some, units_of

__all__ = ["Cohort", "Kind", "Level", "Target", "read_cohort"]

NAMES_OF_RECORDINGS = ("subject", "source")
NOTHING_SAID = MissingRule()


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be predicted.

    Attributes:
        name: the column of the store.
        kind: regression, binary or multiclass.
        values_N: of each unit, in original units; or the number of its class.
        classes: their names; none for regression. Of two, the second is the positive one.
    """

    name: str
    kind: Kind
    values_N: Float64[np.ndarray, "N"]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Cohort:
    """Who is in the analysis of one target; sorted by subject, whatever the order of the store.

    Attributes:
        table: one row a unit, index from 0: subject (without ``sub-``), site, and the store's other columns as far as
            they are constant within every unit; numbers that vary are there as their mean.
        recordings: positions in the store of each unit's recordings.
        target: what is to be predicted of them.
        level: whether a unit is a subject or a recording.
        num_missing: units of the store without the label.
        num_left_out: units of the store whose class is not among those that were asked for.
        varying: per column that differs within a unit, the subjects in whom it does.
        missing: what was said about values that look like codes for missing.
        copies: pairs of people who share a recording; no fold divides them.
    """

    table: pd.DataFrame
    recordings: tuple[Int64[np.ndarray, "_"], ...]
    target: Target
    level: Level
    num_missing: int = 0
    num_left_out: int = 0
    varying: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: MissingRule = field(default_factory=MissingRule)
    copies: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def subjects_N(self) -> Int64[np.ndarray, "N"]:  # noqa: N802 - shape suffix
        """The number of each unit's subject, from 0, in the order of their names."""
        return np.unique(self.table["subject"].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)

    def check_codes(self, columns: Iterable[str]) -> None:
        """Refuse to compute with values that look like codes for missing before it was said what they are.

        Raises:
            DataError: one of ``columns`` has such values.
        """
        for name in columns:
            if name in self.table and self.missing.asks:
                _check_codes(self.table[name])

    @property
    def num_subjects(self) -> int:
        """How many people there are."""
        return int(self.subjects_N.max()) + 1

    @property
    def weights_N(self) -> Float64[np.ndarray, "N"]:  # noqa: N802 - shape suffix
        """One vote a subject, shared by their units; 1 on average."""
        weights_N = 1.0 / np.bincount(self.subjects_N)[self.subjects_N]
        return np.asarray(weights_N / weights_N.mean(), dtype=np.float64)

    @property
    def unit_names(self) -> tuple[str, ...]:
        """The subject, or the recording's name, of every unit."""
        if self.level == "subject":
            return tuple(map(str, self.table["subject"]))
        return tuple(recording_name(*map(str, key)) for key in self.table[list(KEY_COLUMNS)].itertuples(index=False))


def read_cohort(
    store: Store,
    target: str,
    *,
    kind: Kind | Literal["auto"] = "auto",
    positive: str | None = None,
    level: Level = "subject",
    classes: Sequence[str] = (),
    missing: MissingRule = NOTHING_SAID,
) -> Cohort:
    """The people of ``store`` whose ``target`` is known.

    A person's label may be missing in some of their recordings, all of which count nevertheless; it must be the same
    wherever it is there, or the level must be ``recording``.

    Args:
        store: whose metadata have the target.
        target: a column of them.
        kind: what the values mean; ``auto`` decides as ``labels_of`` says.
        positive: the class of two whose probability is predicted; the second in order unless given.
        level: one row a person, or one a recording.
        classes: keep only units with these values.
        missing: values of phenotypes that mean missing, such as -9999.

    Raises:
        DataError: no such column, nothing in it to predict, values that look like codes for missing, or people with
            several labels.
        ConfigError: settings that do not fit the values.
    """
    metadata = _without(missing, store.metadata, store.phenotypes)
    _check_column(store, metadata, target)
    everybody = units_of(metadata[list(dict.fromkeys([*KEY_COLUMNS, "site", target]))], level)
    if target in everybody.varying:
        raise _several_labels(target, everybody, metadata)
    if missing.asks and not classes and target in store.phenotypes:
        _check_codes(everybody.table[target])
    labels = labels_of(everybody.table[target], kind=kind, positive=positive, classes=classes)
    # Once more for those with a label only, so that nobody else decides which columns are constant.
    known = np.flatnonzero(np.isfinite(labels.values_U))
    kept = np.sort(np.concatenate([everybody.recordings[unit] for unit in known]))
    cohort = _cohort(target, units_of(metadata.iloc[kept], level), labels, level)
    here = set(cohort.table["subject"])
    copies = tuple(pair for pair in store.people_with_copies if here.issuperset(pair))
    return replace(cohort, missing=missing, copies=copies)


def _without(missing: MissingRule, metadata: pd.DataFrame, phenotypes: Sequence[str]) -> pd.DataFrame:
    """The metadata without values that mean missing; words that leave only numbers behind make these numbers."""
    metadata = metadata.copy()
    for name in phenotypes:
        is_missing = missing.missing_in(metadata[name]) & metadata[name].notna().to_numpy()
        if is_missing.any():
            column = metadata[name].mask(is_missing)
            is_numbers = all(map(is_number, column.dropna()))
            metadata[name] = pd.to_numeric(column) if is_numbers else column
    return metadata


def _check_codes(column: pd.Series) -> None:
    codes = questionable(list(column.dropna()))
    if not codes:
        return
    shown = ", ".join(f"{code} ({number} times)" for code, number in codes.items())
    raise DataError(
        f"values of {column.name} look like codes for missing",
        expected="values that mean what they say",
        found=f"{shown} among {column.notna().sum()} values",
        remedy=f"say what they are: --missing {','.join(codes)} if nothing is known of these people, "
        f"--missing {NO_CODES} if they are values like all others",
    )


def _check_column(store: Store, metadata: pd.DataFrame, target: str) -> None:
    if target not in metadata:
        raise DataError(
            f"the store has no column {target} to predict",
            expected=f"a phenotype of {store.path}",
            found=f"nearest: {nearest(target, store.phenotypes or metadata.columns)}",
            remedy="correct the spelling; `brainlm inspect` lists what is there",
        )
    if target in NAMES_OF_RECORDINGS:
        raise DataError(
            f"{target} says which recording it is: nothing about new people can be learned from it",
            expected="a phenotype, or another property that people share",
            found=f"--target {target}",
            remedy=f"choose another target, such as {some(store.phenotypes) or 'site'}",
        )
    if not len(store):
        raise DataError(
            f"no recordings to predict {target} from",
            expected="recordings of several people",
            found=f"none selected from {store.path}",
            remedy="widen the selection",
        )


def _cohort(target: str, units: Units, labels: Labels, level: Level) -> Cohort:
    known_U = np.isfinite(labels.values_U)
    cohort = Cohort(
        table=units.table,
        recordings=units.recordings,
        target=Target(target, labels.kind, labels.values_U[known_U], labels.classes),
        level=level,
        num_missing=int(labels.missing_U.sum()),
        num_left_out=int((~labels.missing_U & ~known_U).sum()),
        varying=units.varying,
    )
    assert len(cohort) == len(cohort.target.values_N), "the same units, in the same order"
    if labels.classes:
        codes = cohort.target.values_N.astype(int).tolist()
        check_class_sizes(target, labels.classes, list(zip(cohort.table["subject"], codes, strict=True)))
    return cohort


def _several_labels(target: str, units: Units, metadata: pd.DataFrame) -> DataError:
    people = units.varying[target]
    number = list(units.table["subject"]).index(people[0])
    values = metadata[target].iloc[units.recordings[number]].dropna().unique()
    return DataError(
        f"people whose recordings have different values of {target}",
        expected="one value a person, when a person is one vote",
        found=f"{len(people)}: {some(people)}; {people[0]} has {some(values)}",
        remedy="predict it recording by recording (--level recording); or, if different people share a name, "
        "import them under names of their own",
    )
