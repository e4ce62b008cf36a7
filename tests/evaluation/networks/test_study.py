"""The whole study on synthetic people whose networks are known, and on labels that mean nothing."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from brainlm.data.homologues import homologues
from brainlm.data.scaling import Scaler
from brainlm.data.synthetic import synthetic_store
from brainlm.errors import ConfigError
from brainlm.evaluation.networks.gathering import FeatureRule
from brainlm.evaluation.networks.labels import read_labels
from brainlm.evaluation.networks.study import NetworkRule, study_networks
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
def model(store):
    config = ModelConfig(
        num_timepoints=40, timepoints_per_patch=10, encoder_width=16, encoder_depth=2, encoder_heads=2, encoder_mlp=16,
        decoder_width=8, decoder_depth=1, decoder_heads=2, decoder_mlp=8,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = MaskedAutoencoder(config, torch.from_numpy(store.parcels.order(config.parcel_order)))
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


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="max_recordings"):
        NetworkRule(max_recordings=0)
    with pytest.raises(ConfigError, match="model's features"):
        FeatureRule(families=("controls",))
