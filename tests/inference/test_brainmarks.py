"""Our checkpoints in the benchmark suite Brainmarks: what it gets is what ``BrainLM.embed`` gives, whatever the batch.

The suite is not needed for these tests: samples, registries and datasets stand in for its own. The last test runs the
suite's own contract test, where it is installed.
"""

import dataclasses
import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.scaling import Scaler
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store
from brainlm.data.synthetic import synthetic_store
from brainlm.errors import ConfigError, DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.brainmarks import EmbeddingModule, SampleTransform, checkpoint_model, space_of
from brainlm.model.autoencoder import MaskedAutoencoder

CLOSE = {"atol": 2e-5, "rtol": 2e-4}  # samples went through a z-score and back in float32


def sample_of(recording: Recording, **more) -> dict:
    """A recording in the suite's format: z-scored; zeros throughout where a parcel has no signal."""
    there = np.isfinite(recording.bold).all(axis=0)
    mean, std = recording.bold.mean(axis=0, keepdims=True), recording.bold.std(axis=0, keepdims=True)
    bold = np.where(there, (recording.bold - mean) / std, 0)
    tensors = {"bold": bold, "mean": np.where(there, mean, 0), "std": np.where(there, std, 0)}
    sample = {name: torch.from_numpy(value.astype(np.float32)) for name, value in tensors.items()}
    return {**sample, "tr": torch.tensor(recording.tr), "sub": recording.subject, **more}


@pytest.fixture
def pair_of(tmp_path):
    """The transform and the module of a model that was written and opened again, as the suite opens it."""

    def build(model: BrainLM, **settings) -> tuple[SampleTransform, EmbeddingModule]:
        model.save_pretrained(tmp_path / "run")
        return checkpoint_model(str(tmp_path / "run"), **{"space": "ours", **settings})

    return build


@torch.no_grad()
def embedded(pair, recordings) -> tuple[np.ndarray, np.ndarray]:
    """CLS and patch embeddings of recordings that went through the suite in one batch."""
    transform, module = pair
    samples = [sample_of(recording) for recording in recordings]
    transform.fit(samples)
    cls, registers, patches = module(default_collate([transform(sample) for sample in samples]))
    assert registers is None
    assert cls.shape == (len(samples), 1, patches.shape[2])
    return cls[:, 0].numpy(), patches.numpy()


@pytest.mark.parametrize("scaler", ["robust", "zscore", "none"])
def test_recordings_of_all_lengths_in_one_batch_give_what_embed_gives_for_each(make_model, store, pair_of, scaler):
    model = make_model(scaler)
    recordings = [store[index] for index in range(len(store))]  # 25 to 130 points, windows of 40, a parcel missing
    cls, patches = embedded(pair_of(model), recordings)
    assert patches.shape[1] == 3 * model.network.tokenizer.num_tokens
    for index, recording in enumerate(recordings):
        expected = model.embed(recording)
        scale = np.abs(expected.cls).max()
        np.testing.assert_allclose(cls[index] / scale, expected.cls / scale, **CLOSE)
        np.testing.assert_allclose(patches[index].mean(axis=0), expected.mean, atol=2e-4)


def test_patches_are_the_tokens_of_one_window_after_the_other(model, store, pair_of):
    recording = store[0]
    _, patches = embedded(pair_of(model), [recording])
    scaled = model.scale(recording, np.array([3, 51]))
    with torch.no_grad():
        tokens_WND = model.network.encode(scaled.signal_BPT).tokens_BKD
    np.testing.assert_allclose(patches[0], tokens_WND.flatten(0, 1), atol=2e-4)


def test_what_a_recording_lacks_is_filled_with_the_mean_of_what_it_has(model, store, pair_of):
    num_tokens = model.network.tokenizer.num_tokens
    without_a_parcel, short = embedded(pair_of(model), [store[3], store[1]])[1]
    by_row = without_a_parcel[:num_tokens].reshape(10, 4, -1)
    others = np.delete(by_row, 4, axis=0).mean(axis=(0, 1))
    np.testing.assert_allclose(by_row[4] - others, 0, atol=1e-5)
    np.testing.assert_allclose(short[num_tokens:] - short.mean(axis=0), 0, atol=1e-5)


