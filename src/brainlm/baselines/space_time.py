"""The Gaussian that also looks along time: covariance = (between parcels) x (between time points), a Kronecker product.

The product is never formed: its visible part is solved by conjugate gradients, where operator and preconditioner are
two matrix products each. Where the two factors come from is in ``gaussian.py`` and ``moments.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainlm.baselines.gaussian import GaussianRecording, GaussianSpace
from brainlm.baselines.moments import Moments
from brainlm.baselines.predictor import ANY_MASK, MaskedBatch, squared_error

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # residual relative to the right-hand side, both in the preconditioner's norm
MAX_ITERATIONS = 200  # 15 to 40 are usual; very smooth signals need more
# Shares of the temporal correlation taken to be white noise; the validation split chooses. Never none: the noise
# bounds the condition number where signals are smooth or filtered.
NOISE_SHARES = (0.01, 0.1, 0.3)


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


@dataclass(frozen=True, eq=False)
class GaussianSpaceTime:
    """The conditional mean of all hidden values of a window given all visible ones.

    The spatial factor is ``space``'s covariance with its shrinkage (or blend); the temporal one is Toeplitz,
    (1 - noise_share) autocorrelation + noise_share identity. There is no other observation noise.

    Args:
        space: the Gaussian over parcels: the population's, or adapted to the recording.
        autocorrelation_L: 1 at lag 0; lags beyond its end count as 0.
        noise_share: see above.
    """

    space: GaussianSpace | GaussianRecording
    autocorrelation_L: Float[Tensor, "L"]
    noise_share: float
    name: str = "Gaussian (space-time)"
    mask_kinds: frozenset[str] = ANY_MASK

    @classmethod
    def fit(
        cls,
        space: GaussianSpace | GaussianRecording,
        moments: Moments,
        validation: Sequence[MaskedBatch],
        *,
        noise_shares: Sequence[float] = NOISE_SHARES,
    ) -> GaussianSpaceTime:
        """The share of white noise that has the least squared error on ``validation``."""
        candidates = [cls(space, moments.autocorrelation.float(), share) for share in noise_shares]
        return min(candidates, key=lambda candidate: squared_error(candidate, validation))

    def with_space(self, space: GaussianRecording) -> GaussianSpaceTime:
        """The same in time, over the parcels of a Gaussian adapted to the recording.

        Only for masks that leave some parcels visible: all of the future at once is forecast by the temporal factor
        alone, whatever the spatial one.
        """
        name = "Gaussian (recording, space-time)"
        return replace(self, space=space, name=name, mask_kinds=space.mask_kinds)

    def temporal_covariance(self, num_timepoints: int) -> Float[Tensor, "T T"]:
        """The correlation between the time points of a window."""
        correlation_T = torch.zeros(num_timepoints)
        num_lags = min(num_timepoints, len(self.autocorrelation_L))
        correlation_T[:num_lags] = self.autocorrelation_L[:num_lags] * (1 - self.noise_share)
        correlation_T[0] = 1.0
        time_T = torch.arange(num_timepoints)
        return correlation_T[(time_T[:, None] - time_T).abs()]

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """The conditional mean; a warning is logged if a window did not converge."""
        signal_BPT = batch.signal_BPT
        mean_P = self.space.mean_of(batch)
        covariance = self.space.covariance_of(batch)
        temporal_TT = self.temporal_covariance(signal_BPT.shape[2]).to(signal_BPT.device)
        seen_BTP = batch.visible.transpose(1, 2).contiguous()
        centred_BTP = (signal_BPT.transpose(1, 2) - mean_P).masked_fill(~seen_BTP, 0.0)
        solution = solve_visible(covariance, temporal_TT, centred_BTP, seen_BTP)
        if not solution.converged:
            logger.warning("%s: residual %.1e after %d iterations", self.name, solution.residual, MAX_ITERATIONS)
        return (temporal_TT @ (solution.weights_BTP @ covariance) + mean_P).transpose(1, 2)


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
    inverse = torch.linalg.inv(covariance.double()).to(covariance.dtype)
    temporal_inverse_TT = torch.linalg.inv(temporal_TT.double()).to(temporal_TT.dtype)

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


def _dot(left_BTP: Tensor, right_BTP: Tensor) -> Tensor:
    return (left_BTP * right_BTP).sum(dim=(1, 2))
