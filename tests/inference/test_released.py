"""The published checkpoints as complete models: given what they expect, or refusing; never quietly anything else."""

import dataclasses
import logging
import re

import numpy as np
import pytest
import torch
from published_folder import IMAGE, SEQUENCE, weights_of, write_published

from brainlm.data.atlas import Atlas
from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.resampling import resampled
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import Population, synthetic_population, synthetic_recordings
from brainlm.errors import AtlasError, CheckpointError, ConfigError, DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.pooling import embed_windows
from brainlm.inference.released import DIVISORS, LICENCE, parcels_of, released_checkpoint
from brainlm.inference.stores import embed_store
from brainlm.model.official import read_official

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
VERBS = pytest.mark.parametrize("verb", ["embed", "reconstruct", "forecast", "attention"])
EACH = pytest.mark.parametrize("layout", ["brainlm_mae", "vit_mae"])
SETTINGS = {"brainlm_mae": SEQUENCE, "vit_mae": IMAGE}
NUM_PARCELS = {"brainlm_mae": 6, "vit_mae": 424}
TR_S = 0.72  # near enough to 0.735


@pytest.fixture(scope="module")
def populations() -> dict[str, Population]:
    return {
        layout: synthetic_population(num_parcels=number, num_networks=3 if number < 10 else 7)
        for layout, number in NUM_PARCELS.items()
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("released")
    return {layout: write_published(base / f"the_{layout}", settings) for layout, settings in SETTINGS.items()}


@pytest.fixture(scope="module")
def stores(populations, tmp_path_factory) -> dict[str, Store]:
    """Four recordings: one shorter than a window, one with a parcel without signal."""
    base = tmp_path_factory.mktemp("stores")
    made = {}
    for layout, population in populations.items():
        lengths = [230, 150, 410, 200] if layout == "vit_mae" else [95, 25, 130, 40]
        with StoreWriter(base / f"{layout}.store", population.parcels, atlas="synthetic") as writer:
            drawn = synthetic_recordings(population, num_subjects=4, num_timepoints=410, tr=TR_S)
            for number, (recording, length) in enumerate(zip(drawn, lengths, strict=True)):
                bold = recording.bold[:length].copy()
                if number == 2:
                    bold[:, 4] = np.nan
                plain = dataclasses.replace(recording, bold=bold, phenotypes={})
                writer.add(plain, split="test" if number == 3 else "train")
        made[layout] = Store.open(base / f"{layout}.store")
    return made


@pytest.fixture(scope="module")
def models(folders, populations, stores) -> dict[str, BrainLM]:
    """One of each family, its scaler fitted on its store; tests must not change them."""
    return {
        layout: BrainLM.from_pretrained(folders[layout], parcels=populations[layout].parcels).fit_scaler(stores[layout])
        for layout in SETTINGS
    }


# ---- what comes with the weights


@EACH
def test_a_published_folder_is_a_model_whose_scaling_is_not_known(folders, populations, layout):
    model = BrainLM.from_pretrained(folders[layout], parcels=populations[layout].parcels)
    assert not model.scaler.fitted
    assert model.scaler.kind == "robust"
    assert model.scaler.divisor == {"brainlm_mae": 1.0, "vit_mae": 5.6430855}[layout]
    assert model.tr_s == 0.735
    assert model.trained_tr_s == [0.735]
    assert len(model.parcels) == NUM_PARCELS[layout]
    released = model.provenance["released"]
    assert released["licence"] == LICENCE == "CC BY-NC-ND 4.0"
    assert released["repository"] == "vandijklab/brainlm"
    assert released["folder"] == f"the_{layout}"
    assert model.evaluation is None


@EACH
@VERBS
def test_nothing_is_computed_before_the_scaler_is_fitted(folders, populations, stores, layout, verb):
    model = BrainLM.from_pretrained(folders[layout], parcels=populations[layout].parcels)
    with pytest.raises(ConfigError, match=r"not known(.|\n)*not published(.|\n)*model\.fit_scaler\(store\)"):
        getattr(model, verb)(stores[layout][0])
    with pytest.raises(ConfigError, match="fit_scaler"):
        embed_store(model, stores[layout])


@EACH
def test_a_scaler_fitted_on_a_store_is_the_one_fitted_on_its_recordings(folders, populations, stores, layout):
    store = stores[layout]
    first, second = (BrainLM.from_pretrained(folders[layout], parcels=populations[layout].parcels) for _ in range(2))
    assert first.fit_scaler(store) is first
    second.fit_scaler([store[index] for index in range(len(store))])
    for name in ("median_P", "iqr_P", "valid_P"):
        np.testing.assert_array_equal(getattr(first.scaler, name), getattr(second.scaler, name))
    assert first.scaler.fitted
    assert second.scaler.fitted
    assert first.scaler.divisor == second.scaler.divisor == DIVISORS[layout]
    part = second.fit_scaler(store.select(split="train")).scaler
    assert not np.array_equal(part.iqr_P, first.scaler.iqr_P)


@EACH
def test_a_scaler_is_not_fitted_on_other_parcels_or_on_nothing(folders, populations, stores, layout):
    model = BrainLM.from_pretrained(folders[layout], parcels=populations[layout].parcels)
    other = "vit_mae" if layout == "brainlm_mae" else "brainlm_mae"
    with pytest.raises(DataError, match="does not fit the model"):
        model.fit_scaler(stores[other])
    with pytest.raises(DataError, match="does not fit the model"):
        model.fit_scaler([stores[layout][0], stores[other][0]])
    with pytest.raises(DataError, match=r"one or more(.|\n)*none"):
        model.fit_scaler([])
    assert not model.scaler.fitted


@EACH
def test_the_divisor_is_applied(models, stores, layout):
    model, store = models[layout], stores[layout]
    recording = store[3]
    scaled = model.scale(recording, np.array([0])).signal_BPT[0].T
    by_hand = (recording.bold - np.median(recording.bold, axis=0) - model.scaler.median_P) / model.scaler.iqr_P
    np.testing.assert_allclose(scaled, by_hand / DIVISORS[layout], atol=1e-4)
    assert model.scaler.divisor == DIVISORS[layout]


@EACH
@pytest.mark.parametrize("fitted", [False, True])
def test_a_saved_copy_is_the_same_model_in_the_same_state(folders, populations, stores, layout, fitted, tmp_path):
    model = BrainLM.from_pretrained(folders[layout], parcels=populations[layout].parcels)
    if fitted:
        model.fit_scaler(stores[layout])
    model.save_pretrained(tmp_path / "saved")
    opened = BrainLM.from_pretrained(tmp_path / "saved")
    assert opened.scaler.fitted == fitted
    assert (opened.scaler.divisor, opened.tr_s) == (DIVISORS[layout], 0.735)
    assert opened.provenance == model.provenance
    assert opened.config == model.config
    assert opened.parcels.to_tsv() == model.parcels.to_tsv()
    opened.fit_scaler(stores[layout])
    model.fit_scaler(stores[layout])
    first, second = (one.embed(stores[layout][0]) for one in (model, opened))
    assert first.windows.tobytes() == second.windows.tobytes()


@EACH
def test_random_weights_are_never_kept(folders, populations, layout):
    """Whatever the network starts from, the model is the file's."""
    expected = BrainLM.from_pretrained(folders[layout], parcels=populations[layout].parcels).network.state_dict()
    before = torch.random.get_rng_state()
    found = BrainLM.from_pretrained(folders[layout], parcels=populations[layout].parcels).network.state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


# ---- which parcels


@EACH
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_table_of_another_number_of_parcels_is_refused(folders, layout, difference):
    number = NUM_PARCELS[layout] + difference
    parcels = synthetic_population(num_parcels=number, num_networks=2).parcels
    with pytest.raises(CheckpointError, match=rf"belong to other parcels(.|\n)*found: +{number} parcels"):
        BrainLM.from_pretrained(folders[layout], parcels=parcels)


def test_weights_of_other_parcels_need_a_table(folders):
    with pytest.raises(CheckpointError, match=r"belong to other parcels(.|\n)*table of 6 parcels(.|\n)*--parcels"):
        BrainLM.from_pretrained(folders["brainlm_mae"])


def test_a_table_without_coordinates_is_refused(folders):
    for layout, number in NUM_PARCELS.items():
        with pytest.raises(AtlasError, match="lacks coordinates"):
            BrainLM.from_pretrained(folders[layout], parcels=Parcels.unnamed(number))


def test_parcels_are_for_published_layouts_only(models, populations, tmp_path):
    models["brainlm_mae"].save_pretrained(tmp_path / "ours")
    with pytest.raises(ConfigError, match="only for weights in a published layout"):
        BrainLM.from_pretrained(tmp_path / "ours", parcels=populations["brainlm_mae"].parcels)


@pytest.fixture
def a424(shared, monkeypatch) -> Parcels:
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(shared / "atlas"))
    return Atlas.load("A424").parcels


