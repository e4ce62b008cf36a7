"""A fine-tuned folder applied to recordings: one row a person, and a clear word where it cannot be."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from brainlm.data.parcels import Parcels
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import synthetic_population, synthetic_recordings
from brainlm.errors import AtlasError, CheckpointError, DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.predicting import FinetunedHead, predict_store, read_head, target_of, write_finetuned
from brainlm.model.head import Head, Predictor, TargetUnits
from brainlm.model.head_config import HeadConfig

AGE = TargetUnits("age", "regression", (), 50.0, 12.0)
SEX = TargetUnits("sex", "binary", ("F", "M"))
SITE = TargetUnits("site", "multiclass", ("north", "south", "west"))


def write(folder, model, units=AGE, config=None):
    config = config or HeadConfig()
    torch.manual_seed(0)
    head = Head(config, width=model.config.encoder_width, num_outputs=units.num_outputs)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    write_finetuned(folder, model, FinetunedHead(head.eval(), units), {"study": "age.5-fold"})
    return head


@pytest.fixture
def folder(tmp_path, model):
    write(tmp_path / "tuned", model)
    return tmp_path / "tuned"


@pytest.mark.parametrize("config", [HeadConfig(), HeadConfig(layers="linear", pooling="mean")])
def test_a_head_comes_back_as_it_was_written(tmp_path, model, config):
    head = write(tmp_path / "tuned", model, SITE, config)
    back = read_head(tmp_path / "tuned", width=model.config.encoder_width)
    assert back.units == SITE == target_of(tmp_path / "tuned")
    assert back.head.config == config
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), back.head.parameters(), strict=True))
    assert json.loads((tmp_path / "tuned" / "head.json").read_text())["facts"] == {"study": "age.5-fold"}


def test_the_folder_opens_as_an_ordinary_model(folder, model, store):
    opened = BrainLM.from_pretrained(folder)
    np.testing.assert_allclose(opened.embed(store[0]).cls, model.embed(store[0]).cls, rtol=1e-5, atol=1e-6)


def test_a_prediction_is_the_mean_over_the_windows_of_a_recording(tmp_path, model, store):
    head = write(tmp_path / "tuned", model)
    table = predict_store(tmp_path / "tuned", store)
    predictor = Predictor(model.network, head).eval()
    for row in range(len(store)):
        scaled = model._windows(store[row])
        with torch.no_grad():
            raw_BK = predictor(scaled.signal_BPT, scaled.valid_BPT)
        assert table["predicted"][row] == pytest.approx(50 + 12 * raw_BK.double().mean().item(), rel=1e-5)
    assert table["subject"].tolist() == store.metadata["subject"].tolist()
    assert (table["num_recordings"] == 1).all()


def test_neither_batches_nor_the_other_recordings_change_a_prediction(folder, store):
    whole = predict_store(folder, store)
    np.testing.assert_allclose(predict_store(folder, store, batch_size=3)["predicted"], whole["predicted"], rtol=1e-5)
    part = predict_store(folder, store.take(np.array([5, 2])))
    np.testing.assert_allclose(part["predicted"], whole["predicted"][[5, 2]], rtol=1e-5)


def test_a_person_with_two_recordings_is_one_row(folder, tmp_path):
    population = synthetic_population(num_parcels=10, num_networks=2)
    with StoreWriter(tmp_path / "two.store", population.parcels, atlas="synthetic", phenotypes=()) as writer:
        drawn = synthetic_recordings(population, num_subjects=2, runs_per_subject=2, num_timepoints=(60, 100))
        for recording in drawn:
            writer.add(dataclasses.replace(recording, phenotypes={}), split="test")
    two = Store.open(tmp_path / "two.store")
    by_recording = predict_store(folder, two, level="recording")
    by_subject = predict_store(folder, two)
    assert list(by_recording) == ["subject", "session", "task", "run", "predicted"]
    assert by_subject["num_recordings"].tolist() == [2, 2]
    expected = by_recording.groupby("subject", sort=False)["predicted"].mean()
    np.testing.assert_allclose(by_subject["predicted"], expected)


@pytest.mark.parametrize("units", [SEX, SITE], ids=["binary", "multiclass"])
def test_classes_come_with_their_probabilities(tmp_path, model, store, units):
    write(tmp_path / "tuned", model, units)
    table = predict_store(tmp_path / "tuned", store)
    probabilities = table[[f"probability of {name}" for name in units.classes]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert table["predicted"].tolist() == [units.classes[code] for code in probabilities.to_numpy().argmax(axis=1)]


def test_progress_counts_recordings(folder, store):
    told = []
    predict_store(folder, store, batch_size=4, on_progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (len(store), len(store))


def test_a_model_without_a_head_says_how_to_make_one(tmp_path, model, store):
    model.save_pretrained(tmp_path / "plain")
    with pytest.raises(CheckpointError, match="has no head") as caught:
        predict_store(tmp_path / "plain", store)
    assert "brainlm finetune" in str(caught.value)


def test_a_head_of_another_encoder_is_refused(folder, tmp_path, make_model, store):
    write(tmp_path / "wide", make_model(encoder_width=32))
    (folder / "head.safetensors").write_bytes((tmp_path / "wide" / "head.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="is not the head that"):
        predict_store(folder, store)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.pop("target"),
        lambda content: content["target"].update(kind="survival"),
        lambda content: content["head"].update(depth=3),
        lambda content: content.update(format_version=99),
    ],
)
def test_a_damaged_description_is_named(folder, damage):
    content = json.loads((folder / "head.json").read_text())
    damage(content)
    (folder / "head.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"head\.json cannot be read"):
        target_of(folder)


def test_other_parcels_another_order_and_another_repetition_time_are_refused(tmp_path, model, store):
    reversed_parcels = Parcels(store.parcels.table.iloc[::-1].reset_index(drop=True))
    other = BrainLM(model.network, model.scaler, reversed_parcels, {})
    write(tmp_path / "order", other)
    with pytest.raises(AtlasError, match="another order"):
        predict_store(tmp_path / "order", store)
    write(tmp_path / "tr", BrainLM(model.network, model.scaler, model.parcels, {"data": {"tr_s": [0.7]}}))
    with pytest.raises(DataError, match="repetition time"):
        predict_store(tmp_path / "tr", store)
    assert len(predict_store(tmp_path / "tr", store, resample=True)) == len(store)
