"""Parcels in pairs whose networks are known, and features that tell them or do not."""

import numpy as np
import pandas as pd
import pytest

from brainlm.data.homologues import Homologues
from brainlm.data.parcels import Parcels
from brainlm.evaluation.networks.labels import NetworkLabels
from brainlm.evaluation.networks.parcel_features import ParcelFeatures


@pytest.fixture
def make_parcels():
    """``make_parcels(words)``: parcels with these words in the column ``network``."""

    def make(words) -> Parcels:
        numbers = np.arange(1, len(words) + 1)
        return Parcels(pd.DataFrame({"label": numbers, "name": [f"p{number}" for number in numbers], "network": words}))

    return make


@pytest.fixture
def in_pairs():
    """``in_pairs(num_parcels)``: neighbours in the table are each other's homologues."""

    def make(num_parcels: int) -> Homologues:
        return Homologues(np.arange(num_parcels) // 2, num_parcels // 2, "the test")

    return make


@pytest.fixture
def make_labels(in_pairs):
    """``make_labels(num_networks, pairs_each)``: networks of so many pairs, in the order of the table."""

    def make(num_networks: int = 3, pairs_each: int = 6) -> NetworkLabels:
        number_P = np.repeat(np.arange(num_networks), 2 * pairs_each)
        names = tuple(f"network-{number}" for number in range(num_networks))
        return NetworkLabels("network", names, number_P, in_pairs(len(number_P)))

    return make


@pytest.fixture
def make_features(rng):
    """``make_features(labels, strength)``: each network's own direction, with noise that differs by recording."""

    def make(labels: NetworkLabels, strength: float = 3.0, *, recordings: int = 4, **changes) -> ParcelFeatures:
        centres = rng.normal(size=(len(labels.names), 8)) * strength
        noise = rng.normal(size=(recordings, len(labels.number_P), 8))
        values = (centres[labels.number_P] + noise).astype(np.float32)
        return ParcelFeatures(**{"name": "made up", "group": "signal", "values_NPF": values} | changes)

    return make
