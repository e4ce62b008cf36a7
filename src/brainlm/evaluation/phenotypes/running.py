"""Out-of-fold predictions of one method after the other, each kept as soon as it is there.

A method whose predictions are there with the same key (data, labels, folds, settings) is not computed again, and one
that was interrupted goes on with its next fold. What methods there are is in ``methods.py``.

Shapes: R repeats, N units, M test units of a fold, K outputs.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from brainlm.data.store import Store
from brainlm.evaluation.phenotypes.folds import Fold, FoldRule
from brainlm.evaluation.phenotypes.predictions import (
    Group,
    Predictions,
    load_predictions,
    predictions_path,
    read_predictions,
    save_predictions,
)
from brainlm.evaluation.phenotypes.problem import Problem
from brainlm.evaluation.phenotypes.targets import Cohort
from brainlm.processes import worker_settings

PROCEDURE = 2  # part of every key: a change of what is computed invalidates cached predictions
PART = ".part.npz"
KEEP_AFTER_S = 5.0  # work worth keeping before a method's last fold

Listener = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Study:
    """One target on one store in one set of folds: what all methods share."""

    store: Store
    cohort: Cohort
    rule: FoldRule
    folds: tuple[Fold, ...]
    problem: Problem

    @property
    def key(self) -> str:
        """A hash of people, recordings, labels, folds and seed."""
        digest = hashlib.sha256(f"{PROCEDURE} {self.store.fingerprint}".encode())
        names = [[name, positions.tolist()] for name, positions in self._units()]
        problem = [self.problem.kind, self.problem.seed, self.problem.transform]
        digest.update(json.dumps([names, problem]).encode())
        for array in (self.problem.values_N, self.problem.groups_N, self.problem.weights_N):
            digest.update(array.tobytes())
        for fold in self.folds:
            digest.update(f"{fold.name} {fold.repeat}".encode() + fold.train_M.tobytes() + b"|" + fold.test_M.tobytes())
        return digest.hexdigest()[:32]

    def _units(self) -> list[tuple[str, np.ndarray]]:
        return list(zip(self.cohort.unit_names, self.cohort.recordings, strict=True))

    @property
    def num_repeats(self) -> int:
        """R."""
        return 1 + max(fold.repeat for fold in self.folds)


@runtime_checkable
class Method(Protocol):
    """Something that predicts a fold's test units from its training units."""

    @property
    def name(self) -> str:
        """Of its row in the table."""
        ...

    @property
    def group(self) -> Group:
        """What kind of method it is."""
        ...

    @property
    def settings(self) -> str:
        """All that its predictions depend on beside the study."""
        ...

    @property
    def seen(self) -> str:
        """A remark where people of the test folds were seen in pretraining; empty where nobody was."""
        ...

    @property
    def in_parallel(self) -> bool:
        """Whether several folds may be computed at once, each in a process of its own with one thread."""
        ...

    def predict(self, study: Study, fold: Fold) -> Float64[np.ndarray, "M K"]:
        """Original units, probability of the second class, or one a class; fitted to the fold's training units only."""
        ...


def predict_all(
    methods: Sequence[Method], study: Study, folder: Path, *, jobs: int = 1, on_progress: Listener | None = None
) -> list[Predictions]:
    """The predictions of every method, in this order.

    Args:
        methods: no two of the same name.
        study: on what.
        folder: the study's; predictions are kept below it.
        jobs: processes, for methods that allow it; changes no result.
        on_progress: called with folds done, folds in all, and the method that comes.
    """
    total = len(methods) * len(study.folds)
    found = []
    for number, method in enumerate(methods):

        def tell(fold: int, number: int = number, name: str = method.name) -> None:
            if on_progress is not None:
                on_progress(number * len(study.folds) + fold, total, name)

        found.append(_out_of_fold(method, study, folder, jobs, tell))
    if on_progress is not None:
        on_progress(total, total, "")
    return found


def _out_of_fold(method: Method, study: Study, folder: Path, jobs: int, tell: Callable[[int], None]) -> Predictions:
    key = f"{study.key}-{hashlib.sha256(f'{method.name} {method.settings}'.encode()).hexdigest()[:16]}"
    path = predictions_path(folder, method.name)
    done = load_predictions(path, method=method.name, key=key)
    if done is not None:
        return done
    unfinished = path.with_suffix(PART)
    before = load_predictions(unfinished, method=method.name, key=key)
    empty_RNK = np.full((study.num_repeats, len(study.cohort), study.problem.num_outputs), np.nan)
    values_RNK, seconds = (empty_RNK, 0.0) if before is None else (before.values_RNK, before.seconds)
    left = [fold for fold in study.folds if not np.isfinite(values_RNK[fold.repeat, fold.test_M]).all()]
    kept = time.monotonic()
    tell(len(study.folds) - len(left))
    for number, (fold, predicted) in enumerate(_predicted(method, study, left, jobs), start=1):
        values_RNK[fold.repeat, fold.test_M] = predicted.values_MK
        seconds += predicted.seconds
        tell(len(study.folds) - len(left) + number)
        if time.monotonic() - kept > KEEP_AFTER_S and number < len(left):
            save_predictions(unfinished, _predictions(method, key, seconds, values_RNK))
            kept = time.monotonic()
    made = _predictions(method, key, seconds, values_RNK)
    save_predictions(path, made)
    unfinished.unlink(missing_ok=True)
    return made


@dataclass(frozen=True, eq=False)
class _Predicted:
    values_MK: Float64[np.ndarray, "M K"]
    seconds: float


def _predicted(method: Method, study: Study, folds: Sequence[Fold], jobs: int) -> Iterator[tuple[Fold, _Predicted]]:
    """The folds with what is predicted in each, in their order."""
    if jobs == 1 or len(folds) < 2 or not method.in_parallel:
        for fold in folds:
            yield fold, _predict(method, study, fold)
        return
    # Many small products: threads within one would wait for each other longer than they compute.
    with parallel_config(backend="loky", inner_max_num_threads=1, **worker_settings()):
        several = Parallel(n_jobs=jobs, return_as="generator")
        yield from zip(folds, several(delayed(_predict)(method, study, fold) for fold in folds), strict=True)


def _predict(method: Method, study: Study, fold: Fold) -> _Predicted:
    begun = time.monotonic()
    with threadpool_limits(1) if method.in_parallel else nullcontext():
        values_MK = method.predict(study, fold)
    return _Predicted(values_MK, time.monotonic() - begun)


def kept_rows(folder: Path, study: Study, *, but: Sequence[Predictions]) -> list[Predictions]:
    """Fine-tuned rows that are there from before: made of the same people and labels, in the same folds."""
    names = {predictions.method for predictions in but}
    found = []
    for path in sorted(predictions_path(folder, "").parent.glob("*.npz")):
        kept = read_predictions(path)
        if kept is None or kept.group != "finetuned" or kept.method in names or path.name.endswith(PART):
            continue
        if kept.key.startswith(f"{study.key}-"):
            found.append(kept)
    return found


def _predictions(method: Method, key: str, seconds: float, values_RNK: np.ndarray) -> Predictions:
    return Predictions(method.name, method.group, key, round(seconds, 2), method.seen, bool(method.seen), values_RNK)
