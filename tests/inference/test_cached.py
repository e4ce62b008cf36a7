"""Vectors of a store are computed once, and never taken for those of anything else."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.inference import cached
from brainlm.inference.cached import cached_features, feature_key
from brainlm.inference.features import BrainLMFeatures
from brainlm.inference.untrained import untrained


@pytest.fixture
def counted(monkeypatch):
    """How often vectors were computed, and of which kinds."""
    calls = []
    real = cached.pooled_features

    def counting(model, store, poolings, **settings):
        calls.append(tuple(poolings))
        return real(model, store, poolings, **settings)

    monkeypatch.setattr(cached, "pooled_features", counting)
    return calls


def test_vectors_are_those_of_the_transformer_and_are_computed_once(model, store, tmp_path, counted):
    first = cached_features(model, store, ["mean", "cls"], folder=tmp_path)
    again = cached_features(model, store, ["cls", "mean"], folder=tmp_path)
    for pooling, vectors_NF in first.items():
        np.testing.assert_array_equal(vectors_NF, again[pooling])
        expected = BrainLMFeatures(model, pooling=pooling).fit(store).transform(store)
        np.testing.assert_allclose(vectors_NF, expected, atol=1e-6)
    assert counted == [("mean", "cls")]


def test_only_what_is_missing_is_computed(model, store, tmp_path, counted):
    cached_features(model, store, ["mean"], folder=tmp_path)
    cached_features(model, store, ["mean", "parcels"], folder=tmp_path)
    assert counted == [("mean",), ("parcels",)]


def test_other_weights_another_scaler_or_other_recordings_are_other_vectors(model, store):
    key = feature_key(model, store, "mean", resample=False)
    twin = untrained(model, seed=1)
    assert feature_key(twin, store, "mean", resample=False) != key
    assert feature_key(model, store.take([0]), "mean", resample=False) != key
    assert feature_key(model, store, "cls", resample=False) != key
    twin = untrained(model, seed=1)
    twin.scaler = dataclasses.replace(twin.scaler, divisor=twin.scaler.divisor * 2)
    assert feature_key(twin, store, "mean", resample=False) != feature_key(
        untrained(model, seed=1), store, "mean", resample=False
    )


def test_a_damaged_file_is_computed_again_with_a_warning(model, store, tmp_path, caplog):
    first = cached_features(model, store, ["mean"], folder=tmp_path)["mean"]
    next(tmp_path.iterdir()).write_bytes(b"\x93NUMPY damaged")
    np.testing.assert_array_equal(cached_features(model, store, ["mean"], folder=tmp_path)["mean"], first)
    assert "damaged" in caplog.text


def test_an_untrained_model_is_another_one_each_seed_and_changes_nothing(model):
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    state = torch.get_rng_state()
    one, same, other = untrained(model, seed=3), untrained(model, seed=3), untrained(model, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.network.cls_D, same.network.cls_D)
    assert not torch.equal(one.network.cls_D, other.network.cls_D)
    assert one.config == model.config
    assert one.provenance["data"]["training_subjects"] == []
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
