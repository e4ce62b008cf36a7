"""Generators of results.json of a study of attention: simulated maps in the format `brainlm attention` writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainlm.data.parcels import Parcels

SHARES = (0.05, 0.1, 0.2, 0.4)
DIRECTIONS = {"embedding": 1.0, "reconstruction": 0.4, "insertion": -1.5}


def interval(value: float, half: float) -> dict[str, float | None]:
    return {"value": round(value, 6), "low": round(value - half, 6), "high": round(value + half, 6)}


def make_attention(
    parcels: Parcels,
    *,
    contrast: str | None = None,
    effect: float = 0.0,
    layers: int = 4,
    heads: int = 4,
    num_subjects: int = 33,
    seed: int = 0,
    column: str = "network",
) -> dict[str, Any]:
    """A study with every part: maps smooth over networks, curves that favour the most attended, and a contrast.

    ``contrast`` is ``paired`` or ``two-sample``; ``effect`` moves the first network by that many standard errors.
    """
    rng = np.random.default_rng(seed)
    num_parcels = len(parcels)
    known = parcels.table[column] if column in parcels.table else pd.Series(["all"] * num_parcels)
    words = known.map(str).to_numpy(str)
    names = sorted(set(words) - {"nan"})
    uniform = 0.98 / num_parcels
    of_network = dict(zip(names, rng.normal(0, 0.3, len(names)), strict=True)) | {"nan": 0.0}
    log_ratio = np.array([of_network[word] for word in words]) + rng.normal(0, 0.22, num_parcels)
    attention = uniform * np.exp(log_ratio) / np.exp(log_ratio).mean()
    attention[num_parcels // 2] = np.nan
    error = 0.06 * attention
    spread = np.linspace(1.4, 0.3, layers)[:, None, None]
    per_head = np.exp(spread * rng.normal(0, 0.5, (layers, heads, num_parcels)) + 0.6 * log_ratio)
    per_head = uniform * per_head / per_head.mean(axis=2, keepdims=True)
    lag = np.arange(-4, 5)
    decay = np.exp(-np.abs(lag) / 1.7)
    content = {
        "format_version": 1,
        "kind": "attention",
        "name": contrast or "all",
        "layer": layers,
        "head": None,
        "what": "CLS attention, last layer, mean over heads",
        "uniform": uniform,
        "facts": {"run": "runs/13m", "store": "pain.store", "pretraining": "on the training subjects of this store",
                  "wall_time_s": 61.4, "versions": {"brainlm": "0.1.0"}, "weights_sha256": "ab" * 32},
        "settings": {"num_bootstrap": 1000, "confidence": 0.95, "seed": 0, "networks": column, "permutations": 5000},
        "num_subjects": num_subjects,
        "num_recordings": 3 * num_subjects,
        "parcels": {
            "attention": numbers(attention),
            "low": numbers(attention - 2 * error),
            "high": numbers(attention + 2 * error),
            "rollout": numbers(uniform * np.exp(0.4 * log_ratio + rng.normal(0, 0.1, num_parcels))),
            "attribution": numbers(np.exp(0.5 * log_ratio + rng.normal(0, 0.3, num_parcels)) / num_parcels),
        },
        "heads": [[numbers(head) for head in layer] for layer in per_head],
        "lags": {
            "tr_patch_s": 40.0,
            "lag": lag.tolist(),
            "same_parcel": numbers(uniform / 5 * (0.8 + 6 * decay)),
            "same_network": numbers(uniform / 5 * (0.9 + 0.8 * decay)),
            "other_network": numbers(uniform / 5 * (0.9 + 0.1 * decay)),
        },
        "networks": [
            {
                "name": name,
                "num_parcels": int((words == name).sum()),
                "attention_relative": interval(float(np.nanmean(attention[words == name]) / uniform), 0.05),
                "contrast": None,
            }
            for name in names
        ],
        "sanity": {
            "amplitude_r": interval(0.41, 0.09),
            "connectivity_r": interval(-0.12, 0.1),
            "silent_r": interval(0.22, 0.05),
            "attribution_r": interval(0.37, 0.08),
            "consistency": interval(0.83, 0.04),
            "deletion": {"shares": list(SHARES)} | {name: _curves(sign, rng) for name, sign in DIRECTIONS.items()},
        },
        "contrast": None,
        "files": {"surface": "maps/surface.png", "view": "view.html", "nifti": ["maps/attention.nii.gz"]},
        "conclusion": "Attention of the last layer goes to parcels of all networks, most to the visual one (1.31 times "
        "the uniform level). Hiding the most attended parcels changes the embedding more than hiding random ones.",
        "notes": ["Rollout is of 64 windows.", "Attribution is of 20 recordings."],
    }  # fmt: skip
    if contrast is not None:
        content["contrast"] = _contrast(rng, contrast, words == names[0], effect, uniform, num_subjects)
        for entry in content["networks"]:
            t = float(rng.normal(effect if entry["name"] == names[0] else 0, 1))
            p = float(np.clip(2 * np.exp(-0.72 * abs(t) - 0.416 * t**2), 0.0002, 1))
            entry["contrast"] = {"t": t, "p": p, "q": min(1.0, p * len(names))}
    return content


def _curves(sign: float, rng: np.random.Generator) -> dict[str, Any]:
    def curve(strength: float) -> list[dict[str, float | None]]:
        start = 0.3 if sign < 0 else 0.0
        return [
            interval(start + sign * strength * share**0.8 / 3 + rng.normal(0, 0.002), 0.012 + 0.03 * share)
            for share in SHARES
        ]

    return {
        "most": curve(0.7),
        "least": curve(0.3),
        "random": curve(0.45),
        "most_minus_random": interval(0.03 * sign, 0.012),
        "most_minus_least": interval(0.02 * sign, 0.012),
    }


def _contrast(
    rng: np.random.Generator, kind: str, is_moved: np.ndarray, effect: float, uniform: float, num_subjects: int
) -> dict[str, Any]:
    t = rng.normal(0, 1, len(is_moved)) + effect * is_moved
    p = np.clip(2 * np.exp(-0.72 * np.abs(t) - 0.416 * t**2), 1 / 5001, 1)  # close to the normal's tail
    order = np.argsort(p)
    q = np.empty_like(p)
    q[order] = np.minimum(1, np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1])
    sizes = (num_subjects, num_subjects) if kind == "paired" else (num_subjects // 2, num_subjects - num_subjects // 2)
    confounds = [
        {"column": "site", "p": 0.0002, "sentence": "site differs between the two (p = 0.0002)."},
        {"column": "mean_fd", "p": 0.31, "sentence": "mean_fd is not shown to differ (means: a 0.1, b 0.12)."},
    ]
    return {
        "column": "condition",
        "levels": ["up", "down"],
        "kind": kind,
        "num_subjects": list(sizes),
        "left_out": 2,
        "t": numbers(t),
        "p": numbers(p),
        "q": numbers(q),
        "p_fwe": numbers(np.minimum(1, p * len(p))),
        "difference": numbers(t * 0.03 * uniform),
        "num_significant": int((q < 0.05).sum()),
        "smallest_q": float(q.min()),
        "amplitude_r": 0.34,
        "confounds": confounds if kind == "two-sample" else confounds[1:],
        "num_permutations": 5000,
    }


def make_bare_attention(num_parcels: int) -> dict[str, Any]:
    """The least that is a study: one subject, one map, nothing else."""
    nothing = dict.fromkeys(("heads", "lags", "networks", "sanity", "contrast", "files"))
    return {
        "format_version": 1,
        "kind": "attention",
        "what": "attention rollout",
        "uniform": 1 / num_parcels,
        "facts": {},
        "settings": {},
        "num_subjects": 1,
        "num_recordings": 1,
        "parcels": {"attention": numbers(np.linspace(0.5, 1.5, num_parcels) / num_parcels), "low": None, "high": None},
        "conclusion": "One subject cannot tell what is common to people.",
        "notes": [],
        **nothing,
    }


def numbers(values: np.ndarray) -> list[float | None]:
    """As JSON holds them: null where there is none."""
    return [round(float(value), 9) if np.isfinite(value) else None for value in values]


def write_attention(run: Path, content: dict[str, Any], name: str = "all") -> Path:
    """Puts the study where a RUN folder keeps it and returns the file."""
    path = run / "attention" / name / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
