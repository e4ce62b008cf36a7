"""Statistics of signals whose spectra are known."""

import numpy as np
import pytest

from brainlm.baselines.signal_statistics import (
    recording_signal_statistics,
    signal_statistics,
    spectral_slope,
)
from brainlm.bench.stores import random_store


def smooth(rng, *, coefficient: float, num_timepoints: int, num_parcels: int = 200) -> np.ndarray:
    """AR(1) noise."""
    noise = rng.standard_normal((num_timepoints + 100, num_parcels))
    for time in range(1, len(noise)):
        noise[time] += coefficient * noise[time - 1]
    return noise[100:]


def test_spread_and_autocorrelation_are_those_of_the_formulas(rng):
    bold = (10_000 + 40 * smooth(rng, coefficient=0.5, num_timepoints=120, num_parcels=3)).astype(np.float32)
    found = recording_signal_statistics(bold, tr_s=2.0)
    for parcel in range(3):
        signal = bold[:, parcel].astype(np.float64)
        signal = signal - signal.mean()
        lagged = (signal[1:] * signal[:-1]).sum() / (signal**2).sum()
        np.testing.assert_allclose(found[:2, parcel], [np.log(signal.std()), lagged], rtol=1e-6)


def test_the_slope_is_that_of_a_straight_line_through_the_log_spectrum(rng):
    frequencies = np.fft.rfftfreq(400, d=2.0)
    spectrum = np.exp(2j * np.pi * rng.random((len(frequencies), 300)))
    spectrum[1:] *= frequencies[1:, None] ** (-1.5 / 2)  # power falls with the power 1.5 of the frequency
    spectrum[0] = 0
    signal = np.fft.irfft(spectrum, n=400, axis=0)
    assert spectral_slope(signal, tr_s=2.0).mean() == pytest.approx(-1.5, abs=0.1)


def test_white_noise_has_no_slope_and_a_random_walk_falls_by_two(rng):
    noise = rng.standard_normal((300, 300))
    assert spectral_slope(noise, tr_s=2.0).mean() == pytest.approx(0, abs=0.05)
    assert spectral_slope(noise.cumsum(axis=0), tr_s=2.0).mean() == pytest.approx(-2, abs=0.25)


def test_the_slope_belongs_to_the_signal_not_to_the_scanner(rng):
    """The same process seen at two repetition times: a sum of sines from 0.008 to 0.11 Hz, 600 s long."""
    frequencies = np.arange(0.008, 0.11, 1 / 600)
    phases = 2 * np.pi * rng.random((len(frequencies), 1, 200))

    def seen(tr_s: float) -> np.ndarray:
        times = np.arange(0, 600, tr_s)[:, None]
        waves = np.cos(2 * np.pi * frequencies[:, None, None] * times + phases)
        return (frequencies[:, None, None] ** -0.5 * waves).sum(axis=0)

    slow, fast = spectral_slope(seen(3.0), tr_s=3.0), spectral_slope(seen(1.0), tr_s=1.0)
    assert slow.mean() == pytest.approx(fast.mean(), abs=0.03)
    assert np.corrcoef(slow, fast)[0, 1] > 0.95
    in_samples = spectral_slope(seen(1.0), tr_s=3.0)  # as if frequencies were counted in samples
    assert abs(in_samples.mean() - fast.mean()) > 0.3


def test_units_change_the_spread_only(rng):
    bold = smooth(rng, coefficient=0.5, num_timepoints=150, num_parcels=4).astype(np.float32)
    found, scaled = (recording_signal_statistics(each, tr_s=2.0) for each in (bold, 50 * bold))
    np.testing.assert_allclose(scaled[0] - found[0], np.log(50), rtol=1e-5)
    np.testing.assert_allclose(scaled[1:], found[1:], rtol=1e-4)


@pytest.mark.parametrize("value", [np.nan, 10_000.1])
def test_parcels_without_signal_are_nan_and_leave_the_others_alone(rng, value):
    bold = smooth(rng, coefficient=0.3, num_timepoints=100, num_parcels=4).astype(np.float32)
    whole = recording_signal_statistics(bold, tr_s=2.0)
    bold[:, 1] = value
    found = recording_signal_statistics(bold, tr_s=2.0)
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_allclose(np.delete(found, 1, axis=1), np.delete(whole, 1, axis=1), rtol=1e-12)


@pytest.mark.parametrize("num_timepoints", [1, 2, 15])
def test_a_recording_too_short_for_a_spectrum_has_no_slope(rng, num_timepoints):
    found = recording_signal_statistics(rng.standard_normal((num_timepoints, 3)).astype(np.float32), tr_s=2.0)
    assert np.isnan(found[2]).all()
    assert np.isfinite(found[:2]).all() == (num_timepoints > 1)


def test_a_store_has_a_row_a_recording_and_a_name_a_column(tmp_path):
    store = random_store(tmp_path / "s", num_recordings=3, num_parcels=5, num_timepoints=(60, 90))
    told = []
    found = signal_statistics(store, on_progress=lambda done, total: told.append((done, total)))
    assert found.values_NF.shape == (3, 15)
    assert (found.names[0], found.names[-1]) == ("log_spread parcel-1", "spectral_slope parcel-5")
    expected = recording_signal_statistics(store.bold(2), tr_s=2.0).ravel()
    np.testing.assert_allclose(found.values_NF[2], expected, rtol=1e-6)
    assert told == [(1, 3), (2, 3), (3, 3)]
