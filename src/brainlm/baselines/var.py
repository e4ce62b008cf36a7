"""A linear forecast that knows all parcels: a vector autoregression on principal components, with ridge penalty.

What lies outside the components is continued parcel by parcel (``autoregressive.py``), or taken to be 0. Which settings
are best is found elsewhere, on validation windows.

Shapes: B batch, P parcels, T time points of the context, H of the horizon, D components, K time points back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from brainlm.baselines.autoregressive import Autoregressive, Centre, centre_of
from brainlm.baselines.forecaster import Group
from brainlm.baselines.moments import Moments
from brainlm.data.scaling import ScaledBatch


@dataclass(frozen=True, eq=False)
class LaggedComponents:
    """How the principal components of training recordings go together over time.

    Attributes:
        mean_P: of the parcels.
        axes_PD: orthonormal, those of the largest variance first.
        covariance_KDD: E[z_t z_(t-k)'] of the components z for lags k from 0 on, with the divisor of lag 0, which
            makes every model fitted to them stable.
    """

    mean_P: Float64[Tensor, "P"]
    axes_PD: Float64[Tensor, "P D"]
    covariance_KDD: Float64[Tensor, "K D D"]

    @classmethod
    def of(
        cls, recordings: Iterable[ScaledBatch], moments: Moments, *, max_components: int, max_order: int
    ) -> LaggedComponents:
        """One pass over the recordings whose ``moments`` give mean and axes; what is not valid counts as the mean.

        Args:
            recordings: the training recordings.
            moments: of the same ones.
            max_components: at most so many axes.
            max_order: the longest lag.
        """
        _, vectors_PP = torch.linalg.eigh(moments.covariance_PP)
        axes_PD = vectors_PP.flip(1)[:, :max_components].contiguous()
        num_axes = axes_PD.shape[1]
        sums_KDD = torch.zeros(max_order + 1, num_axes, num_axes, dtype=torch.float64)
        count = 0
        for batch in recordings:
            for signal_PT, valid_PT in zip(batch.signal_BPT.cpu(), batch.valid_BPT.cpu(), strict=True):
                centred_PT = (signal_PT.double() - moments.mean_P[:, None]).masked_fill(~valid_PT, 0.0)
                scores_DT = axes_PD.T @ centred_PT
                count += scores_DT.shape[1]
                for lag in range(min(max_order + 1, scores_DT.shape[1])):
                    sums_KDD[lag] += scores_DT[:, lag:] @ scores_DT[:, : scores_DT.shape[1] - lag].T
        return cls(moments.mean_P, axes_PD, sums_KDD / max(count, 1))

    def coefficients(self, num_components: int, order: int, ridge: float) -> Float64[Tensor, "K D D"]:
        """The matrices A_1 ... A_K of z_t = sum_k A_k z_(t-k) + noise, on the first components.

        The multivariate Yule-Walker equations (Luetkepohl 2005, New Introduction to Multiple Time Series Analysis,
        section 3.3.4) with a ridge: ``ridge`` times the mean variance of the components is added to the diagonal.
        """
        covariance_KDD = self.covariance_KDD[: order + 1, :num_components, :num_components]
        rows = []
        for i in range(order):
            blocks = [covariance_KDD[j - i] if j >= i else covariance_KDD[i - j].T for j in range(order)]
            rows.append(torch.cat(blocks, dim=1))
        gram = torch.cat(rows, dim=0)
        gram.diagonal().add_(ridge * covariance_KDD[0].diagonal().mean())
        target = torch.cat([covariance_KDD[lag].T for lag in range(1, order + 1)], dim=0)
        solved = torch.cholesky_solve(target, torch.linalg.cholesky(gram))
        return solved.T.reshape(num_components, order, num_components).transpose(0, 1).contiguous()


@dataclass(frozen=True, eq=False)
class ComponentForecaster:
    """x = centre + axes z + rest: z by a vector autoregression, the rest by each parcel's own model.

    Args:
        axes_PD: orthonormal.
        coefficients_KDD: A_1 ... A_K of the components.
        rest: continues what lies outside the components; None takes it to be 0.
        mean_P: the parcels' means in the training recordings.
        centre: what is taken off before and added after.
        tuned, seconds: see ``Forecaster``.
    """

    axes_PD: Float[Tensor, "P D"]
    coefficients_KDD: Float[Tensor, "K D D"]
    rest: Autoregressive | None
    mean_P: Float[Tensor, "P"]
    centre: Centre = "population"
    group: Group = "linear"
    tuned: str = ""
    seconds: float | None = None

    @property
    def name(self) -> str:
        """``VAR(order) on D components``."""
        return f"VAR({len(self.coefficients_KDD)}) on {self.axes_PD.shape[1]} components"

    def predict(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"], horizon: int
    ) -> Float[Tensor, "B P {horizon}"]:
        """The conditional mean, step by step; what is not valid counts as the centre."""
        device = context_BPT.device
        axes_PD = self.axes_PD.to(device)
        centre_BP1 = centre_of(self.centre, self.mean_P, context_BPT, valid_BPT)
        centred_BPT = (context_BPT - centre_BP1).masked_fill(~valid_BPT, 0.0)
        scores_BDT = axes_PD.T @ centred_BPT
        ahead_BPH = axes_PD @ self._continued(scores_BDT, horizon)
        if self.rest is not None:
            ahead_BPH = ahead_BPH + self.rest.continued(centred_BPT - axes_PD @ scores_BDT, horizon)
        return ahead_BPH + centre_BP1

    def _continued(self, scores_BDT: Float[Tensor, "B D T"], horizon: int) -> Float[Tensor, "B D {horizon}"]:
        matrix = self.coefficients_KDD.to(scores_BDT.device).permute(1, 0, 2).flatten(1)  # (D, K D), newest first
        order = len(self.coefficients_KDD)
        past = [scores_BDT[:, :, -1 - lag] for lag in range(min(order, scores_BDT.shape[2]))]
        past += [torch.zeros_like(scores_BDT[:, :, 0])] * (order - len(past))
        steps = []
        for _ in range(horizon):
            steps.append(torch.cat(past, dim=1) @ matrix.T)
            past = [steps[-1], *past[:-1]]
        return torch.stack(steps, dim=2)
