"""Reads what a RUN folder holds into frozen objects. Every part is optional; a damaged part is an error.

A missing part is told to the reader of the page together with the verb that produces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32

from brainlm.data.parcels import Parcels
from brainlm.errors import DataError
from brainlm.files import damaged, read_arrays, read_csv, read_json, read_parquet, read_text
from brainlm.report.attention_study import AttentionStudy
from brainlm.report.attention_study_file import read_attention_studies
from brainlm.report.evaluation_file import Evaluation
from brainlm.report.forecast_file import read_forecasts
from brainlm.report.forecast_study import Forecast
from brainlm.report.network_file import read_network_studies
from brainlm.report.network_study import NetworkStudy
from brainlm.report.phenotype_file import read_studies, unfinished_studies
from brainlm.report.phenotype_study import Study
from brainlm.report.reading import natural_key, result_file

# part: (file in the RUN folder, how to get it)
PARTS: Mapping[str, tuple[str, str]] = {
    "provenance": ("provenance.json", "`brainlm pretrain STORE --out RUN` writes it"),
    "config": ("config.yaml", "`brainlm pretrain STORE --out RUN` writes it"),
    "parcels": ("parcels.tsv", "`brainlm pretrain STORE --out RUN` copies it from the store"),
    "atlas": ("atlas.nii.gz", "copy the label image of the atlas to this name for painted brain maps"),
    "log": ("logs/metrics.csv", "`brainlm pretrain STORE --out RUN` writes it"),
    "evaluation": ("evaluation.json", "`brainlm evaluate RUN STORE` writes it"),
    "examples": ("examples.npz", "`brainlm evaluate RUN STORE` writes it"),
    "embeddings": ("embeddings.parquet", "`brainlm embed RUN STORE` writes it"),
    "attention": ("attention.npz", "`brainlm embed RUN STORE` writes it"),
}
VECTORS = ("cls", "mean")


@dataclass(frozen=True, eq=False)
class Curve:
    """One logged quantity over training."""

    steps: Float[np.ndarray, "N"]
    values: Float[np.ndarray, "N"]


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """Lightning's metrics.csv: sparse rows, one a logging event.

    Args:
        table: steps counted from 0.
        validate_every: epochs between validations, None where not recorded.
        kept_steps: steps after which the weights in the folder were taken, None where not recorded.
    """

    table: pd.DataFrame
    validate_every: int | None = None
    kept_steps: int | None = None

    def curve(self, name: str) -> Curve:
        """The rows that hold ``name``, by step; a step logged again after a resume counts once, the last time."""
        if name not in self.table:
            return Curve(steps=np.zeros(0), values=np.zeros(0))
        rows = self.table[["step", name]].dropna().drop_duplicates("step", keep="last").sort_values("step")
        return Curve(steps=rows["step"].to_numpy(np.float64), values=rows[name].to_numpy(np.float64))

    @property
    def steps_per_epoch(self) -> float | None:
        """Optimiser steps in an epoch, None where the log cannot tell.

        The column ``epoch`` does not: where a run is saved within epochs, Lightning counts the stretches between.
        """
        steps = self.curve("val_loss").steps
        if self.validate_every is None or not len(steps):
            return None
        apart = float(np.median(np.diff(steps))) if len(steps) > 1 else float(steps[0] + 1)
        return apart / self.validate_every

    @property
    def num_steps(self) -> int:
        """Optimiser steps made, as far as logged."""
        return int(self.table["step"].max()) + 1


@dataclass(frozen=True, eq=False)
class Examples:
    """Windows kept by ``brainlm evaluate``, in scaled units."""

    signal: Float32[np.ndarray, "E P T"]
    predicted: Float32[np.ndarray, "E P T"]
    hidden: Bool[np.ndarray, "E P T"]
    names: tuple[str, ...]
    conditions: tuple[str, ...]
    tr_s: Float[np.ndarray, "E"]
    baseline: Float32[np.ndarray, "E P T"] | None
    baseline_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """One row a recording: its metadata, and the CLS vector beside it. Rows with non-finite vectors are left out."""

    metadata: pd.DataFrame
    cls: Float[np.ndarray, "N D"]
    num_left_out: int


@dataclass(frozen=True, eq=False)
class ClsAttention:
    """Mean attention of the CLS token to each parcel; ``uniform`` is what equal attention would give."""

    cls: Float[np.ndarray, "P"]
    uniform: float


@dataclass(frozen=True, eq=False)
class RunFolder:
    """All parts of a RUN folder; None where a part is not there. Unfinished studies are named by their folder."""

    path: Path
    provenance: Mapping[str, Any] | None
    config: str | None
    parcels: Parcels | None
    atlas: Path | None
    log: TrainingLog | None
    evaluation: Evaluation | None
    examples: Examples | None
    embeddings: Embeddings | None
    attention: ClsAttention | None
    studies: tuple[Study, ...] = ()
    unfinished_studies: tuple[str, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    attention_studies: tuple[AttentionStudy, ...] = ()
    network_studies: tuple[NetworkStudy, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> RunFolder:
        """The parts found in ``path``.

        Raises:
            DataError: no such folder, a folder without any part, a damaged part, or parts that do not fit together.
        """
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"no run folder at {path}", remedy="give the folder that `brainlm pretrain --out` wrote")
        parts = {name: _read(path, name) for name in PARTS}
        studies: dict[str, Any] = {
            "studies": read_studies(path),
            "forecasts": read_forecasts(path),
            "attention_studies": read_attention_studies(path),
            "network_studies": read_network_studies(path),
        }
        if all(part is None for part in parts.values()) and not any(studies.values()):
            raise DataError(
                f"{path} is not a run folder",
                expected=", ".join(file for file, _ in PARTS.values()),
                found="none of these files",
                remedy="give the folder that `brainlm pretrain --out` wrote",
            )
        if parts["log"] is not None:
            parts["log"] = _described(parts["log"], parts["provenance"] or {})
        run = cls(path=path, **parts, **studies, unfinished_studies=unfinished_studies(path))
        run._require_same_parcels()
        return run

    @property
    def has_studies(self) -> bool:
        """Whether anything was asked of the model beside filling in what is hidden."""
        return any((self.studies, self.forecasts, self.attention_studies, self.network_studies))

    def missing(self, part: str) -> str:
        """The sentence that says that ``part`` is not there and how to get it."""
        file, remedy = PARTS[part]
        return f"{file} is not in the run folder: {remedy}."

    def _require_same_parcels(self) -> None:
        counts: dict[str, int] = {}
        if self.parcels is not None:
            counts["parcels.tsv"] = len(self.parcels)
        if self.examples is not None:
            counts["examples.npz"] = self.examples.signal.shape[1]
        if self.attention is not None:
            counts["attention.npz"] = len(self.attention.cls)
        for study in self.attention_studies:
            counts[f"attention/{study.folder}"] = len(study.attention_P)
        for networks in self.network_studies:
            counts[f"networks/{networks.folder}"] = len(networks.true_P)
        for condition in self.evaluation.conditions if self.evaluation else ():
            for method in condition.methods:
                if method.r2_per_parcel is not None:
                    counts[f"evaluation.json ({condition.label}, {method.name})"] = len(method.r2_per_parcel)
        if len(set(counts.values())) > 1:
            raise DataError(
                f"the files in {self.path} are about different parcels",
                expected="the same number of parcels in every file",
                found=", ".join(f"{file}: {count}" for file, count in counts.items()),
                remedy="run the verbs that wrote them again with this run's own model and one store",
            )


def _read(run: Path, part: str) -> Any:
    file, remedy = PARTS[part]
    if part == "log":
        return _read_log(run, remedy)
    path = run / file
    if not path.exists():
        return None
    about = result_file(path, remedy)
    with damaged(path, **about):
        return _READERS[part](path, about)


def _read_log(run: Path, remedy: str) -> pd.DataFrame | None:
    # A resumed run may have several; version_10 comes after version_9. An empty file is a run killed at once.
    paths = sorted((run / "logs").glob("**/metrics.csv"), key=lambda path: natural_key(str(path)))
    tables = []
    for path in paths:
        if path.stat().st_size == 0:
            continue
        about = result_file(path, remedy)
        with damaged(path, **about):
            table = read_csv(path, **about)
            if "step" not in table:
                raise KeyError("column 'step'")
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else None


def _described(table: pd.DataFrame, provenance: Mapping[str, Any]) -> TrainingLog:
    training = provenance.get("training")
    every = training.get("validate_every") if isinstance(training, Mapping) else None
    kept = provenance.get("step")
    return TrainingLog(
        table, every if isinstance(every, int) else None, kept if isinstance(kept, int) and kept > 0 else None
    )


def _read_examples(path: Path, about: dict[str, Any]) -> Examples:
    arrays = read_arrays(path, **about).arrays
    signal = arrays["signal"].astype(np.float32)
    num_examples = len(signal)

    def texts(name: str) -> tuple[str, ...]:
        # One text for all examples or one an example.
        values = np.atleast_1d(arrays.get(name, np.array("baseline")))
        return tuple(str(value) for value in np.broadcast_to(values, num_examples))

    baseline = arrays.get("baseline")
    return Examples(
        signal=signal,
        predicted=arrays["predicted"].astype(np.float32),
        hidden=arrays["hidden"].astype(bool),
        names=texts("names"),
        conditions=texts("condition"),
        tr_s=np.broadcast_to(np.atleast_1d(arrays["tr"]).astype(np.float64), num_examples),
        baseline=None if baseline is None else baseline.astype(np.float32),
        baseline_names=texts("baseline_name"),
    )


def _read_embeddings(path: Path, about: dict[str, Any]) -> Embeddings:
    table = read_parquet(path, **about)
    vectors = np.stack([np.asarray(row, dtype=np.float64) for row in table["cls"]])
    finite = np.isfinite(vectors).all(axis=1)
    # A store writes what it does not know as an empty text.
    metadata = table.drop(columns=[name for name in VECTORS if name in table]).replace("", None)
    return Embeddings(
        metadata=metadata.iloc[np.flatnonzero(finite)].reset_index(drop=True),
        cls=vectors[finite],
        num_left_out=int((~finite).sum()),
    )


def _read_attention(path: Path, about: dict[str, Any]) -> ClsAttention:
    arrays = read_arrays(path, **about).arrays
    cls = arrays["cls_P"].astype(np.float64)
    return ClsAttention(cls=cls, uniform=float(arrays.get("uniform_P", 1 / len(cls))))


_READERS = {
    "provenance": lambda path, about: read_json(path, **about),
    "config": lambda path, about: read_text(path, **about),
    "parcels": lambda path, _: Parcels.read(path),
    "atlas": lambda path, _: path,
    "evaluation": lambda path, about: Evaluation.from_json(read_json(path, **about)),
    "examples": _read_examples,
    "embeddings": _read_embeddings,
    "attention": _read_attention,
}
