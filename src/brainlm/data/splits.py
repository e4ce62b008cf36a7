"""Which subject is for training, which for validation, which for testing: decided once, by subject or by group.

The decision is a hash, so that it does not depend on the order of the recordings, and stays when subjects are added.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pandas as pd

from brainlm.data.field_names import nearest
from brainlm.data.fingerprints import joined
from brainlm.errors import ConfigError, DataError

SPLITS = ("train", "validation", "test")

OTHER_SPELLINGS = {"val": "validation", "valid": "validation", "dev": "validation", "training": "train"}
SHARE_TOLERANCE = 1e-6

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitRule:
    """How subjects are divided.

    Args:
        validation: fraction of subjects for validation.
        test: fraction of subjects for testing.
        seed: another seed gives another division.
        group: column whose members stay together (family, or site); a subject without a value is its own group.
        stratify: column of categories whose proportions are kept in every split.
        hold_out: per column, values whose subjects all go to the test split; the fractions divide the others.

    Raises:
        ConfigError: the fractions leave nothing to train on.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    group: str | None = None
    stratify: str | None = None
    hold_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.validation < 0 or self.test < 0 or self.validation + self.test >= 1:
            raise ConfigError(
                "the fractions of the splits leave nothing to train on",
                expected="validation and test of 0 or more, together below 1",
                found=f"validation {self.validation}, test {self.test}",
                remedy="choose smaller fractions",
            )

    def describe(self) -> dict[str, Any]:
        """The rule as it stands in a store's manifest."""
        return {
            "rule": "quota per stratum, in hash order" if self.stratify else "hash",
            "seed": self.seed,
            "fractions": {"validation": self.validation, "test": self.test},
            "columns": {"group": self.group, "stratify": self.stratify},
            "held_out": {column: list(values) for column, values in self.hold_out.items()},
        }

    @classmethod
    def parse(cls, text: str) -> SplitRule:
        """The rule that ``text`` spells: shares such as ``0.8,0.1,0.1``, or the settings as JSON.

        In JSON, ``train`` may be given beside ``validation`` and ``test``; the three then sum to 1.

        Raises:
            ConfigError: it is neither, or the shares do not sum to 1.
        """
        settings = _settings_of(text)
        unknown = [name for name in settings if name not in ("train", *(item.name for item in fields(cls)))]
        if unknown:
            raise _unreadable(f"{text} ({', '.join(map(repr, unknown))} is no setting of a split)")
        shares = {name: settings[name] for name in SPLITS if name in settings}
        for name, share in shares.items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise _unreadable(f"{share!r} for {name}")
        if "train" in shares:
            rest = 1 - sum(shares.values())
            missing = [name for name in ("validation", "test") if name not in shares]
            settings |= dict.fromkeys(missing[:1], rest if len(missing) == 1 else 0.0)
            if len(missing) == 2 or rest < -SHARE_TOLERANCE or (not missing and abs(rest) > SHARE_TOLERANCE):
                raise _unreadable(f"shares that sum to {sum(shares.values()):g}: {text}")
            del settings["train"]
        _check_kinds(settings)
        return cls(**settings)

    def as_words(self) -> str:
        """The rule as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> SplitRule:
        """The rule that ``describe`` described."""
        return cls(
            **description["fractions"],
            **description["columns"],
            seed=description["seed"],
            hold_out=description["held_out"],
        )


def _settings_of(text: str) -> dict[str, Any]:
    """The settings in ``text``, in the spelling of ``SplitRule``, ``train`` added."""
    with suppress(ValueError):
        shares = [float(word) for word in text.strip("[]() ").split(",")]
        if len(shares) == len(SPLITS) and all(map(math.isfinite, shares)):
            return dict(zip(SPLITS, shares, strict=True))
        raise _unreadable(text)
    try:
        content = json.loads(text)
    except ValueError:
        import yaml  # {validation: 0.2}, as in a configuration file

        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError:
            content = None
    if not isinstance(content, dict):
        raise _unreadable(text)
    return {OTHER_SPELLINGS.get(str(name), str(name)): value for name, value in content.items()}


def _check_kinds(settings: Mapping[str, Any]) -> None:
    held_out = settings.get("hold_out") or {}
    wrong = [name for name in ("group", "stratify") if not isinstance(settings.get(name), str | None)]
    wrong += ["seed"] if type(settings.get("seed", 0)) is not int else []
    is_mapping = isinstance(held_out, dict) and all(isinstance(values, list) for values in held_out.values())
    wrong += [] if is_mapping else ["hold_out"]
    if wrong:
        raise _unreadable(f"{settings[wrong[0]]!r} for {wrong[0]}")


def _unreadable(found: str) -> ConfigError:
    return ConfigError(
        "the split cannot be read",
        expected="fractions of the people for train, validation and test that sum to 1, such as 0.8,0.1,0.1",
        found=found,
        remedy="for example --split 0.8,0.1,0.1, or --split.validation 0.1 --split.test 0.1; with further settings: "
        '--split \'{"validation": 0.1, "test": 0.2, "seed": 0, "group": "family", "stratify": "sex", '
        '"hold_out": {"site": ["YALE"]}}\'',
    )


def bare_subject(subject: str) -> str:
    """The subject's label without ``sub-``: both spellings are the same person."""
    return str(subject).removeprefix("sub-")


