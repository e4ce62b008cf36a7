"""evaluation.json as frozen objects: conditions, methods, intervals and who is better.

The numbers are computed in ``brainlm.evaluation``; here they are only read and asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.evaluation.statistics import Interval, Verdict

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class MethodScore:
    """What one method reached in one condition, R2 never clipped."""

    name: str
    is_model: bool
    r2: Interval
    mae: Interval
    r: Interval
    r2_per_parcel: Float[np.ndarray, "P"] | None
    r2_by_step: Float[np.ndarray, "S"] | None


@dataclass(frozen=True, eq=False)
class Condition:
    """One kind and amount of masking. ``difference`` is model minus best baseline, paired over subjects."""

    mask: str
    amount: float
    label: str
    num_hidden_values: int
    methods: tuple[MethodScore, ...]
    best_baseline: str | None
    difference: Interval | None

    @property
    def model(self) -> MethodScore | None:
        """The score of the model, None when only baselines were evaluated."""
        return next((method for method in self.methods if method.is_model), None)

    @property
    def baseline(self) -> MethodScore | None:
        """The score of the best baseline, None without one."""
        return next((method for method in self.methods if method.name == self.best_baseline), None)

    @property
    def verdict(self) -> Verdict:
        """That of the paired difference."""
        return "unknown" if self.difference is None else self.difference.verdict


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything ``brainlm evaluate`` wrote about one model on one store."""

    model: Mapping[str, Any]
    store: Mapping[str, Any]
    settings: Mapping[str, Any]
    notes: tuple[str, ...]
    conditions: tuple[Condition, ...]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Evaluation:
        """The evaluation in the parsed ``evaluation.json``.

        Raises:
            ValueError: a format version this program does not know. KeyError: a field is missing.
        """
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {content['format_version']}, this program reads {FORMAT_VERSION}")
        return cls(
            model=content.get("model", {}),
            store=content.get("store", {}),
            settings=content.get("settings", {}),
            notes=tuple(str(note) for note in content.get("notes", ())),
            conditions=tuple(_condition(entry) for entry in content["conditions"]),
        )

    @property
    def method_names(self) -> tuple[str, ...]:
        """Every method once: the model first, then in order of appearance."""
        methods = [method for condition in self.conditions for method in condition.methods]
        ordered = sorted(methods, key=lambda method: not method.is_model)
        return tuple(dict.fromkeys(method.name for method in ordered))

    @property
    def masks(self) -> tuple[str, ...]:
        """The kinds of mask in order of appearance."""
        return tuple(dict.fromkeys(condition.mask for condition in self.conditions))

    @property
    def headline(self) -> Condition | None:
        """The condition the summary speaks of: random 75 %, else the first random one, else the first."""

        def distance(condition: Condition) -> tuple[bool, float]:
            return condition.mask != "random", abs(condition.amount - 0.75)

        return min(self.conditions, key=distance, default=None)

    @property
    def confidence_percent(self) -> str:
        """The level of every interval, as text: ``95 %``."""
        return f"{100 * float(self.settings.get('confidence', 0.95)):g} %"


def _condition(entry: Mapping[str, Any]) -> Condition:
    difference = entry.get("difference")
    return Condition(
        mask=str(entry["mask"]),
        amount=float(entry["amount"]),
        label=str(entry["label"]),
        num_hidden_values=int(entry.get("num_hidden_values", 0)),
        methods=tuple(_method(method) for method in entry["methods"]),
        best_baseline=entry.get("best_baseline"),
        difference=None if difference is None else Interval.read({**difference, "value": difference["r2"]}),
    )


def _method(entry: Mapping[str, Any]) -> MethodScore:
    return MethodScore(
        name=str(entry["name"]),
        is_model=bool(entry["is_model"]),
        r2=_interval(entry, "r2"),
        mae=_interval(entry, "mae"),
        r=_interval(entry, "r"),
        r2_per_parcel=_numbers(entry.get("r2_per_parcel")),
        r2_by_step=_numbers(entry.get("r2_by_step")),
    )


def _interval(entry: Mapping[str, Any], name: str) -> Interval:
    return Interval(*(number_or_nan(entry.get(name + suffix)) for suffix in ("", "_low", "_high")))


def optional_interval(entry: Mapping[str, Any] | None) -> Interval | None:
    """None where there is no entry or no value in it."""
    return None if entry is None or entry.get("value") is None else Interval.read(entry)


def number_or_nan(value: float | int | None) -> float:
    """JSON has no NaN: null is a number that could not be computed."""
    return math.nan if value is None else float(value)


def _numbers(values: list[Any] | None) -> Float[np.ndarray, "N"] | None:
    return np.array([number_or_nan(value) for value in values]) if values else None
