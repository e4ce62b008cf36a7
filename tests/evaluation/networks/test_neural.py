"""Networks without labels put parcels of one network side by side, are kept by what they depend on, and repeat."""

import dataclasses

import numpy as np
import pytest

from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import ATLAS, synthetic_population, synthetic_recordings
from brainlm.evaluation.networks import neural
from brainlm.evaluation.networks.neural import gcn_parcel_embeddings, vae_parcel_embeddings

NUM_PARCELS, NUM_NETWORKS, WINDOW = 24, 3, 30
POPULATION = synthetic_population(num_parcels=NUM_PARCELS, num_networks=NUM_NETWORKS)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> tuple[Store, Store]:
    """40 training recordings and 8 others, one with a parcel without signal, one shorter than a window."""
    path = tmp_path_factory.mktemp("networks") / "planted.store"
    drawn = synthetic_recordings(POPULATION, num_subjects=48, num_timepoints=90)
    with StoreWriter(path, POPULATION.parcels, atlas=ATLAS) as writer:
        for number, recording in enumerate(drawn):
            bold = recording.bold.copy()
            if number == 41:
                bold[:, 4] = np.nan
            if number == 42:
                bold = bold[:20]
            split = "train" if number < 40 else "test"
            writer.add(dataclasses.replace(recording, bold=bold, phenotypes={}), split=split)
    store = Store.open(path)
    return store.select(split="train"), store.select(split="test")


@pytest.fixture(scope="module")
def scaler(stores) -> Scaler:
    return Scaler.fit(stores[0])


def share_of_network_mates(vectors_PF: np.ndarray) -> float:
    """How many of the nearest three (correlation) are of the same network, mirror images left out; chance is .3."""
    similarity = np.corrcoef(vectors_PF)
    similarity[np.arange(NUM_PARCELS), POPULATION.mirror_P] = -np.inf
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :3]
    return float(np.mean(POPULATION.network_P[nearest] == POPULATION.network_P[:, None]))


def test_codes_of_series_side_by_side_know_the_networks(stores, scaler):
    codes = vae_parcel_embeddings(*stores, scaler, num_timepoints=WINDOW)
    assert codes.shape == (8, NUM_PARCELS, 32)
    side_by_side = np.nan_to_num(codes).transpose(1, 0, 2).reshape(NUM_PARCELS, -1)
    assert share_of_network_mates(side_by_side) > 0.8


def test_mean_vectors_of_graphs_know_the_networks(stores):
    vectors = gcn_parcel_embeddings(*stores)
    assert vectors.shape == (8, NUM_PARCELS, 16)
    assert share_of_network_mates(np.nanmean(vectors, axis=0)) > 0.8


@pytest.fixture
def quick(monkeypatch):
    """One epoch: these tests ask for bytes, not for quality."""
    for name in ("VAE_CONFIG", "GCN_CONFIG"):
        monkeypatch.setattr(neural, name, dataclasses.replace(getattr(neural, name), epochs=1))


@pytest.fixture(params=["vae", "gcn"])
def embed(request, stores, scaler):
    """``embed(seed=.., folder=.., on_progress=..)`` by either network."""
    request.getfixturevalue("quick")
    train, judged = stores
    if request.param == "vae":
        return lambda **settings: vae_parcel_embeddings(train, judged, scaler, num_timepoints=WINDOW, **settings)
    return lambda **settings: gcn_parcel_embeddings(train, judged, **settings)


def test_only_what_has_no_signal_has_no_vector(embed):
    unknown = np.isnan(embed()).any(axis=2)
    assert list(zip(*np.nonzero(unknown), strict=True)) == [(1, 4)]


def test_the_same_seed_gives_the_same_numbers_and_another_others(embed):
    first = embed(seed=0)
    np.testing.assert_array_equal(first, embed(seed=0))
    assert not np.allclose(first, embed(seed=1), equal_nan=True)


def test_vectors_are_kept_and_taken_from_the_folder(embed, tmp_path):
    heard = []
    first = embed(folder=tmp_path, on_progress=lambda done, of: heard.append((done, of)))
    assert heard == [(1, 1)]
    again = embed(folder=tmp_path, on_progress=lambda done, of: heard.append((done, of)))
    assert heard == [(1, 1)]
    np.testing.assert_array_equal(again, first)
    embed(folder=tmp_path, seed=1)
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_a_damaged_file_is_computed_again(embed, tmp_path, caplog):
    first = embed(folder=tmp_path)
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(b"\x93NUMPY nothing")
    np.testing.assert_array_equal(embed(folder=tmp_path), first)
    assert "damaged" in caplog.text


@pytest.mark.usefixtures("quick")
def test_names_of_files_follow_all_that_the_numbers_depend_on(stores, scaler, tmp_path):
    train, judged = stores

    def vae(some=train, others=judged, by=scaler, num_timepoints=WINDOW) -> None:
        vae_parcel_embeddings(some, others, by, num_timepoints=num_timepoints, folder=tmp_path)

    vae()
    vae(some=train.take(range(20)))
    vae(others=judged.take([0, 1]))
    vae(by=Scaler.fit(train, "zscore"))
    vae(num_timepoints=20)
    assert len(list(tmp_path.glob("*.npz"))) == 5


def test_of_many_training_recordings_some_are_drawn(monkeypatch, stores):
    monkeypatch.setattr(neural, "MAX_RECORDINGS", 10)
    chosen = neural._chosen(stores[0], 0)
    assert len(set(chosen.tolist())) == 10
    assert (np.diff(chosen) > 0).all()
    assert chosen.tolist() != neural._chosen(stores[0], 1).tolist()
