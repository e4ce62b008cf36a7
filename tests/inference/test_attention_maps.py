"""Attention of a whole store is that of its recordings one by one; what is capped, kept and refused."""

import logging

import numpy as np
import pytest
import torch

from brainlm.data.synthetic import synthetic_store
from brainlm.errors import ConfigError, DataError
from brainlm.inference import attention_maps as module
from brainlm.inference.attention_maps import StoreAttention, attention_maps, cached_attention
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.untrained import untrained
from brainlm.model.attention import AttentionWatch

CLOSE = {"atol": 1e-6, "rtol": 1e-4}
IMAGE = {
    "image_size": 48,
    "parcels_per_patch": 8,
    "timepoints_per_patch": 8,
    "spatial_positions": "grid",
    "temporal_positions": "grid",
}
KINDS = pytest.mark.parametrize("settings", [{}, {"parcels_per_patch": 4}, IMAGE], ids=["plain", "patches", "image"])
WHOLE = {"with_profile": True, "with_rows": True, "rollout_windows": None, "between_windows": None}


@pytest.fixture(scope="module")
def whole(model, store) -> StoreAttention:
    """Everything of every window of the store."""
    return attention_maps(model, store, **WHOLE)


def same(one: StoreAttention, other: StoreAttention) -> None:
    """All fields are equal, but for rounding."""
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            assert getattr(other, name).dtype == value.dtype, name
            np.testing.assert_allclose(getattr(other, name), value, err_msg=name, atol=1e-5, rtol=1e-3)
        else:
            assert getattr(other, name) == value, name


@KINDS
@pytest.mark.parametrize(("layer", "head"), [(-1, None), (0, 1)])
def test_maps_of_a_store_are_those_of_its_recordings_one_by_one(make_model, store, settings, layer, head):
    model = make_model(**settings)
    found = attention_maps(model, store, layer=layer, head=head, **WHOLE)
    alone = [model.attention(store[index], layer=layer, head=head) for index in range(len(store))]
    assert (found.layer, found.head) == (layer % 2, head)
    np.testing.assert_allclose(found.layers_NLP, [one.layers.mean(axis=1) for one in alone], **CLOSE)
    np.testing.assert_allclose(found.heads_NHP, [one.layers[layer] for one in alone], **CLOSE)
    np.testing.assert_allclose(found.cls_LHP, np.nanmean([one.layers for one in alone], axis=0), **CLOSE)
    np.testing.assert_allclose(found.maps_NP(), [one.cls for one in alone], **CLOSE)
    np.testing.assert_allclose(found.rows_NPP, [one.parcels for one in alone], **CLOSE)
    np.testing.assert_allclose(found.between_GPP, np.nanmean([one.lags for one in alone], axis=0), **CLOSE)
    np.testing.assert_allclose(found.rollout_MP, [one.rollout for one in alone], **CLOSE)
    assert found.rollout_recordings_M.tolist() == list(range(8))


@KINDS
@torch.no_grad()
def test_attention_of_a_window_is_shared_out_in_equal_parts_to_the_places_of_each_patch(make_model, store, settings):
    """One recording with a parcel without signal, from the network's own attention, parcel by parcel."""
    model = make_model(**settings)
    recording = store[3]
    looked = model.attention(recording)
    tokenizer = model.network.tokenizer
    windows = model._windows(recording)
    watch = AttentionWatch(model.network, windows.valid_BPT, between=-1, rollout=True)
    model.network.encode(windows.signal_BPT, visible=watch.places, observers=watch.observers)
    inside = list(tokenizer.columns_with_signal)
    row_P = tokenizer.rows_of_parcels().tolist()
    for parcel in range(10):
        if parcel == 4:
            assert np.isnan(looked.cls[parcel])
            continue
        sharing = tokenizer.parcels_per_patch
        patches = [row_P[parcel] * tokenizer.num_columns + column for column in inside]
        layers_LH = watch.cls_BLHN[..., patches].sum(dim=3).mean(dim=0) / sharing
        np.testing.assert_allclose(looked.layers[:, :, parcel], layers_LH, **CLOSE)
        assert looked.rollout[parcel] == pytest.approx(
            float(watch.rollout_BN[:, patches].sum(dim=1).mean()) / sharing, rel=1e-4
        )
        for other in set(range(10)) - {4}:
            rows = watch.between_BGRR[:, :, row_P[other], row_P[parcel]].nanmean(dim=0) / sharing
            np.testing.assert_allclose(looked.lags[:, other, parcel], rows, **CLOSE)