IMAGE = {"image_size": 60, "parcels_per_patch": 6, "timepoints_per_patch": 6}
IMAGE |= {"spatial_positions": "grid", "temporal_positions": "grid"}


def test_the_padding_of_an_image_is_no_patch(make_model, store, pair_of):
    model = make_model(**IMAGE)
    with_signal = 0
    for row in range(10):  # 10 parcels and 40 points, in the centre of 60 x 60
        for column in range(10):
            with_signal += 6 * row < 35 and 6 * row + 6 > 25 and 6 * column < 50 and 6 * column + 6 > 10
    cls, patches = embedded(pair_of(model), [store[3], store[1]])
    assert patches.shape[1] == 3 * with_signal
    for index, recording in enumerate((store[3], store[1])):
        np.testing.assert_allclose(cls[index], model.embed(recording).cls, atol=2e-4)
        np.testing.assert_allclose(patches[index].mean(axis=0), model.embed(recording).mean, atol=2e-4)


def test_batch_mates_do_not_matter(model, store, pair_of):
    transform, module = pair_of(model)
    samples = [sample_of(store[index]) for index in (0, 5, 6)]  # two windows, one, two
    singles = [default_collate([transform(sample)]) for sample in samples]
    transform.fit(samples)
    together = module(default_collate([transform(sample) for sample in samples]))
    for index, single in enumerate(singles):
        alone = module(single)
        torch.testing.assert_close(together.cls_embeds[index], alone.cls_embeds[0], atol=1e-5, rtol=1e-4)


def test_a_recording_longer_than_those_of_training_gives_windows_evenly_spread(model, store, pair_of):
    transform, _ = pair_of(model)
    transform.fit([sample_of(store[0])])  # two windows
    taken = transform(sample_of(store[3]))["signal"]  # of three, in recording 3: the first and the last
    scaled = model.scale(store[3], np.array([1, 88]))
    torch.testing.assert_close(taken, scaled.signal_BPT, atol=1e-3, rtol=1e-3)


def test_a_number_of_windows_can_be_chosen(model, store, pair_of):
    transform, module = pair_of(model, num_windows=1)
    samples = [sample_of(store[index]) for index in range(len(store))]
    before = default_collate([transform(sample) for sample in samples])
    transform.fit(samples)
    assert before["signal"].shape == (8, 1, 10, 40)
    assert transform(samples[3])["signal"].shape == (1, 10, 40)
    assert module(before).patch_embeds.shape[1] == model.network.tokenizer.num_tokens
    with pytest.raises(ConfigError, match="at least one window"):
        pair_of(model, num_windows=0)


def test_gradients_reach_the_network_unless_it_is_frozen(model, store, pair_of):
    transform, module = pair_of(model)
    samples = [sample_of(store[index]) for index in (0, 1, 3)]
    transform.fit(samples)
    batch = default_collate([transform(sample) for sample in samples])
    for name in ("cls_embeds", "patch_embeds"):
        module.zero_grad()
        getattr(module(batch), name).square().sum().backward()
        assert module.network.embed.weight.grad.abs().sum() > 0
    module.requires_grad_(False)
    assert not module(batch).cls_embeds.requires_grad


