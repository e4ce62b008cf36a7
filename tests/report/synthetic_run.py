"""Generators of a synthetic RUN folder with every part, small enough to draw in a second or two."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from synthetic_forecast import make_bare_forecast, write_forecast
from synthetic_networks import make_small_networks, write_networks
from synthetic_study import make_small_study, write_study

from brainlm.data.parcels import Parcels
from brainlm.report.evaluation_file import Evaluation

MODEL = "BrainLM"
SPACE, SPACE_TIME, AUTOREGRESSIVE = "Gaussian (space)", "Gaussian (space-time)", "AR(3)"
NETWORKS = ("visual", "motor", "default", "limbic")


def make_parcels(num_parcels: int, rng: np.random.Generator) -> Parcels:
    """Parcels spread over an ellipsoid the size of a brain, their network by how far back they lie."""
    direction = rng.normal(size=(num_parcels, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    place = direction * (60, 80, 55) * rng.uniform(0.5, 1, size=(num_parcels, 1)) + (0, -18, 10)
    order = np.argsort(np.argsort(place[:, 1])) * len(NETWORKS) // num_parcels
    table = pd.DataFrame({"label": np.arange(1, num_parcels + 1), "name": [f"P{i}" for i in range(num_parcels)]})
    table[["x", "y", "z"]] = place.round(1)
    return Parcels(table.assign(network=[NETWORKS[index] for index in order]))


def make_atlas(parcels: Parcels, path: Path) -> None:
    """A label image of 6 mm voxels: every voxel within the ellipsoid belongs to the nearest parcel."""
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = (-72, -108, -60)
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in (25, 31, 24)), indexing="ij"), axis=-1)
    place = voxels @ affine[:3, :3] + affine[:3, 3]
    distance = np.linalg.norm(place[..., None, :] - parcels.coordinates, axis=-1)
    inside = (((place - (0, -18, 10)) / (72, 92, 68)) ** 2).sum(axis=-1) < 1
    labels = np.where(inside, parcels.labels[distance.argmin(axis=-1)], 0)
    nib.save(nib.Nifti1Image(labels.astype(np.int16), affine), path)


def make_evaluation(parcels: Parcels, rng: np.random.Generator, *, advantage: float = -0.06) -> dict:
    """An evaluation whose model differs from the best baseline by ``advantage`` everywhere."""
    kinds = [("random", a, f"random {100 * a:.0f} %") for a in (0.2, 0.5, 0.75, 0.9)]
    kinds += [("future", a, f"future {a} patch{'es' * (a > 1)}") for a in (1, 2, 5)]
    kinds += [("parcel", a, f"parcel {100 * a:.0f} %") for a in (0.2, 0.5, 0.75, 0.9)]
    depth = (parcels.table["y"].to_numpy() + 100) / 400 if "y" in parcels.table else np.zeros(len(parcels))

    def method(name: str, r2: float, mask: str, amount: float) -> dict:
        entry: dict = {"name": name, "is_model": name == MODEL, "r2": r2, "r2_low": r2 - 0.03, "r2_high": r2 + 0.025}
        entry |= {"mae": 0.7 - r2 / 2, "mae_low": 0.65 - r2 / 2, "mae_high": 0.74 - r2 / 2}
        entry |= {"r": max(r2, 0) ** 0.5, "r_low": None, "r_high": None, "r2_per_subject": {"sub-01": r2}}
        noise = rng.normal(0, 0.05, len(parcels))
        entry["r2_per_parcel"] = [None if i == 3 else float(v) for i, v in enumerate(r2 - 0.12 + depth + noise)]
        steps = int(20 * amount) if mask == "future" else 0
        fade = r2 * 2.2 * np.exp(-np.arange(steps) / 8) + rng.normal(0, 0.01, steps)
        return entry | ({"r2_by_step": [float(v) for v in fade]} if steps else {})

    conditions = []
    for mask, amount, label in kinds:
        ceiling = 0.15 / amount**0.5 if mask == "future" else 0.6 - 0.25 * amount**2
        scores = {MODEL: ceiling + advantage, "Zero": -0.002, "Linear interpolation": 0.3 - 1.1 * min(amount, 1)}
        scores |= {SPACE: ceiling, SPACE_TIME: ceiling - 0.004}
        if mask == "future":
            scores |= {AUTOREGRESSIVE: ceiling - 0.05}
        entries = [method(name, r2, mask, amount) for name, r2 in scores.items()]
        difference = {"r2": advantage, "low": advantage - 0.02, "high": advantage + 0.02}
        condition = {"mask": mask, "amount": amount, "label": label, "num_hidden_values": 123456, "methods": entries}
        conditions.append(condition | {"best_baseline": SPACE, "difference": difference})
    store: dict[str, object] = {"path": "x.store", "fingerprint": "ab" * 32, "split": "test"}
    store |= {"num_recordings": 21, "num_subjects": 7, "num_windows": 63}
    settings: dict[str, object] = {
        "num_timepoints": 200,
        "seed": 0,
        "num_bootstrap": 1000,
        "confidence": 0.95,
        "scaler": "robust",
    }
    model = {"run": "runs/demo", "preset": "tiny", "num_parameters": 941_568}
    top = {"format_version": 1, "kind": "reconstruction", "model": model, "store": store}
    return top | {
        "settings": settings,
        "notes": ["R2 is about the mean of the hidden values."],
        "conditions": conditions,
    }


def make_examples(path: Path, num_parcels: int, rng: np.random.Generator, *, num_timepoints: int = 200) -> None:
    """Smooth noise, of which the model recovers a half and the baseline a little more."""
    conditions = ["random 75 %", "random 75 %", "future 2 patches", "parcel 50 %"]
    shape = (len(conditions), num_parcels, num_timepoints)
    kernel = np.hanning(9) / np.hanning(9).sum() * 2.2
    noise = rng.normal(size=(2, *shape))
    signal, other = np.apply_along_axis(lambda row: np.convolve(row, kernel, "same"), -1, noise)
    hidden = np.repeat(rng.random((*shape[:2], num_timepoints // 20)) < 0.75, 20, axis=-1)
    hidden[2] = np.arange(num_timepoints) >= num_timepoints - 40
    hidden[3] = (rng.random(num_parcels) < 0.5)[:, None]
    np.savez_compressed(
        path,
        signal=signal.astype(np.float32),
        predicted=(0.6 * signal + 0.35 * other).astype(np.float32),
        baseline=(0.7 * signal + 0.3 * other).astype(np.float32),
        hidden=hidden,
        names=np.array([f"sub-{i:02d} task-pain run-1" for i in range(len(conditions))]),
        condition=np.array(conditions),
        tr=np.full(len(conditions), 2.0),
        baseline_name=np.array([SPACE] * len(conditions)),
    )


def make_embeddings(path: Path, rng: np.random.Generator, *, num_subjects: int = 33, width: int = 32) -> None:
    """Three runs a subject; the subject decides most, the condition a little."""
    rows = []
    person = rng.normal(size=(num_subjects, width)) * np.linspace(2.5, 0.2, width)
    person[:, 1] += np.arange(num_subjects) % 2
    condition = rng.normal(size=(3, width)) * 0.6
    for subject in range(num_subjects):
        for run in range(3):
            vector = person[subject] + condition[run] + rng.normal(size=width) * 0.8
            row: dict[str, object] = {
                "subject": f"sub-{subject:02d}",
                "session": None,
                "task": "pain",
                "run": str(run + 1),
            }
            row |= {"site": None, "tr": 2.0, "num_timepoints": 290, "source": "x.tsv"}
            row |= {"split": "test" if subject % 5 == 0 else "train", "age": 20.0 + subject}
            row |= {"regulation": ("down", "passive", "up")[run], "sex": "FM"[subject % 2]}
            rows.append(row | {"cls": vector.tolist(), "mean": vector.tolist()})
    pd.DataFrame(rows).to_parquet(path)


def make_log(path: Path, rng: np.random.Generator, *, num_epochs: int = 30, steps_per_epoch: int = 12) -> None:
    """Sparse rows, as Lightning's CSVLogger writes them."""
    rows = []
    for epoch in range(num_epochs):
        for step in range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch, 2):
            loss = 0.6 + 0.45 * np.exp(-step / 80) + rng.normal(0, 0.015)
            rate = 1e-3 * min(1, (step + 1) / 36) * (0.5 + 0.5 * np.cos(np.pi * step / num_epochs / steps_per_epoch))
            rows.append({"epoch": epoch, "step": step, "train_loss": loss, "lr": rate, "windows_per_s": 480.0})
        loss = 0.63 + 0.42 * np.exp(-epoch / 6)
        scores = {"val_loss": loss, "val_r2": 1 - loss, "val_mae": loss * 0.8, "val_r": (1.05 - loss) ** 0.5}
        rows.append({"epoch": epoch, "step": (epoch + 1) * steps_per_epoch - 1, **scores})
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


