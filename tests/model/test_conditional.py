"""The Gaussian conditional mean against a solve per time point, and what must not change it."""

import numpy as np
import pytest
import torch

from brainlm.model import conditional
from brainlm.model.conditional import conditional_mean


def covariance_of(num_parcels: int, *, num_windows: int = 1, seed: int = 0) -> torch.Tensor:
    draws = np.random.default_rng(seed).standard_normal((num_windows, num_parcels, 2 * num_parcels))
    products = torch.from_numpy(draws @ draws.transpose(0, 2, 1))
    return products / (2 * num_parcels) + 0.1 * torch.eye(num_parcels)


def example(num_windows: int = 3, num_parcels: int = 7, num_timepoints: int = 12, *, patch: int = 4):
    generator = torch.Generator().manual_seed(0)
    shape = (num_windows, num_parcels, num_timepoints)
    signal_BPT = torch.randn(shape, generator=generator, dtype=torch.float64)
    patches = torch.rand(num_windows, num_parcels, num_timepoints // patch, generator=generator) < 0.5
    return signal_BPT, patches.repeat_interleave(patch, dim=2)


def reference(covariance: np.ndarray, signal_BPT: np.ndarray, visible_BPT: np.ndarray) -> np.ndarray:
    """One time point at a time, as the textbook writes it."""
    mean_BPT = signal_BPT.copy()
    for b in range(len(signal_BPT)):
        sigma = covariance[b] if covariance.ndim == 3 else covariance
        for t in range(signal_BPT.shape[2]):
            v = visible_BPT[b, :, t]
            weights = np.linalg.solve(sigma[np.ix_(v, v)], signal_BPT[b, v, t])
            mean_BPT[b, ~v, t] = sigma[np.ix_(~v, v)] @ weights
    return mean_BPT


@pytest.mark.parametrize("own_covariances", [False, True])
@pytest.mark.parametrize("patch", [1, 4, 12])
def test_it_agrees_with_a_solve_per_time_point(own_covariances: bool, patch: int):
    signal_BPT, visible_BPT = example(patch=patch)
    covariance = covariance_of(7, num_windows=3) if own_covariances else covariance_of(7)[0]
    expected = reference(covariance.numpy(), signal_BPT.numpy(), visible_BPT.numpy())
    found = conditional_mean(covariance, signal_BPT, visible_BPT)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_small_chunks_give_the_same_as_one_chunk(monkeypatch: pytest.MonkeyPatch):
    signal_BPT, visible_BPT = example(num_windows=5)
    covariance = covariance_of(7)[0]
    whole = conditional_mean(covariance, signal_BPT, visible_BPT)
    monkeypatch.setattr(conditional, "CHUNK_BYTES_CPU", 1)
    torch.testing.assert_close(conditional_mean(covariance, signal_BPT, visible_BPT), whole)


def test_hidden_values_are_never_looked_at_even_when_nan():
    signal_BPT, visible_BPT = example()
    covariance = covariance_of(7)[0]
    spoiled = signal_BPT.masked_fill(~visible_BPT, float("nan"))
    expected = conditional_mean(covariance, signal_BPT, visible_BPT)
    assert torch.equal(conditional_mean(covariance, spoiled, visible_BPT), expected)


def test_batch_mates_do_not_matter():
    signal_BPT, visible_BPT = example(num_windows=6)
    covariance = covariance_of(7)[0]
    together = conditional_mean(covariance, signal_BPT, visible_BPT)
    windows = zip(signal_BPT.split(1), visible_BPT.split(1), strict=True)
    alone = torch.cat([conditional_mean(covariance, signal, visible) for signal, visible in windows])
    torch.testing.assert_close(alone, together)


def test_nothing_visible_gives_zero_and_everything_visible_gives_the_signal():
    signal_BPT, _ = example()
    covariance = covariance_of(7)[0]
    nothing = torch.zeros_like(signal_BPT, dtype=torch.bool)
    assert torch.equal(conditional_mean(covariance, signal_BPT, nothing), torch.zeros_like(signal_BPT))
    assert torch.equal(conditional_mean(covariance, signal_BPT, ~nothing), signal_BPT)


def test_float32_agrees_with_float64_at_the_size_of_an_atlas():
    signal_BPT, visible_BPT = example(num_windows=2, num_parcels=200, num_timepoints=20, patch=10)
    covariance = covariance_of(200)[0]
    exact = conditional_mean(covariance, signal_BPT, visible_BPT)
    single = conditional_mean(covariance.float(), signal_BPT.float(), visible_BPT)
    torch.testing.assert_close(single.double(), exact, atol=1e-4, rtol=1e-4)


def test_autocast_does_not_lower_the_precision():
    signal_BPT, visible_BPT = example(num_parcels=40)
    covariance = covariance_of(40)[0].float()
    plain = conditional_mean(covariance, signal_BPT.float(), visible_BPT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = conditional_mean(covariance, signal_BPT.float(), visible_BPT)
    assert torch.equal(plain, cast)


def test_gradients_reach_the_covariance_and_the_visible_signal():
    signal_BPT, visible_BPT = example(num_windows=2, num_parcels=4, num_timepoints=4, patch=2)
    root = torch.linalg.cholesky(covariance_of(4)[0]).requires_grad_()
    signal_BPT.requires_grad_()

    def mean(root: torch.Tensor, signal_BPT: torch.Tensor) -> torch.Tensor:
        return conditional_mean(root @ root.T, signal_BPT, visible_BPT)

    assert torch.autograd.gradcheck(mean, (root, signal_BPT))


def test_a_covariance_that_is_not_positive_definite_is_an_error():
    signal_BPT, visible_BPT = example()
    with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite"):
        conditional_mean(-covariance_of(7)[0], signal_BPT, visible_BPT)


@pytest.mark.gpu
def test_the_device_agrees_with_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    signal_BPT, visible_BPT = example(num_windows=4, num_parcels=100, num_timepoints=20, patch=10)
    covariance = covariance_of(100)[0]
    expected = conditional_mean(covariance, signal_BPT, visible_BPT)
    found = conditional_mean(covariance.cuda(), signal_BPT.cuda(), visible_BPT.cuda())
    torch.testing.assert_close(found.cpu(), expected)