def test_weights_of_424_parcels_belong_to_a424(a424, folders, shared, tmp_path):
    image = BrainLM.from_pretrained(folders["vit_mae"])
    assert image.parcels.to_tsv() == a424.to_tsv()
    assert image.provenance["data"]["atlas"] == "A424"
    assert image.config.parcel_order == "y"
    assert (np.diff(a424.coordinates[image.network.tokenizer.order_P, 1]) >= 0).all()
    sequence = BrainLM.from_pretrained(write_published(tmp_path / "x", {**SEQUENCE, "num_brain_voxels": 424}))
    places = np.loadtxt(shared / "atlas" / "A424_Coordinates.txt")
    np.testing.assert_array_equal(sequence.network.encoder_positions.coordinates_R3, places[:, 1:])
    assert torch.equal(sequence.network.tokenizer.order_P, torch.arange(424))


def test_without_the_atlas_it_is_said_what_to_download(folders, monkeypatch, tmp_path):
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(tmp_path))
    with pytest.raises(AtlasError, match=r"lacks files of A424(.|\n)*download them: https"):
        BrainLM.from_pretrained(folders["vit_mae"])


@EACH
@VERBS
@pytest.mark.parametrize("difference", [-1, 1])
def test_recordings_of_one_parcel_more_or_less_are_refused(models, stores, layout, verb, difference):
    recording = stores[layout][0]
    number = NUM_PARCELS[layout] + difference
    other = dataclasses.replace(recording, bold=np.resize(recording.bold, (recording.num_timepoints, number)))
    with pytest.raises(DataError, match=rf"{NUM_PARCELS[layout]} parcels(.|\n)*{number} parcels"):
        getattr(models[layout], verb)(other)


