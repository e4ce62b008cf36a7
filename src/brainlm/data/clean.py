"""Parcel series -> cleaned parcel series: censoring, trend, pass band and confounds in one consistent step, new TR.

What to do is in ``cleaning.py``, what a pipeline says about confounds in ``confounds.py``. All steps are linear in the
series, so that cleaning parcel means is the same as averaging cleaned voxels, at a thousandth of the work.

Shapes: T time points, P parcels, K confounds, L those of them with any variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from brainlm.data.cleaning import Cleaning
from brainlm.data.confounds import Confounds
from brainlm.data.recording import Recording
from brainlm.data.resampling import resampled
from brainlm.errors import DataError

# Files keep some seven digits of a confound: what filter and trend leave of it below this share is rounding, and so is
# a combination of confounds whose singular value is below this share of the largest. Regressing it out would remove
# noise of its own making.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Cleaned:
    """What cleaning gives.

    ``bold`` may be shorter than before: censored volumes at its ends are cut off. ``num_censored`` counts all censored
    volumes; ``num_filled`` those of them that are within, and hold values interpolated from their neighbours.
    """

    bold: Float32[np.ndarray, "T P"]
    tr_s: float
    num_censored: int
    num_filled: int


def clean(bold_TP: Float32[np.ndarray, "T P"], tr_s: float, confounds: Confounds, cleaning: Cleaning) -> Cleaned:
    """The cleaned series. In this order, each step only if asked for:

    1. Censored volumes (before the steady state; above the framewise displacement allowed) are cut off where they begin
       or end the run. Within it they are replaced, in series and confounds, by a straight line between their
       neighbours: windows need an unbroken time grid. They count in no fit below, and are reported. (A cubic spline, as
       in nilearn, overshoots: in gaps of 10 volumes of a real unfiltered recording it errs by 2.5 standard deviations,
       a line by 1.1; of that, 0.54 and 0.19 reach the band-passed volumes that are kept.)
    2. Before filtering and for ``detrend``, a straight line is removed from series and confounds; with a low-pass alone
       it comes back after it.
    3. Both are filtered, which keeps filter and regression consistent (Lindquist et al. 2019, Hum Brain Mapp 40):
       Butterworth of order 5, forward and backward, continued at both ends as the mirror image of what deviates from
       the line. Next to the ends what lies beyond is guessed: for noise like that of unfiltered fMRI, 0.01 to 0.1 Hz at
       a TR of 2 s, the error is 0.66 standard deviations in the first volume, 0.4 in the next four, 0.17 up to the
       20th; with the usual extension, turned about the end point, it is 1.0, 1.2 and 0.4. Of a sine of 0.03 Hz, on
       average over phases, it is 0.14 of the amplitude in the first ten volumes (with the usual one 0.4), 0.01 in the
       middle.
    4. Confounds are fitted to the volumes that are not censored and subtracted everywhere.
    5. Each parcel's mean over these volumes is made what it was: the level means something (tSNR, percent change);
       standardising is the scaler's.
    6. Resampling (``resampling.py``).

    Parcels that are not finite stay as they are. Without any step the series are returned as they came.

    Raises:
        DataError: a pass band beyond the Nyquist frequency, or confounds, censoring and filter that leave nothing.
    """
    if not cleaning.changes_anything:
        return Cleaned(bold_TP, tr_s, 0, 0)
    assert len(confounds.kept_T) == len(bold_TP)
    num_censored = int((~confounds.kept_T).sum())
    inside = _between_kept(confounds.kept_T)
    kept_T = confounds.kept_T[inside]
    bold_TP = bold_TP[inside].copy()
    with_signal = np.isfinite(bold_TP).all(axis=0)
    if with_signal.any():
        regressors = confounds.regressors
        bold_TP[:, with_signal] = _cleaned(
            bold_TP[:, with_signal].astype(np.float64),
            None if regressors is None else regressors[inside],
            kept_T,
            tr_s,
            cleaning,
        )
    if cleaning.tr_s:
        bold_TP = _resampled(bold_TP, tr_s, cleaning.tr_s)
    return Cleaned(bold_TP, cleaning.tr_s or tr_s, num_censored, int((~kept_T).sum()))


def _between_kept(kept_T: Bool[np.ndarray, "T"]) -> slice:
    """From the first to the last volume that is not censored."""
    kept = np.flatnonzero(kept_T)
    if len(kept) < 2:
        raise DataError(
            "censoring leaves nothing of the run",
            expected="at least 2 volumes that are not censored",
            found=f"{len(kept)} of {len(kept_T)}",
            remedy="leave this run out, or allow more motion",
        )
    return slice(int(kept[0]), int(kept[-1]) + 1)


def _cleaned(
    series_TP: Float64[np.ndarray, "T P"],
    regressors_TK: Float64[np.ndarray, "T K"] | None,
    kept_T: Bool[np.ndarray, "T"],
    tr_s: float,
    cleaning: Cleaning,
) -> Float64[np.ndarray, "T P"]:
    mean_P = series_TP[kept_T].mean(axis=0)
    series_TP = _passed(series_TP - mean_P, kept_T, tr_s, cleaning)
    num_confounds = 0
    if regressors_TK is not None:
        varying_K = np.ptp(regressors_TK[kept_T], axis=0) > 0
        passed_TK = _passed(_unit(regressors_TK[:, varying_K], kept_T), kept_T, tr_s, cleaning)
        design_TL = _unit(passed_TK, kept_T, least=ROUNDING)
        weights_LP, _, rank, _ = np.linalg.lstsq(design_TL[kept_T], series_TP[kept_T], rcond=ROUNDING)
        series_TP -= design_TL @ weights_LP
        num_confounds = int(rank)
    _check_freedom(int(kept_T.sum()), num_confounds, tr_s, cleaning)
    return series_TP + (mean_P - series_TP[kept_T].mean(axis=0))


def _passed(
    series_TC: Float64[np.ndarray, "T C"], kept_T: Bool[np.ndarray, "T"], tr_s: float, cleaning: Cleaning
) -> Float64[np.ndarray, "T C"]:
    """Series or confounds filled, without their line, and filtered."""
    series_TC = _filled(series_TC, kept_T)
    if not (cleaning.detrend or cleaning.filters):
        return series_TC
    line_TC = _line(series_TC, kept_T)
    series_TC -= line_TC
    if cleaning.filters:
        series_TC = _filtered(series_TC, tr_s, cleaning)
    # A low-pass lets a line through as it is: it was only away while the series was mirrored at its ends.
    return series_TC if cleaning.detrend or cleaning.low_hz else series_TC + line_TC


def _filled(series_TC: Float64[np.ndarray, "T C"], kept_T: Bool[np.ndarray, "T"]) -> Float64[np.ndarray, "T C"]:
    """The series with straight lines across what is not kept; the first and the last volume are."""
    kept = np.flatnonzero(kept_T)
    gone = np.flatnonzero(~kept_T)
    after = np.searchsorted(kept, gone)
    before, after = kept[after - 1], kept[after]
    share = ((gone - before) / (after - before))[:, None]
    filled_TC = series_TC.copy()
    filled_TC[gone] = (1 - share) * series_TC[before] + share * series_TC[after]
    return filled_TC


def _line(series_TC: Float64[np.ndarray, "T C"], kept_T: Bool[np.ndarray, "T"]) -> Float64[np.ndarray, "T C"]:
    """The straight line through each series that fits the kept volumes best."""
    times_T = np.arange(len(series_TC), dtype=np.float64)
    times_T -= times_T[kept_T].mean()
    mean_C = series_TC[kept_T].mean(axis=0)
    slope_C = times_T[kept_T] @ series_TC[kept_T] / (times_T[kept_T] @ times_T[kept_T])
    return mean_C + times_T[:, None] * slope_C


def _filtered(series_TC: Float64[np.ndarray, "T C"], tr_s: float, cleaning: Cleaning) -> Float64[np.ndarray, "T C"]:
    from nilearn.signal import butterworth

    nyquist_hz = 0.5 / tr_s
    edge_hz = max(cleaning.low_hz, cleaning.high_hz)
    if edge_hz >= nyquist_hz:
        raise DataError(
            "the pass band reaches beyond what the scan can hold",
            expected=f"edges below {nyquist_hz:g} Hz, half the sampling rate at a repetition time of {tr_s:g} s",
            found=f"{edge_hz:g} Hz",
            remedy="lower the edge, or leave this scan out",
        )
    filtered: Float64[np.ndarray, "T C"] = butterworth(
        series_TC,
        sampling_rate=1 / tr_s,
        low_pass=cleaning.high_hz or None,
        high_pass=cleaning.low_hz or None,
        padtype="even",
        padlen=len(series_TC) - 1,
        copy=True,
    )
    return filtered


def _unit(
    regressors_TK: Float64[np.ndarray, "T K"], kept_T: Bool[np.ndarray, "T"], *, least: float = 0.0
) -> Float64[np.ndarray, "T L"]:
    """The confounds with mean 0 and length 1 over the kept volumes, without those that have no more than ``least``."""
    regressors_TK = regressors_TK - regressors_TK[kept_T].mean(axis=0)
    length_K = np.linalg.norm(regressors_TK[kept_T], axis=0)
    alive_K = length_K > least
    return regressors_TK[:, alive_K] / length_K[alive_K]


def _check_freedom(num_kept: int, num_confounds: int, tr_s: float, cleaning: Cleaning) -> None:
    """A pass band keeps its share of the degrees of freedom, each confound takes one: what is left must be signal."""
    nyquist_hz = 0.5 / tr_s
    share = ((cleaning.high_hz or nyquist_hz) - cleaning.low_hz) / nyquist_hz
    left = num_kept * share - num_confounds - 1
    if left < 1:
        raise DataError(
            "cleaning leaves nothing of the signal",
            expected="more degrees of freedom than confounds",
            found=f"{num_kept} volumes, {share:.0%} of them in the pass band, {num_confounds} confounds",
            remedy="choose fewer confounds or a wider band, or leave this run out",
        )


def _resampled(bold_TP: Float32[np.ndarray, "T P"], old_tr_s: float, tr_s: float) -> Float32[np.ndarray, "K P"]:
    if (len(bold_TP) - 1) * old_tr_s < tr_s:
        raise DataError(
            f"the run is too short for a repetition time of {tr_s:g} s",
            expected="a result of at least 2 time points",
            found=f"{len(bold_TP)} time points, {old_tr_s:g} s apart",
            remedy="check that both repetition times are in seconds",
        )
    return resampled(Recording(bold_TP, old_tr_s, "any"), tr_s).bold
