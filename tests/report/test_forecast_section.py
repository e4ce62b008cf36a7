"""The sections about forecasting: what stands first, what is drawn, and what happens where parts are missing."""

import base64
import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_forecast import (
    AR,
    BEST,
    LAST,
    LATENT_ODE,
    LSTM,
    MAIN,
    METHODS,
    VAR,
    ZERO_SHOT,
    make_bare_forecast,
    make_forecast,
    write_forecast,
)

from brainlm.errors import DataError
from brainlm.report import forecast_section
from brainlm.report.blocks import Picture, Section, Sentence, Table
from brainlm.report.forecast_curves import r2_panels
from brainlm.report.forecast_examples import example_methods
from brainlm.report.forecast_file import read_forecast
from brainlm.report.forecast_forest import forest_panels
from brainlm.report.forecast_marks import families, forecast_marks
from brainlm.report.run_folder import RunFolder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts without lay-out, for tests of the words."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write("<svg></svg>"))


def run_with(folder: Path, *contents: dict[str, Any]) -> RunFolder:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text("model:\n  preset: tiny\n")
    for content in contents:
        write_forecast(folder, content)
    return RunFolder.read(folder)


def small_forecast(**changes: Any) -> dict[str, Any]:
    return make_forecast(horizon=5, is_two=False, num_subjects=6, **changes)


def pictures(section: Section) -> list[Picture]:
    return [block for block in section.blocks if isinstance(block, Picture)]


def titles(section: Section) -> list[str]:
    return [panel.title for picture in pictures(section) for panel in picture.panels]


def svg(uri: str) -> str:
    return base64.b64decode(uri.split(",")[1]).decode()


@pytest.mark.usefixtures("undrawn")
def test_a_filtered_signal_is_warned_of_before_the_conclusion(tmp_path: Path) -> None:
    content = small_forecast(is_filtered=True)
    (section,) = forecast_section.sections(run_with(tmp_path, content))
    first, second = section.blocks[:2]
    assert isinstance(first, Sentence)
    assert isinstance(second, Sentence)
    assert first.warning
    assert "filter" in first.text
    assert second.conclusion
    assert second.text == content["conclusion"]


@pytest.mark.usefixtures("undrawn")
def test_an_unfiltered_signal_is_not_warned_of(tmp_path: Path) -> None:
    (section,) = forecast_section.sections(run_with(tmp_path, small_forecast()))
    first = section.blocks[0]
    assert isinstance(first, Sentence)
    assert first.conclusion
    assert not [block for block in section.blocks if isinstance(block, Sentence) and block.warning]
    assert "No low-pass filter is seen" in str(section.blocks[1])


@pytest.mark.usefixtures("undrawn")
def test_every_figure_is_there(tmp_path: Path) -> None:
    (section,) = forecast_section.sections(run_with(tmp_path, small_forecast()))
    found = titles(section)
    assert {"R² over all steps", "Minus the best baseline", "Subject by subject"} <= set(found)
    assert {"The Transformer", "Linear models and simple rules", "Other neural networks"} <= set(found)
    assert {"Mean squared error (lower is better)", "Correlation of forecast and truth"} <= set(found)
    assert {"Coverage of the 80 % bands", "L_V1"} <= set(found)
    captions = [picture.caption for picture in pictures(section)]
    assert any(caption.startswith(f"R² of {MAIN} per parcel") for caption in captions)
    assert any(f"minus R² of {BEST}" in caption for caption in captions)


@pytest.mark.usefixtures("undrawn")
def test_a_second_cohort_has_its_own_scores_and_table(tmp_path: Path) -> None:
    (section,) = forecast_section.sections(run_with(tmp_path, make_forecast(horizon=5, num_subjects=6)))
    headings = [picture.heading for picture in pictures(section) if picture.heading]
    assert headings == ["Test (abide)", "Second store (pain)"]
    tables = [block for block in section.blocks if isinstance(block, Table) and block.head[0] == "Method"]
    assert sum(table.head[1] == "R²" for table in tables) == 2
    assert titles(section).count("L_V1") == 1


