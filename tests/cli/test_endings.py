"""How a verb ends: signals, faults, the machine's limits; each in words, with the exit status that scripts rely on."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import brainlm
from brainlm.data.synthetic import synthetic_store
from brainlm.errors import ConfigError, DataError
from brainlm.extras import EXTRAS, check_extra

COMMAND = "import sys\nfrom brainlm.cli import main\n\nif __name__ == '__main__':\n    sys.exit(main())\n"
SMALL = (
    "--preset tiny --model.num_timepoints 40 --model.timepoints_per_patch 20 --model.encoder_width 16"
    " --model.encoder_depth 1 --model.encoder_heads 2 --model.encoder_mlp 16 --model.decoder_width 16"
    " --model.decoder_heads 2 --model.decoder_mlp 16 --training.batch_size 8 --training.validate_every 2"
)


@pytest.fixture
def ends_with(monkeypatch, tmp_path, speak):
    """``ends_with(error, *words)``: what ``brainlm inspect`` says when ``error`` is raised in it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def speak_of(error, *words):
        def inspect(store: Path, *, verify: bool = False) -> int:  # noqa: ARG001
            """Raise what the test wants."""
            if callable(error):
                error()
                time.sleep(30)
            raise error

        monkeypatch.setattr("brainlm.cli.data_verbs.inspect", inspect)
        return speak("inspect", "a.store", *words)

    return speak_of


def test_a_fault_is_one_line_that_names_the_file_with_the_traceback(ends_with, tmp_path):
    spoken = ends_with(AttributeError("no such thing"))
    assert spoken.status == 3
    assert spoken.out == ""
    (line,) = spoken.err.splitlines()
    assert "brainlm inspect failed" in line
    assert "AttributeError: no such thing" in line
    assert "report it" in line
    (written,) = (tmp_path / "state" / "brainlm").iterdir()
    assert str(written) in line
    content = written.read_text()
    assert "Traceback (most recent call last)" in content
    assert brainlm.__version__ in content


def test_the_traceback_goes_to_the_temporary_folder_where_the_state_folder_cannot_be_written(
    ends_with, tmp_path, monkeypatch
):
    (tmp_path / "state").write_text("a file, not a folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert "inspect-" in ends_with(AttributeError("x")).err
    assert [path for path in tmp_path.glob("inspect-*.txt") if "AttributeError" in path.read_text()]


@pytest.mark.parametrize("words", [("--debug",), ("--verify", "--debug")])
def test_debug_anywhere_shows_the_traceback(ends_with, words):
    spoken = ends_with(AttributeError("no such thing"), *words)
    assert spoken.status == 3
    assert "Traceback (most recent call last)" in spoken.err
    assert "AttributeError: no such thing" in spoken.err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b.npz"), ("the disk is full", "a/b.npz", "free space")),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ("quota", "free space")),
        (PermissionError(errno.EACCES, "Permission denied", "a.tsv"), ("permit", "a.tsv")),
        (MemoryError(), ("memory", "--batch_size")),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), ("memory", "Tried to allocate")),
        (ModuleNotFoundError("No module named 'peft'", name="peft.tuners"), ("peft", "brainlm[finetune]")),
        (DataError("a table is empty", remedy="fill it"), ("a table is empty", "fill it")),
    ],
)
def test_what_the_machine_lacks_is_said_in_words_and_is_exit_2(ends_with, tmp_path, error, words):
    spoken = ends_with(error)
    assert spoken.status == 2
    assert all(word in spoken.err for word in words), spoken.err
    assert "Traceback" not in spoken.err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_a_verb_with_128_and_its_number_and_one_line(ends_with, name):
    number = signal.Signals[name]
    before = signal.signal(number, signal.SIG_DFL)  # however the tests were started
    try:
        spoken = ends_with(lambda: os.kill(os.getpid(), number))
        assert signal.getsignal(number) == signal.SIG_DFL  # as it was before the verb
    finally:
        signal.signal(number, before)
    assert spoken.status == 128 + number
    (line,) = spoken.err.splitlines()
    assert name in line
    assert "same command" in line


def test_a_signal_that_was_ignored_stays_ignored(ends_with):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:

        def hang_up():
            os.kill(os.getpid(), signal.SIGHUP)
            raise DataError("it went on")

        spoken = ends_with(hang_up)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (spoken.status, spoken.err) == (2, "error: it went on\n")


@pytest.mark.parametrize("package", EXTRAS)
def test_an_extra_that_is_missing_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=package) as caught:
        check_extra(package, what="these")
    assert f"brainlm[{EXTRAS[package]}]" in str(caught.value)


# Results and what comes after them.


