"""A checkpoint folder is enough on its own; what is missing or does not belong is named."""

import copy
import dataclasses
import errno
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError, BrainLMError, CheckpointError
from brainlm.files import CHECKSUM, sealed
from brainlm.inference import download
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.folder import (
    EVALUATION_FILE,
    FILES,
    PARCELS_FILE,
    PROVENANCE_FILE,
    SCALER_FILE,
    Checkpoint,
    locate,
    read_checkpoint,
    write_checkpoint,
    write_provenance,
)
from brainlm.model.checkpoint import CONFIG_FILE, WEIGHTS_FILE


@pytest.fixture
def folder(model, tmp_path):
    """A whole checkpoint."""
    model.save_pretrained(tmp_path / "written")
    return tmp_path / "written"


@pytest.mark.parametrize("kind", ["robust", "zscore", "none"])
def test_what_is_read_is_what_was_written(make_model, tmp_path, kind):
    model = make_model(kind)
    provenance = {"seed": 3, "data": {"atlas": "Ä 1", "training_subjects": ["01"]}, "metrics": {"val_r2": 0.25}}
    write_checkpoint(tmp_path, Checkpoint(model.network, model.scaler, model.parcels, provenance))
    found = read_checkpoint(tmp_path)
    assert found.provenance == provenance
    assert found.scaler.kind == kind
    for name in ("median_P", "iqr_P", "valid_P"):
        assert np.array_equal(getattr(found.scaler, name), getattr(model.scaler, name))
    assert found.parcels.to_tsv() == model.parcels.to_tsv()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(FILES)


def test_a_checkpoint_opens_in_another_place_without_the_data(model, store, folder, tmp_path):
    expected = model.embed(store[0]).cls
    recording = store[0]
    shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    shutil.rmtree(folder)
    opened = BrainLM.from_pretrained(str(tmp_path / "elsewhere" / "copy"))
    assert np.array_equal(opened.embed(recording).cls, expected)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", [name for name in FILES if name != PARCELS_FILE])
def test_a_file_that_was_cut_off_is_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(folder)


def test_a_damaged_parcels_table_is_an_error(folder):
    (folder / PARCELS_FILE).write_text("nothing of use\n")
    with pytest.raises(AtlasError, match="parcels table cannot be used"):
        read_checkpoint(folder)


def test_a_scaler_of_no_known_kind_is_refused(folder):
    tensors = load_file(folder / SCALER_FILE)
    for metadata in (None, {"kind": "magic"}):
        save_file(tensors, folder / SCALER_FILE, metadata=metadata)
        with pytest.raises(CheckpointError, match=r"is not a scaler(.|\n)*expected one of robust, zscore, none"):
            read_checkpoint(folder)


def test_a_scaler_without_its_tensors_is_refused(folder):
    tensors = load_file(folder / SCALER_FILE)
    tensors.pop("iqr_P")
    save_file(tensors, folder / SCALER_FILE, metadata={"kind": "robust"})
    with pytest.raises(CheckpointError, match=r"is not a scaler(.|\n)*iqr_P"):
        read_checkpoint(folder)


def test_files_of_two_checkpoints_are_told_apart(folder):
    Parcels.unnamed(12).write(folder / PARCELS_FILE)
    with pytest.raises(CheckpointError, match=r"parcels table in (.|\n)*does not belong(.|\n)*10 parcels(.|\n)*12"):
        read_checkpoint(folder)


def test_a_scaler_of_other_parcels_is_told_apart(folder):
    tensors = {name: tensor[:7].clone() for name, tensor in load_file(folder / SCALER_FILE).items()}
    save_file(tensors, folder / SCALER_FILE, metadata={"kind": "robust"})
    with pytest.raises(CheckpointError, match=r"the scaler in (.|\n)*does not belong(.|\n)*10 parcels(.|\n)*7"):
        read_checkpoint(folder)


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_noticed_or_says_nothing(folder, name):
    whole = read_checkpoint(folder)
    path, silent = folder / name, 0
    size = path.stat().st_size
    for position in range(1, size, max(1, size // 40)):
        flip(path, position)
        try:
            found = read_checkpoint(folder)
        except BrainLMError as error:
            assert str(folder) in str(error)  # noqa: PT017
        else:
            silent += 1
            assert all(torch.equal(*pair) for pair in zip(*map(tensors_of, (found, whole)), strict=True))
            assert found.network.config == whole.network.config
        flip(path, position)
    assert silent < 8


def tensors_of(checkpoint):
    return [*checkpoint.network.state_dict().values(), *checkpoint.scaler.to_tensors().values()]


def test_heads_that_no_tensor_shows_are_compared(folder):
    text = (folder / CONFIG_FILE).read_text()
    for heads in (1, 2, 4, 8):
        (folder / CONFIG_FILE).write_text(re.sub(r'"encoder_heads": \d+', f'"encoder_heads": {heads}', text))
        if json.loads(text)["model"]["encoder_heads"] == heads:
            read_checkpoint(folder)
        else:
            with pytest.raises(CheckpointError, match="do not belong together"):
                read_checkpoint(folder)


def test_weights_of_another_run_with_the_same_shapes_are_told_apart(model, folder, tmp_path):
    other = copy.deepcopy(model)
    other.provenance = {**model.provenance, "training": {"seed": 99}}
    other.save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match="do not belong together"):
        read_checkpoint(folder)


def test_a_checkpoint_without_a_checksum_opens(folder):
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
    save_file(tensors, folder / WEIGHTS_FILE)
    provenance = json.loads((folder / PROVENANCE_FILE).read_text())
    del provenance[CHECKSUM]
    (folder / PROVENANCE_FILE).write_text(json.dumps({**provenance, "step": 3}))
    assert read_checkpoint(folder).provenance["step"] == 3


def test_a_run_killed_between_two_files_of_a_checkpoint_opens(folder, model):
    write_provenance(folder, {**model.provenance, "step": 400, "date": "later", "metrics": {"val_r2": 0.5}})
    assert read_checkpoint(folder).provenance["step"] == 400


def test_provenance_is_readable_json(folder):
    content = json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))
    assert content == sealed({"data": {"atlas": "synthetic"}})


