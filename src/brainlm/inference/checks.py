"""Whether a model is given what its weights were trained on: the same repetition time and amplitude.

The first is an error, with what to do; the second is a warning, for the numbers may be right. Parcels are compared in
``data/same_parcels.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from brainlm.data.scaling import ScaledBatch, Scaler
from brainlm.errors import DataError

# A repetition time within this share of a trained one counts as the same: 0.72 s for 0.735 s (the paper does that), not
# 0.8 s for 1 s.
TR_TOLERANCE = 0.15
# What is usual in the scaled signal: an interquartile range of 1 (robust) or a standard deviation of 1 (zscore), that
# is, of a normal signal, this mean absolute value.
USUAL_AMPLITUDE = {"robust": 0.5915, "zscore": 0.7979}
# fMRI has heavier tails and parcels differ; beyond this factor it is other units or another scaling.
AMPLITUDE_FACTOR = 4.0

# Below this R2 of validation a model fills in little more than the mean.
LEARNED_R2 = 0.01
LEARNED_NOTHING = (
    "The model has learned next to nothing: on validation people it fills in hidden signal no better than the mean. "
    "What usually helps: more steps (--training.epochs), --model.head gaussian, fewer and larger patches, more "
    "or longer recordings"
)

logger = logging.getLogger(__name__)


def learned_nothing(provenance: Mapping[str, Any]) -> bool:
    """Whether the record of a pretrained model says that it reached next to nothing; False where it does not say."""
    reached = (provenance.get("metrics") or {}).get("val_r2")
    return isinstance(reached, int | float) and reached < LEARNED_R2


def is_trained_tr(tr: float, trained: Sequence[float]) -> bool:
    """True if ``tr`` (s) is close to one that the weights were trained on, or none is recorded.

    Between 0.7 s and 3 s nothing was learnt: the nearest counts, not the range.
    """
    return not trained or any(abs(tr - one) <= TR_TOLERANCE * one for one in trained)


def check_tr(tr: float, trained: Sequence[float], *, what: str) -> None:
    """Raise DataError if ``tr`` (s) is far from every repetition time the weights were trained on."""
    if is_trained_tr(tr, trained):
        return
    seconds = f"{' or '.join(f'{one:g}' for one in sorted(set(trained)))} s"
    raise DataError(
        f"{what} has another repetition time than the model's recordings",
        expected=f"{seconds}, give or take {100 * TR_TOLERANCE:g} %",
        found=f"{tr:g} s",
        remedy="let it be resampled: --resample on the command line, resample=True in Python",
    )


def warn_of_tr(trs: Iterable[float], trained: Sequence[float], *, what: str) -> None:
    """Warn if ``what`` has repetition times (s) far from those the weights were trained on, and is used as it is."""
    far = sorted({tr for tr in trs if not is_trained_tr(tr, trained)})
    if far:
        logger.warning(
            "%s has recordings with a repetition time of %s s, and the model was trained on %s s: "
            "what it has learnt of time may not hold for them",
            what,
            ", ".join(f"{tr:g}" for tr in far),
            ", ".join(f"{tr:g}" for tr in sorted(set(trained))),
        )


def amplitudes(scaled: ScaledBatch) -> torch.Tensor:
    """The mean absolute scaled value of each window, (B,)."""
    return scaled.signal_BPT.abs().sum(dim=(1, 2)) / scaled.valid_BPT.sum(dim=(1, 2)).clamp(min=1)


def warn_of_amplitude(amplitude: float, scaler: Scaler, *, what: str) -> None:
    """Warn if the mean absolute scaled value is far from what the weights were trained on."""
    if scaler.kind not in USUAL_AMPLITUDE:
        return
    ratio = amplitude * scaler.divisor / USUAL_AMPLITUDE[scaler.kind]
    if not 1 / AMPLITUDE_FACTOR <= ratio <= AMPLITUDE_FACTOR:
        logger.warning(
            "%s: after scaling its signal is %.2g times as large as the model's input should be; "
            "check its units, or fit the scaler on recordings like it: model.fit_scaler(...)",
            what,
            ratio,
        )
