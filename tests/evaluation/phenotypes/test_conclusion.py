"""The sentences say what the intervals allow, and change when they do."""

import copy
from typing import Any

import pytest

from brainlm.evaluation.phenotypes.conclusion import adjust, conclude

WON = {"value": 0.03, "low": 0.01, "high": 0.05}
LOST = {"value": -0.03, "low": -0.05, "high": -0.01}
LEVEL = {"value": -0.01, "low": -0.03, "high": 0.01}


def results_of(**changes: Any) -> dict[str, Any]:
    score = {"value": 0.7, "low": 0.65, "high": 0.75}
    method = {"name": "BrainLM", "seen": False, "scores": {"auroc": score, "balanced_accuracy": score}}
    return copy.deepcopy(
        {
            "target": {"name": "dx"},
            "settings": {"confidence": 0.95},
            "main_metric": "auroc",
            "chance": {"auroc": 0.5, "balanced_accuracy": 0.5},
            "main": "BrainLM",
            "methods": [method],
            "best_connectivity": "Tangent",
            "best_baseline": "Tangent",
            "untrained": "Random weights",
            "fusion": "Fusion",
            "fusion_over": "Correlation",
            "finetuned": [],
            "difference_to": "Tangent",
            "difference": LEVEL,
            "baseline_difference": LEVEL,
            "fusion_difference": None,
            "random_init_difference": None,
            "permutation": None,
            "site_prediction": None,
        }
        | changes
    )


def permutation(p: float | None) -> dict[str, Any]:
    return {"p": p, "p_adjusted": None, "num_targets": 1}


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (
            LEVEL,
            "No evidence that BrainLM predicts dx better than functional connectivity (Tangent): "
            "difference in AUROC -0.010, 95 % CI [-0.030, 0.010].",
        ),
        (
            WON,
            "BrainLM predicts dx better than functional connectivity (Tangent): "
            "difference in AUROC +0.030, 95 % CI [0.010, 0.050].",
        ),
        (
            LOST,
            "BrainLM predicts dx worse than functional connectivity (Tangent): "
            "difference in AUROC -0.030, 95 % CI [-0.050, -0.010].",
        ),
    ],
)
def test_the_first_sentence_is_the_answer(difference, sentence):
    assert conclude(results_of(difference=difference)).startswith(sentence)


def test_an_interval_that_ends_at_0_is_no_win():
    assert conclude(results_of(difference=WON | {"low": 0.0})).startswith("No evidence")


def test_a_difference_without_an_interval_is_no_win():
    said = conclude(results_of(difference={"value": 0.3, "low": None, "high": None}))
    assert said.startswith("No evidence")
    assert "no interval" in said


def test_small_numbers_keep_the_side_of_0_they_are_on():
    said = conclude(results_of(difference={"value": 0.001, "low": 0.0002, "high": 0.002}))
    assert "[0.0002, 0.002]" in said


def test_a_baseline_stronger_than_connectivity_is_named():
    said = conclude(results_of(best_baseline="Site and motion", baseline_difference=LOST, difference=WON))
    assert "Against the best baseline of all, Site and motion, it is worse: difference in AUROC -0.030" in said


def test_above_chance_needs_interval_and_permutation_test():
    low = {"value": 0.52, "low": 0.46, "high": 0.58}
    below = results_of()
    below["methods"][0]["scores"]["auroc"] = low
    assert "itself is above chance" in conclude(results_of())
    assert "itself is not shown to be above chance" in conclude(below)
    assert "itself is above chance" in conclude(results_of(permutation=permutation(0.005)))
    assert "disagree" in conclude(results_of(permutation=permutation(0.2)))
    assert "disagree" in conclude(below | {"permutation": permutation(0.005)})
    assert "itself is above chance" in conclude(results_of(permutation=permutation(None)))


@pytest.mark.parametrize(
    ("difference", "words"),
    [(WON, "does better than"), (LOST, "does worse than"), (LEVEL, "is not shown to do better")],
)
def test_what_fine_tuning_reached_is_said(difference, words):
    said = conclude(results_of(finetuned=[{"name": "Fine-tuned", "difference": difference}]))
    assert f"Fine-tuned {words}" in said


@pytest.mark.parametrize(
    ("difference", "words"),
    [(WON, "adds to"), (LOST, "makes connectivity alone (Correlation) worse"), (LEVEL, "not shown to add")],
)
def test_whether_the_model_adds_to_connectivity(difference, words):
    said = conclude(results_of(fusion_difference=difference))
    assert f"Stacked with connectivity (Fusion), the model {'is ' if difference is LEVEL else ''}{words}" in said


@pytest.mark.parametrize(
    ("difference", "words"), [(WON, "Pretraining counts"), (LOST, "does even better"), (LEVEL, "not shown to count")]
)
def test_whether_random_weights_do_as_well(difference, words):
    assert words in conclude(results_of(random_init_difference=difference))


def test_nothing_is_said_of_pretraining_that_taught_nothing():
    facts = {"model": {"learned_nothing": True}}
    said = conclude(results_of(random_init_difference=WON, facts=facts))
    assert "Pretraining counts" not in said
    assert "Nothing can be said of pretraining" in said


def test_site_and_target_are_compared_by_the_way_from_chance_to_perfect():
    site = {"balanced_accuracy": {"value": 0.55}, "chance": 0.1, "num_sites": 10}
    said = conclude(results_of(site_prediction=site))
    assert "better than dx, 50 % against 40 % of the way" in said
    alone = results_of(site_prediction=site)
    del alone["methods"][0]["scores"]["balanced_accuracy"]
    assert "of the way" not in conclude(alone)


def test_adjusting_over_targets_fills_p_and_changes_the_conclusion():
    before = [results_of(permutation=permutation(p)) for p in (0.04, 0.5, 0.6)] + [results_of()]
    untouched = copy.deepcopy(before)
    after = adjust(before)
    assert before == untouched
    assert [result["permutation"]["p_adjusted"] for result in after[:3]] == pytest.approx([0.12, 0.6, 0.6])
    assert after[3]["permutation"] is None
    assert "itself is above chance" in conclude(before[0])
    assert "disagree" in after[0]["conclusion"]
    assert "permutation p = 0.04, 0.12 adjusted for 3 targets" in after[0]["conclusion"]


def test_adjusting_one_target_leaves_its_p():
    (only,) = adjust([results_of(permutation=permutation(0.04))])
    assert only["permutation"]["p_adjusted"] == 0.04
    assert "adjusted" not in only["conclusion"]


def test_adjusting_nothing_is_nothing():
    assert adjust([]) == []
    assert adjust([results_of(permutation=permutation(None))])[0]["permutation"]["p_adjusted"] is None
