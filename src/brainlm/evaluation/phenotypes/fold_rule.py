"""How folds are asked for: a number, the column whose values are left out in turn, or the column that has the folds.

What is made of it is in ``folds.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from brainlm.errors import ConfigError

LEAVE_OUT = re.compile(r"leave-(?P<column>.+)-out")
A_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")
FORMS = "a number of folds (5), leave-site-out, leave-COLUMN-out, or the name of a column that has the folds"


@dataclass(frozen=True)
class FoldRule:
    """How units are divided.

    Args:
        kind: ``k-fold`` at random; ``leave-one-out`` of the values of ``column`` (sites); ``given`` by ``column``.
        num_folds: of a k-fold.
        repeats: how often a k-fold is drawn anew.
        seed: other folds for another seed.
        column: for the other kinds.
        group: column whose members stay together (families); a subject always does.
        stratify: like shares of the classes, or of fifths of the number, in every fold of a k-fold.

    Raises:
        ConfigError: settings that contradict each other.
    """

    kind: Literal["k-fold", "leave-one-out", "given"]
    num_folds: int = 5
    repeats: int = 1
    seed: int = 0
    column: str = ""
    group: str | None = None
    stratify: bool = True

    def __post_init__(self) -> None:
        assert (self.kind == "k-fold") == (self.column == ""), "a column for those folds that come from one"
        if self.kind == "k-fold" and self.num_folds < 2:
            raise ConfigError(
                "too few folds: some are trained on while others are tested",
                expected="two folds or more",
                found=f"--folds {self.num_folds}",
                remedy="5 is usual",
            )
        if self.repeats < 1 or self.seed < 0:
            raise ConfigError(
                "folds cannot be drawn like this",
                expected="repeats of 1 or more, a seed of 0 or more",
                found=f"repeats {self.repeats}, seed {self.seed}",
                remedy="correct --repeats or --seed",
            )
        if self.kind != "k-fold" and self.repeats > 1:
            raise ConfigError(
                f"folds by {self.column} are the same every time: repeating them tells nothing new",
                expected="--repeats 1",
                found=f"--repeats {self.repeats} with --folds {self.name}",
                remedy="leave --repeats out, or use random folds, such as --folds 5",
            )

    @classmethod
    def parse(
        cls, text: str, *, repeats: int = 1, seed: int = 0, group: str | None = None, stratify: bool = True
    ) -> FoldRule:
        """The rule that ``5``, ``leave-site-out``, ``leave-COLUMN-out`` or ``COLUMN`` (which has the folds) means.

        Raises:
            ConfigError: it means none.
        """
        text = str(text).strip()
        if A_NUMBER.fullmatch(text):
            if not text.isdecimal():
                raise _not_folds(text)
            return cls("k-fold", num_folds=int(text), repeats=repeats, seed=seed, group=group, stratify=stratify)
        leave_out = LEAVE_OUT.fullmatch(text)
        if not text or (leave_out and leave_out["column"] == "one"):
            raise _not_folds(text)
        kind: Literal["leave-one-out", "given"] = "leave-one-out" if leave_out else "given"
        column = leave_out["column"] if leave_out else text
        return cls(kind, repeats=repeats, seed=seed, column=column, group=group, stratify=stratify)

    @property
    def name(self) -> str:
        """``5-fold``, ``5x5-fold`` (folds x repeats), ``leave-site-out`` or ``by-COLUMN``; fit for a file's name."""
        if self.kind == "k-fold":
            times = f"x{self.repeats}" if self.repeats > 1 else ""
            return f"{self.num_folds}{times}-fold"
        column = re.sub(r"[^\w.]+", "_", self.column)
        return f"leave-{column}-out" if self.kind == "leave-one-out" else f"by-{column}"


def _not_folds(text: str) -> ConfigError:
    return ConfigError(
        "no such folds",
        expected=FORMS,
        found=repr(text),
        remedy="say whose turn it is, such as leave-site-out or leave-subject-out" if "one" in text else "such as 5",
    )
