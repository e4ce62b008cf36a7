"""What the best linear forecast of each parcel from its own past could reach, given how its values go together in time.

Drawn beside the curves: where it is close to 0 there is little future to forecast. The fitted linear forecasts are in
``linear.py``.

Shapes: P parcels, T time points of a recording, L lags, C time points of the context (newest first), H of the horizon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn import functional as F

from brainlm.baselines.last_known import context_mean
from brainlm.baselines.moments import lagged_products
from brainlm.data.scaling import ScaledBatch, scaled_recording
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows

# Share of the variance taken to be white noise, so that covariances of filtered series can be inverted.
NOISE_SHARE = 1e-6

ASSUMPTION = (
    "The best of all linear forecasts of a parcel from {context} points of its own past, whose mean is not known, for "
    "stationary series that go together in time as the judged recordings do on average. It is fitted to what it "
    "judges, so it errs on the high side; methods that use other parcels, adapt to the person or are not linear may "
    "exceed it."
)


@dataclass(frozen=True, eq=False)
class Ceiling:
    """R2 at each step and over all steps, and what it rests on."""

    r2_H: Float64[np.ndarray, "H"]
    r2: float
    assumption: str


def linear_ceiling(windows: JudgedWindows) -> Ceiling:
    """The ceiling of the recordings that have a judged window, from their whole lengths."""
    contexts = windows.windows
    positions, num_windows = np.unique(windows.fixed.recording, return_counts=True)
    variogram = variogram_of(
        (scaled_recording(contexts.store, int(one), contexts.scaler) for one in positions),
        num_windows.tolist(),
        num_lags=contexts.context + contexts.horizon,
        num_parcels=contexts.store.num_parcels,
    )
    known_P = variogram.semivariance_PL[:, -1] > 0
    semivariance_PL = variogram.semivariance_PL[known_P]
    error_PH = error_variance(semivariance_PL, context=contexts.context, horizon=contexts.horizon)
    if contexts.scaler.kind == "none":
        total_PH = variogram.variance_P[known_P, None].expand_as(error_PH)
    else:
        total_PH = centred_variance(semivariance_PL, context=contexts.context, horizon=contexts.horizon)
        total_PH = total_PH + _variance_of_means(windows)[known_P, None]
    weights_P1 = variogram.weight_P[known_P, None]
    error_H, total_H = (weights_P1 * error_PH).sum(dim=0), (weights_P1 * total_PH).sum(dim=0)
    return Ceiling(
        r2_H=(1 - error_H / total_H).numpy(),
        r2=float(1 - error_H.sum() / total_H.sum()),
        assumption=ASSUMPTION.format(context=contexts.context),
    )


def _variance_of_means(windows: JudgedWindows) -> Float64[Tensor, "P"]:
    """The variance of the scaled contexts' means: 0 where scaling takes off the mean, but not where the median.

    A method knows that difference, and returning to the mean earns it that much.
    """
    total_P, count_P = torch.zeros(2, windows.windows.store.num_parcels, dtype=torch.float64)
    squares_P = torch.zeros_like(total_P)
    for batch in windows.batches():
        mean_BP = context_mean(batch.context_BPT, batch.context_valid_BPT).squeeze(2).double().cpu()
        count_P += batch.context_valid_BPT.any(dim=2).sum(dim=0).cpu()
        total_P += mean_BP.sum(dim=0)
        squares_P += mean_BP.square().sum(dim=0)
    # R2 is about one mean of all parcels.
    return squares_P / count_P.clamp(min=1) - (total_P.sum() / count_P.sum()).square()


@dataclass(frozen=True, eq=False)
class Variogram:
    """Half the mean squared difference of values k points apart, k from 0 on; pooled variance, and weight.

    Unlike autocovariances about each recording's own mean, it is not biased by how short recordings are. But a process
    that has it may not exist, as happens with filtered series, whose spectra are 0 almost everywhere. For such parcels
    it is the autocovariance at lag 0 minus that at lag k of the recordings under a Hann window, for which one always
    does; the window keeps power from leaking into where a filter left none (Dahlhaus 1988, Annals of Statistics 16).
    """

    semivariance_PL: Float64[Tensor, "P L"]
    variance_P: Float64[Tensor, "P"]
    weight_P: Float64[Tensor, "P"]


def variogram_of(
    recordings: Iterable[ScaledBatch], weights: Sequence[int], *, num_lags: int, num_parcels: int
) -> Variogram:
    """The mean over recordings; parcels are valid throughout or not at all.

    Args:
        recordings: whole ones, each a batch of its own, none shorter than ``num_lags``.
        weights: what each counts, however long it is, such as its number of windows.
        num_lags: L.
        num_parcels: P.
    """
    squares_PL, pairs_PL, products_PL = torch.zeros(3, num_parcels, num_lags, dtype=torch.float64)
    value_P, square_P = torch.zeros(2, num_parcels, dtype=torch.float64)
    for batch, weight in zip(recordings, weights, strict=True):
        valid_P = batch.valid_BPT[0].all(dim=1)
        values_PT = batch.signal_BPT[0].double().masked_fill(~valid_P[:, None], 0.0)
        length = values_PT.shape[1]
        # Of x_(t+k) - x_t squared and summed: the first length - k squares, the last ones, and twice the products.
        running_PT = values_PT.square().cumsum(dim=1)
        first_PL = running_PT.flip(1)[:, :num_lags]
        last_PL = running_PT[:, -1:] - F.pad(running_PT, (1, 0))[:, :num_lags]
        each = weight / length
        squares_PL += each * (first_PL + last_PL - 2 * lagged_products(values_PT[None])[:, :num_lags])
        pairs_PL += each * valid_P[:, None] * (length - torch.arange(num_lags))
        taper_T = torch.hann_window(length + 2, periodic=False, dtype=torch.float64)[1:-1]
        tapered_PT = (values_PT - values_PT.mean(dim=1, keepdim=True)) * taper_T / taper_T.square().mean().sqrt()
        products_PL += each * lagged_products(tapered_PT[None])[:, :num_lags]
        value_P += each * values_PT.sum(dim=1)
        square_P += each * running_PT[:, -1]
    known_P = pairs_PL[:, -1] > 0
    count_P, count_PL = pairs_PL[:, 0].where(known_P, 1.0), pairs_PL.where(known_P[:, None], 1.0)
    variance_P = square_P / count_P - (value_P / count_P).square()
    semivariance_PL = 0.5 * squares_PL.clamp(min=0) / count_PL
    exists_P = torch.linalg.cholesky_ex(_covariance(semivariance_PL)).info == 0
    assured_PL = (products_PL[:, :1] - products_PL) / count_P[:, None]
    return Variogram(semivariance_PL.where(exists_P[:, None], assured_PL), variance_P, pairs_PL[:, 0])


def _covariance(semivariance_PL: Float64[Tensor, "P L"]) -> Float64[Tensor, "P L-1 L-1"]:
    """The covariance of x_a - x_0 and x_b - x_0 for lags a and b from 1 on: v(a) + v(b) - v(a - b).

    Cressie (1993), Statistics for Spatial Data, section 3.2. With a little noise.
    """
    lags = torch.arange(1, semivariance_PL.shape[1])
    back = semivariance_PL[:, 1:]
    covariance = back[:, :, None] + back[:, None] - semivariance_PL[:, (lags[:, None] - lags).abs()]
    noise_P11 = NOISE_SHARE * semivariance_PL.mean(dim=1)[:, None, None]
    return covariance + noise_P11 * torch.eye(len(lags), dtype=torch.float64)


def error_variance(
    semivariance_PL: Float64[Tensor, "P L"], *, context: int, horizon: int
) -> Float64[Tensor, "P {horizon}"]:
    """The variance of what the best linear forecast with unknown mean leaves (ordinary kriging in time).

    Only differences from the newest value of the context are used, whose covariances the semivariance gives.

    Args:
        semivariance_PL: lags 0 to context + horizon - 1 at least.
        context, horizon: time points.
    """
    if context == 1:
        return 2 * semivariance_PL[:, 1 : horizon + 1]
    back_C = torch.arange(1, context)
    ahead_H = torch.arange(1, horizon + 1)
    back_PC, ahead_PH = semivariance_PL[:, back_C], semivariance_PL[:, ahead_H]
    shared_PCH = back_PC[:, :, None] + ahead_PH[:, None] - semivariance_PL[:, back_C[:, None] + ahead_H]
    solved_PCH = torch.cholesky_solve(shared_PCH, torch.linalg.cholesky(_covariance(semivariance_PL[:, :context])))
    return (2 * ahead_PH - (shared_PCH * solved_PCH).sum(dim=1)).clamp(min=0)


def centred_variance(
    semivariance_PL: Float64[Tensor, "P L"], *, context: int, horizon: int
) -> Float64[Tensor, "P {horizon}"]:
    """The variance of future values that are counted from the mean of their context, at each step."""
    back_C = torch.arange(context)
    apart_PCC = semivariance_PL[:, (back_C[:, None] - back_C).abs()]
    ahead_PCH = semivariance_PL[:, back_C[:, None] + torch.arange(1, horizon + 1)]
    return 2 * ahead_PCH.mean(dim=1) - apart_PCC.mean(dim=(1, 2))[:, None]