def test_a_store_of_the_right_number_of_other_parcels_is_refused(models, stores, populations, tmp_path):
    model = models["vit_mae"]
    table = populations["vit_mae"].parcels.table
    backwards = table.assign(**{axis: table[axis].to_numpy()[::-1] for axis in "xyz"})
    others = {
        "another order": (table.iloc[::-1].reset_index(drop=True), "other labels"),
        "other places": (backwards, "more than 20 mm away"),
        "another atlas": (table[["label"]].assign(name=[f"area {label}" for label in table["label"]]), "other names"),
    }
    for name, (other, found) in others.items():
        with StoreWriter(tmp_path / f"{name}.store", Parcels(other), atlas=name) as writer:
            writer.add(dataclasses.replace(stores["vit_mae"][3], atlas=name), split="train")
        store = Store.open(tmp_path / f"{name}.store")
        for use in (lambda opened: embed_store(model, opened), model.fit_scaler, model.check_store):
            with pytest.raises(AtlasError, match=rf"{name}\.store has other parcels(.|\n)*{found}"):
                use(store)


# ---- repetition time


@EACH
@VERBS
def test_another_repetition_time_is_refused_unless_resampled(models, stores, layout, verb):
    model, recording = models[layout], stores[layout][2]
    slow = resampled(recording, 2.0)
    with pytest.raises(DataError, match=r"0\.735 s, give or take 15 %(.|\n)*found: +2 s(.|\n)*resample=True"):
        getattr(model, verb)(slow)
    found = getattr(model, verb)(slow, resample=True)
    expected = getattr(model, verb)(resampled(slow, 0.735))
    for name, value in vars(expected).items() if not isinstance(expected, np.ndarray) else [("it", expected)]:
        np.testing.assert_array_equal(found if name == "it" else getattr(found, name), value)


