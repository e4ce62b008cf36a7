"""Mean, covariance between parcels and autocovariance in time of training recordings, in one pass over a store.

What the linear baselines are made of; which of it they use is theirs. Accumulated in float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from brainlm.data.scaling import ScaledBatch
from brainlm.errors import DataError


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of scaled recordings over their valid values.

    A parcel that is nowhere valid has mean 0 and is uncorrelated with the rest, with the others' mean variance.
    ``autocovariance_PL[:, k]`` is at a lag of k time points; within recordings, about the population's mean, with
    the divisor of lag 0, which keeps the sequence positive semi-definite.
    """

    mean_P: Float64[Tensor, "P"]
    covariance_PP: Float64[Tensor, "P P"]
    autocovariance_PL: Float64[Tensor, "P L"]
    num_points_P: Float64[Tensor, "P"]

    @property
    def autocorrelation(self) -> Float64[Tensor, "L"]:
        """The mean autocorrelation over parcels, 1 at lag 0."""
        known_P = self.num_points_P > 0
        return (self.autocovariance_PL[known_P] / self.autocovariance_PL[known_P, :1]).mean(dim=0)


def moments_of(recordings: Iterable[ScaledBatch], *, num_lags: int) -> Moments:
    """The moments of all ``recordings``, with autocovariances at lags 0 to ``num_lags - 1``.

    Recordings may come one by one or in batches padded in time with values that are not valid.

    Raises:
        DataError: there are no recordings.
    """
    sums: _Sums | None = None
    for batch in recordings:
        if sums is None:
            sums = _Sums(batch.signal_BPT.shape[1], num_lags)
        sums.add(batch.signal_BPT.cpu(), batch.valid_BPT.cpu())
    if sums is None:
        raise DataError(
            "there are no recordings to fit the baselines to",
            expected="at least one recording in the training split",
            found="none",
            remedy="import recordings, or choose a split rule that leaves some for training",
        )
    return sums.finish()


class _Sums:
    """Running sums, in float64 throughout: unscaled signals around 10,000 exhaust float32."""

    def __init__(self, num_parcels: int, num_lags: int) -> None:
        self.num_lags = num_lags
        self.value_P = torch.zeros(num_parcels, dtype=torch.float64)
        self.count_PP = torch.zeros(num_parcels, num_parcels, dtype=torch.float64)
        self.product_PP = torch.zeros(num_parcels, num_parcels, dtype=torch.float64)
        self.lagged_PL = torch.zeros(num_parcels, num_lags, dtype=torch.float64)
        self.pairs_PL = torch.zeros(num_parcels, num_lags, dtype=torch.float64)

    def add(self, signal_BPT: Tensor, valid_BPT: Tensor) -> None:
        signal_BPT = signal_BPT.double().masked_fill(~valid_BPT, 0.0)
        self.value_P += signal_BPT.sum(dim=(0, 2))
        self.product_PP += _products(signal_BPT)
        num_timepoints = signal_BPT.shape[2]
        lags = min(self.num_lags, num_timepoints)
        self.lagged_PL[:, :lags] += lagged_products(signal_BPT)[:, :lags]
        present_BP1 = valid_BPT[:, :, :1]
        if bool((valid_BPT == present_BP1).all()):  # throughout or not at all: the usual case, and much cheaper
            self.count_PP += num_timepoints * _products(present_BP1.double())
            self.pairs_PL[:, :lags] += present_BP1.sum(dim=0) * (num_timepoints - torch.arange(lags))
        else:
            self.count_PP += _products(valid_BPT.double())
            self.pairs_PL[:, :lags] += lagged_products(valid_BPT.double())[:, :lags]

    def finish(self) -> Moments:
        count_P = self.count_PP.diagonal()
        mean_P = self.value_P / count_P.clamp_min(1)
        covariance_PP = self.product_PP / self.count_PP.clamp_min(1) - mean_P[:, None] * mean_P
        covariance_PP = covariance_PP.masked_fill(self.count_PP == 0, 0.0)
        known_P = count_P > 0
        covariance_PP.diagonal()[~known_P] = covariance_PP.diagonal()[known_P].mean()
        lagged_PL = self.lagged_PL - mean_P.square()[:, None] * self.pairs_PL
        return Moments(mean_P, covariance_PP, lagged_PL / count_P.clamp_min(1)[:, None], count_P.clone())


def _products(values_BPT: Float64[Tensor, "B P T"]) -> Float64[Tensor, "P P"]:
    """Sums over windows and time of the products of each pair of parcels."""
    flat_PN = values_BPT.transpose(0, 1).flatten(1)
    return flat_PN @ flat_PN.T


def lagged_products(values_BPT: Float64[Tensor, "B P T"]) -> Float64[Tensor, "P T"]:
    """Sums over windows and time of the products of each parcel with itself k time points later."""
    num_timepoints = values_BPT.shape[2]
    # Padded to twice the length, the circular correlation of the transform is the plain one.
    spectrum_PF = torch.fft.rfft(values_BPT, n=2 * num_timepoints).abs().square().sum(dim=0)
    return torch.fft.irfft(spectrum_PF, n=2 * num_timepoints)[:, :num_timepoints]
