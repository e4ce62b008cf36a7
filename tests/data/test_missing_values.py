"""What is missing is said, what looks like it is asked about, and the rest stays a value."""

import pandas as pd
import pytest

from brainlm.data.missing_values import MissingRule, is_dates, question, questionable, typed

AGES = [18.0, 21.5, 30.0, 33.0, 41.0, 42.0, 64.0]


@pytest.mark.parametrize(
    ("others", "code"),
    [
        (AGES, -9999.0),
        (AGES, -999.0),
        (AGES, 9999.0),
        (AGES, 999.0),
        (AGES, 888.0),
        (AGES, -1.0),
        ([1.0, 2.0], -9999.0),
        ([1.0, 2.0], -9.0),
        ([1.0, 2.0], -1.0),
        ([0.0, 1.0, 2.0, 3.0], 99.0),
        ([0.1, 0.2, 0.25], -1.0),
        ([-2.5, 0.0, 1.0], -999.0),
    ],
)
def test_a_known_code_far_from_the_rest_is_asked_about(others, code):
    assert questionable([*others, code, None]) == {f"{code:g}": 1}


@pytest.mark.parametrize(
    "values",
    [
        AGES,
        [20.0, 50.0, 77.0, 88.0, 99.0],
        [-1.0, 0.0, 1.0],
        [-1.0, 1.0],
        [-3.0, -1.0, 0.5, 2.0],
        [0.0, 1.0],
        [500.0, 700.0, 888.0, 999.0, 1300.0],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0],
        ["R", "L", "Ambi"],
        ["a", "1", "2"],
    ],
)
def test_values_among_others_are_not(values):
    assert questionable(values) == {}


def test_a_repeated_number_far_from_the_rest_and_words_among_numbers_are_asked_about():
    assert questionable([*AGES, 4444.0, 4444.0]) == {"4444": 2}
    assert questionable(["R", "L", "R", "-9999"]) == {"-9999": 1}
    assert questionable([*(str(age) for age in AGES), "unknown"]) == {"unknown": 1}
    assert questionable([*AGES, -9999.0, -888.0, -9999.0]) == {"-9999": 2, "-888": 1}


def test_a_code_in_many_columns_is_one_sentence():
    (sentence,) = question({"age": {"-9999": 3}, "iq": {"-9999": 8}})
    assert "age (3), iq (8)" in sentence
    assert "--missing -9999" in sentence


def test_a_rule_names_codes_for_all_columns_or_one_and_equal_numbers_are_equal():
    rule = MissingRule.parse(["-9999,n/a", "age:-1"])
    age, iq = pd.Series(["-1", "-9999.0", "7", "n/a"], name="age"), pd.Series([-1.0, -9999.0, 7.0, None], name="iq")
    assert rule.missing_in(age).tolist() == [True, True, False, True]
    assert rule.missing_in(iq).tolist() == [False, True, False, True]
    assert rule.asks
    assert not MissingRule.parse(["none"]).asks


def test_numbers_are_read_with_decimal_commas_but_thousands_stay_words():
    assert typed(pd.Series(["1,5", "2", "", "-0,25"])) == [1.5, 2.0, None, -0.25]
    assert typed(pd.Series(["1,500", "2,250"])) == ["1,500", "2,250"]
    assert typed(pd.Series(["1.5", "NULL", "."])) == [1.5, None, None]
    assert typed(pd.Series(["1", "x"])) == ["1", "x"]
    assert typed(pd.Series(["1", "inf"])) == ["1", "inf"]


@pytest.mark.parametrize(
    "words",
    [
        ["2011-03-02", "2011-12-31"],
        ["31/12/2011", "1/2/12"],
        ["2011-03-02 10:30", "2011-03-02T11:30:01"],
        ["02-Mar-2011"],
    ],
)
def test_dates_are_recognised(words):
    assert is_dates(words)
    assert not is_dates([*words, "soon"])
    assert not is_dates([])