@EACH
@VERBS
def test_the_human_connectome_projects_repetition_time_passes(models, stores, layout, verb):
    assert stores[layout][0].tr == 0.72
    getattr(models[layout], verb)(stores[layout][0])


def test_only_what_is_far_from_the_models_repetition_time_is_resampled(models, stores):
    model, recording = models["brainlm_mae"], stores["brainlm_mae"][2]
    assert model.prepare(recording) is recording
    assert model.prepare(recording, resample=True) is recording
    slow = resampled(recording, 1.5)
    assert model.prepare(slow, resample=True).tr == 0.735
    unknown = BrainLM(model.network, model.scaler, model.parcels, {})
    assert unknown.tr_s is None
    assert unknown.prepare(slow, resample=True) is slow


@EACH
def test_a_store_of_slow_recordings_is_embedded_as_they_are_one_by_one(models, stores, populations, layout, tmp_path):
    model = models[layout]
    with StoreWriter(tmp_path / "slow.store", populations[layout].parcels, atlas="synthetic") as writer:
        for index, tr in enumerate((0.72, 2.0, 1.5)):
            writer.add(resampled(stores[layout][index], tr), split="train")
    slow = Store.open(tmp_path / "slow.store")
    with pytest.raises(DataError, match=r"recording 2 of .*slow\.store(.|\n)*found: +2 s(.|\n)*--resample"):
        embed_store(model, slow)
    for batch_size in (1, 4, 64):
        found = embed_store(model, slow, resample=True, batch_size=batch_size).table
        for index, row in found.iterrows():
            alone = model.embed(slow[index], resample=True)
            np.testing.assert_allclose(row["cls"], alone.cls, **CLOSE)
            np.testing.assert_allclose(row["mean"], alone.mean, **CLOSE)


# ---- amplitude


@EACH
@VERBS
def test_an_unusual_amplitude_is_warned_of_and_a_usual_one_is_not(models, stores, layout, verb, caplog):
    model, recording = models[layout], stores[layout][3]
    with caplog.at_level(logging.WARNING):
        getattr(model, verb)(recording)
    assert not caplog.records
    for factor, low, high in ((100, 30, 300), (0.01, 0.003, 0.03)):
        caplog.clear()
        # About its own mean: the level of the signal is taken away anyhow.
        mean = recording.bold.mean(axis=0)
        with caplog.at_level(logging.WARNING):
            getattr(model, verb)(dataclasses.replace(recording, bold=(recording.bold - mean) * factor + mean))
        (record,) = caplog.records
        assert recording.name in record.getMessage()
        assert low < float(re.search(r"its signal is (\S+) times", record.getMessage())[1]) < high


@EACH
def test_a_store_of_another_amplitude_is_warned_of_once_and_one_recording_by_its_name(
    models, stores, populations, layout, caplog, tmp_path
):
    model, store = models[layout], stores[layout]
    with caplog.at_level(logging.WARNING):
        embed_store(model, store)
    assert not caplog.records
    for name, factors in (("all", (100, 100, 100, 100)), ("one", (1, 100, 1, 1))):
        with StoreWriter(tmp_path / f"{name}.store", populations[layout].parcels, atlas="synthetic") as writer:
            for index, factor in enumerate(factors):
                recording = store[index]
                mean = np.nan_to_num(recording.bold.mean(axis=0))
                bold = ((recording.bold - mean) * factor + mean).astype(np.float32)
                writer.add(dataclasses.replace(recording, bold=bold), split="train")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            embed_store(model, Store.open(tmp_path / f"{name}.store"))
        said = [record.getMessage() for record in caplog.records]
        if name == "all":
            assert "the store" in said[0]
            assert f"{name}.store" in said[0]
        else:
            (message,) = said
            assert f"recording {store[1].name}:" in message


# ---- embeddings


@EACH
def test_two_runs_give_the_same_bytes(models, stores, layout):
    for index in range(4):
        first, second = (models[layout].embed(stores[layout][index]) for _ in range(2))
        for name in ("cls", "mean", "parcels", "windows"):
            assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    tables = [embed_store(models[layout], stores[layout]).table for _ in range(2)]
    for name in ("cls", "mean"):
        assert np.stack(tables[0][name]).tobytes() == np.stack(tables[1][name]).tobytes()


