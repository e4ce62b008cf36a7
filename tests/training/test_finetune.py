"""Fine-tuning: what is planted is learnt, what is frozen stays, and the result is a checkpoint like any other."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from brainlm.data.scaling import Scaler
from brainlm.errors import AtlasError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.predicting import predict_store, read_head
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.head_config import HeadConfig
from brainlm.training.finetune import finetune
from brainlm.training.finetune_config import FinetuneConfig, SupervisedConfig
from brainlm.training.labelled import Labelled

QUICK = SupervisedConfig(epochs=2, batch_size=8, learning_rate=0.01, accelerator="cpu")


def config(**changes) -> FinetuneConfig:
    return FinetuneConfig(**{"supervised": QUICK, "lora_rank": 2, **changes})


@pytest.fixture
def model(store, small) -> BrainLM:
    return model_of(store, dataclasses.replace(small, encoder_depth=2))


def model_of(store, settings) -> BrainLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MaskedAutoencoder(settings, torch.arange(10))
    scaler = Scaler.fit(store.select(split="train"), "robust")
    data = {"tr_s": [2.0], "training_subjects": ["someone"]}
    return BrainLM(network, scaler, store.parcels, {"data": data}, {"scores": "of before"})


def people(store, positions, values=None) -> Labelled:
    values = store.metadata["strength"].to_numpy(dtype=np.float64) if values is None else values
    return Labelled.of([np.array([i]) for i in range(len(store))], values, positions)


def tuned(model, store, settings, **changes):
    arguments = {"kind": "regression", "name": "strength", **changes}
    return finetune(
        model,
        store,
        train=people(store, np.arange(10)),
        validation=people(store, np.arange(10, 13)),
        config=settings,
        **arguments,
    )


def state(model: BrainLM) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def changed(model: BrainLM, before: dict[str, torch.Tensor]) -> set[str]:
    after = model.network.state_dict()
    assert after.keys() == before.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("part", ["all", "last:1", "head", "lora"])
def test_only_the_chosen_part_changes_and_of_a_copy_only(model, store, part):
    before = state(model)
    result = tuned(model, store, config(train=part))
    assert not changed(model, before)
    touched = changed(result.model, before)
    encoder = {name for name in before if name.startswith(("embed", "encoder", "cls_D"))}
    expected = {
        "all": encoder,
        "last:1": {name for name in encoder if name.startswith(("encoder.blocks.1", "encoder.norm"))},
        "head": set(),
        "lora": {name for name in encoder if name.endswith(("attention.qkv.weight", "attention.out.weight"))},
    }[part]
    assert touched == expected
    assert all(parameter.requires_grad for parameter in result.model.network.parameters())


def test_the_same_seed_gives_the_same_predictions(model, store):
    test = people(store, np.arange(13, 16))
    first, second = (tuned(model, store, config()).predict(store, test) for _ in range(2))
    assert np.array_equal(first, second)
    other = tuned(model, store, config(supervised=dataclasses.replace(QUICK, seed=1))).predict(store, test)
    assert not np.array_equal(first, other)


def test_a_batch_can_be_learnt_by_heart(store, small):
    model = model_of(store, dataclasses.replace(small, num_timepoints=60))  # as long as the longest recording: one each
    values = np.random.default_rng(0).permutation(np.linspace(20, 80, len(store)))
    few = people(store, np.arange(6), values)
    settings = SupervisedConfig(
        epochs=150, batch_size=6, learning_rate=3e-3, weight_decay=0.0, patience=0, accelerator="cpu"
    )
    fitted = finetune(
        model,
        store,
        train=few,
        validation=None,
        config=config(supervised=settings, head=HeadConfig(dropout=0.0), layer_decay=1.0),
        kind="regression",
    )
    predicted = fitted.predict(store, few)[:, 0]
    assert np.corrcoef(predicted, values[:6])[0, 1] > 0.95


def test_a_head_alone_learns_the_same_from_vectors_as_from_windows(model, store):
    cached = tuned(model, store, config(train="head"))
    # Too small a share to hide a patch: the way through the encoder, with the same windows.
    through = tuned(model, store, config(train="head", hidden_share=1e-6))
    test = people(store, np.arange(16))
    np.testing.assert_allclose(cached.predict(store, test), through.predict(store, test), rtol=1e-3)
    assert cached.trained.validation_loss == pytest.approx(through.trained.validation_loss, rel=1e-3)


def test_hidden_patches_change_training_but_not_prediction(model, store):
    test = people(store, np.arange(13, 16))
    hiding = tuned(model, store, config(hidden_share=0.5))
    assert np.array_equal(hiding.predict(store, test), hiding.predict(store, test))
    assert not np.array_equal(hiding.predict(store, test), tuned(model, store, config()).predict(store, test))


def test_predictions_do_not_depend_on_the_labels_of_those_predicted(model, store):
    result = tuned(model, store, config(train="head"))
    nothing = np.full(len(store), np.nan)
    test = np.arange(13, 16)
    known, unknown = result.predict(store, people(store, test)), result.predict(store, people(store, test, nothing))
    assert np.array_equal(known, unknown)


def test_a_scaler_that_was_never_fitted_is_fitted_on_the_training_people_alone(model, store):
    model.scaler = Scaler.unfitted(store.num_parcels)
    result = tuned(model, store, config(train="head"))
    assert not model.scaler.fitted
    expected = Scaler.fit(store.take(np.arange(10)), allow_any_split=True)
    assert np.array_equal(result.model.scaler.iqr_P, expected.iqr_P)


@pytest.mark.parametrize("part", ["all", "lora"])
def test_a_written_model_predicts_the_same(model, store, tmp_path, part):
    result = tuned(model, store, config(train=part))
    result.write(tmp_path / "tuned", {"folds": "none"})
    table = predict_store(tmp_path / "tuned", store)
    everyone = result.predict(store, people(store, np.arange(16)))
    np.testing.assert_allclose(table["predicted"], everyone[:, 0], rtol=1e-5)
    assert read_head(tmp_path / "tuned", width=16).units == result.units
    names = set(load_file(tmp_path / "tuned" / "model.safetensors"))
    assert names == set(model.network.state_dict())


def test_the_record_says_whom_the_model_has_seen_by_now(model, store, tmp_path):
    result = tuned(model, store, config(train="head"))
    subjects = store.metadata["subject"].iloc[:13].tolist()
    assert result.model.provenance["data"]["training_subjects"] == sorted([*subjects, "someone"])
    assert result.model.provenance["finetuned"]["target"] == "strength"
    assert result.model.evaluation is None
    result.write(tmp_path / "tuned", {})
    assert BrainLM.from_pretrained(tmp_path / "tuned").provenance == result.model.provenance
    assert model.provenance["data"]["training_subjects"] == ["someone"]


def test_seen_people_are_added_to_a_record_that_hides_their_names(model, store):
    from brainlm.inference.disclosure import public_provenance, seen_in_training

    model.provenance = public_provenance({"data": {"training_subjects": ["someone"], "fingerprint": "salt"}})
    result = tuned(model, store, config(train="head"))
    subjects = store.metadata["subject"].tolist()
    assert seen_in_training(result.model.provenance, ["someone", *subjects]) == sorted(["someone", *subjects[:13]])


def test_a_store_of_other_parcels_is_refused(model, store):
    model.parcels = dataclasses.replace(store.parcels, table=store.parcels.table.iloc[::-1].reset_index(drop=True))
    with pytest.raises(AtlasError, match="other parcels"):
        tuned(model, store, config())
