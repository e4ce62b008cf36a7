"""The rolling forecast of a masked autoencoder."""

import numpy as np
import pytest
import torch

from brainlm.errors import ConfigError
from brainlm.model.forecasting import PatchForecaster, check_context, longest_context

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def contexts(length: int, *, batch: int = 3, num_parcels: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    signal_BPT = torch.from_numpy(np.random.default_rng(0).standard_normal((batch, num_parcels, length))).float()
    return signal_BPT, torch.ones_like(signal_BPT, dtype=torch.bool)


def by_hand(network, known_PT: torch.Tensor, horizon: int) -> torch.Tensor:
    """One window, patch by patch, with a full-length window and a hand-made mask."""
    length, patch = network.config.num_timepoints, network.config.timepoints_per_patch
    start = known_PT.shape[1]
    while known_PT.shape[1] < start + horizon:
        signal, valid = torch.zeros(1, len(known_PT), length), torch.zeros(1, len(known_PT), length, dtype=torch.bool)
        past = known_PT[:, -(length - patch) :]
        signal[0, :, length - patch - past.shape[1] : length - patch] = past
        valid[0, :, length - patch - past.shape[1] :] = True
        grid = torch.zeros(1, network.tokenizer.num_rows, length // patch, dtype=torch.bool)
        grid[:, :, -1] = True
        known_PT = torch.cat([known_PT, network.reconstruct(signal, valid, grid.flatten(1))[0, :, -patch:]], dim=1)
    return known_PT[:, start : start + horizon]


@torch.no_grad()
@pytest.mark.parametrize(("context", "horizon"), [(15, 5), (15, 3), (15, 12), (5, 12), (10, 5)])
def test_it_hides_the_next_patch_and_goes_on_from_its_own_predictions(make_network, context, horizon):
    network = make_network()
    signal_BPT, valid_BPT = contexts(context)
    found = PatchForecaster(network, horizon)(signal_BPT, valid_BPT)
    assert found.shape == (3, 11, horizon)
    for one, window in zip(found, signal_BPT, strict=True):
        torch.testing.assert_close(one, by_hand(network, window, horizon), **CLOSE)


@torch.no_grad()
def test_batch_mates_and_parcels_without_signal_do_not_matter_to_others(make_network):
    forecaster = PatchForecaster(make_network(), 7)
    signal_BPT, valid_BPT = contexts(15)
    valid_BPT[1, 4] = False
    signal_BPT[1, 4] = 0.0
    together = forecaster(signal_BPT, valid_BPT)
    for row in range(3):
        alone = forecaster(signal_BPT[row : row + 1], valid_BPT[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, **CLOSE)
    assert torch.isfinite(together).all()


@torch.no_grad()
def test_what_lies_before_the_longest_context_does_not_matter(make_network):
    forecaster = PatchForecaster(make_network(), 7)
    signal_BPT, valid_BPT = contexts(22)
    changed = signal_BPT.clone()
    changed[:, :, :7] += 3
    torch.testing.assert_close(forecaster(signal_BPT, valid_BPT), forecaster(changed, valid_BPT))


@pytest.mark.parametrize("head", ["plain", "gaussian", "space-time"])
def test_gradients_reach_the_weights_through_all_patches(make_network, head):
    network = make_network(head=head, **({} if head == "plain" else {"own_covariance_points": 20}))
    forecaster = PatchForecaster(network, 9)
    signal_BPT, valid_BPT = contexts(15)
    forecaster(signal_BPT, valid_BPT)[:, :, -1].square().sum().backward()
    assert network.embed.weight.grad.abs().sum() > 0
    assert network.head.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_the_own_covariance_is_that_of_the_context(make_network, monkeypatch):
    network = make_network(head="gaussian", own_covariance_points=20)
    seen, reconstruct = [], network.reconstruct
    monkeypatch.setattr(network, "reconstruct", lambda *i, own=None: (seen.append(own), reconstruct(*i, own=own))[1])
    signal_BPT, valid_BPT = contexts(15)
    PatchForecaster(network, 7)(signal_BPT, valid_BPT)
    assert len(seen) == 2
    for own in seen:
        torch.testing.assert_close(own.covariance_BPP[0], signal_BPT[0] @ signal_BPT[0].T / 15)
        assert own.num_points_B.tolist() == [15, 15, 15]


def test_what_cannot_be_forecast_is_an_error(make_network):
    with pytest.raises(ConfigError, match="horizon 0"):
        PatchForecaster(make_network(), 0)
    with pytest.raises(ConfigError, match="windows of 1 patches"):
        PatchForecaster(make_network(num_timepoints=5), 3)


def test_a_context_is_whole_patches_that_leave_room_for_one(make_network):
    config = make_network().config
    assert longest_context(config) == 15
    for context in (5, 10, 15):
        check_context(config, context)
    for context, remedy in ((7, "5 or 10"), (20, "10 or 15"), (0, "5 or 10"), (-5, "5 or 10")):
        with pytest.raises(ConfigError, match=f"at most 15(.|\\n)*--context {remedy}"):
            check_context(config, context)