@EACH
@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_store_gives_the_vectors_of_its_recordings_whatever_the_batch(models, stores, layout, resample, batch_size):
    model, store = models[layout], stores[layout]
    progress = []
    found = embed_store(
        model, store, batch_size=batch_size, resample=resample, on_progress=lambda *told: progress.append(told)
    )
    for index, row in found.table.iterrows():
        alone = model.embed(store[index], resample=resample)
        np.testing.assert_allclose(row["cls"], alone.cls, **CLOSE)
        np.testing.assert_allclose(row["mean"], alone.mean, **CLOSE)
    looked = np.nanmean([model.attention(store[index], resample=resample).cls for index in range(4)], axis=0)
    np.testing.assert_allclose(found.attention_P, looked, **CLOSE)
    assert progress[-1] == (4, 4)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


@EACH
@torch.no_grad()
def test_batch_mates_do_not_matter(models, stores, layout):
    """Windows with absent parcels and padded ends among whole ones."""
    model, store = models[layout], stores[layout]
    windows = [model.scale(store[index], np.array([0])) for index in range(4)]
    signal_BPT = torch.cat([window.signal_BPT for window in windows])
    valid_BPT = torch.cat([window.valid_BPT for window in windows])
    together = embed_windows(model.network, signal_BPT, valid_BPT)
    for number in range(4):
        alone = embed_windows(model.network, signal_BPT[[number]], valid_BPT[[number]])
        for name in ("cls_BD", "mean_BD", "parcels_BPD"):
            torch.testing.assert_close(
                getattr(together, name)[number], getattr(alone, name)[0], equal_nan=True, **CLOSE
            )


@torch.no_grad()
def test_the_means_of_an_image_model_are_over_tokens_that_hold_signal(models, stores):
    model, recording = models["vit_mae"], stores["vit_mae"][3]
    scaled = model.scale(recording, np.array([0]))
    encoding = model.network.encode(scaled.signal_BPT)
    grid = encoding.tokens_BKD[0].unflatten(0, (27, 27))
    found = model.embed(recording)
    np.testing.assert_allclose(found.cls, encoding.cls_BD[0], **CLOSE)
    np.testing.assert_allclose(found.mean, grid[:, 7:20].mean(dim=(0, 1)), **CLOSE)
    by_row = grid[:, 7:20].mean(dim=1)
    np.testing.assert_allclose(found.parcels, by_row[model.network.tokenizer.rows_of_parcels()], **CLOSE)


@torch.no_grad()
def test_an_image_model_sees_an_absent_parcel_as_its_median(models, stores):
    model, recording = models["vit_mae"], stores["vit_mae"][3]
    without, flat = recording.bold.copy(), recording.bold.copy()
    without[:, 10] = np.nan
    flat[:, 10] = np.median(flat[:, 10]) + model.scaler.median_P[10]
    absent = model.embed(dataclasses.replace(recording, bold=without))
    assert np.isnan(absent.parcels[10]).all()
    signal_BPT = model.scale(dataclasses.replace(recording, bold=without), np.array([0])).signal_BPT
    assert not signal_BPT[0, 10].any()
    np.testing.assert_allclose(absent.cls, model.network.encode(signal_BPT).cls_BD[0], **CLOSE)


# ---- forecasts


@EACH
@pytest.mark.parametrize("horizon", [1, 12, 13, 20, 40])
def test_a_forecast_has_the_horizon_asked_for_and_a_longer_one_begins_the_same(models, stores, layout, horizon):
    model, recording = models[layout], stores[layout][0]
    found = model.forecast(recording, horizon=horizon)
    assert found.shape == (horizon, NUM_PARCELS[layout])
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.array_equal(found, model.forecast(recording, horizon=45)[:horizon])


