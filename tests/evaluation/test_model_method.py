"""A model is judged on nobody it was trained on, whether it knows them by name or by hash."""

import logging

import pytest
import torch

from brainlm.errors import DataError
from brainlm.evaluation.model_method import refuse_seen_subjects
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.disclosure import public_provenance
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import ModelConfig


@pytest.fixture
def model_of(store, scaler):
    config = ModelConfig(num_timepoints=40, timepoints_per_patch=10, encoder_width=8, encoder_depth=1, encoder_heads=1)
    network = MaskedAutoencoder(config, torch.arange(store.num_parcels))

    def make(provenance: dict) -> BrainLM:
        return BrainLM(network, scaler, store.parcels, provenance)

    return make


@pytest.fixture(params=["by name", "by hash"])
def trained(request, store):
    """The record of a model of the store's training subjects, as it is and as it is published."""
    subjects = sorted(store.select(split="train").metadata["subject"])
    record = {"data": {"fingerprint": store.fingerprint, "training_subjects": subjects}}
    return record if request.param == "by name" else public_provenance(record)


def test_training_subjects_are_refused_and_named(model_of, store, trained):
    subject = sorted(store.select(split="train").metadata["subject"])[0]
    with pytest.raises(DataError, match=rf"trained on subjects(.|\n)*of them: {subject}(.|\n)*--split test"):
        refuse_seen_subjects(model_of(trained), store)


def test_others_are_not(model_of, store, trained, caplog):
    refuse_seen_subjects(model_of(trained), store.select(split="test"))
    assert caplog.messages == []


@pytest.mark.parametrize("record", [{}, {"data": {"atlas": "A424"}}])
def test_a_model_that_does_not_say_whom_it_has_seen_is_judged_with_a_warning(model_of, store, record, caplog):
    with caplog.at_level(logging.WARNING):
        refuse_seen_subjects(model_of(record), store)
    assert "does not say whom it was trained on" in caplog.text