def test_mixed_precision_comes_out_as_float32_and_close(model, store, pair_of):
    transform, module = pair_of(model)
    batch = default_collate([transform(sample_of(store[0]))])
    with torch.inference_mode():
        full = module(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = module(batch)
    assert mixed.cls_embeds.dtype == mixed.patch_embeds.dtype == torch.float32
    assert (mixed.cls_embeds - full.cls_embeds).norm() < 0.05 * full.cls_embeds.norm()
    assert (mixed.patch_embeds - full.patch_embeds).norm() < 0.05 * full.patch_embeds.norm()


def test_the_module_is_one_that_moves_and_evaluates_as_a_whole(make_model, pair_of):
    _, module = pair_of(make_model(dropout=0.5))
    assert not module.training
    assert not module.network.training
    assert module.__space__ == "ours"
    moved = module.to("meta")
    assert {tensor.device.type for tensor in (*moved.parameters(), *moved.buffers())} == {"meta"}


def test_weights_without_a_scaler_get_one_from_the_training_recordings(make_model, store, pair_of):
    model = make_model()
    model.scaler = Scaler.unfitted(10, divisor=2.0)
    pair = pair_of(model)
    with pytest.raises(ConfigError, match="how recordings are scaled"):
        pair[0](sample_of(store[0]))
    recordings = [store[index] for index in (0, 2, 3)]
    cls, _ = embedded(pair, recordings)
    model.fit_scaler(recordings)
    np.testing.assert_allclose(cls, [model.embed(recording).cls for recording in recordings], atol=2e-4)


def test_the_scaler_of_a_checkpoint_stays_unless_it_shall_be_fitted_anew(make_model, store, pair_of):
    recordings = [dataclasses.replace(store[index], bold=3 * store[index].bold) for index in (0, 2)]
    model = make_model()
    kept, _ = embedded(pair_of(model), recordings)
    np.testing.assert_allclose(kept[0], model.embed(recordings[0]).cls, atol=2e-4)
    refitted, _ = embedded(pair_of(model, refit=True), recordings)
    np.testing.assert_allclose(refitted[0], model.fit_scaler(recordings).embed(recordings[0]).cls, atol=2e-4)
    assert np.abs(kept - refitted).max() > 0.01


def test_signals_of_another_size_than_the_weights_expect_are_warned_of(model, store, pair_of, caplog):
    recordings = [dataclasses.replace(store[index], bold=50 * store[index].bold) for index in (0, 2)]
    embedded(pair_of(model), [store[0], store[2]])
    assert "times as large" not in caplog.text
    embedded(pair_of(model), recordings)
    assert "times as large" in caplog.text
    assert "refit" in caplog.text


def test_another_repetition_time_is_resampled_or_refused(make_model, store, pair_of):
    model = make_model()
    model.provenance["data"]["tr_s"] = [0.72]
    recording = dataclasses.replace(store[3], tr=1.0)
    cls, _ = embedded(pair_of(model), [recording])
    np.testing.assert_allclose(cls[0], model.embed(recording, resample=True).cls, atol=2e-4)
    near = dataclasses.replace(store[3], tr=0.735)
    np.testing.assert_allclose(embedded(pair_of(model), [near])[0][0], model.embed(near).cls, atol=2e-4)
    transform, _ = pair_of(model, resample=False)
    with pytest.raises(DataError, match="another repetition time"):
        transform(sample_of(recording))


def test_a_repetition_time_in_float32_is_what_was_written_down(make_model, store, pair_of):
    model = make_model()
    model.provenance["data"]["tr_s"] = [0.72]
    transform, _ = pair_of(model)
    found = transform._recording({**sample_of(store[0]), "tr": torch.tensor(0.72)})
    assert found.tr == 0.72


def test_samples_that_do_not_fit_are_refused(model, store, pair_of):
    transform, _ = pair_of(model)
    sample = sample_of(store[0])
    with pytest.raises(DataError, match=r"(?s)subject 0001.*10 parcels.*95 x 9"):
        transform({**sample, "bold": sample["bold"][:, :9]})
    with pytest.raises(DataError, match="no parcel has any signal"):
        transform({**sample, "std": torch.zeros(1, 10)})


def test_what_else_a_sample_holds_stays(model, store, pair_of):
    transform, _ = pair_of(model)
    found = transform(sample_of(store[0], target=np.int64(3)))
    assert found.keys() == {"sub", "target", "signal", "valid"}
    assert found["target"] == 3


def test_a_transform_goes_to_other_processes(model, store, pair_of):
    transform, _ = pair_of(model)
    transform.fit([sample_of(store[0])])
    copy = pickle.loads(pickle.dumps(transform))
    assert torch.equal(copy(sample_of(store[1]))["signal"], transform(sample_of(store[1]))["signal"])
    assert len(pickle.dumps(transform)) < 10_000  # the weights stay where they are


@pytest.mark.parametrize(
    ("num_parcels", "space"),
    [(424, "a424"), (400, "schaefer400"), (450, "schaefer400_tians3"), (457, "schaefer400_tians3_buckner7")],
)
def test_the_space_follows_from_the_number_of_parcels(num_parcels, space):
    assert space_of(num_parcels) == space_of(num_parcels, space) == space


def test_a_space_that_does_not_fit_is_refused_with_both_numbers():
    with pytest.raises(ConfigError, match=r"(?s)200 parcels.*a424.*424"):
        space_of(200, "a424")
    with pytest.raises(ConfigError, match=r"(?s)424 \(a424\).*200 parcels.*model_kwargs\.space"):
        space_of(200)
    assert space_of(200, "cc200") == "cc200"


def test_the_checkpoint_comes_from_the_setting_or_the_environment(model, tmp_path, monkeypatch):
    monkeypatch.delenv("BRAINLM_CHECKPOINT", raising=False)
    with pytest.raises(ConfigError, match=r"(?s)no checkpoint was named.*BRAINLM_CHECKPOINT"):
        checkpoint_model(space="ours")
    model.save_pretrained(tmp_path / "run")
    monkeypatch.setenv("BRAINLM_CHECKPOINT", str(tmp_path / "run"))
    _, module = checkpoint_model(space="ours")
    torch.testing.assert_close(module.network.embed.weight, model.network.embed.weight)


@pytest.mark.parametrize("layout", ["old_13M_tiny", "vitmae_111M_tiny", "vitmae_650M_tiny"])
def test_weights_in_a_published_layout_are_fitted_and_embed_as_elsewhere(
    shared, layout, rng, pair_of, monkeypatch, tmp_path
):
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(shared / "atlas"))
    places = {axis: rng.uniform(-70, 70, 48) for axis in "xyz"}
    table = pd.DataFrame({"label": np.arange(48), "name": [f"parcel-{number}" for number in range(48)], **places})
    # The small weights of the first layout are of 48 parcels, those of the others of all 424.
    Parcels(table).write(tmp_path / "parcels.tsv")
    parcels = Parcels.read(tmp_path / "parcels.tsv") if layout == "old_13M_tiny" else None
    model = BrainLM.from_pretrained(shared / "fixtures" / "official" / layout, parcels=parcels)
    signal = rng.standard_normal((2, 300, len(model.parcels))).cumsum(axis=1).astype(np.float32) + 10_000
    signal[0, :, 5] = np.nan
    recordings = [Recording(bold, 0.72, str(number)) for number, bold in enumerate(signal)]
    cls, patches = embedded(pair_of(model, space=None if parcels is None else "ours"), recordings)
    model.fit_scaler(recordings)
    for index, recording in enumerate(recordings):
        np.testing.assert_allclose(cls[index], model.embed(recording).cls, atol=1e-4)
        np.testing.assert_allclose(patches[index].mean(axis=0), model.embed(recording).mean, atol=1e-4)


