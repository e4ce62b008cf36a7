"""A whole store through a model is the same as its recordings one by one."""

import numpy as np
import pandas as pd
import pytest

from brainlm.data.synthetic import synthetic_store
from brainlm.errors import ConfigError, DataError
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
    expected = np.mean([model.attention(store[index]).cls for index in range(len(store))], axis=0)
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


def test_progress_goes_to_the_number_of_windows(model, store):
    told = []
    embed_store(model, store, batch_size=4, on_progress=lambda done, total: told.append((done, total)))
    num_windows = sum(max(1, length // 40) for length in store.num_timepoints)
    assert told == [(min(done, num_windows), num_windows) for done in range(4, num_windows + 4, 4)]


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
