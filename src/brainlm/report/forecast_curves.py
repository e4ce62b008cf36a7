"""The charts of a forecast by how far ahead: R2 by family of methods, then error, correlation and coverage.

One family a panel in colour, all others in grey behind it: ten curves in colour could not be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from brainlm.evaluation.statistics import Interval
from brainlm.report.forecast_marks import families
from brainlm.report.forecast_study import PRETRAINED, Forecast, ForecastCohort, StepScores
from brainlm.report.forecast_words import step_label
from brainlm.report.sentences import joined, number, percent
from brainlm.report.style import INK, MUTED, Mark, Panel, drawing, svg_uri

CHART_HEIGHT = 270
# A method far off would squeeze the others together: the axis ends here, and the note of the panel says who is beyond.
LOWEST_R2_SHARE = 0.35  # of what lies above 0
OWN_REACH, LOWEST_OWN_R2 = 4.0, 0.5  # how far down the model is followed: times what lies above 0, and at least
MSE_REACH = 0.25  # of the range of the others
MOST_OWN_MSE = 2.0  # how far up the model is followed, times the error of the others
LOGARITHMIC_FROM = 30  # steps: what there is to forecast lies in the first few
LOGARITHMIC_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # steps
OTHERS = "#cfd5db"
CEILING = Mark("linear ceiling (dashed)", INK, "line")
BAND_ALPHA = 0.16
NUM_MARKERS = 6

Limits = tuple[float, float]


def r2_panels(forecast: Forecast, cohort: ForecastCohort, marks: Mapping[str, Mark]) -> tuple[Panel, ...]:
    """R2 by step beside the linear ceiling: a panel a family, all on one scale."""
    curves = {method.name: method.by_step["r2"] for method in cohort.methods if "r2" in method.by_step}
    if not any(np.isfinite(steps.value_H).any() for steps in curves.values()):
        return ()
    limits = _r2_limits(cohort, curves)
    found = {title: [name for name in names if name in curves] for title, names in families(cohort).items()}
    return tuple(
        _family_panel(forecast, cohort, marks, title=title, own=own, limits=limits)
        for title, own in found.items()
        if own
    )


def _family_panel(
    forecast: Forecast,
    cohort: ForecastCohort,
    marks: Mapping[str, Mark],
    *,
    title: str,
    own: Sequence[str],
    limits: Limits,
) -> Panel:
    curves = {method.name: method.by_step["r2"] for method in cohort.methods if "r2" in method.by_step}
    # The question of every panel is how its methods do beside the main one and the best baseline.
    shown = list(dict.fromkeys([*own, *(name for name in (cohort.main, cohort.best_baseline) if name in curves)]))
    ceiling = cohort.ceiling
    with drawing(CHART_HEIGHT) as figure:
        axes = _step_axes(figure.add_subplot(), forecast, cohort, limits)
        axes.set_title("R²", loc="left", color=MUTED)
        ahead_H = steps_ahead(forecast, cohort)
        for name, steps in curves.items():
            if name not in shown:
                axes.plot(ahead_H, steps.value_H, color=OTHERS, linewidth=1, zorder=1)
        if ceiling is not None:
            axes.plot(ahead_H, ceiling.r2_H, color=INK, linewidth=1.2, linestyle=(0, (4, 2)), zorder=2)
        for name in reversed(shown):
            if name in own:
                axes.fill_between(ahead_H, curves[name].low_H, curves[name].high_H, color=marks[name].colour,
                                  alpha=BAND_ALPHA, linewidth=0, zorder=2)  # fmt: skip
            _draw_curve(axes, ahead_H, curves[name].value_H, marks[name], is_main=name == cohort.main)
        uri = svg_uri(figure)
    key = [marks[name] for name in shown] + ([CEILING] if ceiling is not None else [])
    told = "; ".join(f"{name} {_ends(curves[name].value_H)}" for name in own)
    return Panel(
        title=title,
        alt=f"R² by step ahead: {told}.",
        uri=uri,
        note=_beyond({name: curves[name].value_H for name in shown}, limits),
        key=tuple(key),
    )


def steps_ahead(forecast: Forecast, cohort: ForecastCohort) -> Float[np.ndarray, "H"]:
    """The places of the steps on the axis: seconds where the TR is one for all, else time points."""
    return np.arange(1, forecast.horizon + 1) * (cohort.common_tr_s or 1.0)


def _step_axes(axes: Axes, forecast: Forecast, cohort: ForecastCohort, limits: Limits) -> Axes:
    step = cohort.common_tr_s or 1.0
    axes.grid(axis="y")
    if limits[0] < 0 < limits[1]:
        axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_ylim(*limits)
    axes.set_xlabel(step_label(cohort))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    if is_logarithmic(forecast):
        axes.set_xscale("log")
        ticks = [tick * step for tick in LOGARITHMIC_TICKS if tick <= forecast.horizon]
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0.9 * step, 1.1 * forecast.horizon * step)
    else:
        axes.set_xlim(0.6 * step, (forecast.horizon + 0.4) * step)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=cohort.common_tr_s is None))
    return axes


def is_logarithmic(forecast: Forecast) -> bool:
    """Whether the axis of the steps is: that of a long horizon, most of which is flat."""
    return forecast.horizon >= LOGARITHMIC_FROM


def _draw_curve(axes: Axes, x: np.ndarray, y: np.ndarray, mark: Mark, *, is_main: bool, width: float = 1.4) -> None:
    spaced = np.linspace if axes.get_xscale() == "linear" else np.geomspace
    at = np.unique(spaced(1, len(y), NUM_MARKERS).round().astype(int)) - 1
    axes.plot(
        x,
        y,
        color=mark.colour,
        linewidth=2.2 if is_main else width,
        marker=mark.marker,
        markersize=6 if is_main else 5,
        markevery=at.tolist(),
        zorder=4 if is_main else 3,
    )


def _r2_limits(cohort: ForecastCohort, curves: Mapping[str, StepScores]) -> Limits:
    lows = np.concatenate([np.append(steps.value_H, steps.low_H) for steps in curves.values()])
    highs = np.concatenate([np.append(steps.value_H, steps.high_H) for steps in curves.values()])
    ceiling = cohort.ceiling.r2_H if cohort.ceiling is not None else np.zeros(1)
    high = max(float(np.nanmax(np.append(highs, ceiling))), 0.02)
    own = [np.append(curves[name].value_H, curves[name].low_H) for name in _own(cohort) if name in curves]
    # A failure of the model is to be seen, if not such a one that nothing else can be.
    own_low = max(float(np.nanmin(np.concatenate([*own, [0.0]]))), -max(OWN_REACH * high, LOWEST_OWN_R2))
    low = max(min(float(np.nanmin(lows)), 0.0), min(-LOWEST_R2_SHARE * high, own_low))
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _own(cohort: ForecastCohort) -> list[str]:
    """The methods that a chart does not cut off: those of the model."""
    return [method.name for method in cohort.methods if method.group in PRETRAINED]


def _beyond(curves: Mapping[str, np.ndarray], limits: Limits) -> str:
    """Who leaves the axis, and where it ends up, so that nothing bad goes unseen."""
    told = []
    for name, values in curves.items():
        distance = np.maximum(limits[0] - values, values - limits[1])
        if (distance > 0).any():
            worst = values[np.nanargmax(distance)]
            told.append(f"{name} ({'down' if worst < limits[0] else 'up'} to {number(float(worst), digits=2)})")
    return f"off the axis: {joined(told)}" if told else ""


def _ends(values_H: np.ndarray) -> str:
    first, last = (number(float(values_H[place]), digits=2) for place in (0, -1))
    return f"{first} at the first step" + (f", {last} at the last" if len(values_H) > 1 else "")


def other_panels(forecast: Forecast, cohort: ForecastCohort, marks: Mapping[str, Mark]) -> tuple[Panel, ...]:
    """Squared error and correlation by step, and whether the bands hold what they promise, as far as known."""
    found = (
        _error_panel(forecast, cohort, marks),
        _correlation_panel(forecast, cohort, marks),
        _coverage_panel(forecast, cohort, marks),
    )
    return tuple(panel for panel in found if panel is not None)


def _curves_of(cohort: ForecastCohort, metric: str) -> dict[str, np.ndarray]:
    found = {method.name: method.by_step[metric].value_H for method in cohort.methods if metric in method.by_step}
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def _error_panel(forecast: Forecast, cohort: ForecastCohort, marks: Mapping[str, Mark]) -> Panel | None:
    curves = _curves_of(cohort, "mse")
    if not curves:
        return None
    worst = [float(np.nanmax(values)) for values in curves.values()]
    low, high = min(float(np.nanmin(values)) for values in curves.values()), max(worst)
    middle = float(np.median(worst))
    if middle > low:
        own = max([float(np.nanmax(curves[name])) for name in _own(cohort) if name in curves], default=low)
        high = min(high, max(middle + MSE_REACH * (middle - low), min(own, MOST_OWN_MSE * middle)))
    margin = 0.05 * (high - low) or 0.01
    limits = low - margin, high + margin
    title = "Mean squared error (lower is better)"
    return _all_panel(
        forecast, cohort, marks, curves, limits=limits, title=title, y="MSE", note=_beyond(curves, limits)
    )


def _correlation_panel(forecast: Forecast, cohort: ForecastCohort, marks: Mapping[str, Mark]) -> Panel | None:
    curves = _curves_of(cohort, "r")
    if not curves:
        return None
    every = np.concatenate(list(curves.values()))
    limits = min(0.0, float(np.nanmin(every))) - 0.03, min(1.0, float(np.nanmax(every))) + 0.03
    return _all_panel(forecast, cohort, marks, curves, limits=limits, title="Correlation of forecast and truth", y="r")


def _coverage_panel(forecast: Forecast, cohort: ForecastCohort, marks: Mapping[str, Mark]) -> Panel | None:
    found = {method.name: method.coverage for method in cohort.methods if method.coverage is not None}
    if not found:
        return None
    curves = {name: coverage.share_H for name, coverage in found.items()}
    nominal = next(iter(found.values())).nominal
    every = np.concatenate([*curves.values(), [nominal]])
    reach = max(0.1, 1.15 * float(np.nanmax(np.abs(every - nominal))))
    limits = max(-0.02, nominal - reach), min(1.02, nominal + reach)
    main = found.get(cohort.main or "")
    note = f"dotted line: {percent(nominal)}, as promised"
    if main is not None and math.isfinite(main.overall):
        note += f"; {cohort.main}: {percent(main.overall)} over all steps"
    title = f"Coverage of the {percent(nominal)} bands"
    return _all_panel(
        forecast,
        cohort,
        marks,
        curves,
        limits=limits,
        title=title,
        y="share of the truth inside",
        dotted=nominal,
        note=note,
    )


def _all_panel(
    forecast: Forecast,
    cohort: ForecastCohort,
    marks: Mapping[str, Mark],
    curves: Mapping[str, np.ndarray],
    *,
    limits: Limits,
    title: str,
    y: str,
    dotted: float | None = None,
    note: str = "",
) -> Panel:
    """The curves of all methods, without intervals."""
    with drawing(CHART_HEIGHT) as figure:
        axes = _step_axes(figure.add_subplot(), forecast, cohort, limits)
        axes.set_title(y, loc="left", color=MUTED)
        if dotted is not None:
            axes.axhline(dotted, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        for name in reversed([name for name in marks if name in curves]):
            _draw_curve(axes, steps_ahead(forecast, cohort), curves[name], marks[name], is_main=name == cohort.main,
                        width=1.1)  # fmt: skip
        uri = svg_uri(figure)
    told = "; ".join(f"{name} {_ends(values)}" for name, values in curves.items())
    return Panel(title=title, alt=f"{title}: {told}.", uri=uri, note=note)


def has_bands(cohort: ForecastCohort) -> bool:
    """Whether any curve of R2 has an interval to shade."""
    found = [method.by_step["r2"] for method in cohort.methods if "r2" in method.by_step]
    return any(np.isfinite(steps.low_H + steps.high_H).any() for steps in found)


def at_step(cohort: ForecastCohort, name: str, *, metric: str, step: int) -> Interval:
    """The score of a method ``step`` steps ahead (from 1); NaN where there is none."""
    method = cohort.method(name)
    steps = method.by_step.get(metric) if method is not None else None
    if steps is None:
        return Interval(math.nan)
    return Interval(*(float(values[step - 1]) for values in (steps.value_H, steps.low_H, steps.high_H)))
