"""Moments in one pass against numpy, with missing parcels and padding."""

import numpy as np
import pytest
import torch

from brainlm.baselines.moments import moments_of
from brainlm.data.scaling import ScaledBatch
from brainlm.errors import DataError


def batch_of(signal_TP: np.ndarray, valid_TP: np.ndarray | None = None) -> ScaledBatch:
    valid_TP = np.ones(signal_TP.shape, bool) if valid_TP is None else valid_TP
    return ScaledBatch(torch.tensor(signal_TP.T[None], dtype=torch.float32), torch.from_numpy(valid_TP.T[None].copy()))


def test_mean_and_covariance_are_those_of_all_time_points(rng: np.random.Generator):
    first, second = rng.standard_normal((30, 4)) + 3, rng.standard_normal((50, 4)) * 2
    moments = moments_of([batch_of(first), batch_of(second)], num_lags=5)
    together = np.concatenate([first, second])
    np.testing.assert_allclose(moments.mean_P.numpy(), together.mean(axis=0), atol=1e-6)
    expected = np.cov(together.T, bias=True)
    np.testing.assert_allclose(moments.covariance_PP.numpy(), expected, atol=1e-5)


def test_autocovariances_do_not_cross_recordings(rng: np.random.Generator):
    recordings = [rng.standard_normal((30, 2)), rng.standard_normal((20, 2))]
    moments = moments_of(map(batch_of, recordings), num_lags=4)
    mean = np.concatenate(recordings).mean(axis=0)
    for lag in range(4):
        products = [x[: len(x) - lag] * x[lag:] - mean**2 for x in recordings]
        expected = np.concatenate(products).sum(axis=0) / 50
        np.testing.assert_allclose(moments.autocovariance_PL[:, lag].numpy(), expected, atol=1e-6)


def test_missing_parcels_and_padding_do_not_count(rng: np.random.Generator):
    whole, lacking = rng.standard_normal((40, 3)), rng.standard_normal((60, 3))
    valid = np.ones((60, 3), bool)
    valid[:, 1] = False
    valid[45:] = False
    moments = moments_of([batch_of(whole), batch_of(lacking, valid)], num_lags=3)
    both = np.concatenate([whole, lacking[:45]])
    assert moments.num_points_P.tolist() == [85, 40, 85]
    np.testing.assert_allclose(moments.covariance_PP[0, 2], np.cov(both.T, bias=True)[0, 2], atol=1e-6)
    np.testing.assert_allclose(moments.covariance_PP[1, 1], whole[:, 1].var(), atol=1e-6)
    trimmed = np.where(valid[:45], lacking[:45], 0)
    short = moments_of([batch_of(whole), batch_of(trimmed, valid[:45])], num_lags=3)
    torch.testing.assert_close(moments.autocovariance_PL, short.autocovariance_PL)


def test_a_parcel_that_is_never_there_is_uncorrelated_with_the_rest(rng: np.random.Generator):
    valid = np.ones((40, 3), bool)
    valid[:, 2] = False
    moments = moments_of([batch_of(rng.standard_normal((40, 3)), valid)], num_lags=3)
    covariance = moments.covariance_PP
    assert covariance[2, :2].tolist() == [0, 0]
    torch.testing.assert_close(covariance[2, 2], covariance.diagonal()[:2].mean())
    assert torch.isfinite(moments.autocorrelation).all()


def test_no_recordings_is_an_error():
    with pytest.raises(DataError, match="no recordings to fit"):
        moments_of([], num_lags=3)
