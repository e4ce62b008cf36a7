"""What both rates can carry is kept, what the new one cannot is removed; level and gaps stay as they are."""

import logging

import numpy as np
import pytest

from brainlm.data import resampling
from brainlm.data.recording import Recording
from brainlm.data.resampling import ZERO_CROSSINGS, num_resampled, resampled
from brainlm.errors import DataError

RATIOS = pytest.mark.parametrize(
    ("old_tr", "new_tr"), [(2.0, 0.735), (0.735, 2.0), (0.72, 0.735), (2.0, 1.99), (1.0, np.sqrt(2))]
)
PHASES = np.linspace(0, 2 * np.pi, 8, endpoint=False)


def recording_of(bold_TP: np.ndarray, tr: float) -> Recording:
    return Recording(np.asarray(bold_TP, dtype=np.float32), tr, "01", task="rest", phenotypes={"age": 30.0})


def sines(frequency_hz: float, tr: float, num_timepoints: int) -> np.ndarray:
    """(T, 8): one frequency in 8 phases."""
    return np.sin(2 * np.pi * frequency_hz * tr * np.arange(num_timepoints)[:, None] + PHASES)


def away_from_ends(num_timepoints: int, old_tr: float, new_tr: float, duration_s: float) -> slice:
    reach_s = ZERO_CROSSINGS * max(old_tr, new_tr)
    times_s = np.arange(num_timepoints) * new_tr
    inside = np.flatnonzero((times_s > reach_s) & (times_s < duration_s - reach_s))
    return slice(inside[0], inside[-1] + 1)


@RATIOS
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.88])
def test_a_sine_below_both_nyquist_frequencies_is_reproduced(old_tr, new_tr, share):
    frequency = share * 0.5 / max(old_tr, new_tr)
    new = resampled(recording_of(sines(frequency, old_tr, 300), old_tr), new_tr).bold
    expected = sines(frequency, new_tr, len(new))
    middle = away_from_ends(len(new), old_tr, new_tr, 299 * old_tr)
    np.testing.assert_allclose(new[middle], expected[middle], atol=2e-3)


@pytest.mark.parametrize(("old_tr", "new_tr"), [(0.735, 2.0), (1.0, 3.0), (0.72, 1.0)])
@pytest.mark.parametrize("share", [1.12, 1.3])
def test_a_sine_above_the_new_nyquist_frequency_is_removed(old_tr, new_tr, share):
    new = resampled(recording_of(sines(share * 0.5 / new_tr, old_tr, 400), old_tr), new_tr).bold
    middle = away_from_ends(len(new), old_tr, new_tr, 399 * old_tr)
    assert np.abs(new[middle]).max() < 2e-3
    assert np.abs(new).max() < 1.01  # next to the ends some is left, but never more than there was


def test_a_slow_sine_is_followed_up_to_the_ends():
    old = recording_of(sines(0.05 * 0.25, 2.0, 200), 2.0)
    for tr in (0.735, 3.0):
        new = resampled(old, tr).bold
        np.testing.assert_allclose(new, sines(0.05 * 0.25, tr, len(new)), atol=0.03)


def test_in_the_middle_it_is_the_plain_sum_of_sincs(rng):
    """Whittaker and Shannon's formula, over every sample; noise without the frequencies at the edge of the band."""
    spectrum = rng.normal(size=(501, 3)) + 1j * rng.normal(size=(501, 3))
    spectrum[int(0.85 * 500) :] = 0
    bold_TP = np.fft.irfft(spectrum, 1000, axis=0)
    bold_TP /= bold_TP.std()
    new = resampled(recording_of(bold_TP, 1.0), 0.37).bold
    worst = 0.0
    for point in range(1000, 1600, 7):
        expected_P = sum(np.sinc(point * 0.37 - sample) * bold_TP[sample] for sample in range(1000))
        worst = max(worst, np.abs(new[point] - expected_P).max())
    assert worst < 0.01  # the plain sum itself is cut off at 400 samples


def test_the_samples_themselves_stay_where_the_grids_meet(rng):
    bold_TP = rng.normal(100, 5, (60, 4))
    new = resampled(recording_of(bold_TP, 2.0), 0.5)
    np.testing.assert_allclose(new.bold[::4], bold_TP, rtol=1e-6)


@pytest.mark.parametrize(
    ("num_timepoints", "old_tr", "new_tr", "expected"),
    [(2, 2.0, 2.0 / 3, 4), (100, 2.0, 0.735, 270), (100, 0.1, 0.3, 34), (101, 0.735, 2.0, 37), (4, 0.7, 2.1, 2)],
)
def test_the_grid_begins_at_zero_and_ends_within_the_recording(num_timepoints, old_tr, new_tr, expected):
    new = resampled(recording_of(np.arange(num_timepoints * 2.0).reshape(-1, 2), old_tr), new_tr)
    assert (new.num_timepoints, new.tr) == (expected, new_tr)
    # A straight line shows the time of every point.
    np.testing.assert_allclose(new.bold[:, 0] / 2 * old_tr, np.arange(expected) * new_tr, atol=1e-4)


