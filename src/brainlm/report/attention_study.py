"""One study of attention as frozen objects: the maps, what speaks for and against them, and a contrast.

The numbers are computed in ``brainlm.evaluation.attention`` and read by ``attention_study_file.py``. What was not
computed is None, or an empty tuple. Shapes: P parcels, L layers, H heads, G lags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.evaluation.statistics import SIGNIFICANT, Interval


@dataclass(frozen=True)
class NetworkAttention:
    """Mean attention of a network's parcels relative to the uniform level, and its contrast (NaN: none)."""

    name: str
    num_parcels: int
    relative: Interval
    t: float
    p: float
    q: float


@dataclass(frozen=True, eq=False)
class LagCurves:
    """Attention between patches by how many patches later the attended one lies; ``patch_s`` NaN where not known."""

    patch_s: float
    lag_G: Float[np.ndarray, "G"]
    curves: Mapping[str, Float[np.ndarray, "G"]]


@dataclass(frozen=True)
class DeletionCurves:
    """A change at each share of parcels when the most, the least attended or random ones are taken."""

    curves: Mapping[str, tuple[Interval, ...]]
    most_minus_random: Interval | None
    most_minus_least: Interval | None = None


@dataclass(frozen=True)
class Confound:
    """Something else in which the two levels of a contrast may differ."""

    column: str
    p: float
    sentence: str


@dataclass(frozen=True, eq=False)
class AttentionContrast:
    """The first level minus the second, tested in every parcel by permutation over subjects.

    ``num_subjects`` are those of the two levels; paired ones are the same subjects.
    """

    column: str
    levels: tuple[str, str]
    kind: str
    num_subjects: tuple[int, int]
    num_left_out: int
    t_P: Float[np.ndarray, "P"]
    p_P: Float[np.ndarray, "P"]
    q_P: Float[np.ndarray, "P"]
    p_fwe_P: Float[np.ndarray, "P"] | None
    difference_P: Float[np.ndarray, "P"]
    amplitude_r: Interval | None
    confounds: tuple[Confound, ...]
    num_permutations: int

    @property
    def is_significant_P(self) -> np.ndarray:  # noqa: N802 - shape suffix
        """Parcels whose adjusted p is below .05."""
        return np.nan_to_num(self.q_P, nan=1.0) <= SIGNIFICANT

    @property
    def smallest_q(self) -> float:
        """Over parcels; NaN where none was tested."""
        finite = self.q_P[np.isfinite(self.q_P)]
        return float(finite.min()) if len(finite) else float("nan")

    @property
    def is_paired(self) -> bool:
        """Whether the same subjects are in both levels."""
        return self.kind == "paired"


@dataclass(frozen=True, eq=False)
class AttentionStudy:
    """Everything `brainlm attention` wrote about one choice of layer, head, recordings and contrast.

    Attention is a share of all a token pays; ``uniform`` is the share of a parcel if it were paid equally.
    """

    folder: str
    what: str
    uniform: float
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    num_subjects: int | None
    num_recordings: int | None
    attention_P: Float[np.ndarray, "P"]
    low_P: Float[np.ndarray, "P"] | None
    high_P: Float[np.ndarray, "P"] | None
    rollout_P: Float[np.ndarray, "P"] | None
    attribution_P: Float[np.ndarray, "P"] | None
    patch_P: Float[np.ndarray, "P"] | None
    heads_LHP: Float[np.ndarray, "L H P"] | None
    lags: LagCurves | None
    networks: tuple[NetworkAttention, ...]
    sanity: Mapping[str, Interval]
    shares: tuple[float, ...]
    deletion: Mapping[str, DeletionCurves]
    contrast: AttentionContrast | None
    files: tuple[str, ...]
    conclusion: str
    notes: tuple[str, ...]

    @property
    def relative_P(self) -> Float[np.ndarray, "P"]:  # noqa: N802 - shape suffix
        """Attention as a multiple of the uniform level."""
        return self.attention_P / self.uniform

    @property
    def network_column(self) -> str | None:
        """The column of the parcels table by which the study sums up, where recorded."""
        found = self.settings.get("networks") or self.facts.get("networks")
        return str(found) if found else None

    @property
    def confidence_percent(self) -> str:
        """The level of every interval, as text: ``95 %``."""
        return f"{100 * float(self.settings.get('confidence') or 0.95):g} %"

    @property
    def has_intervals(self) -> bool:
        """Whether there were enough subjects to resample."""
        return self.low_P is not None and bool(np.isfinite(self.low_P).any())
