"""The rows of a study: which of them are the model's own, and which it has to beat."""

from types import SimpleNamespace

import numpy as np
import pytest

from brainlm.evaluation.phenotypes import evidence
from brainlm.evaluation.phenotypes.blocks import RecordingFeatures
from brainlm.evaluation.phenotypes.evidence import Evidence, RowRule
from brainlm.evaluation.phenotypes.predictions import BASELINE_GROUPS
from brainlm.evaluation.phenotypes.targets import read_cohort
from brainlm.inference.brainlm import BrainLM
from brainlm.model.config import ModelConfig

NUM_PEOPLE, NUM_PARCELS = 12, 4


@pytest.fixture
def cohort(make_store):
    """Twelve people of two ages."""
    store = make_store(
        subject=[f"{n:02d}" for n in range(NUM_PEOPLE)],
        score=[float(n) for n in range(NUM_PEOPLE)],
        age=[20.0 + n % 5 for n in range(NUM_PEOPLE)],
    )
    return store, read_cohort(store, "score", kind="regression")


@pytest.fixture
def gathered(cohort, rng, monkeypatch):
    """Features of noise for everything that a row is made of."""
    monkeypatch.setattr(evidence, "cached_patches", lambda *_, **__: normal(rng, 2, 3, 5))
    model = BrainLM.__new__(BrainLM)
    model.network = SimpleNamespace(config=ModelConfig())
    edges = normal(rng, NUM_PARCELS * (NUM_PARCELS - 1) // 2)
    matrices = np.stack([np.eye(NUM_PARCELS, dtype=np.float32)] * NUM_PEOPLE)
    recordings = RecordingFeatures(normal(rng, 3), edges, edges, matrices, normal(rng, 60))
    vectors = {"mean": normal(rng, 3), "parcels": normal(rng, NUM_PARCELS * 5)}
    return Evidence(cohort[0], model, recordings, vectors, dict(vectors), "weights", cache=cohort[0].path.parent)


def normal(rng, *shape: int) -> np.ndarray:
    """Random numbers, a row a person."""
    return rng.standard_normal((NUM_PEOPLE, *shape)).astype(np.float32)


def test_networks_on_the_models_patches_are_rows_of_the_model_and_no_baselines(gathered, cohort):
    rows = gathered.rows(cohort[1], RowRule(poolings=("mean", "parcels"), families=("linear", "neural")))
    groups = {method.name: method.group for method in rows.methods}
    assert groups["LSTM (recordings)"] == groups["GCN (connectomes)"] == "neural"
    assert groups["LSTM (patch embeddings)"] == groups["GCN (patch embeddings)"] == "model"
    assert "model" not in BASELINE_GROUPS