@torch.no_grad()
def test_an_image_model_forecasts_its_last_patch_of_twelve_points(models, stores):
    """188 known points beside 12 hidden ones; all tokens outside the signal are seen."""
    model, recording = models["vit_mae"], stores["vit_mae"][0]
    centre_P = np.median(recording.bold[-188:], axis=0)
    scaled_TP = (recording.bold - centre_P - model.scaler.median_P) / model.scaler.iqr_P
    scaled_TP = scaled_TP / 5.6430855

    def by_hand(known_TP: np.ndarray) -> np.ndarray:
        signal_BPT = torch.zeros(1, 424, 200)
        signal_BPT[0, :, :188] = torch.from_numpy(known_TP[-188:].T.astype(np.float32))
        signal_BPT[0, :, 188:] = 77.0  # hidden: whatever stands here must not matter
        hidden_BRC = torch.zeros(1, 27, 27, dtype=torch.bool)
        hidden_BRC[:, :, 19] = True
        valid_BPT = torch.ones_like(signal_BPT, dtype=torch.bool)
        return model.network.reconstruct(signal_BPT, valid_BPT, hidden_BRC.flatten(1))[0, :, 188:].T.numpy()

    first = by_hand(scaled_TP)
    assert first.shape == (12, 424)
    second = by_hand(np.concatenate([scaled_TP, first]))

    def restored(future_TP: np.ndarray) -> np.ndarray:
        return future_TP * 5.6430855 * model.scaler.iqr_P + model.scaler.median_P + centre_P

    found = model.forecast(recording, horizon=20)
    spread = recording.bold.std()
    np.testing.assert_allclose(found[:12], restored(first), rtol=1e-5, atol=1e-4 * spread)
    np.testing.assert_allclose(found[12:], restored(second)[:8], rtol=1e-5, atol=1e-4 * spread)


def test_the_650m_forecasts_nine_points_at_a_time(populations, stores, tmp_path, monkeypatch):
    settings = {**IMAGE, "image_size": [434, 434], "patch_size": 14}
    folder = write_published(tmp_path / "x", settings)
    model = BrainLM.from_pretrained(folder, parcels=populations["vit_mae"].parcels).fit_scaler(stores["vit_mae"])
    hidden = []
    reconstruct = model.network.reconstruct

    def recorded(signal_BPT, valid_BPT, hidden_BN, *, own=None):
        hidden.append(hidden_BN.view(31, 31))
        return reconstruct(signal_BPT, valid_BPT, hidden_BN, own=own)

    monkeypatch.setattr(model.network, "reconstruct", recorded)
    assert model.forecast(stores["vit_mae"][0], horizon=19).shape == (19, 424)
    assert len(hidden) == 3  # 9 + 9 + 1
    for flags in hidden:
        assert flags[:, 22].all()
        assert not flags[:, :22].any()
        assert not flags[:, 23:].any()


def test_a_short_recording_can_be_forecast_too(models, stores):
    for layout in SETTINGS:
        short = stores[layout][1]
        assert short.num_timepoints < models[layout].config.num_timepoints
        assert np.isfinite(models[layout].forecast(short, horizon=20)).all()


# ---- filling in, attention


@EACH
@pytest.mark.parametrize(("mask", "ratio"), [("random", 0.75), ("parcel", 0.5), ("future", 1)])
def test_only_signal_is_hidden_and_as_much_as_asked_for(models, stores, layout, mask, ratio):
    model, recording = models[layout], stores[layout][3]
    out = model.reconstruct(recording, mask=mask, ratio=ratio)
    num_parcels = recording.num_parcels
    assert np.isfinite(out.predicted).all()
    assert np.isfinite(out.r2)
    assert np.array_equal(out.signal[~out.hidden], out.predicted[~out.hidden])
    if mask == "future":
        assert out.hidden[-model.config.last_patch :].all()
        assert out.hidden.sum() == model.config.last_patch * num_parcels
    elif layout == "brainlm_mae" or mask == "parcel":
        assert out.hidden.mean() == pytest.approx(ratio, abs=0.03)
    else:  # of 27 x 13 patches, those at the ends hold fewer points
        patches = model.network.tokenizer.patches(torch.from_numpy(out.hidden.T)[None]).any(dim=2)
        assert int(patches.sum()) == round(0.75 * 27 * 13)


