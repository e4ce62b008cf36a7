"""How well hidden values are filled in: the model and its baselines on the same windows and masks.

Gives the content of ``evaluation.json``; which masks is in ``masking.py``, the arithmetic in ``metrics.py`` and
``statistics.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brainlm.baselines.predictor import Predictor
from brainlm.evaluation.masking import MaskedWindows
from brainlm.evaluation.metrics import METRICS, ScoreSums, Term, r2, r2_difference
from brainlm.evaluation.plain_json import plain
from brainlm.evaluation.statistics import Interval, SubjectBootstrap, few_subjects_note
from brainlm.model.masks import Mask

FORMAT_VERSION = 1


@dataclass(frozen=True)
class BootstrapSettings:
    """How intervals are made."""

    num_bootstrap: int = 1000
    confidence: float = 0.95
    seed: int = 0


@torch.no_grad()
def evaluate_reconstruction(
    model: Predictor | None,
    baselines: Sequence[Predictor],
    windows: MaskedWindows,
    conditions: Sequence[Mask],
    *,
    refitted: Sequence[Predictor] = (),
    bootstrap: BootstrapSettings = BootstrapSettings(),
    model_facts: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The scores of every method in every condition it has something to say about, ready to be written as JSON.

    Values and errors are in scaled units. Intervals are over subjects; differences are the model's R2 minus that of
    the baseline with the highest R2, on the same resamples. What cannot be computed is None.

    Args:
        model: what is judged, None to judge baselines only.
        baselines: already fitted.
        windows: of held-out subjects.
        conditions: masks to judge under.
        refitted: further rows that the model is not compared with: baselines fitted within the judged cohort.
        bootstrap: see there.
        model_facts: copied to ``"model"``.
        on_progress: called with (batches done, all batches).
    """
    subjects = windows.windows.store.metadata["subject"].astype(str).to_numpy()
    names, subject_N = np.unique(subjects[windows.recording_N], return_inverse=True)
    resamples = SubjectBootstrap.draw(
        len(names), num_bootstrap=bootstrap.num_bootstrap, seed=bootstrap.seed, confidence=bootstrap.confidence
    )
    methods = [*([] if model is None else [model]), *baselines, *refitted]
    results: list[dict[str, Any]] = []
    for mask in conditions:
        able = [method for method in methods if mask.kind in method.mask_kinds]
        before = len(results) * windows.num_batches

        def report(done: int, before: int = before) -> None:
            if on_progress is not None:
                on_progress(before + done, len(conditions) * windows.num_batches)

        sums = _score(able, windows, mask, subject_N, on_batch=report)
        scored = [
            _Scored(method, method is model, any(method is one for one in refitted), own)
            for method, own in zip(able, sums, strict=True)
        ]
        results.append(_condition(mask, scored, names.tolist(), resamples, bootstrap.seed))
    notes = ["R2, MAE and r are of scaled values; R2 is about the mean of the hidden values and never clipped."]
    if windows.scaler.kind != "none":
        notes.append(
            "Scaling takes each recording's own centre over all its time points, hidden ones included, for every "
            "method alike: part of any forecast is the return to that centre."
        )
    notes += few_subjects_note(len(names))
    found: dict[str, Any] = plain(
        {
            "format_version": FORMAT_VERSION,
            "kind": "reconstruction",
            "model": dict(model_facts or {}),
            "store": _store_facts(windows, num_subjects=len(names)),
            "settings": {
                "num_timepoints": windows.windows.num_timepoints,
                "seed": windows.seed,
                "num_bootstrap": bootstrap.num_bootstrap,
                "bootstrap_seed": bootstrap.seed,
                "confidence": bootstrap.confidence,
                "scaler": windows.scaler.kind,
            },
            "notes": notes,
            "conditions": results,
        }
    )
    return found


def _store_facts(windows: MaskedWindows, *, num_subjects: int) -> dict[str, Any]:
    store = windows.windows.store
    return {
        "path": str(store.path),
        "fingerprint": store.fingerprint,
        "split": "+".join(sorted(set(store.metadata["split"].iloc[windows.recording_N]))),
        "num_recordings": len(np.unique(windows.recording_N)),
        "num_subjects": num_subjects,
        "num_windows": len(windows),
        "num_too_short": len(windows.windows.excluded),
    }


def _score(
    methods: Sequence[Predictor],
    windows: MaskedWindows,
    mask: Mask,
    subject_N: np.ndarray,
    *,
    on_batch: Callable[[int], None],
) -> list[ScoreSums]:
    """The sums of each method over all windows."""
    num_parcels, num_timepoints = windows.windows.store.num_parcels, windows.windows.num_timepoints
    sums = [ScoreSums(int(subject_N.max()) + 1, num_parcels, num_timepoints) for _ in methods]
    for number, batch in enumerate(windows.batches(mask)):
        subject_B = subject_N[number * windows.batch_size :][: len(batch.start_B)]
        for method, own in zip(methods, sums, strict=True):
            own.add(method.predict(batch), batch.signal_BPT, batch.scored, subject_B)
        on_batch(number + 1)
    return sums


@dataclass(frozen=True, eq=False)
class _Scored:
    """A method and its sums in one condition."""

    method: Predictor
    is_model: bool
    is_refitted: bool
    sums: ScoreSums


def _condition(
    mask: Mask, scored: Sequence[_Scored], subjects: list[str], resamples: SubjectBootstrap, seed: int
) -> dict[str, Any]:
    """One entry of ``"conditions"``."""
    model = next((entry for entry in scored if entry.is_model), None)
    best = max(
        (entry for entry in scored if not (entry.is_model or entry.is_refitted) and np.isfinite(r2(entry.sums.pooled))),
        key=lambda entry: float(r2(entry.sums.pooled)),
        default=None,
    )
    difference = None
    if model is not None and best is not None:
        difference = r2_difference(model.sums.by_subject, best.sums.by_subject, resamples, seed=seed)
    return {
        "mask": mask.kind,
        "amount": mask.amount,
        "label": mask.label,
        "num_hidden_values": int(scored[0].sums.pooled[Term.COUNT]) if scored else 0,
        "methods": [_method(mask, entry, subjects, resamples) for entry in scored],
        "best_baseline": None if best is None else best.method.name,
        "difference": None if difference is None else _renamed(difference),
    }


def _method(mask: Mask, scored: _Scored, subjects: list[str], resamples: SubjectBootstrap) -> dict[str, Any]:
    """One entry of ``"methods"``."""
    entry: dict[str, Any] = {"name": scored.method.name, "is_model": scored.is_model}
    for name, metric in METRICS.items():
        interval = resamples.interval(scored.sums.by_subject, metric)
        entry |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    entry["r2_per_parcel"] = r2(scored.sums.by_parcel)
    entry["r2_per_subject"] = dict(zip(subjects, r2(scored.sums.by_subject), strict=True))
    if mask.kind == "future":
        by_step = scored.sums.by_step
        entry["r2_by_step"] = r2(by_step[by_step[:, Term.COUNT] > 0])
    return entry


def _renamed(difference: Interval) -> dict[str, float | None]:
    fields = difference.as_dict()
    return {"r2": fields.pop("value"), **fields}
