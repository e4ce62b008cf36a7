"""Nobody is in two splits, and nobody changes splits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainlm.data.splits import SplitRule, assign_splits
from brainlm.errors import ConfigError, DataError


def people(num_subjects=300, runs=1, **columns):
    subjects = [f"{number:04d}" for number in range(num_subjects) for _ in range(runs)]
    return pd.DataFrame({"subject": subjects, **columns})


def shares(splits):
    return splits.value_counts(normalize=True).to_dict()


def test_all_recordings_of_a_subject_are_in_one_split_however_the_subject_is_spelled():
    table = pd.concat([people(100, runs=2), people(100).assign(subject=lambda t: "sub-" + t["subject"])])
    splits = assign_splits(table.reset_index(drop=True), SplitRule())
    by_subject = splits.groupby(table.reset_index(drop=True)["subject"].str.removeprefix("sub-")).nunique()
    assert (by_subject == 1).all()


def test_the_shares_are_about_those_asked_for():
    found = shares(assign_splits(people(4000), SplitRule(validation=0.1, test=0.2)))
    assert found == {
        "train": pytest.approx(0.7, abs=0.03),
        "test": pytest.approx(0.2, abs=0.03),
        "validation": pytest.approx(0.1, abs=0.03),
    }


def test_the_order_of_the_rows_and_their_index_do_not_matter():
    table = people(200, site=["a", "b"] * 100)
    shuffled = table.sample(frac=1, random_state=0)
    for rule in (SplitRule(), SplitRule(stratify="site"), SplitRule(hold_out={"site": ["a"]})):
        pd.testing.assert_series_equal(assign_splits(table, rule), assign_splits(shuffled, rule).sort_index())


def test_subjects_who_come_later_change_nobody():
    few = assign_splits(people(100), SplitRule())
    many = assign_splits(people(300), SplitRule())
    assert few.tolist() == many.tolist()[:100]


def test_another_seed_gives_another_division():
    first, second = (assign_splits(people(), SplitRule(seed=seed)) for seed in (0, 1))
    assert first.tolist() != second.tolist()


def test_the_division_is_the_same_in_every_version_of_this_program():
    # Changing the hash would move people between splits who have been trained on.
    splits = assign_splits(people(12), SplitRule(validation=0.25, test=0.25))
    assert np.flatnonzero(splits == "test").tolist() == [8]
    assert np.flatnonzero(splits == "validation").tolist() == [0, 1, 4, 5, 6, 7, 9]


def test_members_of_a_group_stay_together_and_who_has_none_is_alone():
    family = [f"f{number // 3}" if number < 150 else None for number in range(300)]
    table = people(300, family=family)
    splits = assign_splits(table, SplitRule(group="family"))
    assert (splits[:150].groupby(table["family"][:150]).nunique() == 1).all()
    assert shares(splits[150:])["train"] == pytest.approx(0.7, abs=0.1)


def test_a_group_given_for_one_of_a_subjects_rows_holds_for_all():
    table = people(50, runs=2, family=["a", None] * 50)
    assert assign_splits(table, SplitRule(group="family")).nunique() == 1


def test_a_subject_in_two_groups_is_refused():
    table = people(2, runs=2, family=["a", "b", "a", "a"])
    with pytest.raises(DataError, match=r"subject 0000 belongs to more than one family(.|\n)*a, b"):
        assign_splits(table, SplitRule(group="family"))


def test_strata_keep_their_proportions():
    rng = np.random.default_rng(0)
    table = people(500, site=rng.choice(["big", "middle", "small"], 500, p=[0.7, 0.25, 0.05]))
    splits = assign_splits(table, SplitRule(stratify="site"))
    for site in ("big", "middle", "small"):
        of_site = splits[table["site"] == site]
        assert (of_site == "test").sum() == pytest.approx(0.2 * len(of_site), abs=1)
        assert (of_site == "validation").sum() == pytest.approx(0.1 * len(of_site), abs=1)


def test_many_small_strata_add_up_to_the_shares_asked_for():
    splits = assign_splits(people(200, site=[f"{number // 2}" for number in range(200)]), SplitRule(stratify="site"))
    assert splits.value_counts().to_dict() == {"train": 140, "test": 40, "validation": 20}


def test_with_strata_existing_splits_stay_and_count_towards_the_quota():
    table = people(300, site=["a", "b", "c"] * 100)
    rule = SplitRule(stratify="site")
    old = assign_splits(table[:100], rule)
    existing = dict(zip(table["subject"], old, strict=False))
    both = assign_splits(table, rule, existing=existing)
    assert both.tolist()[:100] == old.tolist()
    assert (both == "test").sum() == pytest.approx(60, abs=2)


def test_existing_splits_are_kept_whatever_the_rule_says():
    existing = {"sub-0003": "validation", "0004": "test"}
    splits = assign_splits(people(10), SplitRule(validation=0.0, test=0.0), existing=existing)
    assert splits.tolist() == ["train"] * 3 + ["validation", "test"] + ["train"] * 5


def test_a_relative_follows_the_one_who_is_there_already():
    table = people(4, family=["a", "a", "b", "b"])
    splits = assign_splits(table, SplitRule(group="family"), existing={"0000": "test", "0003": "validation"})
    assert splits.tolist() == ["test", "test", "validation", "validation"]


def test_existing_splits_that_divide_a_group_are_refused():
    table = people(2, family=["a", "a"])
    with pytest.raises(DataError, match=r"divide group a(.|\n)*test and train"):
        assign_splits(table, SplitRule(group="family"), existing={"0000": "test", "0001": "train"})


def test_a_site_held_out_is_for_testing_as_a_whole_with_everyone_who_was_ever_there():
    table = people(60, runs=2, site=["NYU", "NYU"] * 40 + ["YALE", "YALE"] * 19 + ["YALE", "NYU"])
    splits = assign_splits(table, SplitRule(test=0.0, hold_out={"site": ["YALE"]}))
    assert set(splits[80:]) == {"test"}
    assert "test" not in set(splits[:80])


def test_several_columns_can_be_held_out_and_numbers_match_their_text():
    table = people(30, site=["a", "b", "c"] * 10, wave=[1.0, 2.0, np.nan, 1.0, 1.0] * 6)
    splits = assign_splits(table, SplitRule(test=0.0, hold_out={"site": ["a"], "wave": ["2"]}))
    assert ((splits == "test") == ((table["site"] == "a") | (table["wave"] == 2))).all()


def test_a_value_to_hold_out_that_nobody_has_is_refused_with_the_nearest():
    with pytest.raises(DataError, match=r"site = YALEE(.|\n)*nearest: YALE"):
        assign_splits(people(2, site=["YALE", "NYU"]), SplitRule(hold_out={"site": ["YALEE"]}))


@pytest.mark.parametrize("rule", [SplitRule(group="x"), SplitRule(stratify="x"), SplitRule(hold_out={"x": ["1"]})])
def test_a_column_that_is_not_there_is_named(rule):
    with pytest.raises(DataError, match="no x; nearest: subject"):
        assign_splits(people(3), rule)


@pytest.mark.parametrize("fractions", [(-0.1, 0.2), (0.5, 0.5), (0.0, 1.0)])
def test_fractions_that_leave_nothing_to_train_on_are_refused(fractions):
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        SplitRule(validation=fractions[0], test=fractions[1])


def test_a_split_that_stays_empty_is_announced(caplog):
    assign_splits(people(3), SplitRule(validation=0.001, test=0.001))
    assert "validation split" in caplog.text
    assert "test split" in caplog.text


def test_a_rule_survives_its_description():
    rule = SplitRule(0.15, 0.25, seed=3, group="family", stratify="site", hold_out={"site": ["NYU", "USM"]})
    assert SplitRule.from_description(rule.describe()) == rule


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", None])), min_size=1, max_size=60),
    st.integers(0, 5),
    st.booleans(),
)
def test_whatever_the_table_a_subject_has_one_split(rows, seed, stratified):
    table = pd.DataFrame({"subject": [str(subject) for subject, _ in rows], "site": [site for _, site in rows]})
    splits = assign_splits(table, SplitRule(seed=seed, stratify="site" if stratified else None))
    assert splits.index.equals(table.index)
    assert set(splits) <= {"train", "validation", "test"}
    assert (splits.groupby(table["subject"]).nunique() == 1).all()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0.8,0.15,0.05", SplitRule(0.15, 0.05)),
        ("[0.5, 0.5, 0]", SplitRule(0.5, 0.0)),
        ('{"train": 0.7, "val": 0.1, "test": 0.2, "seed": 3}', SplitRule(0.1, 0.2, 3)),
        ('{"train": 0.75, "test": 0.25}', SplitRule(0.0, 0.25)),
        ("{validation: 0.3}", SplitRule(0.3)),
        ('{"stratify": "sex", "hold_out": {"site": ["YALE"]}}', SplitRule(stratify="sex", hold_out={"site": ["YALE"]})),
    ],
)
def test_a_rule_is_read_from_shares_or_settings(text, rule):
    assert SplitRule.parse(text) == rule
    assert SplitRule.parse(rule.as_words()) == rule


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80,10,10", "80"),
        ("0.8,0.1", "0.8,0.1"),
        ("0.8,0.1,0.2", "sum to 1.1"),
        ("random", "random"),
        ("{broken", "{broken"),
        ('{"validation": "x"}', "'x' for validation"),
        ('{"train": 0.8}', "sum to 0.8"),
        ('{"fraction": 0.8}', "'fraction'"),
        ('{"hold_out": {"site": "YALE"}}', "hold_out"),
        ('{"seed": 1.5}', "seed"),
    ],
)
def test_a_rule_that_cannot_be_read_is_answered_with_fractions_that_sum_to_1(text, found):
    with pytest.raises(ConfigError) as caught:
        SplitRule.parse(text)
    assert "sum to 1" in caught.value.expected
    assert found in caught.value.found
    assert "--split 0.8,0.1,0.1" in caught.value.remedy