@EACH
def test_attention_between_parcels_is_at_most_one(models, stores, layout):
    looked = models[layout].attention(stores[layout][2])  # one parcel without signal
    absent = np.isnan(stores[layout][2].bold).all(axis=0)
    assert absent.sum() == 1
    assert looked.parcels.shape == (NUM_PARCELS[layout],) * 2
    assert np.array_equal(np.isnan(looked.cls), absent)
    assert np.array_equal(np.isnan(looked.parcels), absent | absent[:, None])
    assert (looked.parcels[~absent][:, ~absent] >= 0).all()
    assert (np.nansum(looked.parcels, axis=1) <= 1 + 1e-6).all()
    assert 0 < np.nansum(looked.cls) <= 1


@torch.no_grad()
def test_attention_of_an_image_model_is_the_full_matrix_shared_among_parcels(models, stores):
    model, recording = models["vit_mae"], stores["vit_mae"][3]
    signal_BPT = model.scale(recording, np.array([0])).signal_BPT
    seen = {}
    model.network.encode(signal_BPT, observers={1: lambda query, key: seen.update(query=query, key=key)})
    matrix_HSS = ((seen["query"] @ seen["key"].transpose(2, 3))[0] / seen["query"].shape[-1] ** 0.5).softmax(dim=2)
    grid = matrix_HSS.mean(dim=0)[1:, 1:].double().view(27, 27, 27, 27)[:, 7:20][:, :, :, 7:20]
    by_rows = grid.sum(dim=3).mean(dim=1)
    cls_by_row = matrix_HSS.mean(dim=0)[0, 1:].double().view(27, 27)[:, 7:20].sum(dim=1)
    rows = model.network.tokenizer.rows_of_parcels()
    size = model.config.parcels_per_patch  # a place without a parcel has its part too
    looked = model.attention(recording)
    np.testing.assert_allclose(looked.cls, (cls_by_row / size)[rows], atol=1e-7, rtol=1e-4)
    np.testing.assert_allclose(looked.parcels, (by_rows / size)[rows][:, rows], atol=1e-8, rtol=1e-4)


# ---- folders


def test_our_own_folder_still_opens_and_the_rest_is_refused(models, tmp_path):
    models["brainlm_mae"].save_pretrained(tmp_path / "ours")
    assert read_official(tmp_path / "ours") is None
    assert BrainLM.from_pretrained(tmp_path / "ours").scaler.fitted
    (tmp_path / "neither").mkdir()
    (tmp_path / "neither" / "config.json").write_text('{"model_type": "bert", "hidden_size": 768}')
    with pytest.raises(CheckpointError, match=r"another kind of model(.|\n)*'brainlm_mae' \(13M\)(.|\n)*'bert'"):
        BrainLM.from_pretrained(tmp_path / "neither")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"not a checkpoint folder(.|\n)*found: +pytorch_model\.bin"):
        BrainLM.from_pretrained(tmp_path / "bare")


def test_a_subfolder_is_opened_and_a_missing_one_told(folders, populations):
    base = folders["vit_mae"].parent
    parcels = populations["vit_mae"].parcels
    assert BrainLM.from_pretrained(base, subfolder="the_vit_mae", parcels=parcels).provenance["released"]
    with pytest.raises(CheckpointError, match="the_brainlm_mae, the_vit_mae"):
        BrainLM.from_pretrained(base, parcels=parcels)
    with pytest.raises(CheckpointError, match=r"no folder the_vit(.|\n)*the_brainlm_mae, the_vit_mae"):
        BrainLM.from_pretrained(base, subfolder="the_vit", parcels=parcels)


def test_released_weights_go_by_their_layout_whatever_the_folder_is_called(populations, tmp_path):
    folder = write_published(tmp_path / "vitmae_111M", SEQUENCE, weights_of(SEQUENCE))
    parcels = populations["brainlm_mae"].parcels
    assert released_checkpoint(read_official(folder), parcels=parcels).scaler.divisor == 1.0
    assert parcels_of(read_official(folder)) is None


@EACH
def test_a_plain_recording_of_the_right_shape_is_enough(models, layout, rng):
    """No store, no atlas name: column p is parcel p."""
    bold = rng.normal(0, 10, (250, NUM_PARCELS[layout])).astype(np.float32)
    recording = Recording(bold, 0.735, "x")
    assert np.isfinite(models[layout].embed(recording).cls).all()
