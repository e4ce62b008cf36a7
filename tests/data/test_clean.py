"""Cleaning: against nilearn and plain loops, what must not change it, censored volumes, edges, errors."""

import itertools
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from derivatives import paint_nifti, series, small_atlas
from nilearn.image import clean_img
from nilearn.signal import clean as nilearn_clean
from scipy import signal as scipy_signal

from brainlm.data.clean import clean
from brainlm.data.cleaning import Cleaning
from brainlm.data.confounds import Confounds
from brainlm.data.recording import Recording
from brainlm.data.resampling import resampled
from brainlm.errors import ConfigError, DataError

T, P, TR = 160, 12, 2.0
BAND = Cleaning(low_hz=0.01, high_hz=0.1)
EVERYTHING = Cleaning(confounds="motion6", detrend=True, low_hz=0.01, high_hz=0.1)


@pytest.fixture
def bold() -> np.ndarray:
    """Series around 1,000 with a drift."""
    return series(T, P) + np.linspace(0, 15, T, dtype=np.float32)[:, None] * np.linspace(-1, 1, P, dtype=np.float32)


@pytest.fixture
def regressors(rng) -> np.ndarray:
    """Two walks, noise, the noise again, a drift, and a constant."""
    walks = np.cumsum(rng.normal(size=(T, 2)), axis=0)
    noise = rng.normal(size=(T, 1))
    return np.hstack([walks, noise, 3 * noise + 1, np.arange(T)[:, None] / T, np.ones((T, 1))])


def confounds_of(regressors=None, *, censored=(), num=T) -> Confounds:
    kept = np.ones(num, dtype=bool)
    kept[list(censored)] = False
    return Confounds(regressors, kept, None)


def spread(bold: np.ndarray) -> float:
    return float(bold.std(axis=0).mean())


# Against others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [0.0, 0.01])
@pytest.mark.parametrize("high", [0.0, 0.1])
@pytest.mark.parametrize("with_confounds", [True, False])
def test_agrees_with_nilearn(bold, regressors, low, high, with_confounds):
    # Of what is left of a drift, or of the second of two equal columns, nilearn makes regressors of rounding errors.
    regressors = regressors[:, :3] if with_confounds else None
    ours = clean(bold, TR, confounds_of(regressors), Cleaning(detrend=True, low_hz=low, high_hz=high))
    theirs = nilearn_clean(
        bold.astype(np.float64),
        detrend=True,
        standardize=None,
        confounds=regressors,
        low_pass=high or None,
        high_pass=low or None,
        t_r=TR,
        butterworth__padtype="even",
        butterworth__padlen=T - 1,
    )
    deviation = ours.bold - bold.mean(axis=0)
    np.testing.assert_allclose(deviation, theirs - theirs.mean(axis=0), atol=1e-4 * spread(bold))


def test_agrees_with_nilearn_on_confounds_alone_and_on_censored_volumes(bold, regressors):
    censored = [0, 1, 30, 31, 90, T - 1]
    kept = np.setdiff1d(np.arange(T), censored)
    ours = clean(bold, TR, confounds_of(regressors, censored=censored), Cleaning(confounds="motion6"))
    theirs = nilearn_clean(
        bold.astype(np.float64), detrend=False, standardize=None, confounds=regressors, sample_mask=kept, filter=False
    )
    np.testing.assert_allclose(ours.bold[kept - 2], theirs, atol=1e-4 * spread(bold))
    assert (ours.num_censored, ours.num_filled, len(ours.bold)) == (6, 3, T - 3)


def slowly_cleaned(bold, tr, regressors, kept, cleaning):
    """One parcel at a time, by the book, confounds by the normal equations."""
    first, last = np.flatnonzero(kept)[[0, -1]]
    kept = kept[first : last + 1]
    times = np.arange(len(kept))

    def passed(values):
        values = np.interp(times, times[kept], values[first : last + 1][kept].astype(np.float64))
        slope, level = np.polyfit(times[kept], values[kept], 1)
        line = level + slope * times
        edges = [edge for edge in (cleaning.low_hz, cleaning.high_hz) if edge]
        kind = "bandpass" if len(edges) == 2 else "highpass" if cleaning.low_hz else "lowpass"
        if edges:
            sos = scipy_signal.butter(5, edges if len(edges) == 2 else edges[0], kind, fs=1 / tr, output="sos")
            rest = values - line
            around = np.concatenate([rest[:0:-1], rest, rest[-2::-1]])
            once = scipy_signal.sosfilt(sos, around, zi=scipy_signal.sosfilt_zi(sos) * around[0])[0][::-1]
            back = scipy_signal.sosfilt(sos, once, zi=scipy_signal.sosfilt_zi(sos) * once[0])[0][::-1]
            return back[len(rest) - 1 : 2 * len(rest) - 1] + (0 if cleaning.detrend or cleaning.low_hz else line)
        return values - (line if cleaning.detrend else 0)

    columns = [passed(column) for column in regressors.T] if regressors is not None else []
    design = np.stack([*columns, np.ones(len(kept))], axis=1)
    out = np.empty((len(kept), bold.shape[1]))
    for parcel in range(bold.shape[1]):
        values = passed(bold[:, parcel])
        weights = np.linalg.pinv(design[kept].T @ design[kept]) @ design[kept].T @ values[kept]
        values = values - design @ weights
        out[:, parcel] = values - values[kept].mean() + bold[first : last + 1, parcel][kept].astype(np.float64).mean()
    return out


