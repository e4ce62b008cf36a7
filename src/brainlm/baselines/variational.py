"""A variational auto-encoder of one parcel's series at a time: what a network without labels makes of single series.

The baseline that the paper puts beside attention for functional networks. How it is trained is in
``training/unsupervised.py``; what becomes of its codes, in ``evaluation/networks``.

Shapes: B windows, P parcels, T time points, D numbers of a code.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

# Ours, not the paper's: a window of 100 to 200 points of a filtered or unfiltered series has 20 to 40 directions that
# stand out of its noise, and a hundred training recordings fill a network of this width.
CODE = 32
WIDTH = 128


class SeriesVAE(nn.Module):
    """An MLP from a series to a Gaussian over codes and one back (Kingma and Welling 2014), all parcels alike.

    The variance of the noise is learned, too (Rybkin et al. 2021, "Simple and effective VAE training with calibrated
    decoders"): with a fixed one the code of series as noisy as these is emptied.

    Args:
        num_timepoints: T.
        code: D.
        width: of the hidden layers.
        seed: of the weights.
    """

    def __init__(self, num_timepoints: int, *, code: int = CODE, width: int = WIDTH, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Sequential(nn.Linear(num_timepoints, width), nn.GELU(), nn.Linear(width, 2 * code))
            self.decoder = nn.Sequential(nn.Linear(code, width), nn.GELU(), nn.Linear(width, num_timepoints))
            self.log_noise = nn.Parameter(torch.zeros(()))

    def forward(self, signal_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> Float[Tensor, "B"]:
        """The negative evidence lower bound of each window in nats a value, over the parcels that have a signal.

        A code is drawn in training; in evaluation mode its mean stands for it.
        """
        series_BPT = standardised_series(signal_BPT, valid_BPT)
        mean_BPD, log_variance_BPD = self._posterior(series_BPT)
        noise_BPD = torch.randn_like(mean_BPD) if self.training else torch.zeros_like(mean_BPD)
        rebuilt_BPT = self.decoder(mean_BPD + noise_BPD * (log_variance_BPD / 2).exp())
        misfit_BPT = (series_BPT - rebuilt_BPT).square() / self.log_noise.exp() + self.log_noise + math.log(2 * math.pi)
        surprise_BPD = mean_BPD.square() + log_variance_BPD.exp() - 1 - log_variance_BPD
        known_BP = valid_BPT.any(dim=2)
        total_B = (misfit_BPT * valid_BPT).sum(dim=(1, 2)) + (surprise_BPD * known_BP[:, :, None]).sum(dim=(1, 2))
        return total_B / 2 / valid_BPT.sum(dim=(1, 2)).clamp(min=1)

    def encode(self, signal_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> Float[Tensor, "B P D"]:
        """The mean code of each parcel's series; NaN where it has no signal."""
        mean_BPD, _ = self._posterior(standardised_series(signal_BPT, valid_BPT))
        return mean_BPD.masked_fill(~valid_BPT.any(dim=2)[:, :, None], torch.nan)

    def _posterior(self, series_BPT: Float[Tensor, "B P T"]) -> tuple[Tensor, Tensor]:
        mean_BPD, log_variance_BPD = self.encoder(series_BPT).chunk(2, dim=2)
        return mean_BPD, log_variance_BPD


def standardised_series(signal_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> Float[Tensor, "B P T"]:
    """Each parcel's window with mean 0 and variance 1 over its valid points: its course, not its size.

    0 where it is not valid, and throughout where it does not vary.
    """
    count_BP1 = valid_BPT.sum(dim=2, keepdim=True).clamp(min=1)
    centred_BPT = (signal_BPT - (signal_BPT * valid_BPT).sum(dim=2, keepdim=True) / count_BP1) * valid_BPT
    spread_BP1 = (centred_BPT.square().sum(dim=2, keepdim=True) / count_BP1).sqrt()
    return torch.where(spread_BP1 > 0, centred_BPT / spread_BP1.clamp(min=torch.finfo(signal_BPT.dtype).tiny), 0.0)
