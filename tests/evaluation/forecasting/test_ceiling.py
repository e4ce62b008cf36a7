"""What a linear forecast from the own past can reach, for processes of which it is known."""

import itertools

import numpy as np
import pytest
import torch
from scipy.signal import butter, lfilter, sosfiltfilt

from brainlm.data.scaling import ScaledBatch
from brainlm.evaluation.forecasting.ceiling import (
    centred_variance,
    error_variance,
    linear_ceiling,
    variogram_of,
)


def semivariance(autocorrelation: float, num_lags: int) -> torch.Tensor:
    return 1 - autocorrelation ** torch.arange(num_lags, dtype=torch.float64)[None]


def batches(signals_TP) -> list[ScaledBatch]:
    return [
        ScaledBatch(one := torch.from_numpy(signal.T[None].copy()).float(), torch.ones_like(one, dtype=torch.bool))
        for signal in signals_TP
    ]


def test_a_semivariance_is_half_the_mean_squared_difference():
    rng = np.random.default_rng(0)
    signals = [rng.standard_normal((length, 2)).cumsum(axis=0) * 0.1 for length in (30, 50)]
    found = variogram_of(batches(signals), [1, 3], num_lags=6, num_parcels=2).semivariance_PL
    for lag in range(6):
        parts = [0.5 * ((s[lag:] - s[: len(s) - lag]) ** 2).sum(axis=0) / len(s) for s in signals]
        pairs = [(len(s) - lag) / len(s) for s in signals]
        expected = (parts[0] + 3 * parts[1]) / (pairs[0] + 3 * pairs[1])
        np.testing.assert_allclose(found[:, lag], expected, rtol=1e-5, atol=1e-9)


def test_the_error_is_that_of_least_squares_on_a_long_series():
    signal = lfilter([1], [1, -0.5, -0.3], np.random.default_rng(0).standard_normal(200_000))
    one = variogram_of(batches([signal[:, None]]), [1], num_lags=8, num_parcels=1)
    found = error_variance(one.semivariance_PL, context=5, horizon=3)[0]
    for step in range(1, 4):
        past = np.stack([signal[4 - lag : len(signal) - 3 - lag] for lag in range(5)], axis=1)
        future = signal[4 + step : len(signal) - 3 + step]
        moved = past[:, 1:] - past[:, :1]  # differences only: the mean is not known
        target = future - past[:, 0]
        rest = target - moved @ np.linalg.lstsq(moved, target, rcond=None)[0]
        assert float(found[step - 1]) == pytest.approx(rest.var(), rel=0.01)


def test_a_longer_context_can_only_help_and_a_known_process_is_approached():
    errors = [error_variance(semivariance(0.8, 600), context=c, horizon=4)[0] for c in (1, 2, 10, 100, 500)]
    for shorter, longer in itertools.pairwise(errors):
        assert (longer <= shorter + 1e-6).all()
    optimum = 1 - 0.8 ** (2 * torch.arange(1, 5, dtype=torch.float64))  # with a known mean
    torch.testing.assert_close(errors[-1], optimum, atol=0.02, rtol=0)


def test_the_variance_about_the_contexts_mean_is_that_of_simulated_contexts():
    noise = np.random.default_rng(0).standard_normal((100, 40_000))
    signal = lfilter([1], [1, -0.8], noise, axis=0)[50:] * 0.6  # unit variance
    about_mean = signal[30:34] - signal[:30].mean(axis=0)
    found = centred_variance(semivariance(0.8, 34), context=30, horizon=4)[0]
    np.testing.assert_allclose(found, (about_mean**2).mean(axis=1), rtol=0.03)


def test_the_planted_process_has_its_own_ceiling(judged):
    found = linear_ceiling(judged())
    known = semivariance(0.8, 50)
    error, total = (make(known, context=40, horizon=10)[0] for make in (error_variance, centred_variance))
    np.testing.assert_allclose(found.r2_H, 1 - error / total, atol=0.03)
    assert found.r2 == pytest.approx(float(1 - error.sum() / total.sum()), abs=0.02)
    assert "40 points of its own past" in found.assumption


def test_filtered_noise_has_a_high_ceiling_although_its_spectrum_is_empty():
    noise = np.random.default_rng(0).standard_normal((12, 200, 5))
    filtered = sosfiltfilt(butter(5, 0.1, fs=0.5, output="sos"), noise, axis=1)
    for signals, lowest, highest in ((noise, -0.1, 0.1), (filtered, 0.6, 1.0)):
        one = variogram_of(batches(list(signals)), [1] * 12, num_lags=70, num_parcels=5)
        error = error_variance(one.semivariance_PL, context=60, horizon=2).sum()
        total = centred_variance(one.semivariance_PL, context=60, horizon=2).sum()
        assert lowest < 1 - error / total <= highest


def test_recordings_that_count_nothing_and_parcels_without_signal_do_not_matter():
    signals = [np.random.default_rng(seed).standard_normal((60, 3)) for seed in range(2)]
    both = batches(signals)
    missing = ScaledBatch(both[0].signal_BPT, both[0].valid_BPT.clone())
    missing.valid_BPT[0, 2] = False
    found = variogram_of([missing, both[1]], [1, 1], num_lags=5, num_parcels=3)
    alone = variogram_of(both[1:], [1], num_lags=5, num_parcels=3)
    torch.testing.assert_close(found.semivariance_PL[2], alone.semivariance_PL[2])
    assert found.weight_P.tolist() == [2, 2, 1]
