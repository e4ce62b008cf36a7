"""The future of each parcel from its own past: an autoregressive model per parcel, of one order for all.

Fitted to training recordings by the Yule-Walker equations; fills in hidden ends of windows, and forecasts. What other
parcels could add is left to ``space_time.py`` and ``var.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from torch.nn import functional as F

from brainlm.baselines.forecaster import Group
from brainlm.baselines.interpolation import nearest_visible
from brainlm.baselines.last_known import context_mean
from brainlm.baselines.moments import Moments
from brainlm.baselines.predictor import MaskedBatch

# Time points. Long orders gain from scaling that centres each recording: what lies above its mean is followed by less.
MAX_ORDER = 30

Centre = Literal["population", "context"]


@dataclass(frozen=True, eq=False)
class Autoregressive:
    """x_t = mean + sum_k a_k (x_(t-k) - mean) + noise, for each parcel; order 0 is the mean.

    Predicts the hidden run at the end of a window step by step from the last visible points; before that run, and for
    past values that are hidden or not valid, it takes the mean.

    Args:
        mean_P: the mean of each parcel.
        coefficients_PK: a_1 ... a_K of each parcel.
    """

    mean_P: Float[Tensor, "P"]
    coefficients_PK: Float[Tensor, "P K"]
    mask_kinds: frozenset[str] = frozenset({"future"})

    @classmethod
    def fit(
        cls, moments: Moments, *, criterion: Literal["bic", "aic"] = "bic", max_order: int = MAX_ORDER
    ) -> Autoregressive:
        """The model of the order, from 0 to ``max_order``, that ``criterion`` prefers on the training recordings.

        ``moments`` need autocovariances up to lag ``max_order``. The criterion is Gaussian and summed over parcels:
        sum_P n_P log(noise variance) + penalty x order, with penalty log(n_P) (BIC) or 2 (AIC).
        """
        max_order = min(max_order, moments.autocovariance_PL.shape[1] - 1)
        fits = [yule_walker(moments.autocovariance_PL, order) for order in range(max_order + 1)]
        known_P = moments.num_points_P > 0
        points_P = moments.num_points_P[known_P]
        penalty = float(points_P.log().sum()) if criterion == "bic" else 2.0 * len(points_P)
        misfits = [float((points_P * fit.noise_P[known_P].log()).sum()) for fit in fits]
        scores = [misfit + penalty * order for order, misfit in enumerate(misfits)]
        best = min(range(len(fits)), key=scores.__getitem__)
        return cls(moments.mean_P.float(), fits[best].coefficients_PK.float())

    @property
    def order(self) -> int:
        """K, how many time points back it looks."""
        return self.coefficients_PK.shape[1]

    @property
    def name(self) -> str:
        """``AR(order)``."""
        return f"AR({self.order})"

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """The forecast where nothing later is visible, the mean elsewhere."""
        device = batch.signal_BPT.device
        mean_P1 = self.mean_P.to(device)[:, None]
        visible_BPT = batch.visible
        num_timepoints = visible_BPT.shape[2]
        last_BP1 = nearest_visible(visible_BPT).left_BPT[:, :, -1:]
        past_BPK = last_BP1 - torch.arange(self.order, device=device)  # newest first
        centred_BPT = (batch.signal_BPT - mean_P1).masked_fill(~visible_BPT, 0.0)
        history_BPK = centred_BPT.gather(2, past_BPK.clamp_min(0)) * (past_BPK >= 0)
        num_steps = num_timepoints - 1 - int(last_BP1.min())
        if num_steps == 0:
            return mean_P1.expand_as(centred_BPT)
        forecast_BPS = self._from_history(history_BPK, num_steps)
        step_BPT = torch.arange(num_timepoints, device=device) - last_BP1 - 1
        ahead_BPT = forecast_BPS.gather(2, step_BPT.clamp(0, num_steps - 1)) * (step_BPT >= 0)
        return ahead_BPT + mean_P1

    def continued(self, centred_BPT: Float[Tensor, "B P T"], horizon: int) -> Float[Tensor, "B P {horizon}"]:
        """The deviations from the mean that follow these, which end where the horizon begins; zeros come before."""
        past_BPT = centred_BPT[:, :, max(centred_BPT.shape[2] - self.order, 0) :]
        history_BPK = F.pad(past_BPT.flip(2), (0, self.order - past_BPT.shape[2]))
        return self._from_history(history_BPK, horizon)

    def _from_history(self, history_BPK: Float[Tensor, "B P K"], num_steps: int) -> Float[Tensor, "B P {num_steps}"]:
        """What follows, step by step; the history has the newest first."""
        coefficients_PK = self.coefficients_PK.to(history_BPK.device)
        steps = []
        for _ in range(num_steps):
            step_BP = (history_BPK * coefficients_PK).sum(dim=2)
            history_BPK = torch.cat([step_BP[:, :, None], history_BPK], dim=2)[:, :, : self.order]
            steps.append(step_BP)
        return torch.stack(steps, dim=2)


@dataclass(frozen=True, eq=False)
class AutoregressiveForecaster:
    """The same model as a ``Forecaster``.

    Args:
        model: of each parcel.
        centre: what deviations are from: a context differs from its recording in its mean.
        tuned, seconds: see ``Forecaster``.
    """

    model: Autoregressive
    centre: Centre = "population"
    group: Group = "linear"
    tuned: str = ""
    seconds: float | None = None

    @property
    def name(self) -> str:
        """``AR(order)``."""
        return self.model.name

    def predict(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"], horizon: int
    ) -> Float[Tensor, "B P {horizon}"]:
        """The conditional mean, step by step; what is not valid counts as the centre."""
        centre_BP1 = centre_of(self.centre, self.model.mean_P, context_BPT, valid_BPT)
        centred_BPT = (context_BPT - centre_BP1).masked_fill(~valid_BPT, 0.0)
        return self.model.continued(centred_BPT, horizon) + centre_BP1


def centre_of(
    centre: Centre, mean_P: Float[Tensor, "P"], context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]
) -> Float[Tensor, "B P 1"]:
    """What each parcel returns to: the population's mean, or that of its context."""
    if centre == "context":
        return context_mean(context_BPT, valid_BPT)
    return mean_P.to(context_BPT.device)[None, :, None].expand(len(context_BPT), -1, 1)


@dataclass(frozen=True, eq=False)
class YuleWalker:
    """The coefficients of an autoregressive model of each parcel, and the variance of its noise."""

    coefficients_PK: Float64[Tensor, "P K"]
    noise_P: Float64[Tensor, "P"]


def yule_walker(autocovariance_PL: Float64[Tensor, "P L"], order: int) -> YuleWalker:
    """The models of one order with these autocovariances, all parcels at once.

    A parcel that is constant or unknown (no variance) has coefficients 0 and noise variance 0.
    """
    variance_P = autocovariance_PL[:, 0]
    known_P = variance_P > 0
    correlation_PL = torch.where(known_P[:, None], autocovariance_PL / variance_P[:, None], 0.0)
    correlation_PL[~known_P, 0] = 1.0
    lag_K = torch.arange(order)
    toeplitz_PKK = correlation_PL[:, (lag_K[:, None] - lag_K).abs()]
    target_PK = correlation_PL[:, 1 : order + 1]
    # Cholesky factors, not LU: torch 2.13's batched LU fails on the CPU with several threads.
    coefficients_PK = torch.cholesky_solve(target_PK[:, :, None], torch.linalg.cholesky(toeplitz_PKK)).squeeze(2)
    return YuleWalker(coefficients_PK, variance_P * (1 - (coefficients_PK * target_PK).sum(dim=1)))
