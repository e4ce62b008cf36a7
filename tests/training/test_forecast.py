"""Any network learns to forecast: the best rate's best state is kept, bytes repeat, and only the future counts."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from brainlm.data.context_windows import ContextWindows
from brainlm.data.scaling import Scaler
from brainlm.errors import ConfigError
from brainlm.training.forecast import DrawnForecasts, ForecastConfig, seconds_per_window, train_forecaster
from brainlm.training.forecast_module import ForecastBatch, training_loss

CONTEXT, HORIZON = 12, 4
CONFIG = ForecastConfig(epochs=3, batch_size=4, learning_rates=(0.03,), weight_decay=0.0, accelerator="cpu")


class Scalar(nn.Module):
    """The last value times a number for each step; dropout where asked for."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.share_H = nn.Parameter(torch.zeros(HORIZON))
        self.drop = nn.Dropout(dropout)

    def forward(self, context_BPT: torch.Tensor, valid_BPT: torch.Tensor) -> torch.Tensor:
        return self.drop((context_BPT * valid_BPT)[:, :, -1:]) * self.share_H


@dataclasses.dataclass(frozen=True, eq=False)
class Learnt:
    future_BPH: torch.Tensor
    penalty: torch.Tensor


class Penalised(Scalar):
    """It wants its numbers to be 1, whatever the future is."""

    def learn(self, context_BPT: torch.Tensor, valid_BPT: torch.Tensor) -> Learnt:
        return Learnt(self(context_BPT, valid_BPT), 1e4 * (self.share_H - 1).square().mean())


@pytest.fixture(scope="module")
def windows(store) -> tuple[ContextWindows, ContextWindows]:
    scaler = Scaler.fit(store, "zscore", allow_any_split=True)
    parts = store.take(range(12)), store.take(range(12, 16))
    return tuple(ContextWindows(part, scaler, context=CONTEXT, horizon=HORIZON) for part in parts)


def validation_mse(network: nn.Module, windows: ContextWindows) -> float:
    """Written out: every window, every value."""
    fixed = windows.fixed()
    batch = windows.batch(fixed.recording, fixed.start)
    with torch.no_grad():
        error = network(batch.context_BPT, batch.context_valid_BPT) - batch.future_BPH
    return float(error[batch.future_valid_BPH].double().square().mean())


def test_what_is_learnt_is_what_least_squares_would_say(windows):
    network = Scalar()
    config = dataclasses.replace(CONFIG, epochs=25, learning_rates=(0.2,), clip_norm=0.0)
    train_forecaster(network, windows[0], None, config)
    drawn = [windows[0].drawn(windows[0].recordings, seed=1, epoch=epoch) for epoch in range(50)]
    last = torch.cat([batch.context_BPT[:, :, -1:] for batch in drawn])
    future_BPH = torch.cat([batch.future_BPH for batch in drawn])
    expected_H = (last * future_BPH).sum(dim=(0, 1)) / last.square().sum()
    torch.testing.assert_close(network.share_H.detach(), expected_H, atol=0.12, rtol=0)
    assert expected_H[0] > 0.6  # an autoregressive process of 0.8: there is something to learn


def test_the_best_learning_rate_s_best_state_is_kept(windows):
    network, told = Scalar(), []
    config = dataclasses.replace(CONFIG, learning_rates=(1e-5, 0.03, 1e-4))
    trained = train_forecaster(network, *windows, config, on_progress=told.append)
    assert [attempt.learning_rate for attempt in trained.attempts] == [1e-5, 0.03, 1e-4]
    assert trained.best.learning_rate == 0.03
    assert trained.best.validation_mse == min(figures["val_loss"] for figures in told)
    assert validation_mse(network, windows[1]) == pytest.approx(trained.best.validation_mse, rel=1e-5)
    assert [figures["learning_rate"] for figures in told if figures["epoch"] == 1] == [1e-5, 0.03, 1e-4]
    assert not network.training
    assert "learning rate 0.03 of 1e-05, 0.03, 0.0001; epoch " in trained.tuned


