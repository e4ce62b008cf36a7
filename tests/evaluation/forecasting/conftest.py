"""A planted autoregressive process, and windows of it."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.data.context_windows import ContextWindows
from brainlm.data.scaling import Scaler
from brainlm.data.splits import SplitRule
from brainlm.data.synthetic import synthetic_store
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows
from brainlm.evaluation.forecasting.residuals import ResidualBand
from brainlm.evaluation.forecasting.scoring import ForecastScores, score

AUTOREGRESSION = 0.8  # of every parcel: x_t = 0.8 x_(t-1) + noise
CONTEXT, HORIZON = 40, 10


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """48 people, 10 parcels, each an AR(1) process."""
    return synthetic_store(
        tmp_path_factory.mktemp("forecasting") / "planted.store",
        num_subjects=48,
        num_parcels=10,
        num_networks=2,
        num_timepoints=(200, 400),
        autoregression=AUTOREGRESSION,
        split_rule=SplitRule(validation=0.2, test=0.5),
    )


@pytest.fixture(scope="session")
def planted_scaler(planted):
    return Scaler.fit(planted.select(split="train"), "zscore")


@pytest.fixture(scope="session")
def judged(planted, planted_scaler):
    """``judged("test", context=..., horizon=..., **settings)``: fixed windows of a split."""

    def make(split: str = "test", *, context: int = CONTEXT, horizon: int = HORIZON, scaler=None, **settings):
        windows = ContextWindows(
            planted.select(split=split), scaler or planted_scaler, context=context, horizon=horizon
        )
        return JudgedWindows.of(windows, **settings)

    return make


@dataclasses.dataclass(frozen=True)
class Guess:
    """The context's last value times ``factor``, plus ``error``."""

    name: str = "Guess"
    group: str = "simple"
    factor: float = 0.0
    error: float = 0.0
    tuned: str = ""
    seconds: float | None = None

    def predict(self, context_BPT, valid_BPT, horizon):  # noqa: ARG002
        return (context_BPT[:, :, -1:] * self.factor + self.error).expand(-1, -1, horizon)


@pytest.fixture(scope="session")
def make_guess():
    return Guess


@pytest.fixture(scope="session")
def scored(judged):
    """``scored(forecaster)``: on the test windows."""

    def make(forecaster, *, windows=None) -> ForecastScores:
        windows = windows or judged()
        horizon = windows.windows.horizon
        band = ResidualBand(np.full(horizon, -1.0), np.full(horizon, 1.0))
        return score(forecaster, windows, band, windows.thinned(3))

    return make


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