@pytest.mark.usefixtures("undrawn")
def test_several_forecasts_come_after_one_table_over_all(tmp_path: Path) -> None:
    run = run_with(tmp_path, make_forecast(horizon=5, num_subjects=6), make_bare_forecast())
    overview, bare, full = forecast_section.sections(run)
    (table,) = overview.blocks
    assert isinstance(table, Table)
    assert [row[0].small for row in table.rows] == ["test (x)", "test (abide)", "second store (pain)"]
    assert table.rows[0][1].text == "–"
    assert ("3\u00a0points" in bare.title, "5\u00a0points" in full.title) == (True, True)
    assert len({overview.anchor, bare.anchor, full.anchor}) == 3


def test_everything_optional_can_be_absent(tmp_path: Path) -> None:
    (section,) = forecast_section.sections(run_with(tmp_path, make_bare_forecast()))
    assert titles(section) == ["R² over all steps", "The Transformer", "Linear models and simple rules"]
    assert "No intervals" in pictures(section)[0].caption
    assert any(isinstance(block, Sentence) and block.missing for block in section.blocks)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "part", ["ceiling", "examples", "difference", "best_baseline", "p_paired", "comparisons", "main"]
)
def test_any_one_part_of_a_cohort_can_be_null(tmp_path: Path, part: str) -> None:
    content = small_forecast()
    content["cohorts"][0][part] = None
    assert forecast_section.sections(run_with(tmp_path, content))[0].blocks


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "part", ["by_step", "r2_per_parcel", "r2_per_subject", "minus_best_baseline", "coverage", "seconds", "tuned"]
)
def test_any_one_part_of_all_methods_can_be_null(tmp_path: Path, part: str) -> None:
    content = small_forecast()
    for method in content["cohorts"][0]["methods"]:
        method[part] = None
    assert forecast_section.sections(run_with(tmp_path, content))[0].blocks


@pytest.mark.usefixtures("undrawn")
def test_a_cohort_without_methods_is_said_to_have_none(tmp_path: Path) -> None:
    (section,) = forecast_section.sections(run_with(tmp_path, make_bare_forecast(cohorts=[])))
    assert "hold no methods" in str(section.blocks[-1])


def test_a_run_without_forecasts_says_which_command_makes_one(tmp_path: Path) -> None:
    (section,) = forecast_section.sections(run_with(tmp_path))
    (block,) = section.blocks
    assert isinstance(block, Sentence)
    assert block.missing
    assert "`brainlm forecast RUN STORE`" in block.text


@pytest.mark.usefixtures("undrawn")
def test_a_forecast_of_other_parcels_is_refused(full_run: Path) -> None:
    content = small_forecast(num_parcels=7)
    write_forecast(full_run, content)
    with pytest.raises(DataError, match="other parcels") as caught:
        forecast_section.sections(RunFolder.read(full_run))
    assert "40 parcels" in (caught.value.expected or "")
    assert "7" in (caught.value.found or "")


def test_no_panel_holds_more_curves_than_can_be_told_apart() -> None:
    forecast = read_forecast(make_forecast(), "x")
    cohort = forecast.cohorts[0]
    marks = forecast_marks(forecast.method_groups)
    panels = r2_panels(forecast, cohort, marks)
    assert len(panels) == 3
    # Its own methods, the main one, the best baseline and the ceiling.
    assert max(len(panel.key) for panel in panels) <= 7
    assert {mark.label for panel in panels for mark in panel.key} >= {name for name, _, _ in METHODS}
    assert all(any("ceiling" in mark.label for mark in panel.key) for panel in panels)
    assert len({(mark.colour, mark.marker) for mark in marks.values()}) == len(METHODS)


def test_marks_do_not_depend_on_what_the_methods_reached() -> None:
    near, far = (read_forecast(make_forecast(horizon=horizon, seed=horizon), "x") for horizon in (5, 60))
    assert forecast_marks(near.method_groups) == forecast_marks(far.method_groups)


def test_every_method_belongs_to_one_family() -> None:
    cohort = read_forecast(make_forecast(), "x").cohorts[0]
    found = [name for names in families(cohort).values() for name in names]
    assert sorted(found) == sorted(name for name, _, _ in METHODS)