@torch.no_grad()
def test_shares_sum_to_one_less_what_cls_pays_to_itself(model, store, whole):
    scaled = model.scale(store[2], np.array([0]))  # as long as one window
    watch = AttentionWatch(model.network, scaled.valid_BPT)
    model.network.encode(scaled.signal_BPT, visible=watch.places, observers=watch.observers)
    away_LH = watch.cls_BLHN[0].sum(dim=2)
    np.testing.assert_allclose(whole.layers_NLP[2].sum(axis=1), away_LH.mean(dim=1), rtol=1e-5)
    np.testing.assert_allclose(whole.heads_NHP[2].sum(axis=1), away_LH[-1], rtol=1e-5)
    assert (np.nansum(whole.layers_NLP, axis=2) < 1).all()
    assert (np.nansum(whole.rows_NPP, axis=2) < 1).all()


@torch.no_grad()
def test_the_profile_is_attention_to_every_patch_head_by_head(model, store, whole):
    scaled = model.scale(store[2], np.array([0]))
    watch = AttentionWatch(model.network, scaled.valid_BPT)
    model.network.encode(scaled.signal_BPT, visible=watch.places, observers=watch.observers)
    row_P = model.network.tokenizer.rows_of_parcels()
    expected_PHC = watch.cls_BLHN[0, -1].unflatten(1, (10, 4))[:, row_P].transpose(0, 1) * 40
    assert whole.profile_NPF.dtype == np.float16
    np.testing.assert_allclose(whole.profile_NPF[2], expected_PHC.flatten(1), rtol=2e-3)
    summed_NHP = whole.profile_NPF.astype(np.float64).reshape(8, 10, 2, 4).sum(axis=3).transpose(0, 2, 1) / 40
    np.testing.assert_allclose(summed_NHP, whole.heads_NHP, rtol=2e-3)


def test_a_parcel_without_signal_is_nan_in_its_recording_and_left_out_of_the_group(store, whole):
    absent_NP = np.array([np.isnan(store.bold(index)).all(axis=0) for index in range(8)])
    assert absent_NP.sum() == 1
    for maps_NP in (whole.layers_NLP[:, 0], whole.heads_NHP[:, 1], whole.amplitude_NP, whole.connectivity_NP):
        assert np.array_equal(np.isnan(maps_NP), absent_NP)
    assert np.array_equal(np.isnan(whole.rows_NPP), absent_NP[:, :, None] | absent_NP[:, None])
    assert np.array_equal(np.isnan(whole.profile_NPF).all(axis=2), absent_NP)
    assert np.isfinite(whole.cls_LHP).all()
    assert np.isfinite(whole.between_GPP).all()


def test_lags_that_a_short_recording_does_not_have_are_nan(model, store):
    lags = model.attention(store[1]).lags  # 25 time points: three of four patches
    assert lags.shape == (7, 10, 10)
    assert np.isnan(lags[[0, 6]]).all()
    assert np.isfinite(lags[1:6]).all()


def test_amplitude_and_connectivity_are_those_of_the_signal(model, store, whole):
    for index in range(8):
        windows = model._windows(store[index])
        values = windows.signal_BPT.masked_fill(~windows.valid_BPT, torch.nan).numpy()
        present = np.flatnonzero(np.isfinite(store.bold(index)).all(axis=0))
        np.testing.assert_allclose(
            whole.amplitude_NP[index, present], np.nanstd(values[:, present], axis=(0, 2)), rtol=1e-4
        )
        among = np.abs(np.corrcoef(store.bold(index)[:, present].astype(float).T))
        np.fill_diagonal(among, np.nan)
        np.testing.assert_allclose(whole.connectivity_NP[index, present], np.nanmean(among, axis=0), rtol=1e-5)


