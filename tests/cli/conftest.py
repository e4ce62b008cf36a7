"""A study on disk, the command line called as a user would, and the whole tutorial done once on it."""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from brainlm.cli import main
from brainlm.data.synthetic import synthetic_population, synthetic_recordings

NUM_PARCELS = 10

# Everything a run needs to be small; what is not here is the preset's.
CONFIG = {
    "preset": "tiny",
    "model": {
        "num_timepoints": 40,
        "timepoints_per_patch": 10,
        "encoder_width": 16,
        "encoder_depth": 2,
        "encoder_heads": 2,
        "encoder_mlp": 16,
        "decoder_width": 16,
        "decoder_heads": 2,
        "decoder_mlp": 16,
    },
    "training": {"epochs": 5, "batch_size": 4, "mask": "random:0.5+future:1"},
}


@dataclass(frozen=True)
class Spoken:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Study:
    """Paths of a study, and what the verbs that were run on it said."""

    folder: Path
    spoken: Mapping[str, Spoken]

    @property
    def store(self) -> Path:
        return self.folder / "study.store"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def config(self) -> Path:
        return self.folder / "small.yaml"


def _speak(*words: object) -> Spoken:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:  # --help and --print_config end like this
            status = int(stop.code or 0)
    return Spoken(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def speak():
    """``speak("inspect", store)``: run a command as if typed."""
    return _speak


def write_tables(folder: Path, *, num_subjects: int, num_timepoints: tuple[int, int] = (80, 120)) -> None:
    """Tables of parcel signals, the participants and the parcels, as a pipeline leaves them."""
    population = synthetic_population(num_parcels=NUM_PARCELS, num_networks=2)
    (folder / "tables").mkdir(parents=True)
    rows = []
    for recording in synthetic_recordings(population, num_subjects=num_subjects, num_timepoints=num_timepoints):
        table = pd.DataFrame(recording.bold)
        name = f"sub-{recording.subject}_task-rest_timeseries.tsv"
        table.to_csv(folder / "tables" / name, sep="\t", header=False, index=False)
        rows.append({"participant_id": f"sub-{recording.subject}", "site": recording.site, **recording.phenotypes})
    pd.DataFrame(rows).to_csv(folder / "participants.tsv", sep="\t", index=False)
    population.parcels.write(folder / "parcels.tsv")


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """The tutorial from tables to a report, each verb once; tests read what it left and must not change it."""
    folder = tmp_path_factory.mktemp("study")
    write_tables(folder, num_subjects=16)
    (folder / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    spoken: dict[str, Spoken] = {}
    study = Study(folder, spoken)
    tables, parcels, people = folder / "tables", folder / "parcels.tsv", folder / "participants.tsv"
    split = ("--split.validation", 0.25, "--split.test", 0.25, "--split.stratify", "site")
    spoken["import"] = _speak(
        "import", tables, study.store, "--parcels", parcels, "--participants", people, "--tr", 2, *split
    )
    spoken["inspect"] = _speak("inspect", study.store, "--verify")
    spoken["pretrain"] = _speak(
        "pretrain", study.store, "--out", study.run, "--config", study.config,
        "--training.epochs", 2, "--model.encoder_depth=1",
    )  # fmt: skip
    spoken["evaluate"] = _speak("evaluate", study.run, study.store, "--num_bootstrap", 20)
    spoken["embed"] = _speak("embed", study.run, study.store)
    spoken["report"] = _speak("report", study.run, "--colour_by", "age")
    return study


@pytest.fixture(scope="session")
def make_tables():
    """``make_tables(folder, num_subjects=3)``: see ``write_tables``."""
    return write_tables
