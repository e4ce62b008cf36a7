"""Who is in the analysis: one row a person whatever the order and spelling, and a plain word on every bad column."""

import numpy as np
import pytest

from brainlm.data.missing_values import MissingRule
from brainlm.data.synthetic import synthetic_store
from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.phenotypes.blocks import nuisance_columns
from brainlm.evaluation.phenotypes.targets import read_cohort


def test_a_person_is_one_row_with_all_their_recordings(tmp_path):
    store = synthetic_store(tmp_path / "s", num_subjects=6, runs_per_subject=2, num_parcels=4, num_networks=2)
    cohort = read_cohort(store, "age")
    assert cohort.target.kind == "regression"
    assert list(cohort.table["subject"]) == [f"{number:04d}" for number in range(1, 7)]
    for subject, age, rows in zip(cohort.table["subject"], cohort.target.values_N, cohort.recordings, strict=True):
        assert set(store.metadata["subject"].iloc[rows]) == {subject}
        assert set(store.metadata["age"].iloc[rows]) == {age}
        assert len(rows) == 2
    assert sorted(np.concatenate(cohort.recordings)) == list(range(12))
    assert "run" not in cohort.table
    np.testing.assert_array_equal(cohort.weights_N, 1.0)


def test_both_spellings_of_a_subject_are_one_person(make_store):
    store = make_store(subject=["sub-01", "01", "02", "sub-03"], age=[20.5, 20.5, 30.25, 40.0])
    cohort = read_cohort(store, "age", kind="regression")
    assert cohort.unit_names == ("01", "02", "03")
    assert [rows.tolist() for rows in cohort.recordings] == [[0, 1], [2], [3]]


def test_the_order_of_the_store_does_not_matter(tmp_path):
    store = synthetic_store(tmp_path / "s", num_subjects=8, runs_per_subject=2, num_parcels=4, num_networks=2)
    order = np.random.default_rng(1).permutation(len(store))
    for level in ("subject", "recording"):
        one = read_cohort(store, "age", level=level)
        other = read_cohort(store.take(order), "age", level=level)
        assert one.table.equals(other.table)
        assert one.unit_names == other.unit_names
        np.testing.assert_array_equal(one.target.values_N, other.target.values_N)
        for mine, theirs in zip(one.recordings, other.recordings, strict=True):
            assert mine.tolist() == order[theirs].tolist()


def test_missing_labels_are_counted_by_unit_and_a_known_one_counts_for_the_whole_person(make_store):
    store = make_store(subject=["a", "a", "b", "b", "c"], age=[1.5, None, None, None, 2.5])
    cohort = read_cohort(store, "age", kind="regression")
    assert cohort.unit_names == ("a", "c")
    assert [rows.tolist() for rows in cohort.recordings] == [[0, 1], [4]]
    assert cohort.num_missing == 1
    assert read_cohort(store, "age", kind="regression", level="recording").num_missing == 3


def test_recordings_of_a_person_share_one_vote(make_store):
    store = make_store(subject=["a", "a", "a", "b", "c"], state=["up", "down", "up", "down", "up"])
    cohort = read_cohort(store, "state", level="recording")
    assert cohort.target.classes == ("down", "up")
    np.testing.assert_allclose(cohort.weights_N, np.array([1 / 3, 1 / 3, 1 / 3, 1, 1]) * 5 / 3)
    assert cohort.weights_N.mean() == pytest.approx(1)
    assert cohort.num_subjects == 3
    assert cohort.unit_names[0] == "sub-a_task-rest_run-0"


def test_what_varies_within_a_person_is_averaged_or_left_out(make_store):
    store = make_store(
        subject=["a", "a", "b", "c"],
        site=["NYU", "USM", "", "USM"],
        mean_fd=[0.1, 0.3, 0.5, 0.5],
        visit=["first", "second", "first", "first"],
        sex=["F", None, "M", "M"],
        dx=["x", "x", "x", "y"],
        age=[1.5, 1.5, 2.5, 3.5],
    )
    cohort = read_cohort(store, "age", kind="regression")
    assert cohort.table["mean_fd"].tolist() == pytest.approx([0.2, 0.5, 0.5])
    assert cohort.table["sex"].tolist() == ["F", "M", "M"]
    assert cohort.table["site"].tolist() == ["NYU+USM", "", "USM"]
    assert "visit" not in cohort.table
    assert cohort.varying["visit"] == ("a",)