def test_uniform_is_what_equal_attention_gives_a_parcel(make_model, store, whole):
    assert whole.uniform == pytest.approx(40 / 41 / 10)
    image = attention_maps(make_model(**IMAGE), store.take([2]))
    assert image.uniform == pytest.approx(6 / 37 / 8)  # six patches of 8 parcels hold the signal of each


@pytest.mark.parametrize(("most", "recordings"), [(0, []), (1, [4]), (3, [1, 4, 6]), (8, [0, 1, 2, 3, 4, 5, 6, 7])])
def test_few_windows_are_taken_from_recordings_spread_evenly(model, store, whole, most, recordings):
    found = attention_maps(model, store, rollout_windows=most, between_windows=most)
    assert found.rollout_recordings_M.tolist() == recordings
    first = [model.scale(store[index], model._windows(store[index]).starts[:1]) for index in recordings]
    for rollout_P, scaled in zip(found.rollout_MP, first, strict=True):
        watch = AttentionWatch(model.network, scaled.valid_BPT, rollout=True)
        model.network.encode(scaled.signal_BPT, visible=watch.places, observers=watch.observers)
        by_row_R = watch.rollout_BN[0].detach().unflatten(0, (10, 4)).sum(dim=1)
        np.testing.assert_allclose(
            np.nan_to_num(rollout_P), by_row_R[model.network.tokenizer.rows_of_parcels()], **CLOSE
        )
    assert found.between_GPP.shape == (7, 10, 10)
    assert np.isnan(found.between_GPP).all() == (most == 0)
    np.testing.assert_allclose(found.layers_NLP, whole.layers_NLP, **CLOSE)
    assert found.profile_NPF is None
    assert found.rows_NPP is None


@pytest.mark.parametrize("batch_size", [2, 3, 50])
def test_windows_that_are_followed_find_their_recordings_among_others(model, store, whole, batch_size):
    """Recordings of one window and of several, followed or not, in one batch."""
    for most in (2, 3, 5):
        found = attention_maps(model, store, rollout_windows=most, between_windows=most + 1, batch_size=batch_size)
        np.testing.assert_allclose(found.layers_NLP, whole.layers_NLP, **CLOSE)
        np.testing.assert_allclose(found.amplitude_NP, whole.amplitude_NP, **CLOSE)
        assert len(found.rollout_MP) == most


def test_keeping_rows_changes_no_other_number(model, store):
    plain = attention_maps(model, store, rollout_windows=3, between_windows=5)
    rows = attention_maps(model, store, rollout_windows=3, between_windows=5, with_rows=True)
    for name in ("cls_LHP", "between_GPP", "rollout_MP"):
        np.testing.assert_allclose(getattr(rows, name), getattr(plain, name), **CLOSE)


def test_the_map_that_is_analysed_can_be_chosen(model, store, whole):
    np.testing.assert_array_equal(whole.maps_NP(), whole.layers_NLP[:, 1])
    np.testing.assert_array_equal(whole.maps_NP("mean"), whole.layers_NLP.mean(axis=1))
    np.testing.assert_array_equal(whole.maps_NP("rollout"), whole.rollout_MP)
    few = attention_maps(model, store, head=1, rollout_windows=2)
    np.testing.assert_allclose(few.maps_NP(), whole.heads_NHP[:, 1], **CLOSE)
    rolled_N = np.isfinite(few.maps_NP("rollout")).any(axis=1)
    assert np.flatnonzero(rolled_N).tolist() == few.rollout_recordings_M.tolist() == [2, 6]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_does_not_matter(model, store, whole, batch_size):
    same(attention_maps(model, store, batch_size=batch_size, **WHOLE), whole)


def test_neither_order_nor_company_of_recordings_matter(model, store, whole):
    few = attention_maps(model, store.take([5, 1, 3]), **WHOLE)
    for name in ("layers_NLP", "heads_NHP", "rollout_MP", "rows_NPP", "amplitude_NP", "connectivity_NP"):
        np.testing.assert_allclose(getattr(few, name), getattr(whole, name)[[5, 1, 3]], **CLOSE)


