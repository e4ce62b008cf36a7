"""Features through folds: planted networks are found, shuffled ones are not, nothing is computed twice."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from brainlm.evaluation.networks.labels import NetworkLabels
from brainlm.evaluation.networks.outcomes import load_outcome, outcome_path, save_outcome
from brainlm.evaluation.networks.parcel_features import ParcelFeatures, majority
from brainlm.evaluation.networks.running import NetworkStudy, run_features
from brainlm.evaluation.networks.scores import ParcelScoring
from brainlm.evaluation.networks.weighing import recording_weights


@pytest.fixture
def make_study(rng):
    """``make_study(labels)``: four people, two folds, ten label maps that are shuffled."""

    def make(labels: NetworkLabels, *, num_bootstrap: int = 3, surrogates: int = 10) -> NetworkStudy:
        weights = recording_weights(pd.Series(list("abcd")), num_bootstrap=num_bootstrap, seed=0)
        maps = np.stack([rng.permutation(labels.numbers) for _ in range(max(surrogates, 1))])[:surrogates]
        return NetworkStudy.of(labels, weights, maps.astype(np.int8), folds=3, repeats=2, seed=0)

    return make


@pytest.mark.parametrize("combine", ["mean", "concatenate"])
def test_planted_networks_are_found_with_and_without_labels(make_labels, make_features, make_study, tmp_path, combine):
    labels = make_labels()
    outcome = run_features(make_features(labels, combine=combine), make_study(labels), tmp_path)
    assert (outcome.predicted_RQ == labels.numbers).all()
    assert outcome.observed == 1.0
    assert outcome.null_L.max() < 0.7
    assert (outcome.accuracy_W > 0.9).all()
    assert len(outcome.accuracy_W) == len(outcome.balanced_W) == 3
    scores = ParcelScoring.of(labels, num_bootstrap=10, seed=0).clustering(outcome.cluster_Q)
    assert scores["ari"].value == 1.0


def test_labels_that_mean_nothing_are_told_by_chance(make_labels, make_features, make_study, tmp_path, rng):
    """Pairs keep their label, so that what a parcel shares with its homologue would help if folds let it."""
    labels = make_labels(3, 20)
    shuffled = np.repeat(rng.permutation(labels.number_P[::2]), 2)
    features = make_features(labels)
    own = features.values_NPF + 5 * np.repeat(rng.normal(size=(60, 8)), 2, axis=0).astype(np.float32)
    nothing = NetworkLabels("network", labels.names, shuffled, labels.homologues)
    outcome = run_features(ParcelFeatures("own", "signal", own), make_study(nothing), tmp_path)
    assert (outcome.predicted_RQ == nothing.numbers).mean() == pytest.approx(1 / 3, abs=0.13)


def test_the_majority_is_that_of_the_training_parcels(make_study, tmp_path, in_pairs):
    number_P = np.repeat([0, 1, 1], 10)
    labels = NetworkLabels("network", ("small", "large"), number_P, in_pairs(30))
    outcome = run_features(majority(), make_study(labels), tmp_path)
    assert (outcome.predicted_RQ == 1).all()
    assert outcome.observed is None
    assert len(outcome.cluster_Q) == len(outcome.k_X) == 0


def test_an_outcome_is_kept_and_taken_only_for_the_same_numbers_and_study(
    make_labels, make_features, make_study, tmp_path, caplog
):
    labels = make_labels()
    features, study = make_features(labels), make_study(labels)
    first = run_features(features, study, tmp_path)
    path = outcome_path(tmp_path, features.name)
    made = path.stat().st_mtime_ns
    again = run_features(features, study, tmp_path)
    assert path.stat().st_mtime_ns == made
    assert again.seconds == first.seconds
    np.testing.assert_array_equal(again.predicted_RQ, first.predicted_RQ)
    assert load_outcome(path, key="another") is None
    changed = ParcelFeatures(features.name, features.group, features.values_NPF + 1)
    assert run_features(changed, study, tmp_path).key != first.key
    path.write_bytes(path.read_bytes()[:100])
    assert load_outcome(path, key=first.key) is None
    assert "damaged" in caplog.text


def test_an_outcome_survives_its_file(make_labels, make_features, make_study, tmp_path):
    labels = make_labels()
    outcome = run_features(make_features(labels), make_study(labels, surrogates=0, num_bootstrap=0), tmp_path)
    save_outcome(tmp_path / "one.npz", outcome)
    found = load_outcome(tmp_path / "one.npz", key=outcome.key)
    for name, value in vars(outcome).items():
        np.testing.assert_array_equal(getattr(found, name), value)
    assert found.observed is None


def test_the_order_of_people_changes_nothing(make_labels, make_features, make_study, tmp_path):
    labels = make_labels()
    features = make_features(labels, 0.8, combine="concatenate")
    study = make_study(labels, num_bootstrap=0)
    turned = ParcelFeatures("turned", "signal", features.values_NPF[::-1].copy(), "concatenate")
    one, other = (run_features(each, study, tmp_path) for each in (features, turned))
    np.testing.assert_array_equal(one.predicted_RQ, other.predicted_RQ)


@pytest.mark.parametrize("is_told", [True, False])
def test_noise_that_parcels_of_a_patch_share_says_nothing_of_networks(is_told, make_labels, make_study, tmp_path, rng):
    """Patches of four parcels of one network, each with numbers of its own: as of an encoder with random weights."""
    labels = make_labels(3, 24)
    patch_P = np.arange(len(labels.number_P)) // 4
    values_NPF = np.repeat(rng.normal(size=(4, patch_P.max() + 1, 8)), 4, axis=1).astype(np.float32)
    labels = dataclasses.replace(labels, patch_P=patch_P if is_told else None)
    outcome = run_features(ParcelFeatures("random", "random-init", values_NPF), make_study(labels), tmp_path)
    accuracy = (outcome.predicted_RQ == labels.numbers).mean()
    assert accuracy < 0.5 if is_told else accuracy > 0.65
