"""One method on all windows: the sums that every score is made of, and what its bands hold.

What the sums mean is in ``evaluation/metrics.py``; scores, intervals and comparisons are made in ``judging.py``.

Shapes: S subjects, P parcels, H time points of the horizon, E example windows, 8 terms.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from brainlm.baselines.forecaster import Forecaster, Group
from brainlm.data.context_windows import ContextBatch
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows
from brainlm.evaluation.forecasting.residuals import ResidualBand
from brainlm.evaluation.metrics import Term, terms_of


@dataclass(frozen=True, eq=False)
class ForecastScores:
    """A method on the windows of a cohort.

    Attributes:
        name, group, tuned, seconds: of the method, see ``Forecaster``.
        window_ms: milliseconds of prediction per window.
        by_subject_SHK, by_parcel_PK: sums, see ``metrics.Term``.
        band: of its residuals on validation windows.
        held_H: how many of the judged values of each step the band holds.
        examples_EPH: its forecasts of the example windows.
    """

    name: str
    group: Group
    tuned: str
    seconds: float | None
    window_ms: float
    by_subject_SHK: Float64[np.ndarray, "S H 8"]
    by_parcel_PK: Float64[np.ndarray, "P 8"]
    band: ResidualBand
    held_H: Float64[np.ndarray, "H"]
    examples_EPH: Float32[np.ndarray, "E P H"]

    @property
    def is_model(self) -> bool:
        """Whether it is the model that the study is about, as it is or fine-tuned."""
        return self.group in ("model", "finetuned")

    @property
    def by_subject(self) -> Float64[np.ndarray, "S 8"]:
        """Sums of each subject over all steps."""
        return self.by_subject_SHK.sum(axis=1)


@torch.no_grad()
def score(
    forecaster: Forecaster,
    windows: JudgedWindows,
    band: ResidualBand,
    examples: JudgedWindows,
    *,
    on_batch: Callable[[int], None] | None = None,
) -> ForecastScores:
    """The method on all ``windows``, and its forecasts of ``examples``.

    Args:
        forecaster: fitted.
        windows: to judge on.
        band: of its residuals on other windows.
        examples: a few of ``windows``.
        on_batch: called with the number of batches done.
    """
    horizon, subject_N = windows.windows.horizon, windows.subjects()
    by_subject_SHK = np.zeros((int(subject_N.max()) + 1, horizon, len(Term)))
    by_parcel_PK = np.zeros((windows.windows.store.num_parcels, len(Term)))
    held_H = np.zeros(horizon)
    busy_s = 0.0
    for number, batch in enumerate(windows.batches()):
        begun = time.perf_counter()
        predicted_BPH = forecaster.predict(batch.context_BPT, batch.context_valid_BPT, horizon).float()
        busy_s += time.perf_counter() - begun
        terms_BPHK = torch.stack(terms_of(predicted_BPH, batch.future_BPH, batch.future_valid_BPH), dim=3).cpu()
        subject_B = subject_N[number * windows.batch_size :][: len(batch.start_B)]
        np.add.at(by_subject_SHK, subject_B, terms_BPHK.sum(dim=1).numpy())
        by_parcel_PK += terms_BPHK.sum(dim=(0, 2)).numpy()
        held_H += _held(predicted_BPH, batch, band)
        if on_batch is not None:
            on_batch(number + 1)
    shown = [forecaster.predict(one.context_BPT, one.context_valid_BPT, horizon) for one in examples.batches()]
    return ForecastScores(
        name=forecaster.name,
        group=forecaster.group,
        tuned=forecaster.tuned,
        seconds=forecaster.seconds,
        window_ms=1000.0 * busy_s / len(windows),
        by_subject_SHK=by_subject_SHK,
        by_parcel_PK=by_parcel_PK,
        band=band,
        held_H=held_H,
        examples_EPH=torch.cat(shown).float().cpu().numpy(),
    )


def _held(predicted_BPH: Tensor, batch: ContextBatch, band: ResidualBand) -> Float64[np.ndarray, "H"]:
    """How many valid values of each step lie within the band."""
    missed_BPH = (batch.future_BPH - predicted_BPH).double().cpu().numpy()
    inside_BPH = (band.low_H <= missed_BPH) & (missed_BPH <= band.high_H)
    return (inside_BPH & batch.future_valid_BPH.cpu().numpy()).sum(axis=(0, 1)).astype(np.float64)
