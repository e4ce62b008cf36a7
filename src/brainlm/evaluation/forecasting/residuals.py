"""How uncertain a forecast is: quantiles of what it missed on validation windows, step by step.

Bands come from people that neither training nor judging has; how many of the judged values they hold is counted in
``scoring.py``.

Shapes: H time points of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from brainlm.baselines.forecaster import Forecaster
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows

QUANTILES = (0.1, 0.9)
NOMINAL = 0.8  # the share of values between them
# Quantiles of a tenth from 256 windows of 100 parcels or more are known to about a hundredth of their size.
MAX_WINDOWS = 256


@dataclass(frozen=True, eq=False)
class ResidualBand:
    """What to add to a forecast for the limits of its band, at each step; scaled units."""

    low_H: Float64[np.ndarray, "H"]
    high_H: Float64[np.ndarray, "H"]


def residual_band(forecaster: Forecaster, validation: JudgedWindows) -> ResidualBand:
    """The band of a method from its residuals on at most ``MAX_WINDOWS`` windows, pooled over parcels."""
    horizon = validation.windows.horizon
    residuals: list[list[np.ndarray]] = [[] for _ in range(horizon)]
    for batch in validation.thinned(MAX_WINDOWS).batches():
        predicted_BPH = forecaster.predict(batch.context_BPT, batch.context_valid_BPT, horizon)
        missed_BPH = (batch.future_BPH - predicted_BPH).cpu().numpy()
        valid_BPH = batch.future_valid_BPH.cpu().numpy()
        for step, of_step in enumerate(residuals):
            of_step.append(missed_BPH[:, :, step][valid_BPH[:, :, step]])
    low_high_H2 = np.array([np.quantile(np.concatenate(of_step), QUANTILES) for of_step in residuals], dtype=np.float64)
    return ResidualBand(low_high_H2[:, 0], low_high_H2[:, 1])
