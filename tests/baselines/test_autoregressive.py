"""The autoregressive baseline finds a planted process and forecasts it step by step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from brainlm.baselines.autoregressive import Autoregressive, AutoregressiveForecaster, yule_walker
from brainlm.baselines.moments import moments_of
from brainlm.data.scaling import ScaledBatch

PLANTED = ([0.5, 0.3], [0.9, -0.4], [-0.6, 0.2])  # of three parcels


@pytest.fixture(scope="module")
def planted():
    noise = np.random.default_rng(0).standard_normal((40, 3, 700))
    signal = np.stack([lfilter([1], [1, -a, -b], noise[:, p], axis=1) for p, (a, b) in enumerate(PLANTED)], axis=1)
    signal_BPT = torch.tensor(signal[:, :, 200:], dtype=torch.float32)
    return moments_of([ScaledBatch(signal_BPT, torch.ones_like(signal_BPT, dtype=torch.bool))], num_lags=11)


def test_a_planted_process_and_its_order_are_recovered(planted):
    fitted = Autoregressive.fit(planted)
    assert fitted.name == "AR(2)"
    np.testing.assert_allclose(fitted.coefficients_PK, PLANTED, atol=0.02)


def test_aic_never_chooses_a_lower_order_than_bic(planted):
    assert Autoregressive.fit(planted, criterion="aic").order >= Autoregressive.fit(planted).order


def test_the_noise_variance_is_recovered(planted):
    np.testing.assert_allclose(yule_walker(planted.autocovariance_PL, 2).noise_P, 1.0, atol=0.03)


def test_white_noise_has_order_zero_and_is_forecast_by_its_mean(make_batch):
    signal_BPT = 2 + torch.randn(50, 12, 200, generator=torch.Generator().manual_seed(0))
    white = ScaledBatch(signal_BPT, torch.ones_like(signal_BPT, dtype=torch.bool))
    fitted = Autoregressive.fit(moments_of([white], num_lags=11))
    assert fitted.order == 0
    predicted = fitted.predict(make_batch("future"))
    torch.testing.assert_close(predicted, fitted.mean_P[:, None].expand_as(predicted))


def test_the_future_is_forecast_from_the_last_visible_points(moments, make_batch):
    fitted = Autoregressive.fit(replace(moments, mean_P=moments.mean_P + 1), max_order=3)
    batch = make_batch("future")
    predicted = fitted.predict(batch).double().numpy()
    coefficients, mean = fitted.coefficients_PK.double().numpy(), fitted.mean_P.double().numpy()
    for window, parcel in np.argwhere(batch.valid_BPT.any(dim=2).numpy()):
        series = batch.signal_BPT[window, parcel, :30].double().numpy() - mean[parcel]
        for _ in range(10):
            series = np.append(series, coefficients[parcel] @ series[-1 : -fitted.order - 1 : -1])
        np.testing.assert_allclose(predicted[window, parcel, 30:], series[30:] + mean[parcel], atol=1e-5)


def test_only_the_run_at_the_end_is_forecast(moments, make_batch):
    fitted = Autoregressive.fit(moments)
    predicted = fitted.predict(make_batch("future"))
    torch.testing.assert_close(predicted[:, :, :30], fitted.mean_P[:, None].expand(5, -1, 30))


def test_an_unknown_parcel_has_no_coefficients():
    fit = yule_walker(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.5, 0.25]], dtype=torch.float64), 2)
    torch.testing.assert_close(fit.coefficients_PK, torch.tensor([[0, 0], [0.5, 0]], dtype=torch.float64))


@pytest.mark.parametrize("centre", ["population", "context"])
def test_a_forecast_from_a_context_is_the_recursion_by_hand(centre):
    model = Autoregressive(torch.tensor([0.5, -0.5]), torch.tensor([[0.6, 0.2], [0.3, -0.1]]))
    context_BPT = torch.randn(3, 2, 12, generator=torch.Generator().manual_seed(0))
    valid_BPT = torch.ones_like(context_BPT, dtype=torch.bool)
    found = AutoregressiveForecaster(model, centre).predict(context_BPT, valid_BPT, 5)
    for row in range(3):
        for parcel in range(2):
            mean = model.mean_P[parcel] if centre == "population" else context_BPT[row, parcel].mean()
            past = [float(value - mean) for value in context_BPT[row, parcel, -2:]]
            for step in range(5):
                first, second = model.coefficients_PK[parcel].tolist()
                past.append(first * past[-1] + second * past[-2])
                assert float(found[row, parcel, step]) == pytest.approx(float(past[-1] + mean), abs=1e-5)


def test_a_forecast_of_order_0_or_from_a_short_context_is_finite():
    nothing = Autoregressive(torch.tensor([0.5, -0.5]), torch.zeros(2, 0))
    context_BPT = torch.ones(1, 2, 3)
    valid_BPT = torch.ones_like(context_BPT, dtype=torch.bool)
    found = AutoregressiveForecaster(nothing).predict(context_BPT, valid_BPT, 2)
    assert found.tolist() == [[[0.5, 0.5], [-0.5, -0.5]]]
    longer = Autoregressive(torch.zeros(2), torch.full((2, 9), 0.1))
    assert torch.isfinite(AutoregressiveForecaster(longer).predict(context_BPT, valid_BPT, 2)).all()