@pytest.mark.parametrize(
    "cleaning",
    [EVERYTHING, BAND, Cleaning(high_hz=0.1), Cleaning(low_hz=0.008), Cleaning(detrend=True)],
)
def test_agrees_with_a_loop_over_parcels_with_censored_volumes(bold, regressors, cleaning):
    regressors = regressors[:, :3]
    confounds = confounds_of(regressors, censored=[0, 20, 21, 22, 79, 80, T - 2, T - 1])
    expected = slowly_cleaned(bold, TR, regressors, confounds.kept_T, cleaning)
    result = clean(bold, TR, confounds, cleaning).bold
    np.testing.assert_allclose(result, expected, atol=1e-3 * spread(bold))


def test_averaging_and_cleaning_commute_on_a_painted_image(tmp_path, regressors):
    regressors = regressors[:, :3]
    atlas = small_atlas(tmp_path / "atlas", voxel_mm=12)
    bold = series(T, len(atlas.parcels))
    image = paint_nifti(bold, atlas, tmp_path / "a.nii", tr=TR, dtype="float32", noise=20)
    cleaned = clean_img(
        str(image.path),
        detrend=True,
        standardize=None,
        confounds=regressors,
        low_pass=0.1,
        high_pass=0.01,
        t_r=TR,
        mask_img=nib.Nifti1Image((image.labels > 0).astype(np.uint8), image.grid.affine),
        clean__butterworth__padtype="even",
        clean__butterworth__padlen=T - 1,
    )
    voxels = np.asarray(cleaned.dataobj)
    labels = atlas.parcels.labels
    expected = np.stack([voxels[image.labels == label].mean(axis=0) for label in labels], axis=1)
    raw = np.asarray(nib.load(image.path).dataobj)
    means = np.stack([raw[image.labels == label].mean(axis=0) for label in labels], axis=1).astype(np.float32)
    result = clean(means, TR, confounds_of(regressors), EVERYTHING).bold - means.mean(axis=0)
    np.testing.assert_allclose(result, expected - expected.mean(axis=0), atol=1e-4 * spread(bold))


# What must not change it ----------------------------------------------------------------------------------------------


def test_without_any_step_the_series_are_returned_as_they_came(bold, regressors):
    result = clean(bold, TR, confounds_of(regressors), Cleaning())
    assert result.bold is bold
    assert (result.tr_s, result.num_censored, result.num_filled) == (TR, 0, 0)