class StandInDataset(torch.utils.data.Dataset):
    """What a dataset of the suite is to its programs, as far as ours is concerned."""

    def __init__(self, dataset, *, targets):
        dataset.set_format("torch")
        self.dataset, self.transforms = dataset, []
        self.labels, self.target_ids = np.unique(targets, return_inverse=True)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        sample = {**self.dataset[np.int64(index)], "target": self.target_ids[index]}
        for transform in self.transforms:
            sample = transform(sample)
        return sample


@pytest.fixture
def plug_ins(monkeypatch):
    """Our plug-ins, registered with a stand-in of the suite: functions by name."""
    registered = {}

    def register(function):
        registered[function.__name__] = function
        return function

    contents = {
        "brainmarks.models.registry": {"register_model": register},
        "brainmarks.datasets.registry": {"register_dataset": register},
        "brainmarks.datasets.base": {"HFDataset": StandInDataset},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("brainmarks.models.brainlm_checkpoint", "brainmarks.datasets.brainlm_store"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
    return registered


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Store:
    """A store with every split and both sexes in each."""
    path = tmp_path_factory.mktemp("brainmarks") / "people.store"
    rule = SplitRule(validation=0.2, stratify="sex")
    sizes = {"num_subjects": 60, "num_parcels": 10, "num_networks": 2, "num_timepoints": (50, 90)}
    return synthetic_store(path, split_rule=rule, **sizes)


def test_a_store_is_a_dataset_that_our_model_takes_to_the_end(model, people, plug_ins, tmp_path):
    model.save_pretrained(tmp_path / "run")
    transform, module = plug_ins["brainlm_checkpoint"](str(tmp_path / "run"), space="ours")
    splits = plug_ins["brainlm_store"]("ours", store=str(people.path), target="sex")
    assert list(splits) == ["train", "validation", "test"]
    transform.fit(splits["train"])
    for name, dataset in splits.items():
        recordings = people.select(split=name)
        dataset.transforms.append(transform)
        batches = list(DataLoader(dataset, batch_size=4))
        with torch.no_grad():
            cls = torch.cat([module(batch).cls_embeds[:, 0] for batch in batches])
        expected = [model.embed(recordings[index]).cls for index in range(len(recordings))]
        np.testing.assert_allclose(cls.numpy(), expected, atol=5e-4)
        target = torch.cat([batch["target"] for batch in batches]).numpy()
        assert dataset.labels[target].tolist() == recordings.metadata["sex"].tolist()


def test_the_samples_of_a_store_are_those_of_the_suite(store, people, plug_ins):
    dataset = plug_ins["brainlm_store"]("ours", store=str(people.path), target="sex")["test"]
    recording = people.select(split="test")[0]
    expected = sample_of(recording, target=dataset.target_ids[0])
    assert dataset[0].keys() == expected.keys()
    for name in ("bold", "mean", "std"):
        torch.testing.assert_close(dataset[0][name], expected[name], atol=1e-3, rtol=1e-4)
    samples = type(dataset.dataset)(store)  # with a parcel without signal
    assert not samples[3]["bold"][:, 4].any()
    assert samples[3]["std"][0, 4] == samples[3]["mean"][0, 4] == 0


def test_a_measurement_becomes_classes_of_equal_size_in_training(people, plug_ins):
    splits = plug_ins["brainlm_store"]("ours", store=str(people.path), target="age", bins=2)
    train = people.select(split="train").metadata["age"]
    assert splits["train"].labels[splits["train"].target_ids].tolist() == (train >= train.median()).tolist()
    assert abs(np.bincount(splits["train"].target_ids) - len(train) / 2).max() <= 1


def test_a_target_that_cannot_be_predicted_as_classes_is_refused(people, plug_ins, monkeypatch):
    dataset = plug_ins["brainlm_store"]
    with pytest.raises(ConfigError, match=r"(?s)no column height.*age, sex"):
        dataset("ours", store=str(people.path), target="height")
    monkeypatch.setitem(dataset.__globals__, "MAX_CLASSES", 20)
    with pytest.raises(ConfigError, match=r"(?s)age has too many values.*bins=2"):
        dataset("ours", store=str(people.path), target="age")
    with pytest.raises(DataError, match="do not have the same classes of age"):
        dataset("ours", store=str(people.path), target="age", bins=15)
    with pytest.raises(ConfigError, match="10 parcels do not make the space a424"):
        dataset("a424", store=str(people.path), target="sex")


@pytest.mark.slow
def test_the_suites_own_contract_test_passes(make_model, tmp_path):
    if importlib.util.find_spec("brainmarks.models.test_models") is None:  # brainmarks.models is there: it is ours, too
        pytest.skip("brainmarks is not installed (extra brainmarks, see docs/brainmarks.md)")
    config = make_model().config
    network = MaskedAutoencoder(config, torch.arange(424))
    scaler, parcels = Scaler.unfitted(424), Parcels.unnamed(424)
    BrainLM(network, scaler, parcels, {"data": {"tr_s": [0.735]}}).save_pretrained(tmp_path / "run")
    # Not pytest on that file: the folder it puts first on the path has a brainlm.py of the suite's own. The program
    # itself always exits with 0.
    command = [sys.executable, "-m", "brainmarks.models.test_models", "brainlm_checkpoint"]
    environment = {**os.environ, "BRAINLM_CHECKPOINT": str(tmp_path / "run")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "failed in" not in done.stdout


def test_nothing_hides_the_suites_own_part_of_the_namespace():
    source = Path(__file__).resolve().parents[2] / "src" / "brainmarks"
    assert sorted(path.relative_to(source).as_posix() for path in source.rglob("*.py")) == [
        "datasets/brainlm_store.py",
        "models/brainlm_checkpoint.py",
    ]
