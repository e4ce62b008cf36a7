"""Minuscule networks whose weights are large enough for every input to matter."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.model.autoencoder import LinearMoments, MaskedAutoencoder
from brainlm.model.config import ModelConfig

SMALL = ModelConfig(
    num_timepoints=20,
    timepoints_per_patch=5,
    encoder_width=16,
    encoder_depth=2,
    encoder_heads=2,
    encoder_mlp=24,
    decoder_width=12,
    decoder_depth=1,
    decoder_heads=2,
    decoder_mlp=16,
)
WEIGHT_STD = 0.3  # weights as small as training starts from would hide mistakes below the tolerances


def moments_of(num_parcels: int, num_timepoints: int, *, seed: int = 0) -> LinearMoments:
    """Some covariance between parcels, and a correlation that falls by a fifth with every time point."""
    draws = np.random.default_rng(seed).standard_normal((num_parcels, 3 * num_parcels))
    covariance = draws @ draws.T / (3 * num_parcels) + 0.1 * np.eye(num_parcels)
    apart = np.abs(np.arange(num_timepoints)[:, None] - np.arange(num_timepoints))
    return LinearMoments(torch.from_numpy(covariance).float(), torch.from_numpy(0.8**apart).float())


@pytest.fixture(scope="session")
def make_network():
    """A network in evaluation mode: ``make_network(num_parcels=11, order=None, spread=True, **settings)``.

    ``order`` is shuffled unless given; ``spread=False`` leaves the weights as training would start from them.
    """

    def make(num_parcels: int = 11, *, order=None, spread: bool = True, seed: int = 0, **settings) -> MaskedAutoencoder:
        config = dataclasses.replace(SMALL, **settings)
        generator = torch.Generator().manual_seed(seed)
        if order is None:
            order = torch.randperm(num_parcels, generator=generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = MaskedAutoencoder(
                config,
                order,
                coordinates=100 * torch.randn(num_parcels, 3, generator=generator),
                linear=None if config.head == "plain" else moments_of(num_parcels, config.num_timepoints),
            )
        if spread:
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(WEIGHT_STD * torch.randn(parameter.shape, generator=generator))
        return network.eval()

    return make


@dataclasses.dataclass(frozen=True)
class Windows:
    """Scaled windows, what of them is real, and what is hidden."""

    signal_BPT: torch.Tensor
    valid_BPT: torch.Tensor
    hidden_BN: torch.Tensor

    def part(self, chosen) -> "Windows":
        return Windows(self.signal_BPT[chosen], self.valid_BPT[chosen], self.hidden_BN[chosen])

    @property
    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.signal_BPT, self.valid_BPT, self.hidden_BN


@pytest.fixture(scope="session")
def make_windows():
    """Windows for a network. ``uneven``: parcels without signal and padded ends, another number in each window."""

    def make(network: MaskedAutoencoder, *, num_windows: int = 4, uneven: bool = True, seed: int = 0) -> Windows:
        generator = torch.Generator().manual_seed(seed)
        num_parcels, length = network.tokenizer.num_parcels, network.config.num_timepoints
        signal_BPT = torch.randn(num_windows, num_parcels, length, generator=generator)
        valid_BPT = torch.ones_like(signal_BPT, dtype=torch.bool)
        if uneven:
            for number in range(num_windows):
                valid_BPT[number, torch.randperm(num_parcels, generator=generator)[:number]] = False
            valid_BPT[0, :, -7:] = False
        hidden_BN = torch.rand(num_windows, network.tokenizer.num_tokens, generator=generator) < 0.5
        return Windows(signal_BPT.masked_fill(~valid_BPT, 0.0), valid_BPT, hidden_BN & network.present(valid_BPT))

    return make
