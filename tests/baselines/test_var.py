"""The vector autoregression on principal components."""

import numpy as np
import pytest
import torch

from brainlm.baselines.autoregressive import Autoregressive
from brainlm.baselines.forecaster import Forecaster
from brainlm.baselines.moments import moments_of
from brainlm.baselines.var import ComponentForecaster, LaggedComponents
from brainlm.data.scaling import ScaledBatch

# Three processes that drive one another, seen in six parcels.
TRUE = torch.tensor([[0.6, 0.3, 0.0], [-0.3, 0.6, 0.0], [0.2, 0.0, 0.3]], dtype=torch.float64)


def simulated(num_recordings: int, length: int, *, seed: int = 0) -> list[ScaledBatch]:
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(np.random.default_rng(7).standard_normal((6, 3)))[0]
    found = []
    for _ in range(num_recordings):
        state, states = np.zeros(3), []
        for _ in range(length + 50):
            state = TRUE.numpy() @ state + rng.standard_normal(3)
            states.append(state)
        signal_TP = np.array(states[50:]) @ mixing.T + 0.01 * rng.standard_normal((length, 6))
        signal = torch.from_numpy(signal_TP.T[None].copy()).float()
        found.append(ScaledBatch(signal, torch.ones_like(signal, dtype=torch.bool)))
    return found


@pytest.fixture(scope="module")
def lagged():
    recordings = simulated(40, 200)
    return LaggedComponents.of(recordings, moments_of(recordings, num_lags=4), max_components=6, max_order=3)


def forecaster(lagged, num_components=3, order=1, **settings) -> ComponentForecaster:
    return ComponentForecaster(
        axes_PD=lagged.axes_PD[:, :num_components].float(),
        coefficients_KDD=lagged.coefficients(num_components, order, 1e-6).float(),
        mean_P=lagged.mean_P.float(),
        **{"rest": None, **settings},
    )


def test_lagged_covariances_are_those_of_the_components(lagged):
    sums = [torch.zeros(6, 6, dtype=torch.float64) for _ in range(4)]
    for one in simulated(40, 200):
        scores_DT = lagged.axes_PD.T @ (one.signal_BPT[0].double() - lagged.mean_P[:, None])
        for lag, total in enumerate(sums):
            for t in range(lag, 200):
                total += torch.outer(scores_DT[:, t], scores_DT[:, t - lag])
    torch.testing.assert_close(lagged.covariance_KDD, torch.stack(sums) / (40 * 200), rtol=1e-6, atol=1e-8)


def test_it_finds_the_process_that_made_the_data(lagged):
    (matrix,) = lagged.coefficients(3, 1, 1e-6)
    mixing = np.linalg.qr(np.random.default_rng(7).standard_normal((6, 3)))[0]
    turned = torch.from_numpy(mixing.T) @ lagged.axes_PD[:, :3]  # from components to the processes
    torch.testing.assert_close(turned @ matrix @ turned.T, TRUE, atol=0.03, rtol=0)


def test_ridge_shrinks_and_stability_does_not_depend_on_it(lagged):
    sizes = [float(lagged.coefficients(3, 2, ridge).abs().sum()) for ridge in (1e-6, 0.1, 10.0)]
    assert sizes == sorted(sizes, reverse=True)
    for ridge in (1e-6, 0.1):
        first, second = lagged.coefficients(3, 2, ridge)
        companion = torch.zeros(6, 6, dtype=torch.float64)
        companion[:3, :3], companion[:3, 3:], companion[3:, :3] = first, second, torch.eye(3)
        assert torch.linalg.eigvals(companion).abs().max() < 1


def test_a_forecast_is_the_recursion_by_hand(lagged):
    rest = Autoregressive(torch.zeros(6), torch.full((6, 2), 0.2))
    method = forecaster(lagged, order=2, rest=rest)
    batch = simulated(2, 30, seed=3)
    context_BPT = torch.cat([one.signal_BPT for one in batch])
    found = method.predict(context_BPT, torch.ones_like(context_BPT, dtype=torch.bool), 4)
    axes = method.axes_PD
    for row in range(2):
        centred = context_BPT[row] - method.mean_P[:, None]
        scores = [axes.T @ centred[:, t] for t in (-2, -1)]
        others = [centred[:, t] - axes @ (axes.T @ centred[:, t]) for t in (-2, -1)]
        for step in range(4):
            first, second = method.coefficients_KDD
            scores.append(first @ scores[-1] + second @ scores[-2])
            others.append(0.2 * others[-1] + 0.2 * others[-2])
            expected = axes @ scores[-1] + others[-1] + method.mean_P
            torch.testing.assert_close(found[row, :, step], expected, rtol=1e-4, atol=1e-5)
    assert isinstance(method, Forecaster)
    assert method.name == "VAR(2) on 3 components"


def test_a_context_shorter_than_the_order_and_missing_parcels_are_fine(lagged):
    method = forecaster(lagged, order=3, centre="context")
    context_BPT = simulated(1, 2)[0].signal_BPT
    valid_BPT = torch.ones_like(context_BPT, dtype=torch.bool)
    valid_BPT[0, 1] = False
    found = method.predict(context_BPT.masked_fill(~valid_BPT, 0.0), valid_BPT, 3)
    assert torch.isfinite(found).all()
    far = method.predict(context_BPT.masked_fill(~valid_BPT, 0.0), valid_BPT, 200)[:, :, -1]
    torch.testing.assert_close(far, context_BPT.masked_fill(~valid_BPT, 0.0).mean(dim=2), atol=1e-3, rtol=0)
