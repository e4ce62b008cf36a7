"""What was measured: one record a number, the table of them as JSON and as Markdown.

How numbers come about is in ``parcellation.py``, ``windows.py``, ``training.py``, ``embedding.py``, ``attention.py``,
``connectome.py``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from brainlm.atomic import disk_errors, write_text
from brainlm.errors import Failure
from brainlm.files import damaged, read_json

FORMAT_VERSION = 1
Part = Literal["parcellation", "windows", "training", "embedding", "attention", "connectome"]


@dataclass(frozen=True)
class Aim:
    """What a number should be: at least ``value``, or at most."""

    value: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {short(self.value)}"

    def reached_by(self, value: float) -> bool:
        """Whether ``value`` is as it should be."""
        return value <= self.value if self.at_most else value >= self.value


@dataclass(frozen=True)
class Measure:
    """One number: the median over the repeats, the lowest and the highest of them, and what it should be (if said)."""

    part: Part
    name: str
    unit: str
    value: float
    low: float
    high: float
    aim: Aim | None = None

    @classmethod
    def of(
        cls, part: Part, name: str, unit: str, values: Float[np.ndarray, "repeats"] | float, aim: Aim | None = None
    ) -> Measure:
        """The measure of repeated values, or of a single one."""
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        return cls(part, name, unit, float(np.median(values)), float(values.min()), float(values.max()), aim)

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        return None if self.aim is None else self.aim.reached_by(self.value)


@dataclass(frozen=True)
class Benchmark:
    """Everything that one call of ``brainlm bench`` measured, where, and with which sizes."""

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    measures: tuple[Measure, ...]
    left_out: tuple[Failure, ...] = field(default=())

    def to_json(self) -> str:
        """The text of a JSON file."""
        content = {"format_version": FORMAT_VERSION, "kind": "bench", **dataclasses.asdict(self)}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: str | Path) -> Benchmark:
        """The benchmark that was written to ``path``.

        Raises:
            DataError: the file is not there, is no benchmark, or of another format.
        """
        what = f"a file that `brainlm bench --out` wrote, format {FORMAT_VERSION}"
        about: dict[str, Any] = {"what": what, "remedy": "measure again"}
        content = read_json(Path(path), **about)
        with damaged(Path(path), **about):
            if (content["kind"], content["format_version"]) != ("bench", FORMAT_VERSION):
                raise ValueError(f"kind {content['kind']}, format {content['format_version']}")
            return cls(
                machine=content["machine"],
                settings=content["settings"],
                measures=tuple(_measure(row) for row in content["measures"]),
                left_out=tuple(Failure(**row) for row in content["left_out"]),
            )

    def to_markdown(self) -> str:
        """The same as a page: machine, settings, a table for each part."""
        lines = ["# Speed", "", ", ".join(f"{name} {value}" for name, value in self.machine.items()) + ".", ""]
        if self.settings.get("quick"):
            lines += ["Measured with `--quick`: too small to judge by.", ""]
        for part in dict.fromkeys(measure.part for measure in self.measures):
            lines += [f"## {part.capitalize()}", "", "| measure | median | lowest to highest | unit | aim | reached |"]
            lines += ["|---|---:|---|---|---|---|"]
            lines += [f"| {' | '.join(cells(row))} |" for row in self.measures if row.part == part]
            lines += [""]
        lines += [f"Left out: {failure.source}: {failure.reason}." for failure in self.left_out]
        return "\n".join(lines).rstrip() + "\n"

    def write(self, path: Path) -> Path:
        """Write the JSON to ``path`` and the page beside it; returns the page's path.

        Raises:
            DataError: the disk is full or the place cannot be written.
        """
        page = path.with_suffix(".md")
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            for file, text in ((page, self.to_markdown()), (path, self.to_json())):
                write_text(file, text)
        return page


def cells(measure: Measure) -> list[str]:
    """A measure as the cells of a row: name, median, spread, unit, aim, reached."""
    spread = "" if measure.low == measure.high else f"{short(measure.low)} to {short(measure.high)}"
    reached = {None: "", True: "yes", False: "no"}[measure.reached]
    return [measure.name, short(measure.value), spread, measure.unit, str(measure.aim or ""), reached]


def short(value: float) -> str:
    """A number with three significant digits, larger ones whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _measure(row: Mapping[str, Any]) -> Measure:
    aim = row["aim"]
    return Measure(**{**row, "aim": None if aim is None else Aim(**aim)})
