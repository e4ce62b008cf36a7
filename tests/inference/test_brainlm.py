"""A model on recordings: equal to the network on tensors, in the recording's own units, clear about what it refuses."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from brainlm.data.resampling import resampled
from brainlm.data.scaling import Scaler, TensorStatistics
from brainlm.data.windows import spread_starts
from brainlm.errors import ConfigError, DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.pooling import embed_windows
from brainlm.model.autoencoder import OwnCovariance
from brainlm.model.masks import Mask, hide

VERBS = pytest.mark.parametrize("verb", ["embed", "reconstruct", "forecast", "attention"])
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def scaled_window(model: BrainLM, bold_TP: np.ndarray, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One window by hand: centred on the recording's and the cohort's medians, in units of the cohort's IQR."""
    length = model.config.num_timepoints
    scaled_TP = (bold_TP - np.median(bold_TP, axis=0) - model.scaler.median_P) / model.scaler.iqr_P
    window_TP = np.full((length, bold_TP.shape[1]), np.nan)
    window_TP[: len(scaled_TP[start : start + length])] = scaled_TP[start : start + length]
    valid_BPT = torch.from_numpy(np.isfinite(window_TP)).T[None]
    return torch.from_numpy(np.nan_to_num(window_TP)).float().T[None], valid_BPT


@torch.no_grad()
def test_embedding_is_the_networks_encoding_averaged(model, store):
    recording = store[0]  # 95 time points: two windows, in the middles of their halves
    cls, tokens = [], []
    for start in (3, 51):
        encoding = model.network.encode(scaled_window(model, recording.bold, start)[0])
        cls.append(encoding.cls_BD[0].numpy())
        tokens.append(encoding.tokens_BKD[0].unflatten(0, (10, 4)).numpy())
    found = model.embed(recording)
    np.testing.assert_allclose(found.windows, cls, **CLOSE)
    np.testing.assert_allclose(found.cls, np.mean(cls, axis=0), **CLOSE)
    np.testing.assert_allclose(found.mean, np.mean(tokens, axis=(0, 1, 2)), **CLOSE)
    by_row = np.mean(tokens, axis=(0, 2))
    np.testing.assert_allclose(found.parcels, by_row[model.network.tokenizer.rows_of_parcels()], **CLOSE)


def test_a_model_and_its_results_print_what_they_are(model, store):
    embedding = model.embed(store[0])
    shown = repr(model)
    assert all(fact in shown for fact in (f"{model.network.num_parameters:,}", f"{len(model.parcels)} parcels", "cpu"))
    assert f"parcels {embedding.parcels.shape}" in repr(embedding)
    filled = model.reconstruct(store[0], mask="random", ratio=0.5, seed=0)
    for result in (model, embedding, model.attention(store[0]), filled):
        assert repr(result).startswith(f"{type(result).__name__}(")
        assert len(repr(result)) < 250


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_refused_by_name(model, device: str):
    with pytest.raises(ConfigError, match=device):
        model.to(device)


