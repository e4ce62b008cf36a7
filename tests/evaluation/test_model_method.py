"""A model is judged on nobody it was trained on, whatever the name; people of the same name elsewhere are others."""

import logging

import numpy as np
import pytest
import torch

from brainlm.data.recording import Recording
from brainlm.data.store import Store, StoreWriter
from brainlm.data.windows import Windows
from brainlm.errors import DataError
from brainlm.evaluation.model_method import refuse_seen_subjects, unseen
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.disclosure import public_provenance, seen_people
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import ModelConfig
from brainlm.training.provenance import describe_data, with_finetuning


@pytest.fixture
def model_of(store, scaler):
    config = ModelConfig(num_timepoints=40, timepoints_per_patch=10, encoder_width=8, encoder_depth=1, encoder_heads=1)
    network = MaskedAutoencoder(config, torch.arange(store.num_parcels))

    def make(provenance: dict) -> BrainLM:
        return BrainLM(network, scaler, store.parcels, provenance)

    return make


def record_of(store: Store, *, num_timepoints: int = 40) -> dict:
    parts = (Windows(store.select(split=split), num_timepoints) for split in ("train", "validation"))
    return {"data": describe_data(store, *parts)}


@pytest.fixture(params=["by name", "by hash"])
def trained(request, store):
    """The record of a model of the store's people, as it is and as it is published."""
    record = record_of(store)
    return record if request.param == "by name" else public_provenance(record)


def with_people(store, folder, people: dict[str, np.ndarray], **settings) -> Store:
    with StoreWriter(folder / "other.store", store.parcels, atlas="synthetic", **settings) as writer:
        for subject, bold in people.items():
            writer.add(Recording(bold, 2.0, subject, atlas="synthetic"), split="test")
    return Store.open(folder / "other.store")


def subjects(store: Store, split: str) -> list[str]:
    return sorted(store.select(split=split).metadata["subject"])


@pytest.mark.parametrize("split", ["train", "validation"])
def test_training_and_validation_people_are_refused_and_named(model_of, store, trained, split):
    with pytest.raises(DataError, match=rf"trained on subjects(.|\n)*seen: {subjects(store, split)[0]}(.|\n)*test"):
        refuse_seen_subjects(model_of(trained), store.select(split=split))


def test_others_are_not(model_of, store, trained, caplog):
    refuse_seen_subjects(model_of(trained), store.select(split="test"))
    assert caplog.messages == []


def test_people_of_the_same_name_in_another_data_set_are_others(model_of, store, trained, tmp_path, rng, caplog):
    name = subjects(store, "train")[0]
    other = with_people(store, tmp_path, {name: rng.normal(size=(100, 10)).astype(np.float32)})
    with caplog.at_level(logging.WARNING):
        kept, remark = unseen(model_of(trained), other, "refuse")
    assert (len(kept), remark) == (1, "")
    assert name in caplog.text


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_copy_under_another_name_in_other_units_and_type_is_seen(model_of, store, trained, tmp_path, rng, split):
    bold = 2 * store.select(split=split)[0].bold
    people = {"copy": bold, "new": rng.normal(size=(100, 10)).astype(np.float32)}
    other = with_people(store, tmp_path, people, dtype="float16")
    seen = seen_people(trained, other)
    assert (seen.subjects, seen.copies) == (("copy",), ("copy",))
    with pytest.raises(DataError, match=r"1 of 2 seen: copy .*as copies"):
        refuse_seen_subjects(model_of(trained), other)
    kept, _ = unseen(model_of(trained), other, "leave_out")
    assert kept.metadata["subject"].tolist() == ["new"]
    kept, remark = unseen(model_of(trained), other, "allow")
    assert len(kept) == 2
    assert "copy" in remark


