"""A network on disk: bit by bit the same, opened anywhere, and refused when anything is wrong with it."""

import errno
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from brainlm.errors import CheckpointError
from brainlm.model import checkpoint
from brainlm.model.checkpoint import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    config_from_dict,
    read_network,
    read_tensors,
    write_network,
    write_whole,
)


@pytest.fixture
def folder(make_network, tmp_path):
    """A network that was written."""
    write_network(tmp_path / "written", make_network(parcels_per_patch=4, head="gaussian"))
    return tmp_path / "written"


def change_config(folder: Path, **changes) -> None:
    content = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(content | changes))


def change_settings(folder: Path, **changes) -> None:
    change_config(folder, model=json.loads((folder / CONFIG_FILE).read_text())["model"] | changes)


def change_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors = {name: tensor.clone() for name, tensor in (tensors | changes).items() if tensor is not None}
    save_file(tensors, folder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"parcels_per_patch": 4, "spatial_positions": "coordinates", "temporal_positions": "sinusoidal"},
        {"head": "gaussian", "own_covariance_points": 10},
        {"head": "space-time"},
    ],
)
def test_what_is_read_is_bit_by_bit_what_was_written(make_network, make_windows, tmp_path, settings):
    network = make_network(**settings)
    write_network(tmp_path, network)
    found = read_network(tmp_path)
    assert found.config == network.config
    before, after = network.state_dict(), found.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    windows = make_windows(network)
    with torch.no_grad():
        assert torch.equal(network.reconstruct(*windows.inputs), found.reconstruct(*windows.inputs))


def test_a_network_is_read_ready_for_inference_and_leaves_the_callers_random_numbers_alone(folder):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert not read_network(folder).training
    assert torch.equal(torch.rand(3), expected)


def test_the_same_network_gives_the_same_bytes(make_network, tmp_path):
    for name in ("a", "b"):
        write_network(tmp_path / name, make_network())
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_network_opens_in_another_place(folder, tmp_path):
    expected = read_network(folder).state_dict()
    moved = tmp_path / "elsewhere" / "deep"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    found = read_network(str(moved)).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_writing_leaves_the_two_files_and_nothing_else(folder):
    assert sorted(entry.name for entry in folder.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_truncated_weights_are_an_error_that_names_the_file(folder, size):
    content = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(content[:size])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged(.|\n)*copy it again"):
        read_network(folder)


def test_weights_that_are_a_pickle_are_refused_and_never_opened(folder, tmp_path):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (folder / WEIGHTS_FILE).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError, match="is damaged"):
        read_network(folder)
    torch.save({"weights": torch.zeros(3)}, folder / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_network(folder)
    assert not (tmp_path / "ran").exists()


def test_reading_never_unpickles(folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    read_network(folder)


def test_a_missing_tensor_is_named(folder):
    change_tensors(folder, **{"encoder.norm.weight": None})
    with pytest.raises(CheckpointError, match=r"tensor encoder\.norm\.weight(.|\n)*shape \(16,\)(.|\n)*missing"):
        read_network(folder)


def test_a_tensor_too_many_is_named(folder):
    change_tensors(folder, novelty=torch.zeros(3))
    with pytest.raises(CheckpointError, match=r"tensor novelty(.|\n)*no such tensor(.|\n)*shape \(3,\)"):
        read_network(folder)


@pytest.mark.parametrize("name", ["head.bias", "covariance_PP", "tokenizer.order_P"])
def test_a_tensor_of_another_shape_is_named(folder, name):
    tensor = load_file(folder / WEIGHTS_FILE)[name]
    change_tensors(folder, **{name: torch.cat((tensor, tensor))})
    with pytest.raises(CheckpointError, match=f"tensor {name}(.|\n)*nothing was loaded"):
        read_network(folder)


def test_a_config_with_other_sizes_than_the_weights_is_refused(folder):
    change_settings(folder, encoder_mlp=32)
    with pytest.raises(CheckpointError, match=r"does not fit its config\.json: tensor encoder\.blocks\.0"):
        read_network(folder)
    change_settings(folder, encoder_mlp=24)
    read_network(folder)
    change_config(folder, num_parcels=12)
    with pytest.raises(CheckpointError, match=r"tensor tokenizer\.order_P"):
        read_network(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder_depth": 10**9},
        {"decoder_depth": 3},
        {"encoder_width": 3_200_000_000},
        {"encoder_mlp": 10**12},
        {"timepoints_per_patch": 10**12, "num_timepoints": 10**12},
        {"num_timepoints": 10**12, "temporal_positions": "sinusoidal"},
        {"encoder_width": 16.5},
        {"encoder_mlp": 24.0},
    ],
    ids=repr,
)
def test_settings_that_the_weights_cannot_have_are_refused_at_once(folder, changes):
    change_tensors(folder)  # as an older program wrote them: without a checksum
    change_settings(folder, **changes)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_network(folder)


def test_an_unknown_setting_is_refused_with_the_nearest_name(folder):
    change_settings(folder, encoder_widht=16)
    with pytest.raises(
        CheckpointError, match=r"config\.json: unknown model setting 'encoder_widht'(.|\n)*'encoder_width'\?"
    ):
        read_network(folder)
    with pytest.raises(CheckpointError, match="one of num_timepoints, "):
        config_from_dict({"xyz": 1}, where="here")


def test_settings_that_contradict_each_other_are_refused(folder):
    change_settings(folder, timepoints_per_patch=7)
    with pytest.raises(
        CheckpointError, match=r"config\.json: the model settings cannot be used(.|\n)*whole number of patches"
    ):
        read_network(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, r"a newer brainlm(.|\n)*format_version up to 1"),
        ({"model_type": "bert"}, r"another kind of model(.|\n)*'brainlm', or as published(.|\n)*'bert'"),
        ({"model_type": None}, r"another kind of model(.|\n)*None"),
    ],
)
def test_newer_formats_and_other_models_are_refused(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        read_network(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 200_000,
        '{"model_type": "brainlm"}',
        '{"model_type": "brainlm", "format_version": "new", "num_parcels": 3, "model": {}}',
        '{"model_type": "brainlm", "format_version": 1, "num_parcels": 3, "model": []}',
    ],
)
def test_a_config_that_is_none_is_refused(folder, text):
    (folder / CONFIG_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        read_network(folder)


def test_a_missing_file_is_an_error_that_names_what_is_there(folder):
    (folder / CONFIG_FILE).rename(folder / "other.json")
    with pytest.raises(
        CheckpointError, match=r"is not a checkpoint folder(.|\n)*found: +model\.safetensors, other\.json"
    ):
        read_network(folder)
    (folder / "other.json").rename(folder / CONFIG_FILE)
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"no weights at (.*)model\.safetensors"):
        read_network(folder)


