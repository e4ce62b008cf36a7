"""The whole study on synthetic people whose networks are known, and on labels that mean nothing."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from brainlm.data.homologues import homologues
from brainlm.data.parcels import Parcels
from brainlm.data.scaling import Scaler
from brainlm.data.synthetic import synthetic_store
from brainlm.errors import ConfigError
from brainlm.evaluation.networks.gathering import FeatureRule
from brainlm.evaluation.networks.labels import check_layout, read_labels
from brainlm.evaluation.networks.study import NetworkRule, study_networks
from brainlm.evaluation.networks.surrogates import surrogate_labels
from brainlm.files import sealed
from brainlm.inference.brainlm import BrainLM
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import ModelConfig

NUM_PARCELS = 60
RULE = NetworkRule(
    folds=3,
    repeats=2,
    surrogates=19,
    num_bootstrap=100,
    subject_bootstrap=4,
    features=FeatureRule(families=("model", "controls")),
)
ROWS = [
    "attention profile",
    "attention rows",
    "parcel embeddings",
    "attention profile, random weights",
    "attention rows, random weights",
    "parcel embeddings, random weights",
    "raw series",
    "functional connectivity",
    "MNI coordinates",
    "MNI coordinates, halves mirrored",
    "majority",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return synthetic_store(
        tmp_path_factory.mktemp("networks") / "planted.store",
        num_subjects=10,
        runs_per_subject=2,
        num_parcels=NUM_PARCELS,
        num_networks=3,
        num_timepoints=(100, 140),
        autoregression=0.3,
    )


@pytest.fixture(scope="module")
def make_random():
    """``make_random(parcels, **settings)``: a network with random weights."""

    def make(parcels, **settings) -> MaskedAutoencoder:
        config = ModelConfig(
            num_timepoints=40, timepoints_per_patch=10, encoder_width=16, encoder_depth=2, encoder_heads=2,
            encoder_mlp=16, decoder_width=8, decoder_depth=1, decoder_heads=2, decoder_mlp=8, **settings,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            return MaskedAutoencoder(config, torch.from_numpy(parcels.order(config.parcel_order)))

    return make


@pytest.fixture(scope="module")
def model(store, make_random):
    network = make_random(store.parcels)
    return BrainLM(network, Scaler.fit(store, allow_any_split=True), store.parcels, {"data": {"atlas": "synthetic"}})


@pytest.fixture(scope="module")
def true_labels(store):
    return read_labels(store.parcels, "network", homologues=homologues(store.parcels))


@pytest.fixture(scope="module")
def studied(store, model, true_labels, tmp_path_factory):
    """The folder of a study, and its results."""
    folder = tmp_path_factory.mktemp("studied")
    results = study_networks(
        model, store, store.take([]), true_labels, rule=RULE, folder=folder, cache=folder / "features"
    )
    return folder, results


def row(results, name):
    return next(method for method in results["methods"] if method["name"] == name)


def test_every_control_has_a_row(studied):
    assert [method["name"] for method in studied[1]["methods"]] == ROWS


@pytest.mark.parametrize("name", ["functional connectivity", "raw series"])
def test_planted_networks_are_found_by_neighbours_and_by_clusters(studied, name):
    found = row(studied[1], name)
    assert found["scores"]["accuracy"]["value"] > 0.95
    assert found["clustering"]["ari"]["value"] > 0.9
    assert found["clustering"]["nmi"]["value"] > 0.9
    assert found["by_subjects"]["accuracy"]["low"] > 0.9
    assert found["null"]["p_accuracy"] == found["null"]["p_ari"] == 0.05


def test_chance_is_chance(studied):
    found = row(studied[1], "majority")
    assert found["scores"]["balanced_accuracy"]["value"] == pytest.approx(1 / 3, abs=0.05)
    assert (found["k"], found["clustering"], found["null"], found["minus_best_baseline"]) == (None,) * 4


def test_labels_that_mean_nothing_are_not_found(store, model, true_labels, tmp_path):
    """Pairs keep one label; the synthetic networks are whole stretches of the brain, so labels are drawn by pairs."""
    of_units = np.random.default_rng(1).permutation(true_labels.number_P[::2])
    assert (true_labels.units[::2] == true_labels.units[1::2]).all()
    labels = dataclasses.replace(true_labels, number_P=np.repeat(of_units, 2))
    rule = dataclasses.replace(RULE, repeats=1, surrogates=0, subject_bootstrap=0)
    results = study_networks(
        model, store, store.take([]), labels, rule=rule, folder=tmp_path, cache=tmp_path / "features"
    )
    for method in results["methods"]:
        assert method["scores"]["accuracy"]["value"] < 0.6, method["name"]
        assert method["null"] is None
        assert method["by_subjects"]["accuracy"]["low"] is None
    assert row(results, "functional connectivity")["clustering"]["ari"]["value"] < 0.1


def test_the_results_hold_what_readers_expect(studied):
    folder, results = studied
    assert json.loads((folder / "results.json").read_text()) == sealed(results)
    assert (results["format_version"], results["kind"], results["labels"]) == (1, "networks", "network")
    assert (results["num_parcels"], results["num_missing"], results["num_pairs"]) == (60, 0, 30)
    assert (results["num_subjects"], results["num_recordings"]) == (10, 20)
    assert results["main"] == "attention profile"
    assert results["best_baseline"] in ("functional connectivity", "raw series")
    assert results["difference"] == row(results, results["main"])["minus_best_baseline"]
    assert set(results["parcels"]["predicted"]) == {results["main"], results["best_baseline"], results["best_model"]}
    assert all(len(said) == NUM_PARCELS for said in results["parcels"]["predicted"].values())
    assert "% in the surrogates" in results["surrogates"]["sentence"]
    for method in results["methods"]:
        assert np.allclose(np.sum(method["confusion"], axis=1), 1, atol=1e-3)
    assert "NaN" not in (folder / "results.json").read_text()


def test_tables_have_a_row_for_each_kind_of_features_and_each_parcel(studied):
    folder, results = studied
    table = pd.read_csv(folder / "table.csv")
    assert table["method"].tolist() == ROWS
    first = row(results, ROWS[0])["scores"]["accuracy"]
    assert table.loc[0, ["accuracy", "accuracy_low", "accuracy_high"]].tolist() == pytest.approx(list(first.values()))
    assert len(pd.read_csv(folder / "parcels.csv")) == NUM_PARCELS


def test_a_second_run_computes_nothing_and_says_the_same(studied, store, model, true_labels):
    folder, results = studied
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*.np?")}
    assert len(made) > len(ROWS)
    again = study_networks(
        model, store, store.take([]), true_labels, rule=RULE, folder=folder, cache=folder / "features"
    )
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.np?")} == made
    assert again == results


def test_random_weights_are_those_of_the_seed_and_differ_from_the_model(studied):
    _, results = studied
    one, other = (row(results, "parcel embeddings" + suffix) for suffix in ("", ", random weights"))
    assert one["confusion"] != other["confusion"]


def test_pretraining_is_compared_with_three_networks_of_random_weights(studied):
    """The model itself has random weights: whatever they say of networks, it is no merit of pretraining."""
    _, results = studied
    draws = results["pretraining_draws"]
    assert len(draws) == 3
    assert draws[0] == results["pretraining_difference"]
    assert len({one["value"] for one in draws}) > 1
    assert "Pretraining counts" not in results["conclusion"]


@pytest.mark.parametrize("surrogates", [0, 19])
def test_a_layout_that_follows_the_networks_is_refused(store, make_random, true_labels, surrogates):
    """The atlas is sorted by network, as many are; no setting names a network."""
    by_network = np.argsort(true_labels.number_P, kind="stable")
    sorted_parcels = Parcels(store.parcels.table.iloc[by_network].assign(label=range(1, NUM_PARCELS + 1)))
    labels = read_labels(sorted_parcels, "network", homologues=homologues(sorted_parcels))
    maps_LQ = np.empty((0, NUM_PARCELS), np.int8)
    if surrogates:
        maps_LP = surrogate_labels(
            sorted_parcels, labels.number_P, num=surrogates, seed=0, homologues=labels.homologues
        )
        maps_LQ = maps_LP.astype(np.int8)
    for settings in ({"parcels_per_patch": 4}, {"spatial_positions": "grid", "temporal_positions": "grid"}):
        network = make_random(sorted_parcels, parcel_order="atlas", **settings)
        with pytest.raises(ConfigError, match="follows the networks"):
            check_layout(network, labels, maps_LQ, seed=0)
    check_layout(make_random(sorted_parcels, parcel_order="atlas"), labels, maps_LQ, seed=0)
    check_layout(make_random(sorted_parcels, parcel_order="y", parcels_per_patch=4), labels, maps_LQ, seed=0)


def test_a_study_of_such_a_model_computes_nothing(store, make_random, true_labels, tmp_path):
    network = make_random(store.parcels, parcel_order="atlas", parcels_per_patch=4)
    by_network = np.argsort(true_labels.number_P, kind="stable")
    network = MaskedAutoencoder(network.config, torch.from_numpy(by_network))
    model = BrainLM(network, Scaler.fit(store, allow_any_split=True), store.parcels, {})
    rule = dataclasses.replace(RULE, surrogates=0)
    with pytest.raises(ConfigError, match="follows the networks"):
        study_networks(model, store, store.take([]), true_labels, rule=rule, folder=tmp_path, cache=tmp_path)
    assert not list(tmp_path.rglob("*.np?"))


def test_an_atlas_in_an_order_that_means_nothing_is_not_refused(store, make_random):
    refused = 0
    for seed in range(20):
        mixed = Parcels(store.parcels.table.sample(frac=1, random_state=seed).assign(label=range(1, NUM_PARCELS + 1)))
        labels = read_labels(mixed, "network", homologues=homologues(mixed))
        network = make_random(mixed, parcel_order="atlas", parcels_per_patch=4)
        try:
            check_layout(network, labels, np.empty((0, NUM_PARCELS), np.int8), seed=seed)
        except ConfigError:
            refused += 1
    assert refused <= 4  # 1 in 20 is expected; more than 4 in 20 has a probability of 0.003


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="max_recordings"):
        NetworkRule(max_recordings=0)
    with pytest.raises(ConfigError, match="model's features"):
        FeatureRule(families=("controls",))