def test_the_same_data_set_under_another_name_is_known_by_its_address(store, tmp_path, rng):
    source = {"url": "https://x.org/study"}
    name = subjects(store, "train")[0]
    record = record_of(store)
    record["data"]["source"] = source
    other = with_people(store, tmp_path, {name: rng.normal(size=(100, 10)).astype(np.float32)}, source=source)
    assert seen_people(record, other).subjects == (name,)
    assert seen_people(public_provenance(record), other).subjects == (name,)


def test_people_whose_recordings_were_too_short_were_not_seen(store):
    lengths = store.metadata.groupby("subject")["num_timepoints"].max()
    record = record_of(store, num_timepoints=140)
    train = subjects(store, "train")
    long_enough = [name for name in train if lengths[name] >= 140]
    assert 0 < len(long_enough) < len(train)
    assert list(seen_people(record, store.select(split="train")).subjects) == long_enough


def test_a_run_without_fingerprints_goes_by_names_and_says_so(model_of, store, tmp_path, rng, caplog):
    record = record_of(store)
    del record["data"]["recording_fingerprints"]
    name = subjects(store, "train")[0]
    people = {name: rng.normal(size=(100, 10)).astype(np.float32), "copy": store.select(split="train")[0].bold}
    with caplog.at_level(logging.WARNING), pytest.raises(DataError, match=f"1 of 2 seen: {name}"):
        refuse_seen_subjects(model_of(record), with_people(store, tmp_path, people))
    assert "by name alone" in caplog.text


def test_recordings_of_a_fine_tuning_are_known_too(store, tmp_path):
    record = {"data": {"training_subjects": [], "recording_fingerprints": []}}
    someone = subjects(store, "test")[0]
    record = with_finetuning(record, store, {someone}, taught={})
    other = with_people(store, tmp_path, {"copy": store.select(subject=someone)[0].bold})
    for one in (record, public_provenance(record)):
        assert seen_people(one, other).subjects == ("copy",)
    assert seen_people(record, store).subjects == (someone,)
    assert seen_people(public_provenance(record, subjects="omitted"), other).subjects == ()


def test_copies_of_people_whom_baselines_learn_from_are_refused(model_of, store, tmp_path):
    learned = store.select(split="train")
    other = with_people(store, tmp_path, {"copy": learned[0].bold * 3})
    refuse_seen_subjects(model_of({}), learned, learned=(learned,))  # that is asked of the model's record only
    with pytest.raises(DataError, match="1 of 1 seen: copy"):
        refuse_seen_subjects(model_of({}), other, learned=(learned,))


@pytest.mark.parametrize("record", [{}, {"data": {"atlas": "A424"}}])
def test_a_model_that_does_not_say_whom_it_has_seen_is_judged_with_a_warning(model_of, store, record, caplog):
    with caplog.at_level(logging.WARNING):
        refuse_seen_subjects(model_of(record), store)
    assert "does not say whom it was trained on" in caplog.text


def test_whom_published_weights_were_fine_tuned_on_is_known(model_of, store, tmp_path, caplog):
    published = {"released": {}, "data": {"source": {"description": "UK Biobank"}}}
    someone = subjects(store, "test")[0]
    record = with_finetuning(published, store, {someone}, taught={})
    other = with_people(store, tmp_path, {"copy": store.select(subject=someone)[0].bold / 2})
    assert seen_people(record, store).subjects == (someone,)
    with caplog.at_level(logging.WARNING), pytest.raises(DataError, match="1 of 1 seen: copy"):
        refuse_seen_subjects(model_of(record), other)
    assert "whom it was trained on (UK Biobank)" in caplog.text


def test_repetition_times_are_those_of_the_training_recordings(store):
    """The test recordings have another one, which the model has not seen."""
    table = store.metadata
    of_split = {name: set(table["tr"][table["split"] == name]) for name in ("train", "test")}
    record = record_of(store)["data"]
    assert set(record["tr_s"]) == of_split["train"]
    assert record["usual_tr_s"] in of_split["train"]
