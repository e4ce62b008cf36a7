"""Networks from a column: what counts as none, what is too small, what is not there."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.errors import AtlasError, ConfigError
from brainlm.evaluation.networks.labels import read_labels, tied_by_patches, units_per_network
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import ModelConfig


def test_what_atlases_write_for_no_network_is_missing(make_parcels, in_pairs):
    words = ["Vis"] * 6 + ["Default"] * 6 + [np.nan, "", "0", "None", "n/a", "nan"]
    labels = read_labels(make_parcels(words), "network", homologues=in_pairs(18))
    assert labels.names == ("Default", "Vis")
    assert labels.number_P.tolist() == [1] * 6 + [0] * 6 + [-1] * 6
    assert (labels.num_missing, labels.num_pairs) == (6, 6)
    assert labels.sizes.tolist() == [6, 6]


def test_numbers_are_names_and_zero_is_none(make_parcels, in_pairs):
    labels = read_labels(make_parcels([1.0] * 6 + [2.0] * 6 + [0.0, np.nan]), "network", homologues=in_pairs(14))
    assert labels.names == ("1", "2")
    assert labels.num_missing == 2


def test_units_are_counted_without_gaps_among_labelled_parcels(make_parcels, in_pairs):
    words = ["", "", *["a"] * 6, "", "b", *["b"] * 6]
    labels = read_labels(make_parcels(words), "network", homologues=in_pairs(16))
    assert labels.units.tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6]
    assert labels.num_pairs == 6
    assert units_per_network(labels).tolist() == [3, 4]


def test_a_column_that_is_not_there_is_answered_with_those_that_are(make_parcels, in_pairs):
    with pytest.raises(AtlasError, match="yeo7") as caught:
        read_labels(make_parcels(["a", "b"]), "yeo7", homologues=in_pairs(2))
    assert "one of network" in str(caught.value)


def test_one_network_alone_cannot_be_told(make_parcels, in_pairs):
    with pytest.raises(AtlasError, match="tell networks apart"):
        read_labels(make_parcels(["a"] * 8), "network", homologues=in_pairs(8))


def test_a_network_too_small_is_refused_with_the_counts_and_left_out_on_request(make_parcels, in_pairs):
    parcels, pairs = make_parcels(["a"] * 6 + ["b"] * 8 + ["tiny"] * 4), in_pairs(18)
    with pytest.raises(ConfigError, match="too small") as caught:
        read_labels(parcels, "network", homologues=pairs)
    assert "tiny 4" in str(caught.value)
    assert "--min_parcels 5" in str(caught.value)
    labels = read_labels(parcels, "network", homologues=pairs, min_parcels=5)
    assert labels.names == ("a", "b")
    assert labels.left_out == (("tiny", 4),)
    assert labels.num_missing == 4


def test_parcels_of_a_patch_are_one_unit_with_their_homologues(make_parcels, in_pairs):
    words, patch_P = ["a"] * 8 + ["b"] * 8, np.array([0, 1, 1, 2, 3, 3, 4, 4, *range(5, 13)])
    labels = read_labels(make_parcels(words), "network", homologues=in_pairs(16), patch_P=patch_P)
    # Pairs are (0, 1), (2, 3) ...: patch 1 joins the first two of them.
    assert labels.units.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert labels.num_pairs == 8
    assert labels.share_of_patches == 1.0
    mixed = dataclasses.replace(labels, number_P=np.arange(16) % 2, patch_P=np.arange(16) // 4)
    assert mixed.share_of_patches == 0.5


def network_with(**settings) -> MaskedAutoencoder:
    config = ModelConfig(
        num_timepoints=20, timepoints_per_patch=10, encoder_width=16, encoder_depth=1, encoder_heads=2, encoder_mlp=16,
        decoder_width=8, decoder_depth=1, decoder_heads=2, decoder_mlp=8, **settings,
    )  # fmt: skip
    return MaskedAutoencoder(config, torch.arange(12).flip(0))


def test_a_model_whose_patches_were_made_by_networks_is_refused():
    with pytest.raises(ConfigError, match="was put into it"):
        tied_by_patches(network_with(parcels_per_patch=4, parcel_order="network:yeo7"))
    # A parcel a patch: with learned places the order says nothing.
    assert tied_by_patches(network_with(parcels_per_patch=1, parcel_order="network:yeo7")) is None
    patch_P = tied_by_patches(network_with(parcels_per_patch=4, parcel_order="y"))
    assert patch_P is not None
    assert patch_P.tolist() == [2] * 4 + [1] * 4 + [0] * 4
