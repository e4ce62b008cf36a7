"""Whether a model is given what its weights were trained on: the same parcels, repetition time and amplitude.

The first two are errors, with what to do; the third is a warning, for the numbers may be right.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from brainlm.data.parcels import Parcels
from brainlm.data.scaling import ScaledBatch, Scaler
from brainlm.errors import AtlasError, DataError

# A repetition time within this share of a trained one counts as the same: 0.72 s for 0.735 s (the paper does that), not
# 0.8 s for 1 s.
TR_TOLERANCE = 0.15
# Centroids of the same parcel in different releases of an atlas lie some mm apart; another order, some cm.
FAR_MM = 20.0
FEW = 0.05  # the share of parcels that may be far

# What is usual in the scaled signal: an interquartile range of 1 (robust) or a standard deviation of 1 (zscore), that
# is, of a normal signal, this mean absolute value.
USUAL_AMPLITUDE = {"robust": 0.5915, "zscore": 0.7979}
# fMRI has heavier tails and parcels differ; beyond this factor it is other units or another scaling.
AMPLITUDE_FACTOR = 4.0

logger = logging.getLogger(__name__)


def is_trained_tr(tr: float, trained: Sequence[float]) -> bool:
    """True if ``tr`` (s) is close to those the weights were trained on, or none is recorded."""
    return not trained or min(trained) * (1 - TR_TOLERANCE) <= tr <= max(trained) * (1 + TR_TOLERANCE)


def check_tr(tr: float, trained: Sequence[float], *, what: str) -> None:
    """Raise DataError if ``tr`` (s) is far from every repetition time the weights were trained on."""
    if is_trained_tr(tr, trained):
        return
    seconds = f"{min(trained):g} s" if len(set(trained)) == 1 else f"{min(trained):g} to {max(trained):g} s"
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


def check_same_parcels(given: Parcels, trained: Parcels, *, what: str) -> None:
    """Raise AtlasError unless column p of ``given`` is the same place of the brain as column p of ``trained``."""
    differs_P = given.labels != trained.labels if len(given) == len(trained) else np.ones(len(given), bool)
    found = "other labels"
    if not differs_P.any() and given.has_coordinates and trained.has_coordinates:
        apart_P = np.linalg.norm(given.coordinates - trained.coordinates, axis=1)
        if (apart_P > FAR_MM).mean() > FEW:
            differs_P, found = apart_P > FAR_MM, f"more than {FAR_MM:g} mm away"
    if not differs_P.any():
        return
    first = int(differs_P.argmax())
    number = f"{int(differs_P.sum())} of {len(given)} columns are {found}"
    if len(given) != len(trained):
        number = f"{len(given)} parcels"
    raise AtlasError(
        f"{what} has other parcels than the model, or another order",
        expected=f"{len(trained)} parcels; column {first + 1} is {_named(trained, first)}",
        found=f"{number}; column {first + 1} is {_named(given, first)}",
        remedy="parcellate with the model's atlas and keep the order of its parcels.tsv",
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


def _named(parcels: Parcels, position: int) -> str:
    row = parcels.table.iloc[min(position, len(parcels) - 1)]
    place = " at " + ", ".join(f"{row[axis]:g}" for axis in "xyz") + " mm" if parcels.has_coordinates else ""
    return f"label {row['label']} ({row['name']}){place}"
