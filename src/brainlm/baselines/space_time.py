"""The Gaussian that also looks along time: covariance = (between parcels) x (between time points), a Kronecker product.

How it is solved is in ``model/space_time.py``; where the two factors come from in ``gaussian.py`` and ``moments.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from brainlm.baselines.gaussian import GaussianRecording, GaussianSpace
from brainlm.baselines.gaussian_em import GaussianEM
from brainlm.baselines.moments import Moments
from brainlm.baselines.predictor import ANY_MASK, MaskedBatch, squared_error
from brainlm.model.space_time import solve_visible, temporal_covariance

logger = logging.getLogger(__name__)

# Shares of the temporal correlation taken to be white noise; the validation split chooses. Never none: the noise
# bounds the condition number where signals are smooth or filtered.
NOISE_SHARES = (0.01, 0.1, 0.3)


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

    space: GaussianSpace | GaussianRecording | GaussianEM
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

    def with_space(self, space: GaussianRecording | GaussianEM) -> GaussianSpaceTime:
        """The same in time, over the parcels of a Gaussian adapted to the recording.

        Only for masks that leave some parcels visible: all of the future at once is forecast by the temporal factor
        alone, whatever the spatial one.
        """
        name = space.name.removesuffix(")") + ", space-time)"
        return replace(self, space=space, name=name, mask_kinds=space.mask_kinds)

    def temporal_covariance(self, num_timepoints: int) -> Float[Tensor, "T T"]:
        """The correlation between the time points of a window."""
        return temporal_covariance(self.autocorrelation_L, num_timepoints, noise_share=self.noise_share)

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
            found = (self.name, solution.residual, solution.num_iterations)
            logger.warning("%s: residual %.1e after %d iterations", *found)
        return (temporal_TT @ (solution.weights_BTP @ covariance) + mean_P).transpose(1, 2)
