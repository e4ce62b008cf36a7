"""Scores with intervals, paired comparisons, examples and what is concluded from them."""

import json

import numpy as np
import pytest

from brainlm.evaluation.forecasting.band import BandLimit
from brainlm.evaluation.forecasting.ceiling import Ceiling
from brainlm.evaluation.forecasting.conclusion import conclude
from brainlm.evaluation.forecasting.examples import SHOWN
from brainlm.evaluation.forecasting.judging import JudgedCohort, table_rows
from brainlm.evaluation.forecasting.running import study_results
from brainlm.evaluation.metrics import Term, r2, r2_difference
from brainlm.evaluation.reconstruction import BootstrapSettings
from brainlm.evaluation.statistics import SubjectBootstrap, sign_flip_p

QUICK = BootstrapSettings(num_bootstrap=100)


@pytest.fixture(scope="module")
def cohort(judged, scored, make_guess):
    """A model that is good, a fine-tuned one that is better, three baselines."""
    methods = [
        make_guess("BrainLM, zero-shot", "model", factor=0.1),
        make_guess("BrainLM, fine-tuned", "finetuned", factor=0.5),
        make_guess("Scratch", "scratch", factor=0.2),
        make_guess("Poor", "linear", factor=-0.5),
        make_guess("Nothing", "simple", factor=0.0),
    ]
    ceiling = Ceiling(np.linspace(0.6, 0.05, 10), 0.3, "assumed")
    scores = tuple(scored(method) for method in methods)
    return JudgedCohort("test", judged(), scores, ceiling, BandLimit(False, None, None, 0.3))


def results_of(*cohorts, **settings):
    return study_results(cohorts, bootstrap=QUICK, settings={}, facts={}, tuning="none", **settings)


@pytest.fixture(scope="module")
def results(cohort):
    return results_of(cohort)


def test_the_results_are_plain_json_without_names_of_people(results, cohort):
    text = json.dumps(results, allow_nan=False)
    assert json.loads(text) == results
    for subject in cohort.windows.windows.store.metadata["subject"]:
        assert f'"{subject}"' not in text


def test_the_main_method_is_the_fine_tuned_one_and_the_best_baseline_has_the_highest_r2(results):
    (entry,) = results["cohorts"]
    assert (entry["main"], entry["best_baseline"]) == ("BrainLM, fine-tuned", "Scratch")
    by_name = {method["name"]: method for method in entry["methods"]}
    main, best = by_name["BrainLM, fine-tuned"], by_name["Scratch"]
    expected = main["scores"]["r2"]["value"] - best["scores"]["r2"]["value"]
    assert entry["difference"]["value"] == pytest.approx(expected)
    assert main["minus_best_baseline"] == entry["difference"]
    assert best["minus_best_baseline"] is None
    assert best["p_paired"] is None


def test_every_method_has_every_field(results, cohort):
    for method in results["cohorts"][0]["methods"]:
        assert set(method["scores"]) == {"r2", "mse", "mae", "r"}
        assert set(method["by_step"]) == {"r2", "mse", "r"}
        assert all(len(rows) == 10 for rows in method["by_step"].values())
        assert len(method["r2_per_parcel"]) == 10
        assert method["r2_per_subject"] == sorted(method["r2_per_subject"])
        assert len(method["r2_per_subject"]) == results["cohorts"][0]["num_subjects"]
        assert method["coverage"]["nominal"] == 0.8
        interval = method["scores"]["r2"]
        assert interval["low"] <= interval["value"] <= interval["high"]
    first = cohort.scores[0]
    assert results["cohorts"][0]["num_values"] == int(first.by_subject[:, Term.COUNT].sum())


def test_differences_have_the_interval_of_the_bootstrap_and_the_p_of_flipped_signs(cohort):
    one, other = cohort.scores[1].by_subject, cohort.scores[2].by_subject
    bootstrap = SubjectBootstrap.draw(len(one), num_bootstrap=200, seed=3)
    found, plain = r2_difference(one, other, bootstrap, seed=0), bootstrap.difference(one, other, r2)
    assert (found.low, found.high) == (plain.low, plain.high)
    variation = one[:, Term.YY].sum() - one[:, Term.Y].sum() ** 2 / one[:, Term.COUNT].sum()
    gain = (other - one)[:, Term.SQUARED_ERROR]
    assert found.value == pytest.approx(gain.sum() / variation)
    assert found.p == sign_flip_p(gain, seed=0)


