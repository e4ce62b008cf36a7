"""The Gaussian baselines: what is chosen on validation windows, and what the recording's own points do."""

from dataclasses import replace

import torch

from brainlm.baselines.gaussian import BLENDS, Blend, GaussianRecording, GaussianSpace, shrunk
from brainlm.baselines.predictor import squared_error
from brainlm.model.conditional import conditional_mean


def test_the_shrinkage_with_the_least_validation_error_is_taken(moments, make_batch):
    batches = [make_batch(seed=seed) for seed in range(3)]
    chosen = GaussianSpace.fit(moments, batches, shrinkages=(0.9, 0.01, 0.5))
    errors = {s: squared_error(GaussianSpace.of(moments, shrinkage=s), batches) for s in (0.9, 0.01, 0.5)}
    assert chosen.shrinkage == min(errors, key=errors.__getitem__) == 0.01


def test_the_mean_is_taken_off_and_put_back(moments, make_batch):
    batch = make_batch()
    shifted_moments = replace(moments, mean_P=moments.mean_P + 5)
    shifted = replace(batch, signal_BPT=batch.signal_BPT + 5)
    plain = GaussianSpace.of(moments, shrinkage=0.1).predict(batch)
    moved = GaussianSpace.of(shifted_moments, shrinkage=0.1).predict(shifted)
    torch.testing.assert_close(moved, plain + 5, atol=1e-4, rtol=0)


def test_shrinking_keeps_variances_and_weakens_correlations(moments):
    before = moments.covariance_PP
    after = shrunk(before, 0.25)
    torch.testing.assert_close(after.diagonal(), before.diagonal())
    torch.testing.assert_close(after[0, 1:], 0.75 * before[0, 1:])


def test_copies_of_a_parcel_do_not_break_the_factorisation(moments, make_batch):
    copied = moments.covariance_PP[[0, 0, *range(2, 12)]][:, [0, 0, *range(2, 12)]]
    gaussian = GaussianSpace.of(replace(moments, covariance_PP=copied), shrinkage=0.0)
    assert torch.isfinite(gaussian.predict(make_batch())).all()


def test_half_and_half_is_the_mean_of_both_covariances(moments, make_batch):
    batch = make_batch()
    population = GaussianSpace.of(moments, shrinkage=0.0)
    blended = GaussianRecording(population, Blend(0.5, 0.0)).covariance_of(batch)
    for window in range(5):
        points = batch.outside[window].double() - moments.mean_P
        points = points * (batch.outside[window] != 0).any(dim=0)
        own = points.T @ points
        there = own.diagonal() > 0  # a parcel that the recording lacks takes no part in its size
        own *= moments.covariance_PP.diagonal()[there].mean() / own.diagonal()[there].mean()
        expected = (own + moments.covariance_PP) / 2
        torch.testing.assert_close(blended[window].double(), expected, atol=1e-3, rtol=1e-3)


def test_the_weight_of_the_recording_grows_with_its_points():
    num_points = torch.tensor([0.0, 100.0, 300.0])
    torch.testing.assert_close(Blend(1.0, 100.0).weight(num_points), torch.tensor([0.0, 0.5, 0.75]))
    torch.testing.assert_close(Blend(0.5, 0.0).weight(num_points), torch.tensor([0.0, 0.5, 0.5]))


def test_without_points_outside_it_is_the_population(moments, make_batch):
    batch = make_batch()
    nothing = replace(batch, outside=tuple(points[:0] for points in batch.outside))
    population = GaussianSpace.of(moments, shrinkage=0.01)
    for blend in BLENDS:
        found = GaussianRecording(population, blend).predict(nothing)
        torch.testing.assert_close(found, population.predict(batch), atol=1e-4, rtol=1e-4)


def test_the_recording_s_own_covariance_helps_where_recordings_differ(moments, make_batch):
    batches = [make_batch(seed=seed, num_windows=20) for seed in range(3)]
    population = GaussianSpace.fit(moments, batches)
    adapted = GaussianRecording.fit(population, batches)
    assert squared_error(adapted, batches) < 0.97 * squared_error(population, batches)


def test_scale_of_the_recording_does_not_matter(moments, make_batch):
    batch = make_batch()
    loud = replace(batch, outside=tuple(10 * points for points in batch.outside))
    adapted = GaussianRecording(
        GaussianSpace.of(replace(moments, mean_P=0 * moments.mean_P), shrinkage=0.01), Blend(0.5, 0.0)
    )
    torch.testing.assert_close(adapted.predict(loud), adapted.predict(batch), atol=1e-4, rtol=1e-4)


def test_the_prediction_is_the_conditional_mean(moments, make_batch):
    batch = make_batch()
    gaussian = GaussianSpace.of(replace(moments, mean_P=0 * moments.mean_P), shrinkage=0.1)
    expected = conditional_mean(gaussian.covariance_PP, batch.signal_BPT, batch.visible)
    torch.testing.assert_close(gaussian.predict(batch), expected)
