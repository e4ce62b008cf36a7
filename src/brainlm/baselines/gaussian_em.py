"""The Gaussian that knows a recording from all that is visible of it: the points outside the window and those in it.

``gaussian.py`` takes a person's covariance from outside the window alone. What is visible within is as legitimate,
and a network sees it too. Here the hidden values are filled in by expectation-maximisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from brainlm.baselines.gaussian import SPACE_MASKS, GaussianRecording, conditional_prediction
from brainlm.baselines.predictor import MaskedBatch, squared_error
from brainlm.model.conditional import conditional_mean, conditional_scatter, sized_as

# The population counts as so many time points; the validation split chooses.
PRIOR_POINTS = (25.0, 50.0, 100.0, 150.0, 200.0, 300.0)
# The covariances change by less than this share of their size: no third decimal of R2 changes any more.
TOLERANCE = 0.01
MAX_ITERATIONS = 10  # 3 to 5 are usual


@dataclass(frozen=True, eq=False)
class GaussianEM:
    """The conditional mean under the covariance of each recording that is most likely given all that is visible of it.

    Expectation-maximisation for a Gaussian with missing values (Dempster, Laird & Rubin 1977) under an inverse-Wishart
    prior around the population's covariance. The prior counts as ``prior_points`` time points. Every estimate is
    brought to the population's mean variance, since the conditional mean does not depend on the common scale.

    Args:
        start: gives the first covariance, and the population.
        prior_points: see above.
    """

    start: GaussianRecording
    prior_points: float
    name: str = "Gaussian (recording and window)"
    mask_kinds: frozenset[str] = SPACE_MASKS

    @classmethod
    def fit(
        cls,
        start: GaussianRecording,
        validation: Sequence[MaskedBatch],
        *,
        prior_points: Sequence[float] = PRIOR_POINTS,
    ) -> GaussianEM:
        """The weight of the prior that has the least squared error on ``validation``."""
        candidates = [cls(start, points) for points in prior_points]
        return min(candidates, key=lambda candidate: squared_error(candidate, validation))

    def mean_of(self, batch: MaskedBatch) -> Float[Tensor, "P"]:
        """The population's mean, on the batch's device."""
        return self.start.mean_of(batch)

    def covariance_of(self, batch: MaskedBatch) -> Float[Tensor, "B P P"]:
        """The most likely covariance of each window's recording, on the batch's device."""
        signal_BPN, visible_BPN = self._all_visible(batch)
        population_PP = self.start.population.covariance_of(batch)
        covariance_BPP = self.start.covariance_of(batch)
        num_points_B = visible_BPN.any(dim=1).sum(dim=1)
        weight_B11 = (num_points_B / (num_points_B + self.prior_points))[:, None, None]
        moving_B11 = torch.ones_like(weight_B11, dtype=torch.bool)
        for _ in range(MAX_ITERATIONS):
            filled_BPN = conditional_mean(covariance_BPP, signal_BPN, visible_BPN)
            own_BPP = filled_BPN @ filled_BPN.transpose(1, 2) + conditional_scatter(covariance_BPP, visible_BPN)
            new_BPP = torch.lerp(population_PP.expand_as(own_BPP), sized_as(population_PP, own_BPP), weight_B11)
            change_B = (new_BPP - covariance_BPP).flatten(1).norm(dim=1) / covariance_BPP.flatten(1).norm(dim=1)
            # A window that has converged is left alone, so that its batch-mates do not change its result.
            covariance_BPP = torch.where(moving_B11, new_BPP, covariance_BPP)
            moving_B11 = moving_B11 & (change_B >= TOLERANCE)[:, None, None]
            if not bool(moving_B11.any()):
                break
        return covariance_BPP

    def _all_visible(self, batch: MaskedBatch) -> tuple[Float[Tensor, "B P N"], Bool[Tensor, "B P N"]]:
        """The window and the points outside it, one after the other, about the mean; and what of them is visible."""
        outside_BNP = pad_sequence(list(batch.outside), batch_first=True).to(batch.signal_BPT)
        visible_BPN = torch.cat((batch.visible, (outside_BNP != 0).transpose(1, 2)), dim=2)
        signal_BPN = torch.cat((batch.signal_BPT, outside_BNP.transpose(1, 2)), dim=2)
        return (signal_BPN - self.mean_of(batch)[:, None]).masked_fill(~visible_BPN, 0.0), visible_BPN

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """The conditional mean under each window's own covariance."""
        return conditional_prediction(self.mean_of(batch), self.covariance_of(batch), batch)
