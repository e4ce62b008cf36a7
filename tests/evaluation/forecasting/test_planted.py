"""A planted autoregressive process is forecast at its known optimum by AR, and approached by the model."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.baselines.autoregressive import AutoregressiveForecaster
from brainlm.baselines.forecaster import NetworkForecaster
from brainlm.baselines.last_known import ContextMean, LastValue
from brainlm.baselines.moments import moments_of
from brainlm.data.context_windows import ContextWindows
from brainlm.evaluation.fitting import training_recordings
from brainlm.evaluation.forecasting.ceiling import centred_variance, error_variance
from brainlm.evaluation.forecasting.linear import linear_forecasters
from brainlm.evaluation.metrics import r2
from brainlm.model.autoencoder import LinearMoments, MaskedAutoencoder
from brainlm.model.config import ModelConfig
from brainlm.model.forecasting import PatchForecaster
from brainlm.training.forecast import ForecastConfig, train_forecaster

CONFIG = ModelConfig(
    num_timepoints=50,
    timepoints_per_patch=10,
    encoder_width=48,
    encoder_depth=2,
    encoder_heads=2,
    encoder_mlp=96,
    decoder_width=48,
    decoder_depth=1,
    decoder_heads=2,
    decoder_mlp=96,
    temporal_positions="learned",
)


@pytest.fixture(scope="module")
def optimum():
    """R2 at each step of the best linear forecast from 40 points of x_t = 0.8 x_(t-1) + noise, its mean unknown."""
    semivariance_PL = 1 - 0.8 ** torch.arange(50, dtype=torch.float64)[None]
    error_PH, total_PH = (rule(semivariance_PL, context=40, horizon=10) for rule in (error_variance, centred_variance))
    return (1 - error_PH / total_PH)[0].numpy()


def by_step(scores) -> np.ndarray:
    return r2(scores.by_subject_SHK.sum(axis=0))


def network(planted, scaler, **settings) -> MaskedAutoencoder:
    moments = moments_of(training_recordings(planted.select(split="train"), scaler), num_lags=50)
    apart = torch.arange(50)[:, None] - torch.arange(50)
    linear = LinearMoments(moments.covariance_PP.float(), moments.autocorrelation.float()[apart.abs()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MaskedAutoencoder(dataclasses.replace(CONFIG, **settings), torch.arange(10), linear=linear)


def test_an_autoregressive_model_reaches_the_optimum(planted, planted_scaler, judged, scored, optimum):
    alone, together = linear_forecasters(planted.select(split="train"), judged("validation"), planted_scaler)
    assert isinstance(alone, AutoregressiveForecaster)
    for one in (alone, together):
        found = by_step(scored(one))
        np.testing.assert_allclose(found, optimum, atol=0.04)
        assert abs(found.mean() - optimum.mean()) < 0.02
    assert optimum[0] > 0.6 > optimum[3] > 0.05  # about 0.8 squared, then its powers


def test_simple_forecasts_stay_behind(scored, optimum):
    for one in (LastValue(), ContextMean()):
        assert by_step(scored(one)).mean() < optimum.mean() - 0.05


def test_a_model_that_starts_from_space_and_time_reaches_it_untrained(planted, planted_scaler, scored, optimum):
    forecaster = PatchForecaster(network(planted, planted_scaler, head="space-time"), 10)
    found = by_step(scored(NetworkForecaster("model", "model", forecaster)))
    np.testing.assert_allclose(found, optimum, atol=0.05)


@pytest.mark.slow
def test_it_stays_there_when_it_learns_to_forecast(planted, planted_scaler, scored, optimum):
    """What fine-tuning adds to the linear start cannot go beyond the optimum, and must not fall behind it."""
    forecaster = PatchForecaster(network(planted, planted_scaler, head="space-time"), 10)
    train, validation = (
        ContextWindows(planted.select(split=split), planted_scaler, context=40, horizon=10)
        for split in ("train", "validation")
    )
    config = ForecastConfig(epochs=5, draws=4, learning_rates=(1e-3,), accelerator="cpu")
    trained = train_forecaster(forecaster, train, validation, config)
    found = by_step(scored(NetworkForecaster("model", "finetuned", trained.network)))
    np.testing.assert_allclose(found, optimum, atol=0.05)