@pytest.fixture
def copied(study, tmp_path):
    """A run of its own that a test may change."""
    shutil.copytree(study.run, tmp_path / "run")
    return tmp_path / "run"


def fails(*_, **__):
    raise AttributeError("a drawing library of another version")


def test_a_section_that_cannot_be_made_leaves_a_notice_in_the_page_and_the_rest(speak, copied, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("brainlm.report.sections.training", fails)
    spoken = speak("report", copied)
    assert spoken.status == 1, spoken.err
    assert "the section training" in spoken.out
    assert "a drawing library of another version" in spoken.out
    assert "Traceback" not in spoken.out + spoken.err
    page = (copied / "report.html").read_text()
    assert "This section could not be made" in page
    assert "Reconstruction" in page or "reconstruction" in page


def test_pictures_that_fail_cost_no_result(speak, study, copied, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("brainlm.report.attention_pictures.write_surface", fails)
    small = ("--deletion_recordings", 0, "--attribution_recordings", 0, "--num_bootstrap", 20)
    spoken = speak("attention", copied, study.store, "--name", "all", *small)
    assert spoken.status == 1, spoken.err
    assert "the picture (surface)" in spoken.out
    folder = copied / "attention" / "all"
    assert json.loads((folder / "results.json").read_text())["files"]["surface"] is None
    assert (folder / "table.csv").is_file()
    assert (folder / "view.html").is_file()


def test_examples_that_cannot_be_written_cost_no_evaluation(speak, study, copied, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "examples.npz")

    monkeypatch.setattr("brainlm.evaluation.examples.write_examples", full)
    spoken = speak("evaluate", copied, study.store, "--num_bootstrap", 20, "--overwrite")
    assert spoken.status == 1, spoken.err
    assert "the disk is full" in spoken.out
    assert json.loads((copied / "evaluation.json").read_text())["conditions"]


# Real processes.


def default_signals():
    """A shell without job control starts background processes with SIGINT ignored; this undoes it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("endings") / "s.store"
    synthetic_store(path, num_subjects=100, runs_per_subject=2, num_parcels=12, num_networks=4, num_timepoints=80)
    return path


def start(folder, *words):
    script = folder / "command.py"  # a file: Lightning starts the processes for further devices from it
    script.write_text(COMMAND)
    with (folder / "log.txt").open("w") as file:
        return subprocess.Popen(
            [sys.executable, str(script), *map(str, words)],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=default_signals,
            env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(folder / "state")},
        )


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(processes):
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_training_stopped_by_a_signal_ends_so_and_goes_on_by_the_same_command(store, tmp_path, number):
    process = start(tmp_path, "pretrain", store, "--out", "r", *SMALL.split(), "--training.epochs", 400)
    wait_for((tmp_path / "r" / "checkpoints" / "last.ckpt").is_file)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    said = (tmp_path / "log.txt").read_text()
    assert f"stopped by {signal.Signals(number).name}" in said.splitlines()[-1]
    assert "same command goes on" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(store, tmp_path, number):
    short = ("pretrain", store, "--out", "r", *SMALL.split(), "--training.epochs", 1)
    assert start(tmp_path, *short).wait(120) == 0, (tmp_path / "log.txt").read_text()
    words = ("probe", "r", store, "--target", "sex", "--seen", "allow", "--permutations", 5000, "--jobs", 2)
    process = start(tmp_path, *words)
    family = psutil.Process(process.pid)
    workers = []

    def started():
        workers[:] = [one for one in family.children(recursive=True) if "LokyProcess" in " ".join(one.cmdline())]
        return len(workers) >= 2

    wait_for(started)
    process.send_signal(number)
    assert process.wait(60) == (128 + number if number == signal.SIGTERM else -number)
    wait_for(lambda: not alive(workers), seconds=10)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_of_a_run_on_several_devices_ends_the_others_with_one_message(store, tmp_path, lost):
    devices = ("--device.accelerator", "cpu", "--device.devices", 2, "--device.strategy", "ddp")
    process = start(tmp_path, "pretrain", store, "--out", "r", *SMALL.split(), "--training.epochs", 4000, *devices)
    wait_for((tmp_path / "r" / "checkpoints" / "last.ckpt").is_file)
    family = psutil.Process(process.pid)
    (other,) = [one for one in family.children() if "pretrain" in one.cmdline()]
    (family, other)[lost].kill()
    assert process.wait(30) == (-signal.SIGKILL if lost == 0 else 2)
    wait_for(lambda: not alive([family, other]), seconds=15)
    said = (tmp_path / "log.txt").read_text()
    assert said.count(f"process {lost} of this run") == 1, said
    assert "same command goes on" in said
    assert "Traceback" not in said
    assert "fault" not in said
