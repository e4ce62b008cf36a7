"""A recording on another repetition time: band-limited, without aliases, on an exact time grid.

One windowed-sinc interpolation for every ratio, up or down. Who decides that a recording needs it is the caller
(``inference/``); nothing here touches the signal's units.

Shapes: T old time points, K new time points, P parcels.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math

import numpy as np
from jaxtyping import Float32, Float64
from scipy.sparse import csr_array

from brainlm.data.recording import Recording
from brainlm.data.repetition import seconds
from brainlm.errors import DataError

logger = logging.getLogger(__name__)

# Zero crossings of the sinc on each side, and the shape of its Kaiser window. By Kaiser's formulas (Kaiser 1974;
# Oppenheim and Schafer, "Discrete-Time Signal Processing", section 7.6) they attenuate by 63 dB with a transition band
# from 0.88 to 1.12 of the lower of the two Nyquist frequencies: above it 0.1 % of a sine is left, at the Nyquist
# frequency half. More crossings would be sharper, but depend on more of what is guessed beyond the ends: at a TR of 2 s
# these reach 32 s.
ZERO_CROSSINGS = 16
KAISER_BETA = 6.0

SAME_TR = 1e-9  # relative; 1,000 time points later the two grids are a millionth of a time point apart


def resampled(recording: Recording, tr: float) -> Recording:
    """The recording as if it had been sampled every ``tr`` seconds.

    Both grids begin at time 0 and the new one ends at or before the old one: of T time points come
    floor((T - 1) x old TR / new TR) + 1, at exact multiples of ``tr`` (no rational approximation of the ratio).
    Frequencies above the lower of the two Nyquist frequencies are removed before sampling; below 0.88 of it a sine is
    reproduced within 0.2 % of its amplitude. Next to the ends what lies beyond must be guessed: for noise like that of
    unfiltered fMRI (lag-1 autocorrelation 0.33 at a TR of 2 s) the error is half of its standard deviation in the first
    sample when downsampling (a fifth when upsampling), 15 % in the second, 7 % up to the fourth, under 3 % further in,
    each on the slower grid. A constant and a straight line come out as they went in, to float32. NaN parcels stay NaN.
    The same TR gives the recording itself.

    Args:
        recording: any length; at 424 parcels, a thousand time points need 10 to 30 MB while this runs.
        tr: new repetition time in seconds.

    Raises:
        DataError: ``tr`` is no repetition time of fMRI, or fewer than 2 time points would be left.
    """
    seconds(tr, f"recording {recording.name} cannot be resampled")
    if math.isclose(tr, recording.tr, rel_tol=SAME_TR):
        return recording
    ratio = tr / recording.tr
    num_points = num_resampled(recording.num_timepoints, recording.tr, tr)
    if num_points < 2:
        raise DataError(
            f"recording {recording.name} is too short to be resampled to a repetition time of {tr:g} s",
            expected="a result of at least 2 time points",
            found=f"{recording.num_timepoints} time points, {recording.tr:g} s apart",
            remedy="check that both repetition times are in seconds",
        )
    if ratio < 1:
        _note_upsampling(recording.tr, tr)
    bold_KP = _interpolated(recording.bold, ratio=ratio, num_points=num_points)
    return dataclasses.replace(recording, bold=bold_KP, tr=tr)


def num_resampled(num_timepoints: int, old_tr: float, new_tr: float) -> int:
    """How many time points ``resampled`` makes of a recording of ``num_timepoints``, without making them."""
    if math.isclose(new_tr, old_tr, rel_tol=SAME_TR):
        return num_timepoints
    # The little extra keeps the last point where it falls on the end but for rounding.
    return math.floor((num_timepoints - 1) / (new_tr / old_tr) * (1 + SAME_TR)) + 1


@functools.cache  # once for each pair of repetition times, not for each of a thousand recordings
def _note_upsampling(old_tr: float, new_tr: float) -> None:
    logger.warning(
        "resampling from a TR of %g s to %g s adds time points, not information: "
        "there is still nothing above %.3g Hz (half the old sampling rate)",
        old_tr,
        new_tr,
        0.5 / old_tr,
    )


def _interpolated(bold_TP: Float32[np.ndarray, "T P"], *, ratio: float, num_points: int) -> Float32[np.ndarray, "K P"]:
    """The signal at every ``ratio`` of its samples: a straight line, and band-limited what deviates from it.

    The line is fitted to all samples: a drift stays a drift at the ends, where the rest is mirrored, and the mean level
    (about 10,000 in scanner units) costs no precision. One through the first and last sample would carry their noise.
    """
    times_T = np.arange(len(bold_TP)) - (len(bold_TP) - 1) / 2
    times_K = ratio * np.arange(num_points) + times_T[0]
    residual_TP = bold_TP.astype(np.float64)
    mean_P = residual_TP.mean(axis=0)
    residual_TP -= mean_P
    slope_P = times_T @ residual_TP / (times_T @ times_T)
    residual_TP -= times_T[:, None] * slope_P
    values_KP = _weights(len(bold_TP), ratio=ratio, num_points=num_points) @ residual_TP
    values_KP += times_K[:, None] * slope_P
    values_KP += mean_P
    return values_KP.astype(np.float32)


def _weights(num_timepoints: int, *, ratio: float, num_points: int) -> csr_array:
    """What each new time point takes of each old one, (K, T): Kaiser-windowed sincs whose weights sum to one.

    Beyond its ends the signal goes on as its mirror image, which begins by repeating the last sample. Of the ways tried
    (mirrored about the last sample, turned upside down, zero, or only the weights that have a sample) this had the
    smallest errors for slow sines, and for noise of any smoothness none was better by more than two fifths.
    """
    cutoff = min(1.0, 1 / ratio)  # in old Nyquist frequencies
    reach = ZERO_CROSSINGS / cutoff
    positions_K = ratio * np.arange(num_points)
    first_K = np.ceil(positions_K - reach).astype(np.int64)
    taken_KW = first_K[:, None] + np.arange(math.floor(2 * reach) + 1)
    distance_KW = taken_KW - positions_K[:, None]
    weight_KW = np.sinc(cutoff * distance_KW) * _kaiser(distance_KW / reach)
    weight_KW /= weight_KW.sum(axis=1, keepdims=True)
    folded_KW = taken_KW % (2 * num_timepoints)
    folded_KW = np.minimum(folded_KW, 2 * num_timepoints - 1 - folded_KW)
    row_starts = np.arange(0, weight_KW.size + 1, weight_KW.shape[1])
    return csr_array((weight_KW.ravel(), folded_KW.ravel(), row_starts), shape=(num_points, num_timepoints))


def _kaiser(distance: Float64[np.ndarray, "K W"]) -> Float64[np.ndarray, "K W"]:
    """The Kaiser window, zero from a distance of 1 on."""
    inside = np.sqrt(np.clip(1 - distance**2, 0, None))
    return np.where(np.abs(distance) <= 1, np.i0(KAISER_BETA * inside) / np.i0(KAISER_BETA), 0.0)
