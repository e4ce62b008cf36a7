"""The graph auto-encoder is two convolutions of torch_geometric and an inner product on each recording's own graph."""

import numpy as np
import pytest
import torch

from brainlm.baselines.graph import graph_layers, group_graph
from brainlm.baselines.graph_embedding import GraphAutoencoder, strongest

NUM_PARCELS = 12
ROWS, COLUMNS = np.triu_indices(NUM_PARCELS, k=1)


@pytest.fixture
def edges(rng) -> np.ndarray:
    series = rng.standard_normal((6, 60, NUM_PARCELS)) + rng.standard_normal((6, 60, 1))
    return np.stack([np.corrcoef(series_TP.T)[ROWS, COLUMNS] for series_TP in series]).astype(np.float32)


@pytest.fixture
def network(edges) -> GraphAutoencoder:
    return GraphAutoencoder(group_graph(edges), seed=0)


def test_vectors_and_loss_are_those_of_torch_geometrics_sparse_layers(network, edges):
    GCNConv = graph_layers().GCNConv

    first, second = GCNConv(NUM_PARCELS, 32), GCNConv(32, 16)
    first.load_state_dict(network.first.state_dict())
    second.load_state_dict(network.second.state_dict())
    losses, vectors = network(torch.from_numpy(edges)), network.encode(torch.from_numpy(edges))
    for number, row in enumerate(edges):
        profile = np.zeros((NUM_PARCELS, NUM_PARCELS), np.float32)
        profile[ROWS, COLUMNS] = profile[COLUMNS, ROWS] = np.arctanh(row)
        profile -= profile.mean(axis=1, keepdims=True)
        profile /= np.sqrt(np.square(profile).mean(axis=1, keepdims=True) + 1e-5)
        top = np.argsort(-row)[: round(0.1 * len(row))]
        index = torch.from_numpy(np.concatenate([[ROWS[top], COLUMNS[top]], [COLUMNS[top], ROWS[top]]], axis=1))
        expected = second(torch.relu(first(torch.from_numpy(profile), index)), index)
        torch.testing.assert_close(vectors[number], expected, rtol=1e-4, atol=1e-5)
        probability = torch.sigmoid(expected @ expected.T)
        joined = network.group_PP > 0
        apart = ~joined & ~torch.eye(NUM_PARCELS, dtype=torch.bool)
        loss = -(probability[joined].log().mean() + (1 - probability[apart]).log().mean()) / 2
        torch.testing.assert_close(losses[number], loss, rtol=1e-4, atol=1e-5)


def test_a_parcel_without_signal_has_no_vector_and_costs_nothing(network, edges):
    edges[:, (ROWS == 4) | (COLUMNS == 4)] = np.nan
    batch = torch.from_numpy(edges).requires_grad_()
    vectors = network.encode(batch)
    assert torch.isnan(vectors[:, 4]).all()
    assert torch.isfinite(torch.cat([vectors[:, :4], vectors[:, 5:]], dim=1)).all()
    losses = network(batch)
    assert torch.isfinite(losses).all()
    losses.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_batch_mates_change_nothing(network, edges):
    together = network.encode(torch.from_numpy(edges))
    alone = network.encode(torch.from_numpy(edges[2:3]))
    torch.testing.assert_close(alone, together[2:3])


def test_two_copies_of_a_parcel_are_finite(network, edges):
    edges[:, 0] = 1.0
    assert torch.isfinite(network(torch.from_numpy(edges))).all()


def test_the_strongest_pairs_are_the_highest_and_never_unknown():
    edges = torch.tensor([[0.1, 0.9, float("nan"), -0.95, 0.5], [float("nan")] * 5])
    chosen = strongest(edges, share=0.4)
    assert chosen.tolist() == [[False, True, False, False, True], [False] * 5]