def test_a_folder_that_is_not_there_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere is not a checkpoint folder(.|\n)*found: +nothing"):
        read_network(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no weights at"):
        read_tensors(tmp_path)


def test_on_a_full_disk_what_was_there_stays_and_nothing_is_left_over(folder, make_network, monkeypatch):
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write(.|\n)*No space left(.|\n)*free space"):
        write_network(folder, make_network(seed=1))
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before


def test_what_the_disk_refuses_inside_safetensors_is_told_in_the_same_words(folder, make_network, monkeypatch):
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match=r"cannot write(.|\n)*No space left(.|\n)*free space"):
        write_network(folder, make_network(seed=1))
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before


def test_weights_can_be_read_by_whom_the_other_files_can(folder):
    modes = {entry.stat().st_mode for entry in folder.iterdir()}
    assert len(modes) == 1


def test_an_open_network_does_not_change_with_its_file(folder):
    network = read_network(folder)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    size = (folder / WEIGHTS_FILE).stat().st_size
    with (folder / WEIGHTS_FILE).open("r+b") as file:
        file.write(b"\x00" * size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.is_contiguous() for parameter in network.parameters())


def test_weights_in_half_precision_become_single_precision(folder):
    tensors = load_file(folder / WEIGHTS_FILE)
    change_tensors(folder, **{"head.weight": tensors["head.weight"].half()})
    assert read_network(folder).head.weight.dtype == torch.float32


def test_a_place_that_cannot_be_written_is_an_error(make_network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write (.*)file/run(.|\n)*write elsewhere"):
        write_network(tmp_path / "file" / "run", make_network())
    with pytest.raises(CheckpointError, match=r"cannot write (.*)file/a\.json"):
        write_whole(tmp_path / "file" / "a.json", b"{}")