def assign_splits(
    people: pd.DataFrame,
    rule: SplitRule,
    *,
    existing: Mapping[str, str] | None = None,
    copies: Sequence[tuple[str, str]] = (),
) -> pd.Series:
    """The split of every row: ``train``, ``validation`` or ``test``; rows of a subject, and of a group, agree.

    Args:
        people: a row a recording or a subject, with ``subject`` and the columns that the rule names.
        rule: how to divide.
        existing: splits already decided, by subject; they stay, and their whole group follows them.
        copies: pairs of subjects who share a recording: they, and their groups, stay together.

    Raises:
        DataError: a column or held-out value is not there, a subject belongs to two groups, or ``existing`` puts
            members of one group into different splits.
    """
    _check_columns(people, rule, is_first=existing is None)
    unit_of_row = _units(people, rule)
    if copies:
        unit_of = dict(zip(people["subject"].map(bare_subject), unit_of_row, strict=True))
        pairs = [(unit_of[bare_subject(one)], unit_of[bare_subject(other)]) for one, other in copies]
        unit_of_row = unit_of_row.map(joined(list(unit_of_row), pairs))
    units = pd.DataFrame({"unit": unit_of_row, "held_out": _held_out(people, rule)}, index=people.index)
    units["stratum"] = people[rule.stratify].map(_text) if rule.stratify else ""
    # The smallest of a unit's values, so that the order of the rows does not matter.
    table = units.groupby("unit", sort=True).agg(held_out=("held_out", "any"), stratum=("stratum", "min"))
    table["hash"] = [_uniform(rule.seed, unit) for unit in table.index]
    decided = _existing_by_unit(people, unit_of_row, existing or {})
    decided |= {unit: "test" for unit in table.index[table["held_out"]] if unit not in decided}
    # Who is held out as a whole does not count towards the fractions of the others.
    free = table[~table["held_out"]]
    decided |= _by_quota(free, rule, decided) if rule.stratify else _by_hash(free, rule, decided)
    splits = unit_of_row.map(decided).astype(object)
    _warn_of_empty_splits(splits, rule)
    return splits.rename("split")


def _by_hash(table: pd.DataFrame, rule: SplitRule, decided: Mapping[str, str]) -> dict[str, str]:
    def split(value: float) -> str:
        if value < rule.test:
            return "test"
        return "validation" if value < rule.test + rule.validation else "train"

    return {
        unit: split(value)
        for unit, value in zip(map(str, table.index), table["hash"], strict=True)
        if unit not in decided
    }


def _by_quota(table: pd.DataFrame, rule: SplitRule, decided: Mapping[str, str]) -> dict[str, str]:
    """Fill test, then validation, stratum by stratum in hash order.

    What rounding gives or takes in one stratum is made up for in the next, so that many small strata do not add up to
    an empty test split.
    """
    result: dict[str, str] = {}
    num_seen = 0
    num_wanted = {"test": 0, "validation": 0}
    for _, stratum in table.groupby("stratum", sort=True):
        num_seen += len(stratum)
        units = list(stratum.sort_values("hash").index)
        present = [decided[unit] for unit in units if unit in decided]
        free = [unit for unit in units if unit not in decided]
        for split, fraction in (("test", rule.test), ("validation", rule.validation)):
            quota = int(num_seen * fraction + 0.5) - num_wanted[split]
            num_wanted[split] += quota
            num_missing = max(quota - present.count(split), 0)
            result |= dict.fromkeys(free[:num_missing], split)
            free = free[num_missing:]
        result |= dict.fromkeys(free, "train")
    return result