def test_a_method_off_the_axis_is_named_with_where_it_goes() -> None:
    forecast = read_forecast(make_forecast(), "x")
    panel = r2_panels(forecast, forecast.cohorts[0], forecast_marks(forecast.method_groups))[1]
    assert panel.title == "Linear models and simple rules"
    assert panel.note.startswith(f"off the axis: {LAST} (down to −0.")


def test_a_main_method_that_fails_stays_in_sight_or_is_named() -> None:
    content = make_forecast()
    main = next(method for method in content["cohorts"][0]["methods"] if method["name"] == MAIN)
    main["by_step"]["r2"] = [{"value": -5.0, "low": -6.0, "high": -4.0}] * 20
    forecast = read_forecast(content, "x")
    panels = r2_panels(forecast, forecast.cohorts[0], forecast_marks(forecast.method_groups))
    assert all(f"{MAIN} (down to −5.00)" in panel.note for panel in panels)


def test_the_forest_shows_every_method_with_its_numbers() -> None:
    forecast = read_forecast(make_forecast(), "x")
    cohort = forecast.cohorts[0]
    score, difference, people = forest_panels(cohort, forecast_marks(forecast.method_groups))
    assert all(name in score.alt for name, _, _ in METHODS)
    assert "Without pretraining" in svg(score.uri)
    assert "linear ceiling" in score.note
    assert "the best baseline" in svg(difference.uri)
    assert difference.note.startswith(BEST)
    assert svg(people.uri).count("median") == len(METHODS)


def test_the_examples_show_the_main_method_and_its_rival() -> None:
    content = make_forecast()
    assert example_methods(read_forecast(content, "x").cohorts[0]) == (MAIN, VAR)
    content["cohorts"][0]["best_baseline"] = AR  # which the examples do not hold
    assert example_methods(read_forecast(content, "x").cohorts[0]) == (MAIN, VAR)
    content["cohorts"][0]["main"] = LSTM
    assert example_methods(read_forecast(content, "x").cohorts[0]) == (LSTM, MAIN)


@pytest.mark.usefixtures("undrawn")
def test_a_win_and_a_loss_are_called_that_in_the_table(tmp_path: Path) -> None:
    content = small_forecast()
    first, second = (m for m in content["cohorts"][0]["methods"] if m["name"] in (LATENT_ODE, ZERO_SHOT))
    first["minus_best_baseline"] = {"value": 0.03, "low": 0.01, "high": 0.05}
    second["minus_best_baseline"] = {"value": -0.03, "low": -0.05, "high": -0.01}
    (section,) = forecast_section.sections(run_with(tmp_path, content))
    table = next(block for block in section.blocks if isinstance(block, Table))
    rows = {row[0].text: row[2] for row in table.rows}
    assert rows[first["name"]].text == "+0.030 ▲ better"
    assert rows[second["name"]].text == "−0.030 ▼ worse"
    assert rows[BEST].text == "best baseline"


def test_the_same_results_give_the_same_charts(tmp_path: Path) -> None:
    content = small_forecast(methods=(MAIN, BEST))
    del content["cohorts"][0]["examples"][1:]
    run = run_with(tmp_path, content)
    assert forecast_section.sections(run) == forecast_section.sections(run)


@pytest.mark.usefixtures("undrawn")
def test_names_from_the_data_are_escaped(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>$x^"
    content = json.loads(json.dumps(small_forecast()).replace("L_V1", attack))
    (section,) = forecast_section.sections(run_with(tmp_path, content))
    assert attack in titles(section)
    from brainlm.report.page import build_report

    written = build_report(tmp_path).read_text(encoding="utf-8")
    assert attack not in written
    assert html.escape(attack) in written


def test_curves_with_a_log_axis_and_of_one_step_are_drawn() -> None:
    for horizon in (1, 60):
        forecast = read_forecast(make_forecast(horizon=horizon, methods=(MAIN, BEST, LSTM)), "x")
        panels = r2_panels(forecast, forecast.cohorts[0], forecast_marks(forecast.method_groups))
        assert len(panels) == 3
        assert all("NaN" not in svg(panel.uri) and "nan" not in svg(panel.uri).lower() for panel in panels)
    assert np.isfinite(forecast.cohorts[0].ceiling.r2_H).all()  # type: ignore[union-attr]
