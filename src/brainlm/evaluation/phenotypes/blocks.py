"""The tables of features that a target is predicted from: of the recordings alone, and of a model's vectors.

How a row of the result is made from one of them is in ``methods.py``. Rows are units, whose recordings are averaged.

Shapes: N units, M of them, R recordings of the store, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from brainlm.baselines.connectome import connectomes
from brainlm.baselines.fold_features import FixedFeatures, FoldFeatures, mean_by_unit
from brainlm.baselines.raw_series import PrincipalFeatures, raw_series
from brainlm.baselines.signal_statistics import signal_statistics
from brainlm.baselines.tangent import Tangent, covariances
from brainlm.data.field_names import columns_of, field_of
from brainlm.data.store import Store
from brainlm.errors import BrainLMError
from brainlm.evaluation.phenotypes.design import Design, check_confounds
from brainlm.evaluation.phenotypes.predictions import Group
from brainlm.evaluation.phenotypes.targets import Cohort
from brainlm.inference.features import Pooling

# Taken as nuisance where the store has columns that mean them, such as AGE_AT_SCAN, unless the user names others.
NUISANCE = ("age", "sex", "site", "mean_fd")
RAW_COMPONENTS = 50

Listener = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Block:
    """A table of features with a name.

    Attributes:
        name: what rows of the result call it.
        group: what kind of evidence it is.
        features: by unit; fitted in the fold where there is something to fit.
        identity: what the features were computed from, beside the store.
        is_adjusted: whether confounds are taken off it; they would leave nothing of the nuisance itself.
        seen: a remark where its model has seen test people in pretraining.
    """

    name: str
    group: Group
    features: FoldFeatures
    identity: str
    is_adjusted: bool = True
    seen: str = ""


def nuisance_columns(cohort: Cohort, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Columns of who and how, not of the brain; those that are the target itself are left out unless named.

    Raises:
        ConfigError: a named column is not there, or is the target.
    """
    target = cohort.target
    if wanted:
        check_confounds(cohort.table, wanted, target=target.name, values_N=target.values_N)
        return tuple(wanted)
    return tuple(
        column
        for meaning in NUISANCE
        for column in columns_of(meaning, cohort.table)
        if meaning != field_of(target.name) and _is_usable(cohort, column)
    )


def _is_usable(cohort: Cohort, column: str) -> bool:
    target = cohort.target
    if cohort.table[column].dropna().nunique() < 2:
        return False
    try:
        check_confounds(cohort.table, [column], target=target.name, values_N=target.values_N)
    except BrainLMError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class NuisanceFeatures:
    """Columns of the cohort's table as numbers; ``FoldFeatures``."""

    table: pd.DataFrame
    columns: tuple[str, ...]

    @property
    def num_units(self) -> int:
        """N."""
        return len(self.table)

    def fit(self, train_M: Int64[np.ndarray, "M"]) -> FittedNuisance:
        """Categories and means of these units."""
        return FittedNuisance(self.table, Design.fit(self.table.iloc[train_M], self.columns))


@dataclass(frozen=True, eq=False)
class FittedNuisance:
    """A fold's encoding of the columns; ``FittedFeatures``."""

    table: pd.DataFrame
    design: Design

    def transform(self, units_M: Int64[np.ndarray, "M"]) -> Float32[np.ndarray, "M F"]:
        """The columns of these units as numbers."""
        return self.design.encode(self.table.iloc[units_M]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RecordingFeatures:
    """What is computed from the recordings once, for all targets and folds: features by recording, not by unit."""

    statistics_RF: Float32[np.ndarray, "R F"]
    correlation_RE: Float32[np.ndarray, "R E"]
    partial_RE: Float32[np.ndarray, "R E"]
    covariances_RPP: Float32[np.ndarray, "R P P"]
    series_RS: Float32[np.ndarray, "R S"]

    @classmethod
    def of(cls, store: Store, *, num_timepoints: int, on_progress: Listener | None = None) -> RecordingFeatures:
        """Of every recording of ``store``; ``num_timepoints`` of the raw series."""
        total, done = 4 * len(store), 0

        def tell(number: int, _: int) -> None:
            if on_progress is not None:
                on_progress(done + number, total)

        statistics = signal_statistics(store, on_progress=tell).values_NF
        done = len(store)
        correlation = connectomes(store, "correlation", on_progress=tell)
        done = 2 * len(store)
        partial = connectomes(store, "partial", on_progress=tell)
        done = 3 * len(store)
        matrices = covariances(store, on_progress=tell)
        return cls(statistics, correlation, partial, matrices, raw_series(store, num_timepoints))

    def blocks(self, cohort: Cohort, *, nuisance: tuple[str, ...], seed: int = 0) -> dict[str, Block]:
        """By short name: nuisance (if there are columns), statistics, correlation, partial, tangent, series."""
        recordings = cohort.recordings

        def fixed(values_RF: np.ndarray) -> FixedFeatures:
            return FixedFeatures(mean_by_unit(values_RF, recordings))

        blocks = {
            "statistics": Block("Signal statistics", "signal", fixed(self.statistics_RF), "statistics"),
            "correlation": Block("Connectivity (correlation)", "connectivity", fixed(self.correlation_RE), "r"),
            "partial": Block("Connectivity (partial)", "connectivity", fixed(self.partial_RE), "partial"),
            "tangent": Block("Connectivity (tangent)", "connectivity", Tangent(self.covariances_RPP, recordings), "t"),
            "series": Block(
                f"Raw series ({RAW_COMPONENTS} components)",
                "signal",
                PrincipalFeatures(mean_by_unit(self.series_RS, recordings), RAW_COMPONENTS, seed=seed),
                f"series {self.series_RS.shape[1]} {RAW_COMPONENTS} {seed}",
            ),
        }
        if nuisance:
            features = NuisanceFeatures(cohort.table, nuisance)
            identity = f"nuisance {nuisance} {_content(cohort.table, nuisance)}"
            name = f"Nuisance ({', '.join(nuisance)})"
            blocks = {"nuisance": Block(name, "nuisance", features, identity, is_adjusted=False)} | blocks
        return blocks


def _content(table: pd.DataFrame, columns: Sequence[str]) -> int:
    return int(pd.util.hash_pandas_object(table[list(columns)].astype(str), index=False).sum())


def vector_blocks(
    name: str, group: Group, by_pooling: Mapping[Pooling, np.ndarray], cohort: Cohort, *, identity: str, seen: str = ""
) -> dict[Pooling, Block]:
    """A model's vectors (a row a recording) by pooling; ``identity`` names weights and scaler."""
    return {
        pooling: Block(
            f"{name} ({pooling})",
            group,
            FixedFeatures(mean_by_unit(vectors_RF, cohort.recordings)),
            f"{identity} {pooling}",
            seen=seen,
        )
        for pooling, vectors_RF in by_pooling.items()
    }
