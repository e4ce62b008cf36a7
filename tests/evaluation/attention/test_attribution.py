"""Integrated gradients add up to what they explain, and find the only parcels that matter."""

import numpy as np
import torch

from brainlm.evaluation.attention import attribution
from brainlm.evaluation.attention.attribution import attribute


def test_attributions_are_shares_that_add_up(model, tasks):
    found = attribute(model, tasks, np.array([0, 7, 8]))
    assert found.share_MP.shape == (3, tasks.num_parcels)
    np.testing.assert_allclose(found.share_MP.sum(axis=1), 1.0, rtol=1e-5)
    assert (found.error_M < 0.05).all()


def test_only_parcels_that_change_the_vector_are_attributed_anything(model, tasks, monkeypatch):
    weight_P = torch.zeros(tasks.num_parcels)
    weight_P[[1, 4]] = torch.tensor([1.0, -3.0])

    def linear(network, signal_BPT, valid_BPT):
        del network, valid_BPT
        return (signal_BPT.sum(dim=2) @ weight_P)[:, None].expand(-1, 2)

    monkeypatch.setattr(attribution, "_cls", linear)
    (batch,) = attribution.sample_batches(model, tasks, np.array([3]), batch_size=1)
    expected_P = (batch.signal_BPT[0].abs().sum(dim=1) * weight_P.abs()).numpy()
    found = attribute(model, tasks, np.array([3]))
    np.testing.assert_allclose(found.share_MP[0], expected_P / expected_P.sum(), rtol=1e-4)
    assert found.error_M[0] < 1e-4


def test_the_model_is_left_as_it_was(model, tasks):
    before = {name: parameter.clone() for name, parameter in model.network.named_parameters()}
    attribute(model, tasks, np.array([0]))
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])