def test_people_without_the_label_do_not_decide_which_columns_are_constant(make_store):
    store = make_store(subject=["a", "a", "b", "c"], site=["N", "S", "N", "S"], age=[None, None, 1.5, 2.5])
    cohort = read_cohort(store, "age", kind="regression")
    assert "site" not in cohort.varying


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        ([float(n) for n in range(11)] * 2, "regression", ()),
        ([0.5, 1.0, 1.5, 2.0] * 2, "regression", ()),
        ([0.0, 1.0] * 3, "binary", ("0", "1")),
        ([1.5, 3.0] * 3, "binary", ("1.5", "3")),
        (["m", "f"] * 2, "binary", ("f", "m")),
        (["a", "b", "c"] * 2, "multiclass", ("a", "b", "c")),
        (["10", "9", "8.5"] * 2, "regression", ()),
    ],
)
def test_the_kind_follows_from_the_values(make_store, values, kind, classes):
    store = make_store(subject=[str(n) for n in range(len(values))], label=values)
    target = read_cohort(store, "label").target
    assert (target.kind, target.classes) == (kind, classes)


def test_classes_and_the_positive_one_can_be_chosen(make_store):
    store = make_store(subject=list("abcdefg"), dx=["asd", "asd", "hc", "hc", "adhd", "adhd", None])
    cohort = read_cohort(store, "dx", classes=("hc", "asd"), positive="asd")
    assert cohort.target.classes == ("hc", "asd")
    assert cohort.target.values_N.tolist() == [1, 1, 0, 0]
    assert (cohort.num_missing, cohort.num_left_out) == (1, 2)


def test_whole_numbers_as_classes_are_sorted_as_numbers(make_store):
    store = make_store(subject=list("abcdef"), stage=[10.0, 2.0, 1.0] * 2)
    assert read_cohort(store, "stage", kind="multiclass").target.classes == ("1", "2", "10")


PEOPLE = [str(number) for number in range(6)]


