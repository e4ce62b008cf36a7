"""Two conditions within subjects, or two groups of subjects, out of a column of the store.

Decides what is compared with what and refuses what cannot be; the statistics are in ``permuting.py``. A difference is
always the first level less the second. Shapes: N recordings, S subjects, P parcels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int64

from brainlm.data.field_names import nearest
from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.attention.permuting import FEWEST, MapTest, paired_test, two_sample_test
from brainlm.evaluation.attention.subject_maps import Subjects, mean_map
from brainlm.evaluation.phenotypes.units import some, texts

HALVES = ("low", "high")  # as levels of a number: below and above the median over subjects
OWN_COLUMNS = frozenset({"subject", "source"})

Kind = Literal["paired", "two-sample"]


@dataclass(frozen=True, eq=False)
class Contrast:
    """What is compared; made by ``read_contrast``.

    Attributes:
        kind: ``paired`` where subjects were recorded at both levels, else ``two-sample``.
        first, second: positions of the recordings of each subject at each level; for ``paired``, entry by entry the
            same subject.
        num_left_out: subjects without a value at the two levels, or (``paired``) at one of them only, or (two groups)
            at both.
        remark: how a number was divided; empty where it was not.
        blocks: what labels are exchanged within, first group then second; empty for exchanging them freely.
    """

    column: str
    levels: tuple[str, str]
    kind: Kind
    first: tuple[Int64[np.ndarray, "_"], ...]
    second: tuple[Int64[np.ndarray, "_"], ...]
    num_left_out: int
    remark: str = ""
    within: str = ""
    blocks: tuple[str, ...] = ()

    @property
    def direction(self) -> str:
        """What a positive difference is."""
        return f"{self.levels[0]} minus {self.levels[1]}"

    @property
    def num_subjects(self) -> tuple[int, int]:
        """In the first and in the second level."""
        return len(self.first), len(self.second)

    @property
    def is_first_S(self) -> Bool[np.ndarray, "S"]:  # noqa: N802 - shape suffix
        """Of the subjects of both groups, the first ones first."""
        return np.arange(len(self.first) + len(self.second)) < len(self.first)

    def means(self, values_NP: Float[np.ndarray, "N P"]) -> tuple[np.ndarray, np.ndarray]:
        """One map a subject and level, (S_first, P) and (S_second, P)."""
        first, second = (np.stack([mean_map(values_NP[rows]) for rows in level]) for level in (self.first, self.second))
        return first, second

    def test(self, values_NP: Float[np.ndarray, "N P"], *, num: int, seed: int) -> MapTest:
        """The test of any map that each recording has, on subjects."""
        first_SP, second_SP = self.means(values_NP)
        if self.kind == "paired":
            return paired_test(first_SP - second_SP, num=num, seed=seed)
        block_S = np.unique(self.blocks, return_inverse=True)[1].astype(np.int64) if self.blocks else None
        return two_sample_test(
            np.concatenate([first_SP, second_SP]), self.is_first_S, num=num, seed=seed, block_S=block_S
        )


def read_contrast(metadata: pd.DataFrame, column: str, *, levels: Sequence[str] = (), within: str = "") -> Contrast:
    """The contrast that a column of the store stands for.

    Subjects recorded at both levels are compared with themselves; where that is less than half of all, the two groups
    of subjects are compared. ``low,high`` of a column of numbers are the subjects below and above the median of the
    subjects' means.

    Args:
        metadata: one row a recording.
        column: conditions, groups or numbers.
        levels: the two to compare; may be left out where there are just two, in alphabetical order then.
        within: for two groups, a column (site) within which they are compared; a block with one group is left out.

    Raises:
        ConfigError: no such column, one level, three or more without a choice, or a level that nobody has.
        DataError: a level with fewer than two subjects.
    """
    for name in (column, *([within] if within else [])):
        _check_column(metadata, name)
    subjects = Subjects.of(metadata)
    words_N = np.array(texts(metadata[column]), dtype=object)
    remark = ""
    if tuple(levels) == HALVES and not set(HALVES) <= set(words_N):
        words_N, remark = _halves(metadata[column], column, subjects)
    chosen = _levels(words_N, column, levels, subjects)
    division = _Division.of(words_N, column, chosen, subjects)
    if division.num_both >= FEWEST and 2 * division.num_both >= division.num_either:
        return _paired(division, within)
    return _two_groups(division, within, metadata, remark)


@dataclass(frozen=True, eq=False)
class _Division:
    """The recordings of every subject at the first and at the second level, none where a subject was not at it."""

    column: str
    levels: tuple[str, str]
    first: tuple[np.ndarray, ...]
    second: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, words_N: np.ndarray, column: str, levels: tuple[str, str], subjects: Subjects) -> _Division:
        first, second = (tuple(rows[words_N[rows] == level] for rows in subjects.recordings) for level in levels)
        return cls(column, levels, first, second)

    @property
    def is_both(self) -> list[bool]:
        return [bool(len(a) and len(b)) for a, b in zip(self.first, self.second, strict=True)]

    @property
    def num_both(self) -> int:
        return sum(self.is_both)

    @property
    def num_either(self) -> int:
        return sum(bool(len(a) or len(b)) for a, b in zip(self.first, self.second, strict=True))


def _paired(division: _Division, within: str) -> Contrast:
    if within:
        raise ConfigError(
            f"subjects are compared with themselves in {division.column}: there is nothing to compare within {within}",
            expected="--within with two groups of different subjects",
            found=f"{division.num_both} subjects recorded at both {' and '.join(division.levels)}",
            remedy="leave --within out",
        )
    kept = np.flatnonzero(division.is_both)
    return Contrast(
        division.column,
        division.levels,
        "paired",
        tuple(division.first[number] for number in kept),
        tuple(division.second[number] for number in kept),
        num_left_out=len(division.first) - len(kept),
    )


def _two_groups(division: _Division, within: str, metadata: pd.DataFrame, remark: str) -> Contrast:
    """Two groups of different subjects; who is in both is in neither."""
    groups = [
        {number: rows for number, rows in enumerate(own) if len(rows) and not division.is_both[number]}
        for own in (division.first, division.second)
    ]
    blocks: dict[int, str] = {}
    if within:
        blocks = _shared_blocks(metadata, within, groups)
        groups = [{number: rows for number, rows in own.items() if number in blocks} for own in groups]
    _check_sizes(division, within, groups)
    return Contrast(
        division.column,
        division.levels,
        "two-sample",
        tuple(groups[0].values()),
        tuple(groups[1].values()),
        num_left_out=len(division.first) - len(groups[0]) - len(groups[1]),
        remark=remark,
        within=within,
        blocks=tuple(blocks[number] for own in groups for number in own) if within else (),
    )


def _check_sizes(division: _Division, within: str, groups: Sequence[Mapping[int, np.ndarray]]) -> None:
    sizes = dict(zip(division.levels, map(len, groups), strict=True))
    for level, size in sizes.items():
        if size < FEWEST:
            raise DataError(
                f"{division.column} = {level}: a group of {size} cannot be compared",
                expected=f"at least {FEWEST} subjects in each group",
                found=", ".join(f"{name}: {number}" for name, number in sizes.items())
                + (f", in those {within} that have both groups" if within else "")
                + (f"; {division.num_both} in both, left out" if division.num_both else ""),
                remedy="leave --within out" if within else "choose other levels with --levels, or more recordings",
            )


def _check_column(metadata: pd.DataFrame, column: str) -> None:
    known = [str(name) for name in metadata if name not in OWN_COLUMNS]
    if column not in known:
        raise ConfigError(
            f"the store has no column {column} to contrast",
            expected="a column of the store's metadata",
            found=f"nearest: {nearest(column, known)}",
            remedy="correct the spelling; `brainlm inspect` lists what is there",
        )


def _halves(values: pd.Series, column: str, subjects: Subjects) -> tuple[np.ndarray, str]:
    """``low`` and ``high`` of each recording by its subject's mean; exactly at the median is neither."""
    numbers_N = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    known_S = subjects.means(numbers_N[:, None])[:, 0]
    if not np.isfinite(known_S).any():
        raise ConfigError(
            f"{column} has no numbers to divide into low and high",
            expected="numbers, or two of the values of the column in --levels",
            found=f"values: {some(sorted(set(texts(values)) - {''}))}",
            remedy="name two of these values, such as --levels a,b",
        )
    median = float(np.nanmedian(known_S))
    own_N = known_S[subjects.subject_N]
    words_N = np.where(own_N < median, HALVES[0], np.where(own_N > median, HALVES[1], "")).astype(object)
    num_at = int((known_S == median).sum())
    at = f"; {num_at} exactly at it {'is' if num_at == 1 else 'are'} left out" if num_at else ""
    return words_N, f"low and high are below and above the median over subjects of {column} ({median:g}){at}"


