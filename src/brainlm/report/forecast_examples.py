"""Example trajectories: the end of the context, what came, and what the main method and its rival said, with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from brainlm.report.forecast_study import DrawnForecast, Example, ForecastCohort
from brainlm.report.sentences import joined
from brainlm.report.style import INK, MUTED, Mark, Panel, drawing, svg_uri

EXAMPLE_HEIGHT = 200
MAX_EXAMPLES = 6
MAX_METHODS = 2  # more bands than these hide one another
BAND_ALPHA = 0.3
FUTURE = "#e9edf1"  # light enough for bands in the colours of the methods


def example_methods(cohort: ForecastCohort) -> tuple[str, ...]:
    """The methods that are drawn: the main one and the best baseline, else the first that the examples hold."""
    held = list(dict.fromkeys(drawn.name for example in cohort.examples for drawn in example.forecasts))
    first = [name for name in (cohort.main, cohort.best_baseline) if name is not None and name in held]
    return tuple(list(dict.fromkeys([*first, *held]))[:MAX_METHODS])


def example_panels(cohort: ForecastCohort, marks: Mapping[str, Mark]) -> tuple[Panel, ...]:
    """One panel an example, all on one vertical scale."""
    names = example_methods(cohort)
    examples = cohort.examples[:MAX_EXAMPLES]
    if not examples:
        return ()
    limits = _limits(examples, names)
    return tuple(_panel(cohort, example, names, marks, limits=limits) for example in examples)


def example_key(cohort: ForecastCohort, marks: Mapping[str, Mark]) -> tuple[Mark, ...]:
    """What is drawn in the panels."""
    own = [Mark(name, _mark(marks, name).colour, "line") for name in example_methods(cohort)]
    return (Mark("signal", INK, "line"), Mark("the future, not shown to the methods", FUTURE, "band"), *own)


def has_bands(cohort: ForecastCohort) -> bool:
    """Whether any method drawn gave a band."""
    names = example_methods(cohort)
    drawn = [entry for example in cohort.examples for entry in example.forecasts if entry.name in names]
    return any(np.isfinite(entry.low_H + entry.high_H).any() for entry in drawn)


def _mark(marks: Mapping[str, Mark], name: str) -> Mark:
    return marks.get(name, Mark(name, MUTED, "line"))


def _limits(examples: Sequence[Example], names: Sequence[str]) -> tuple[float, float]:
    drawn = [entry for example in examples for entry in example.forecasts if entry.name in names]
    values = [values for entry in drawn for values in (entry.values_H, entry.low_H, entry.high_H)]
    every = np.concatenate([*(example.truth_T for example in examples), *values])
    finite = every[np.isfinite(every)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (-1.0, 1.0)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _panel(
    cohort: ForecastCohort,
    example: Example,
    names: Sequence[str],
    marks: Mapping[str, Mark],
    *,
    limits: tuple[float, float],
) -> Panel:
    time = example.time_s_T
    step = float(time[1] - time[0]) if len(time) > 1 else 1.0
    start = float(time[example.origin]) if example.origin < len(time) else float(time[-1]) + step
    forecasts = {drawn.name: drawn for drawn in example.forecasts}
    with drawing(EXAMPLE_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.axvspan(start - 0.5 * step, float(time[-1]) + 0.5 * step, color=FUTURE, linewidth=0)
        axes.plot(time, example.truth_T, color=INK, linewidth=1)
        # The main method is drawn last, over the other.
        for name in reversed([name for name in names if name in forecasts]):
            drawn, colour = forecasts[name], _mark(marks, name).colour
            ahead = time[example.origin :]
            if name == names[0]:
                axes.fill_between(ahead, drawn.low_H, drawn.high_H, color=colour, alpha=BAND_ALPHA, linewidth=0)
            else:  # two shades would hide one another
                for edge in (drawn.low_H, drawn.high_H):
                    axes.plot(ahead, edge, color=colour, linewidth=0.9, linestyle=(0, (2, 2)))
            axes.plot(ahead, drawn.values_H, color=colour, linewidth=1.9 if name == names[0] else 1.3)
        axes.set_xlim(float(time[0]) - 0.5 * step, float(time[-1]) + 0.5 * step)
        axes.set_ylim(*limits)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("time (s)" if cohort.tr_s else "time point (TR not known)")
        uri = svg_uri(figure)
    told = joined([f"{name} {_error(example, forecasts[name])}" for name in names if name in forecasts])
    return Panel(
        title=example.parcel,
        alt=f"Signal of {example.parcel} and its forecasts, mean squared error: {told}.",
        uri=uri,
        note=example.title,
    )


def _error(example: Example, drawn: DrawnForecast) -> str:
    error = (example.truth_T[example.origin :] - drawn.values_H) ** 2
    return f"{float(np.nanmean(error)):.2f}" if np.isfinite(error).any() else "not known"
