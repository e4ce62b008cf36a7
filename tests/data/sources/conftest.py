"""Data sets in the layouts of the BrainLM authors and of Brainmarks, written by `datasets` as they do."""

import json
import warnings
from pathlib import Path

import datasets
import numpy as np
import pytest

from brainlm.data.importing import import_recordings
from brainlm.data.parcels import Parcels

NUM_PARCELS = 12

datasets.disable_progress_bars()


def _save(columns: dict, folder: Path, features: datasets.Features | None = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # `datasets` leaves its own files to the garbage collector
        datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder)
    return folder


@pytest.fixture(scope="session")
def save():
    """``save(columns, folder)``: a data set on disk; the folder."""
    return _save


def _raw_signal(seed: int, num_timepoints: int = 20, num_parcels: int = NUM_PARCELS) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, 5, (num_timepoints, num_parcels)).astype(np.float32)


@pytest.fixture(scope="session")
def raw_signal():
    """``raw_signal(seed)``: (T, P), as a scanner might give it."""
    return _raw_signal


def _authors_columns(seeds, **changes) -> dict:
    seeds = list(seeds)
    raw = [_raw_signal(seed, 20 + seed % 3) for seed in seeds]
    return {
        "Raw_Recording": [signal.T for signal in raw],
        "Voxelwise_RobustScaler_Normalized_Recording": [signal - signal.mean(axis=0) for signal in raw],
        "Filename": [f"{1000 + seed}_2_0.dat" for seed in seeds],
        "Patient ID": [""] * len(seeds),
        "eid": [1000 + seed for seed in seeds],
        "Age.At.MHQ": [None if seed == 1 else 50 + seed for seed in seeds],
        "Gender": ["F" if seed % 2 else "M" for seed in seeds],
        **changes,
    }


@pytest.fixture(scope="session")
def authors_columns():
    """``authors_columns(seeds)``: (P, T) and (T, P) in one row, and a Patient ID that names nobody."""
    return _authors_columns


@pytest.fixture
def authors(tmp_path) -> Path:
    """The authors' folders, the coordinates among them: eight people in three parts."""
    folder, first = tmp_path / "ukb", 0
    for part, number in {"train_ukbiobank1000": 4, "val_ukbiobank1000": 2, "test_ukbiobank1000": 2}.items():
        _save(_authors_columns(range(first, first + number)), folder / part)
        first += number
    labels = np.arange(1, NUM_PARCELS + 1, dtype=np.float32)
    _save(
        {"Index": labels, "X": labels + np.float32(0.1), "Y": -labels, "Z": 2 * labels},
        folder / "Brain_Region_Coordinates",
    )
    return folder


BRAINMARKS = datasets.Features(
    {
        "sub": datasets.Value("string"),
        "tr": datasets.Value("float32"),
        "n_frames": datasets.Value("int32"),
        "start": datasets.Value("int32"),
        "path": datasets.Value("string"),
        "bold": datasets.Array2D((None, NUM_PARCELS), "float16"),
        "mean": datasets.Array2D((1, NUM_PARCELS), "float32"),
        "std": datasets.Array2D((1, NUM_PARCELS), "float32"),
    }
)


def _z_scored(signals) -> dict:
    mean = [signal.mean(axis=0, keepdims=True) for signal in signals]
    std = [signal.std(axis=0, keepdims=True) for signal in signals]
    bold = [(x - m) / np.where(s > 0, s, 1) for x, m, s in zip(signals, mean, std, strict=True)]
    return {"bold": [x.astype(np.float16) for x in bold], "mean": mean, "std": std}


@pytest.fixture(scope="session")
def z_scored():
    """``z_scored(signals)``: the columns bold, mean and std of Brainmarks."""
    return _z_scored


@pytest.fixture(scope="session")
def save_brainmarks():
    """``save_brainmarks(subjects, folder)``: rows as Brainmarks stores them; the second parcel has no coverage."""

    def save_rows(subjects, folder: Path, *, without=(), **changes) -> Path:
        signals = [_raw_signal(int(subject)) for subject in subjects]
        for signal in signals:
            signal[:, 1] = 0
        columns = {
            "sub": subjects,
            "tr": [0.735] * len(subjects),
            "n_frames": [20] * len(subjects),
            "start": [0] * len(subjects),
            "path": [f"A/sub-{sub}/func/sub-{sub}_task-rest_run-1_bold.nii.gz" for sub in subjects],
            **_z_scored(signals),
            **changes,
        }
        columns = {name: values for name, values in columns.items() if name not in without}
        return _save(columns, folder, datasets.Features({name: BRAINMARKS[name] for name in columns}))

    return save_rows


@pytest.fixture
def brainmarks(tmp_path, save_brainmarks) -> Path:
    """A data set in their layout, with the target maps of two data sets beside it."""
    folder, first = tmp_path / "eval" / "abide.a424.arrow", 1
    for part, number in {"train": 4, "validation": 2, "test": 2}.items():
        save_brainmarks([f"00{sub}" for sub in range(first, first + number)], folder / part)
        first += number
    targets = folder.parent / "targets"
    targets.mkdir()
    (targets / "abide_target_map_dx.json").write_text(json.dumps({f"00{sub}": "asd" for sub in range(1, 8)}))
    (targets / "abide_target_map_age_bin.json").write_text(json.dumps({f"00{sub}": sub % 3 for sub in range(1, 9)}))
    (targets / "adni_target_map_sex.json").write_text(json.dumps({"001": "F"}))
    return folder


@pytest.fixture(scope="session")
def run_import():
    """``run_import(source, store, tr=None)``: the import, with parcels that fit."""

    def run(folder: Path, out: Path, **options):
        options = {"tr": 0.735, "atlas": "toy", "parcels": Parcels.unnamed(NUM_PARCELS), **options}
        return import_recordings([folder], out, **options)

    return run


@pytest.fixture(scope="session")
def shard_of():
    """``shard_of(folder)``: the one Arrow file in it."""

    def find(folder: Path) -> Path:
        (shard,) = folder.glob("*.arrow")
        return shard

    return find
