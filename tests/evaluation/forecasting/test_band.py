"""Filters are seen in the spectrum, and not where there are none."""

import numpy as np
import pytest
from scipy.signal import butter, lfilter, sosfiltfilt

from brainlm.data.sources.abide import import_abide
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store
from brainlm.evaluation.forecasting.band import BandLimit, band_limit, limit_of, spectrum_of

TRS = (0.72, 1.5, 2.0, 3.0)


def noise(coefficient: float, *, length: int = 180, num_recordings: int = 8) -> list[np.ndarray]:
    draws = np.random.default_rng(0).standard_normal((num_recordings, length + 100, 20))
    return list(lfilter([1], [1, -coefficient], draws, axis=1)[:, 100:])


def filtered(recordings, tr_s, order, edges, kind):
    sos = butter(order, edges, btype=kind, fs=1 / tr_s, output="sos")
    return [sosfiltfilt(sos, one, axis=0) for one in recordings]


@pytest.mark.parametrize("tr_s", TRS)
@pytest.mark.parametrize("coefficient", [-0.3, 0.0, 0.33, 0.6, 0.9])
def test_noise_is_not_limited_and_the_same_filtered_is(tr_s, coefficient):
    plain = noise(coefficient)
    assert not limit_of(spectrum_of(plain, tr_s)).is_limited
    for order in (2, 5):
        found = limit_of(spectrum_of(filtered(plain, tr_s, order, [0.01, 0.1], "band"), tr_s))
        assert found.is_limited
        assert found.high_hz == pytest.approx(0.1, abs=0.03)
        assert found.share_above < 0.1
    below = limit_of(spectrum_of(filtered(plain, tr_s, 5, 0.1, "low"), tr_s))
    assert below.is_limited
    assert below.low_hz is None


def test_the_lower_edge_is_seen_where_the_spectrum_is_fine_enough():
    band = limit_of(spectrum_of(filtered(noise(0.33), 2.0, 5, [0.01, 0.1], "band"), 2.0))
    assert band.low_hz == pytest.approx(0.01, abs=0.006)
    high_passed = limit_of(spectrum_of(filtered(noise(0.33), 2.0, 5, 0.01, "high"), 2.0))
    assert not high_passed.is_limited
    assert high_passed.low_hz == pytest.approx(0.01, abs=0.006)
    assert "next to none below" in high_passed.sentence


def test_a_parcel_without_signal_or_variation_does_not_matter():
    plain = noise(0.33)
    odd = [one.copy() for one in plain]
    for one in odd:
        one[:, 0] = np.nan
        one[:, 1] = 7.0
    found, expected = limit_of(spectrum_of(odd, 2.0)), limit_of(spectrum_of([one[:, 2:] for one in plain], 2.0))
    assert found == expected


def test_the_sentences_say_what_it_means():
    assert BandLimit(True, 0.01, 0.1, 0.002).sentence == (
        "These recordings look filtered: next to no power outside 0.01 to 0.1 Hz (0.2 % above). The filter spreads "
        "each value over its neighbours in time, so that part of any forecast is the filter's doing and not the "
        "brain's."
    )
    assert BandLimit(False, None, None, 0.35).sentence == (
        "No low-pass filter is seen: 35 % of the power lies above 0.1 Hz."
    )


def test_a_synthetic_store_is_not_limited(planted):
    found = band_limit(planted)
    assert not found.is_limited
    assert 0.01 < found.share_above < 0.2  # an autoregressive process of 0.8 at 2 s


@pytest.mark.slow
def test_abide_is_not_limited(shared, tmp_path):
    import_abide(tmp_path / "store", packed=shared / "data" / "abide", split=SplitRule())
    found = band_limit(Store.open(tmp_path / "store"))
    assert not found.is_limited
    assert 0.2 < found.share_above < 0.6
