"""The networks that learn to forecast: they learn what is planted, are trained once, and leave the model as it was."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from brainlm.baselines.forecaster import Forecaster
from brainlm.data.context_windows import ContextWindows
from brainlm.data.recording import Recording
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import synthetic_population
from brainlm.evaluation.forecasting import neural
from brainlm.evaluation.forecasting.neural import LearntForecaster, neural_forecasters, speed_sentence
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.identity import weights_sha256
from brainlm.model.autoencoder import LinearMoments, MaskedAutoencoder
from brainlm.model.config import ModelConfig
from brainlm.model.forecasting import PatchForecaster
from brainlm.training.forecast import ForecastConfig

NUM_PARCELS, CONTEXT, HORIZON = 8, 20, 5
SMALL = ModelConfig(
    num_timepoints=25,
    timepoints_per_patch=5,
    encoder_width=8,
    encoder_depth=1,
    encoder_heads=2,
    encoder_mlp=8,
    decoder_width=8,
    decoder_depth=1,
    decoder_heads=2,
    decoder_mlp=8,
)
QUICK = ForecastConfig(epochs=1, batch_size=8, accelerator="cpu")
ALL = ("neural", "scratch")


def oscillations(rng: np.random.Generator, mixing_ZP: np.ndarray, num_timepoints: int) -> np.ndarray:
    """Two noisy rotations of 10 and 16 points a cycle, seen by all parcels through a mixture, with noise on top."""
    time_T = np.arange(num_timepoints)[:, None]
    phase_1Z = rng.uniform(0, 2 * np.pi, 4)[[0, 0, 1, 1]] - np.array([0, np.pi / 2] * 2)
    latent_TZ = np.cos(2 * np.pi * time_T / np.array([10, 10, 16, 16]) + phase_1Z)
    return (latent_TZ @ mixing_ZP + 0.5 * rng.standard_normal((num_timepoints, NUM_PARCELS))).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("forecasting") / "oscillating.store"
    mixing_ZP = np.random.default_rng(0).standard_normal((4, NUM_PARCELS))
    parcels = synthetic_population(num_parcels=NUM_PARCELS, num_networks=2).parcels
    with StoreWriter(path, parcels, atlas="synthetic") as writer:
        for number in range(64):
            bold = oscillations(np.random.default_rng([1, number]), mixing_ZP, 60)
            recording = Recording(bold, 2.0, f"{number:02d}", atlas="synthetic")
            writer.add(recording, split="train" if number < 48 else "validation")
    return Store.open(path)


@pytest.fixture(scope="module")
def make_model(store):
    def make(**settings) -> BrainLM:
        config = dataclasses.replace(SMALL, **settings)
        linear = None
        if config.head != "plain":
            linear = LinearMoments(2 * torch.eye(NUM_PARCELS), 0.5 + 0.5 * torch.eye(config.num_timepoints))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = MaskedAutoencoder(config, torch.arange(NUM_PARCELS), linear=linear)
        scaler = Scaler.fit(store.select(split="train"))
        return BrainLM(network, scaler, store.parcels, {"data": {"training_subjects": ["elsewhere"]}})

    return make


@pytest.fixture(scope="module")
def model(make_model) -> BrainLM:
    return make_model()


@pytest.fixture(scope="module")
def windows(store, model) -> tuple[ContextWindows, ContextWindows]:
    parts = (store.select(split=split) for split in ("train", "validation"))
    return tuple(ContextWindows(part, model.scaler, context=CONTEXT, horizon=HORIZON) for part in parts)


@pytest.fixture(scope="module")
def kept(model, windows, tmp_path_factory) -> tuple:
    """A folder in which all five have been trained for an epoch, and what was told meanwhile."""
    folder, told = tmp_path_factory.mktemp("forecasts"), []
    found = neural_forecasters(
        model, *windows, QUICK, finetune=True, folder=folder, on_progress=lambda name, _: told.append(name)
    )
    return folder, found, told


def validation_batch(windows):
    fixed = windows[1].fixed()
    return windows[1].batch(fixed.recording, fixed.start)


def mse(forecast_BPH: torch.Tensor, batch) -> float:
    return float((forecast_BPH - batch.future_BPH)[batch.future_valid_BPH].square().mean())


def test_what_oscillates_is_forecast_better_than_by_the_last_value_and_the_mean(model, windows, tmp_path):
    config = ForecastConfig(epochs=6, draws=6, batch_size=48, learning_rates=(2e-2,), patience=0, accelerator="cpu")
    batch = validation_batch(windows)
    context_BPT, valid_BPT = batch.context_BPT, batch.context_valid_BPT
    simple = min(
        mse(context_BPT.mean(dim=2, keepdim=True).expand_as(batch.future_BPH), batch),
        mse(context_BPT[:, :, -1:].expand_as(batch.future_BPH), batch),
    )
    for each in neural_forecasters(model, *windows, config, finetune=False, folder=tmp_path, methods=("neural",)):
        found = mse(each.predict(context_BPT, valid_BPT, HORIZON), batch)
        assert found < 0.6 * simple, (each.name, found, simple)


def test_all_are_forecasters_with_their_names_groups_and_budget(kept, windows):
    _, found, told = kept
    names = ["LSTM", "Neural ODE", "Latent ODE", "Same Transformer, not pretrained", "BrainLM, fine-tuned"]
    assert [each.name for each in found] == told == names
    assert [each.group for each in found] == ["neural", "neural", "neural", "scratch", "finetuned"]
    batch = validation_batch(windows)
    for each in found:
        assert isinstance(each, Forecaster)
        forecast_BPH = each.predict(batch.context_BPT, batch.context_valid_BPT, HORIZON)
        assert forecast_BPH.shape == batch.future_BPH.shape
        assert torch.isfinite(forecast_BPH).all()
        assert each.tuned.startswith("learning rate 0.001; epoch 1 of 1; validation MSE ")
        assert each.seconds > 0
        assert each.relative_time > 0
    said = speed_sentence(found)
    assert "LSTM" in said
    assert "Latent ODE" in said
    assert "Transformer" not in said
    assert speed_sentence([]) == ""


def test_what_is_kept_is_not_trained_again_and_gives_the_same_numbers(model, windows, kept, monkeypatch):
    folder, found, _ = kept
    monkeypatch.setattr(neural, "train_forecaster", None)
    again = neural_forecasters(model, *windows, QUICK, finetune=True, folder=folder)
    batch = validation_batch(windows)
    for first, second in zip(found, again, strict=True):
        assert (first.tuned, first.seconds, first.relative_time) == (second.tuned, second.seconds, second.relative_time)
        inputs = batch.context_BPT, batch.context_valid_BPT, HORIZON
        assert torch.equal(first.predict(*inputs), second.predict(*inputs))


@pytest.mark.parametrize("change", ["budget", "model", "data", "horizon"])
def test_what_was_made_of_something_else_is_trained_anew(change, model, make_model, windows, kept, monkeypatch):
    config, train, trained = QUICK, windows[0], []
    if change == "budget":
        config = dataclasses.replace(QUICK, learning_rates=(2e-3,))
    elif change == "model":
        model = make_model(encoder_mlp=16)
    elif change == "data":
        train = ContextWindows(train.store.take(range(40)), model.scaler, context=CONTEXT, horizon=HORIZON)
    else:
        train = ContextWindows(train.store, model.scaler, context=CONTEXT, horizon=HORIZON + 1)

    class Reached(Exception):  # noqa: N818
        pass

    def reached(*_, **__):
        trained.append(1)
        raise Reached

    monkeypatch.setattr(neural, "train_forecaster", reached)
    for method, finetune in ((("lstm",), False), ((), True)):
        with pytest.raises(Reached):
            neural_forecasters(model, train, windows[1], config, finetune=finetune, folder=kept[0], methods=method)
    assert len(trained) == 2


def test_damaged_weights_are_trained_again(model, windows, tmp_path, caplog):
    (first,) = neural_forecasters(model, *windows, QUICK, finetune=False, folder=tmp_path, methods=("lstm",))
    path = tmp_path / "weights" / "lstm.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with caplog.at_level(logging.WARNING):
        (second,) = neural_forecasters(model, *windows, QUICK, finetune=False, folder=tmp_path, methods=("lstm",))
    assert "is damaged" in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True))


def test_the_fine_tuned_model_is_a_checkpoint_that_knows_whom_it_has_seen(kept, store, windows, model):
    folder, found, _ = kept
    tuned = BrainLM.from_pretrained(folder / "finetuned")
    subjects = sorted({*store.metadata["subject"], "elsewhere"})
    assert tuned.provenance["data"]["training_subjects"] == subjects
    assert tuned.provenance["finetuned"]["task"] == "forecast of 5 time points from 20"
    assert model.provenance["data"]["training_subjects"] == ["elsewhere"]
    batch = validation_batch(windows)
    with torch.no_grad():
        expected = PatchForecaster(tuned.network, HORIZON)(batch.context_BPT, batch.context_valid_BPT)
    inputs = batch.context_BPT, batch.context_valid_BPT, HORIZON
    torch.testing.assert_close(found[-1].predict(*inputs), expected)
    assert weights_sha256(tuned) != weights_sha256(model)


def test_the_model_stays_as_it_is(make_model, windows, tmp_path):
    model = make_model()
    before = weights_sha256(model)
    neural_forecasters(model, *windows, QUICK, finetune=True, folder=tmp_path, methods=("scratch",))
    assert weights_sha256(model) == before
    assert not model.network.training
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_an_untrained_transformer_keeps_the_moments_of_its_gaussian_head(make_model, windows, tmp_path):
    model = make_model(head="space-time")
    (scratch,) = neural_forecasters(model, *windows, QUICK, finetune=False, folder=tmp_path, methods=("scratch",))
    network = scratch.network.network
    assert torch.equal(network.covariance_PP, model.network.covariance_PP)
    assert torch.equal(network.temporal_TT, model.network.temporal_TT)
    assert not torch.equal(network.embed.weight, model.network.embed.weight)


def test_nothing_is_trained_that_was_not_asked_for(model, windows, tmp_path):
    assert neural_forecasters(model, *windows, QUICK, finetune=False, folder=tmp_path, methods=("linear",)) == []
    assert isinstance(LearntForecaster("x", "neural", torch.nn.Identity()).relative_time, float)
