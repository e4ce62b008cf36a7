"""A whole store through a model is the same as its recordings one by one."""

import dataclasses
import logging

import numpy as np
import pandas as pd
import pytest

from brainlm.data.parcels import Parcels
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import synthetic_store
from brainlm.errors import AtlasError, ConfigError, DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.stores import ATTENTION_FILE, EMBEDDINGS_FILE, embed_store, write_embeddings

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def embeddings(model, store):
    return embed_store(model, store)


def test_each_row_is_the_embedding_of_its_recording(model, store, embeddings):
    assert len(embeddings.table) == len(store) == 8
    assert embeddings.width == 16
    for index, row in embeddings.table.iterrows():
        alone = model.embed(store[index])
        np.testing.assert_allclose(row["cls"], alone.cls, **CLOSE)
        np.testing.assert_allclose(row["mean"], alone.mean, **CLOSE)


def test_attention_is_the_mean_over_recordings(model, store, embeddings):
    expected = np.nanmean([model.attention(store[index]).cls for index in range(len(store))], axis=0)
    np.testing.assert_allclose(embeddings.attention_P, expected, **CLOSE)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_does_not_matter(model, store, embeddings, batch_size):
    found = embed_store(model, store, batch_size=batch_size)
    np.testing.assert_allclose(np.stack(found.table["cls"]), np.stack(embeddings.table["cls"]), **CLOSE)
    np.testing.assert_allclose(found.attention_P, embeddings.attention_P, **CLOSE)


def test_neither_order_nor_company_of_recordings_matter(model, store, embeddings):
    few = embed_store(model, store.take([5, 1, 3]))
    assert few.table["subject"].tolist() == embeddings.table["subject"].iloc[[5, 1, 3]].tolist()
    np.testing.assert_allclose(np.stack(few.table["cls"]), np.stack(embeddings.table["cls"].iloc[[5, 1, 3]]), **CLOSE)


def test_the_table_keeps_the_metadata_and_the_store_stays_as_it_is(store, embeddings):
    assert embeddings.table.columns.tolist() == [*store.metadata.columns, "cls", "mean"]
    pd.testing.assert_frame_equal(embeddings.table.drop(columns=["cls", "mean"]), store.metadata)


@pytest.mark.parametrize("resample", [False, True])
def test_progress_goes_to_the_number_of_recordings(model, store, resample):
    told = []
    embed_store(
        model, store, batch_size=4, resample=resample, on_progress=lambda done, total: told.append((done, total))
    )
    assert told == sorted(told)
    assert told[-1] == (len(store), len(store))


def test_a_store_of_other_parcels_is_an_error(model, tmp_path):
    other = synthetic_store(tmp_path / "other.store", num_subjects=3, num_parcels=8, num_networks=2, num_timepoints=50)
    with pytest.raises(DataError, match=r"other\.store does not fit the model(.|\n)*10 parcels(.|\n)*8 parcels"):
        embed_store(model, other)


def test_embeddings_are_written_for_others_to_read(embeddings, tmp_path):
    path = write_embeddings(embeddings, tmp_path / "new")
    assert path == tmp_path / "new" / EMBEDDINGS_FILE
    table = pd.read_parquet(path)
    assert table["subject"].tolist() == embeddings.table["subject"].tolist()
    np.testing.assert_array_equal(np.stack(table["cls"]), np.stack(embeddings.table["cls"]))
    with np.load(tmp_path / "new" / ATTENTION_FILE) as arrays:
        np.testing.assert_array_equal(arrays["cls_P"], embeddings.attention_P)
        assert arrays["uniform_P"] == np.float32(0.1)


def test_embeddings_that_are_there_are_not_overwritten_unasked(embeddings, tmp_path):
    path = write_embeddings(embeddings, tmp_path)
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"embeddings\.parquet exists(.|\n)*--overwrite"):
        write_embeddings(embeddings, tmp_path)
    assert path.read_bytes() == b"precious"
    write_embeddings(embeddings, tmp_path, overwrite=True)
    assert len(pd.read_parquet(path)) == 8


@pytest.fixture
def slow_model(model) -> BrainLM:
    """The model as if it had been trained on recordings of 1 s; the store's have 2 s."""
    return BrainLM(model.network, model.scaler, model.parcels, {"data": {"atlas": "synthetic", "tr_s": [1.0]}})


def test_another_repetition_time_is_refused_before_anything_is_computed(slow_model, store, monkeypatch):
    monkeypatch.setattr(slow_model.network, "encode", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(DataError, match=r"recording 1 of .*small\.store(.|\n)*1 s, give(.|\n)*found: +2 s"):
        embed_store(slow_model, store)


def test_resampled_recordings_are_embedded_as_they_are_one_by_one(slow_model, store):
    found = embed_store(slow_model, store, resample=True, batch_size=3)
    for index, row in found.table.iterrows():
        alone = slow_model.embed(store[index], resample=True)
        np.testing.assert_allclose(row["cls"], alone.cls, **CLOSE)
        np.testing.assert_allclose(row["mean"], alone.mean, **CLOSE)
    assert found.table["tr"].tolist() == store.metadata["tr"].tolist()  # of the recordings as they were


def test_a_store_of_the_same_number_of_other_parcels_is_an_error(model, store, tmp_path):
    table = store.parcels.table
    moved = Parcels(table.assign(**{axis: table[axis].to_numpy()[::-1] for axis in "xyz"}))
    with StoreWriter(tmp_path / "moved.store", moved, atlas="moved") as writer:
        writer.add(dataclasses.replace(store[0], atlas="moved", phenotypes={}), split="train")
    with pytest.raises(AtlasError, match=r"moved\.store has other parcels than the model, or another order"):
        embed_store(model, Store.open(tmp_path / "moved.store"))


def test_an_unusual_amplitude_is_told_by_the_recording_and_changes_nothing(model, store, caplog):
    with caplog.at_level(logging.WARNING):
        embed_store(model, store)
    assert not caplog.records
    scaler = dataclasses.replace(model.scaler, iqr_P=model.scaler.iqr_P / 50)
    loud = BrainLM(model.network, scaler, model.parcels, model.provenance)
    with caplog.at_level(logging.WARNING):
        found = embed_store(loud, store.take([2]))
    (record,) = caplog.records
    assert "the store" in record.getMessage()
    np.testing.assert_allclose(found.table["cls"].iloc[0], loud.embed(store[2]).cls, **CLOSE)