def _levels(words_N: np.ndarray, column: str, levels: Sequence[str], subjects: Subjects) -> tuple[str, str]:
    present = sorted(set(words_N) - {""})
    counts = {word: len(set(subjects.subject_N[words_N == word])) for word in present}
    listed = some(f"{word} ({count} subjects)" for word, count in counts.items()) or "no value at all"
    for word in levels:
        if word not in counts:
            raise ConfigError(
                f"nobody has {column} = {word}",
                expected=f"two values of {column}, joined by a comma",
                found=listed,
                remedy=f"did you mean {nearest(word, present)}?",
            )
    if levels and (len(levels) != 2 or levels[0] == levels[1]):
        raise ConfigError(
            "a contrast is of two levels",
            expected="two different values joined by a comma, such as --levels a,b",
            found=f"--levels {','.join(levels)}; {column} has {listed}",
            remedy="name two",
        )
    if not levels and len(present) < 2:
        raise ConfigError(
            f"{column} has one level only: there is nothing to contrast",
            expected="two levels",
            found=listed,
            remedy="choose another column, or select more recordings",
        )
    if not levels and len(present) > 2:
        raise ConfigError(
            f"{column} has {len(present)} levels: which two are compared?",
            expected="two levels, or --levels",
            found=listed,
            remedy="name two, such as --levels " + ",".join(present[:2]) + "; of numbers, --levels low,high",
        )
    first, second = levels or present
    return str(first), str(second)


def _shared_blocks(metadata: pd.DataFrame, within: str, groups: Sequence[Mapping[int, np.ndarray]]) -> dict[int, str]:
    """The block of each subject who is in a block with members of both groups."""
    words_N = np.array(texts(metadata[within]), dtype=object)
    block_of = [{number: "+".join(sorted(set(words_N[rows]))) for number, rows in own.items()} for own in groups]
    with_both = set(block_of[0].values()) & set(block_of[1].values())
    return {number: block for own in block_of for number, block in own.items() if block in with_both}
