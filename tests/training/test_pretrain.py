"""The step's arithmetic: what is hidden and decoded, the rate, the figures of a validation."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.data.scaling import Scaler
from brainlm.data.windows import Windows
from brainlm.model.autoencoder import HiddenPrediction, MaskedAutoencoder, Places
from brainlm.training.batches import Schedule, TrainingBatches
from brainlm.training.pretrain import Pretraining, _figures, _sums
from brainlm.training.schedule import Stretches


@pytest.fixture(scope="module")
def scaler(store) -> Scaler:
    return Scaler.fit(store.select(split="train"))


@pytest.fixture(scope="module")
def batch(store, scaler):
    windows = Windows(store.select(split="train"), 20)
    return next(iter(TrainingBatches(windows, Schedule(len(windows.recordings), 1, 4, 0), accumulate=1, scaler=scaler)))


def make_module(small, scaler, training, *, num_steps=100) -> Pretraining:
    torch.manual_seed(0)
    network = MaskedAutoencoder(small, torch.arange(10))
    return Pretraining(network, scaler, training, windows_per_step=4, stretches=Stretches(1, num_steps, num_steps))


@pytest.mark.parametrize("mask", ["random:0.75", "future:1", "parcel:0.5"])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_counting_ahead_gives_what_counting_finds(small, scaler, quick, batch, mask: str, share: float):
    module = make_module(small, scaler, dataclasses.replace(quick, mask=mask))
    ahead = module.predict_hidden(batch, decode_share=share)
    found = module.predict_hidden(dataclasses.replace(batch, complete=False), decode_share=share)
    torch.testing.assert_close(ahead.predicted_BMV, found.predicted_BMV, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ahead.target_BMV, found.target_BMV)


def test_sparse_decoding_predicts_a_subset_of_the_hidden_patches(small, scaler, quick, batch):
    module = make_module(small, scaler, dataclasses.replace(quick, mask="random:0.5"))
    scaled = scaler.apply(batch.windows.raw_BPT, batch.windows.statistics)
    patches = module.hidden_patches(batch, module.network.present_grid(scaled.valid_BPT), decode_share=0.25)
    assert not (patches.decoded_BN & ~patches.hidden_BN).any()
    assert patches.decoded_BN.sum(dim=1).tolist() == [5] * 4
    assert patches.hidden_BN.sum(dim=1).tolist() == [20] * 4


def test_the_rate_warms_up_and_falls_to_zero(small, scaler, quick):
    module = make_module(small, scaler, dataclasses.replace(quick, warmup_share=0.1), num_steps=100)
    rates = [module.rate_share(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert rates[100] == pytest.approx(0.0)
    assert all(np.diff(rates[10:]) <= 0)


def test_only_matrices_decay(small, scaler, quick):
    module = make_module(small, scaler, quick)
    decaying, others = module.configure_optimizers()["optimizer"].param_groups
    names = {id(parameter): name for name, parameter in module.network.named_parameters()}
    assert all(names[id(p)].endswith("weight") for p in decaying["params"])
    assert {"cls_D", "mask_D", "encoder_positions.space_RD"} <= {names[id(p)] for p in others["params"]}
    assert others["weight_decay"] == 0
    assert len(decaying["params"]) + len(others["params"]) == len(names)


def test_validation_figures_are_those_of_numpy(rng):
    true, guess = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    counts = rng.random((3, 4, 5)) < 0.7
    places = Places(torch.zeros(3, 4, dtype=torch.int64), None)
    prediction = HiddenPrediction(torch.tensor(guess), torch.tensor(true), torch.tensor(counts), places)
    figures = {name: float(value) for name, value in _figures(_sums(prediction)).items()}
    y, p = true[counts].astype(float), guess[counts].astype(float)
    assert figures["r2"] == pytest.approx(1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert figures["mae"] == pytest.approx(np.abs(y - p).mean())
    assert figures["r"] == pytest.approx(np.corrcoef(y, p)[0, 1])
    windows = [((t - g)[c] ** 2).mean() for t, g, c in zip(true, guess, counts, strict=True)]
    assert figures["loss"] == pytest.approx(np.mean(windows), rel=1e-5)
