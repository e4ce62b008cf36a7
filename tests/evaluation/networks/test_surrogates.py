"""Surrogate labels have the sizes, the symmetry and the smoothness of the real ones, and nothing else of them."""

import numpy as np
import pandas as pd
import pytest

from brainlm.data.homologues import homologues
from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError, DataError
from brainlm.evaluation.networks.surrogates import surrogate_labels, surrogate_sentence

NUM = 25


@pytest.fixture(scope="module")
def parcels() -> Parcels:
    """60 left-right pairs and 10 parcels in the midline."""
    rng = np.random.default_rng(3)
    left = np.stack([-rng.uniform(8, 60, 60), rng.uniform(-90, 60, 60), rng.uniform(-40, 60, 60)], axis=1)
    right = left * [-1, 1, 1] + rng.normal(0, 1, left.shape)
    middle = np.stack([np.zeros(10), rng.uniform(-90, 60, 10), rng.uniform(-40, 60, 10)], axis=1)
    names = [f"L_{n}" for n in range(60)] + [f"R_{n}" for n in range(60)] + [f"M{n}" for n in range(10)]
    table = pd.DataFrame({"label": np.arange(1, 131), "name": names})
    table[["x", "y", "z"]] = np.concatenate([left, right, middle])
    return Parcels(table)


@pytest.fixture(scope="module")
def labels(parcels) -> np.ndarray:
    """Patches around four places, a fifth of the parcels taken from a neighbouring one, some unknown."""
    rng = np.random.default_rng(4)
    place = parcels.coordinates.astype(float)
    place[:, 0] = np.abs(place[:, 0])
    centres = np.array([(30, -70, 0), (40, -20, 40), (40, 30, 0), (10, 0, 50)], float)
    distance = np.linalg.norm(place[:, None] - centres[None], axis=2)
    nearest = distance.argsort(axis=1)
    labels = np.where(rng.random(len(place)) < 0.2, nearest[:, 1], nearest[:, 0])
    labels[rng.choice(len(place), 12, replace=False)] = -1
    return labels.astype(np.int64)


@pytest.fixture(scope="module")
def maps(parcels, labels) -> np.ndarray:
    return surrogate_labels(parcels, labels, num=NUM, seed=0, homologues=homologues(parcels))


def neighbours_alike(parcels, labels, num_neighbours: int = 3) -> float:
    """The share of each labelled parcel's nearest neighbours with its label, one by one."""
    known = np.flatnonzero(labels >= 0)
    place, label = parcels.coordinates[known], labels[known]
    shares = []
    for number in range(len(known)):
        nearest = np.argsort(np.linalg.norm(place - place[number], axis=1))[1 : num_neighbours + 1]
        shares.append(np.mean(label[nearest] == label[number]))
    return float(np.mean(shares))


def test_neighbours_are_alike_as_often_as_in_truth_and_far_more_than_in_shuffled_labels(parcels, labels, maps, rng):
    real = neighbours_alike(parcels, labels)
    surrogate = np.mean([neighbours_alike(parcels, each) for each in maps])
    shuffled = []
    for _ in range(10):
        permuted = labels.copy()
        permuted[labels >= 0] = rng.permutation(labels[labels >= 0])
        shuffled.append(neighbours_alike(parcels, permuted))
    assert abs(surrogate - real) < 0.08
    assert np.mean(shuffled) < real - 0.2


def test_every_map_has_the_same_sizes_and_the_same_parcels_without_network(labels, maps):
    assert maps.shape == (NUM, len(labels))
    for each in maps:
        np.testing.assert_array_equal(each < 0, labels < 0)
        np.testing.assert_array_equal(np.bincount(each[each >= 0]), np.bincount(labels[labels >= 0]))


def test_as_many_pairs_as_in_truth_have_one_network(labels, maps):
    def num_alike(each) -> int:
        left, right = each[:60], each[60:120]
        return int(((left == right) & (left >= 0)).sum())

    assert {num_alike(each) for each in maps} == {num_alike(labels)}


def test_a_network_of_one_half_of_the_brain_stays_there(parcels):
    x = parcels.coordinates[:, 0]
    front = parcels.coordinates[:, 1] > -10
    labels = np.where(x < -4, np.where(front, 0, 1), np.where(front, 2, 3)).astype(np.int64)
    for each in surrogate_labels(parcels, labels, num=5, seed=0, homologues=homologues(parcels)):
        assert set(each[:60]) == {0, 1}


def test_maps_have_no_more_in_common_with_the_real_one_than_chance(labels, maps):
    known = labels >= 0
    share = np.bincount(labels[known]) / known.sum()
    agreement = (maps[:, known] == labels[known]).mean()
    assert abs(agreement - np.square(share).sum()) < 0.08


def test_the_same_seed_gives_the_same_maps_and_another_others(parcels, labels, maps):
    again = surrogate_labels(parcels, labels, num=NUM, seed=0, homologues=homologues(parcels))
    np.testing.assert_array_equal(again, maps)
    other = surrogate_labels(parcels, labels, num=NUM, seed=1, homologues=homologues(parcels))
    assert (other != maps).any(axis=1).all()


def test_one_map_is_a_map(parcels, labels):
    assert surrogate_labels(parcels, labels, num=1, seed=0, homologues=homologues(parcels)).shape == (1, len(labels))


def test_parcels_without_coordinates_have_no_surrogates(labels):
    unnamed = Parcels.unnamed(len(labels))
    with pytest.raises(AtlasError, match="lacks coordinates"):
        surrogate_labels(unnamed, labels, num=2, seed=0, homologues=homologues(unnamed))


def test_a_handful_of_parcels_has_no_variogram(parcels, labels):
    few = np.where(np.arange(len(labels)) < 12, np.arange(len(labels)) % 2, -1).astype(np.int64)
    with pytest.raises(DataError, match="too few parcels") as error:
        surrogate_labels(parcels, few, num=2, seed=0, homologues=homologues(parcels))
    assert "--surrogates 0" in str(error.value)


def test_the_sentence_says_how_many_and_whether_pairs_were_kept():
    assert "left-right" in surrogate_sentence(200, 79)
    assert surrogate_sentence(200, 0).startswith("200 surrogate")
    assert "left-right" not in surrogate_sentence(200, 0)


def test_neighbours_in_the_surrogates_of_cc200_are_alike_as_in_its_networks(shared):
    table = pd.read_csv(shared / "data" / "abide" / "parcels.tsv", sep="\t")
    table["name"] = [f"CC200-{label}" for label in table["label"]]
    cc200 = Parcels(table[["label", "name", "x", "y", "z"]])
    real = table["yeo7"].to_numpy(np.int64) - 1
    maps = surrogate_labels(cc200, real, num=20, seed=0, homologues=homologues(cc200))
    alike = np.mean([neighbours_alike(cc200, each) for each in maps])
    # Shuffled labels: .17.
    assert neighbours_alike(cc200, real) == pytest.approx(0.52, abs=0.01)
    assert alike == pytest.approx(0.45, abs=0.04)
