"""The subject bootstrap against a loop, its coverage, and what cannot be had."""

import numpy as np
import pytest

from brainlm.evaluation.metrics import Term, r2
from brainlm.evaluation.statistics import Interval, SubjectBootstrap, expanded_tail, few_subjects_note


def mean(sums: np.ndarray) -> np.ndarray:
    """Of rows (count, total)."""
    return sums[..., 1] / sums[..., 0]


def sums_of(values: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(values), values], axis=1)


def test_resamples_are_those_of_drawing_subjects_one_by_one(rng: np.random.Generator):
    values = rng.standard_normal(8)
    bootstrap = SubjectBootstrap.draw(8, num_bootstrap=200, seed=3)
    means = [np.repeat(values, counts).mean() for counts in bootstrap.counts_RS]
    found = bootstrap.interval(sums_of(values), mean)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.00574, 0.99426])), abs=2e-3)


def test_every_resample_has_as_many_subjects_as_there_are():
    assert (SubjectBootstrap.draw(7, num_bootstrap=50, seed=0).counts_RS.sum(axis=1) == 7).all()


def test_intervals_cover_the_truth_about_as_often_as_they_say(rng: np.random.Generator):
    bootstrap = SubjectBootstrap.draw(60, num_bootstrap=400, seed=0, confidence=0.9)
    intervals = [bootstrap.interval(sums_of(rng.exponential(size=60)), mean) for _ in range(400)]
    coverage = np.mean([interval.low <= 1.0 <= interval.high for interval in intervals])
    assert 0.84 < coverage < 0.94


def test_limits_lie_where_students_t_puts_them_for_a_mean():
    # Student's t with 7 degrees of freedom leaves 2.5 % beyond 2.3646; times sqrt(8 / 7), a normal leaves 0.0057.
    assert expanded_tail(8, 0.95) == pytest.approx(0.00574, abs=2e-5)
    assert expanded_tail(100_000, 0.95) == pytest.approx(0.025, abs=2e-5)
    values = np.arange(8.0)
    wide = SubjectBootstrap.draw(8, num_bootstrap=100_000, seed=0).interval(sums_of(values), mean)
    half = 2.3646 * values.std(ddof=1) / np.sqrt(8)
    assert (wide.high - wide.low) / 2 == pytest.approx(half, rel=0.06)


def _difference_of_two_alike(num_subjects: int, rng: np.random.Generator) -> Interval:
    """Of R2, of two methods of which neither is better; people differ in how much they vary."""
    spread_S = rng.lognormal(0.0, 0.5, num_subjects)
    sums_SK = np.zeros((num_subjects, len(Term)))
    sums_SK[:, Term.COUNT], sums_SK[:, Term.YY] = 100, 100 * spread_S
    others_SK = sums_SK.copy()
    error_S, gain_S = rng.uniform(0.4, 0.8, num_subjects), rng.normal(0.0, 0.03, num_subjects)
    sums_SK[:, Term.SQUARED_ERROR] = 100 * spread_S * (error_S + gain_S)
    others_SK[:, Term.SQUARED_ERROR] = 100 * spread_S * (error_S - gain_S)
    bootstrap = SubjectBootstrap.draw(num_subjects, num_bootstrap=1000, seed=int(rng.integers(2**31)))
    return bootstrap.difference(sums_SK, others_SK, r2)


@pytest.mark.slow
@pytest.mark.parametrize(("num_subjects", "most"), [(8, 0.08), (13, 0.075), (40, 0.07), (200, 0.065)])
def test_a_true_zero_is_excluded_about_as_seldom_as_promised(num_subjects, most, rng):
    """Plain percentiles exclude it in 11.6, 9.3, 6.6 and 5.2 % of such studies."""
    found = [_difference_of_two_alike(num_subjects, rng) for _ in range(2000)]
    assert 0.035 < np.mean([not interval.low <= 0 <= interval.high for interval in found]) < most


def test_a_study_of_few_people_says_so():
    assert few_subjects_note(1)
    assert "19" in few_subjects_note(19)[0]
    assert not few_subjects_note(20)


def test_differences_are_paired(rng: np.random.Generator):
    base = 10 * rng.standard_normal(50)
    better = base + 0.1 + 0.01 * rng.standard_normal(50)
    bootstrap = SubjectBootstrap.draw(50, num_bootstrap=500, seed=0)
    difference = bootstrap.difference(sums_of(better), sums_of(base), mean)
    assert 0.09 < difference.low < difference.value < difference.high < 0.11


def test_the_order_of_subjects_does_not_move_the_estimate(rng: np.random.Generator):
    values = rng.standard_normal(30)
    bootstrap = SubjectBootstrap.draw(30, num_bootstrap=2000, seed=0)
    one, other = (bootstrap.interval(sums_of(part), mean) for part in (values, values[::-1].copy()))
    assert one.value == pytest.approx(other.value)
    assert one.low == pytest.approx(other.low, abs=0.05)


def test_one_subject_has_an_estimate_but_no_interval():
    bootstrap = SubjectBootstrap.draw(1, num_bootstrap=100, seed=0)
    assert bootstrap.interval(sums_of(np.array([2.0])), mean) == Interval(2.0)


def test_an_undefined_statistic_has_neither():
    bootstrap = SubjectBootstrap.draw(3, num_bootstrap=100, seed=0)
    found = bootstrap.interval(np.ones((3, 2)), lambda sums: np.full(sums.shape[:-1], np.nan))
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.verdict == "unknown"
    assert found.as_dict() == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(0.2, 0.1, 0.3), "better"),
        (Interval(0.2, 0.1, 0.3, p=0.05), "better"),
        (Interval(0.2, 0.1, 0.3, p=0.06), "level"),  # a test that does not agree
        (Interval(-0.2, -0.3, -0.1, p=0.001), "worse"),
        (Interval(0.2, 0.0, 0.3), "level"),
        (Interval(0.2), "unknown"),
    ],
)
def test_a_win_needs_the_interval_and_the_test(interval, verdict):
    assert interval.verdict == verdict
    assert Interval.read(interval.as_dict()).verdict == verdict


def test_the_same_seed_gives_the_same_resamples():
    one, other = (SubjectBootstrap.draw(9, num_bootstrap=20, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.counts_RS, other.counts_RS)
