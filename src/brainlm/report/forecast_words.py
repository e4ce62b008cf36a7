"""The words around a forecast: how far ahead, whom it is about, what the ceiling and the filter mean.

The conclusion itself comes with the numbers, from ``brainlm.evaluation.forecasting``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from brainlm.report.forecast_study import Band, Forecast, ForecastCohort
from brainlm.report.sentences import counted, joined, number, percent

METRICS: Mapping[str, str] = {"r2": "R²", "mse": "MSE", "mae": "MAE", "r": "r"}
NO_BREAK = "\u00a0"  # keeps a number and its unit on one line
NEGLIGIBLE_R2 = 0.02  # below it a forecast is as good as none


def metric_title(metric: str) -> str:
    """``R²``; a metric this page does not know keeps its name."""
    return METRICS.get(metric, metric.replace("_", " "))


def title(forecast: Forecast) -> str:
    """``Forecasting 20 points (40 s) from 80``."""
    return f"Forecasting {_span(forecast, forecast.horizon)} from {forecast.context:,}"


def _span(forecast: Forecast, num_points: int) -> str:
    tr_s = forecast.common_tr_s
    text = f"{num_points:,}{NO_BREAK}point{'s' if num_points != 1 else ''}"
    return text if tr_s is None else f"{text} ({_seconds(num_points * tr_s)})"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g}{NO_BREAK}s" if seconds < 100 else f"{seconds:.0f}{NO_BREAK}s"


def step_text(cohort: ForecastCohort, step: int) -> str:
    """``step 3 (6 s)``; without the seconds where the TR is not one for all."""
    tr_s = cohort.common_tr_s
    return f"step{NO_BREAK}{step}" + ("" if tr_s is None else f" ({_seconds(step * tr_s)})")


def step_label(cohort: ForecastCohort) -> str:
    """The axis of all charts by step."""
    return "seconds ahead" if cohort.common_tr_s is not None else "time points ahead (TR not known or mixed)"


def sample(cohort: ForecastCohort) -> str:
    """``49 subjects (49 recordings, 98 windows)``."""
    nouns = ("subject", "recording", "window")
    found = [counted(cohort.counts[f"num_{noun}s"], noun) for noun in nouns if f"num_{noun}s" in cohort.counts]
    if not found:
        return "the judged subjects"
    return found[0] + (f" ({', '.join(found[1:])})" if found[1:] else "")


def cohort_title(cohort: ForecastCohort) -> str:
    """``test (abide)``: the cohort and the store it comes from."""
    return cohort.name if cohort.store in ("", cohort.name) else f"{cohort.name} ({cohort.store})"


def capitalised(text: str) -> str:
    """The text with a capital first letter and all others as they are."""
    return text[:1].upper() + text[1:]


def about_windows(forecast: Forecast) -> str:
    """What every method is given and asked."""
    judged = joined([f"{cohort_title(cohort)}, {sample(cohort)}" for cohort in forecast.cohorts])
    text = (
        f"Every method sees {_span(forecast, forecast.context)} and says the next "
        f"{_span(forecast, forecast.horizon)}, in the same windows; nothing of the future is used, not even to scale "
        f"the signal. Judged on: {judged}."
    )
    pretraining = str(forecast.facts.get("pretraining") or "").strip().rstrip(".")
    return text + (f" Pretraining: {pretraining}." if pretraining else "")


def interval_note(forecast: Forecast, cohort: ForecastCohort) -> str:
    """What every interval on the figures of a cohort is, or that there are none."""
    if not cohort.has_intervals:
        return "No intervals: they are over subjects, and there are too few to resample"
    resamples = forecast.settings.get("num_bootstrap")
    count = f", {int(resamples):,} resamples" if resamples else ""
    return f"{forecast.confidence_percent} intervals: bootstrap over subjects{count}"


def band_text(bands: Sequence[Band], *, is_named: bool) -> str:
    """What was seen of filters, and what that means for the scores; empty without bands.

    Args:
        bands: of the cohorts to speak of.
        is_named: there are other cohorts beside these.
    """
    told = [(f"{capitalised(band.cohort)}: " if is_named else "") + _band_sentence(band) for band in bands]
    return " ".join(told)


def _band_sentence(band: Band) -> str:
    if band.sentence:
        return band.sentence
    if not band.is_limited:
        return "The signal is not band-limited."
    share = f" ({percent(band.share_above)} of the power is left above)" if math.isfinite(band.share_above) else ""
    limit = f" at {band.high_hz:.2g} Hz" if math.isfinite(band.high_hz) else ""
    return (
        f"The signal was low-passed{limit}{share}. A filter spreads each value over its neighbours in time, the future "
        "included: part of any forecast is the filter's doing, and not the brain's."
    )


def about_course(cohort: ForecastCohort) -> str:
    """How the main method's R2 falls with the steps, which method is highest where, and the ceiling beside it."""
    sentences = [_falls(cohort), _highest(cohort), _about_ceiling(cohort)]
    return " ".join(sentence for sentence in sentences if sentence)


