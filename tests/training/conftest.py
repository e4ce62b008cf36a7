"""A small store and a minuscule model that train in seconds."""

import pytest

from brainlm.data.store import Store
from brainlm.data.synthetic import synthetic_store
from brainlm.model.config import ModelConfig
from brainlm.training.config import TrainingConfig

SMALL = ModelConfig(
    num_timepoints=20,
    timepoints_per_patch=5,
    encoder_width=16,
    encoder_depth=1,
    encoder_heads=2,
    encoder_mlp=32,
    decoder_width=16,
    decoder_depth=1,
    decoder_heads=2,
    decoder_mlp=32,
)
QUICK = TrainingConfig(epochs=3, batch_size=4, base_learning_rate=0.1, save_every_steps=2)


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("data") / "synthetic.store"
    return synthetic_store(path, num_subjects=16, num_parcels=10, num_timepoints=(40, 60), seed=1)


@pytest.fixture(scope="session")
def small() -> ModelConfig:
    return SMALL


@pytest.fixture(scope="session")
def quick() -> TrainingConfig:
    return QUICK