def test_resampled_recordings_are_those_of_the_model_one_by_one(model, store):
    slow = BrainLM(model.network, model.scaler, model.parcels, {"data": {"atlas": "synthetic", "tr_s": [1.0]}})
    with pytest.raises(DataError, match=r"another repetition time(.|\n)*--resample"):
        attention_maps(slow, store)
    found = attention_maps(slow, store, resample=True)
    alone = [slow.attention(store[index], resample=True).cls for index in range(8)]
    np.testing.assert_allclose(found.maps_NP(), alone, **CLOSE)


def test_progress_goes_to_the_number_of_recordings(model, store):
    told = []
    attention_maps(model, store, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (8, 8)


def test_what_is_not_there_and_what_does_not_fit_are_errors(model, store, tmp_path):
    with pytest.raises(ConfigError, match="no block 2"):
        attention_maps(model, store, layer=2)
    with pytest.raises(ConfigError, match="no head 2"):
        attention_maps(model, store, head=2)
    with pytest.raises(ConfigError, match="no head -3"):
        model.attention(store[0], head=-3)
    other = synthetic_store(tmp_path / "other.store", num_subjects=3, num_parcels=8, num_networks=2, num_timepoints=50)
    for verb in (attention_maps, lambda *given: cached_attention(*given, folder=tmp_path)):
        with pytest.raises(DataError, match=r"other\.store does not fit the model(.|\n)*10 parcels(.|\n)*8 parcels"):
            verb(model, other)


# ---- kept in files


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """The numbers of recordings of the stores that attention was computed of."""
    calls = []
    real = module.attention_maps

    def counting(model, store, **settings):
        calls.append(len(store))
        return real(model, store, **settings)

    monkeypatch.setattr(module, "attention_maps", counting)
    return calls


def test_attention_is_computed_once_and_read_back_as_it_was(model, store, tmp_path, computed, whole):
    for settings in (WHOLE, {"head": 0, "rollout_windows": 0}):
        first = cached_attention(model, store, folder=tmp_path, **settings)
        again = cached_attention(model, store, folder=tmp_path, layer=1, batch_size=3, **settings)
        for name, value in vars(first).items():
            assert type(getattr(again, name)) is type(value), name
            np.testing.assert_array_equal(getattr(again, name), value)
    assert computed == [8, 8]
    same(cached_attention(model, store, folder=tmp_path, **WHOLE), whole)


def test_other_weights_recordings_or_settings_are_computed_anew(model, store, tmp_path, computed):
    twin = untrained(model, seed=1)
    cached_attention(model, store, folder=tmp_path)
    for given, settings in (
        ((twin, store), {}),
        ((model, store.take([1])), {}),
        ((model, store), {"layer": 0}),
        ((model, store), {"head": 1}),
        ((model, store), {"with_profile": True}),
        ((model, store), {"rollout_windows": 3}),
    ):
        before = len(computed)
        cached_attention(*given, folder=tmp_path, **settings)
        assert len(computed) == before + 1, settings


def test_a_damaged_file_is_computed_again_with_a_warning(model, store, tmp_path, caplog):
    first = cached_attention(model, store, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    for damaged in (path.read_bytes()[:1000], b"", b"PK damaged"):
        path.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            same(cached_attention(model, store, folder=tmp_path), first)
        assert "damaged" in caplog.text
        caplog.clear()


@torch.no_grad()
def test_parcels_of_a_patch_that_is_mostly_padding_do_not_look_attended_to(make_model, store):
    """10 parcels in patches of 4: the last patch holds two. Equal attention is equal for every parcel."""
    model = make_model(parcels_per_patch=4)
    for block in model.network.encoder.blocks:
        block.attention.qkv.weight.zero_()
        block.attention.qkv.bias.zero_()  # the same logits everywhere
    found = attention_maps(model, store)
    maps_NP = found.maps_NP()
    assert np.isnan(maps_NP).any()  # a parcel without signal does not add to the others of its patch
    np.testing.assert_allclose(np.nanmax(maps_NP, axis=1), np.nanmin(maps_NP, axis=1), rtol=1e-4)
