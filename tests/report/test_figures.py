"""Charts of examples and scores: the rule that chooses parcels, and numbers that must not break a chart."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from brainlm.report import figures, score_figures, style
from brainlm.report.evaluation_file import Evaluation
from brainlm.report.run_folder import Curve, RunFolder
from brainlm.report.score_sections import marks_of
from brainlm.report.style import MODEL, method_marks


def test_window_r2_is_that_of_each_parcel_over_its_hidden_points(rng: np.random.Generator) -> None:
    signal, predicted = rng.normal(size=(2, 5, 40)).astype(np.float32)
    hidden = rng.random((5, 40)) < 0.6
    signal[1, 3] = np.nan
    found = figures.window_r2(signal, predicted, hidden)
    for parcel in range(5):
        use = hidden[parcel] & np.isfinite(signal[parcel])
        truth, guess = signal[parcel, use].astype(float), predicted[parcel, use]
        expected = 1 - ((truth - guess) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
        assert found[parcel] == pytest.approx(expected, rel=1e-5)


def test_a_parcel_with_few_hidden_points_or_no_variance_has_no_window_r2() -> None:
    signal = np.ones((2, 20), dtype=np.float32)
    signal[1] = np.arange(20)
    hidden = np.zeros((2, 20), dtype=bool)
    hidden[0], hidden[1, :4] = True, True
    assert np.isnan(figures.window_r2(signal, signal, hidden)).all()


def test_examples_are_the_first_window_of_each_condition_at_fixed_percentiles(full_run: Path) -> None:
    examples = RunFolder.read(full_run).examples
    assert examples is not None
    rows = figures.example_rows(examples, [f"P{i}" for i in range(40)], {}, max_rows=9)
    assert [row.condition for row in rows] == ["random 75 %", "future 2 patches", "parcel 50 %"]
    assert rows[0].heading == examples.names[0]
    scores = figures.window_r2(examples.signal[0], examples.predicted[0], examples.hidden[0])
    known = np.flatnonzero(np.isfinite(scores))
    ranked = known[np.argsort(scores[known])]
    expected = [f"P{ranked[round(share * (len(ranked) - 1))]}" for share in (0.9, 0.5, 0.1)]
    assert [panel.title for panel in rows[0].panels] == expected


def test_a_long_curve_is_drawn_as_means_of_neighbours() -> None:
    curve = Curve(np.arange(5000.0), np.ones(5000))
    thin = figures._thinned(curve)
    assert len(thin.steps) <= figures.MAX_CURVE_POINTS
    assert thin.values.min() == thin.values.max() == 1
    assert thin.steps.mean() == pytest.approx(curve.steps.mean(), rel=0.01)


def test_every_method_keeps_its_mark_and_the_model_its_own_colour() -> None:
    own = [
        f"Gaussian ({what}{time})" for what in ("recording", "recording and window") for time in ("", ", space-time")
    ]
    names = ["BrainLM", "Zero", "Last value", "Gaussian (space)", "Gaussian (space-time)", *own, "AR(3)"]
    marks = method_marks(names, "BrainLM")
    assert marks["BrainLM"].colour == MODEL
    assert len({(mark.colour, mark.marker) for mark in marks.values()}) == len(names)


def test_the_key_can_draw_every_mark() -> None:
    page = (Path(style.__file__).parent / "base.html").read_text(encoding="utf-8")
    for _, marker in (*style.NAIVE, *style.FITTED, *style.GROUP_LOOKS.values()):
        assert f'"{marker}": \'<' in page


def test_scores_without_intervals_or_values_are_no_error(full_run: Path) -> None:
    content = json.loads((full_run / "evaluation.json").read_text())
    for condition in content["conditions"]:
        condition["difference"] = {"r2": None, "low": None, "high": None}
        for method in condition["methods"]:
            method |= {"r2_low": None, "r2_high": None}
            if method["name"] == "Zero":
                method["r2"] = None
            if "r2_by_step" in method:
                method["r2_by_step"] = [None, *method["r2_by_step"][1:]]
    evaluation = Evaluation.from_json(content)
    marks = method_marks(evaluation.method_names, "BrainLM")
    assert len(score_figures.mask_panels(evaluation, marks)) == 3
    assert score_figures.difference_panels(evaluation) == ()
    assert len(score_figures.forecast_panels(evaluation, marks, None)) == 3


def test_a_single_condition_is_enough_for_every_chart(full_run: Path) -> None:
    content = json.loads((full_run / "evaluation.json").read_text())
    content["conditions"] = content["conditions"][4:5]
    evaluation = Evaluation.from_json(content)
    marks = method_marks(evaluation.method_names, "BrainLM")
    assert len(score_figures.mask_panels(evaluation, marks)) == 1
    assert len(score_figures.difference_panels(evaluation)) == 1
    assert len(score_figures.forecast_panels(evaluation, marks, 2.0)) == 1


def test_drawing_leaves_no_figure_open_and_no_setting_changed(full_run: Path) -> None:
    before = dict(plt.rcParams)
    run = RunFolder.read(full_run)
    assert run.log is not None
    assert run.evaluation is not None
    figures.training_panels(run.log)
    score_figures.mask_panels(run.evaluation, marks_of(run))
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_the_best_validation_is_the_lowest_loss_and_the_highest_r2(full_run: Path) -> None:
    run = RunFolder.read(full_run)
    assert run.log is not None
    notes = {panel.title: panel.note for panel in figures.training_panels(run.log)}
    loss, r2 = run.log.curve("val_loss").values, run.log.curve("val_r2").values
    assert f"best {loss.min():.3f}" in notes["Loss"]
    assert f"best {r2.max():.3f}" in notes["R² on validation subjects"]
