"""Hidden parcels from visible ones under a Gaussian: the population's covariance, or one adapted to the recording.

Only the values of the same time point are used here. What neighbouring time points add is in ``space_time.py``;
what the visible part of the window tells of the covariance in ``gaussian_em.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from brainlm.baselines.moments import Moments
from brainlm.baselines.predictor import MaskedBatch, squared_error
from brainlm.model.conditional import conditional_mean, sized_as

# Shares of the covariances between parcels that are taken away; the validation split chooses.
SHRINKAGES = (0.001, 0.01, 0.03, 0.1, 0.3)

# Smallest eigenvalue relative to the mean variance: keeps float32 factorisations sound when parcels are copies of
# each other or covariances come from recordings with different parcels missing.
EIGENVALUE_FLOOR = 1e-4

SPACE_MASKS = frozenset({"random", "parcel"})


@dataclass(frozen=True, eq=False)
class GaussianSpace:
    """The conditional mean of the hidden parcels given the visible ones at the same time point.

    Args:
        mean_P: the population's mean.
        covariance_PP: the population's covariance, (1 - shrinkage) S + shrinkage diag(S), positive definite.
        shrinkage: for the record.
    """

    mean_P: Float[Tensor, "P"]
    covariance_PP: Float[Tensor, "P P"]
    shrinkage: float
    name: str = "Gaussian (space)"
    mask_kinds: frozenset[str] = SPACE_MASKS

    @classmethod
    def of(cls, moments: Moments, *, shrinkage: float) -> GaussianSpace:
        """The Gaussian with these moments at a given shrinkage."""
        return cls(moments.mean_P.float(), shrunk(moments.covariance_PP, shrinkage).float(), shrinkage)

    @classmethod
    def fit(
        cls, moments: Moments, validation: Sequence[MaskedBatch], *, shrinkages: Sequence[float] = SHRINKAGES
    ) -> GaussianSpace:
        """The Gaussian with these moments whose shrinkage has the least squared error on ``validation``."""
        candidates = [cls.of(moments, shrinkage=shrinkage) for shrinkage in shrinkages]
        return min(candidates, key=lambda candidate: squared_error(candidate, validation))

    def mean_of(self, batch: MaskedBatch) -> Float[Tensor, "P"]:
        """The mean that holds for the windows of ``batch``, on its device."""
        return self.mean_P.to(batch.signal_BPT.device)

    def covariance_of(self, batch: MaskedBatch) -> Float[Tensor, "P P"]:
        """The covariance that holds for the windows of ``batch``, on its device."""
        return self.covariance_PP.to(batch.signal_BPT.device)

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """The conditional mean; the population's mean where a time point shows nothing."""
        return conditional_prediction(self.mean_of(batch), self.covariance_of(batch), batch)


@dataclass(frozen=True, eq=False)
class Blend:
    """How much a recording's own covariance counts beside the population's: share x T / (T + prior_points).

    T is the number of time points outside the window. With ``prior_points`` 0 the weight is the same for all; else
    the population counts as so many time points, as under an inverse-Wishart prior. No points, no weight.
    """

    share: float
    prior_points: float

    def weight(self, num_points_B: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The weight for each window, given its number of time points outside."""
        weight_B = self.share * num_points_B / (num_points_B + self.prior_points)
        return torch.where(num_points_B > 0, weight_B, 0.0)


BLENDS = (Blend(0.3, 0.0), Blend(0.5, 0.0), Blend(0.7, 0.0), Blend(1.0, 50.0), Blend(1.0, 100.0), Blend(1.0, 200.0))


@dataclass(frozen=True, eq=False)
class GaussianRecording:
    """``GaussianSpace`` with the covariance of the recording's own points outside the window blended in.

    Individual connectivity is the largest predictor beyond the population's. The recording's covariance is brought
    to the population's mean variance first, since the conditional mean does not depend on the common scale.
    """

    population: GaussianSpace
    blend: Blend
    name: str = "Gaussian (recording)"
    mask_kinds: frozenset[str] = SPACE_MASKS

    @classmethod
    def fit(
        cls, population: GaussianSpace, validation: Sequence[MaskedBatch], *, blends: Sequence[Blend] = BLENDS
    ) -> GaussianRecording:
        """The blend that has the least squared error on ``validation``."""
        candidates = [cls(population, blend) for blend in blends]
        return min(candidates, key=lambda candidate: squared_error(candidate, validation))

    def mean_of(self, batch: MaskedBatch) -> Float[Tensor, "P"]:
        """The population's mean, on the batch's device."""
        return self.population.mean_of(batch)

    def covariance_of(self, batch: MaskedBatch) -> Float[Tensor, "B P P"]:
        """The blended covariance of each window, on the batch's device."""
        population_PP = self.population.covariance_of(batch)
        num_points_B = torch.tensor([len(points) for points in batch.outside], dtype=population_PP.dtype)
        num_points_B = num_points_B.to(population_PP.device)
        mean_P = self.mean_of(batch)
        # A parcel that is 0 throughout is not there; it stays 0 and so correlates with nothing.
        centred = [(points - mean_P) * (points != 0).any(dim=0) for points in batch.outside]
        outside_BNP = pad_sequence(centred, batch_first=True).to(population_PP)
        own_BPP = outside_BNP.transpose(1, 2) @ outside_BNP
        known_B = own_BPP.diagonal(dim1=1, dim2=2).any(dim=1)
        own_BPP = sized_as(population_PP, own_BPP)
        weight_B11 = (self.blend.weight(num_points_B) * known_B)[:, None, None]
        return torch.lerp(population_PP.expand_as(own_BPP), own_BPP, weight_B11)

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """The conditional mean under each window's own covariance."""
        return conditional_prediction(self.mean_of(batch), self.covariance_of(batch), batch)


def shrunk(covariance_PP: Float[Tensor, "P P"], shrinkage: float) -> Float[Tensor, "P P"]:
    """(1 - shrinkage) S + shrinkage diag(S), with eigenvalues raised to ``EIGENVALUE_FLOOR`` where smaller."""
    diagonal_PP = torch.diag(covariance_PP.diagonal())
    values_P, vectors_PP = torch.linalg.eigh(torch.lerp(covariance_PP, diagonal_PP, shrinkage))
    floor = EIGENVALUE_FLOOR * float(covariance_PP.diagonal().mean())
    return (vectors_PP * values_P.clamp_min(floor)) @ vectors_PP.T


def conditional_prediction(
    mean_P: Float[Tensor, "P"], covariance: Float[Tensor, "*B P P"], batch: MaskedBatch
) -> Float[Tensor, "B P T"]:
    """The conditional mean of the hidden values, time point by time point; the mean where nothing is visible."""
    return conditional_mean(covariance, batch.signal_BPT - mean_P[:, None], batch.visible) + mean_P[:, None]
