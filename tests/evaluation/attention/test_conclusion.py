"""Sentences follow the numbers: nothing is called an effect whose interval touches 0 or whose q is not below .05."""

import copy

import pytest

from brainlm.evaluation.attention.conclusion import conclude


def interval(low, high):
    return {"value": (low + high) / 2, "low": low, "high": high}


CONTRAST = {
    "column": "task", "levels": ["rest", "movie"], "kind": "paired", "within": None, "num_subjects": [20, 20],
    "t": [3.0, -4.0, 0.1], "q": [0.01, 0.02, 0.9], "num_significant": 2, "num_significant_fwe": 1, "smallest_q": 0.01,
    "amplitude_r": 0.1, "confounds": [{"column": "mean_fd", "p": 0.2, "sentence": ""}],
}  # fmt: skip
RESULTS = {
    "contrast": CONTRAST,
    "sanity": {
        "middle_90_percent": {"low": 0.98, "high": 1.03},
        "amplitude_r": interval(-0.3, -0.1),
        "attribution_r": interval(-0.1, 0.1),
        "silent_r": interval(0.8, 0.9),
        "consistency": interval(0.5, 0.7),
        "deletion": {
            "embedding": {"most_minus_random": interval(0.01, 0.02), "most_minus_least": interval(0.01, 0.03)},
            "reconstruction": {"most_minus_random": interval(-0.02, -0.01), "most_minus_least": interval(0, 1)},
            "insertion": {"most_minus_random": interval(-0.2, -0.1)},
        },
    },
}


def test_every_number_has_its_sentence():
    text = conclude(RESULTS)
    for words in (
        "Attention differs between rest and movie of task (20 subjects with themselves): in 2 of 3 parcels",
        "1 with more in rest and 1 with more in movie",
        "The map is almost flat: nine parcels in ten get between 0.98 and 1.03 times",
        "changes the model's summary of a window more than hiding random ones (difference of distances 0.01 ",
        "[0.01, 0.02]) or the least attended ones (0.02 [0.01, 0.03])",
        "costs the reconstruction of others less than hiding random ones",
        "restore that summary better than random ones",
        "goes against the signal's amplitude",
        "Gradients are not shown to point to the same parcels",
        "where the model looks whatever it is shown",
        "rank correlation of 0.60 [0.50, 0.70]",
    ):
        assert words in text
    assert "also differ" not in text
    assert "about amplitude" not in text


def test_without_a_contrast_or_checks_nothing_is_said_of_them():
    bare = {"contrast": None, "sanity": RESULTS["sanity"] | {"deletion": None, "attribution_r": None}}
    text = conclude(bare)
    assert "differ" not in text
    assert "Hiding" not in text
    assert "Gradients" not in text


def test_a_contrast_that_looks_like_amplitude_or_a_confound_says_so():
    changed = copy.deepcopy(RESULTS)
    changed["contrast"] |= {"amplitude_r": -0.7, "confounds": [{"column": "site", "p": 0.001, "sentence": ""}]}
    text = conclude(changed)
    assert "differs the other way round (r of the two maps of t -0.70): it may be about amplitude" in text
    assert "The two also differ in site" in text


@pytest.mark.parametrize(("least", "words"), [((-0.1, 0.1), "not shown to do so less"), ((-0.2, -0.1), "more still")])
def test_attention_marks_nothing_where_hiding_the_least_attended_matters_as_much(least, words):
    changed = copy.deepcopy(RESULTS)
    changed["sanity"]["deletion"]["embedding"]["most_minus_least"] = interval(*least)
    text = conclude(changed)
    assert words in text
    assert "being attended is not what makes the difference" in text


@pytest.mark.parametrize("smallest", [0.3, None])
def test_nothing_found_is_said_as_that(smallest):
    changed = copy.deepcopy(RESULTS)
    changed["contrast"] |= {"num_significant": 0, "smallest_q": smallest}
    text = conclude(changed)
    assert "not shown to differ between rest and movie" in text
    assert ("the smallest q is 0.3" in text) == (smallest is not None)
