"""A code follows the course of one parcel's series, whatever its size, its company and its gaps."""

import numpy as np
import pytest
import torch

from brainlm.baselines.variational import SeriesVAE, standardised_series

T = 24


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three windows of five parcels; the last window ends early, one parcel has no signal in the first."""
    signal = torch.randn(3, 5, T, generator=torch.Generator().manual_seed(0)) * 3 + 1
    valid = torch.ones(3, 5, T, dtype=torch.bool)
    valid[2, :, 15:] = False
    valid[0, 3] = False
    return signal * valid, valid


@pytest.fixture
def network() -> SeriesVAE:
    network = SeriesVAE(T, code=4, width=16, seed=1).eval()
    with torch.no_grad():
        network.log_noise.fill_(0.3)
    return network


def test_the_loss_is_the_evidence_lower_bound_written_out(network, batch):
    signal, valid = batch
    losses = network(signal, valid).detach().numpy()
    for window in range(len(signal)):
        total, count = 0.0, 0
        for parcel in range(signal.shape[1]):
            known = valid[window, parcel].numpy()
            if not known.any():
                continue
            series = np.zeros(T, np.float32)
            values = signal[window, parcel].numpy()[known]
            series[known] = (values - values.mean()) / values.std()
            mean, log_variance = np.split(network.encoder(torch.from_numpy(series)).detach().numpy(), 2)
            rebuilt = network.decoder(torch.from_numpy(mean)).detach().numpy()
            prior = torch.distributions.Normal(torch.zeros(4), torch.ones(4))
            posterior = torch.distributions.Normal(torch.from_numpy(mean), torch.from_numpy(np.exp(log_variance / 2)))
            noise = torch.distributions.Normal(torch.from_numpy(rebuilt[known]), float(np.exp(0.15)))
            total -= float(noise.log_prob(torch.from_numpy(series[known])).sum())
            total += float(torch.distributions.kl_divergence(posterior, prior).sum())
            count += int(known.sum())
        assert losses[window] == pytest.approx(total / count, rel=1e-5)


def test_a_code_is_drawn_in_training_only(network, batch):
    torch.testing.assert_close(network(*batch), network(*batch))
    torch.manual_seed(0)
    network.train()
    assert not torch.equal(network(*batch), network(*batch))


def test_a_parcel_without_signal_has_no_code_and_changes_no_other(network, batch):
    signal, valid = batch
    codes = network.encode(signal, valid)
    assert codes.shape == (3, 5, 4)
    assert torch.isnan(codes[0, 3]).all()
    assert torch.isfinite(codes[1:]).all()
    alone = network.encode(signal[:1, :2], valid[:1, :2])
    torch.testing.assert_close(alone, codes[:1, :2])


def test_level_and_size_of_a_series_do_not_matter_and_its_sign_does(network, batch):
    signal, valid = batch
    codes = network.encode(signal, valid)
    torch.testing.assert_close(
        network.encode((7 * signal - 2) * valid, valid), codes, equal_nan=True, rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(network.encode(-signal, valid)[1], codes[1])


def test_a_series_that_does_not_vary_is_zero():
    signal = torch.full((1, 1, T), 4.0)
    assert torch.equal(standardised_series(signal, torch.ones_like(signal, dtype=torch.bool)), torch.zeros(1, 1, T))


def test_the_seed_decides_the_weights_and_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = (SeriesVAE(T, seed=seed).encoder[0].weight for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
