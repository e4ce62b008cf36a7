"""Generators of results.json of a clinical variable: simulated scores in the format `brainlm probe` writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

MAIN, CONNECTIVITY, FUSION = (
    "BrainLM CLS + linear",
    "Connectivity (correlation) + linear",
    "Connectivity & BrainLM, stacked",
)
# name, group, how far from knowing nothing (0) to the best (1)
METHODS = (
    (MAIN, "model", 0.72),
    ("BrainLM mean + linear", "model", 0.7),
    ("BrainLM CLS + SVM", "model", 0.66),
    ("BrainLM fine-tuned (LoRA, MLP head)", "finetuned", 0.79),
    (FUSION, "fusion", 1.0),
    ("Random-initialised encoder + linear", "random-init", 0.55),
    (CONNECTIVITY, "connectivity", 0.92),
    ("Connectivity (partial) + linear", "connectivity", 0.8),
    ("Connectivity (tangent) + linear", "connectivity", 0.97),
    ("Connectivity (correlation) + SVM", "connectivity", 0.88),
    ("Connectivity (correlation) + MLP", "connectivity", 0.75),
    ("LSTM on the recordings", "neural", 0.35),
    ("GCN on the recordings", "neural", 0.42),
    ("LSTM on pretrained patch embeddings", "neural", 0.4),
    ("GCN on pretrained patch embeddings", "neural", 0.45),
    ("Signal statistics + linear", "signal", 0.4),
    ("Raw series, 50 components + linear", "signal", 0.1),
    ("Age, sex, site and motion + linear", "nuisance", 0.3),
    ("Site only", "nuisance", 0.12),
    ("Majority", "chance", 0.0),
)
SITES = tuple(
    "NYU UM_1 USM UCLA_1 PITT YALE MAX_MUN KKI TRINITY STANFORD CALTECH SDSU OLIN LEUVEN_1 SBL OHSU CMU".split()  # noqa: SIM905
)
SIZES = (172, 88, 67, 62, 50, 48, 46, 39, 44, 36, 37, 33, 28, 29, 26, 23, 5)
KINDS: dict[str, dict[str, Any]] = {
    "regression": {
        "main": "r2",
        "chance": {"r2": 0.0, "r": 0.0, "mae": None},
        "metrics": ["r2", "r", "mae"],
        "ends": {"r2": (-0.01, 0.45), "r": (0.0, 0.68), "mae": (6.4, 4.3)},
        "target": {"name": "age", "classes": [], "positive": None, "mean": 16.5, "sd": 7.4, "counts": None},
    },
    "binary": {
        "main": "auroc",
        "metrics": ["auroc", "auprc", "balanced_accuracy", "brier", "calibration_slope"],
        "chance": {"auroc": 0.5, "auprc": 0.478, "balanced_accuracy": 0.5, "brier": None},
        "ends": {
            "auroc": (0.5, 0.73),
            "auprc": (0.48, 0.72),
            "balanced_accuracy": (0.5, 0.67),
            "brier": (0.25, 0.21),
            "calibration_slope": (0.1, 0.9),
        },
        "target": {"name": "diagnosis", "classes": ["control", "autism"], "positive": "autism",
                   "counts": {"control": 435, "autism": 398}},
    },
    "multiclass": {
        "main": "auroc",
        "metrics": ["auroc", "auprc", "balanced_accuracy", "brier", "ece"],
        "chance": {"auroc": 0.5, "auprc": 1 / 3, "balanced_accuracy": 1 / 3, "brier": None},
        "ends": {
            "auroc": (0.5, 0.8),
            "auprc": (0.33, 0.6),
            "balanced_accuracy": (0.33, 0.62),
            "brier": (0.66, 0.5),
            "ece": (0.0, 0.06),
        },
        "target": {"name": "condition", "classes": ["down", "passive", "up"], "positive": None,
                   "counts": {"down": 33, "passive": 33, "up": 33}},
    },
}  # fmt: skip


def make_study(kind: str, *, folds: str = "5x5-fold", seed: int = 0, is_seen: bool = False) -> dict[str, Any]:
    """A study with every optional part: 20 methods, 17 sites, fusion, shuffled labels, curves or predictions."""
    rng = np.random.default_rng(seed)
    plan = KINDS[kind]
    main, num_units = plan["main"], 833 if kind != "multiclass" else 99
    half = 0.035 if kind != "multiclass" else 0.09

    def interval(value: float, width: float) -> dict[str, float]:
        low, high = value - width * rng.uniform(0.9, 1.1), value + width * rng.uniform(0.9, 1.1)
        return {"value": value, "low": low, "high": high}

    methods = []
    for name, group, strength in METHODS:
        scores = {}
        for metric in plan["metrics"]:
            start, end = plan["ends"][metric]
            width = half * (8 if metric in ("mae", "calibration_slope") else 1) * (group != "chance" or 0.3)
            scores[metric] = interval(start + strength * (end - start), width)
        if kind == "regression" and name == "Connectivity (correlation) + MLP":
            scores["r2"] = {"value": -1.7, "low": -2.4, "high": -1.2}
        seen = is_seen and group in ("model", "finetuned", "fusion")
        note = "241 of 833 test people were in the pretraining data" if seen else ""
        start, end = plan["ends"][main]
        by_site = []
        for site, num in zip(SITES, SIZES, strict=True):
            value = start + strength * (end - start) + rng.normal(0, 0.9 / num**0.5)
            value = min(value, 0.99)
            spread = 1.0 / num**0.5
            row = {"site": site, "num": num, "value": value, "low": value - spread, "high": min(value + spread, 1.0)}
            by_site.append(row if num > 5 else row | {"value": None, "low": None, "high": None})
        difference = interval((strength - 0.97) * (end - start), 0.6 * half)
        methods.append(
            {
                "name": name,
                "group": group,
                "seen": seen,
                "note": note,
                "seconds": float(rng.uniform(1, 400)),
                "scores": scores,
                "by_site": by_site if kind != "multiclass" else [],
                "minus_best_baseline": None if "tangent" in name else difference,
            }
        )
    reached = {method["name"]: method["scores"][main]["value"] for method in methods}
    nothing = plan["ends"][main][0]
    difference = {"value": reached[MAIN] - reached[CONNECTIVITY], "low": -0.081, "high": -0.011}
    extra = {"curves": {}, "predicted": {}}
    shown = (MAIN, CONNECTIVITY, FUSION, "BrainLM fine-tuned (LoRA, MLP head)", "Random-initialised encoder + linear")
    for name in shown:
        strength = next(s for n, _, s in METHODS if n == name)
        if kind == "regression":
            extra["predicted"][name] = _predicted(rng, num_units, strength)
        else:
            extra["curves"][name] = _curves(rng, strength, num_units)
    null = rng.normal(nothing, 0.02, 200)
    target = plan["target"] | {
        "kind": kind,
        "unit_of_analysis": "recording" if kind == "multiclass" else "subject",
        "num_units": num_units,
        "num_subjects": 833 if kind != "multiclass" else 33,
        "num_missing": 12,
    }
    return {
        "format_version": 1,
        "kind": "phenotype",
        "target": target,
        "folds": {"name": folds, "kind": "k-fold", "num_folds": 5, "repeats": 5, "seed": 0, "group": None,
                  "stratify": True, "sizes": [166, 167, 167, 167, 166] * 5, "sites": SITES},
        "settings": {"num_bootstrap": 1000, "confidence": 0.95},
        "facts": {"run": "runs/13m", "store": "abide.store", "confounds": ["age", "mean_fd"], "harmonised": None,
                  "pretraining": "on the training subjects of the first fold only", "wall_time_s": 512.3,
                  "versions": {"brainlm": "0.1.0", "scikit-learn": "1.7.2"}},
        "main_metric": main,
        "metrics": plan["metrics"],
        "chance": plan["chance"],
        "methods": methods,
        "main": MAIN,
        "best_baseline": "Connectivity (tangent) + linear",
        "best_connectivity": CONNECTIVITY,
        "difference_to": CONNECTIVITY,
        "fusion": FUSION,
        "difference": difference,
        "fusion_difference": {"value": 0.012, "low": -0.004, "high": 0.028},
        "permutation": {"p": float((1 + (null >= reached[MAIN]).sum()) / 201), "num": 200, "observed": reached[MAIN],
                        "null": null.tolist(), "blocks": "within site", "p_adjusted": 0.0075},
        "site_prediction": {"balanced_accuracy": {"value": 0.62, "low": 0.58, "high": 0.66}, "chance": 1 / 17,
                            "num_sites": 17},
        **extra,
        "conclusion": f"{MAIN} predicts {target['name']} worse than functional connectivity ({CONNECTIVITY}): "
        f"difference {difference['value']:.3f}, 95 % CI [-0.081, -0.011]. It is above chance (p = 0.005).",
        "notes": ["Predictions are averaged from windows to recordings to subjects before scoring."],
    }  # fmt: skip


def _predicted(rng: np.random.Generator, num: int, strength: float) -> dict[str, list]:
    true = 6 + rng.gamma(2.4, 4.4, num)
    share = 0.45 * strength
    predicted = 16.5 + share * (true - 16.5) + rng.normal(0, 7.4 * (share * (1 - share)) ** 0.5, num)
    return {"true": true.tolist(), "predicted": predicted.tolist(), "site": rng.choice(SITES, num).tolist()}


def _curves(rng: np.random.Generator, strength: float, num: int) -> dict[str, list]:
    labels = rng.random(num) < 0.48
    score = rng.normal(0, 1, num) + 0.9 * strength * labels
    order = np.argsort(-score)
    hits, misses = np.cumsum(labels[order]), np.cumsum(~labels[order])
    kept = np.unique(np.linspace(0, num - 1, 150).astype(int))
    roc = np.stack([misses / misses[-1], hits / hits[-1]], axis=1)[kept]
    pr = np.stack([hits / hits[-1], hits / (hits + misses)], axis=1)[kept]
    chance = 1 / (1 + np.exp(-(0.9 * strength * score - 0.35)))
    bins = np.digitize(chance, np.quantile(chance, np.linspace(0.1, 0.9, 9)))
    points = [
        [float(chance[bins == b].mean()), float(labels[bins == b].mean()), int((bins == b).sum())] for b in range(10)
    ]
    return {"roc": [[0.0, 0.0], *roc.tolist()], "pr": pr.tolist(), "calibration": points}


def make_bare_study() -> dict[str, Any]:
    """The least that is a study: two methods, one number each, everything optional null."""

    def bare(name: str, group: str, value: float | None) -> dict[str, Any]:
        scores = {"auroc": {"value": value, "low": None, "high": None}}
        return {"name": name, "group": group, "seen": False, "note": "", "seconds": None, "scores": scores,
                "by_site": [], "minus_best_baseline": None}  # fmt: skip

    names = ("curves", "predicted")
    nothing = ("difference", "fusion_difference", "permutation", "site_prediction", "best_connectivity")
    return {
        "format_version": 1,
        "kind": "phenotype",
        "target": {"name": "sex", "kind": "binary", "classes": ["F", "M"], "positive": "M", "num_units": 12},
        "folds": {"name": "leave-site-out"},
        "settings": {},
        "facts": {},
        "main_metric": "auroc",
        "metrics": ["auroc"],
        "chance": {"auroc": 0.5},
        "methods": [bare("BrainLM CLS + linear", "model", 0.61), bare("Majority", "chance", None)],
        "main": "BrainLM CLS + linear",
        "best_baseline": "Majority",
        "conclusion": "Nothing can be said of sex in 12 people.",
        "notes": [],
        **{name: {} for name in names},
        **dict.fromkeys(nothing),
    }


def make_small_study() -> dict[str, Any]:
    """A study of every part that is quick to draw: six methods, three sites."""
    content = make_study("binary")
    kept = {MAIN, CONNECTIVITY, FUSION, "Connectivity (tangent) + linear", "Site only", "Majority"}
    content["methods"] = [
        method | {"by_site": method["by_site"][:3]} for method in content["methods"] if method["name"] in kept
    ]
    content["curves"] = {name: curves for name, curves in content["curves"].items() if name in kept}
    return content


def write_study(run: Path, content: dict[str, Any]) -> Path:
    """Puts the study where a RUN folder keeps it and returns the file."""
    path = run / "phenotypes" / f"{content['target']['name']}.{content['folds']['name']}" / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
