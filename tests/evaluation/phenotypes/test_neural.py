"""The neural baselines find what is there, nothing where there is nothing, and never look at test people."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.baselines.connectome import connectomes
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import ATLAS, synthetic_population, synthetic_recordings
from brainlm.errors import DataError
from brainlm.evaluation.phenotypes.neural import (
    NEURAL_CONFIG,
    ConnectomeGCNBaseline,
    EmbeddingGCNBaseline,
    NeuralBaseline,
    SeriesLSTMBaseline,
    TokenLSTMBaseline,
    fit_predict_neural,
)
from brainlm.evaluation.phenotypes.problem import Problem

NUM_PEOPLE, NUM_PARCELS = 80, 6
TRAIN, TEST = np.arange(60), np.arange(60, NUM_PEOPLE)
INNER = [(np.arange(45), np.arange(45, 60)), (np.arange(15, 60), np.arange(15))]
# Two recordings a person, of consecutive positions.
RECORDINGS = tuple(np.array([2 * person, 2 * person + 1]) for person in range(NUM_PEOPLE))
QUICK = dataclasses.replace(NEURAL_CONFIG, epochs=12, learning_rate=1e-2)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(5).permutation(np.arange(NUM_PEOPLE) % 2).astype(np.float64)


@pytest.fixture(scope="module")
def store(tmp_path_factory, labels) -> Store:
    """People of class 1 have two parcels that go together, and more of a slow drift."""
    population = synthetic_population(num_parcels=NUM_PARCELS, num_networks=2)
    rng = np.random.default_rng(0)
    template = next(synthetic_recordings(population, num_subjects=1, num_timepoints=60))
    path = tmp_path_factory.mktemp("neural") / "made_up.store"
    with StoreWriter(path, population.parcels, atlas=ATLAS) as writer:
        for person in range(NUM_PEOPLE):
            for run in range(2):
                bold = rng.standard_normal((60 if run else 45, NUM_PARCELS)).astype(np.float32)
                if labels[person]:
                    bold[:, 1] = bold[:, 0] + 0.5 * bold[:, 1]
                    bold[:, 2] = np.repeat(bold[::5, 2], 5)
                names = {"subject": f"{person:03}", "run": str(run), "phenotypes": {}}
                writer.add(dataclasses.replace(template, bold=bold, **names), split="train")
    return Store.open(path)


@pytest.fixture(scope="module")
def baselines(store, labels) -> dict[str, NeuralBaseline]:
    edges = connectomes(store, "correlation")
    rng = np.random.default_rng(1)
    of_recording = np.repeat(labels, 2)[:, None, None]
    patches = rng.standard_normal((len(store), 2, 4, 5)).astype(np.float32)
    patches[..., 0] += of_recording
    patches[::3, 1] = np.nan
    parcels = rng.standard_normal((len(store), NUM_PARCELS, 5)).astype(np.float32)
    parcels[:, 2:4, 1] += 2 * of_recording[:, 0]
    parcels[7, 3] = np.nan
    parcels.flags.writeable = False
    return {
        "series": SeriesLSTMBaseline(store, 20),
        "connectomes": ConnectomeGCNBaseline(edges),
        "patches": TokenLSTMBaseline(patches),
        "parcels": EmbeddingGCNBaseline(parcels, edges),
    }


@pytest.fixture(scope="module")
def problem(labels) -> Problem:
    return Problem("binary", labels, 2, np.arange(NUM_PEOPLE), np.ones(NUM_PEOPLE))


def predicted(baseline, problem, config=QUICK) -> np.ndarray:
    return fit_predict_neural(baseline, problem, RECORDINGS, TRAIN, TEST, inner=INNER, config=config).values_MK


def pairs_in_order(values_MK, truth_M) -> float:
    """The area under the ROC curve, by its definition."""
    return float(np.mean(values_MK[truth_M == 1, 0][:, None] > values_MK[truth_M == 0, 0]))


NAMES = ("series", "connectomes", "patches", "parcels")


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_difference_is_found(baselines, problem, name):
    config = dataclasses.replace(QUICK, epochs=20)
    values_MK = predicted(baselines[name], problem, config)
    assert values_MK.shape == (len(TEST), 1)
    assert ((values_MK >= 0) & (values_MK <= 1)).all()
    assert pairs_in_order(values_MK, problem.values_N[TEST]) > 0.85


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_test_people_and_of_their_recordings_change_nothing(baselines, problem, name):
    changed = problem.with_values(
        np.where(np.isin(np.arange(NUM_PEOPLE), TEST), 1 - problem.values_N, problem.values_N)
    )
    short = dataclasses.replace(QUICK, epochs=2)
    np.testing.assert_array_equal(
        predicted(baselines[name], problem, short), predicted(baselines[name], changed, short)
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_numbers_whatever_was_drawn_before(baselines, problem, name):
    short = dataclasses.replace(QUICK, epochs=2)
    first = predicted(baselines[name], problem, short)
    torch.rand(3)
    np.testing.assert_array_equal(predicted(baselines[name], problem, short), first)
    other = predicted(baselines[name], dataclasses.replace(problem, seed=1), short)
    assert not np.allclose(other, first)


def test_shuffled_labels_are_at_chance(baselines, problem):
    rng, areas, short = np.random.default_rng(3), [], dataclasses.replace(QUICK, epochs=6)
    for _ in range(5):
        shuffled = problem.with_values(rng.permutation(problem.values_N))
        areas.append(pairs_in_order(predicted(baselines["patches"], shuffled, short), shuffled.values_N[TEST]))
    assert abs(np.mean(areas) - 0.5) < 0.15


@pytest.mark.parametrize("name", ["connectomes", "parcels", "patches"])
def test_what_is_fitted_beforehand_is_fitted_without_stopping_and_test_people(baselines, name):
    """Features of people outside the learning part change no weight and no statistic of the network."""
    learning = np.arange(90)  # recordings of the first 45 people

    def state(baseline):
        return baseline.build(learning, num_outputs=1, seed=0).network.state_dict()

    before, changed = state(baselines[name]), {}
    for field in dataclasses.fields(baselines[name]):
        value = getattr(baselines[name], field.name)
        if isinstance(value, np.ndarray):
            value = value.copy()
            value[90:] *= -3
            changed[field.name] = value
    after = state(dataclasses.replace(baselines[name], **changed))
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_scaler_of_the_series_is_fitted_on_learning_recordings(store):
    built = SeriesLSTMBaseline(store, 20).build(np.arange(90), num_outputs=1, seed=0)
    alone = SeriesLSTMBaseline(store.take(np.arange(90)), 20).build(np.arange(90), num_outputs=1, seed=0)
    np.testing.assert_array_equal(built.inputs.scaler.iqr_P, alone.inputs.scaler.iqr_P)
    ready = SeriesLSTMBaseline(store, 20, alone.inputs.scaler).build(np.arange(10), num_outputs=1, seed=0)
    assert ready.inputs.scaler is alone.inputs.scaler


def test_regression_comes_back_in_original_units(baselines, labels, rng):
    years = 40 + 20 * labels + rng.normal(0, 1, NUM_PEOPLE)
    ages = Problem("regression", years, 0, np.arange(NUM_PEOPLE), np.ones(NUM_PEOPLE))
    config = dataclasses.replace(QUICK, epochs=20)
    for given in (ages, dataclasses.replace(ages, transform="log")):
        values_M = predicted(baselines["patches"], given, config)[:, 0]
        assert np.abs(values_M - years[TEST]).mean() < 7  # the mean alone is 10 years off


def test_several_classes_get_a_probability_each(baselines, problem):
    three = dataclasses.replace(
        problem, kind="multiclass", num_classes=3, values_N=(np.arange(NUM_PEOPLE) % 3).astype(np.float64)
    )
    values_MK = predicted(baselines["connectomes"], three, dataclasses.replace(QUICK, epochs=2))
    assert values_MK.shape == (len(TEST), 3)
    np.testing.assert_allclose(values_MK.sum(axis=1), 1)


def test_it_says_how_it_was_trained(baselines, problem):
    fold = fit_predict_neural(baselines["series"], problem, RECORDINGS, TRAIN, TEST, inner=INNER, config=QUICK)
    assert 1 <= fold.best_epoch <= fold.epochs <= 12
    assert fold.seconds > 0
    assert fold.num_parameters == sum(
        p.numel() for p in baselines["series"].build(np.arange(90), num_outputs=1, seed=0).network.parameters()
    )
    assert {baseline.name for baseline in baselines.values()} == {
        "LSTM (recordings)",
        "GCN (connectomes)",
        "LSTM (patch embeddings)",
        "GCN (patch embeddings)",
    }


def test_a_target_that_does_not_vary_is_refused(baselines):
    constant = Problem("regression", np.full(NUM_PEOPLE, 3.0), 0, np.arange(NUM_PEOPLE), np.ones(NUM_PEOPLE))
    with pytest.raises(DataError, match="does not vary"):
        predicted(baselines["patches"], constant)
