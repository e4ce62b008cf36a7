"""A few windows with their context, what came, and what every method said would come: for the eye.

Windows are evenly spaced ones; parcels are those where the main method does well, middling and badly.

Shapes: E example windows, P parcels, H time points of the horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brainlm.data.context_windows import ContextBatch
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows
from brainlm.evaluation.forecasting.scoring import ForecastScores
from brainlm.evaluation.metrics import r2

# Which parcels are shown, one a window: the quantile of the main method's R2 over parcels, and what is said of it.
SHOWN = ((0.9, "well"), (0.5, "middling"), (0.1, "badly"))
MOST_CONTEXT = 60  # time points of the context that are shown
DIGITS = 4


def example_windows(windows: JudgedWindows) -> JudgedWindows:
    """The windows that are shown, evenly spaced."""
    return windows.thinned(len(SHOWN))


def examples(windows: JudgedWindows, methods: Sequence[ForecastScores], main: ForecastScores) -> list[dict[str, Any]]:
    """The entries of ``"examples"``; values in scaled units, times in seconds from the last point of the context.

    Args:
        windows: those that were judged.
        methods: with their forecasts of ``example_windows``.
        main: the one by whose R2 parcels are chosen.
    """
    shown = example_windows(windows)
    store = windows.windows.store
    number, found = 0, []
    for batch in shown.batches():
        for row in range(len(batch.start_B)):
            chosen = _parcel(batch, row, r2(main.by_parcel_PK), quantile=SHOWN[number][0])
            if chosen is not None:
                tr_s = float(store.metadata["tr"].iloc[int(batch.recording_B[row])])
                parcel = str(store.parcels.table["name"].iloc[chosen])
                title = f"where {main.name} does {SHOWN[number][1]}"
                found.append(
                    {"parcel": parcel, "title": title, **_curves(batch, row, chosen, methods, number, tr_s=tr_s)}
                )
            number += 1
    return found


def _parcel(batch: ContextBatch, row: int, r2_P: np.ndarray, *, quantile: float) -> int | None:
    """The parcel at this quantile among those with signal in this window."""
    here_P = batch.future_valid_BPH[row].all(dim=1).cpu().numpy() & np.isfinite(r2_P)
    candidates = np.flatnonzero(here_P)
    if len(candidates) == 0:
        return None
    order = candidates[np.argsort(r2_P[candidates], kind="stable")]
    return int(order[round(quantile * (len(order) - 1))])


def _curves(
    batch: ContextBatch, row: int, parcel: int, methods: Sequence[ForecastScores], number: int, *, tr_s: float
) -> dict[str, Any]:
    context_T = batch.context_BPT[row, parcel].cpu().numpy()[-MOST_CONTEXT:]
    future_H = batch.future_BPH[row, parcel].cpu().numpy()
    steps = np.arange(-len(context_T) + 1, len(future_H) + 1)
    return {
        "time_s": _rounded(steps * tr_s),
        "truth": _rounded(np.concatenate([context_T, future_H])),
        "origin": len(context_T),
        "methods": [
            {
                "name": method.name,
                "values": _rounded(method.examples_EPH[number, parcel]),
                "low": _rounded(method.examples_EPH[number, parcel] + method.band.low_H),
                "high": _rounded(method.examples_EPH[number, parcel] + method.band.high_H),
            }
            for method in methods
        ],
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), DIGITS) for value in values]
