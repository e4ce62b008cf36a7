"""Scaling is fitted on training recordings, exact, reversible, and never lets a NaN through."""

import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import save

from brainlm.data import scaling
from brainlm.data.recording import Recording
from brainlm.data.scaling import Scaler, TensorStatistics, warn_of_few
from brainlm.errors import ConfigError, DataError

KINDS = ["robust", "zscore", "none"]


@pytest.fixture
def recordings(rng):
    """In raw units far from zero, of different lengths, with a parcel that is missing in some and one in all."""
    made = []
    for number in range(8):
        num_timepoints = 40 + 7 * number
        noise = rng.standard_t(4, (num_timepoints, 6)) * [1, 10, 50, 0.1, 5, 5]
        bold = (10_000 + 500 * number + noise).astype(np.float32)
        bold[:, 5] = np.nan
        if number % 3 == 0:
            bold[:, 4] = np.nan
        made.append(Recording(bold, 2.0, f"{number}"))
    return made


def raw_and_statistics(store, indices=None):
    """Whole recordings of equal length as a batch, cut to the shortest."""
    indices = list(range(len(store))) if indices is None else indices
    shortest = min(int(store.num_timepoints[index]) for index in indices)
    raw = np.stack([store[index].bold[:shortest].T for index in indices])
    return torch.from_numpy(raw), TensorStatistics.from_arrays(store.statistics_of(indices))


def pooled_of(store):
    centred = [(store.bold(index), median_P) for index, median_P in enumerate(store.statistics.median)]
    return scaling._pooled_values(centred, store.num_timepoints.tolist(), num_parcels=6)


def reference_fit(recordings):
    """Slow and obvious: pool everything per parcel, ask numpy."""
    median, iqr = [], []
    for parcel in range(recordings[0].num_parcels):
        pooled = []
        for recording in recordings:
            signal = recording.bold[:, parcel].astype(np.float64)
            if np.isfinite(signal).all():
                pooled += list(signal - np.median(signal))
        median.append(np.median(pooled) if pooled else np.nan)
        iqr.append(np.subtract(*np.percentile(pooled, [75, 25])) if pooled else np.nan)
    return np.array(median), np.array(iqr)


def test_the_robust_fit_is_the_pooled_median_and_interquartile_range(recordings, make_store):
    scaler = Scaler.fit(make_store(recordings))
    median, iqr = reference_fit(recordings)
    assert scaler.valid_P.tolist() == [True] * 5 + [False]
    np.testing.assert_allclose(scaler.median_P[:5], median[:5], atol=1e-3)
    np.testing.assert_allclose(scaler.iqr_P[:5], iqr[:5], rtol=2e-3, atol=1e-3)  # float32 resolves 0.001 at 10,000
    assert (scaler.median_P[5], scaler.iqr_P[5]) == (0.0, 1.0)
    assert scaler.median_P.dtype == scaler.iqr_P.dtype == np.float32


def test_quantiles_are_those_of_numpy(rng):
    values = rng.normal(size=(20, 57)).astype(np.float32)
    values[3, 5:] = np.nan
    values[4, 1:] = np.nan
    expected = np.nanquantile(values.astype(np.float64), [0.25, 0.5, 0.75], axis=1)
    np.testing.assert_allclose(scaling._quantiles(values, (0.25, 0.5, 0.75)), expected, rtol=1e-6)


def test_too_many_values_are_thinned_evenly_and_the_same_way_each_time(recordings, make_store, monkeypatch):
    store = make_store(recordings)
    exact = Scaler.fit(store)
    monkeypatch.setattr(scaling, "MAX_VALUES_PER_PARCEL", 250)  # of 516
    thinned, again = Scaler.fit(store), Scaler.fit(store)
    np.testing.assert_array_equal(thinned.iqr_P, again.iqr_P)
    assert not np.array_equal(thinned.iqr_P, exact.iqr_P)
    np.testing.assert_allclose(thinned.iqr_P[:5], exact.iqr_P[:5], rtol=0.25)
    pooled = pooled_of(store)
    assert pooled.shape == (6, 250)
    # Every other time point of the first recording, near enough.
    steps = (pooled[0, :19] + store.statistics.median[0, 0]).astype(np.float32)
    assert np.isin(steps, store.bold(0)[:, 0]).all()


