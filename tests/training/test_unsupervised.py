"""Training without labels lowers a network's own loss and repeats itself byte by byte; vectors are means of windows."""

import numpy as np
import pytest
import torch
from torch import nn

from brainlm.data.scaling import Scaler
from brainlm.errors import ConfigError
from brainlm.training.finetune_config import SupervisedConfig
from brainlm.training.labelled import FeatureInputs, WindowInputs
from brainlm.training.unsupervised import DrawnInputs, encode_parcels, train_unsupervised

CONFIG = SupervisedConfig(epochs=6, batch_size=4, learning_rate=0.05, accelerator="cpu", seed=3)


class Autoencoder(nn.Module):
    """One direction of the time points of a window."""

    def __init__(self, num_timepoints: int = 20) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.direction = nn.Linear(num_timepoints, 1, bias=False)

    def forward(self, signal_BPT, valid_BPT):
        rebuilt = self.direction(signal_BPT) * self.direction.weight
        return ((signal_BPT - rebuilt).square() * valid_BPT).mean(dim=(1, 2))

    def encode(self, signal_BPT, valid_BPT):
        return self.direction(signal_BPT).masked_fill(~valid_BPT.any(dim=2)[:, :, None], torch.nan)


@pytest.fixture
def inputs(store) -> WindowInputs:
    return WindowInputs(store, Scaler.fit(store, allow_any_split=True), 20)


def test_the_loss_falls_and_a_listener_hears_of_every_epoch(inputs):
    heard = []
    network = Autoencoder()
    fitted = train_unsupervised(
        network, inputs, recordings_M=np.arange(16), config=CONFIG, on_progress=lambda figures: heard.append(figures)
    )
    assert [figures["epoch"] for figures in heard] == [1, 2, 3, 4, 5, 6]
    assert heard[-1]["train_loss"] < 0.9 * heard[0]["train_loss"]
    assert (fitted.epochs, fitted.best_epoch) == (6, 6)
    assert not network.training


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_callers_random_numbers_alone(inputs):
    states = []
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    for _ in range(2):
        network = Autoencoder()
        train_unsupervised(network, inputs, recordings_M=np.arange(16), config=CONFIG)
        states.append(network.direction.weight.detach().clone())
    assert torch.equal(*states)
    assert torch.equal(torch.rand(3), expected)


def test_only_the_recordings_named_are_learnt_from(inputs):
    batches = DrawnInputs(inputs, np.array([2, 5, 7, 11]), CONFIG)
    seen = torch.cat([batches[number][0] for number in range(len(batches))])
    named = inputs.drawn(np.array([2, 5, 7, 11]), seed=CONFIG.seed, epoch=0)[0]
    assert sorted(seen.sum(dim=(1, 2)).tolist()) == pytest.approx(sorted(named.sum(dim=(1, 2)).tolist()))
    with pytest.raises(IndexError):
        batches[len(batches)]


def test_a_recordings_vector_is_the_mean_over_its_windows_that_know_the_parcel(inputs):
    network = Autoencoder()

    def encode(signal_BPT, valid_BPT):
        vectors = network.encode(signal_BPT, valid_BPT)
        vectors[::2, 1] = torch.nan  # not in the first and third window of all
        return vectors

    vectors = encode_parcels(encode, inputs, num_recordings=3, batch_size=3)
    fixed = inputs.fixed(np.arange(3))
    codes = network.encode(*fixed.tensors).detach().numpy()
    codes[::2, 1] = np.nan
    for recording in range(3):
        expected = np.nanmean(codes[fixed.position_W == recording], axis=0)
        np.testing.assert_allclose(vectors[recording], expected, rtol=1e-5, atol=1e-6)


def test_the_number_of_recordings_at_a_time_changes_nothing(inputs):
    network = Autoencoder()
    together = encode_parcels(network.encode, inputs, num_recordings=16)
    np.testing.assert_allclose(encode_parcels(network.encode, inputs, num_recordings=16, batch_size=3), together)
    assert together.shape == (16, 10, 1)


def test_a_parcel_unknown_in_all_windows_stays_unknown():
    features = torch.tensor([[[1.0], [torch.nan]], [[2.0], [3.0]]])
    vectors = encode_parcels(lambda part: part, FeatureInputs(features), num_recordings=2)
    np.testing.assert_array_equal(vectors, features.numpy())


def test_a_training_that_loses_its_way_is_said_to(inputs):
    network = Autoencoder()
    with torch.no_grad():
        network.direction.weight.fill_(torch.inf)
    with pytest.raises(ConfigError, match="lost its way"):
        train_unsupervised(network, inputs, recordings_M=np.arange(16), config=CONFIG)
