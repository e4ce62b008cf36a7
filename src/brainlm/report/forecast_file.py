"""Reads results.json of forecasts into the objects of ``forecast_study.py``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.evaluation.statistics import Interval
from brainlm.files import damaged, read_json
from brainlm.report.evaluation_file import number_or_nan, optional_interval
from brainlm.report.forecast_study import (
    GROUPS,
    Band,
    Ceiling,
    Comparison,
    Coverage,
    DrawnForecast,
    Example,
    Forecast,
    ForecastCohort,
    ForecastMethod,
    StepScores,
)
from brainlm.report.reading import natural_key, result_file

FORMAT_VERSION = 1
# Any number of them, one a context and horizon.
FORECASTS = ("forecasts/*/results.json", "`brainlm forecast RUN STORE` writes it")
COUNTS = ("num_subjects", "num_recordings", "num_windows", "num_values")


def read_forecasts(run: Path) -> tuple[Forecast, ...]:
    """Every forecast of a RUN folder, short horizons first.

    Raises:
        DataError: a damaged file, which it names.
    """
    pattern, remedy = FORECASTS
    found = []
    for path in sorted(run.glob(pattern), key=lambda path: natural_key(path.parent.name)):
        about = result_file(path, remedy)
        with damaged(path, **about):
            found.append(read_forecast(read_json(path, **about), path.parent.name))
    return tuple(sorted(found, key=lambda forecast: (forecast.horizon, forecast.context)))


def read_forecast(content: Mapping[str, Any], folder: str) -> Forecast:
    """The forecast in the parsed ``results.json`` of ``folder`` (its name only).

    Raises:
        ValueError: another format version or group than this program knows, or curves of another length than the
            horizon. KeyError: a field is missing.
    """
    if content["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {content['format_version']}, this program reads {FORMAT_VERSION}")
    horizon = int(content["horizon"])
    return Forecast(
        folder=folder,
        context=int(content["context"]),
        horizon=horizon,
        settings=dict(content.get("settings") or {}),
        facts=dict(content.get("facts") or {}),
        tuning=str(content.get("tuning") or ""),
        bands=tuple(_band(entry) for entry in content.get("bands") or ()),
        cohorts=tuple(_cohort({"tr_s": content.get("tr_s"), **entry}, horizon) for entry in content["cohorts"]),
        conclusion=str(content.get("conclusion") or ""),
        notes=tuple(str(note) for note in content.get("notes") or ()),
    )


def _band(entry: Mapping[str, Any]) -> Band:
    low_hz, high_hz, share = (number_or_nan(entry.get(name)) for name in ("low_hz", "high_hz", "share_above"))
    return Band(
        cohort=str(entry["cohort"]),
        is_limited=bool(entry["is_limited"]),
        low_hz=low_hz,
        high_hz=high_hz,
        share_above=share,
        sentence=str(entry.get("sentence") or ""),
    )


def _cohort(entry: Mapping[str, Any], horizon: int) -> ForecastCohort:
    methods = tuple(_method(method, horizon) for method in entry["methods"])
    order = list(GROUPS)
    return ForecastCohort(
        name=str(entry["name"]),
        store=str(entry.get("store") or ""),
        tr_s=tuple(float(tr) for tr in entry.get("tr_s") or () if tr is not None),
        counts={name: int(entry[name]) for name in COUNTS if entry.get(name) is not None},
        ceiling=_ceiling(entry.get("ceiling"), horizon),
        methods=tuple(sorted(methods, key=lambda method: (order.index(method.group), _rank(method)))),
        main=entry.get("main"),
        best_baseline=entry.get("best_baseline"),
        difference=optional_interval(entry.get("difference")),
        p=number_or_nan(entry.get("p_paired")),
        comparisons=tuple(_comparison(comparison) for comparison in entry.get("comparisons") or ()),
        examples=tuple(_example(example) for example in entry.get("examples") or ()),
    )


def _comparison(entry: Mapping[str, Any]) -> Comparison:
    return Comparison(
        str(entry["name"]),
        str(entry["other"]),
        difference=Interval.read(entry["difference"]),
        p=number_or_nan(entry.get("p_paired")),
    )


def _rank(method: ForecastMethod) -> float:
    reached = method.scores.get("r2")
    return -reached.value if reached is not None and math.isfinite(reached.value) else math.inf


def _ceiling(entry: Mapping[str, Any] | None, horizon: int) -> Ceiling | None:
    if not entry or not entry.get("r2_by_step"):
        return None
    return Ceiling(
        r2_H=_steps(entry["r2_by_step"], horizon, "the ceiling"),
        r2=number_or_nan(entry.get("r2")),
        assumption=str(entry.get("assumption") or ""),
    )


def _method(entry: Mapping[str, Any], horizon: int) -> ForecastMethod:
    name = str(entry["name"])
    if entry["group"] not in GROUPS:
        raise ValueError(f"method {name!r} of group {entry['group']!r}, known are {', '.join(GROUPS)}")
    per_parcel = entry.get("r2_per_parcel")
    subjects = _numbers(entry.get("r2_per_subject") or ())
    return ForecastMethod(
        name=name,
        group=str(entry["group"]),
        tuned=str(entry.get("tuned") or ""),
        seconds=number_or_nan(entry.get("seconds")),
        window_ms=number_or_nan(entry.get("window_ms")),
        scores={str(metric): Interval.read(score) for metric, score in entry["scores"].items() if score is not None},
        by_step={str(m): _by_step(rows, horizon, name) for m, rows in (entry.get("by_step") or {}).items() if rows},
        r2_P=_numbers(per_parcel) if per_parcel else None,
        r2_subject_N=np.sort(subjects[np.isfinite(subjects)]),
        minus_best_baseline=optional_interval(entry.get("minus_best_baseline")),
        p=number_or_nan(entry.get("p_paired")),
        coverage=_coverage(entry.get("coverage"), horizon, name),
    )


def _by_step(rows: Sequence[Mapping[str, Any] | None], horizon: int, name: str) -> StepScores:
    found = [Interval(math.nan) if row is None else Interval.read(row) for row in rows]
    value_H, low_H, high_H = (
        _steps([getattr(score, part) for score in found], horizon, name) for part in ("value", "low", "high")
    )
    return StepScores(value_H=value_H, low_H=low_H, high_H=high_H)


def _coverage(entry: Mapping[str, Any] | None, horizon: int, name: str) -> Coverage | None:
    if not entry or not entry.get("by_step"):
        return None
    return Coverage(
        nominal=float(entry["nominal"]),
        share_H=_steps(entry["by_step"], horizon, name),
        overall=number_or_nan(entry.get("overall")),
    )


def _steps(values: Sequence[float | None], horizon: int, what: str) -> Float[np.ndarray, "H"]:
    if len(values) != horizon:
        raise ValueError(f"{what} has numbers of {len(values)} steps, the horizon is {horizon}")
    return _numbers(values)


def _example(entry: Mapping[str, Any]) -> Example:
    time_s_T, truth_T = _numbers(entry["time_s"]), _numbers(entry["truth"])
    origin = int(entry["origin"])
    forecasts = tuple(_drawn(method) for method in entry["methods"])
    num_ahead = len(time_s_T) - origin
    if len(truth_T) != len(time_s_T) or any(len(forecast.values_H) != num_ahead for forecast in forecasts):
        lengths = ", ".join(str(len(forecast.values_H)) for forecast in forecasts)
        raise ValueError(
            f"an example of {len(time_s_T)} times, {len(truth_T)} values and forecasts of {lengths} steps from {origin}"
        )
    return Example(
        parcel=str(entry["parcel"]),
        title=str(entry.get("title") or ""),
        time_s_T=time_s_T,
        truth_T=truth_T,
        origin=origin,
        forecasts=forecasts,
    )


def _drawn(entry: Mapping[str, Any]) -> DrawnForecast:
    values_H = _numbers(entry["values"])
    unknown = [None] * len(values_H)
    low_H, high_H = (_numbers(entry.get(name) or unknown) for name in ("low", "high"))
    if not len(values_H) == len(low_H) == len(high_H):
        raise ValueError(f"{entry['name']!r} has {len(values_H)} values and a band of {len(low_H)} and {len(high_H)}")
    return DrawnForecast(str(entry["name"]), values_H, low_H=low_H, high_H=high_H)


def _numbers(values: Sequence[float | int | None]) -> Float[np.ndarray, "N"]:
    return np.array([number_or_nan(value) for value in values], dtype=np.float64)
