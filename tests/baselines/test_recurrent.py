"""What the LSTMs say depends on real steps only, and on the order of time."""

import numpy as np
import pytest
import torch

from brainlm.baselines.recurrent import SeriesLSTM, StepLSTM, TokenLSTM
from brainlm.baselines.standardise import Standardise


@pytest.fixture
def signal() -> torch.Tensor:
    return torch.randn(3, 6, 20, generator=torch.Generator().manual_seed(0))


def test_the_outputs_are_those_of_the_gates_written_out(signal):
    network = StepLSTM(6, 2, width=4).eval()
    lstm = network.lstm
    steps_BLF = signal.transpose(1, 2)
    with torch.no_grad():
        hidden, cell, states = torch.zeros(3, 4), torch.zeros(3, 4), []
        for step_BF in steps_BLF.unbind(dim=1):
            gates = network.embed(step_BF) @ lstm.weight_ih_l0.T + lstm.bias_ih_l0
            gates = gates + hidden @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
            enter, forget, new, leave = gates.chunk(4, dim=1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            states.append(hidden)
        expected = network.head(torch.stack(states).mean(dim=0))
        found = network(steps_BLF, torch.ones(3, 20, dtype=torch.bool))
    torch.testing.assert_close(found, expected)


def test_padding_behind_a_window_changes_nothing(signal):
    network = SeriesLSTM(6, 1).eval()
    valid_BPT = torch.ones_like(signal, dtype=torch.bool)
    alone = network(signal[:, :, :13], valid_BPT[:, :, :13])
    valid_BPT[:, :, 13:] = False
    torch.testing.assert_close(network(signal.masked_fill(~valid_BPT, 0.0), valid_BPT), alone)


def test_batch_mates_change_nothing(signal):
    network = SeriesLSTM(6, 2).eval()
    valid_BPT = torch.ones_like(signal, dtype=torch.bool)
    together = network(signal, valid_BPT)
    torch.testing.assert_close(network(signal[1:2], valid_BPT[1:2]), together[1:2])


def test_the_order_of_time_matters(signal):
    network = SeriesLSTM(6, 1).eval()
    valid_BPT = torch.ones_like(signal, dtype=torch.bool)
    assert not torch.allclose(network(signal, valid_BPT), network(signal.flip(2), valid_BPT), atol=1e-4)


def test_missing_windows_of_a_recording_change_nothing(rng):
    patches = rng.standard_normal((8, 3, 4, 5)).astype(np.float32)
    standardise = Standardise.fit(patches.reshape(24, 4, 5), np.arange(24))
    network = TokenLSTM(standardise, 1).eval()
    alone = network(torch.from_numpy(patches[:, :2]))
    patches[:, 2] = np.nan
    torch.testing.assert_close(network(torch.from_numpy(patches)), alone)


def test_the_seed_makes_the_weights_and_leaves_other_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = (SeriesLSTM(6, 1, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["steps.embed.weight"], other["steps.embed.weight"])


@pytest.mark.parametrize("num_parcels", [200, 424])
def test_it_stays_small(num_parcels):
    assert sum(parameter.numel() for parameter in SeriesLSTM(num_parcels, 1).parameters()) < 100_000