def test_on_a_full_disk_the_checkpoint_that_was_there_stays(folder, make_model, monkeypatch):
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        make_model(seed=1).save_pretrained(folder)
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before


def test_a_place_that_cannot_be_written_is_an_error(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write (.*)file/run"):
        model.save_pretrained(tmp_path / "file" / "run")


def test_a_folder_that_is_no_checkpoint_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"is not a checkpoint folder(.|\n)*notes\.txt(.|\n)*folder of a run"):
        BrainLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "./a/b", "/a/b", "a/b/c/d", "~/model"])
def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(name, monkeypatch):
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("asked the Hub"))
    with pytest.raises(CheckpointError, match=r"no checkpoint at(.|\n)*nothing of that name(.|\n)*check the path"):
        locate(name)


def test_a_file_is_no_checkpoint(tmp_path):
    (tmp_path / "model.bin").write_text("")
    with pytest.raises(CheckpointError, match=r"no checkpoint at(.|\n)*found: +a file"):
        locate(tmp_path / "model.bin")


def test_a_hub_name_is_fetched(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(download, "fetch", lambda named: asked.append(str(named)) or folder)
    assert locate("lab/model") == locate("lab/model", subfolder="last") == folder
    assert asked == ["lab/model", "lab/model/last"]
    assert len(BrainLM.from_pretrained("lab/model").parcels) == 10


def test_a_folder_of_that_name_is_preferred_to_the_hub(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("asked the Hub"))
    monkeypatch.chdir(tmp_path)
    assert locate("written") == Path("written")
    shutil.copytree(folder, tmp_path / "lab" / "model" / "last")
    assert locate("lab/model/last") == locate("lab/model", subfolder="last") == Path("lab/model/last")


def test_a_subfolder_that_is_not_here_is_told_with_those_that_are(folder):
    shutil.copytree(folder, folder / "last")
    with pytest.raises(CheckpointError, match=r"written has no folder first(.|\n)*found: +last\n(.|\n)*written/last"):
        locate(folder, subfolder="first")
    with pytest.raises(CheckpointError, match=r"has no folder first(.|\n)*none that does"):
        locate(folder / "last", subfolder="first")


def test_a_folder_of_several_checkpoints_names_them(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "runs" / "a")
    shutil.copytree(folder, tmp_path / "runs" / "b")
    with pytest.raises(CheckpointError, match=r"runs is not a checkpoint itself(.|\n)*found: +a, b\n(.|\n)*runs/a"):
        locate(tmp_path / "runs")


def test_scores_are_carried_along(model, tmp_path):
    scores = {"format_version": 1, "conditions": [{"label": "zufällig 75 %"}]}
    checkpoint = Checkpoint(model.network, model.scaler, model.parcels, model.provenance, scores)
    write_checkpoint(tmp_path, checkpoint)
    assert read_checkpoint(tmp_path).evaluation == scores
    write_checkpoint(tmp_path, dataclasses.replace(checkpoint, evaluation=None))
    assert read_checkpoint(tmp_path).evaluation == scores  # of the run; nobody asked to remove it


def test_without_scores_there_are_none(folder):
    assert read_checkpoint(folder).evaluation is None


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_damaged_scores_are_an_error_that_says_what_to_do(folder, content):
    (folder / EVALUATION_FILE).write_text(content)
    with pytest.raises(
        CheckpointError, match=r"evaluation\.json cannot be read(.|\n)*remove it, or run `brainlm evaluate`"
    ):
        read_checkpoint(folder)
