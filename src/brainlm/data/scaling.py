"""From scanner units to what the model sees: one scaler, fitted on training recordings, applied to whole batches.

The one place where NaN (no signal, padding) becomes ``signal = 0, valid = False``. Where the statistics of a
recording come from is in ``statistics.py``.

Shapes: B batch, P parcels, T time points, N recordings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from brainlm.data.statistics import RecordingStatistics, recording_statistics
from brainlm.data.store import Store
from brainlm.errors import ConfigError, DataError

ScalerKind = Literal["robust", "zscore", "none"]

# Values per parcel that the cohort's quartiles are estimated from. All are used up to here; of more, evenly spaced ones
# along the recordings. Quartiles of 100,000 normal values have a standard error of 0.4 % of the standard deviation; the
# values of 424 parcels fill 170 MB.
MAX_VALUES_PER_PARCEL = 100_000

# Recordings differ in size, and how many there are decides how well the cohort's spread is known, however long they
# are. On ABIDE (908 recordings, CC200) the interquartile range of a parcel that is fitted on 5, 10, 20, 50 of them has
# a standard deviation of 18, 12, 9, 5 % (of one scanner's 184: 10, 7, 6, 3 %). Below 20 it is off by a tenth and more.
FEW_RECORDINGS = 20

logger = logging.getLogger(__name__)


@runtime_checkable
class BatchStatistics(Protocol):
    """Statistics of the recordings of a batch, as tensors of (B, P); see ``TensorStatistics``."""

    @property
    def median(self) -> Tensor: ...
    @property
    def mean(self) -> Tensor: ...
    @property
    def std(self) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """Median, mean and standard deviation over time of each parcel of the recordings of a batch, in original units."""

    median: Float32[Tensor, "B P"]
    mean: Float32[Tensor, "B P"]
    std: Float32[Tensor, "B P"]

    @classmethod
    def from_arrays(cls, statistics: RecordingStatistics) -> TensorStatistics:
        """The same numbers as tensors (copies)."""
        return cls(*(torch.tensor(part) for part in (statistics.median, statistics.mean, statistics.std)))

    @classmethod
    def of(cls, bold_TP: Float32[np.ndarray, "T P"]) -> TensorStatistics:
        """The statistics of one recording that is in no store (B = 1)."""
        return cls.from_arrays(recording_statistics(bold_TP))

    def repeated(self, count: int) -> TensorStatistics:
        """Those of one recording, for each of ``count`` windows of it."""
        return TensorStatistics(*(part.expand(count, -1) for part in (self.median, self.mean, self.std)))

    def to(self, device: torch.device | str) -> TensorStatistics:
        """The same statistics on another device."""
        return TensorStatistics(*(part.to(device) for part in (self.median, self.mean, self.std)))


@dataclass(frozen=True, eq=False)
class ScaledBatch:
    """Scaled windows: ``signal_BPT`` holds no NaN; where ``valid_BPT`` is False it is 0 and means nothing."""

    signal_BPT: Float32[Tensor, "B P T"]
    valid_BPT: Bool[Tensor, "B P T"]


@dataclass(frozen=True, eq=False)
class Scaler:
    """How raw signals become model input.

    - ``robust``: (x − the recording's median − the cohort's median) / the cohort's interquartile range, each per parcel
      (BrainLM, section 2.2; the cohort's are those of the training recordings after their own medians are removed).
    - ``zscore``: (x − the recording's mean) / the recording's standard deviation.
    - ``none``: x.

    A parcel with zero or unknown spread is not valid; nothing is ever divided by an epsilon. All kinds divide by
    ``divisor`` at the end (1 unless the weights were trained otherwise). Weights whose statistics nobody published come
    with a scaler that is not ``fitted``: it must be fitted on recordings before it can be applied.
    """

    kind: ScalerKind
    median_P: Float32[np.ndarray, "P"]
    iqr_P: Float32[np.ndarray, "P"]
    valid_P: Bool[np.ndarray, "P"]
    divisor: float = 1.0
    fitted: bool = True
    _on_device: dict[torch.device, dict[str, Tensor]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def unfitted(cls, num_parcels: int, kind: ScalerKind = "robust", *, divisor: float = 1.0) -> Scaler:
        """What is known of the scaling before any recordings are: kind and divisor."""
        zeros, ones = np.zeros(num_parcels, np.float32), np.ones(num_parcels, np.float32)
        return cls(kind, zeros, ones, np.ones(num_parcels, bool), divisor=divisor, fitted=kind != "robust")

    @classmethod
    def fit(
        cls, store: Store, kind: ScalerKind = "robust", *, allow_any_split: bool = False, divisor: float = 1.0
    ) -> Scaler:
        """The scaler of a store's training recordings.

        Args:
            store: usually ``store.select(split="train")``.
            kind: see the class.
            allow_any_split: accept recordings that are not for training (a store that is analysed as a whole).
            divisor: see the class.

        Raises:
            DataError: the store is empty, holds other splits, or (robust) no parcel has any spread.
        """
        _check_fit(store, allow_any_split=allow_any_split)
        if kind != "robust":
            return cls.unfitted(store.num_parcels, kind, divisor=divisor)
        centred = ((store.bold(index), median_P) for index, median_P in enumerate(store.statistics.median))
        return cls._robust(centred, store.num_timepoints.tolist(), divisor, num_parcels=store.num_parcels)

    @classmethod
    def fit_recordings(
        cls, recordings: Sequence[np.ndarray], kind: ScalerKind = "robust", *, divisor: float = 1.0
    ) -> Scaler:
        """The scaler of recordings that are in no store, each (T, P) in original units.

        Raises:
            DataError: there are none, they differ in their number of parcels, or (robust) no parcel has any spread.
        """
        if len({bold_TP.shape[1] for bold_TP in recordings}) != 1:
            raise DataError(
                "a scaler cannot be fitted on these recordings",
                expected="one or more, all of the same parcels",
                found=", ".join(sorted({f"{bold_TP.shape[1]} parcels" for bold_TP in recordings})) or "none",
            )
        lengths = [len(bold_TP) for bold_TP in recordings]
        return cls.fit_one_by_one(recordings, lengths, kind, num_parcels=recordings[0].shape[1], divisor=divisor)

    @classmethod
    def fit_one_by_one(
        cls,
        recordings: Iterable[np.ndarray],
        lengths: Sequence[int],
        kind: ScalerKind = "robust",
        *,
        num_parcels: int,
        divisor: float = 1.0,
    ) -> Scaler:
        """The scaler of recordings that are made one after the other, and need not be in memory together.

        Args:
            recordings: each (T, P) in original units; gone through once.
            lengths: T of each.
            kind: see the class.
            num_parcels: P.
            divisor: see the class.

        Raises:
            DataError: (robust) no parcel has any spread.
        """
        if kind != "robust":
            return cls.unfitted(num_parcels, kind, divisor=divisor)
        whole = (np.asarray(bold_TP, np.float32) for bold_TP in recordings)
        centred = ((bold_TP, recording_statistics(bold_TP).median[0]) for bold_TP in whole)
        return cls._robust(centred, lengths, divisor, num_parcels=num_parcels)

    @classmethod
    def _robust(
        cls,
        recordings: Iterable[tuple[np.ndarray, np.ndarray]],
        lengths: Sequence[int],
        divisor: float,
        *,
        num_parcels: int,
    ) -> Scaler:
        pooled_PK = _pooled_values(recordings, lengths, num_parcels=num_parcels)
        low_P, median_P, high_P = _quantiles(pooled_PK, (0.25, 0.5, 0.75))
        iqr_P = high_P - low_P
        valid_P = np.isfinite(iqr_P) & (iqr_P > 0)
        if not valid_P.any():
            raise DataError(
                "no parcel varies in the training recordings",
                expected="a positive interquartile range in at least one parcel",
                found=f"zero or no signal in all {len(iqr_P)} parcels of {len(lengths)} recordings",
                remedy="check the recordings with `brainlm inspect`, or use scaler zscore",
            )
        return cls("robust", np.where(valid_P, median_P, 0), np.where(valid_P, iqr_P, 1), valid_P, divisor=divisor)

    def apply(self, raw_BPT: Float32[Tensor, "B P T"], statistics: BatchStatistics) -> ScaledBatch:
        """The windows in the model's units, on their own device.

        Args:
            raw_BPT: original units; NaN where there is no signal or padding.
            statistics: of the whole recordings that the windows come from.

        Raises:
            ConfigError: the scaler was never fitted.
        """
        if not self.fitted:
            raise ConfigError(
                "how recordings are scaled for these weights is not known",
                expected="each parcel's median and interquartile range over a cohort",
                found="none: they were not published with the weights",
                remedy="fit them on your own recordings: model.fit_scaler(store), or let `brainlm embed` do it",
            )
        own = self._tensors(raw_BPT.device)
        if self.kind == "robust":
            # Differs from the authors' code, where operator precedence divides the median instead of the difference.
            scaled_BPT = raw_BPT - statistics.median[:, :, None]
            scaled_BPT = scaled_BPT.sub_(own["median_P"][:, None]).div_(own["iqr_P"][:, None])
        elif self.kind == "zscore":
            # A deviation of zero gives NaN or infinity here, and so is not valid.
            scaled_BPT = (raw_BPT - statistics.mean[:, :, None]).div_(statistics.std[:, :, None])
        else:
            scaled_BPT = raw_BPT.clone()
        if self.divisor != 1.0:
            scaled_BPT = scaled_BPT.div_(self.divisor)
        valid_BPT = torch.isfinite(scaled_BPT) & own["valid_P"][:, None]
        return ScaledBatch(scaled_BPT.masked_fill_(~valid_BPT, 0.0), valid_BPT)

    def restore(self, signal_BPT: Float32[Tensor, "B P T"], statistics: BatchStatistics) -> Float32[Tensor, "B P T"]:
        """Scaled values (a prediction, say) back in original units; meaningless where not valid."""
        own = self._tensors(signal_BPT.device)
        signal_BPT = signal_BPT * self.divisor
        if self.kind == "robust":
            centred_BPT = signal_BPT * own["iqr_P"][:, None] + own["median_P"][:, None]
            return centred_BPT + statistics.median[:, :, None]
        if self.kind == "zscore":
            return signal_BPT * statistics.std[:, :, None] + statistics.mean[:, :, None]
        return signal_BPT

    def to_tensors(self) -> dict[str, Tensor]:
        """The arrays that ``scaler.safetensors`` holds; ``to_metadata`` is what stands beside them."""
        return {
            "median_P": torch.tensor(self.median_P),
            "iqr_P": torch.tensor(self.iqr_P),
            "valid_P": torch.tensor(self.valid_P),
            "divisor": torch.tensor([self.divisor], dtype=torch.float64),
            "fitted": torch.tensor([self.fitted]),
        }

    def to_metadata(self) -> dict[str, str]:
        """What ``scaler.safetensors`` says of the arrays."""
        # One entry: safetensors writes several in an order that differs from run to run.
        return {"kind": self.kind}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> Scaler:
        """The scaler that ``to_tensors`` and ``to_metadata`` were called on.

        Raises:
            ValueError: the metadata are not a scaler's.
            KeyError: an array is missing.
        """
        kind, divisor = metadata.get("kind", "none of our kinds"), float(tensors.get("divisor", 1.0))
        if kind not in get_args(ScalerKind) or not 0 < divisor < np.inf:
            raise ValueError(f"kind {kind!r}, divisor {divisor}; expected one of {', '.join(get_args(ScalerKind))}")
        median_P, iqr_P, valid_P = (tensors[name].cpu().numpy().copy() for name in ("median_P", "iqr_P", "valid_P"))
        fitted = bool(tensors.get("fitted", True))
        return cls(cast(ScalerKind, kind), median_P, iqr_P, valid_P, divisor=divisor, fitted=fitted)

    def _tensors(self, device: torch.device) -> dict[str, Tensor]:
        # Copied to each device once: a copy per batch would make the device wait for the host.
        if device not in self._on_device:
            self._on_device[device] = {name: value.to(device) for name, value in self.to_tensors().items()}
        return self._on_device[device]


def scaled_recording(store: Store, recording: int, scaler: Scaler) -> ScaledBatch:
    """A whole recording of ``store`` in the scaler's units, as a batch of one window."""
    raw_BPT = torch.from_numpy(np.array(store.bold(recording), dtype=np.float32)).T[None]
    return scaler.apply(raw_BPT, TensorStatistics.from_arrays(store.statistics_of([recording])))


def warn_of_few(num_recordings: int, kind: ScalerKind) -> None:
    """Warn if weights that exist already get a scaler fitted on so few recordings that its statistics are theirs.

    In pretraining this is no question: there the weights adapt to whatever the scaler is.
    """
    if kind == "robust" and num_recordings < FEW_RECORDINGS:
        logger.warning(
            "the scaling is fitted on %d recording%s only: fewer than %d say little about the spread of a parcel in "
            "other people (it is off by a tenth and more), and every result changes with them; fit it once on more, "
            "and keep it with model.save_pretrained(...)",
            num_recordings,
            "" if num_recordings == 1 else "s",
            FEW_RECORDINGS,
        )


def _check_fit(store: Store, *, allow_any_split: bool) -> None:
    if len(store) == 0:
        raise DataError("a scaler cannot be fitted on no recordings", remedy="check the selection of the store")
    splits = sorted(set(store.metadata["split"]) - {"train"})
    if splits and not allow_any_split:
        raise DataError(
            "a scaler is fitted on training recordings only",
            expected='recordings whose split is "train"',
            found=f"also {', '.join(splits)}",
            remedy='use store.select(split="train"), or pass allow_any_split=True where nothing is held out',
        )


def _pooled_values(
    recordings: Iterable[tuple[np.ndarray, np.ndarray]], lengths: Sequence[int], *, num_parcels: int
) -> Float32[np.ndarray, "P K"]:
    """The values of recordings minus their medians, all behind one another; evenly thinned if too many.

    Each recording comes with its median, and is let go as soon as the next one is there.
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    num_values = min(total, MAX_VALUES_PER_PARCEL)
    positions = ((2 * np.arange(num_values) + 1) * total) // (2 * num_values)
    first_of = np.searchsorted(positions, np.concatenate([[0], ends]))
    pooled_KP = np.empty((num_values, num_parcels), np.float32)
    for index, (bold_TP, median_P) in enumerate(recordings):
        assert len(bold_TP) == lengths[index], (index, len(bold_TP), lengths[index])
        chosen = slice(first_of[index], first_of[index + 1])
        times = positions[chosen] - (ends[index] - len(bold_TP))
        np.subtract(bold_TP[times], median_P, out=pooled_KP[chosen], dtype=np.float32)
    return np.ascontiguousarray(pooled_KP.T)


def _quantiles(values_PK: Float32[np.ndarray, "P K"], levels: tuple[float, ...]) -> list[np.ndarray]:
    """Quantiles of each parcel's finite values, interpolated as in ``numpy.nanquantile``; NaN where there are none.

    Sorts in place and reads off: numpy's own NaN-aware quantile loops over parcels in Python.
    """
    values_PK.sort(axis=1)  # NaN goes last
    num_finite_P = np.isfinite(values_PK).sum(axis=1)
    last_P = np.maximum(num_finite_P - 1, 0)
    parcels = np.arange(len(values_PK))
    quantiles = []
    for level in levels:
        position_P = level * last_P
        below_P = np.floor(position_P).astype(np.int64)
        low_P = values_PK[parcels, below_P].astype(np.float64)
        high_P = values_PK[parcels, np.minimum(below_P + 1, last_P)]
        quantiles.append((low_P + (high_P - low_P) * (position_P - below_P)).astype(np.float32))
    return quantiles
