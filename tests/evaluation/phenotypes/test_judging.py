"""From simulated methods to results.json: comparisons, sites, intervals, nulls, and nothing but numbers in it."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from brainlm.evaluation.phenotypes.contest import Contest
from brainlm.evaluation.phenotypes.folds import Fold, FoldRule
from brainlm.evaluation.phenotypes.judging import judge, score_sites
from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.score_table import score_table, write_table
from brainlm.evaluation.phenotypes.scores import Scoring, fold_codes
from brainlm.evaluation.statistics import SubjectBootstrap

NUM, REPEATS, NUM_FOLDS = 150, 2, 5
RULE = FoldRule("k-fold", num_folds=NUM_FOLDS, repeats=REPEATS)


@dataclass
class Study:
    """A cohort with its folds, and methods that know the label as well as they are told to."""

    cohort: Any
    folds: tuple[Fold, ...]
    rng: np.random.Generator

    def method(self, name: str, group: str, signal: float, *, noise=None, seen: bool = False) -> Predictions:
        target = self.cohort.target
        noise = self.rng.standard_normal(NUM) if noise is None else noise
        if target.kind == "regression":
            spread = target.values_N - target.values_N.mean()
            values_N = target.values_N.mean() + signal * spread + noise
            return Predictions(name, group, "", 1.0, "", seen, np.tile(values_N[:, None], (REPEATS, 1, 1)))
        odds_N = signal * (target.values_N - 0.5) + noise
        return Predictions(name, group, "", 1.0, "", seen, np.tile(1 / (1 + np.exp(-odds_N[:, None])), (REPEATS, 1, 1)))

    def judge(self, methods, **settings) -> dict[str, Any]:
        settings = {"main": "BrainLM", "num_bootstrap": 200} | settings
        return judge(self.cohort, RULE, self.folds, methods, **settings)


@pytest.fixture(params=["binary", "regression"])
def study(request, make_cohort, rng) -> Study:
    binary = request.param == "binary"
    values = rng.permutation(NUM) % 2 if binary else 40 + 3 * rng.standard_normal(NUM)
    cohort = make_cohort(
        values=values,
        kind=request.param,
        classes=("control", "patient") if binary else (),
        subject=[f"person{number:03d}" for number in range(NUM)],
        site=rng.choice(["A", "B", ""], NUM),
        level="subject",
    )
    folds = []
    for repeat in range(REPEATS):
        codes_N = rng.permutation(NUM) % NUM_FOLDS
        folds += [
            Fold(str(k), repeat, np.flatnonzero(codes_N != k), np.flatnonzero(codes_N == k)) for k in range(NUM_FOLDS)
        ]
    return Study(cohort, tuple(folds), rng)


@pytest.fixture
def methods(study) -> list[Predictions]:
    return [
        study.method("BrainLM", "model", 0.8),
        study.method("Correlation", "connectivity", 0.8),
        study.method("Partial correlation", "connectivity", 0.0),
        study.method("Random weights", "random-init", 0.2),
        study.method("Fusion", "fusion", 0.9),
        study.method("Site and motion", "nuisance", 0.1),
    ]


def test_results_are_json_without_names_of_people(study, methods):
    results = study.judge(methods, null=study.rng.normal(0, 0.01, 20), facts={"run": "x", "share": np.float64("nan")})
    text = json.dumps(results, allow_nan=False)
    assert "person" not in text.replace('"subject"', "")
    assert json.loads(text) == results
    assert results["facts"] == {"run": "x", "share": None}
    assert results["target"]["num_subjects"] == NUM
    assert sum(results["folds"]["sizes"]) == REPEATS * NUM


def test_the_same_seed_gives_the_same_results(study, methods):
    assert study.judge(methods) == study.judge(methods)


def test_the_best_are_chosen_by_the_main_metric(study, methods):
    results = study.judge(methods)
    assert results["main_metric"] == ("auroc" if study.cohort.target.kind == "binary" else "r2")
    assert results["best_connectivity"] == results["best_baseline"] == "Correlation"
    assert results["untrained"] == "Random weights"
    assert results["fusion"] == "Fusion"


def test_the_fusion_is_compared_with_what_it_contains_and_the_model_with_its_own_beginnings(study):
    names = {
        "Correlation": "connectivity",
        "Tangent": "connectivity",
        "Random a": "random-init",
        "Random b": "random-init",
    }
    strengths = dict(zip(names, (0.3, 0.9, 0.1, 0.5), strict=True))
    rows = [study.method(name, group, strengths[name]) for name, group in names.items()]
    rows += [study.method("BrainLM", "model", 0.4), study.method("Fusion", "fusion", 0.5)]
    results = study.judge(rows, fusion_over="Correlation", untrained="Random a")
    value = {row["name"]: row["scores"][results["main_metric"]]["value"] for row in results["methods"]}
    assert results["best_connectivity"] == "Tangent"
    assert results["fusion_difference"]["value"] == pytest.approx(value["Fusion"] - value["Correlation"])
    assert results["random_init_difference"]["value"] == pytest.approx(value["BrainLM"] - value["Random a"])
    assert "connectivity alone (Correlation)" in results["conclusion"]


def test_differences_are_of_the_values_and_narrower_when_methods_err_alike(study):
    noise = study.rng.standard_normal(NUM)
    base = study.method("Correlation", "connectivity", 0.8, noise=noise)
    alike = study.judge([study.method("BrainLM", "model", 0.9, noise=noise), base])
    apart = study.judge([study.method("BrainLM", "model", 0.9), base])
    for results in (alike, apart):
        main, other = (method["scores"][results["main_metric"]]["value"] for method in results["methods"])
        assert results["difference"]["value"] == pytest.approx(main - other)
        assert results["methods"][0]["minus_best_baseline"] == results["difference"]
        assert results["methods"][1]["minus_best_baseline"] is None
    width = [results["difference"]["high"] - results["difference"]["low"] for results in (alike, apart)]
    assert width[0] < 0.5 * width[1]


def test_a_planted_signal_is_found_and_a_shuffled_one_is_not(study):
    base = study.method("Correlation", "connectivity", 0.0)
    for signal, found in ((1.2, True), (0.0, False)):
        results = study.judge([study.method("BrainLM", "model", signal), base])
        assert (results["difference"]["low"] > 0) == found
        assert results["conclusion"].startswith("BrainLM predicts label better than") == found


def test_without_connectivity_the_model_is_compared_with_the_best_baseline(study, methods):
    results = study.judge([method for method in methods if method.group != "connectivity"])
    assert results["best_connectivity"] is None
    assert results["difference_to"] == results["best_baseline"]
    assert results["fusion_difference"] is None


def test_a_model_alone_is_compared_with_nothing(study, methods):
    results = study.judge(methods[:1])
    assert results["difference"] is None
    assert "compared with no baseline" in results["conclusion"]


def test_sites_are_judged_one_by_one_and_those_without_one_together(study, methods):
    results = study.judge(methods)
    for method in results["methods"]:
        assert [row["site"] for row in method["by_site"]] == ["A", "B", "unknown"]
        assert sum(row["num"] for row in method["by_site"]) == NUM
    assert all(row["low"] < row["high"] for row in results["methods"][0]["by_site"])


def test_a_site_of_so_few_that_resampling_changes_nothing_has_no_interval(study):
    target, codes_N = study.cohort.target, np.full(NUM, "large", dtype=object)
    in_fold = study.folds[0].test_M[np.argsort(target.values_N[study.folds[0].test_M])]
    codes_N[in_fold[[0, -1]]] = "small"
    study.cohort.table["site"] = codes_N.astype(str)
    perfect = study.method("BrainLM", "model", 1.0, noise=np.zeros(NUM))
    large, small = study.judge([perfect, study.method("FC", "connectivity", 0.5)])["methods"][0]["by_site"]
    assert (small["num"], small["value"], small["low"], small["high"]) == (2, 1.0, None, None)
    assert large["num"] == NUM - 2


def test_one_site_alone_is_not_listed(study, methods):
    assert study.judge(methods, by="no such column")["methods"][0]["by_site"] == []


def test_the_null_belongs_to_the_statistic_observed_by_its_own_procedure(study, methods):
    null = np.linspace(-0.1, 0.1, 99)
    test = study.judge(methods, null=null, observed=0.0, blocks="within site")["permutation"]
    assert test["p"] == pytest.approx(0.51)
    assert (test["num"], test["observed"], test["blocks"]) == (99, 0.0, "within site")
    assert study.judge(methods)["permutation"] is None


def test_people_seen_in_pretraining_are_noted(study, methods):
    seen = study.method("BrainLM", "model", 0.8, seen=True)
    results = study.judge([seen, *methods[1:]])
    assert results["methods"][0]["seen"]
    assert any("seen in pretraining by: BrainLM" in note for note in results["notes"])
    assert "no test on unseen people" in results["conclusion"]


def test_figures_are_of_the_methods_that_are_compared(study, methods):
    results = study.judge(methods)
    shown = results["curves"] or results["predicted"]
    assert list(shown) == ["BrainLM", "Correlation", "Fusion", "Random weights"]
    if study.cohort.target.kind == "regression":
        assert len(shown["BrainLM"]["true"]) == len(shown["BrainLM"]["site"]) == NUM


def test_two_methods_of_one_name_are_our_mistake(study, methods):
    with pytest.raises(AssertionError, match="same name"):
        study.judge([*methods, methods[1]])


def test_the_table_has_a_row_a_method_and_limits_for_each_score(study, methods, tmp_path):
    results = study.judge(methods)
    table = score_table(results)
    assert table["method"].tolist() == [method.method for method in methods]
    name = results["main_metric"]
    for column in (name, f"{name}_low", f"{name}_high", f"{name}_minus_best_baseline_low"):
        assert column in table
    write_table(results, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[0].startswith(f"method,group,{name},{name}_low")


def test_who_reads_the_site_is_scored_against_its_chance(make_cohort):
    sites = np.arange(90) % 3
    cohort = make_cohort(
        values=sites,
        kind="multiclass",
        classes=("A", "B", "C"),
        subject=[f"s{number:02d}" for number in range(90)],
        level="subject",
    )
    codes_N = np.arange(90) // 3 % 3
    folds = [Fold(str(k), 0, np.flatnonzero(codes_N != k), np.flatnonzero(codes_N == k)) for k in range(3)]
    values_RNK = np.full((1, 90, 3), 0.1)
    values_RNK[0, np.arange(90), sites] = 0.8
    knows = Predictions("BrainLM", "model", "", 0.0, "", False, values_RNK)
    found = score_sites(cohort, folds, knows, num_bootstrap=50)
    assert found["balanced_accuracy"]["value"] == 1.0
    assert (found["chance"], found["num_sites"]) == (pytest.approx(1 / 3), 3)


@pytest.mark.slow
def test_the_interval_of_a_difference_holds_0_about_as_often_as_it_says_when_methods_are_equally_good(rng):
    codes_N = np.arange(100) % 5
    folds = tuple(Fold(str(k), 0, np.flatnonzero(codes_N != k), np.flatnonzero(codes_N == k)) for k in range(5))
    bootstrap = SubjectBootstrap.draw(100, num_bootstrap=400, seed=0)
    false_alarms = 0
    for _ in range(200):
        truth_N, shared_N = (rng.random(100) < 0.5).astype(float), rng.standard_normal(100)
        scoring = Scoring(
            "binary", truth_N, fold_codes(folds, 100), np.full((1, 100, 2), 0.5), np.ones(100), np.arange(100)
        )
        odds = [truth_N + shared_N + rng.standard_normal(100) for _ in range(2)]
        methods = [
            Predictions(name, "model", "", 0.0, "", False, (1 / (1 + np.exp(-one)))[None, :, None])
            for name, one in zip("ab", odds, strict=True)
        ]
        interval = Contest(scoring, methods, bootstrap).difference("a", "b")
        false_alarms += not interval.low <= 0 <= interval.high
    assert 0.015 < false_alarms / 200 < 0.09
