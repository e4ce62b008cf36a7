"""Three numbers of each parcel's signal: how much it varies, how smooth it is, how steeply its spectrum falls.

A model must be shown beside them: they decode much of what its embeddings do, with no connectivity at all.

Shapes: N recordings, T time points, P parcels, K frequencies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.signal import detrend, periodogram

from brainlm.data.store import Store

STATISTICS = ("log_spread", "autocorrelation", "spectral_slope")

# Hz. The band that nearly every recording has, whatever its TR (Nyquist frequency 0.1 Hz at a TR of 5 s) and length: a
# slope in it means the same at every site.
SLOPE_BAND_HZ = (0.01, 0.1)
MIN_FREQUENCIES = 4  # that a slope is fitted to; a shorter recording has none


@dataclass(frozen=True, eq=False)
class SignalStatistics:
    """Statistics of N recordings: all parcels' of one kind, then of the next; ``names`` says which is which."""

    values_NF: Float32[np.ndarray, "N F"]
    names: tuple[str, ...]


def signal_statistics(store: Store, *, on_progress: Callable[[int, int], None] | None = None) -> SignalStatistics:
    """Of every parcel of every recording, as ``recording_signal_statistics`` gives them.

    Args:
        store: recordings of any lengths and repetition times.
        on_progress: called with (recordings done, all of them).
    """
    trs = store.metadata["tr"].to_numpy(np.float64)
    values_NF = np.empty((len(store), len(STATISTICS) * store.num_parcels), np.float32)
    for index, tr_s in enumerate(trs.tolist()):
        values_NF[index] = recording_signal_statistics(store.bold(index), tr_s=tr_s).ravel()
        if on_progress is not None:
            on_progress(index + 1, len(store))
    names = tuple(f"{kind} {parcel}" for kind in STATISTICS for parcel in store.parcels.table["name"])
    return SignalStatistics(values_NF, names)


def recording_signal_statistics(bold_TP: Float[np.ndarray, "T P"], *, tr_s: float) -> Float64[np.ndarray, "3 P"]:
    """One recording's, in the order of ``STATISTICS``; NaN for parcels without signal.

    - log spread: natural logarithm of the standard deviation, in the recording's own units;
    - autocorrelation at lag 1: between one time point and the next, so it depends on the TR, by which sites differ;
    - spectral slope: of log power over log frequency between 0.01 and 0.1 Hz, NaN where the recording has too few
      frequencies there.
    """
    centred_TP = np.asarray(bold_TP, np.float64) - np.asarray(bold_TP[:1], np.float64)  # constant: exactly 0
    centred_TP -= centred_TP.mean(axis=0)
    squares_P = np.einsum("tp,tp->p", centred_TP, centred_TP)
    present_P = squares_P > 0
    squares_P = np.where(present_P, squares_P, np.nan)
    lagged_P = np.einsum("tp,tp->p", centred_TP[:-1], centred_TP[1:])
    slope_P = np.full(len(squares_P), np.nan)
    if present_P.any():
        slope_P[present_P] = spectral_slope(centred_TP[:, present_P], tr_s=tr_s)
    return np.stack([np.log(squares_P / len(centred_TP)) / 2, lagged_P / squares_P, slope_P])


def spectral_slope(signal_TP: Float64[np.ndarray, "T P"], *, tr_s: float) -> Float64[np.ndarray, "P"]:
    """The slope of log power over log frequency in ``SLOPE_BAND_HZ``: 0 for white noise, -2 for a random walk.

    Least squares over the frequencies of a Hann-tapered periodogram of the detrended signal. NaN with fewer than
    ``MIN_FREQUENCIES`` of them, and for a parcel that has no power at one of them.
    """
    frequency_K, power_KP = periodogram(detrend(signal_TP, axis=0), fs=1 / tr_s, window="hann", axis=0)
    inside_K = (frequency_K >= SLOPE_BAND_HZ[0]) & (frequency_K <= SLOPE_BAND_HZ[1])
    if inside_K.sum() < MIN_FREQUENCIES:
        return np.full(signal_TP.shape[1], np.nan)
    power_KP = power_KP[inside_K]
    log_frequency_K = np.log(frequency_K[inside_K])
    log_frequency_K -= log_frequency_K.mean()
    log_power_KP = np.log(np.where(power_KP > 0, power_KP, np.nan))
    return log_frequency_K @ log_power_KP / (log_frequency_K @ log_frequency_K)
