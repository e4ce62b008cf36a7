"""Nothing of a run is lost to a second process, a refused or interrupted replacement, damage or other devices."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from brainlm import atomic
from brainlm.data.manifest import ATLAS_IMAGE
from brainlm.errors import BrainLMError, CheckpointError, ConfigError, DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.folder import read_provenance
from brainlm.training import run as run_module
from brainlm.training.callbacks import LAST_STATE, PREVIOUS_STATE
from brainlm.training.config import DeviceConfig
from brainlm.training.run import pretrain
from brainlm.training.run_folder import ASIDE, MOVING, check_goes_on, held, set_aside


class StoppedError(Exception):
    """Stands for whatever stops a run from outside."""


@pytest.fixture(scope="module")
def trained(store, small, quick, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    pretrain(store, run, model=small, training=quick)
    return run


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run that is over, with the result of a study in it."""
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").write_text("{}")
    return tmp_path / "run"


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stop_after(steps):
    calls = iter(range(1_000))

    def stop(_figures):
        if next(calls) >= steps:
            raise StoppedError

    return stop


def flipped(path, share=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 0x40
    path.write_bytes(content)


def test_a_run_is_refused_while_another_process_trains_in_its_folder(store, small, quick, run, tmp_path):
    before = files(run)
    for folder in (run, tmp_path / "new"):
        with held(folder), pytest.raises(DataError, match=rf"another process is writing {folder}"):
            pretrain(store, folder, model=small, training=quick, overwrite=True)
    assert files(run) == before
    assert not (tmp_path / "new").exists()


REFUSED = {
    "no such device": {"device": DeviceConfig(accelerator="gpu")},
    "long windows": {"model": {"num_timepoints": 400}},
    "unknown order": {"model": {"parcel_order": "network:nope"}},
    "large batch": {"training": {"batch_size": 4000}},
    "bad mask": {"training": {"mask": "future:4"}},
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("there", [True, False])
def test_settings_that_are_refused_change_nothing(store, small, quick, run, tmp_path, what, there, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    change = REFUSED[what]
    folder = run if there else tmp_path / "parent" / "new"
    before = files(run)
    with pytest.raises(BrainLMError):
        pretrain(
            store,
            folder,
            model=dataclasses.replace(small, **change.get("model", {})),
            training=dataclasses.replace(quick, **change.get("training", {})),
            device=change.get("device"),
            overwrite=True,
        )
    assert files(run) == before
    assert not (tmp_path / "parent").exists()


def test_a_run_comes_back_when_the_one_that_replaces_it_ends_before_its_first_state(store, small, quick, run, caplog):
    before = files(run)
    with pytest.raises(StoppedError):
        pretrain(store, run, model=small, training=quick, overwrite=True, on_progress=stop_after(0))
    assert files(run) == before
    assert "the old one is back" in caplog.text


def test_a_run_goes_when_the_one_that_replaces_it_has_its_first_state(store, small, quick, run):
    other = dataclasses.replace(quick, seed=7)
    with pytest.raises(StoppedError):
        pretrain(store, run, model=small, training=other, overwrite=True, on_progress=stop_after(4))
    assert not (run / ASIDE).exists()
    assert not (run / "evaluation.json").exists()
    assert pretrain(store, run, model=small, training=other).resumed


KILLED = """
import os, signal, sys
from pathlib import Path
from brainlm.training.run_folder import set_aside
run, moves = Path(sys.argv[1]), int(sys.argv[2])
rename = Path.rename
def counted(self, target):
    global moves
    if not moves:
        os.kill(os.getpid(), signal.SIGKILL)
    moves -= 1
    return rename(self, target)
Path.rename = counted
set_aside(run)
(run / "config.yaml").write_text("model: new")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moves", [0, 1, 4, 1000])
def test_a_replacement_that_was_killed_at_any_move_is_undone(run, moves):
    before = files(run)
    done = subprocess.run([sys.executable, "-c", KILLED, str(run), str(moves)], check=False)
    assert done.returncode == -signal.SIGKILL
    with held(run):
        assert files(run).items() >= before.items()
    assert files(run) == before
    assert not any((run / name).exists() for name in (ASIDE, MOVING))


def test_a_replacement_that_was_killed_after_the_first_state_is_completed(run):
    set_aside(run)
    atomic.write_text(run / LAST_STATE, "state")
    with held(run):
        assert files(run).keys() == {".lock", str(LAST_STATE)}


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:5000]), flipped])
def test_a_damaged_state_is_replaced_by_the_one_before_and_the_run_ends_the_same(
    store, small, quick, trained, tmp_path, damage, caplog
):
    run = tmp_path / "cut"
    with pytest.raises(StoppedError):
        pretrain(store, run, model=small, training=quick, on_progress=stop_after(7))
    assert (run / PREVIOUS_STATE).is_file()
    damage(run / LAST_STATE)
    assert pretrain(store, run, model=small, training=quick).resumed
    assert "going on from the state before it" in caplog.text
    weights = "last/model.safetensors"
    assert (run / weights).read_bytes() == (trained / weights).read_bytes()


def test_damage_without_a_state_before_it_is_an_error_that_changes_nothing(store, small, quick, run):
    (run / PREVIOUS_STATE).unlink()
    flipped(run / LAST_STATE)
    before = files(run)
    with pytest.raises(CheckpointError, match=r"last.ckpt is damaged(.|\n)*checksum(.|\n)*--overwrite"):
        pretrain(store, run, model=small, training=quick)
    assert files(run) == before
    assert BrainLM.from_pretrained(run)


def test_settings_that_cannot_be_read_are_an_error_of_ours(store, small, quick, run):
    (run / "config.yaml").write_bytes(b"\xff\xfe model")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        pretrain(store, run, model=small, training=quick)


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "devices", "accepted"),
    [(4, 1, 1, True), (2, 1, 2, True), (1, 2, 2, True), (2, 2, 1, True), (4, 1, 2, False), (2, 1, 1, False)],
)
def test_a_run_goes_on_where_as_many_windows_make_a_step(
    store, small, quick, run, batch_size, accumulate, devices, accepted
):
    training = dataclasses.replace(quick, batch_size=batch_size, accumulate=accumulate)
    identity = {"model": dataclasses.asdict(small), "training": dataclasses.asdict(training)}
    if accepted:
        assert check_goes_on(run, identity, store, num_devices=devices)
    else:
        with pytest.raises(ConfigError, match=rf"4 windows a step(.|\n)*= {batch_size * accumulate * devices}"):
            check_goes_on(run, identity, store, num_devices=devices)


def test_a_run_that_goes_on_with_another_division_sees_the_same_windows(store, small, quick, trained, tmp_path):
    from safetensors.torch import load_file
    from torch.testing import assert_close

    run = tmp_path / "cut"
    with pytest.raises(StoppedError):
        pretrain(store, run, model=small, training=quick, on_progress=stop_after(4))
    pretrain(store, run, model=small, training=dataclasses.replace(quick, batch_size=2, accumulate=2))
    record, whole = read_provenance(run / "last"), read_provenance(trained / "last")
    assert (record["step"], record["num_windows"]) == (whole["step"], whole["num_windows"])
    assert record["windows_per_step"] == quick.batch_size
    one, two = (load_file(folder / "last" / "model.safetensors") for folder in (trained, run))
    for name, tensor in one.items():
        assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)


def test_an_atlas_image_that_is_missing_or_cut_off_is_copied_again(store, small, quick, run, tmp_path):
    image = tmp_path / ATLAS_IMAGE
    image.write_bytes(b"an image" * 100)
    for there in (b"", image.read_bytes()[:50], None):
        if there is not None:
            (run / ATLAS_IMAGE).write_bytes(there)
        elif (run / ATLAS_IMAGE).exists():
            (run / ATLAS_IMAGE).unlink()
        proxy = _with_image(store, image)
        pretrain(proxy, run, model=small, training=quick)
        assert (run / ATLAS_IMAGE).read_bytes() == image.read_bytes()


def _with_image(store, image):
    """The store as if it had an atlas's image."""
    from brainlm.data.store import Store

    class WithImage(Store):
        atlas_image = image

    opened = Store.open(store.path)
    opened.__class__ = WithImage
    return opened


def test_a_full_disk_in_a_log_is_called_so_and_the_run_goes_on_later(store, small, quick, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as within:
        within.setattr(run_module.CSVLogger, "save", full)
        with pytest.raises(CheckpointError, match="disk is full"):
            pretrain(store, tmp_path / "run", model=small, training=quick)
    assert pretrain(store, tmp_path / "run", model=small, training=quick).figures


@pytest.mark.slow
def test_processes_of_one_start_share_a_lock_prepare_once_and_are_refused_together(store, small, quick, run):
    old = files(run)

    def start(**model):
        settings = {
            "store": str(store.path),
            "run": str(run),
            "model": dataclasses.asdict(dataclasses.replace(small, **model)),
            "training": dataclasses.asdict(dataclasses.replace(quick, batch_size=2, seed=5)),
            "device": {"accelerator": "cpu", "devices": "2", "strategy": "ddp"},
        }
        script = run.parent / "train.py"
        script.write_text(TOGETHER)
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script, json.dumps(settings)]
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=200)

    refused = start(num_timepoints=400)
    assert refused.returncode != 0
    assert "no recording has a window of 400" in refused.stderr
    assert files(run) == old
    done = start()
    assert done.returncode == 0, done.stderr
    assert (read_provenance(run / "last")["windows_per_step"], (run / ASIDE).exists()) == (4, False)


TOGETHER = """
import json, sys
from pathlib import Path
from brainlm.data.store import Store
from brainlm.model.config import ModelConfig
from brainlm.training.config import DeviceConfig, TrainingConfig
from brainlm.training.run import pretrain
settings = json.loads(sys.argv[1])
pretrain(Store.open(settings["store"]), Path(settings["run"]), model=ModelConfig(**settings["model"]),
         training=TrainingConfig(**settings["training"]), device=DeviceConfig(**settings["device"]), overwrite=True)
"""


def test_the_first_start_killed_at_its_first_write_can_be_started_again(store, small, quick, tmp_path):
    code = """
import json, os, sys
os.fsync = lambda file: os.kill(os.getpid(), 9)
from pathlib import Path
from brainlm.data.store import Store
from brainlm.model.config import ModelConfig
from brainlm.training.config import TrainingConfig
from brainlm.training.run import pretrain
settings = json.loads(sys.argv[1])
pretrain(Store.open(settings["store"]), Path(settings["run"]), model=ModelConfig(**settings["model"]),
         training=TrainingConfig(**settings["training"]))
"""
    settings = {"store": str(store.path), "run": str(tmp_path / "run")}
    settings |= {"model": dataclasses.asdict(small), "training": dataclasses.asdict(quick)}
    done = subprocess.run([sys.executable, "-c", code, json.dumps(settings)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "run").is_dir()
    assert not pretrain(store, tmp_path / "run", model=small, training=quick).resumed
    assert not list((tmp_path / "run").glob(".*"))