PROVENANCE = {
    "command": ["brainlm", "pretrain", "demo.store", "--out", "runs/demo", "--preset", "tiny"],
    "date": "2025-01-31T12:00:00",
    "preset": "tiny",
    "num_parameters": 941_568,
    "wall_time_s": 312.4,
    "seed": 0,
    "versions": {"brainlm": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
    "data": {
        "fingerprint": "ab" * 32,
        "source": {"description": "task fMRI of pain regulation, 33 subjects", "terms": "open, see the package"},
        "split": {"rule": "by subject, 10 % validation, 20 % test", "seed": 0},
        "exclusions": [
            {"source": "sub-09_run-2.tsv", "reason": "70 time points, 200 needed", "remedy": "a shorter window"}
        ],
    },
    "step": 324,
    "training": {"epochs": 30, "validate_every": 1},
    "metrics": {"val_r2": 0.36, "val_loss": 0.64},
}


def fill_run(folder: Path, parcels: Parcels, rng: np.random.Generator, *, advantage: float) -> None:
    """Every part but the parcels and the atlas."""
    (folder / "provenance.json").write_text(json.dumps(PROVENANCE))
    (folder / "config.yaml").write_text("model:\n  preset: tiny\ntrainer:\n  max_epochs: 30\n")
    make_log(folder / "logs" / "metrics.csv", rng)
    evaluation = make_evaluation(parcels, rng, advantage=advantage)
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    make_examples(folder / "examples.npz", len(parcels), rng)
    make_embeddings(folder / "embeddings.parquet", rng)
    attention = rng.lognormal(0, 0.25, len(parcels)) / len(parcels)
    np.savez(folder / "attention.npz", cls_P=attention, uniform_P=1 / len(parcels))
    write_study(folder, make_small_study())
    write_forecast(folder, make_small_forecast())
    write_networks(folder, make_small_networks(parcels))


def make_small_forecast() -> dict:
    """A forecast that is quick to draw: two methods, one example."""
    content = make_bare_forecast()
    (cohort,) = content["cohorts"]
    main = {"name": cohort["main"], "values": [0.2, 0.1, 0.0], "low": [-1, -1.1, -1.2], "high": [1, 1.1, 1.2]}
    example = {"parcel": "P0", "title": "first window", "time_s": [0.0, 2.0, 4.0, 6.0, 8.0], "origin": 2}
    cohort["examples"] = [example | {"truth": [0.1, 0.5, 0.3, -0.2, 0.4], "methods": [main]}]
    return content


def evaluation_with(*conditions: dict) -> Evaluation:
    """An evaluation of conditions given by their differing fields."""
    plain = {"mask": "random", "amount": 0.5, "label": "x", "methods": [], "best_baseline": None, "difference": None}
    return Evaluation.from_json({"format_version": 1, "conditions": [plain | given for given in conditions]})