def _falls(cohort: ForecastCohort) -> str:
    main = cohort.method(cohort.main)
    steps = main.by_step.get("r2") if main is not None else None
    if main is None or steps is None or not np.isfinite(steps.value_H).any():
        return ""
    known = np.flatnonzero(np.isfinite(steps.value_H))
    first, last = int(known[0]), int(known[-1])
    text = f"R² of {main.name} is {number(float(steps.value_H[first]))} at {step_text(cohort, first + 1)}"
    if first == last:
        return text + "."
    text += f" and {number(float(steps.value_H[last]))} at {step_text(cohort, last + 1)}"
    left = _never_above(steps.value_H[: last + 1])
    if left == 1:
        return f"{text}; it is below {NEGLIGIBLE_R2:g} throughout."
    return text + (f"; from {step_text(cohort, left)} on it stays below {NEGLIGIBLE_R2:g}." if left else ".")


def _never_above(values_H: np.ndarray) -> int | None:
    """The step from which on nothing is above the negligible; None where the last one is."""
    above = np.flatnonzero(values_H >= NEGLIGIBLE_R2)
    step = int(above[-1]) + 2 if len(above) else 1
    return step if step <= len(values_H) else None


def _highest(cohort: ForecastCohort) -> str:
    """Which method has the highest R2 at how many steps: numbers without a test, and said so."""
    methods = [method for method in cohort.methods if "r2" in method.by_step]
    if len(methods) < 2:
        return ""
    values_MH = np.array([method.by_step["r2"].value_H for method in methods])
    values_MH = values_MH[:, np.isfinite(values_MH).all(axis=0)]
    num_steps = values_MH.shape[1]
    if num_steps < 2:
        return ""
    wins = np.bincount(values_MH.argmax(axis=0), minlength=len(methods))
    ranked = sorted(zip(wins, methods, strict=True), key=lambda entry: -entry[0])
    told = [f"{method.name} at {num}" for num, method in ranked if num]
    return f"The highest R² of all methods at each of {num_steps} steps: {joined(told)} (not tested)."


def _about_ceiling(cohort: ForecastCohort) -> str:
    ceiling = cohort.ceiling
    if ceiling is None or not np.isfinite(ceiling.r2_H).any():
        return ""
    text = f"The linear ceiling, what each parcel's own past implies, is {number(float(ceiling.r2_H[0]))} at "
    text += step_text(cohort, 1)
    left = _never_above(ceiling.r2_H)
    if left == 1:
        text += f" and stays below {NEGLIGIBLE_R2:g} throughout: there is next to nothing to forecast"
    elif left is not None:
        text += f" and below {NEGLIGIBLE_R2:g} from {step_text(cohort, left)} on: beyond, next to nothing is left"
        text += " to forecast linearly"
    elif len(ceiling.r2_H) > 1:
        text += f" and {number(float(ceiling.r2_H[-1]))} at {step_text(cohort, len(ceiling.r2_H))}"
    above = [
        method.name
        for method in cohort.methods
        if (score := method.scores.get("r2")) is not None and score.low > ceiling.r2
    ]
    if not above:
        return text + "."
    text += f". Over all steps {joined(above)} {'is' if len(above) == 1 else 'are'} clearly above it"
    return text + ", which takes other parcels, adapting to the person, or more than a linear model."


def tally(forecasts: Sequence[Forecast]) -> str:
    """Where the model forecasts better than the best baseline, worse, or neither; empty where nothing was compared."""
    words = {"better": "better for {}", "worse": "worse for {}", "level": "not clearly different for {}"}
    compared = [(forecast, cohort) for forecast in forecasts for cohort in forecast.cohorts]
    pieces = []
    for verdict, text in words.items():
        names = [_named(forecast, cohort) for forecast, cohort in compared if cohort.verdict == verdict]
        pieces += [text.format(joined(names))] if names else []
    if not pieces:
        return ""
    is_limited = any(band.is_limited for forecast in forecasts for band in forecast.bands)
    caution = " Some of these signals were band-limited, which makes forecasting look easy." * is_limited
    return f"Forecasting, model against the best baseline in the same windows: {', '.join(pieces)}.{caution}"


def _named(forecast: Forecast, cohort: ForecastCohort) -> str:
    ahead = f"{counted(forecast.horizon, 'point')} from {forecast.context:,}"
    return ahead if len(forecast.cohorts) == 1 else f"{ahead} ({cohort.name})"
