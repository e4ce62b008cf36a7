"""A second run uses the folds of the first, or is told what differs."""

import json

import numpy as np
import pytest

from brainlm.errors import ConfigError
from brainlm.evaluation.phenotypes.folds import FoldRule, make_folds
from brainlm.evaluation.phenotypes.manifest import check_manifest, write_manifest

SUBJECTS = [f"{number:03d}" for number in range(20)]
RULE = FoldRule.parse("4", repeats=2, seed=1)


@pytest.fixture
def cohort(make_cohort):
    return make_cohort(subject=SUBJECTS, values=np.arange(20.0), level="subject")


@pytest.fixture
def path(cohort, tmp_path):
    path = tmp_path / "study" / "folds.json"
    write_manifest(path, cohort, make_folds(cohort, RULE), RULE)
    return path


def test_the_same_folds_pass_and_are_the_same_bytes(cohort, path, tmp_path):
    check_manifest(path, cohort, make_folds(cohort, RULE))
    again = tmp_path / "again.json"
    write_manifest(again, cohort, make_folds(cohort, RULE), RULE)
    assert again.read_bytes() == path.read_bytes()


def test_the_manifest_names_the_people_of_every_fold_but_no_labels(path):
    content = json.loads(path.read_text())
    assert [(fold["repeat"], fold["name"]) for fold in content["folds"]][3:5] == [(0, "4"), (1, "1")]
    assert sorted(name for fold in content["folds"][:4] for name in fold["test"]) == SUBJECTS
    assert content["rule"]["seed"] == 1
    assert content["rule"]["name"] == "4x2-fold"
    assert "19.0" not in path.read_text()


@pytest.mark.parametrize(
    ("columns", "rule", "says"),
    [
        ({}, {"seed": 2}, ["are tested in another fold", "seed 1"]),
        ({}, {"text": "5"}, ["10 folds here", "8 there"]),
        ({}, {"repeats": 1}, ["4 folds here"]),
        ({"values": np.arange(20.0)[::-1]}, {}, ["other values of label"]),
        ({"subject": [*SUBJECTS[:-1], "new"]}, {}, ["only there: 019; only here: new"]),
        ({"subject": SUBJECTS[:-1], "values": np.arange(19.0)}, {}, ["only there: 019; only here: nobody"]),
        (
            {"values": np.arange(20) % 2, "kind": "binary", "classes": ("a", "b")},
            {},
            ["kind is binary here, regression there"],
        ),
        ({"level": "recording"}, {}, ["level is recording here, subject there"]),
    ],
)
def test_other_folds_people_or_labels_are_named(make_cohort, path, columns, rule, says):
    other = make_cohort(**({"subject": SUBJECTS, "values": np.arange(20.0), "level": "subject"} | columns))
    folds = make_folds(other, FoldRule.parse(**({"text": "4", "repeats": 2, "seed": 1} | rule)))
    with pytest.raises(ConfigError) as error:
        check_manifest(path, other, folds)
    for part in (*says, "start anew"):
        assert part in str(error.value)


def test_another_grouping_is_noticed_where_it_changes_who_is_trained_on(make_cohort, tmp_path):
    cohort = make_cohort(
        subject=SUBJECTS, site=["N", "S"] * 10, family=["f", "f", *[None] * 18], values=np.arange(20.0)
    )
    related, apart = (FoldRule.parse("leave-site-out", group=group) for group in ("family", None))
    write_manifest(tmp_path / "folds.json", cohort, make_folds(cohort, related), related)
    with pytest.raises(ConfigError, match="left out of training"):
        check_manifest(tmp_path / "folds.json", cohort, make_folds(cohort, apart))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format_version": 1}', '{"format_version": 99}'])
def test_a_damaged_or_newer_manifest_is_refused(cohort, path, text):
    path.write_text(text)
    with pytest.raises(ConfigError, match="remedy:"):
        check_manifest(path, cohort, make_folds(cohort, RULE))


def test_a_manifest_that_is_not_there_is_refused(cohort, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        check_manifest(tmp_path / "folds.json", cohort, make_folds(cohort, RULE))
