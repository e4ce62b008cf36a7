"""What estimators are told of the people: what to predict, whose votes count how much, who belongs together.

Plain arrays, so that labels can be permuted without touching a table. Who these people are is in ``targets.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from brainlm.errors import ConfigError
from brainlm.evaluation.phenotypes.targets import Cohort, Kind

Transform = Literal["none", "log"]

InnerFolds = Sequence[tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]]]
"""Pairs of positions into the training rows: to train on, to validate on."""


@dataclass(frozen=True)
class TargetScale:
    """How numbers are standardised for fitting; measured on training rows only."""

    mean: float
    sd: float
    transform: Transform = "none"

    def standardised(self, values: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """From original units; the logarithm first if the problem says so."""
        inner = np.log(values) if self.transform == "log" else values
        return (inner - self.mean) / self.sd

    def original(self, standardised: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """Back to original units. After a logarithm this is the predicted median (geometric mean), not the mean."""
        inner = standardised * self.sd + self.mean
        return np.exp(inner) if self.transform == "log" else inner


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be predicted, of all units.

    Attributes:
        kind: regression, binary or multiclass.
        values_N: in original units; of classes their numbers, from 0.
        num_classes: 0 for regression.
        groups_N: number of each unit's subject, or family: what is never divided.
        weights_N: votes, 1 on average.
        seed: of everything random in the estimators.
        transform: ``log`` fits the logarithm of the values; predictions come back in original units.

    Raises:
        ConfigError: a logarithm of values that are not positive, or of classes.
    """

    kind: Kind
    values_N: Float64[np.ndarray, "N"]
    num_classes: int
    groups_N: Int64[np.ndarray, "N"]
    weights_N: Float64[np.ndarray, "N"]
    seed: int = 0
    transform: Transform = "none"

    def __post_init__(self) -> None:
        assert (self.kind == "regression") == (self.num_classes == 0), "classes do not fit the kind of target"
        if self.transform == "log" and self.kind != "regression":
            raise _no_logarithm("a target that is a number", f"{self.num_classes} classes")
        if self.transform == "log" and not (self.values_N > 0).all():
            raise _no_logarithm("values above 0", f"a lowest value of {self.values_N.min():g}")

    @classmethod
    def from_cohort(
        cls,
        cohort: Cohort,
        *,
        seed: int = 0,
        transform: Transform = "none",
        groups_N: Int64[np.ndarray, "N"] | None = None,
    ) -> Problem:
        """Of the people of ``cohort``; ``groups_N`` if something larger than a subject must not be divided."""
        target = cohort.target
        return cls(
            kind=target.kind,
            values_N=target.values_N,
            num_classes=len(target.classes),
            groups_N=cohort.subjects_N if groups_N is None else groups_N,
            weights_N=cohort.weights_N,
            seed=seed,
            transform=transform,
        )

    @property
    def num_outputs(self) -> int:
        """Columns of a prediction: one value, one probability, or one probability a class."""
        return self.num_classes if self.kind == "multiclass" else 1

    def with_values(self, values_N: Float64[np.ndarray, "N"]) -> Problem:
        """The same people with other labels, such as permuted ones."""
        return replace(self, values_N=values_N)

    def classes_of(self, rows_M: Int64[np.ndarray, "M"]) -> Int64[np.ndarray, "M"]:
        """The class of each of ``rows_M``."""
        assert self.num_classes > 0, "numbers have no classes"
        return self.values_N[rows_M].astype(np.int64)

    def scale_of(self, train_M: Int64[np.ndarray, "M"]) -> TargetScale:
        """Mean and spread of the training values, each person one vote."""
        values_M = self.values_N[train_M]
        if self.transform == "log":
            values_M = np.log(values_M)
        mean = float(np.average(values_M, weights=self.weights_N[train_M]))
        sd = float(np.sqrt(np.average((values_M - mean) ** 2, weights=self.weights_N[train_M])))
        return TargetScale(mean, sd if sd > 0 else 1.0, self.transform)


def _no_logarithm(expected: str, found: str) -> ConfigError:
    return ConfigError(
        "the target has no logarithm",
        expected=expected,
        found=found,
        remedy="leave the logarithm out, or choose another target",
    )
