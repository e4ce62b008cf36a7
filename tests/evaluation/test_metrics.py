"""Metrics from sums against metrics from the values themselves."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from brainlm.evaluation.metrics import ScoreSums, Term, mae, pearson_r, r2


@pytest.fixture
def example(rng: np.random.Generator):
    truth, noise = rng.standard_normal((2, 6, 4, 20)) + 1
    scored = rng.random((6, 4, 20)) < 0.4
    subject = np.array([0, 0, 1, 1, 1, 2])
    return truth, 0.7 * truth + 0.5 * noise, scored, subject


def sums_of(truth, predicted, scored, subject, *, num_subjects: int = 3) -> ScoreSums:
    sums = ScoreSums(num_subjects, truth.shape[1], truth.shape[2])
    tensors = [torch.from_numpy(np.asarray(part)) for part in (predicted, truth, scored)]
    sums.add(*tensors, subject)
    return sums


def test_pooled_metrics_are_those_of_all_scored_values(example):
    truth, predicted, scored, _ = example
    pooled = sums_of(*example).pooled
    assert pooled[Term.COUNT] == scored.sum()
    np.testing.assert_allclose(r2(pooled), r2_score(truth[scored], predicted[scored]))
    np.testing.assert_allclose(mae(pooled), mean_absolute_error(truth[scored], predicted[scored]))
    np.testing.assert_allclose(pearson_r(pooled), np.corrcoef(truth[scored], predicted[scored])[0, 1])


def test_subjects_and_parcels_are_judged_about_their_own_means(example):
    truth, predicted, scored, subject = example
    sums = sums_of(*example)
    for number in range(3):
        own = scored & (subject == number)[:, None, None]
        np.testing.assert_allclose(r2(sums.by_subject)[number], r2_score(truth[own], predicted[own]))
    for parcel in range(4):
        own = scored & (np.arange(4) == parcel)[:, None]
        np.testing.assert_allclose(r2(sums.by_parcel)[parcel], r2_score(truth[own], predicted[own]))


def test_steps_count_from_the_first_hidden_time_point_of_each_window(example):
    truth, predicted, scored, subject = example
    scored = np.zeros_like(scored)
    scored[:3, :, 15:] = True
    scored[3:, :, 10:15] = True
    by_step = sums_of(truth, predicted, scored, subject).by_step
    assert by_step[:, Term.COUNT].tolist() == [24] * 5 + [0] * 15
    first = np.concatenate([truth[:3, :, 15].ravel(), truth[3:, :, 10].ravel()])
    guess = np.concatenate([predicted[:3, :, 15].ravel(), predicted[3:, :, 10].ravel()])
    np.testing.assert_allclose(r2(by_step)[0], r2_score(first, guess))


def test_batches_add_up(example):
    truth, predicted, scored, subject = example
    whole, parts = sums_of(*example), ScoreSums(3, 4, 20)
    for part in (slice(0, 2), slice(2, 6)):
        tensors = [torch.from_numpy(values[part]) for values in (predicted, truth, scored)]
        parts.add(*tensors, subject[part])
    np.testing.assert_allclose(parts.by_subject, whole.by_subject)
    np.testing.assert_allclose(parts.by_parcel, whole.by_parcel)
    np.testing.assert_allclose(parts.by_step, whole.by_step)


def test_what_is_not_scored_does_not_count_even_when_nan(example):
    truth, predicted, scored, subject = example
    spoiled = sums_of(np.where(scored, truth, np.nan), np.where(scored, predicted, np.nan), scored, subject)
    np.testing.assert_array_equal(spoiled.pooled, sums_of(*example).pooled)


def test_a_perfect_prediction_has_r2_one(example):
    truth, _, scored, subject = example
    pooled = sums_of(truth, truth, scored, subject).pooled
    assert r2(pooled) == 1.0
    assert mae(pooled) == 0.0
    np.testing.assert_allclose(pearson_r(pooled), 1.0)


def test_r2_and_r_are_not_clipped(example):
    truth, _, scored, subject = example
    pooled = sums_of(truth, -3 * truth, scored, subject).pooled
    assert r2(pooled) < -5
    np.testing.assert_allclose(pearson_r(pooled), -1.0)


def test_what_is_undefined_is_nan_and_raises_no_warning(example):
    truth, predicted, scored, subject = example
    scored = scored & (np.arange(4) != 2)[:, None]
    sums = sums_of(truth, np.full_like(predicted, 0.1), scored, subject)
    assert np.isnan(r2(sums.by_parcel)[2])
    assert np.isnan(mae(sums.by_parcel)[2])
    assert np.isnan(pearson_r(sums.pooled))
    constant = sums_of(np.full_like(truth, 0.1), predicted, scored, subject)
    assert np.isnan(r2(constant.pooled))
