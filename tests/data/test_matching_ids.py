"""Ids of tables and of recordings are one person under a stated rule, and only where it is one to one."""

import pytest

from brainlm.data.matching_ids import match_ids


@pytest.mark.parametrize(
    ("recorded", "listed", "removed"),
    [
        (["sub-0050232"], ["0050232"], ()),
        (["sub-0050232"], ["sub-0050232"], ()),
        (["sub-0050232"], ["50232"], ("'sub-'", "leading zeros")),
        (["sub-50232"], ["0050232"], ("'sub-'", "leading zeros")),
        (["sub-50232"], ["50232.0"], ("'sub-'", "'.0'")),
        (["sub-0050232"], ["50232.0"], ("'sub-'", "'.0'", "leading zeros")),
        (["sub-NDARINVA1B2"], ["NDAR_INVA1B2"], ("'sub-'", "punctuation")),
        (["sub-a01"], ["A01"], ("'sub-'", "capitals")),
        (["sub-01"], ["Subject 1"], ("'sub-'", "punctuation", "leading zeros")),
    ],
)
def test_spellings_of_one_person_are_matched_and_what_was_removed_is_said(recorded, listed, removed):
    match = match_ids(recorded, [*listed, "other", ""])
    assert match.ids == {recorded[0]: tuple(listed)}
    assert match.removed == removed


def test_a_looser_rule_is_not_used_where_two_people_would_become_one():
    assert match_ids(["sub-007"], ["7", "07"]).ids == {}
    assert match_ids(["sub-7", "sub-07"], ["7"]).ids == {"sub-7": ("7",)}
    assert match_ids(["sub-a1", "sub-A1"], ["a1", "A1"]).ids == {"sub-a1": ("a1",), "sub-A1": ("A1",)}
    assert match_ids(["sub-1"], ["sub-1", "1"]).ids == {"sub-1": ("1", "sub-1")}


def test_the_first_rule_that_matches_most_is_taken():
    match = match_ids(["sub-01", "sub-02", "sub-03"], ["01", "02", "3"])
    assert len(match.ids) == 3
    assert match.how == "after removing 'sub-' and leading zeros"
    assert match_ids(["sub-01", "sub-02"], ["01", "2x"]).how == ""


def test_sessions_are_matched_by_the_same_rules():
    match = match_ids(["1", "baselineYear1Arm1"], ["ses-01", "baseline_year_1_arm_1"], prefix="ses")
    assert match.ids == {"1": ("ses-01",), "baselineYear1Arm1": ("baseline_year_1_arm_1",)}
