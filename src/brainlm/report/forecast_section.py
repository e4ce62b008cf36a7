"""The sections about forecasting: one a context and horizon, and before several of them one table over all.

The charts are in ``forecast_curves.py``, ``forecast_forest.py`` and ``forecast_examples.py``, tables in
``forecast_tables.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brainlm.errors import DataError
from brainlm.report import forecast_curves, forecast_examples, forecast_forest, forecast_tables, forecast_words
from brainlm.report.blocks import Block, Picture, Section, Sentence
from brainlm.report.brain_maps import Brain, choose_brain, picture
from brainlm.report.facts import facts_table, with_store
from brainlm.report.forecast_file import FORECASTS
from brainlm.report.forecast_marks import forecast_marks
from brainlm.report.forecast_study import Forecast, ForecastCohort
from brainlm.report.parcel_charts import difference_scale, r2_scale
from brainlm.report.run_folder import RunFolder
from brainlm.report.sentences import counted, number
from brainlm.report.style import Mark

ANCHOR, TITLE = "forecasts", "Forecasts beside other methods"


def sections(run: RunFolder, brain: Brain | None = None) -> tuple[Section, ...]:
    """One section a forecast, after an overview where there are several; without any, how to make one.

    Args:
        run: the folder whose ``forecasts/`` are shown.
        brain: that of the other maps of the page; painted anew where not given.

    Raises:
        DataError: a forecast is about other parcels than the run's.
        AtlasError: the label image is damaged.
    """
    forecasts = run.forecasts
    if not forecasts:
        file, remedy = FORECASTS
        absent = Sentence(f"{file} is not in the run folder: {remedy}.", missing=True)
        return (Section(ANCHOR, TITLE, (absent,)),)
    for forecast in forecasts:
        _require_same_parcels(run, forecast)
    if brain is None:
        brain = choose_brain(run.parcels, run.atlas)
    made: list[Section] = []
    for place, forecast in enumerate(forecasts, start=1):
        has_map = any(isinstance(block, Picture) and block.layout == "brain" for one in made for block in one.blocks)
        section = forecast_section(forecast, run, brain, anchor=f"forecast_{place}", drawn_as_above=has_map)
        made.append(with_store(section, run, forecast.facts))
    if len(forecasts) == 1:
        return tuple(made)
    return (Section(ANCHOR, TITLE, (forecast_tables.overview(forecasts),)), *made)


def _require_same_parcels(run: RunFolder, forecast: Forecast) -> None:
    for cohort in forecast.cohorts:
        for method in cohort.methods:
            if run.parcels is not None and method.r2_P is not None and len(method.r2_P) != len(run.parcels):
                raise DataError(
                    f"forecasts/{forecast.folder}/results.json is about other parcels than the run",
                    expected=f"R² of {counted(len(run.parcels), 'parcel')}, as in parcels.tsv",
                    found=f"{len(method.r2_P):,} of {method.name} in {cohort.name}",
                    remedy="run `brainlm forecast RUN STORE --overwrite` again with this run's own model",
                )


def forecast_section(
    forecast: Forecast, run: RunFolder, brain: Brain | None, *, anchor: str, drawn_as_above: bool = False
) -> Section:
    """The warning about the filter and the conclusion, whom it is about, then figures and tables by cohort."""
    several = len(forecast.bands) > 1
    limited, others = ([b for b in forecast.bands if b.is_limited is wanted] for wanted in (True, False))
    warning = forecast_words.band_text(limited, is_named=several)
    blocks: list[Block] = [Sentence(warning, warning=True)] if warning else []
    blocks.append(Sentence(forecast.conclusion or "The results hold no conclusion.", conclusion=True))
    rest = forecast_words.band_text(others, is_named=several)
    blocks.append(Sentence(f"{forecast_words.about_windows(forecast)} {rest}".strip()))
    marks = forecast_marks(forecast.method_groups)
    judged = [cohort for cohort in forecast.cohorts if cohort.methods]
    if not judged:
        blocks.append(Sentence("The results hold no methods.", missing=True))
    for place, cohort in enumerate(judged):
        blocks += _scores(forecast, cohort, marks, is_one_of_several=len(judged) > 1)
        if place == 0:
            blocks += _examples(cohort, marks)
            blocks += _maps(run, brain, cohort, drawn_as_above=drawn_as_above)
    return Section(anchor, forecast_words.title(forecast), (*blocks, *_background(forecast)))


def _scores(
    forecast: Forecast, cohort: ForecastCohort, marks: Mapping[str, Mark], *, is_one_of_several: bool
) -> list[Block]:
    heading = forecast_words.capitalised(forecast_words.cohort_title(cohort)) * is_one_of_several
    panels, caption = forecast_forest.forest_panels(cohort, marks), _forest_caption(forecast, cohort)
    blocks: list[Block] = [Picture(panels, caption, heading=heading)]
    course = forecast_words.about_course(cohort)
    blocks += [Sentence(course)] if course else []
    blocks += _steps(forecast, cohort, marks)
    blocks += _others(forecast, cohort, marks)
    blocks.append(forecast_tables.methods(forecast, cohort))
    tables = (forecast_tables.comparisons(forecast, cohort), forecast_tables.by_step(forecast, cohort))
    return [*blocks, *(table for table in tables if table is not None)]


def _forest_caption(forecast: Forecast, cohort: ForecastCohort) -> str:
    text = (
        f"Every method in the same windows of {forecast_words.sample(cohort)}, all steps together; the best of each "
        f"kind comes first. {forecast_words.interval_note(forecast, cohort)}."
    )
    if cohort.has_intervals:
        text += " Differences are paired: method and baseline on the same resamples of people."
    return text + " An arrow is a method off the axis."


def _steps(forecast: Forecast, cohort: ForecastCohort, marks: Mapping[str, Mark]) -> list[Block]:
    panels = forecast_curves.r2_panels(forecast, cohort, marks)
    if not panels:
        return []
    caption = (
        f"R² by how far ahead{_scale(forecast)}, pooled over windows and parcels of {forecast_words.sample(cohort)}, "
        "one vertical scale for all panels. In colour: the methods of the panel, and for comparison the main method "
        "and the best baseline; grey: all others."
    )
    if forecast_curves.has_bands(cohort):
        caption += (
            f" Shade: {forecast.confidence_percent} interval, bootstrap over subjects; steps are not independent."
        )
    if cohort.ceiling is not None and cohort.ceiling.assumption:
        caption += f" Linear ceiling: {cohort.ceiling.assumption.rstrip('.')}."
    return [Picture(panels, caption)]


def _scale(forecast: Forecast) -> str:
    return " (logarithmic scale)" if forecast_curves.is_logarithmic(forecast) else ""


def _others(forecast: Forecast, cohort: ForecastCohort, marks: Mapping[str, Mark]) -> list[Block]:
    panels = forecast_curves.other_panels(forecast, cohort, marks)
    caption = (
        f"All methods by how far ahead{_scale(forecast)}, without intervals. Errors are in scaled units; what knowing "
        "nothing costs is the variance of the signal."
    )
    if any(method.coverage is not None for method in cohort.methods):
        caption += (
            " Bands are set by the errors on validation people at each step; below the dotted line they are too narrow "
            "for these people, above it too wide."
        )
    key = tuple(mark for name, mark in marks.items() if cohort.method(name) is not None)
    return [Picture(panels, caption, key=key)] if panels else []


def _examples(cohort: ForecastCohort, marks: Mapping[str, Mark]) -> list[Block]:
    panels = forecast_examples.example_panels(cohort, marks)
    if not panels:
        return [Sentence("The results hold no example trajectories.", missing=True)]
    caption = (
        "Example trajectories, in scaled units, on one vertical scale: the end of the context, then what came and what "
        "was said. A forecast that flattens towards the mean has nothing more to say."
    )
    if forecast_examples.has_bands(cohort):
        nominal = next((method.coverage.nominal for method in cohort.methods if method.coverage is not None), 0.8)
        caption += (
            f" Shade, and for the other method dotted: the band that should hold {100 * nominal:.0f} % of the truth."
        )
    num = len(cohort.examples)
    caption += f" {len(panels)} of {counted(num, 'example')} of the results." if num > len(panels) else ""
    return [Picture(panels, caption, key=forecast_examples.example_key(cohort, marks))]


def _maps(run: RunFolder, brain: Brain | None, cohort: ForecastCohort, *, drawn_as_above: bool) -> list[Block]:
    main, rival = cohort.method(cohort.main), cohort.method(cohort.best_baseline)
    r2_P = main.r2_P if main is not None else None
    if main is None or r2_P is None or not np.isfinite(r2_P).any():
        return []
    num_below, num_known = int((r2_P < 0).sum()), int(np.isfinite(r2_P).sum())
    about = (
        f"R² of {main.name} per parcel over all steps, {forecast_words.sample(cohort)}: median "
        f"{number(float(np.nanmedian(r2_P)))}, {num_below or 'none'} of {counted(num_known, 'parcel')} below 0."
    )
    blocks: list[Block] = [*_no_brain(brain)]
    blocks.append(picture(run.parcels, brain, r2_P, r2_scale(r2_P), about, drawn_as_above=drawn_as_above))
    if rival is None or rival.r2_P is None or not np.isfinite(r2_P - rival.r2_P).any():
        return blocks
    lead_P = r2_P - rival.r2_P
    num_behind, num_both = int((lead_P < 0).sum()), int(np.isfinite(lead_P).sum())
    about = (
        f"The same minus R² of {rival.name}, the best baseline: behind in {num_behind or 'none'} of "
        f"{counted(num_both, 'parcel')} (no intervals at this level)."
    )
    return [*blocks, picture(run.parcels, brain, lead_P, difference_scale(lead_P), about, drawn_as_above=True)]


def _no_brain(brain: Brain | None) -> Sequence[Block]:
    if brain is not None:
        return ()
    text = "There is no map of the brain: nothing in the run folder says where the parcels lie."
    return (Sentence(text, missing=True),)


def _background(forecast: Forecast) -> list[Block]:
    blocks: list[Block] = []
    notes = [note.rstrip(".") + "." for note in (forecast.tuning, *forecast.notes) if note]
    blocks += [Sentence(" ".join(notes))] if notes else []
    table = forecast_tables.tuning(forecast)
    blocks += [table] if table is not None else []
    facts = facts_table(forecast.facts, f"What was run for this forecast, forecasts/{forecast.folder}.")
    return blocks + ([facts] if facts is not None else [])