def test_embedding_is_deterministic_even_with_dropout(make_model, store):
    model = make_model(dropout=0.5)
    first, second = model.embed(store[0]), model.embed(store[0])
    for name in ("cls", "mean", "parcels", "windows"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_embeddings_of_two_recordings_differ(model, store):
    assert np.abs(model.embed(store[0]).cls - model.embed(store[4]).cls).max() > 0.01


def test_windows_that_go_through_the_network_together_do_not_matter(model, store, monkeypatch):
    recording = store[3]
    together = model.embed(recording), model.reconstruct(recording), model.attention(recording)
    monkeypatch.setattr("brainlm.inference.brainlm.WINDOWS_AT_ONCE", 1)
    alone = model.embed(recording), model.reconstruct(recording), model.attention(recording)
    for one, other in zip(together, alone, strict=True):
        for name, value in vars(one).items():
            np.testing.assert_allclose(getattr(other, name), value, **CLOSE)


def test_an_offset_of_the_scanner_changes_no_embedding(model, store, make_recording):
    shifted = make_recording(0, bold=store[0].bold + np.float32(64))
    np.testing.assert_allclose(model.embed(shifted).cls, model.embed(store[0]).cls, atol=1e-3)


def test_a_recording_shorter_than_a_window_is_used_as_far_as_it_goes(model, store):
    recording = store[1]
    assert recording.num_timepoints == 25 < model.config.num_timepoints
    embedding = model.embed(recording)
    assert embedding.windows.shape == (1, 16)
    assert np.isfinite(embedding.cls).all()
    assert np.isfinite(embedding.parcels).all()
    out = model.reconstruct(recording, ratio=0.5)
    assert out.signal.shape == out.predicted.shape == out.hidden.shape == (25, 10)
    assert np.isfinite(out.predicted).all()
    assert model.forecast(recording, horizon=5).shape == (5, 10)
    assert np.isfinite(model.attention(recording).cls).all()


@torch.no_grad()
def test_what_lies_beyond_the_end_of_a_short_recording_does_not_matter(model, store):
    recording = store[1]
    signal_BPT, valid_BPT = scaled_window(model, recording.bold, 0)
    signal_BPT[:, :, 30:] = 100.0  # the patches of 10 that hold no data
    expected = embed_windows(model.network, signal_BPT, valid_BPT)
    np.testing.assert_allclose(model.embed(recording).cls, expected.cls_BD[0], **CLOSE)


def test_a_parcel_without_signal_has_no_vector_and_does_not_matter(model, store):
    recording = store[3]
    assert np.isnan(recording.bold[:, 4]).all()
    parcels = model.embed(recording).parcels
    assert np.isnan(parcels[4]).all()
    assert np.isfinite(np.delete(parcels, 4, axis=0)).all()
    out = model.reconstruct(recording)
    assert np.isnan(out.signal[:, 4]).all()
    assert np.isnan(out.predicted[:, 4]).all()
    assert not out.hidden[:, 4].any()
    assert np.isfinite(out.r2)
    looked = model.attention(recording)
    absent = np.arange(10) == 4
    for attention in (looked.cls, looked.rollout, *looked.layers.reshape(-1, 10)):
        assert np.array_equal(np.isnan(attention), absent)
    for attention in (looked.parcels, *looked.lags):
        assert np.array_equal(np.isnan(attention), absent | absent[:, None])


@VERBS
def test_other_parcels_than_the_models_are_an_error_that_names_the_atlas(model, make_recording, verb):
    other = make_recording(0, bold=np.ones((60, 9), np.float32).cumsum(axis=0))
    with pytest.raises(
        DataError, match=r"sub-0001(.|\n)*10 parcels \(synthetic\)(.|\n)*9 parcels(.|\n)*parcellate with"
    ):
        getattr(model, verb)(other)


@pytest.mark.parametrize(
    ("mask", "ratio"), [("random", 0.2), ("random", 0.75), ("parcel", 0.5), ("future", 1), ("future", 2)]
)
def test_r2_is_that_of_the_hidden_values(model, store, mask, ratio):
    out = model.reconstruct(store[0], mask=mask, ratio=ratio)
    true, guess = out.signal[out.hidden].astype(float), out.predicted[out.hidden].astype(float)
    expected = 1 - sum((true - guess) ** 2) / sum((true - true.mean()) ** 2)
    assert out.r2 == pytest.approx(expected, rel=1e-6)
    share = ratio / 4 if mask == "future" else ratio
    assert out.hidden.sum() == 2 * round(share * 10 * 40)


def test_r2_is_not_clipped(make_model, store):
    model = make_model()
    torch.nn.init.constant_(model.network.head.bias, 50.0)
    assert model.reconstruct(store[0]).r2 < -100


@torch.no_grad()
def test_reconstruction_is_the_networks_laid_out_in_time(model, store):
    recording = store[0]
    out = model.reconstruct(recording, seed=3)
    covered = np.zeros(95, bool)
    for start in (3, 51):
        signal_BPT, valid_BPT = scaled_window(model, recording.bold, start)
        part = slice(start, start + 40)
        covered[part] = True
        np.testing.assert_allclose(out.signal[part], signal_BPT[0].T, **CLOSE)
        hidden_BN = model.network.tokenizer.patches(torch.from_numpy(out.hidden[part].T)[None]).any(dim=2)
        expected = model.network.reconstruct(signal_BPT, valid_BPT, hidden_BN)
        np.testing.assert_allclose(out.predicted[part], expected[0].T, **CLOSE)
    assert np.array_equal(
        out.signal[covered & True][~out.hidden[covered]], out.predicted[covered][~out.hidden[covered]]
    )
    assert np.isnan(out.predicted[~covered]).all()
    assert np.isnan(out.signal[~covered]).all()
    assert not out.hidden[~covered].any()


def test_masks_depend_on_the_seed_and_the_window_alone(model, store):
    first, again, other = (model.reconstruct(store[0], seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.predicted, again.predicted, equal_nan=True)
    assert not np.array_equal(first.hidden, other.hidden)
    assert not np.array_equal(first.hidden[3:43], first.hidden[51:91])


def test_a_mask_that_cannot_be_made_is_an_error(model, store):
    with pytest.raises(ConfigError, match="cannot be made"):
        model.reconstruct(store[0], ratio=75)
    with pytest.raises(ConfigError, match="leaves nothing to see"):
        model.reconstruct(store[0], mask="future", ratio=4)


@torch.no_grad()
def test_a_forecast_is_the_networks_future_patch_in_original_units(model, store):
    recording = store[0]
    context_TP = recording.bold[-30:]  # what fits into the window beside a patch, and all that its centre is taken of
    signal_BPT, _ = scaled_window(model, context_TP, 0)
    hidden_BRC = torch.zeros(1, 10, 4, dtype=torch.bool)
    hidden_BRC[:, :, 3] = True
    valid_BPT = torch.ones_like(signal_BPT, dtype=torch.bool)
    predicted = model.network.reconstruct(signal_BPT, valid_BPT, hidden_BRC.flatten(1))[0, :, 30:].T.numpy()
    expected = predicted * model.scaler.iqr_P + model.scaler.median_P + np.median(context_TP, axis=0)
    found = model.forecast(recording, horizon=10)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("horizon", [1, 7, 10, 11, 35])
def test_a_forecast_has_the_horizon_asked_for_and_a_longer_one_begins_the_same(model, store, horizon):
    found = model.forecast(store[0], horizon=horizon)
    assert found.shape == (horizon, 10)
    assert np.array_equal(found, model.forecast(store[0], horizon=40)[:horizon])


def test_beyond_a_patch_a_forecast_goes_on_from_its_own_predictions(make_model, store, make_recording):
    model = make_model("none")  # units that do not depend on how much of the recording is known
    bold = (store[0].bold - store[0].bold.mean(axis=0)) / store[0].bold.std(axis=0)
    first = model.forecast(make_recording(0, bold=bold), horizon=10)
    longer = make_recording(0, bold=np.concatenate([bold, first]))
    both = model.forecast(make_recording(0, bold=bold), horizon=20)
    np.testing.assert_allclose(both[10:], model.forecast(longer, horizon=10), **CLOSE)


def test_a_forecast_follows_the_units_of_the_recording(make_model, store, make_recording):
    model = make_model("zscore")
    other_units = make_recording(0, bold=store[0].bold * np.float32(0.5) + np.float32(20))
    expected = model.forecast(store[0], horizon=15) * 0.5 + 20
    np.testing.assert_allclose(model.forecast(other_units, horizon=15), expected, rtol=1e-4)


@pytest.mark.parametrize("scaler", ["none", "robust", "zscore"])
def test_only_the_last_points_that_fit_into_a_window_matter_to_a_forecast(make_model, store, make_recording, scaler):
    model = make_model(scaler)
    bold = (store[0].bold - store[0].bold.mean(axis=0)) / store[0].bold.std(axis=0)
    changed = bold.copy()
    changed[:-30] += 5
    assert np.array_equal(*(model.forecast(make_recording(0, bold=b), horizon=10) for b in (bold, changed)))
    changed[-30] += 5
    assert not np.array_equal(*(model.forecast(make_recording(0, bold=b), horizon=10) for b in (bold, changed)))


def test_a_forecast_from_a_context_is_that_of_a_recording_which_begins_with_it(model, store, make_recording):
    cut = make_recording(0, bold=store[0].bold[-20:])
    assert np.array_equal(model.forecast(store[0], horizon=15, context=20), model.forecast(cut, horizon=15))
    assert not np.array_equal(model.forecast(store[0], horizon=15), model.forecast(cut, horizon=15))
    assert np.array_equal(model.forecast(store[0], horizon=15, context=30), model.forecast(store[0], horizon=15))


def test_a_context_that_does_not_fit_is_an_error(model, store):
    with pytest.raises(ConfigError, match=r"whole patches of 10 time points, at most 30(.|\n)*--context 10 or 20"):
        model.forecast(store[0], context=15)
    with pytest.raises(ConfigError, match=r"a context of 40(.|\n)*--context 20 or 30"):
        model.forecast(store[0], context=40)
    with pytest.raises(DataError, match=r"shorter than the context(.|\n)*30 time points or more(.|\n)*25"):
        model.forecast(store[1], context=30)


def test_a_parcel_without_signal_has_no_forecast(model, store):
    found = model.forecast(store[3], horizon=15)
    assert np.isnan(found[:, 4]).all()
    assert np.isfinite(np.delete(found, 4, axis=1)).all()


def test_what_cannot_be_forecast_is_an_error(model, make_model, store):
    with pytest.raises(ConfigError, match=r"horizon of at least 1(.|\n)*horizon 0"):
        model.forecast(store[0], horizon=0)
    with pytest.raises(ConfigError, match=r"more than one patch(.|\n)*windows of 1 patches"):
        make_model(num_timepoints=10).forecast(store[0])


@pytest.mark.parametrize("parcels_per_patch", [1, 4])
def test_attention_is_shared_out_to_parcels(make_model, store, parcels_per_patch):
    model = make_model(parcels_per_patch=parcels_per_patch)
    looked = model.attention(store[0])
    assert looked.cls.shape == (10,)
    assert looked.parcels.shape == (10, 10)
    assert 0.5 < looked.cls.sum() < 1  # the rest is what CLS pays to itself
    assert (looked.parcels.sum(axis=1) < 1).all()
    assert (looked.parcels > 0).all()
    rows = model.network.tokenizer.rows_of_parcels()
    for one, other in ((p, q) for p in range(10) for q in range(10) if rows[p] == rows[q]):
        assert looked.cls[one] == looked.cls[other]
        assert np.array_equal(looked.parcels[one], looked.parcels[other])
        assert np.array_equal(looked.parcels[:, one], looked.parcels[:, other])


def test_attention_of_blocks_differs_and_one_that_is_not_there_is_an_error(model, store):
    first, last, default = (model.attention(store[0], **chosen).cls for chosen in ({"layer": 0}, {"layer": -1}, {}))
    assert np.array_equal(last, default)
    assert not np.allclose(first, last, atol=1e-4)
    with pytest.raises(ConfigError, match="the encoder has no block 2"):
        model.attention(store[0], layer=2)


@torch.no_grad()
def test_a_recordings_own_covariance_is_of_the_points_outside_each_window(make_model, store):
    model = make_model(head="gaussian", own_covariance_points=20)
    recording = store[0]
    starts = spread_starts(95, 40)
    scaled_TP = (recording.bold - np.median(recording.bold, axis=0) - model.scaler.median_P) / model.scaler.iqr_P
    own = model.own_covariance(recording, starts)
    for number, start in enumerate(starts):
        outside_TP = np.delete(scaled_TP, np.arange(start, start + 40), axis=0)
        expected = outside_TP.T @ outside_TP / 55
        np.testing.assert_allclose(own.covariance_BPP[number], expected, rtol=1e-3, atol=1e-3)
    assert own.num_points_B.tolist() == [55, 55]
    scaled = model.scale(recording, starts)
    out = model.reconstruct(recording)
    hidden_BN = model.network.tokenizer.patches(
        torch.from_numpy(np.stack([out.hidden[start : start + 40].T for start in starts]))
    ).any(dim=2)
    expected = model.network.reconstruct(scaled.signal_BPT, scaled.valid_BPT, hidden_BN, own=own)
    np.testing.assert_allclose(out.predicted[starts[0] : starts[0] + 40], expected[0].T, **CLOSE)
    without = model.network.reconstruct(scaled.signal_BPT, scaled.valid_BPT, hidden_BN)
    assert not torch.allclose(expected, without, atol=1e-3)


def test_a_forecast_uses_the_covariance_of_its_context(make_model, store, monkeypatch):
    model = make_model(head="gaussian", own_covariance_points=20)
    seen = []
    reconstruct = model.network.reconstruct

    def recorded(*inputs, own=None):
        seen.append(own)
        return reconstruct(*inputs, own=own)

    monkeypatch.setattr(model.network, "reconstruct", recorded)
    assert np.isfinite(model.forecast(store[0], horizon=12)).all()
    assert len(seen) == 2
    assert all(isinstance(own, OwnCovariance) and own.num_points_B.tolist() == [30] for own in seen)


@pytest.mark.parametrize("head", ["plain", "gaussian", "space-time"])
def test_a_model_that_was_saved_says_the_same_when_opened(make_model, store, tmp_path, head):
    model = make_model(head=head, own_covariance_points=0 if head == "plain" else 20)
    model.save_pretrained(tmp_path / "saved")
    opened = BrainLM.from_pretrained(tmp_path / "saved")
    assert opened.provenance == model.provenance
    assert opened.config == model.config
    assert opened.parcels.to_tsv() == model.parcels.to_tsv()
    recording = store[3]
    assert np.array_equal(opened.embed(recording).parcels, model.embed(recording).parcels, equal_nan=True)
    before, after = model.reconstruct(recording), opened.reconstruct(recording)
    assert np.array_equal(before.predicted, after.predicted, equal_nan=True)
    assert before.r2 == after.r2
    assert np.array_equal(opened.forecast(recording), model.forecast(recording), equal_nan=True)


def test_scaling_windows_of_a_recording_agrees_with_scaling_by_hand(model, store):
    scaled = model.scale(store[1], np.array([0, 10]))
    for number, start in enumerate((0, 10)):
        signal_BPT, valid_BPT = scaled_window(model, store[1].bold, start)
        torch.testing.assert_close(scaled.signal_BPT[number], signal_BPT[0], atol=1e-4, rtol=1e-4)
        assert torch.equal(scaled.valid_BPT[number], valid_BPT[0])
    assert TensorStatistics.of(store[1].bold).median.shape == (1, 10)


def test_hiding_follows_the_masks_of_the_model_room(model, store):
    hidden = model.reconstruct(store[2], mask="future", ratio=1).hidden  # exactly one window
    expected = hide((Mask("future", 1),), torch.zeros(1, dtype=torch.int64), torch.ones(1, 10, 4, dtype=torch.bool))
    assert np.array_equal(hidden.T, expected[0].repeat_interleave(10, dim=1).numpy())


def test_moving_a_model_gives_the_model(model):
    assert model.to("cpu") is model
    assert model.device == torch.device("cpu")


# ---- what the model was trained on is compared with what it is given


@pytest.fixture
def slow_model(model) -> BrainLM:
    """The model as if it had been trained on recordings of 1 s; the store's have 2 s."""
    return BrainLM(model.network, model.scaler, model.parcels, {"data": {"atlas": "synthetic", "tr_s": [1.0]}})


@VERBS
def test_another_repetition_time_is_refused_or_resampled(slow_model, store, verb):
    with pytest.raises(DataError, match=r"sub-0001(.|\n)*1 s, give or take 15 %(.|\n)*2 s(.|\n)*resample=True"):
        getattr(slow_model, verb)(store[0])
    found = getattr(slow_model, verb)(store[0], resample=True)
    expected = getattr(slow_model, verb)(resampled(store[0], 1.0))
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
        return
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def test_what_is_resampled_comes_back_on_the_models_repetition_time(slow_model, store):
    recording = store[0]
    assert slow_model.reconstruct(recording, resample=True).signal.shape == (2 * recording.num_timepoints - 1, 10)


@VERBS
def test_a_model_that_does_not_say_its_repetition_time_takes_any(model, make_recording, verb):
    assert model.tr_s is None
    getattr(model, verb)(make_recording(0, tr=17.0))


def test_several_trained_repetition_times_are_resampled_to_the_one_in_the_middle(model):
    several = BrainLM(model.network, model.scaler, model.parcels, {"data": {"tr_s": [0.72, 2.0, 1.0]}})
    assert several.tr_s == 1.0
    assert several.trained_tr_s == [0.72, 2.0, 1.0]


@VERBS
def test_an_unusual_amplitude_is_a_warning_that_names_the_recording(model, store, verb, caplog):
    with caplog.at_level(logging.WARNING):
        getattr(model, verb)(store[0])
    assert not caplog.records
    scaler = dataclasses.replace(model.scaler, iqr_P=model.scaler.iqr_P * 50)
    quiet = BrainLM(model.network, scaler, model.parcels, model.provenance)
    with caplog.at_level(logging.WARNING):
        getattr(quiet, verb)(store[0])
    (record,) = caplog.records
    assert "sub-0001" in record.getMessage()
    assert "times as large as the model's input should be" in record.getMessage()


def test_a_scaler_can_be_fitted_again_on_other_recordings(make_model, store):
    model = make_model()
    before = model.scaler
    assert model.fit_scaler([store[0], store[3]]) is model
    assert not np.array_equal(model.scaler.iqr_P, before.iqr_P)
    assert (model.scaler.kind, model.scaler.divisor) == (before.kind, before.divisor)
    assert model.fit_scaler(store).scaler.fitted
    np.testing.assert_array_equal(model.scaler.iqr_P, before.iqr_P)
    zscore = make_model("zscore").fit_scaler(store)
    assert zscore.scaler.kind == "zscore"


@pytest.mark.parametrize("as_store", [True, False])
def test_a_scaler_is_fitted_on_what_is_used_after_resampling(slow_model, make_model, store, as_store):
    model = make_model()
    model.provenance = slow_model.provenance
    recordings = [store[index] for index in range(len(store))]
    model.fit_scaler(store if as_store else recordings, resample=True)
    expected = Scaler.fit_recordings([resampled(recording, 1.0).bold for recording in recordings])
    for name in ("median_P", "iqr_P", "valid_P"):
        np.testing.assert_array_equal(getattr(model.scaler, name), getattr(expected, name))
    assert not np.array_equal(model.scaler.iqr_P, model.fit_scaler(store).scaler.iqr_P)


def test_of_mixed_repetition_times_only_those_too_far_are_resampled_for_the_scaler(slow_model, make_model, store):
    model = make_model()
    model.provenance = slow_model.provenance
    near, far = dataclasses.replace(store[0], tr=1.1), store[3]
    model.fit_scaler([near, far], resample=True)
    expected = Scaler.fit_recordings([near.bold, resampled(far, 1.0).bold])
    np.testing.assert_array_equal(model.scaler.iqr_P, expected.iqr_P)


def test_a_scaler_of_few_recordings_is_warned_of(make_model, store, caplog):
    make_model().fit_scaler([store[0], store[3]])
    assert "fitted on 2 recordings only" in caplog.text
    caplog.clear()
    make_model().fit_scaler([store[index % len(store)] for index in range(20)])
    make_model("zscore").fit_scaler([store[0]])
    assert not caplog.records