def test_flipped_signs_of_few_people_give_the_exact_p():
    gain = np.array([3.0, 2.0, 1.0, 0.5])
    signs = np.array([[1 - 2 * ((n >> k) & 1) for k in range(4)] for n in range(16)])
    exact = (np.abs(signs @ gain) >= gain.sum() - 1e-9).mean()
    assert sign_flip_p(gain, seed=0) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p(-gain, seed=0) == sign_flip_p(gain, seed=0)
    assert sign_flip_p(gain[:1], seed=0) is None


def test_the_p_of_nothing_is_uniform():
    draws = np.random.default_rng(0).standard_normal((200, 20))
    p_values = np.array([sign_flip_p(gain, num_flips=200, seed=seed) for seed, gain in enumerate(draws)])
    assert 0.02 <= (p_values <= 0.05).mean() <= 0.09  # 200 of nominal rate .05: .05 +- 2.6 standard errors
    assert 0.4 < p_values.mean() < 0.6


def test_examples_show_truth_forecasts_and_bands(results, cohort):
    found = results["cohorts"][0]["examples"]
    assert len(found) == len(SHOWN)
    for number, one in enumerate(found):
        assert one["origin"] == 40
        assert len(one["time_s"]) == len(one["truth"]) == 50
        assert one["time_s"][39] == 0.0
        assert one["time_s"][40] == 2.0
        names = list(cohort.windows.windows.store.parcels.table["name"])
        parcel = names.index(one["parcel"])
        (batch,) = cohort.windows.thinned(3).batches()
        np.testing.assert_allclose(one["truth"][40:], batch.future_BPH[number, parcel], atol=1e-3)
        for method, scores in zip(one["methods"], cohort.scores, strict=True):
            np.testing.assert_allclose(method["values"], scores.examples_EPH[number, parcel], atol=1e-3)
            np.testing.assert_allclose(np.subtract(method["high"], method["values"]), 1.0, atol=1e-3)


def test_the_conclusion_says_who_wins_and_how_far_one_sees(results):
    text = results["conclusion"]
    assert text.startswith("BrainLM, fine-tuned forecasts better than the best baseline (Scratch): R² ")
    assert "is above 0 " in text
    assert (
        "A linear model of each parcel's own past could reach about 0.300 over all steps and 0.600 at the first" in text
    )
    assert "BrainLM, fine-tuned does better than BrainLM, zero-shot" in text
    assert "filtered" not in text


def test_a_loss_and_no_difference_are_called_so(results):
    entry = results["cohorts"][0]
    lost = {**entry, "difference": {"value": -0.1, "low": -0.2, "high": -0.05}}
    assert "forecasts worse than" in conclude({**results, "cohorts": [lost]})
    level = {**entry, "difference": {"value": 0.1, "low": -0.2, "high": 0.3}}
    assert conclude({**results, "cohorts": [level]}).startswith("No evidence that")
    alone = {**entry, "difference": {"value": 0.1, "low": None, "high": None}}
    assert "with one person" in conclude({**results, "cohorts": [alone]})


def test_a_filter_is_in_the_conclusion_and_of_several_cohorts_each_is_named(cohort):
    import dataclasses

    other = dataclasses.replace(cohort, name="elsewhere", band=BandLimit(True, 0.01, 0.1, 0.001), tr_remark="Remark.")
    found = results_of(cohort, other)
    assert [band["is_limited"] for band in found["bands"]] == [False, True]
    assert "On elsewhere (" in found["conclusion"]
    assert "The recordings of elsewhere look low-pass filtered" in found["conclusion"]
    assert "Remark." in found["notes"]
    rows = table_rows(found)
    assert [(row["cohort"], row["method"]) for row in rows][::5] == [
        ("test", "BrainLM, zero-shot"),
        ("elsewhere", "BrainLM, zero-shot"),
    ]
    assert {"r2", "r2_low", "r2_high", "mse", "r", "minus_best_baseline_low", "p_paired", "coverage"} <= set(rows[0])


def test_one_person_has_scores_without_intervals(planted, planted_scaler, make_guess, scored, cohort):
    import dataclasses

    from brainlm.data.context_windows import ContextWindows
    from brainlm.evaluation.forecasting.judged_windows import JudgedWindows

    alone = planted.select(split="test").take([0])
    windows = JudgedWindows.of(ContextWindows(alone, planted_scaler, context=40, horizon=10))
    methods = [make_guess("BrainLM", "model", factor=0.3), make_guess("Nothing", "simple")]
    scores = tuple(scored(method, windows=windows) for method in methods)
    found = results_of(dataclasses.replace(cohort, windows=windows, scores=scores))
    entry = found["cohorts"][0]
    assert entry["num_subjects"] == 1
    assert entry["methods"][0]["scores"]["r2"]["low"] is None
    assert entry["p_paired"] is None
    assert any("no intervals" in note for note in found["notes"])
