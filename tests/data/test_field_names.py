"""One name leads to another that means the same."""

import pytest

from brainlm.data.field_names import columns_of, field_of, nearest


@pytest.mark.parametrize(
    ("name", "field"),
    [("AGE_AT_SCAN", "age"), ("Age", "age"), ("SEX", "sex"), ("Gender", "sex"), ("SITE_ID", "site"),
     ("func_mean_fd", "mean_fd"), ("DX_GROUP", "dx"), ("diagnosis", "dx"), ("agency", ""), ("stage", "")],
)  # fmt: skip
def test_columns_have_a_meaning_under_the_names_that_people_use(name, field):
    assert field_of(name) == field


def test_the_exact_name_comes_first():
    assert columns_of("age", ["AGE_AT_SCAN", "iq", "Age"]) == ["Age", "AGE_AT_SCAN"]


def test_what_means_the_same_comes_before_what_is_spelled_alike():
    assert nearest("age", ["agee", "AGE_AT_SCAN", "iq"]).split(", ")[0] == "AGE_AT_SCAN"
    assert nearest("AGE_AT_SCAN", ["iq", "age"]).split(", ")[0] == "age"
    assert nearest("subjct", ["site", "subject"]).split(", ")[0] == "subject"
    assert nearest("nothing like it", []) == "none at all"
