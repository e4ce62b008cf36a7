"""Conjugate gradients against a dense solve with the Kronecker product written out."""

import logging

import numpy as np
import pytest
import torch

from brainlm.baselines.gaussian import Blend, GaussianRecording, GaussianSpace
from brainlm.baselines.predictor import squared_error
from brainlm.baselines.space_time import GaussianSpaceTime
from brainlm.model import space_time
from brainlm.model.space_time import solve_visible


def dense(covariance_PP, temporal_TT, signal_PT, visible_PT) -> np.ndarray:
    """The conditional mean of one window, all its values in one vector."""
    kronecker = np.kron(covariance_PP, temporal_TT)
    v = visible_PT.ravel()
    mean = kronecker[:, v] @ np.linalg.solve(kronecker[np.ix_(v, v)], signal_PT.ravel()[v])
    return mean.reshape(signal_PT.shape)


@pytest.fixture
def space(moments) -> GaussianSpace:
    return GaussianSpace.of(moments, shrinkage=0.05)


@pytest.mark.parametrize("kind", ["random", "parcel", "future"])
@pytest.mark.parametrize("adapted", [False, True])
def test_it_agrees_with_a_dense_solve(moments, space, make_batch, monkeypatch, kind: str, adapted: bool):
    monkeypatch.setattr(space_time, "TOLERANCE", 1e-5)
    batch = make_batch(kind)
    over = GaussianRecording(space, Blend(0.5, 0.0)) if adapted else space
    method = GaussianSpaceTime(over, moments.autocorrelation.float(), noise_share=0.1)
    predicted = method.predict(batch).numpy()
    covariance = over.covariance_of(batch).expand(5, -1, -1).double().numpy()
    temporal = method.temporal_covariance(40).double().numpy()
    mean_P1 = space.mean_P.numpy()[:, None]
    for window in range(5):
        signal, visible = batch.signal_BPT[window].numpy() - mean_P1, batch.visible[window].numpy()
        expected = dense(covariance[window], temporal, signal, visible) + mean_P1
        scored = batch.scored[window].numpy()
        np.testing.assert_allclose(predicted[window][scored], expected[scored], atol=1e-3)


def test_time_helps_where_signals_are_smooth(moments, space, make_batch):
    batches = [make_batch(seed=seed) for seed in range(3)]
    fitted = GaussianSpaceTime.fit(space, moments, batches)
    assert squared_error(fitted, batches) < 0.98 * squared_error(space, batches)


def test_lags_beyond_the_known_ones_are_uncorrelated(space):
    method = GaussianSpaceTime(space, torch.tensor([1.0, 0.5]), noise_share=0.2)
    expected = torch.tensor([[1, 0.4, 0], [0.4, 1, 0.4], [0, 0.4, 1]])
    torch.testing.assert_close(method.temporal_covariance(3), expected)


def test_windows_with_nothing_visible_are_the_mean(moments, space, make_batch):
    batch = make_batch()
    batch.hidden_BPT[1] = True
    predicted = GaussianSpaceTime(space, moments.autocorrelation.float(), 0.1).predict(batch)
    torch.testing.assert_close(predicted[1], space.mean_P[:, None].expand(-1, 40))


def test_it_says_when_it_has_not_converged(moments, space, make_batch, monkeypatch, caplog):
    monkeypatch.setattr(space_time, "MAX_ITERATIONS", 1)
    with caplog.at_level(logging.WARNING):
        GaussianSpaceTime(space, moments.autocorrelation.float(), 0.01).predict(make_batch())
    assert "after 1 iterations" in caplog.text


def test_few_iterations_suffice(moments, space, make_batch):
    batch = make_batch()
    temporal_TT = GaussianSpaceTime(space, moments.autocorrelation.float(), 0.1).temporal_covariance(40)
    seen_BTP = batch.visible.transpose(1, 2).contiguous()
    solution = solve_visible(space.covariance_PP, temporal_TT, batch.seen.transpose(1, 2), seen_BTP)
    assert solution.converged
    assert solution.num_iterations < 40
    assert not solution.weights_BTP[~seen_BTP].any()


def test_several_threads_solve_as_well_as_one(rng):
    # torch 2.13's batched LU factorisation fails here; ours must not use it.
    points = torch.from_numpy(rng.normal(size=(16, 300, 200))).float()
    covariance = points.transpose(1, 2) @ points / 300
    signal = torch.from_numpy(rng.normal(size=(16, 10, 200))).float()
    seen = torch.from_numpy(rng.random((16, 10, 200)) < 0.5)
    temporal = torch.eye(10) * 0.5 + 0.5
    alone = solve_visible(covariance, temporal, signal, seen)
    torch.set_num_threads(2)
    try:
        together = solve_visible(covariance, temporal, signal, seen)
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(together.weights_BTP, alone.weights_BTP, rtol=1e-2, atol=1e-3)