@pytest.mark.parametrize(
    ("values", "settings", "kind", "says"),
    [
        ([None] * 6, {}, DataError, ["nobody has a value", "all 6 missing"]),
        ([3.0] * 6, {}, DataError, ["constant", "3 in all 6"]),
        (["x"] * 5 + [None], {}, DataError, ["constant", "x in all 5"]),
        ([1.0, 2.0, 3.0] * 2, {}, ConfigError, ["1, 2, 3", "--kind regression or --kind multiclass"]),
        (["1", "2", "three"] * 2, {"kind": "regression"}, DataError, ["numbers are expected", "2 of 6: 'three'"]),
        ([1.0, 2.0, float("inf")] * 2, {}, DataError, ["numbers are expected", "'inf'"]),
        (["a", "b"] * 3, {"classes": ["a", "bb"]}, ConfigError, ["nearest: b"]),
        (["a", "b"] * 3, {"classes": ["a"]}, ConfigError, ["a only", "another one of b"]),
        (["a", "b"] * 3, {"positive": "c"}, ConfigError, ["the classes a, b"]),
        (["a", "b", "c"] * 2, {"positive": "c"}, ConfigError, ["multiclass"]),
        (["a", "b", "c"] * 2, {"kind": "binary"}, ConfigError, ["3: a, b, c", "--classes"]),
        (["a", "b"] * 3, {"kind": "multiclass"}, ConfigError, ["--kind binary"]),
        ([1.5, 2.5] * 3, {"kind": "regression", "positive": "1.5"}, ConfigError, ["--positive 1.5"]),
        (["a", "b", "b", "b", "b", "b"], {}, DataError, ["class with one person", "a: 1, b: 5", "--classes"]),
        (["m", "M", "f"] * 2, {}, DataError, ["capitals", "M and m"]),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused_in_plain_words(make_store, values, settings, kind, says):
    store = make_store(subject=PEOPLE, label=values)
    with pytest.raises(kind) as error:
        read_cohort(store, "label", **settings)
    for part in (*says, "expected:", "found:", "remedy:"):
        assert part in str(error.value)


def test_a_misspelt_target_is_answered_with_the_nearest_names(make_store):
    store = make_store(subject=["a", "b"], age_at_scan=[1.5, 2.5], sex=["F", "M"])
    with pytest.raises(DataError, match="nearest: age_at_scan"):
        read_cohort(store, "age")


def test_who_it_is_cannot_be_the_target(make_store):
    store = make_store(subject=["1", "2"], age=[1.5, 2.5])
    with pytest.raises(DataError, match="which recording it is"):
        read_cohort(store, "subject")


def test_words_in_a_column_of_many_numbers_are_named(make_store):
    values = [str(number) for number in range(22)] + ["refused"]
    store = make_store(subject=values, score=values)
    with pytest.raises(DataError, match="codes for missing") as caught:
        read_cohort(store, "score")
    assert "--missing refused" in caught.value.remedy
    assert read_cohort(store, "score", missing=MissingRule.parse(["refused"])).target.kind == "regression"
    with pytest.raises(DataError, match="1 of 23: 'refused'"):
        read_cohort(store, "score", missing=MissingRule.parse(["none"]))


def test_a_code_for_missing_is_no_label_before_it_was_said_to_be_one(make_store):
    ages = [20.5, 21.0, -9999.0, 23.5, 30.0, 41.0]
    store = make_store(subject=list("abcdef"), age=ages, dx=["1", "2", "1", "2", "1", "2"])
    with pytest.raises(DataError, match="age look like codes for missing") as caught:
        read_cohort(store, "age")
    assert "-9999" in caught.value.found
    assert "--missing -9999" in caught.value.remedy
    known = read_cohort(store, "age", missing=MissingRule.parse(["-9999"]))
    assert known.num_missing == 1
    assert known.target.values_N.min() == 20.5
    assert read_cohort(store, "age", missing=MissingRule.parse(["none"])).target.values_N.min() == -9999
    cohort = read_cohort(store, "dx")
    with pytest.raises(DataError, match="age look like codes"):
        cohort.check_codes(["age"])
    read_cohort(store, "dx", missing=MissingRule.parse(["age:-9999"])).check_codes(["age"])


def test_dates_are_no_target(make_store):
    store = make_store(subject=list("abc"), scanned=["2011-03-02", "2012-11-30", "2011-03-05"])
    with pytest.raises(DataError, match="dates") as caught:
        read_cohort(store, "scanned")
    assert "age in years" in caught.value.expected


def test_the_nuisance_is_found_under_the_names_that_people_use(make_store):
    store = make_store(
        subject=list("abcd"), site=list("XYXY"), score=[1.5, 2.25, 3.0, 9.0],
        AGE_AT_SCAN=[20.0, 30.0, 25.0, 41.5], SEX=["1", "2", "2", "1"], func_mean_fd=[0.1, 0.2, 0.15, 0.3],
    )  # fmt: skip
    assert nuisance_columns(read_cohort(store, "score")) == ("AGE_AT_SCAN", "SEX", "site", "func_mean_fd")
    assert nuisance_columns(read_cohort(store, "AGE_AT_SCAN")) == ("SEX", "site", "func_mean_fd")


@pytest.mark.parametrize(("wanted", "there"), [("age", "AGE_AT_SCAN"), ("dx", "DX_GROUP"), ("Age", "age")])
def test_a_target_leads_to_the_column_that_means_the_same(make_store, wanted, there):
    values = [20.5, 30.5, 25.0]
    store = make_store(subject=list("abc"), zzz=values, **{there: values})
    with pytest.raises(DataError) as caught:
        read_cohort(store, wanted)
    assert caught.value.found.startswith(f"nearest: {there}")


def test_too_many_words_are_not_taken_for_classes(make_store):
    values = [f"w{number}" for number in range(21)]
    store = make_store(subject=values, word=values)
    with pytest.raises(ConfigError, match="21 different values"):
        read_cohort(store, "word")


def test_people_with_several_labels_are_named_and_the_other_level_takes_them(make_store):
    store = make_store(subject=["01", "sub-01", "02", "02", "03"], score=[1.5, 2.5, 3.5, 3.5, 4.5])
    with pytest.raises(DataError) as error:
        read_cohort(store, "score", kind="regression")
    assert "1: 01; 01 has 1.5, 2.5" in str(error.value)
    assert "--level recording" in str(error.value)
    assert len(read_cohort(store, "score", kind="regression", level="recording")) == 5


def test_nothing_selected_is_said(make_store):
    store = make_store(subject=["a", "b"], age=[1.5, 2.5]).take([])
    with pytest.raises(DataError, match="no recordings"):
        read_cohort(store, "age")


def test_a_single_person_of_a_class_with_many_recordings_is_still_one(make_store):
    store = make_store(subject=["a", "a", "a", "b", "c"], state=["x", "x", "x", "y", "y"])
    with pytest.raises(DataError, match="x: 1, y: 2"):
        read_cohort(store, "state", level="recording")


def test_people_who_share_a_recording_are_never_divided_by_a_fold(tmp_path):
    from brainlm.data.recording import Recording
    from brainlm.data.store import Store, StoreWriter
    from brainlm.data.synthetic import synthetic_population, synthetic_recordings
    from brainlm.evaluation.phenotypes.folds import FoldRule, inner_folds, make_folds

    population = synthetic_population(num_parcels=10, num_networks=2)
    made = list(synthetic_recordings(population, num_subjects=12, num_timepoints=80))
    with StoreWriter(tmp_path / "a.store", population.parcels, atlas="synthetic", phenotypes=["age"]) as writer:
        for number in range(24):
            bold = made[number // 2].bold * (1 + number % 2)
            writer.add(
                Recording(bold, 2.0, f"sub-{number:02d}", atlas="synthetic", phenotypes={"age": float(number % 7)})
            )
    cohort = read_cohort(Store.open(tmp_path / "a.store"), "age", kind="regression")
    assert cohort.copies == tuple((f"{n:02d}", f"{n + 1:02d}") for n in range(0, 24, 2))
    for fold in make_folds(cohort, FoldRule.parse("4", repeats=2)):
        assert not set(fold.train_M // 2) & set(fold.test_M // 2)
        for train, test in inner_folds(cohort, fold.train_M, num_folds=3, seed=0):
            assert not set(fold.train_M[train] // 2) & set(fold.train_M[test] // 2)
