"""Permutation tests of all parcels at once: against scipy, planted effects, and the nominal rate without any."""

import numpy as np
import pytest
from scipy import stats

from brainlm.evaluation.attention.permuting import category_p, fewest_permutations, paired_test, two_sample_test

NUM_SEEDS, LEVEL = 200, 0.05


def labels(num_first, num_second):
    return np.arange(num_first + num_second) < num_first


def test_t_is_that_of_scipy_also_where_parcels_are_missing(rng):
    maps_SP = rng.normal(size=(17, 6)) * [1, 2, 3, 4, 5, 1e-6] + 10
    maps_SP[[0, 3, 12], 2] = np.nan
    is_first_S = labels(8, 9)
    test = two_sample_test(maps_SP, is_first_S, num=99, seed=0)
    welch = stats.ttest_ind(maps_SP[is_first_S], maps_SP[~is_first_S], equal_var=False, nan_policy="omit")
    np.testing.assert_allclose(test.t_P, welch.statistic, rtol=1e-6)
    means = np.nanmean(maps_SP[is_first_S], axis=0) - np.nanmean(maps_SP[~is_first_S], axis=0)
    np.testing.assert_allclose(test.difference_P, means, rtol=1e-6)
    paired = paired_test(maps_SP - 10, num=99, seed=0)
    np.testing.assert_allclose(paired.t_P, stats.ttest_1samp(maps_SP - 10, 0.0, nan_policy="omit").statistic, rtol=1e-6)


def test_a_few_subjects_are_permuted_in_every_way_there_is(rng):
    differences_SP = rng.normal(size=(7, 3)) + 0.5
    test = paired_test(differences_SP, num=10_000, seed=0)
    signs = 1.0 - 2.0 * ((np.arange(2**7)[:, None] >> np.arange(7)) & 1)
    by_hand = np.array([abs(stats.ttest_1samp(differences_SP * own[:, None], 0.0).statistic) for own in signs])
    observed = np.abs(test.t_P)
    assert test.num_permutations == 2**7 - 1
    np.testing.assert_allclose(test.p_P, (by_hand >= observed - 1e-9).mean(axis=0))
    np.testing.assert_allclose(test.p_fwe_P, (by_hand.max(axis=1)[:, None] >= observed - 1e-9).mean(axis=0))


def test_two_small_groups_are_exchanged_in_every_way_there_is(rng):
    maps_SP = rng.normal(size=(8, 2))
    test = two_sample_test(maps_SP, labels(4, 4), num=10_000, seed=0)
    exact = stats.permutation_test(
        (maps_SP[:4], maps_SP[4:]),
        lambda a, b, axis: np.abs(stats.ttest_ind(a, b, equal_var=False, axis=axis).statistic),
        n_resamples=np.inf, alternative="greater", axis=0, vectorized=True,
    )  # fmt: skip
    assert test.num_permutations == 69
    np.testing.assert_allclose(test.p_P, exact.pvalue)


