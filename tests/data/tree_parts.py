"""What the made-up trees of derivatives have in common: the truth, who and which runs, tables about people.

The trees are in ``bids_trees.py`` and ``bulk_trees.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from confound_tables import Motion, made_up_motion, write_json, write_tsv
from painting import mni_grid, write_volume

from brainlm.data.atlas import Atlas
from brainlm.data.recording import recording_name


@dataclass(frozen=True, eq=False)
class Truth:
    """What must come out for one recording; ``motion`` is what its confounds say."""

    bold: np.ndarray  # (T, P)
    tr: float
    motion: Motion


@dataclass(frozen=True, eq=False)
class Tree:
    """A folder of derivatives, what it holds by recording name, and its phenotypes by subject (``sub-...``)."""

    root: Path
    truth: dict[str, Truth] = field(default_factory=dict)
    participants: Path | None = None
    phenotypes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def series(num_timepoints: int, num_parcels: int, *, seed: int = 0, shared: Path | None = None) -> np.ndarray:
    """(T, P) series around 1,000 or, with ``shared``, made from the real A424 recording or from those of ABIDE.

    Real ones are rolled and repeated back and forth to the length asked for, another way for each seed.
    """
    if shared is None:
        rng = np.random.default_rng([seed, num_parcels])
        signal = rng.normal(size=(num_timepoints, num_parcels))
        for time in range(1, num_timepoints):
            signal[time] = 0.5 * signal[time - 1] + np.sqrt(0.75) * signal[time]
        return (rng.uniform(800, 1200, num_parcels) + 10 * signal).astype(np.float32)
    if num_parcels == 424:
        real = np.loadtxt(shared / "data" / "a424_example" / "fMRI.dat")
    else:
        people = pd.read_csv(shared / "data" / "abide" / "participants.tsv", sep="\t")
        stacked = np.load(shared / "data" / "abide" / "abide_cc200_f16.npy", mmap_mode="r")
        row = people.iloc[seed % len(people)]
        real = np.asarray(stacked[row.offset : row.offset + row.n_vols, :num_parcels], np.float64)
        real = 1000 + 10 * (real - real.mean(axis=0)) / np.maximum(real.std(axis=0), 1e-6)
    real = np.roll(real, 17 * seed, axis=0)
    there_and_back = np.concatenate([real, real[::-1]])
    repeats = -(-num_timepoints // len(there_and_back))
    return np.tile(there_and_back, (repeats, 1))[:num_timepoints].astype(np.float32)


@dataclass(frozen=True)
class Run:
    subject: str
    session: str
    task: str
    run: str
    number: int

    @property
    def name(self) -> str:
        return recording_name(self.subject, self.session, self.task, self.run)

    @property
    def folder(self) -> Path:
        session = f"ses-{self.session}" if self.session else ""
        return Path(f"sub-{self.subject}") / session / "func"


def runs_of(subjects: Sequence[str], sessions: Sequence[str], tasks: Sequence[str], runs: Sequence[str]) -> list[Run]:
    keys = [(s, v, t, r) for s in subjects for v in sessions for t in tasks for r in runs]
    return [Run(*key, number) for number, key in enumerate(keys)]


def truth_of(run: Run, atlas: Atlas, num_timepoints: int, tr: float, shared: Path | None) -> Truth:
    jumps = (num_timepoints // 2,) if run.number % 2 else ()
    motion = made_up_motion(num_timepoints, jumps=jumps, seed=run.number)
    return Truth(series(num_timepoints, len(atlas.parcels), seed=run.number, shared=shared), tr, motion)


def describe(root: Path, name: str, generator: str, version: str) -> None:
    content = {"Name": name, "BIDSVersion": "1.4.0", "DatasetType": "derivative"}
    write_json(content | {"GeneratedBy": [{"Name": generator, "Version": version}]}, root / "dataset_description.json")


def write_participants(path: Path, subjects: Sequence[str]) -> dict[str, dict[str, object]]:
    """A participants table; what it says by subject."""
    ages = [20.0 + number for number in range(len(subjects))]
    sexes = ["F" if number % 2 else "M" for number in range(len(subjects))]
    ids = [f"sub-{subject}" for subject in subjects]
    sites = ["north" if number < len(subjects) / 2 else "south" for number in range(len(subjects))]
    write_tsv(pd.DataFrame({"participant_id": ids, "age": ages, "sex": sexes, "site": sites}), path)
    return {subject: {"age": age, "sex": sex} for subject, age, sex in zip(ids, ages, sexes, strict=True)}


def add_other_files(root: Path, subjects: Sequence[str]) -> None:
    """What else lies in such a folder and must be passed over."""
    for subject in subjects:
        (root / f"sub-{subject}.html").write_text("<html></html>", encoding="utf-8")
        figures = root / f"sub-{subject}" / "figures"
        figures.mkdir(parents=True, exist_ok=True)
        (figures / f"sub-{subject}_task-rest_desc-carpetplot_bold.svg").write_text("<svg/>", encoding="utf-8")
        anat = root / f"sub-{subject}" / "anat"
        write_volume(
            np.ones((4, 4, 4), np.float32),
            mni_grid(60),
            anat / f"sub-{subject}_space-MNI152NLin6Asym_desc-preproc_T1w.nii.gz",
        )
    (root / "logs").mkdir(exist_ok=True)
