"""The linear forecasts, fitted: to training recordings, their settings chosen on validation windows.

What they are is in ``baselines/autoregressive.py`` and ``baselines/var.py``; judged recordings never come here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from brainlm.baselines.autoregressive import MAX_ORDER, Autoregressive, AutoregressiveForecaster, Centre
from brainlm.baselines.forecaster import Forecaster
from brainlm.baselines.moments import Moments, moments_of
from brainlm.baselines.var import ComponentForecaster, LaggedComponents
from brainlm.data.context_windows import ContextBatch
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.evaluation.fitting import training_recordings
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows

COMPONENTS = (5, 10, 20, 50, 100)
ORDERS = (1, 2, 3, 5, 10, 20)  # filtered series need long ones
RIDGES = (1e-5, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean variance of the components
MOST_REGRESSORS = 500  # components times order: more are not tried
CENTRES: tuple[Centre, ...] = ("population", "context")
# Settings are few and their optima flat: so many windows of the validation split choose among them.
MAX_VALIDATION_WINDOWS = 256
# Part of the identity of linear forecasts: a change of how they are fitted makes old scores strangers.
LINEAR_PROCEDURE = f"1 {MAX_ORDER} {COMPONENTS} {ORDERS} {RIDGES} {MOST_REGRESSORS} {CENTRES} {MAX_VALIDATION_WINDOWS}"

AnyForecaster = TypeVar("AnyForecaster", bound=Forecaster)

CENTRE_WORDS = {"population": "the training recordings' mean", "context": "the context's mean"}


def linear_forecasters(
    training: Store,
    validation: JudgedWindows,
    scaler: Scaler,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Forecaster]:
    """An autoregressive model of each parcel, and a vector autoregression on principal components.

    Args:
        training: whole recordings that coefficients are fitted to.
        validation: windows that settings are chosen on.
        scaler: the model's.
        on_progress: called with (training recordings read, all of them), in two passes.

    Raises:
        DataError: there are no training recordings.
    """
    begun = time.monotonic()
    moments = moments_of(training_recordings(training, scaler, on_progress), num_lags=MAX_ORDER + 1)
    batches = list(validation.thinned(MAX_VALIDATION_WINDOWS).batches())
    alone = _autoregressive(moments, batches, begun)
    begun = time.monotonic()
    lagged = LaggedComponents.of(
        training_recordings(training, scaler, on_progress),
        moments,
        max_components=min(max(COMPONENTS), len(moments.mean_P)),
        max_order=min(max(ORDERS), validation.windows.context),
    )
    return [alone, _on_components(lagged, alone.model, batches, begun)]


def _autoregressive(moments: Moments, batches: Sequence[ContextBatch], begun: float) -> AutoregressiveForecaster:
    model = Autoregressive.fit(moments)
    best = _best([AutoregressiveForecaster(model, centre) for centre in CENTRES], batches)
    tuned = (
        f"order {model.order} of 0 to {MAX_ORDER} by BIC on the training recordings; returns to "
        f"{CENTRE_WORDS[best.centre]}, chosen on {_num_windows(batches)} validation windows"
    )
    return replace(best, tuned=tuned, seconds=round(time.monotonic() - begun, 2))


@dataclass(frozen=True)
class _Settings:
    num_components: int
    order: int
    ridge: float


def _on_components(
    lagged: LaggedComponents, alone: Autoregressive, batches: Sequence[ContextBatch], begun: float
) -> ComponentForecaster:
    """Components, order and ridge first, then centre and what becomes of the rest."""
    num_axes, num_lags = lagged.axes_PD.shape[1], len(lagged.covariance_KDD)
    settings = [
        _Settings(num_components, order, ridge)
        for num_components in sorted({min(count, num_axes) for count in COMPONENTS})
        for order in ORDERS
        if order < num_lags and order * num_components <= MOST_REGRESSORS
        for ridge in RIDGES
    ]
    candidates = {_forecaster(lagged, alone, one): one for one in settings}
    first = _best(list(candidates), batches)
    variants = [replace(first, centre=centre, rest=rest) for centre in CENTRES for rest in (alone, None)]
    best, chosen = _best(variants, batches), candidates[first]
    rest = "continued by each parcel's AR" if best.rest is not None else "taken to be 0"
    tuned = (
        f"{chosen.num_components} components, order {chosen.order}, ridge {chosen.ridge:g} out of {len(settings)} "
        f"combinations, what lies outside the components {rest}, returns to {CENTRE_WORDS[best.centre]}; all chosen on "
        f"{_num_windows(batches)} validation windows"
    )
    return replace(best, tuned=tuned, seconds=round(time.monotonic() - begun, 2))


def _forecaster(lagged: LaggedComponents, alone: Autoregressive, settings: _Settings) -> ComponentForecaster:
    return ComponentForecaster(
        axes_PD=lagged.axes_PD[:, : settings.num_components].float(),
        coefficients_KDD=lagged.coefficients(settings.num_components, settings.order, settings.ridge).float(),
        rest=alone,
        mean_P=lagged.mean_P.float(),
    )


def squared_error(forecaster: Forecaster, batches: Sequence[ContextBatch]) -> float:
    """The sum of squared errors over all valid future values: by this, settings are chosen."""
    total = 0.0
    for batch in batches:
        horizon = batch.future_BPH.shape[2]
        predicted_BPH = forecaster.predict(batch.context_BPT, batch.context_valid_BPT, horizon)
        total += float(((predicted_BPH - batch.future_BPH).double() * batch.future_valid_BPH).square().sum())
    return total


def _best(candidates: Sequence[AnyForecaster], batches: Sequence[ContextBatch]) -> AnyForecaster:
    return min(candidates, key=lambda candidate: squared_error(candidate, batches))


def _num_windows(batches: Sequence[ContextBatch]) -> int:
    return sum(len(batch.start_B) for batch in batches)