@pytest.mark.parametrize("new_tr", [0.735, 3.3])
def test_a_constant_stays_what_it_is(new_tr):
    level_P = np.array([10_000.123, -3.0, 0.0], dtype=np.float32)
    new = resampled(recording_of(np.tile(level_P, (50, 1)), 2.0), new_tr).bold
    assert np.array_equal(new, np.tile(level_P, (len(new), 1)))


@pytest.mark.parametrize("new_tr", [0.735, 3.3])
def test_level_and_scale_of_the_signal_pass_through(rng, new_tr):
    bold_TP = rng.normal(0, 50, (120, 5))
    new = resampled(recording_of(bold_TP, 2.0), new_tr).bold
    raised = resampled(recording_of(bold_TP + 10_000, 2.0), new_tr).bold
    scaled = resampled(recording_of(bold_TP * -8, 2.0), new_tr).bold
    np.testing.assert_allclose(raised - 10_000, new, atol=4e-3)  # float32 resolves 0.001 at 10,000
    assert np.array_equal(scaled, new * -8)


def test_the_same_repetition_time_gives_the_recording_itself(rng):
    recording = recording_of(rng.normal(size=(20, 3)), 0.735)
    assert resampled(recording, 0.735) is recording
    assert resampled(recording, 0.735 * (1 + 1e-12)) is recording


def test_parcels_without_signal_stay_so_and_do_not_spread(rng):
    bold_TP = rng.normal(1000, 5, (80, 6))
    expected = resampled(recording_of(bold_TP, 2.0), 0.9).bold
    bold_TP[:, [0, 3]] = np.nan
    new = resampled(recording_of(bold_TP, 2.0), 0.9).bold
    assert np.isnan(new[:, [0, 3]]).all()
    assert np.array_equal(new[:, [1, 2, 4, 5]], expected[:, [1, 2, 4, 5]])


def test_other_parcels_do_not_matter(rng):
    bold_TP = rng.normal(1000, 5, (80, 6))
    together = resampled(recording_of(bold_TP, 2.0), 0.9).bold
    alone = resampled(recording_of(bold_TP[:, 2:3], 2.0), 0.9).bold
    np.testing.assert_allclose(together[:, 2:3], alone, rtol=1e-6)


@pytest.mark.parametrize("num_timepoints", [2, 3, 10])
def test_recordings_shorter_than_the_filter_are_finite(rng, num_timepoints):
    new = resampled(recording_of(rng.normal(size=(num_timepoints, 2)), 2.0), 0.735)
    assert np.isfinite(new.bold).all()
    assert np.abs(new.bold).max() < 10


def test_everything_else_of_the_recording_is_kept(rng):
    old = recording_of(rng.normal(size=(30, 3)), 2.0)
    before = old.bold.copy()
    new = resampled(old, 1.0)
    assert new.bold.dtype == np.float32
    assert (new.key, new.phenotypes) == (old.key, old.phenotypes)
    assert np.array_equal(old.bold, before)
    assert old.tr == 2.0


@pytest.mark.parametrize("tr", [0.0, -0.735, 735.0, np.nan, np.inf])
def test_a_repetition_time_that_is_none_is_refused(rng, tr):
    with pytest.raises(DataError, match="repetition time is not usable"):
        resampled(recording_of(rng.normal(size=(30, 3)), 2.0), tr)


@pytest.mark.parametrize(("num_timepoints", "tr"), [(5, 20.0), (2, 2.5), (1, 1.0)])
def test_a_recording_of_which_nothing_would_be_left_is_refused(rng, num_timepoints, tr):
    with pytest.raises(DataError, match="at least 2 time points") as refused:
        resampled(recording_of(rng.normal(size=(num_timepoints, 3)), 2.0), tr)
    assert f"{num_timepoints} time points, 2 s apart" in str(refused.value)


def test_upsampling_says_once_that_it_adds_no_information(rng, caplog):
    resampling._note_upsampling.cache_clear()
    recording = recording_of(rng.normal(size=(30, 3)), 2.0)
    with caplog.at_level(logging.WARNING):
        resampled(recording, 3.0)
        assert caplog.messages == []
        resampled(recording, 0.735)
        resampled(recording, 0.735)
    assert len(caplog.messages) == 1
    assert "nothing above 0.25 Hz" in caplog.messages[0]


@RATIOS
@pytest.mark.parametrize("num_timepoints", [8, 100, 147, 491, 1000])
def test_the_length_is_known_beforehand(old_tr, new_tr, num_timepoints, rng):
    recording = recording_of(rng.standard_normal((num_timepoints, 2)), old_tr)
    for tr in (old_tr, new_tr):
        assert num_resampled(num_timepoints, old_tr, tr) == resampled(recording, tr).num_timepoints
