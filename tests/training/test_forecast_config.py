"""The budget of forecasting: what it refuses, and what it says of itself."""

import pytest

from brainlm.errors import ConfigError
from brainlm.training.forecast_config import ForecastConfig


def test_each_learning_rate_has_all_else_in_common():
    config = ForecastConfig(epochs=7, draws=2, learning_rates=(1e-3, 3e-3), patience=0, seed=4)
    first, second = (config.at(rate) for rate in config.learning_rates)
    assert (first.learning_rate, second.learning_rate) == (1e-3, 3e-3)
    assert {first.epochs, second.epochs} == {7}
    assert {first.seed, second.seed} == {4}
    assert first.draws == 2
    assert first.patience == 0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"learning_rates": ()}, "no learning rate to try"),
        ({"learning_rates": (1e-3, 0.0)}, "teaches nothing"),
        ({"epochs": 0}, "epochs is too small"),
        ({"batch_size": 0}, "batch_size is too small"),
        ({"warmup_share": 1.0}, "warmup_share is not a share"),
        ({"weight_decay": -1.0}, "weight_decay is negative"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, problem):
    with pytest.raises(ConfigError, match=problem):
        ForecastConfig(**settings)


def test_the_budget_is_stated_in_words():
    said = ForecastConfig(learning_rates=(1e-3, 3e-3)).sentence
    for part in (
        "learning rate 0.001, 0.003 (each tried from the same start)",
        "at most 20 epochs",
        "4 epochs without",
    ):
        assert part in said
    assert "stopping" not in ForecastConfig(patience=0).sentence
    assert "3 random windows" in ForecastConfig(draws=3).sentence