def test_fewer_values_than_recordings_still_span_all_of_them(recordings, make_store, monkeypatch):
    monkeypatch.setattr(scaling, "MAX_VALUES_PER_PARCEL", 3)
    assert pooled_of(make_store(recordings)).shape == (6, 3)


def test_recordings_made_one_by_one_give_the_same_and_are_let_go(recordings):
    bold, alive = [recording.bold for recording in recordings], []

    def one_by_one():
        for bold_TP in bold:
            assert sum(made() is not None for made in alive) <= 1  # all but the one before it are gone
            made = bold_TP.copy()
            alive.append(weakref.ref(made))
            yield made
            del made

    found = Scaler.fit_one_by_one(one_by_one(), list(map(len, bold)), num_parcels=6, divisor=2.0)
    expected = Scaler.fit_recordings(bold, divisor=2.0)
    assert len(alive) == 8
    for name, tensor in expected.to_tensors().items():
        np.testing.assert_array_equal(found.to_tensors()[name], tensor)
    for kind in ("zscore", "none"):
        assert Scaler.fit_one_by_one(iter(()), [], kind, num_parcels=6).kind == kind  # nothing to look at


@pytest.mark.parametrize(("num_recordings", "kind", "words"), [
    (1, "robust", "on 1 recording only"), (19, "robust", "on 19 recordings only: fewer than 20"),
    (20, "robust", ""), (2, "zscore", ""), (2, "none", ""),
])  # fmt: skip
def test_few_recordings_are_warned_of_where_they_decide(num_recordings, kind, words, caplog):
    warn_of_few(num_recordings, kind)
    assert words in caplog.text
    assert len(caplog.records) == bool(words)


def test_subjects_held_out_never_influence_the_scaler(recordings, make_store, tmp_path):
    splits = {"2": "test", "5": "validation"}
    one = make_store(recordings, splits=splits, path=tmp_path / "1")
    for index in (2, 5):
        recordings[index].bold[:] = recordings[index].bold[::-1] * 7 + 3
    other = make_store(recordings, splits=splits, path=tmp_path / "2")
    for kind in KINDS:
        first = Scaler.fit(one.select(split="train"), kind)
        second = Scaler.fit(other.select(split="train"), kind)
        np.testing.assert_array_equal(first.median_P, second.median_P)
        np.testing.assert_array_equal(first.iqr_P, second.iqr_P)
    with pytest.raises(DataError, match=r"training recordings only(.|\n)*also test, validation"):
        Scaler.fit(one)
    everyone = Scaler.fit(one, allow_any_split=True)
    assert not np.array_equal(everyone.iqr_P, Scaler.fit(one.select(split="train")).iqr_P)


def test_robust_scaling_does_what_its_formula_says(recordings, make_store):
    store = make_store(recordings)
    scaler = Scaler.fit(store)
    raw, statistics = raw_and_statistics(store)
    scaled = scaler.apply(raw, statistics)
    for index, recording in enumerate(recordings):
        signal = recording.bold[: raw.shape[2]].astype(np.float64)
        expected = (signal - np.median(recording.bold, axis=0) - scaler.median_P) / scaler.iqr_P
        valid = np.isfinite(expected) & scaler.valid_P
        np.testing.assert_array_equal(scaled.valid_BPT[index].T, valid)
        np.testing.assert_allclose(scaled.signal_BPT[index].T[valid], expected[valid], atol=1e-3)


def test_zscored_recordings_have_mean_zero_and_deviation_one(recordings, make_store):
    store = make_store(recordings[3:4])
    raw, statistics = raw_and_statistics(store)
    scaled = Scaler.fit(store, "zscore").apply(raw, statistics)
    valid = scaled.valid_BPT.all(dim=2)[0]
    assert valid.tolist() == [True] * 4 + [False] * 2
    signal = scaled.signal_BPT[0, valid].double()
    torch.testing.assert_close(signal.mean(1), torch.zeros(4).double(), atol=5e-3, rtol=0)
    torch.testing.assert_close(signal.std(1, correction=0), torch.ones(4).double(), atol=5e-3, rtol=0)


