"""The linear guess that also looks along time: covariance = (between parcels) x (between time points).

The Kronecker product is never formed: its visible part is solved by conjugate gradients, where operator and
preconditioner are two matrix products each. B windows, P parcels, T time points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TOLERANCE = 1e-3  # residual relative to the right-hand side, both in the preconditioner's norm
MAX_ITERATIONS = 400  # 15 to 40 are usual; very smooth signals and few points need more


def temporal_covariance(
    autocorrelation_L: Float[Tensor, "L"], num_timepoints: int, *, noise_share: float
) -> Float[Tensor, "T T"]:
    """The correlation between the time points of a window: Toeplitz, a share of it taken to be white noise.

    Args:
        autocorrelation_L: 1 at lag 0; lags beyond its end count as 0.
        num_timepoints: T.
        noise_share: bounds the condition number where signals are smooth or filtered.
    """
    correlation_T = autocorrelation_L.new_zeros(num_timepoints)
    num_lags = min(num_timepoints, len(autocorrelation_L))
    correlation_T[:num_lags] = autocorrelation_L[:num_lags] * (1 - noise_share)
    correlation_T[0] = 1.0
    time_T = torch.arange(num_timepoints, device=correlation_T.device)
    return correlation_T[(time_T[:, None] - time_T).abs()]


def window_mean(
    covariance: Float[Tensor, "P P"] | Float[Tensor, "B P P"],
    temporal_TT: Float[Tensor, "T T"],
    signal_BPT: Float[Tensor, "B P T"],
    visible_BPT: Bool[Tensor, "B P T"],
) -> Float[Tensor, "B P T"]:
    """E[x | visible x] of zero-mean Gaussian windows; the signal itself where visible.

    In float32 even under autocast.
    """
    with torch.autocast(signal_BPT.device.type, enabled=False):
        seen_BTP = visible_BPT.transpose(1, 2).contiguous()
        signal_BTP = signal_BPT.float().transpose(1, 2).masked_fill(~seen_BTP, 0.0)
        solution = solve_visible(covariance, temporal_TT, signal_BTP, seen_BTP)
        mean_BTP = temporal_TT @ (solution.weights_BTP @ covariance)
        return torch.where(seen_BTP, signal_BTP, mean_BTP).transpose(1, 2).to(signal_BPT.dtype)


@dataclass(frozen=True, eq=False)
class Solution:
    """What the conjugate gradients found: K_vv^-1 x_v (0 where hidden), and how well."""

    weights_BTP: Float[Tensor, "B T P"]
    num_iterations: int
    residual: float

    @property
    def converged(self) -> bool:
        """Whether every window reached the tolerance."""
        return self.residual <= TOLERANCE


def solve_visible(
    covariance: Float[Tensor, "P P"] | Float[Tensor, "B P P"],
    temporal_TT: Float[Tensor, "T T"],
    signal_BTP: Float[Tensor, "B T P"],
    seen_BTP: Bool[Tensor, "B T P"],
) -> Solution:
    """Solve K_vv w = x_v with K = covariance (x) temporal, each window on its own, all at once.

    Preconditioned conjugate gradients (Saad, Iterative Methods for Sparse Linear Systems, algorithm 9.1); the
    preconditioner is the visible part of K^-1, exact when nothing is hidden. A window that has converged is left
    alone, so batch-mates do not change each other's result beyond rounding.
    """
    inverse, temporal_inverse_TT = _inverse(covariance), _inverse(temporal_TT)

    def precondition(values_BTP: Tensor) -> Tensor:
        return (temporal_inverse_TT @ (values_BTP @ inverse)) * seen_BTP

    residual = signal_BTP * seen_BTP
    weights = torch.zeros_like(residual)
    direction = precondition(residual)
    scale_B = start_B = _dot(residual, direction)
    active_B = start_B > 0
    num_iterations = 0
    while bool(active_B.any()) and num_iterations < MAX_ITERATIONS:
        image = (temporal_TT @ (direction @ covariance)) * seen_BTP
        step_B = torch.where(active_B, scale_B / _dot(direction, image), 0.0)[:, None, None]
        weights = weights + step_B * direction
        residual = residual - step_B * image
        conditioned = precondition(residual)
        next_B = _dot(residual, conditioned)
        turn_B = torch.where(active_B, next_B / scale_B, 0.0)
        direction = torch.where(active_B[:, None, None], conditioned + turn_B[:, None, None] * direction, 0.0)
        scale_B = next_B
        active_B = active_B & (next_B > TOLERANCE**2 * start_B)
        num_iterations += 1
    relative_B = torch.where(start_B > 0, (scale_B / start_B).clamp_min(0).sqrt(), 0.0)
    return Solution(weights, num_iterations, float(relative_B.max()))


def _inverse(matrices: Tensor) -> Tensor:
    """Of positive definite matrices, through float64.

    By Cholesky factors: torch 2.13's batched LU (``inv``, ``solve``) fails on the CPU with several threads.
    """
    return torch.cholesky_inverse(torch.linalg.cholesky(matrices.double())).to(matrices.dtype)


def _dot(left_BTP: Tensor, right_BTP: Tensor) -> Tensor:
    return (left_BTP * right_BTP).sum(dim=(1, 2))
