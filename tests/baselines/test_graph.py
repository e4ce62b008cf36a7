"""The graph is the group's strongest connections; the network is torch_geometric's on it."""

import numpy as np
import pytest
import torch

from brainlm.baselines.graph import ConnectomeGCN, EmbeddingGCN, GraphNetwork, graph_layers, group_graph
from brainlm.baselines.standardise import Standardise
from brainlm.errors import ConfigError

NUM_PARCELS = 12
NUM_PAIRS = NUM_PARCELS * (NUM_PARCELS - 1) // 2


@pytest.fixture
def edges(rng) -> np.ndarray:
    series = rng.standard_normal((20, 60, NUM_PARCELS)) + rng.standard_normal((20, 60, 1))
    upper = np.triu_indices(NUM_PARCELS, k=1)
    return np.stack([np.corrcoef(series_TP.T)[upper] for series_TP in series]).astype(np.float32)


def test_the_graph_joins_the_pairs_with_the_highest_mean(edges):
    edges[:10, 0] = np.nan
    graph_PP = group_graph(edges, share=0.25).numpy()
    mean_PP = np.full((NUM_PARCELS, NUM_PARCELS), -np.inf)
    mean_PP[np.triu_indices(NUM_PARCELS, k=1)] = np.nanmean(edges, axis=0)
    pairs = sorted(zip(*np.triu_indices(NUM_PARCELS, k=1), strict=True), key=lambda pair: -mean_PP[pair])
    expected_PP = np.zeros((NUM_PARCELS, NUM_PARCELS), np.float32)
    for row, column in pairs[: round(0.25 * NUM_PAIRS)]:
        expected_PP[row, column] = expected_PP[column, row] = 1
    np.testing.assert_array_equal(graph_PP, expected_PP)


def test_a_parcel_without_signal_in_anybody_is_joined_to_none(edges):
    rows, columns = np.triu_indices(NUM_PARCELS, k=1)
    edges[:, (rows == 5) | (columns == 5)] = np.nan
    graph_PP = group_graph(edges, share=1.0)
    assert float(graph_PP[5].sum()) == 0
    assert float(graph_PP.sum()) == (NUM_PARCELS - 1) * (NUM_PARCELS - 2)


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(edges, share):
    with pytest.raises(ConfigError, match="share of connections"):
        group_graph(edges, share=share)


def test_the_convolution_is_that_along_the_graphs_edges(edges):
    GCNConv = graph_layers().GCNConv

    graph_PP = group_graph(edges, share=0.3)
    network = GraphNetwork(graph_PP, 7, 1)
    along_edges = GCNConv(7, 32)
    along_edges.load_state_dict(network.first.state_dict())
    features_BPF = torch.randn(3, NUM_PARCELS, 7, generator=torch.Generator().manual_seed(0))
    expected = along_edges(features_BPF, graph_PP.nonzero().T)
    torch.testing.assert_close(network.first(features_BPF, graph_PP), expected)


def test_node_features_are_the_rows_of_the_connectome(edges):
    standardise = Standardise.fit(edges, np.arange(20))
    network = ConnectomeGCN(group_graph(edges), standardise, 2).eval()
    scaled_NE = standardise(torch.from_numpy(edges))
    rows_NPP = torch.zeros(20, NUM_PARCELS, NUM_PARCELS)
    rows, columns = np.triu_indices(NUM_PARCELS, k=1)
    rows_NPP[:, rows, columns] = rows_NPP[:, columns, rows] = scaled_NE
    torch.testing.assert_close(network(torch.from_numpy(edges)), network.graph(rows_NPP))


def test_batch_mates_change_nothing_and_missing_parcels_stay_finite(rng, edges):
    parcels_NPD = rng.standard_normal((20, NUM_PARCELS, 5)).astype(np.float32)
    parcels_NPD[3, 4] = np.nan
    network = EmbeddingGCN(group_graph(edges), Standardise.fit(parcels_NPD, np.arange(20)), 1).eval()
    together = network(torch.from_numpy(parcels_NPD))
    assert bool(torch.isfinite(together).all())
    torch.testing.assert_close(network(torch.from_numpy(parcels_NPD[3:4])), together[3:4])


def test_the_seed_makes_the_weights():
    graph_PP = torch.zeros(4, 4)
    first, second, other = (GraphNetwork(graph_PP, 3, 1, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["first.lin.weight"], other["first.lin.weight"])


@pytest.mark.parametrize(("num_parcels", "num_features"), [(200, 200), (424, 424), (424, 512)])
def test_it_stays_small(num_parcels, num_features):
    network = GraphNetwork(torch.zeros(num_parcels, num_parcels), num_features, 1)
    assert sum(parameter.numel() for parameter in network.parameters()) < 100_000