def test_the_same_seed_gives_the_same_and_subjects_may_come_in_any_order(rng):
    maps_SP = rng.normal(size=(30, 5))
    first, second = (two_sample_test(maps_SP, labels(15, 15), num=500, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.p_P, second.p_P)
    order = rng.permutation(30)
    np.testing.assert_allclose(two_sample_test(maps_SP[order], labels(15, 15)[order], num=500, seed=3).t_P, first.t_P)


def test_a_parcel_that_does_not_vary_or_that_one_subject_has_is_not_tested(rng):
    maps_SP = rng.normal(size=(12, 4))
    maps_SP[:, 1] = 0.3
    maps_SP[1:, 2] = np.nan
    for test in (paired_test(maps_SP, num=200, seed=0), two_sample_test(maps_SP, labels(6, 6), num=200, seed=0)):
        assert np.isnan(test.t_P[1:3]).all()
        assert np.isnan(test.q_P[1:3]).all()
        assert np.isfinite(test.q_P[[0, 3]]).all()


def rate_of_null(draw):
    """The share of data sets without any effect in which some parcel passes."""
    return np.mean([(draw(seed) < LEVEL).any() for seed in range(NUM_SEEDS)])


def correlated(rng, num_subjects, num_parcels=20):
    """Maps of subjects whose parcels go together, skewed as shares are."""
    mixing = rng.normal(size=(num_parcels, num_parcels)) + 2 * np.eye(num_parcels)
    return np.exp(0.3 * rng.normal(size=(num_subjects, num_parcels)) @ mixing / np.sqrt(num_parcels))


# A binomial share of 200 with probability .05 is within these limits in 99.9 % of cases.
LIMITS = tuple(stats.binom.ppf([0.0005, 0.9995], NUM_SEEDS, LEVEL) / NUM_SEEDS)


@pytest.mark.parametrize("which", ["q_P", "p_fwe_P"])
def test_no_effect_between_two_groups_is_found_at_the_nominal_rate(which):
    def draw(seed):
        rng = np.random.default_rng([seed, 1])
        return getattr(two_sample_test(correlated(rng, 24), labels(10, 14), num=499, seed=seed), which)

    assert LIMITS[0] <= rate_of_null(draw) <= LIMITS[1]


@pytest.mark.parametrize("which", ["q_P", "p_fwe_P"])
def test_no_effect_within_subjects_is_found_at_the_nominal_rate(which):
    def draw(seed):
        rng = np.random.default_rng([seed, 2])
        own = correlated(rng, 16)
        first, second = (own + 0.2 * correlated(rng, 16) for _ in range(2))
        return getattr(paired_test(first - second, num=499, seed=seed), which)

    assert LIMITS[0] <= rate_of_null(draw) <= LIMITS[1]


def test_sites_that_differ_are_no_effect_within_them_but_one_between_groups():
    def shifted(seed):
        rng = np.random.default_rng([seed, 3])
        site = np.repeat([0, 1], 20)
        is_first = np.concatenate([labels(15, 5), labels(5, 15)])
        return correlated(rng, 40) + 1.0 * site[:, None], is_first, site

    def ignoring(seed):
        maps_SP, is_first_S, _ = shifted(seed)
        return two_sample_test(maps_SP, is_first_S, num=199, seed=seed).p_fwe_P

    def within(seed):
        maps_SP, is_first_S, site_S = shifted(seed)
        return two_sample_test(maps_SP, is_first_S, num=199, seed=seed, block_S=site_S).p_fwe_P

    assert rate_of_null(ignoring) > 0.5
    assert LIMITS[0] <= rate_of_null(within) <= LIMITS[1]


def test_planted_effects_are_found_where_they_are(rng):
    planted = np.arange(20) < 4
    own = correlated(rng, 30)
    paired = paired_test(0.3 * planted + 0.3 * rng.normal(size=(30, 20)), num=4999, seed=0)
    groups = correlated(rng, 60) + np.where(labels(30, 30)[:, None], 0.6 * planted, 0.0)
    for test in (paired, two_sample_test(groups, labels(30, 30), num=4999, seed=0)):
        assert (test.q_P[planted] < LEVEL).all()
        assert (test.p_fwe_P[planted] < LEVEL).all()
        assert (test.q_P[~planted] < LEVEL).sum() <= 2
        assert (test.t_P[planted] > 0).all()
    assert own.shape == (30, 20)


def test_categories_are_compared_as_by_chi_squared(rng):
    category_S = rng.integers(3, size=60)
    is_first_S = labels(25, 35)
    table = np.array([np.bincount(category_S[chosen], minlength=3) for chosen in (is_first_S, ~is_first_S)])
    p = category_p(category_S, is_first_S, num=9999, seed=0)
    assert p == pytest.approx(stats.chi2_contingency(table).pvalue, abs=0.03)
    assert category_p(np.repeat([0, 1], 30), labels(30, 30), num=999, seed=0) == 1 / 1000
    assert category_p(np.zeros(60, dtype=np.int64), is_first_S, num=99, seed=0) is None


def test_how_many_permutations_a_single_parcel_needs():
    assert fewest_permutations(424, 0.05) == 8480