def test_no_scaling_leaves_the_values_and_marks_what_is_missing(recordings, make_store):
    store = make_store(recordings)
    raw, statistics = raw_and_statistics(store)
    scaled = Scaler.fit(store, "none").apply(raw, statistics)
    assert torch.equal(scaled.valid_BPT, ~torch.isnan(raw))
    assert torch.equal(scaled.signal_BPT, torch.nan_to_num(raw))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_nan_after_scaling_and_what_is_not_valid_is_zero(recordings, make_store, kind):
    store = make_store(recordings)
    raw, statistics = raw_and_statistics(store)
    raw[1, :, 30:] = torch.nan  # padding
    scaled = Scaler.fit(store, kind).apply(raw, statistics)
    assert torch.isfinite(scaled.signal_BPT).all()
    assert (scaled.signal_BPT[~scaled.valid_BPT] == 0).all()
    assert not scaled.valid_BPT[1, :, 30:].any()
    assert scaled.valid_BPT[1, :4, :30].all()


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_leaves_its_input_alone_and_can_be_undone(recordings, make_store, kind):
    store = make_store(recordings)
    raw, statistics = raw_and_statistics(store)
    before = raw.clone()
    scaler = Scaler.fit(store, kind)
    scaled = scaler.apply(raw, statistics)
    restored = scaler.restore(scaled.signal_BPT, statistics)
    assert torch.equal(torch.nan_to_num(raw), torch.nan_to_num(before))
    torch.testing.assert_close(restored[scaled.valid_BPT], raw[scaled.valid_BPT], atol=2e-3, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_batch_mates_nor_memory_layout_matter(recordings, make_store, kind):
    store = make_store(recordings)
    scaler = Scaler.fit(store, kind)
    raw, statistics = raw_and_statistics(store)
    together = scaler.apply(raw, statistics).signal_BPT
    flipped = raw.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(scaler.apply(flipped, statistics).signal_BPT, together)
    for index in range(len(store)):
        alone = TensorStatistics.from_arrays(store.statistics_of([index]))
        assert torch.equal(scaler.apply(raw[index : index + 1], alone).signal_BPT[0], together[index])


@pytest.mark.parametrize("kind", ["robust", "zscore"])
def test_scaled_values_do_not_depend_on_the_units_of_the_recordings(recordings, make_store, tmp_path, kind):
    scaled = []
    for number, gain in enumerate((1.0, 64.0)):  # a power of two: no rounding
        changed = [Recording(gain * recording.bold, 2.0, recording.subject) for recording in recordings]
        store = make_store(changed, path=tmp_path / f"{number}")
        raw, statistics = raw_and_statistics(store)
        scaled.append(Scaler.fit(store, kind).apply(raw, statistics).signal_BPT)
    torch.testing.assert_close(scaled[0], scaled[1])


def test_a_parcel_whose_quartiles_coincide_is_not_valid_rather_than_divided_by_something_small(make_store, rng):
    bold = rng.normal(100, 5, (40, 6)).astype(np.float32)
    bold[:, 2] = 7.0
    bold[::8, 2] = 9.0  # varies, but not between the quartiles
    scaler = Scaler.fit(make_store([Recording(bold, 2.0, "01")]))
    assert scaler.valid_P.tolist() == [True, True, False, True, True, True]


def test_a_window_of_a_recording_without_spread_is_not_valid_when_zscored():
    raw = torch.full((1, 2, 5), 3.0)
    raw[0, 1] = torch.arange(5.0)
    statistics = TensorStatistics.of(raw[0].T.numpy())
    scaler = Scaler("zscore", np.zeros(2, np.float32), np.ones(2, np.float32), np.ones(2, bool))
    scaled = scaler.apply(raw, statistics)
    assert scaled.valid_BPT.all(dim=2).tolist() == [[False, True]]
    assert torch.isfinite(scaled.signal_BPT).all()


def test_recordings_in_which_nothing_varies_are_refused(make_store):
    bold = np.zeros((40, 6), np.float32)
    bold[0] = 1.0
    with pytest.raises(DataError, match=r"no parcel varies(.|\n)*zscore"):
        Scaler.fit(make_store([Recording(bold, 2.0, "01")]))


def test_no_recordings_are_refused(recordings, make_store):
    with pytest.raises(DataError, match="no recordings"):
        Scaler.fit(make_store(recordings).take([]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaler_survives_its_file(recordings, make_store, tmp_path, kind):
    from safetensors.torch import load_file, save_file

    scaler = Scaler.fit(make_store(recordings), kind)
    save_file(scaler.to_tensors(), tmp_path / "scaler.safetensors")
    copy = Scaler.from_tensors(load_file(tmp_path / "scaler.safetensors"), scaler.to_metadata())
    for name in ("median_P", "iqr_P", "valid_P"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(scaler, name))
        assert getattr(copy, name).dtype == getattr(scaler, name).dtype


def test_a_float16_store_is_fitted_to_what_it_holds(make_recording, make_store, tmp_path):
    made = [make_recording(f"{number}") for number in range(5)]
    half = make_store(made, dtype="float16", path=tmp_path / "half")
    rounded = [Recording(r.bold.astype(np.float16).astype(np.float32), 2.0, r.subject) for r in made]
    full = make_store(rounded, path=tmp_path / "full")
    np.testing.assert_array_equal(Scaler.fit(half).iqr_P, Scaler.fit(full).iqr_P)
    np.testing.assert_array_equal(half.statistics.std, full.statistics.std)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_scaling_on_the_device_gives_what_it_gives_on_the_processor(recordings, make_store, kind):
    store = make_store(recordings)
    scaler = Scaler.fit(store, kind)
    raw, statistics = raw_and_statistics(store)
    there = scaler.apply(raw.cuda(), statistics.to("cuda"))
    here = scaler.apply(raw, statistics)
    assert there.signal_BPT.is_cuda
    torch.testing.assert_close(there.signal_BPT.cpu(), here.signal_BPT)
    assert torch.equal(there.valid_BPT.cpu(), here.valid_BPT)


def test_recordings_in_memory_give_the_scaler_of_the_store_that_holds_them(recordings, make_store):
    store = make_store(recordings)
    of_store = Scaler.fit(store, divisor=5.0)
    of_arrays = Scaler.fit_recordings([store.bold(index) for index in range(len(store))], divisor=5.0)
    np.testing.assert_array_equal(of_arrays.iqr_P, of_store.iqr_P)
    np.testing.assert_array_equal(of_arrays.median_P, of_store.median_P)
    assert of_arrays.divisor == of_store.divisor == 5.0


@pytest.mark.parametrize("kind", ["robust", "zscore", "none"])
def test_the_divisor_divides_the_scaled_values_and_is_undone_by_restore(recordings, make_store, kind):
    store = make_store(recordings)
    plain, divided = Scaler.fit(store, kind), Scaler.fit(store, kind, divisor=4.0)
    raw_BPT = torch.from_numpy(np.array(store.bold(0), np.float32)).T[None]
    statistics = TensorStatistics.from_arrays(store.statistics_of([0]))
    scaled = divided.apply(raw_BPT, statistics)
    torch.testing.assert_close(scaled.signal_BPT * 4.0, plain.apply(raw_BPT, statistics).signal_BPT)
    restored_BPT = divided.restore(scaled.signal_BPT, statistics)
    torch.testing.assert_close(restored_BPT[scaled.valid_BPT], raw_BPT[scaled.valid_BPT])


def test_a_scaler_that_was_never_fitted_refuses_to_scale_and_says_how_to_fit_it():
    scaler = Scaler.unfitted(3, divisor=2.0)
    statistics = TensorStatistics(*(torch.zeros(1, 3) for _ in range(3)))
    with pytest.raises(ConfigError, match=r"fit_scaler"):
        scaler.apply(torch.zeros(1, 3, 5), statistics)
    copy = Scaler.from_tensors(scaler.to_tensors(), scaler.to_metadata())
    assert not copy.fitted
    assert copy.divisor == 2.0


def test_recordings_of_different_parcels_have_no_common_scaler():
    with pytest.raises(DataError, match="2 parcels, 3 parcels"):
        Scaler.fit_recordings([np.zeros((4, 2), np.float32), np.zeros((4, 3), np.float32)])


def test_the_same_scaler_gives_the_same_bytes():
    """safetensors writes several metadata in an order that differs from call to call; of one there is but one order."""
    scaler = Scaler.unfitted(3, divisor=5.6430855)
    assert len({save(scaler.to_tensors(), metadata=scaler.to_metadata()) for _ in range(20)}) == 1


def test_a_scaler_written_before_there_were_divisors_was_fitted_and_divides_by_one():
    tensors = {name: tensor for name, tensor in Scaler.unfitted(3, divisor=2.0).to_tensors().items() if "_P" in name}
    copy = Scaler.from_tensors(tensors, {"kind": "robust"})
    assert copy.fitted
    assert copy.divisor == 1.0
    with pytest.raises(ValueError, match="divisor -1"):
        Scaler.from_tensors(tensors | {"divisor": torch.tensor(-1.0)}, {"kind": "robust"})
