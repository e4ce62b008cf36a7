"""No person and no family on both sides, everybody tested once a repeat, the same for every order of the rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from brainlm.data.sources.abide import import_abide
from brainlm.data.splits import bare_subject
from brainlm.data.store import Store
from brainlm.errors import BrainLMError, ConfigError, DataError
from brainlm.evaluation.phenotypes.folds import FoldRule, inner_folds, make_folds
from brainlm.evaluation.phenotypes.targets import read_cohort


def people(num: int) -> list[str]:
    return [f"{number:03d}" for number in range(num)]


def split_names(cohort, fold) -> tuple[list[str], list[str]]:
    names = np.array(cohort.unit_names, dtype=object)
    return names[fold.train_M].tolist(), names[fold.test_M].tolist()


@st.composite
def populations(draw) -> dict:
    """Recordings of people in families at sites, subjects spelled in both ways, in any order."""
    num_people = draw(st.integers(12, 40))
    family = draw(st.lists(st.sampled_from(["", *"ABCDEFGH"]), min_size=num_people, max_size=num_people))
    site = draw(st.lists(st.sampled_from(["N", "S", "W"]), min_size=num_people, max_size=num_people))
    runs = draw(st.lists(st.integers(1, 3), min_size=num_people, max_size=num_people))
    rows = [
        {"subject": draw(st.sampled_from(["", "sub-"])) + f"{person:03d}", "family": family[person] or None}
        | {"site": draw(st.sampled_from([site[person], "N"])), "run": str(run), "given": person % 3}
        for person in range(num_people)
        for run in range(runs[person])
    ]
    rows = draw(st.permutations(rows))
    return {name: [row[name] for row in rows] for name in rows[0]}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    population=populations(),
    folds=st.sampled_from(["2", "3", "5", "leave-site-out", "given"]),
    group=st.sampled_from([None, "family"]),
    kind=st.sampled_from(["regression", "binary"]),
    stratify=st.booleans(),
    seed=st.integers(0, 5),
)
def test_nobody_and_no_family_is_ever_on_both_sides(make_cohort, population, folds, group, kind, stratify, seed):
    num = len(population["subject"])
    values = np.random.default_rng(seed).permutation(num) % (2 if kind == "binary" else num)
    classes = ("a", "b") if kind == "binary" else ()
    cohort = make_cohort(values=values, kind=kind, classes=classes, **population)
    repeats = 2 if folds.isdigit() else 1
    rule = FoldRule.parse(folds, repeats=repeats, seed=seed, group=group, stratify=stratify)
    try:
        made = make_folds(cohort, rule)
    except BrainLMError as error:
        event("refused")
        complete = all((error.expected, error.found, error.remedy))
        assert complete
        return
    event("made")
    # From the rows as they came, not from what the cohort makes of them.
    rows = [rows[0] for rows in cohort.recordings]
    person_N = np.array([bare_subject(population["subject"][row]) for row in rows])
    family_N = np.array([population["family"][row] if group else None for row in rows], dtype=object)
    for fold in made:
        assert len(fold.train_M)
        assert_apart(person_N, family_N, fold.train_M, fold.test_M)
        for train, validate in inner_folds_or_none(cohort, fold.train_M, group):
            assert sorted([*train, *validate]) == list(range(len(fold.train_M)))
            train_M, validate_M = fold.train_M[train], fold.train_M[validate]
            assert_apart(person_N, family_N, train_M, validate_M)
            if kind == "binary":
                assert set(cohort.target.values_N[train_M]) == set(cohort.target.values_N[validate_M]) == {0.0, 1.0}
    for repeat in range(repeats):
        tested = np.concatenate([fold.test_M for fold in made if fold.repeat == repeat])
        assert sorted(tested) == list(range(len(cohort)))
    if folds != "leave-site-out":
        assert all(len(fold.train_M) + len(fold.test_M) == len(cohort) for fold in made)


def assert_apart(person_N, family_N, one_M, other_M) -> None:
    assert not set(person_N[one_M]) & set(person_N[other_M])
    assert not (set(family_N[one_M]) & set(family_N[other_M])) - {None}


def inner_folds_or_none(cohort, train_M, group):
    try:
        return inner_folds(cohort, train_M, num_folds=3, seed=0, group=group)
    except ConfigError:  # families that mix the classes in few people
        return []


@pytest.mark.parametrize("group", [None, "family"])
def test_folds_do_not_depend_on_the_order_of_the_rows(make_cohort, rng, group):
    num = 60
    table = pd.DataFrame({"subject": people(num), "family": [f"f{n // 2}" for n in range(num)]})
    table["label"] = rng.standard_normal(num)
    other = table.sample(frac=1, random_state=1)
    rule = FoldRule.parse("4", repeats=2, seed=3, group=group)
    found = []
    for rows in (table, other):
        columns = {name: rows[name].tolist() for name in ("subject", "family")}
        cohort = make_cohort(values=rows["label"].to_numpy(), level="subject", **columns)
        found.append([split_names(cohort, fold) for fold in make_folds(cohort, rule)])
    assert found[0] == found[1]


def test_the_same_seed_gives_the_same_folds_and_another_seed_or_repeat_others(make_cohort, rng):
    cohort = make_cohort(subject=people(50), values=rng.standard_normal(50))

    def tests(seed: int) -> list[list[int]]:
        return [fold.test_M.tolist() for fold in make_folds(cohort, FoldRule.parse("5", repeats=2, seed=seed))]

    assert tests(0) == tests(0)
    assert tests(0) != tests(1)
    assert tests(0)[:5] != tests(0)[5:]


def test_classes_have_like_shares_in_every_fold(make_cohort):
    values = (np.arange(203) % 10 == 0).astype(float)
    cohort = make_cohort(subject=people(203), values=values, kind="binary", classes=("a", "b"))
    for fold in make_folds(cohort, FoldRule.parse("5", repeats=3)):
        assert len(fold.test_M) in (40, 41)
        assert values[fold.test_M].sum() in (4, 5)


def test_numbers_have_like_quantiles_in_every_fold(make_cohort, rng):
    values = np.sort(rng.standard_normal(100))
    cohort = make_cohort(subject=people(100), values=values)
    for fold in make_folds(cohort, FoldRule.parse("5")):
        assert np.bincount(fold.test_M // 20).tolist() == [4] * 5


def test_even_the_smallest_possible_class_is_in_every_test_fold(make_cohort):
    values = np.array([0.0] * 5 + [1.0] * 3 + [2.0] * 40)
    cohort = make_cohort(subject=people(48), values=values, kind="multiclass", classes=("a", "b", "c"))
    for fold in make_folds(cohort, FoldRule.parse("3", repeats=4)):
        assert set(values[fold.test_M]) == {0.0, 1.0, 2.0}
        assert (values[fold.train_M] == 1).sum() == 2
        inner = inner_folds(cohort, fold.train_M, num_folds=5, seed=0)
        assert len(inner) == 2, "fewer than asked for: two people of the smallest class"
        for train, validate in inner:
            assert set(values[fold.train_M][train]) == set(values[fold.train_M][validate]) == {0.0, 1.0, 2.0}


def test_a_family_over_two_sites_is_not_trained_on_when_one_of_them_is_tested(make_cohort, rng, caplog):
    family = [None] * 18 + ["f", "f"]
    site = ["N", "S"] * 10
    cohort = make_cohort(subject=people(20), site=site, family=family, values=rng.standard_normal(20))
    north, south = make_folds(cohort, FoldRule.parse("leave-site-out", group="family"))
    assert (north.name, south.name) == ("N", "S")
    assert 18 in north.test_M
    assert 19 not in north.train_M
    assert 18 not in south.train_M
    assert len(north.train_M) == len(south.train_M) == 9
    assert "neither tested nor trained on" in caplog.text
    apart = make_folds(cohort, FoldRule.parse("leave-site-out"))
    assert [len(fold.train_M) for fold in apart] == [10, 10]


def test_a_traveller_is_not_trained_on_when_one_of_their_sites_is_tested(make_cohort, rng):
    subject = [*people(8), "sub-000"]
    site = ["N", "S"] * 4 + ["S"]
    cohort = make_cohort(subject=subject, site=site, values=rng.standard_normal(9))
    for fold in make_folds(cohort, FoldRule.parse("leave-site-out")):
        names = cohort.table["subject"]
        assert "000" in set(names[fold.test_M])
        assert "000" not in set(names[fold.train_M])


def test_given_folds_are_taken_as_they_are(make_cohort, rng):
    cohort = make_cohort(subject=people(12), part=[10.0, 2.0, 1.0] * 4, values=rng.standard_normal(12))
    rule = FoldRule.parse("part")
    made = make_folds(cohort, rule)
    assert rule.name == "by-part"
    assert [fold.name for fold in made] == ["1", "2", "10"]
    assert made[0].test_M.tolist() == [2, 5, 8, 11]


def test_a_family_is_not_taken_for_a_person_of_the_same_name(make_cohort, rng):
    subject = people(10)
    family = ["001", *[None] * 8, "001"]  # 000 and 009 are related; 001 is not one of them
    cohort = make_cohort(subject=subject, family=family, values=rng.standard_normal(10), level="subject")
    sizes = {len(fold.test_M) for fold in make_folds(cohort, FoldRule.parse("9", group="family"))}
    assert sizes == {1, 2}


def test_families_spelled_as_numbers_with_and_without_fraction_are_one(make_cohort, rng):
    cohort = make_cohort(
        subject=people(8), family=[7.0, 7.0, None, None, 1.0, 2.0, 3.0, 4.0], values=rng.standard_normal(8)
    )
    for fold in make_folds(cohort, FoldRule.parse("4", group="family")):
        assert (0 in fold.test_M) == (1 in fold.test_M)


def test_one_class_at_a_site_is_allowed_when_sites_are_left_out(make_cohort):
    values = np.array([0, 1, 0, 1, 0, 1, 0, 0], dtype=float)
    site = ["N"] * 3 + ["S"] * 3 + ["W"] * 2
    cohort = make_cohort(subject=people(8), site=site, values=values, kind="binary", classes=("a", "b"))
    with pytest.raises(ConfigError, match="when fold S is tested, too few with label = b"):
        make_folds(cohort, FoldRule.parse("leave-site-out"))
    values[2] = 1
    cohort = make_cohort(subject=people(8), site=site, values=values, kind="binary", classes=("a", "b"))
    west = make_folds(cohort, FoldRule.parse("leave-site-out"))[2]
    assert set(values[west.test_M]) == {0.0}


@pytest.mark.parametrize(
    ("text", "rule", "name"),
    [
        ("5", FoldRule("k-fold", num_folds=5), "5-fold"),
        (" 10 ", FoldRule("k-fold", num_folds=10), "10-fold"),
        ("leave-site-out", FoldRule("leave-one-out", column="site"), "leave-site-out"),
        ("leave-my-scanner-out", FoldRule("leave-one-out", column="my-scanner"), "leave-my_scanner-out"),
        ("fold/a b", FoldRule("given", column="fold/a b"), "by-fold_a_b"),
    ],
)
def test_folds_are_asked_for_in_words(text, rule, name):
    assert FoldRule.parse(text) == rule
    assert rule.name == name


def test_repeats_are_in_the_name():
    assert FoldRule.parse("5", repeats=10).name == "5x10-fold"


@pytest.mark.parametrize("text", ["", "0", "1", "-5", "2.5", "leave-one-out"])
def test_what_means_no_folds_is_refused(text):
    with pytest.raises(ConfigError, match=r"(?s)expected:.*found:.*remedy:"):
        FoldRule.parse(text)


def test_repeating_the_same_folds_is_refused():
    with pytest.raises(ConfigError, match="--repeats 3"):
        FoldRule.parse("leave-site-out", repeats=3)


TEN = {"subject": people(10), "site": ["N", "S"] * 5, "values": np.arange(10.0), "level": "subject"}
LABELLED = {"kind": "binary", "classes": ("a", "b"), "values": np.array([1.0] * 3 + [0.0] * 7)}


@pytest.mark.parametrize(
    ("columns", "rule", "kind", "says"),
    [
        ({}, {"text": "11"}, ConfigError, ["more folds than people", "at most 10"]),
        (
            {"family": ["f"] * 6 + list("ghij")},
            {"text": "6", "group": "family"},
            ConfigError,
            ["people or families (family)", "at most 5"],
        ),
        (LABELLED, {"text": "5"}, ConfigError, ["label = b would be missing", "3 with b", "at most 3 folds"]),
        (
            LABELLED | {"values": np.array([1.0] * 2 + [0.0] * 8)},
            {"text": "2"},
            ConfigError,
            ["1 of b", "leave this class out"],
        ),
        ({}, {"text": "leave-scanner-out"}, ConfigError, ["no column scanner", "leave-COLUMN-out", "nearest"]),
        ({}, {"text": "sites"}, ConfigError, ["no column sites", "nearest: site"]),
        ({}, {"text": "5", "group": "family"}, ConfigError, ["no column family", "--group"]),
        ({"site": ["N"] * 10}, {"text": "leave-site-out"}, DataError, ["N only", "random folds"]),
        ({"site": [""] * 10}, {"text": "leave-site-out"}, DataError, ["no site at all"]),
        ({"site": ["N"] * 4 + ["S"] * 4 + [""] * 2}, {"text": "leave-site-out"}, DataError, ["2 of 10", "008, 009"]),
        ({"label": ["N", "S"] * 5}, {"text": "leave-label-out"}, ConfigError, ["cannot test", "--target label"]),
        ({"fd": np.arange(10) / 3}, {"text": "leave-fd-out"}, ConfigError, ["a measurement"]),
        (
            {"part": ["1", "2"] * 5, "family": list("ffghijklmn")},
            {"text": "part", "group": "family"},
            DataError,
            ["divide a person or a family", "000, 001 in the folds 1, 2"],
        ),
        (
            {"values": np.array([0.0] * 5 + [1.0] * 5), "site": ["N"] * 5 + ["S"] * 5},
            {"text": "leave-site-out"},
            ConfigError,
            ["label is constant in those left"],
        ),
    ],
)
def test_folds_that_cannot_be_made_are_refused_in_plain_words(make_cohort, columns, rule, kind, says):
    cohort = make_cohort(**(TEN | columns))
    with pytest.raises(kind) as error:
        make_folds(cohort, FoldRule.parse(**rule))
    for part in (*says, "expected:", "found:", "remedy:"):
        assert part in str(error.value)


@pytest.mark.parametrize("column", ["site", "family", "part"])
def test_people_with_several_sites_families_or_folds_are_named(make_cohort, column):
    table = {"subject": [*people(8), "000"], "family": [*"abcdefgh", "a"], "part": [1.0, 2.0] * 4 + [1.0]}
    table |= {"site": ["N", "S"] * 4 + ["N"]}
    table[column][-1] = 2.0 if column == "part" else "other"
    cohort = make_cohort(values=np.arange(9.0), level="subject", **table)
    rule = {"site": {"text": "leave-site-out"}, "family": {"text": "2", "group": "family"}, "part": {"text": "part"}}
    with pytest.raises(DataError, match=rf"(?s)more than one value of {column}.*found: +1: 000"):
        make_folds(cohort, FoldRule.parse(**rule[column]))


def test_a_family_that_mixes_classes_can_make_a_fold_without_one_which_is_said(make_cohort):
    values = np.array([1.0] * 2 + [0.0] * 10 + [1.0])
    family = ["f"] * 12 + ["g"]
    cohort = make_cohort(subject=people(13), family=family, values=values, kind="binary", classes=("a", "b"))
    with pytest.raises(ConfigError, match="label = a would be missing in some test fold"):
        make_folds(cohort, FoldRule.parse("2", group="family"))


def test_folds_that_are_not_stratified_may_miss_a_class_which_is_said(make_cohort):
    values = np.array([1.0] * 5 + [0.0] * 40)
    cohort = make_cohort(subject=people(45), values=values, kind="binary", classes=("a", "b"))
    with pytest.raises(ConfigError, match="stratified folds"):
        make_folds(cohort, FoldRule.parse("5", stratify=False))


@pytest.fixture(scope="module")
def abide(shared, tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("folds") / "abide.store"
    import_abide(path, packed=shared / "data" / "abide", dtype="float16")
    return Store.open(path)


@pytest.mark.slow
def test_abide_has_its_people_its_sites_and_folds_of_like_composition(abide):
    cohort = read_cohort(abide, "dx", positive="asd")
    assert (len(cohort), cohort.num_subjects, cohort.num_missing) == (908, 908, 0)
    asd = cohort.target.values_N
    for fold in make_folds(cohort, FoldRule.parse("5", repeats=5)):
        assert 180 <= len(fold.test_M) <= 184  # two pairs of people have one scan, and stay together
        assert asd[fold.test_M].mean() == pytest.approx(asd.mean(), abs=0.006)
    by_site = make_folds(cohort, FoldRule.parse("leave-site-out"))
    assert len(by_site) == 17
    for fold in by_site:
        assert set(cohort.table["site"][fold.test_M]) == {fold.name}
        assert fold.name not in set(cohort.table["site"][fold.train_M])
        assert len(fold.train_M) + len(fold.test_M) == 908
    assert read_cohort(abide, "fiq").num_missing == 67
    assert read_cohort(abide, "site").target.kind == "multiclass"
    with pytest.raises(DataError, match="L->R: 1"):
        read_cohort(abide, "handedness")
