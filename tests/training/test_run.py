"""Runs start, go on and refuse; whatever happens to them, the final weights are the same bytes."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from brainlm.data.synthetic import synthetic_store
from brainlm.errors import CheckpointError, ConfigError, DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.training import callbacks
from brainlm.training.run import pretrain

SCRIPT = """
import dataclasses, json, sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from brainlm.data.store import Store
from brainlm.model.config import ModelConfig
from brainlm.training.config import DeviceConfig, TrainingConfig
from brainlm.training.run import pretrain

if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    pretrain(
        Store.open(settings["store"]),
        Path(settings["run"]),
        model=ModelConfig(**settings["model"]),
        training=TrainingConfig(**settings["training"]),
        device=DeviceConfig(**settings.get("device", {})),
        on_progress=lambda figures: time.sleep(settings.get("pause_s", 0)),
    )
"""


class StoppedError(Exception):
    """Stands for whatever stops a run from outside."""


def weights(run: Path) -> bytes:
    return (run / "last" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(store, small, quick, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    pretrain(store, run, model=small, training=quick)
    return run


def start(settings: dict, folder: Path) -> subprocess.Popen:
    script = folder / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(script), json.dumps(settings)], env=environment, cwd=folder)


def as_settings(store, run: Path, small, quick, **more) -> dict:
    return {
        "store": str(store.path),
        "run": str(run),
        "model": dataclasses.asdict(small),
        "training": dataclasses.asdict(quick),
        **more,
    }


def test_a_run_folder_opens_as_a_model_and_says_where_it_comes_from(uninterrupted, store, small):
    model = BrainLM.from_pretrained(uninterrupted)
    assert model.config == small
    assert model.provenance["data"]["fingerprint"] == store.fingerprint
    train = set(store.select(split="train").metadata["subject"])
    assert set(model.provenance["data"]["training_subjects"]) == train
    assert "val_r2" in model.provenance["metrics"]
    assert (uninterrupted / "config.yaml").is_file()
    assert list(uninterrupted.glob("logs/*/metrics.csv"))


@pytest.mark.parametrize("head", ["gaussian", "space-time"])
@pytest.mark.parametrize("own_points", [0, 30])
def test_a_gaussian_head_starts_at_the_conditional_mean_of_the_training_data(
    store, small, quick, tmp_path, head: str, own_points: int
):
    training = dataclasses.replace(quick, base_learning_rate=0.0, epochs=1)
    model = dataclasses.replace(small, head=head, own_covariance_points=own_points)
    summary = pretrain(store, tmp_path / "run", model=model, training=training)
    plain = pretrain(store, tmp_path / "plain", model=small, training=training)
    assert summary.figures["val_r2"] > 0.05 > plain.figures["val_r2"]


@pytest.mark.parametrize("stop_after", [1, 3, 5])
@pytest.mark.parametrize("mask", ["random:0.75", "random:0.5+future:1"])
def test_a_run_that_is_interrupted_and_started_again_ends_with_the_same_bytes(
    store, small, quick, tmp_path, stop_after: int, mask: str
):
    training = dataclasses.replace(quick, mask=mask, epochs=2)
    model = dataclasses.replace(small, dropout=0.1)
    pretrain(store, tmp_path / "whole", model=model, training=training)
    calls = iter(range(1_000))

    def interrupt(_figures):
        if next(calls) >= stop_after:
            raise StoppedError

    with pytest.raises(StoppedError):
        pretrain(store, tmp_path / "cut", model=model, training=training, on_progress=interrupt)
    summary = pretrain(store, tmp_path / "cut", model=model, training=training)
    assert summary.resumed
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    best = "model.safetensors"
    assert (tmp_path / "cut" / best).read_bytes() == (tmp_path / "whole" / best).read_bytes()


@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bytes(store, small, quick, tmp_path):
    training = dataclasses.replace(quick, epochs=12, save_every_steps=1)
    pretrain(store, tmp_path / "whole", model=small, training=training)
    settings = as_settings(store, tmp_path / "cut", small, training, pause_s=0.15)
    moments = random.Random(0)
    state = tmp_path / "cut" / callbacks.LAST_STATE
    for _ in range(10):
        process = start(settings, tmp_path)
        # Until it writes, it only starts up; from then on any moment is as good as any other.
        before = state.stat().st_mtime_ns if state.is_file() else 0
        while process.poll() is None and (not state.is_file() or state.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(moments.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start({**settings, "pause_s": 0}, tmp_path).wait() == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_train_like_one_with_the_doubled_batch(store, small, quick, tmp_path):
    alone = dataclasses.replace(quick, batch_size=4, epochs=2, base_learning_rate=0.01)
    both = dataclasses.replace(alone, batch_size=2)
    pretrain(store, tmp_path / "one", model=small, training=alone)
    device = {"accelerator": "cpu", "devices": "2", "strategy": "ddp"}
    settings = as_settings(store, tmp_path / "two", small, both, device=device)
    assert start(settings, tmp_path).wait(timeout=300) == 0
    one, two = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_finished_run_started_again_changes_nothing(uninterrupted, store, small, quick):
    before = weights(uninterrupted)
    assert pretrain(store, uninterrupted, model=small, training=quick).resumed
    assert weights(uninterrupted) == before


def test_other_settings_are_refused_with_the_difference(uninterrupted, store, small, quick):
    with pytest.raises(ConfigError, match="other settings") as caught:
        pretrain(store, uninterrupted, model=small, training=dataclasses.replace(quick, epochs=9))
    assert "-  epochs: 3" in str(caught.value)
    assert "+  epochs: 9" in str(caught.value)


def test_other_data_are_refused(uninterrupted, small, quick, tmp_path):
    other = synthetic_store(tmp_path / "other.store", num_subjects=16, num_parcels=10, num_timepoints=40, seed=2)
    with pytest.raises(DataError, match="other data"):
        pretrain(other, uninterrupted, model=small, training=quick)


def test_a_folder_that_is_no_run_is_never_touched(store, small, quick, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not a run folder"):
        pretrain(store, tmp_path, model=small, training=quick, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_overwrite_starts_anew(store, small, quick, tmp_path):
    run = tmp_path / "run"
    pretrain(store, run, model=small, training=quick)
    summary = pretrain(store, run, model=small, training=dataclasses.replace(quick, seed=5), overwrite=True)
    assert not summary.resumed
    assert "seed: 5" in (run / "config.yaml").read_text()


def test_windows_longer_than_every_recording_are_refused(store, small, quick, tmp_path):
    with pytest.raises(DataError, match="no recording has a window of 400"):
        pretrain(store, tmp_path / "run", model=dataclasses.replace(small, num_timepoints=400), training=quick)


def test_a_full_disk_leaves_the_state_before_it(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    callbacks.WholeFileIO().save_checkpoint({"step": 1}, path)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="cannot write"):
        callbacks.WholeFileIO().save_checkpoint({"step": 2}, path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("head", ["plain", "space-time"])
def test_mixed_precision_trains(store, small, quick, tmp_path, head: str):
    model = dataclasses.replace(small, head=head, own_covariance_points=0 if head == "plain" else 20)
    training = dataclasses.replace(quick, precision="bf16-mixed", epochs=1)
    summary = pretrain(store, tmp_path / "run", model=model, training=training)
    assert abs(summary.figures["val_r2"]) < 1
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert BrainLM.from_pretrained(tmp_path / "run").network.cls_D.dtype == torch.float32
    assert all(tensor.isfinite().all() for tensor in saved.values())


def test_early_stopping_stops(store, small, quick, tmp_path):
    training = dataclasses.replace(quick, epochs=30, early_stopping=1, base_learning_rate=0.0)
    pretrain(store, tmp_path / "run", model=small, training=training)
    step = json.loads((tmp_path / "run" / "last" / "provenance.json").read_text())["step"]
    assert step < 30 * 2