@pytest.mark.parametrize("cleaning", [EVERYTHING, Cleaning(high_hz=0.1), Cleaning(confounds="motion6")])
def test_levels_scales_and_order_of_parcels_go_through(bold, regressors, cleaning):
    confounds = confounds_of(regressors, censored=[40, 41])
    result = clean(bold, TR, confounds, cleaning).bold
    np.testing.assert_allclose(clean(bold + 500, TR, confounds, cleaning).bold, result + 500, atol=2e-3)
    np.testing.assert_allclose(clean(bold * 4, TR, confounds, cleaning).bold, result * 4, rtol=1e-6)
    np.testing.assert_allclose(clean(bold[:, ::-1], TR, confounds, cleaning).bold, result[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(clean(bold[:, :1], TR, confounds, cleaning).bold, result[:, :1], rtol=1e-6)


def test_units_levels_copies_and_order_of_confounds_do_not_matter(bold, regressors):
    result = clean(bold, TR, confounds_of(regressors), EVERYTHING).bold
    other = np.hstack([regressors[:, ::-1] * [1e3, 1, 1e-6, 5, 1, 1] + 7, regressors[:, :1]])
    np.testing.assert_allclose(clean(bold, TR, confounds_of(other), EVERYTHING).bold, result, atol=1e-3)


@pytest.mark.parametrize("cleaning", [EVERYTHING, BAND, Cleaning(detrend=True), Cleaning(high_hz=0.1)])
def test_the_mean_of_every_parcel_is_kept(bold, regressors, cleaning):
    confounds = confounds_of(regressors, censored=[70])
    result = clean(bold, TR, confounds, cleaning).bold
    kept = confounds.kept_T
    np.testing.assert_allclose(result[kept].mean(axis=0), bold[kept].mean(axis=0), rtol=1e-6)


def test_parcels_without_signal_stay_without_and_disturb_nobody(bold, regressors):
    confounds = confounds_of(regressors)
    expected = clean(bold, TR, confounds, replace(EVERYTHING, tr_s=3.0)).bold
    bold[:, [2, 7]] = np.nan
    result = clean(bold, TR, confounds, replace(EVERYTHING, tr_s=3.0)).bold
    assert np.isnan(result[:, [2, 7]]).all()
    others = np.delete(np.arange(P), [2, 7])
    np.testing.assert_allclose(result[:, others], expected[:, others], rtol=1e-6)
    bold[:] = np.nan
    assert np.isnan(clean(bold, TR, confounds, EVERYTHING).bold).all()


def test_the_input_is_not_written_to(bold, regressors):
    before = bold.copy(), regressors.copy()
    clean(bold, TR, confounds_of(regressors, censored=[3]), EVERYTHING)
    np.testing.assert_array_equal(bold, before[0])
    np.testing.assert_array_equal(regressors, before[1])


# Each step ------------------------------------------------------------------------------------------------------------


def test_what_the_confounds_explain_is_gone(bold, regressors, rng):
    dirty = bold + (regressors @ rng.normal(size=(regressors.shape[1], P))).astype(np.float32) * 30
    for cleaning in (EVERYTHING, Cleaning(confounds="motion6"), Cleaning(confounds="motion6", high_hz=0.1)):
        result = clean(dirty, TR, confounds_of(regressors), cleaning).bold - dirty.mean(axis=0)
        expected = clean(bold, TR, confounds_of(regressors), cleaning).bold - bold.mean(axis=0)
        np.testing.assert_allclose(result, expected, atol=1e-3 * spread(bold))


def test_a_line_is_removed_when_asked_and_kept_by_a_low_pass(bold):
    line = np.linspace(0, 100, T, dtype=np.float32)[:, None]
    none = confounds_of()
    for cleaning in (Cleaning(detrend=True), BAND):
        result = clean(bold + line, TR, none, cleaning).bold - clean(bold, TR, none, cleaning).bold
        np.testing.assert_allclose(result, 50, atol=0.01)
    low = Cleaning(high_hz=0.1)
    result = clean(bold + line, TR, none, low).bold - clean(bold, TR, none, low).bold
    np.testing.assert_allclose(result, np.broadcast_to(line, result.shape), atol=0.01)


@pytest.mark.parametrize(("hz", "gain"), [(0.002, 0), (0.03, 1), (0.06, 1), (0.2, 0)])
def test_the_band_passes_and_the_rest_does_not(hz, gain):
    times = TR * np.arange(600)
    wave = np.sin(2 * np.pi * hz * times).astype(np.float32)[:, None]
    wave -= wave.mean()
    result = clean(wave, TR, confounds_of(num=600), BAND).bold
    middle = slice(100, 500)
    np.testing.assert_allclose(result[middle], gain * wave[middle], atol=0.02)


def test_at_the_edges_a_sine_survives_better_than_with_the_usual_extension():
    """The errors that the documentation gives, of a sine of 0.03 Hz whatever its phase."""
    times = TR * np.arange(200)
    phases = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    waves = np.sin(2 * np.pi * 0.03 * times[:, None] + phases)
    ours = clean((100 * waves).astype(np.float32), TR, confounds_of(num=200), BAND).bold / 100
    usual = nilearn_clean(waves, detrend=True, standardize=None, low_pass=0.1, high_pass=0.01, t_r=TR)
    error, usual_error = (np.sqrt(((result - waves) ** 2).mean(axis=1)) for result in (ours, usual))
    for edge in (slice(0, 10), slice(-10, None)):
        assert error[edge].mean() < 0.4 * usual_error[edge].mean()
        assert error[edge].max() < 0.21
    assert error[60:140].max() < 0.013


def test_censored_volumes_count_in_nothing(bold, regressors):
    censored = [0, 1, 2, 50, 51, 79, 80, 81, 120, T - 1]  # 79 to 81 lie in the middle of the run
    confounds = confounds_of(regressors, censored=censored)
    for cleaning in (EVERYTHING, BAND, Cleaning(confounds="motion6"), Cleaning(detrend=True), Cleaning(tr_s=1.5)):
        expected = clean(bold, TR, confounds, cleaning)
        wild, mad = bold.copy(), regressors.copy()
        wild[censored] = 1e6
        mad[censored] = -1e6
        result = clean(wild, TR, confounds_of(mad, censored=censored), cleaning)
        np.testing.assert_allclose(result.bold, expected.bold, rtol=1e-6)
        assert (result.num_censored, result.num_filled) == (10, 6)
        if not cleaning.tr_s:
            assert len(result.bold) == T - 4


def test_censored_volumes_within_are_filled_by_lines(bold):
    result = clean(bold, TR, confounds_of(censored=[10, 11, 12]), Cleaning(confounds="motion6")).bold
    share = np.array([1, 2, 3])[:, None] / 4
    np.testing.assert_allclose(result[10:13], (1 - share) * bold[9] + share * bold[13], rtol=1e-6)
    np.testing.assert_array_equal(
        np.delete(result, [10, 11, 12], axis=0).round(3), np.delete(bold, [10, 11, 12], axis=0).round(3)
    )


def test_resampling_comes_last(bold, regressors):
    confounds = confounds_of(regressors)
    at_rate = clean(bold, TR, confounds, EVERYTHING)
    result = clean(bold, TR, confounds, replace(EVERYTHING, tr_s=2.5))
    np.testing.assert_array_equal(result.bold, resampled(Recording(at_rate.bold, TR, "01"), 2.5).bold)
    assert (at_rate.tr_s, result.tr_s) == (TR, 2.5)
    same = clean(bold, TR, confounds, replace(EVERYTHING, tr_s=TR))
    np.testing.assert_array_equal(same.bold, at_rate.bold)


def test_the_steps_are_told_in_their_order():
    steps = replace(EVERYTHING, max_scrub_fd_mm=0.5, tr_s=0.735).steps
    words = ["framewise displacement above 0.5 mm", "line", "band-pass at 0.01 to 0.1 Hz", "motion6", "mean", "0.735 s"]
    assert len(steps) == len(words)
    assert all(word in step for word, step in zip(words, steps, strict=True))
    assert Cleaning().steps == ()
    assert "low-pass at 0.1 Hz" in " ".join(Cleaning(high_hz=0.1).steps)
    every = [
        dict(zip(("detrend", "low_hz", "high_hz", "tr_s"), values, strict=True))
        for values in itertools.product((True, False), (0.0, 0.01), (0.0, 0.1), (0.0, 2.0))
    ]
    texts = [Cleaning(**settings).steps for settings in every]
    assert len(set(texts)) == len(texts) - 4  # with a high-pass, detrending changes nothing


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low_hz": -0.1}, "low_hz is not usable"),
        ({"high_hz": float("nan")}, "high_hz is not usable"),
        ({"max_scrub_fd_mm": float("inf")}, "max_scrub_fd_mm is not usable"),
        ({"tr_s": 735.0}, "not usable as a repetition time"),
        ({"low_hz": 0.1, "high_hz": 0.01}, "nothing is left between the edges"),
        ({"low_hz": 0.1, "high_hz": 0.1}, "nothing is left between the edges"),
    ],
)
def test_settings_without_meaning_are_errors(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Cleaning(**settings)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("cleaning", "tr", "censored", "message", "found"),
    [
        (Cleaning(high_hz=0.25), 2.0, [], "reaches beyond what the scan can hold", "0.25 Hz"),
        (Cleaning(low_hz=0.3), 2.0, [], "reaches beyond what the scan can hold", "0.3 Hz"),
        (BAND, 2.0, range(1, T), "censoring leaves nothing", f"1 of {T}"),
        (BAND, 2.0, range(T), "censoring leaves nothing", f"0 of {T}"),
        (EVERYTHING, 2.0, range(10, T - 3), "cleaning leaves nothing of the signal", "3 confounds"),
        (Cleaning(tr_s=30.0), 0.1, [], "too short for a repetition time of 30 s", "0.1 s apart"),
    ],
)
def test_what_cannot_be_done_is_an_error(bold, regressors, cleaning, tr, censored, message, found):
    with pytest.raises(DataError, match=message) as caught:
        clean(bold, tr, confounds_of(regressors, censored=censored), cleaning)
    assert found in str(caught.value)
    assert caught.value.remedy


def test_too_many_confounds_for_the_band_are_an_error(bold, rng):
    many = rng.normal(size=(T, 60))
    with pytest.raises(DataError, match="cleaning leaves nothing") as caught:
        clean(bold, TR, confounds_of(many), BAND)
    assert "36% of them in the pass band, 60 confounds" in str(caught.value)
    clean(bold, TR, confounds_of(many), Cleaning(confounds="compcor"))
