"""The number that names a model: the same for a copy, another for anything that would change a result."""

import copy
import dataclasses
import re

import numpy as np
import pytest
import torch
from published_folder import SEQUENCE, write_published

from brainlm.data.scaling import Scaler
from brainlm.data.synthetic import synthetic_population
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.identity import weights_sha256


def copied(model: BrainLM, **changes) -> BrainLM:
    parts = {"network": copy.deepcopy(model.network), "scaler": dataclasses.replace(model.scaler)}
    return BrainLM(**{**parts, "parcels": model.parcels, **changes})


def test_it_is_the_same_for_a_copy_a_saved_model_and_another_history(model, tmp_path):
    expected = weights_sha256(model)
    assert re.fullmatch("[0-9a-f]{64}", expected)
    model.save_pretrained(tmp_path)
    others = (copied(model), BrainLM.from_pretrained(tmp_path), copied(model, provenance={"preset": "another"}))
    for other in (model, *others):
        assert weights_sha256(other) == expected


@pytest.mark.parametrize("head", ["plain", "gaussian"])
def test_every_number_of_the_state_counts(make_model, head):
    model = make_model(head=head)
    found = {weights_sha256(model)}
    for name, tensor in model.network.state_dict().items():
        other = copied(model)
        state = other.network.state_dict()
        state[name].view(-1)[-1] += 1
        assert not torch.equal(state[name], tensor)
        found.add(weights_sha256(other))
    assert len(found) == 1 + len(model.network.state_dict())


def test_the_scaler_and_the_settings_count(model, store):
    scaler = model.scaler
    moved = scaler.median_P.copy()
    moved[0] = np.nextafter(moved[0], np.float32(np.inf))
    scalers = [
        Scaler.unfitted(store.num_parcels),
        Scaler.unfitted(store.num_parcels, "zscore"),
        Scaler.unfitted(store.num_parcels, "none"),
        dataclasses.replace(scaler, median_P=moved),
        dataclasses.replace(scaler, divisor=5.6430855),
        dataclasses.replace(scaler, valid_P=~scaler.valid_P),
    ]
    others = [copied(model, scaler=other) for other in scalers]
    by_config = copied(model)
    by_config.network.config = dataclasses.replace(model.config, encoder_heads=4)  # changes no shape
    found = {weights_sha256(other) for other in (model, *others, by_config)}
    assert len(found) == 2 + len(scalers)


def test_a_type_counts_that_changes_no_shape(model):
    other = copied(model)
    other.network.to(torch.bfloat16)
    assert weights_sha256(other) != weights_sha256(model)


def test_published_weights_and_their_conversion_are_the_same(tmp_path):
    population = synthetic_population(num_parcels=6, num_networks=3)
    write_published(tmp_path / "old_13M", SEQUENCE)
    published = BrainLM.from_pretrained(tmp_path / "old_13M", parcels=population.parcels)
    published.save_pretrained(tmp_path / "ours")
    assert weights_sha256(BrainLM.from_pretrained(tmp_path / "ours")) == weights_sha256(published)
