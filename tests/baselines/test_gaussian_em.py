"""The Gaussian that learns from the visible part of the window too, beside a slow reference."""

from dataclasses import replace

import torch

from brainlm.baselines.gaussian import Blend, GaussianRecording, GaussianSpace
from brainlm.baselines.gaussian_em import GaussianEM
from brainlm.baselines.predictor import MaskedBatch, squared_error
from brainlm.model.conditional import conditional_scatter


def adapted(moments, *, prior_points: float = 50.0) -> GaussianEM:
    population = GaussianSpace.of(moments, shrinkage=0.01)
    return GaussianEM(GaussianRecording(population, Blend(1.0, 100.0)), prior_points)


def expected_moments(covariance: torch.Tensor, values_NP: torch.Tensor, seen_NP: torch.Tensor) -> torch.Tensor:
    """Sum over time points of E[x x'] given what is visible: one point after the other, by inverses."""
    total = torch.zeros_like(covariance)
    for value, seen in zip(values_NP, seen_NP, strict=True):
        if not seen.any():
            continue
        gain = covariance[:, seen] @ torch.linalg.inv(covariance[seen][:, seen])
        filled = gain @ value[seen]
        total += filled.outer(filled) + covariance - gain @ covariance[seen]
    return total


def test_the_scatter_is_the_conditional_covariance_summed_over_time_points(moments, make_batch):
    batch = make_batch()
    covariance = moments.covariance_PP
    scatter = conditional_scatter(covariance, batch.visible)
    for window in range(5):
        seen = batch.visible[window].T
        expected = expected_moments(covariance, torch.zeros(seen.shape, dtype=torch.float64), seen)
        torch.testing.assert_close(scatter[window], expected)


def test_the_covariance_is_that_of_expectation_maximisation(moments, make_batch):
    batch = make_batch()
    method = adapted(moments)
    population = method.start.population.covariance_PP.double()
    for window, found in enumerate(method.covariance_of(batch)):
        inside = torch.cat((batch.signal_BPT[window].T, batch.outside[window])).double() - moments.mean_P
        seen = torch.cat((batch.visible[window].T, batch.outside[window] != 0))
        covariance = method.start.covariance_of(batch)[window].double()
        for _ in range(10):
            own = expected_moments(covariance, inside, seen)
            own *= population.diagonal().mean() / own.diagonal().mean()
            weight = len(inside) / (len(inside) + method.prior_points)
            covariance = (1 - weight) * population + weight * own
        assert (found - covariance).norm() < 0.03 * covariance.norm()


def test_it_looks_at_nothing_that_is_hidden(moments, make_batch):
    batch = make_batch()
    method = adapted(moments)
    other = replace(batch, signal_BPT=torch.where(batch.visible, batch.signal_BPT, 1e3))
    torch.testing.assert_close(method.predict(other)[batch.hidden_BPT], method.predict(batch)[batch.hidden_BPT])


def test_the_window_itself_helps_most_where_nothing_is_known_outside(moments, make_batch):
    def without_outside(batch: MaskedBatch) -> MaskedBatch:
        return replace(batch, outside=tuple(points[:0] for points in batch.outside))

    batches = [make_batch(seed=seed, num_windows=20) for seed in range(3)]
    start = GaussianRecording.fit(GaussianSpace.fit(moments, batches), batches)
    better = GaussianEM.fit(start, batches)
    assert squared_error(better, batches) < 0.995 * squared_error(start, batches)
    bare = [without_outside(batch) for batch in batches]
    assert squared_error(better, bare) < 0.97 * squared_error(start, bare)


def test_a_window_does_not_depend_on_its_batch_mates(moments, make_batch):
    batch = make_batch()
    alone = MaskedBatch(
        *(
            value[2:3]
            for value in (
                batch.signal_BPT,
                batch.valid_BPT,
                batch.hidden_BPT,
                batch.outside,
                batch.recording_B,
                batch.start_B,
            )
        )
    )
    together = adapted(moments).predict(batch)[2:3]
    torch.testing.assert_close(adapted(moments).predict(alone), together, atol=1e-4, rtol=1e-4)


def test_a_parcel_that_the_recording_lacks_does_not_change_the_size_of_the_others(moments, make_batch):
    batch = make_batch()
    lacking = replace(batch, outside=tuple(points.index_fill(1, torch.tensor([3]), 0.0) for points in batch.outside))
    start = adapted(moments).start
    present = [parcel for parcel in range(12) if parcel != 3]
    there, without = (start.covariance_of(each)[1][present][:, present] for each in (batch, lacking))
    # Sizes are means over eleven parcels, of which each is a little different from the mean of all twelve.
    assert 0.9 < float(without.diagonal().mean() / there.diagonal().mean()) < 1.1