def _units(people: pd.DataFrame, rule: SplitRule) -> pd.Series:
    """What is never divided: the group where there is one, else the subject."""
    subjects = people["subject"].map(bare_subject)
    if rule.group is None:
        return "subject\x1f" + subjects
    groups = people[rule.group].map(_text)
    named = groups[groups != ""]
    groups_per_subject = named.groupby(subjects[named.index]).nunique()
    if (groups_per_subject > 1).any():
        subject = groups_per_subject.index[groups_per_subject > 1][0]
        raise DataError(
            f"subject {subject} belongs to more than one {rule.group}",
            expected=f"one value of {rule.group} per subject",
            found=", ".join(sorted(named[subjects[named.index] == subject].unique())),
            remedy="mend the table, or choose another group column",
        )
    group_of_subject = named.groupby(subjects[named.index]).first()
    groups = subjects.map(group_of_subject)
    return ("group\x1f" + groups).where(groups.notna(), "subject\x1f" + subjects)


def _held_out(people: pd.DataFrame, rule: SplitRule) -> pd.Series:
    held_out = pd.Series(False, index=people.index)
    for column, values in rule.hold_out.items():
        held_out |= people[column].map(_text).isin([str(value) for value in values])
    return held_out


def _existing_by_unit(people: pd.DataFrame, units: pd.Series, existing: Mapping[str, str]) -> dict[str, str]:
    known = {bare_subject(subject): split for subject, split in existing.items()}
    decided: dict[str, str] = {}
    for subject, unit in zip(people["subject"].map(bare_subject), units, strict=True):
        split = known.get(subject)
        if split is None:
            continue
        if decided.setdefault(unit, split) != split:
            raise DataError(
                f"the splits already decided divide {unit.replace(chr(31), ' ')}",
                expected="one split for all its members",
                found=f"{decided[unit]} and {split}",
                remedy="import everything into a new store with this group column",
            )
    return decided


def _check_columns(people: pd.DataFrame, rule: SplitRule, *, is_first: bool) -> None:
    wanted = ["subject", *(name for name in (rule.group, rule.stratify) if name), *rule.hold_out]
    missing = [name for name in wanted if name not in people.columns]
    if missing:
        raise DataError(
            "the split rule names columns that are not there",
            expected=", ".join(wanted),
            found=f"no {', '.join(missing)}; nearest: {nearest(missing[0], people.columns)}",
            remedy="add the columns to the participants table, or change the rule",
        )
    if not is_first:
        return  # later additions need not contain every held-out value
    for column, values in rule.hold_out.items():
        present = sorted(set(people[column].map(_text)) - {""})
        for value in values:
            if str(value) not in present:
                raise DataError(
                    f"nobody to hold out with {column} = {value}",
                    expected=f"a value of the column {column}",
                    found=f"nearest: {nearest(str(value), present)}",
                    remedy="correct the value of hold_out",
                )


def _warn_of_empty_splits(splits: pd.Series, rule: SplitRule) -> None:
    for name, fraction in (("validation", rule.validation), ("test", rule.test)):
        if fraction > 0 and len(splits) > 1 and not (splits == name).any():
            logger.warning(
                "no subject fell into the %s split; with few subjects, divide them otherwise: --split.%s with a "
                "larger fraction, or another --split.seed",
                name,
                name,
            )
    num_train = int((splits == "train").sum())
    if rule.validation + rule.test < 0.5 and num_train < len(splits) / 2 and not rule.hold_out:
        logger.warning(
            "only %d of %d recordings are for training: another --split.seed divides the people otherwise, "
            "--split.test 0 leaves more of them for training",
            num_train,
            len(splits),
        )


def _text(value: object) -> str:
    """A category as text; missing is empty, and 3.0 is 3 (a column with gaps turns integers into floats)."""
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _uniform(seed: int, unit: str) -> float:
    """A number in [0, 1) that depends on nothing but the seed and the unit's name."""
    digest = hashlib.blake2b(f"{seed}\x1f{unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
