"""Generators of results.json of functional networks: simulated scores in the format `brainlm networks` writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from brainlm.data.parcels import Parcels

MAIN, BEST = "attention profile", "connectivity profile"
# name, group, share of parcels right
METHODS = (
    (MAIN, "model", 0.56),
    ("attention rows", "model", 0.6),
    ("parcel embedding", "model", 0.63),
    (f"{MAIN}, random-initialised", "random-init", 0.41),
    ("attention rows, random-initialised", "random-init", 0.44),
    ("parcel embedding, random-initialised", "random-init", 0.55),
    (BEST, "connectivity", 0.71),
    ("raw series", "signal", 0.52),
    ("VAE embedding", "neural", 0.43),
    ("GCN embedding", "neural", 0.66),
    ("MNI coordinates", "position", 0.58),
    ("majority", "chance", 0.0),
)


def make_networks(
    parcels: Parcels, *, labels: str = "network", seed: int = 0, missing: tuple[int, ...] = (2, 5)
) -> dict[str, Any]:
    """A study with every part: twelve features, nulls for three of them, confusions, right and wrong parcels."""
    rng = np.random.default_rng(seed)
    true = [None if place in missing or word != word else str(word) for place, word in enumerate(parcels.table[labels])]
    names = sorted({word for word in true if word is not None})
    sizes = {name: true.count(name) for name in names}
    majority = max(sizes.values()) / sum(sizes.values())
    methods, predicted, shares = [], {}, {}
    for name, group, right in METHODS:
        accuracy = right or majority
        balanced = 1 / len(names) if group == "chance" else accuracy - 0.05
        confusion = np.eye(len(names)) * balanced + (1 - balanced) / max(len(names) - 1, 1) * (1 - np.eye(len(names)))
        has_null = name in (MAIN, BEST, "MNI coordinates")
        is_chance = group == "chance"
        methods.append(
            {
                "name": name,
                "group": group,
                "k": None if is_chance else 7,
                "metric": None if is_chance else "correlation",
                "scores": {"accuracy": _interval(accuracy, 0.06), "balanced_accuracy": _interval(balanced, 0.07)},
                "by_subjects": {
                    "accuracy": _interval(accuracy, None if is_chance else 0.02),
                    "balanced_accuracy": _interval(balanced, None if is_chance else 0.025),
                },
                "clustering": None if is_chance else {"ari": _interval(accuracy - 0.3, 0.05),
                                                      "nmi": _interval(accuracy - 0.2, 0.05)},
                "confusion": confusion.tolist(),
                "minus_best_baseline": _interval(accuracy - 0.71, 0.07) if group == "model" else None,
                "null": _null(accuracy, group) if has_null else None,
                "seconds": float(rng.uniform(0.1, 90)),
            }
        )  # fmt: skip
        if name in (MAIN, BEST, "parcel embedding"):
            share = np.clip(np.round((rng.random(len(true)) < accuracy) + rng.normal(0, 0.25, len(true)), 1), 0, 1)
            shares[name] = [None if word is None else float(s) for word, s in zip(true, share, strict=True)]
            predicted[name] = [None if w is None else str(rng.choice(names)) for w in true]
    return {
        "format_version": 1,
        "kind": "networks",
        "labels": labels,
        "networks": [{"name": name, "num_parcels": size} for name, size in sizes.items()],
        "num_parcels": sum(sizes.values()),
        "num_missing": true.count(None),
        "num_pairs": 17,
        "num_subjects": 49,
        "num_recordings": 49,
        "facts": {"run": "runs/13m", "store": "abide.store", "pretraining": "none of these people"},
        "settings": {"num_bootstrap": 1000, "confidence": 0.95, "folds": 5, "repeats": 5, "surrogates": 200},
        "methods": methods,
        "main": MAIN,
        "best_baseline": BEST,
        "difference": _interval(0.56 - 0.71, 0.07),
        "parcels": {"true": true, "predicted": predicted, "share_right": shares},
        "surrogates": {"kind": "variogram-matched", "num": 200, "sentence": "200 label maps as large and as smooth."},
        "conclusion": f"k-NN on the {MAIN} places 56.0 % of parcels in their network, worse than the {BEST} (71.0 %).",
        "notes": ["2 parcels without a network take part in nothing."],
    }


def _interval(value: float, half: float | None) -> dict[str, float | None]:
    return {
        "value": value,
        "low": None if half is None else value - half,
        "high": None if half is None else value + half,
    }


def _null(accuracy: float, group: str) -> dict[str, float]:
    mean = 0.5 if group == "position" else 0.33
    return {
        "p_accuracy": 0.005 if accuracy > mean + 0.15 else 0.08,
        "p_ari": 0.01,
        "observed_accuracy": accuracy - 0.01,
        "mean_accuracy": mean,
        "low_accuracy": mean - 0.09,
        "high_accuracy": mean + 0.1,
        "mean_ari": 0.12,
    }


def make_small_networks(parcels: Parcels) -> dict[str, Any]:
    """A study that is quick to draw: three features, no maps."""
    content = make_networks(parcels)
    kept = (MAIN, BEST, "majority")
    content["methods"] = [method for method in content["methods"] if method["name"] in kept]
    content["parcels"] = {"true": content["parcels"]["true"]}
    return content


def make_bare_networks(num_parcels: int) -> dict[str, Any]:
    """The least that is a study: two methods, two networks, everything optional null."""
    true = ["a" if place % 2 else "b" for place in range(num_parcels)]

    def bare(name: str, group: str, value: float | None) -> dict[str, Any]:
        nothing = ("k", "metric", "by_subjects", "clustering", "confusion", "minus_best_baseline", "null", "seconds")
        scores = {"accuracy": {"value": value, "low": None, "high": None}}
        return {"name": name, "group": group, "scores": scores, **dict.fromkeys(nothing)}

    return {
        "format_version": 1,
        "kind": "networks",
        "labels": "halves",
        "networks": [{"name": name, "num_parcels": true.count(name)} for name in ("a", "b")],
        "num_parcels": num_parcels,
        "methods": [bare(MAIN, "model", 0.5), bare("majority", "chance", None)],
        "main": MAIN,
        "best_baseline": "majority",
        "parcels": {"true": true},
        "conclusion": "Nothing can be said.",
        **dict.fromkeys(("num_missing", "num_pairs", "num_subjects", "facts", "settings", "difference", "surrogates")),
    }


def write_networks(run: Path, content: dict[str, Any]) -> Path:
    """Puts the study where a RUN folder keeps it and returns the file."""
    path = run / "networks" / content["labels"] / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
