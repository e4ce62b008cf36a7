"""What is said of results: a loss is called a loss, a tie is no win."""

import copy

import pytest

from brainlm.evaluation.networks.conclusion import conclude


def interval(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def method(name, group, accuracy, *, minus=None, ari=None, null=None):
    return {
        "name": name,
        "group": group,
        "scores": {"accuracy": interval(accuracy, accuracy - 0.05, accuracy + 0.05)},
        "minus_best_baseline": minus,
        "clustering": None if ari is None else {"ari": interval(ari)},
        "null": null,
    }


@pytest.fixture
def results():
    lost = interval(-0.1, -0.15, -0.05)
    null = {"p_accuracy": 0.01, "mean_accuracy": 0.4}
    return {
        "main": "attention profile",
        "best_baseline": "raw series",
        "best_model": "attention rows",
        "difference": lost,
        "pretraining_draws": [interval(0.05, 0.01, 0.09), interval(0.07, 0.03, 0.11), interval(0.06, 0.02, 0.1)],
        "position": "MNI coordinates",
        "position_difference": interval(-0.05, -0.12, 0.02),
        "methods": [
            method("attention profile", "model", 0.6, minus=lost, ari=0.2, null=null),
            method("attention rows", "model", 0.71, minus=interval(0.01, -0.02, 0.04), ari=0.1),
            method("raw series", "signal", 0.7, ari=0.4),
            method("MNI coordinates", "position", 0.65, ari=0.1),
            method("majority", "chance", 0.3),
        ],
    }


def test_a_loss_is_called_one(results):
    said = conclude(results)
    assert said.startswith("From the attention profile, k-NN names the network of 60.0 % of parcels rightly")
    assert "worse than the best baseline, raw series (70.0 %), difference -10.0 points" in said


def test_a_tie_is_no_win_and_what_is_seen_afterwards_is_said_so(results):
    said = conclude(results)
    assert "seen afterwards, are its attention rows (71.0 %): not shown to be better than raw series" in said


def test_a_win_is_called_one(results):
    won = copy.deepcopy(results) | {"difference": interval(0.1, 0.05, 0.15), "best_model": "attention profile"}
    said = conclude(won)
    assert "better than the best baseline" in said
    assert "afterwards" not in said


def test_smoothness_places_pretraining_and_clusters_are_compared(results):
    said = conclude(results)
    assert "This is above what smoothness in space alone gives" in said
    assert "not shown to be better than where parcels lie (MNI coordinates, 65.0 %), difference -5.0 points" in said
    assert "Pretraining counts" in said
    assert "adjusted Rand index of 0.20; the highest is that of raw series, 0.40" in said


def test_nothing_is_said_of_what_was_not_done(results):
    bare = copy.deepcopy(results) | {"pretraining_draws": [], "position": None}
    bare["methods"][0] |= {"null": None, "clustering": None}
    bare["methods"] = [one for one in bare["methods"] if one["group"] != "position"]
    said = conclude(bare)
    for word in ("smoothness", "Pretraining", "lie", "Rand"):
        assert word not in said


def test_random_weights_that_do_as_well_or_better_are_said_to(results):
    draws = results["pretraining_draws"]
    one_as_good = conclude(results | {"pretraining_draws": [*draws[:2], interval(0.01, -0.02, 0.04)]})
    assert "Pretraining is not shown to count" in one_as_good
    assert "closest of 3 draws the difference is +1.0 points" in one_as_good
    better = conclude(results | {"pretraining_draws": [interval(-0.1, -0.2, -0.05), interval(-0.3, -0.4, -0.2)]})
    assert "do even better" in better
    assert "-10.0 points" in better


def test_pretraining_counts_in_several_draws_and_above_smoothness_only(results):
    assert "Pretraining counts" in conclude(results)
    assert "Pretraining is not" in conclude(results | {"pretraining_draws": results["pretraining_draws"][:1]})
    weak = copy.deepcopy(results)
    weak["methods"][0]["null"]["p_accuracy"] = 0.2
    assert "Pretraining is not shown to count" in conclude(weak)
    nothing = results | {"facts": {"model": {"learned_nothing": True}}}
    assert "Nothing can be said of pretraining" in conclude(nothing)
