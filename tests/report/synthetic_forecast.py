"""Generators of results.json of a forecast: simulated scores in the format `brainlm forecast` writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

ZERO_SHOT, FINE_TUNED, SCRATCH = "BrainLM, zero-shot", "BrainLM, fine-tuned", "Same Transformer, not pretrained"
AR, VAR, LAST, MEAN = "AR(3) per parcel", "VAR(2) on 40 components", "Last value", "Context mean"
LSTM, NEURAL_ODE, LATENT_ODE = "LSTM", "Neural ODE", "Latent ODE"
# name, group, share of the linear ceiling that it reaches
METHODS = (
    (LAST, "simple", 0.0),
    (MEAN, "simple", -0.1),
    (AR, "linear", 0.93),
    (VAR, "linear", 1.2),
    (LSTM, "neural", 1.02),
    (NEURAL_ODE, "neural", 0.8),
    (LATENT_ODE, "neural", 0.45),
    (SCRATCH, "scratch", 0.9),
    (ZERO_SHOT, "model", 0.7),
    (FINE_TUNED, "finetuned", 1.1),
)
TUNED = {
    "simple": "nothing to fit",
    "linear": "order by BIC on 120 training recordings; ridge 100 chosen on 24 validation recordings",
    "neural": "learning rate 0.003 of 0.001, 0.003; 14 of 20 epochs kept by validation error",
    "scratch": "learning rate 0.001 of 0.001, 0.003; 11 of 20 epochs kept by validation error",
    "model": "nothing fitted: the future is masked and filled in",
    "finetuned": "learning rate 0.001 of 0.001, 0.003; 6 of 20 epochs kept by validation error",
}
TR_S = 2.0
MAIN, BEST = FINE_TUNED, VAR


def ceiling_of(horizon: int, *, is_filtered: bool) -> np.ndarray:
    """What a linear model implies: near 0 after three steps as it is, a slow swing after a band-pass."""
    steps = np.arange(1, horizon + 1)
    if is_filtered:
        return 0.92 * np.exp(-(((steps - 1) / 5.5) ** 1.3)) + 0.04 * np.exp(-steps / 30)
    return 0.13 * np.exp(-(steps - 1) / 0.85) + 0.002


def make_forecast(
    *,
    horizon: int = 20,
    context: int = 80,
    is_filtered: bool = False,
    is_two: bool = True,
    num_subjects: int = 49,
    num_parcels: int = 40,
    methods: tuple[str, ...] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """A forecast with every optional part: ten methods, two cohorts, ceiling, coverage, examples."""
    rng = np.random.default_rng(seed)
    cohorts = [_cohort(rng, "test", "abide", horizon, is_filtered, num_subjects, num_parcels, 1.0)]
    if is_two:
        cohorts.append(_cohort(rng, "second store", "pain", horizon, is_filtered, 33, num_parcels, 0.8))
    for cohort in cohorts:
        cohort["methods"] = [m for m in cohort["methods"] if methods is None or m["name"] in methods]
    bands = [_band(cohort["name"], is_filtered) for cohort in cohorts]
    return {
        "format_version": 1,
        "kind": "forecast",
        "context": context,
        "horizon": horizon,
        "tr_s": [TR_S],
        "settings": {"num_bootstrap": 1000, "confidence": 0.95, "seed": 0, "max_windows_per_recording": None,
                     "scaler": "robust"},
        "facts": {"run": "runs/13m", "store": "abide.store", "test_store": "pain.store" if is_two else None,
                  "weights_sha256": "ab" * 32, "num_parameters": 12_941_568, "preset": "13m",
                  "pretraining": "on the training subjects of abide.store", "versions": {"brainlm": "0.1.0"},
                  "wall_time_s": 1312.4},
        "tuning": "Every neural method had the same budget: learning rates 0.001 and 0.003, 20 epochs each, the "
        "state with the lowest validation error kept",
        "bands": bands,
        "cohorts": cohorts,
        "conclusion": " ".join(_conclusion(cohort) for cohort in cohorts),
        "notes": ["R² is about the mean of the future values of all judged windows."],
    }  # fmt: skip


def _conclusion(cohort: dict[str, Any]) -> str:
    gap = cohort["difference"]
    verb = "forecasts better than" if gap["low"] > 0 else "forecasts worse than"
    verb = verb if gap["low"] > 0 or gap["high"] < 0 else "is not shown to differ from"
    text = (
        f"On {cohort['name']} ({cohort['num_subjects']} people): {MAIN} {verb} the best baseline ({BEST}): difference"
    )
    return f"{text} {gap['value']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]."


def _band(cohort: str, is_filtered: bool) -> dict[str, Any]:
    if not is_filtered:
        return {"cohort": cohort, "is_limited": False, "low_hz": None, "high_hz": None, "share_above": 0.41,
                "sentence": "No low-pass filter is seen: 41 % of the power lies above 0.1 Hz."}  # fmt: skip
    return {"cohort": cohort, "is_limited": True, "low_hz": 0.01, "high_hz": 0.1, "share_above": 0.004, "sentence": ""}


def _cohort(
    rng: np.random.Generator,
    name: str,
    store: str,
    horizon: int,
    is_filtered: bool,
    num_subjects: int,
    num_parcels: int,
    strength: float,
) -> dict[str, Any]:
    ceiling = ceiling_of(horizon, is_filtered=is_filtered) * strength
    entries = [_method(rng, *plan, ceiling, num_subjects, num_parcels) for plan in METHODS]
    reached = {entry["name"]: entry["scores"]["r2"]["value"] for entry in entries}
    for entry in entries:
        gap = reached[entry["name"]] - reached[BEST]
        width = 0.004 + 0.15 * abs(gap)
        entry["minus_best_baseline"] = {"value": gap, "low": gap - width, "high": gap + width}
        entry["p_paired"] = 0.0001 if abs(gap) > width else 0.21
        if entry["name"] == BEST:
            entry["minus_best_baseline"] = entry["p_paired"] = None
    main = next(entry for entry in entries if entry["name"] == MAIN)
    return {
        "name": name,
        "store": store,
        "tr_s": [TR_S],
        "num_subjects": num_subjects,
        "num_recordings": num_subjects * 2,
        "num_windows": num_subjects * 4,
        "num_values": num_subjects * 4 * num_parcels * horizon,
        "ceiling": {
            "r2_by_step": ceiling.tolist(),
            "r2": float(ceiling.mean()),
            "assumption": "stationary parcels, each forecast linearly from its own last points with the "
            "autocovariances of the judged recordings themselves, which no method can know",
        },
        "methods": entries,
        "main": MAIN,
        "best_baseline": BEST,
        "difference": main["minus_best_baseline"],
        "p_paired": main["p_paired"],
        "comparisons": [_comparison(reached, ZERO_SHOT), _comparison(reached, SCRATCH)],
        "examples": [_example(rng, horizon, is_filtered, place) for place in range(6)],
    }


def _comparison(reached: dict[str, float], other: str) -> dict[str, Any]:
    gap = reached[FINE_TUNED] - reached[other]
    return {"name": FINE_TUNED, "other": other, "difference": {"value": gap, "low": gap - 0.004, "high": gap + 0.004},
            "p_paired": 0.0005}  # fmt: skip


def _method(
    rng: np.random.Generator,
    name: str,
    group: str,
    share: float,
    ceiling: np.ndarray,
    num_subjects: int,
    num_parcels: int,
) -> dict[str, Any]:
    horizon = len(ceiling)
    if name == LAST:
        r2 = 2 * np.sqrt(np.maximum(ceiling, 0)) - 1
    elif name == MEAN:
        r2 = np.full(horizon, -0.012)
    else:
        r2 = np.minimum(share * ceiling, 0.985) - 0.004 * (1 + (group == "model")) * np.log1p(np.arange(horizon))
        r2 = np.minimum(r2 + rng.normal(0, 0.002, horizon).cumsum() * 0.3, 0.985)
    noise = 0.012 + 0.02 * np.sqrt(np.abs(r2))

    def intervals(values: np.ndarray, width: np.ndarray) -> list[dict[str, float]]:
        return [
            {"value": float(v), "low": float(v - w), "high": float(v + w)} for v, w in zip(values, width, strict=True)
        ]

    mse, r = 0.92 * (1 - r2), np.sqrt(np.clip(r2 + 0.012, 0, 1))
    if name == LAST:
        r = np.sqrt(np.maximum(ceiling, 0))
    overall, width = float(r2.mean()), 0.01 + 0.03 * abs(float(r2.mean()))
    scores = {"r2": overall, "mse": float(mse.mean()), "mae": float(0.78 * np.sqrt(mse).mean()), "r": float(r.mean())}
    people = np.sort(overall + rng.normal(0, 0.05 + 0.1 * abs(overall), num_subjects))
    depth = np.linspace(-1, 1, num_parcels)
    slow = 0.6 + 0.4 * np.sin(3 * depth + share)
    return {
        "name": name,
        "group": group,
        "tuned": TUNED[group],
        "seconds": float(rng.uniform(1, 900)),
        "window_ms": float(rng.uniform(0.01, 40)),
        "scores": {m: {"value": v, "low": v - width, "high": v + width} for m, v in scores.items()},
        "by_step": {"r2": intervals(r2, noise), "mse": intervals(mse, noise), "r": intervals(r, noise / 2)},
        "r2_per_parcel": [
            None if i == 3 else float(v) for i, v in enumerate(overall * slow + rng.normal(0, 0.01, num_parcels))
        ],
        "r2_per_subject": people.tolist(),
        "coverage": {
            "nominal": 0.8,
            "by_step": (0.79 - 0.02 * share + rng.normal(0, 0.006, horizon)).tolist(),
            "overall": 0.79 - 0.02 * share,
        },
    }


def _example(rng: np.random.Generator, horizon: int, is_filtered: bool, place: int) -> dict[str, Any]:
    tail = min(40, 2 * horizon + 10)
    kernel = np.hanning(13 if is_filtered else 4)
    truth = np.convolve(rng.normal(size=tail + horizon + 40), kernel / np.sqrt((kernel**2).sum()), "same")[20:-20]
    future = truth[tail:]
    fade = np.exp(-np.arange(horizon) / (9 if is_filtered else 1.2))
    spread = 1.28 * np.sqrt(1 - 0.9 * fade**2)
    drawn = []
    for name, share in ((FINE_TUNED, 0.9), (VAR, 1.0), (LSTM, 0.8)):
        values = share * fade * future + rng.normal(0, 0.04, horizon)
        low, high = (values - spread).tolist(), (values + spread).tolist()
        drawn.append({"name": name, "values": values.tolist(), "low": low, "high": high})
    return {
        "parcel": ("L_V1", "R_V1", "L_M1", "L_PCC", "R_dlPFC", "L_hippocampus")[place],
        "title": f"window {place // 3 + 1}, parcel at the {(90, 50, 10)[place % 3]}th percentile",
        "time_s": (TR_S * np.arange(-tail, horizon)).tolist(),
        "truth": [None if i == 5 else float(v) for i, v in enumerate(truth)],
        "origin": tail,
        "methods": drawn,
    }


def make_bare_forecast(**changes: Any) -> dict[str, Any]:
    """The least that is a forecast: one subject, two methods, no intervals, everything optional absent or null."""

    def score(value: float | None) -> dict[str, float | None]:
        return {"value": value, "low": None, "high": None}

    def bare(name: str, group: str, value: float) -> dict[str, Any]:
        steps = [score(value + 0.1), score(value), None]
        return {"name": name, "group": group, "tuned": "", "seconds": None, "scores": {"r2": score(value)},
                "by_step": {"r2": steps}, "r2_per_parcel": None, "r2_per_subject": [value],
                "minus_best_baseline": None, "p_paired": None, "coverage": None}  # fmt: skip

    cohort = {
        "name": "test",
        "store": "x",
        "num_subjects": 1,
        "num_recordings": 1,
        "num_windows": 2,
        "ceiling": None,
        "methods": [bare(ZERO_SHOT, "model", 0.08), bare(LAST, "simple", -0.4)],
        "main": ZERO_SHOT,
        "best_baseline": None,
        "difference": None,
        "p_paired": None,
        "examples": [],
    }
    content = {"format_version": 1, "kind": "forecast", "context": 40, "horizon": 3, "tr_s": [], "settings": {},
               "facts": {}, "tuning": "", "bands": [], "cohorts": [cohort], "conclusion": "", "notes": []}  # fmt: skip
    return content | changes


def write_forecast(run: Path, content: dict[str, Any]) -> Path:
    """Puts the forecast where a RUN folder keeps it and returns the file."""
    path = run / "forecasts" / f"{content['context']}-{content['horizon']}" / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, allow_nan=False))
    return path
