"""What a column is compared as: conditions within people, groups of people, halves of a number; and what is refused."""

import numpy as np
import pandas as pd
import pytest

from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.attention.confounds import confounds
from brainlm.evaluation.attention.contrast import read_contrast


def table(**columns):
    """One row a recording; subjects are numbered unless given."""
    length = len(next(iter(columns.values())))
    rest = {"subject": [f"s{number}" for number in range(length)], "session": "", "tr": 2.0, "site": ""}
    return pd.DataFrame(rest | columns)


def test_people_recorded_at_both_levels_are_compared_with_themselves():
    metadata = table(
        subject=["a", "a", "a", "sub-b", "b", "c", "d"],
        task=["rest", "movie", "rest", "movie", "rest", "rest", "other"],
    )
    contrast = read_contrast(metadata, "task", levels=("rest", "movie"))
    assert contrast.kind == "paired"
    assert [rows.tolist() for rows in contrast.first] == [[0, 2], [4]]
    assert [rows.tolist() for rows in contrast.second] == [[1], [3]]
    assert contrast.num_left_out == 2
    assert contrast.direction == "rest minus movie"
    first, second = contrast.means(np.arange(14.0).reshape(7, 2))
    np.testing.assert_array_equal(first, [[2, 3], [8, 9]])
    np.testing.assert_array_equal(second, [[2, 3], [6, 7]])


def test_groups_of_people_are_compared_and_their_recordings_averaged():
    metadata = table(subject=["a", "a", "b", "c", "d", "e"], dx=["x", "x", "x", "y", "y", None])
    contrast = read_contrast(metadata, "dx")
    assert (contrast.kind, contrast.levels, contrast.num_subjects) == ("two-sample", ("x", "y"), (2, 2))
    assert contrast.num_left_out == 1
    np.testing.assert_array_equal(contrast.means(np.arange(6.0)[:, None])[0], [[0.5], [2]])


def test_few_people_in_both_groups_do_not_make_it_paired():
    metadata = table(subject=["a", "a", "b", "c", "d", "e", "f", "g"], dx=list("xyxxxyyy"))
    contrast = read_contrast(metadata, "dx")
    assert (contrast.kind, contrast.num_subjects, contrast.num_left_out) == ("two-sample", (3, 3), 1)


def test_numbers_are_divided_at_the_median_over_people():
    metadata = table(subject=["a", "a", "b", "c", "d", "e", "f"], score=[1.0, 3.0, 5.0, 4.0, 9.0, 3.0, np.nan])
    contrast = read_contrast(metadata, "score", levels=("low", "high"))
    # Means over people: a 2, b 5, c 4, d 9, e 3; the median is 4.
    assert [rows.tolist() for rows in contrast.first] == [[0, 1], [5]]
    assert [rows.tolist() for rows in contrast.second] == [[2], [4]]
    assert contrast.remark == (
        "low and high are below and above the median over subjects of score (4); 1 exactly at it is left out"
    )


def test_within_sites_only_sites_with_both_groups_are_left():
    metadata = table(dx=list("xxyyxxyy"), site=["n", "n", "n", "n", "s", "w", "w", "e"])
    contrast = read_contrast(metadata, "dx", within="site")
    assert (contrast.num_subjects, contrast.num_left_out) == ((3, 3), 2)
    assert contrast.blocks == ("n", "n", "w", "n", "n", "w")


def test_a_difference_between_sites_is_not_found_within_them(rng):
    site = np.repeat(["n", "s"], 20)
    group = np.where(rng.random(40) < np.where(site == "n", 0.8, 0.2), "x", "y")
    maps = rng.normal(size=(40, 3)) + 3.0 * (site == "n")[:, None]
    metadata = table(dx=group, site=site)
    plain = read_contrast(metadata, "dx").test(maps, num=999, seed=0)
    within = read_contrast(metadata, "dx", within="site").test(maps, num=999, seed=0)
    assert (plain.q_P < 0.05).all()
    assert (within.q_P > 0.05).all()


def test_the_order_of_levels_is_the_sign(rng):
    metadata = table(subject=[f"s{number // 2}" for number in range(20)], task=["rest", "movie"] * 10)
    maps = rng.normal(size=(20, 4))
    one, other = (
        read_contrast(metadata, "task", levels=levels).test(maps, num=500, seed=1)
        for levels in (("rest", "movie"), ("movie", "rest"))
    )
    np.testing.assert_allclose(one.t_P, -other.t_P)
    np.testing.assert_allclose(one.p_P, other.p_P)


@pytest.mark.parametrize(
    ("columns", "settings", "error", "words"),
    [
        ({"dx": ["x"] * 4}, {}, ConfigError, ["one level only", "x (4 subjects)"]),
        ({"dx": list("xyzz")}, {}, ConfigError, ["3 levels", "x (1 subjects)", "z (2 subjects)", "--levels"]),
        ({"dx": list("xyyy")}, {}, DataError, ["a group of 1", "x: 1, y: 3"]),
        ({"dx": list("xxyy")}, {"levels": ("x", "w")}, ConfigError, ["nobody has dx = w", "x (2 subjects)"]),
        ({"dx": list("xxyy")}, {"levels": ("x",)}, ConfigError, ["two levels", "--levels x"]),
        ({"dx": list("xxyy")}, {"levels": ("x", "y", "x")}, ConfigError, ["two levels"]),
        ({"dx": list("xxyy")}, {"levels": ("low", "high")}, ConfigError, ["no numbers", "x, y"]),
        ({"dx": [None] * 4}, {}, ConfigError, ["one level only", "no value at all"]),
        ({"age": [1.0, 2.5, 3.0, 4.0]}, {}, ConfigError, ["4 levels", "--levels low,high"]),
        ({"dx": list("xxyy"), "site": list("nnss")}, {"within": "site"}, DataError, ["a group of 0", "--within"]),
    ],
)  # fmt: skip
def test_what_cannot_be_contrasted_is_refused_with_what_there_is(columns, settings, error, words):
    with pytest.raises(error) as caught:
        read_contrast(table(**columns), next(iter(columns)), **settings)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_column_names_the_nearest():
    with pytest.raises(ConfigError, match="nearest: condition"):
        read_contrast(table(condition=list("xxyy")), "conditon")


def test_within_is_refused_where_people_are_compared_with_themselves():
    metadata = table(subject=["a", "a", "b", "b"], task=["x", "y", "x", "y"])
    with pytest.raises(ConfigError, match="leave --within out"):
        read_contrast(metadata, "task", within="site")


def test_what_else_differs_between_groups_is_said(rng):
    group = np.repeat(["x", "y"], 30)
    metadata = table(
        dx=group,
        site=np.where(group == "x", "north", "south"),
        mean_fd=rng.normal(size=60) + 2.0 * (group == "x"),
        age=rng.normal(size=60),
    )
    found = {one.column: one for one in confounds(read_contrast(metadata, "dx"), metadata, num=499, seed=0)}
    assert found["site"].differs
    assert "no site has people of both groups" in found["site"].sentence
    assert found["mean_fd"].differs
    assert not found["age"].differs
    assert "tr" not in found


def test_motion_that_differs_between_conditions_is_said(rng):
    task = ["rest", "movie"] * 20
    fd = rng.normal(size=40) + np.tile([0.0, 2.0], 20)
    metadata = table(subject=[f"s{number // 2}" for number in range(40)], task=task, mean_fd=fd)
    (found,) = confounds(read_contrast(metadata, "task", levels=("rest", "movie")), metadata, num=499, seed=0)
    assert found.column == "mean_fd"
    assert found.differs