def test_every_learning_rate_starts_from_the_same_state(windows):
    alone, second = Scalar(0.5), Scalar(0.5)
    train_forecaster(alone, *windows, CONFIG)
    train_forecaster(second, *windows, dataclasses.replace(CONFIG, learning_rates=(1e-7, 0.03)))
    assert torch.equal(alone.share_H, second.share_H)


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_caller_s_random_numbers_alone(windows):
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(states))
        before = torch.get_rng_state()
        network = Scalar(0.5)
        train_forecaster(network, *windows, dataclasses.replace(CONFIG, epochs=2, draws=2, seed=seed))
        assert torch.equal(before, torch.get_rng_state())
        states.append(network.share_H.detach().clone())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_rate_at_which_training_diverges_is_one_that_was_not_the_best(windows):
    trained = train_forecaster(Scalar(), *windows, dataclasses.replace(CONFIG, learning_rates=(1e25, 0.03)))
    assert trained.attempts[0].validation_mse == np.inf
    assert trained.best.learning_rate == 0.03
    with pytest.raises(ConfigError, match="lost its way"):
        train_forecaster(Scalar(), *windows, dataclasses.replace(CONFIG, learning_rates=(1e25,)))


def test_without_validation_all_epochs_of_one_learning_rate_are_done(windows):
    trained = train_forecaster(Scalar(), windows[0], None, CONFIG)
    assert trained.best.epochs == trained.best.best_epoch == CONFIG.epochs
    with pytest.raises(ConfigError, match="nothing decides between the learning rates") as caught:
        train_forecaster(Scalar(), windows[0], None, dataclasses.replace(CONFIG, learning_rates=(0.1, 0.2)))
    assert "2 learning rates and no validation" in str(caught.value)


def test_the_loss_is_the_mean_squared_error_of_valid_future_values(windows):
    batch = DrawnForecasts(windows[0], CONFIG)[0]
    generator = torch.Generator().manual_seed(0)
    valid_BPH = torch.rand(batch.future_BPH.shape, generator=generator) < 0.7
    network = Scalar()
    with torch.no_grad():
        network.share_H.fill_(0.5)
    error = (network(batch.context_BPT, batch.valid_BPT) - batch.future_BPH).detach()
    expected = sum(float(e) ** 2 for e in error[valid_BPH]) / int(valid_BPH.sum())
    masked = dataclasses.replace(
        batch, future_BPH=torch.where(valid_BPH, batch.future_BPH, 1e6), future_valid_BPH=valid_BPH
    )
    assert float(training_loss(network, masked).detach()) == pytest.approx(expected, rel=1e-5)
    nothing = ForecastBatch(batch.context_BPT, batch.valid_BPT, batch.future_BPH, torch.zeros_like(valid_BPH))
    assert float(training_loss(network, nothing).detach()) == 0.0


def test_what_a_network_adds_to_its_loss_teaches_it_but_does_not_judge_it(windows):
    network, told = Penalised(), []
    config = dataclasses.replace(CONFIG, epochs=15, patience=0, learning_rates=(0.2,), clip_norm=0.0)
    trained = train_forecaster(network, windows[0], None, config, on_progress=told.append)
    np.testing.assert_allclose(network.share_H.detach(), 1.0, atol=0.15)
    judged = train_forecaster(Penalised(), *windows, dataclasses.replace(config, epochs=1))
    assert validation_mse(judged.network, windows[1]) == pytest.approx(judged.best.validation_mse, rel=1e-5)
    assert told[0]["train_loss"] > 1000 > judged.best.validation_mse
    assert trained.device.type == "cpu"


def test_the_time_of_a_window_is_measured_without_learning_anything(windows):
    network = Scalar(0.5).eval()
    state = torch.get_rng_state()
    assert seconds_per_window(network, windows[0], CONFIG) > 0
    assert torch.equal(network.share_H, torch.zeros(HORIZON))
    assert network.share_H.grad is None
    assert not network.training
    assert torch.equal(state, torch.get_rng_state())


def test_the_losses_of_every_learning_rate_are_logged_where_asked_for(windows, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=2, learning_rates=(0.03, 0.1))
    train_forecaster(Scalar(), *windows, config, logs=tmp_path / "lstm")
    for name in ("rate_0.03", "rate_0.1"):
        assert "val_loss" in (tmp_path / "lstm" / name / "metrics.csv").read_text().splitlines()[0]
