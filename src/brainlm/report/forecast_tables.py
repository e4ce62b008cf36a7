"""The tables of a forecast: all horizons at a glance, every method in every metric, R2 by step, and the tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from brainlm.evaluation.statistics import Interval
from brainlm.report.blocks import Cell, Table
from brainlm.report.forecast_curves import at_step
from brainlm.report.forecast_study import GROUPS, PRETRAINED, Forecast, ForecastCohort, ForecastMethod
from brainlm.report.forecast_words import METRICS, cohort_title, interval_note, metric_title, sample, step_text
from brainlm.report.phenotype_words import has_interval, p_number
from brainlm.report.sentences import VERDICT_MARKS, bounds, counted, duration, number, percent

MAX_STEPS = 8


def overview(forecasts: Sequence[Forecast]) -> Table:
    """One row a forecast and cohort: who is ahead, by how much, and under which ceiling."""
    rows = []
    for forecast in forecasts:
        for place, cohort in enumerate(forecast.cohorts):
            main, rival = cohort.method(cohort.main), cohort.method(cohort.best_baseline)
            ahead = f"{counted(forecast.horizon, 'point')} from {forecast.context:,}"
            band = forecast.band_of(cohort)
            rows.append(
                (
                    Cell(ahead, cohort_title(cohort), "method" + " first" * (place == 0)),
                    # First, so that no scrolling is needed to see a loss.
                    _difference_cell(cohort.difference, cohort.p),
                    _compared(main),
                    _compared(rival),
                    Cell(number(cohort.ceiling.r2) if cohort.ceiling is not None else "–", look="number"),
                    Cell("–" if band is None else "yes" if band.is_limited else "no", look="value"),
                    Cell(sample(cohort), look="why"),
                )
            )
    head = (
        "Forecast",
        "Model − best baseline",
        "Model",
        "Best baseline",
        "Linear ceiling",
        "Band-limited",
        "Judged on",
    )
    caption = (
        "R² over all steps of each forecast, never clipped, with its interval over subjects. Best baseline: the method "
        "without pretraining with the highest R², which favours the baseline. The p of the difference: sign-flip "
        "permutation over subjects, not corrected for the number of rows. Linear ceiling: what each parcel's own past "
        "implies."
    )
    return Table(head, tuple(rows), caption, words=True)


def _compared(method: ForecastMethod | None) -> Cell:
    score = method.scores.get("r2") if method is not None else None
    if method is None or score is None or not math.isfinite(score.value):
        return Cell("–", look="number")
    return Cell(number(score.value), f"{_bounds(score)} {method.name}".strip(), "value")


def methods(forecast: Forecast, cohort: ForecastCohort) -> Table:
    """One row a method: R2, its difference to the best baseline, the other metrics, coverage and time."""
    metrics = [name for name in METRICS if any(name in method.scores for method in cohort.methods)]
    others = [name for name in metrics if name != "r2"]
    nominal = next((m.coverage.nominal for m in cohort.methods if m.coverage is not None), None)
    has_times = any(math.isfinite(method.seconds) for method in cohort.methods)
    rows = []
    for place, method in enumerate(cohort.methods):
        is_first = place == 0 or cohort.methods[place - 1].group != method.group
        cells = [_name_cell(method, is_first=is_first), _score_cell(cohort, method, "r2"), _minus_cell(cohort, method)]
        cells += [_score_cell(cohort, method, name) for name in others]
        cells += [_coverage_cell(method)] if nominal is not None else []
        cells += [_time_cell(method)] if has_times else []
        rows.append(tuple(cells))
    head = ["Method", "R²", "− best baseline", *(metric_title(name) for name in others)]
    head += [f"{percent(nominal)} bands hold"] if nominal is not None else []
    head += ["Time"] if has_times else []
    caption = (
        f"Every method over all steps, {cohort_title(cohort)}, n = {sample(cohort)}. {interval_note(forecast, cohort)}"
        f"{', in brackets' * cohort.has_intervals}. R² is not clipped: 0 is what predicting the mean gives. "
        "Underlined: the best baseline, which the third column subtracts, paired; “better” or “worse” only where that "
        "interval excludes 0 and p ≤ .05 (signs of subjects flipped), both without correction for the number of "
        "methods. MSE "
        "and MAE in scaled units, lower is better."
    )
    caption += " Time: to fit and tune, and to forecast a window, on one machine." * has_times
    return Table(tuple(head), tuple(rows), caption)


def _name_cell(method: ForecastMethod, *, is_first: bool) -> Cell:
    look = "method" + " first" * is_first + " model" * (method.group in PRETRAINED)
    return Cell(method.name, GROUPS[method.group] if is_first else "", look)


def _score_cell(cohort: ForecastCohort, method: ForecastMethod, metric: str) -> Cell:
    score = method.scores.get(metric)
    if score is None or not math.isfinite(score.value):
        return Cell("–", look="number")
    is_best = metric == "r2" and method.name == cohort.best_baseline
    look = "number" + " model" * (method.name == cohort.main) + " best" * is_best
    return Cell(number(score.value), _bounds(score), look)


def _bounds(score: Interval, *, sign: bool = False) -> str:
    return bounds(score, sign=sign) if has_interval(score) else ""


def _minus_cell(cohort: ForecastCohort, method: ForecastMethod) -> Cell:
    if method.name == cohort.best_baseline:
        return Cell("best baseline", look="number verdict")
    return _difference_cell(method.minus_best_baseline, method.p)


def _difference_cell(found: Interval | None, p: float) -> Cell:
    if found is None or not math.isfinite(found.value):
        return Cell("–", look="number verdict")
    mark = "no interval" if found.verdict == "unknown" else VERDICT_MARKS[found.verdict]
    small = [_bounds(found, sign=True), f"p {p_number(p)}" if math.isfinite(p) else ""]
    text = f"{number(found.value, sign=True)} {mark}"
    return Cell(text, " ".join(part for part in small if part), f"number verdict {found.verdict}")


def _coverage_cell(method: ForecastMethod) -> Cell:
    known = method.coverage is not None and math.isfinite(method.coverage.overall)
    return Cell(percent(method.coverage.overall) if known and method.coverage is not None else "–", look="number")


def _time_cell(method: ForecastMethod) -> Cell:
    a_window = f"{number(method.window_ms, digits=1)} ms a window" if math.isfinite(method.window_ms) else ""
    return Cell(duration(method.seconds) if math.isfinite(method.seconds) else "–", a_window, "number")


def comparisons(forecast: Forecast, cohort: ForecastCohort) -> Table | None:
    """What fine-tuning and pretraining are worth, as paired differences; None where nothing was compared."""
    rows = tuple(
        (Cell(one.name, look="method"), Cell(one.other, look="value"), _difference_cell(one.difference, one.p))
        for one in cohort.comparisons
    )
    caption = (
        f"What the model, its pretraining and fine-tuning add, {cohort_title(cohort)}: R² over all steps, paired. "
        f"{interval_note(forecast, cohort)}."
    )
    return Table(("Method", "Compared with", "Difference"), rows, caption, words=True) if rows else None


def by_step(forecast: Forecast, cohort: ForecastCohort) -> Table | None:
    """R2 of every method at a few steps, with the ceiling; None without steps."""
    names = [method.name for method in cohort.methods if "r2" in method.by_step]
    if not names:
        return None
    steps = shown_steps(forecast.horizon)
    rows = []
    for name in names:
        found = [at_step(cohort, name, metric="r2", step=step) for step in steps]
        look = "number" + " model" * (name == cohort.main)
        rows.append((Cell(name, look="method"), *(Cell(number(s.value), _bounds(s), look) for s in found)))
    if cohort.ceiling is not None:
        told = [Cell(number(float(cohort.ceiling.r2_H[step - 1])), look="number") for step in steps]
        rows.append((Cell("Linear ceiling", look="method first"), *told))
    head = ("Method", *(step_text(cohort, step) for step in steps))
    caption = f"R² by step ahead, {cohort_title(cohort)}. {interval_note(forecast, cohort)}."
    return Table(head, tuple(rows), caption, folded=True)


def shown_steps(horizon: int) -> list[int]:
    """The first steps, where most changes, then ever wider apart, to the last."""
    if horizon <= MAX_STEPS:
        return list(range(1, horizon + 1))
    spread = np.geomspace(1, horizon, MAX_STEPS).round().astype(int).tolist()
    return [*sorted({1, 2, 3, *spread} - {horizon})[: MAX_STEPS - 1], horizon]


def tuning(forecast: Forecast) -> Table | None:
    """What was chosen for each method, and on what; None where nothing is recorded."""
    found = {method.name: method.tuned for cohort in forecast.cohorts for method in cohort.methods if method.tuned}
    rows = tuple((Cell(name, look="name"), Cell(text, look="why")) for name, text in found.items())
    caption = "How each method was fitted and tuned, on training and validation people only."
    return Table(("Method", "Fitted and tuned"), rows, caption, folded=True, words=True) if rows else None
