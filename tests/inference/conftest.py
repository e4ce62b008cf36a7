"""A small store with recordings of every awkward kind, and models that were never trained but depend on their input."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.data.recording import Recording
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import synthetic_population, synthetic_recordings
from brainlm.inference.brainlm import BrainLM
from brainlm.model.autoencoder import LinearMoments, MaskedAutoencoder
from brainlm.model.config import ModelConfig

SMALL = ModelConfig(
    num_timepoints=40,
    timepoints_per_patch=10,
    encoder_width=16,
    encoder_depth=2,
    encoder_heads=2,
    encoder_mlp=24,
    decoder_width=12,
    decoder_depth=1,
    decoder_heads=2,
    decoder_mlp=16,
)
NUM_PARCELS = 10


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Store:
    """Eight recordings: one shorter than a window, one with a parcel without signal, several with a rest."""
    population = synthetic_population(num_parcels=NUM_PARCELS, num_networks=2)
    lengths = [95, 25, 40, 130, 81, 79, 100, 120]
    path = tmp_path_factory.mktemp("inference") / "small.store"
    with StoreWriter(path, population.parcels, atlas="synthetic", phenotypes=("age", "sex")) as writer:
        drawn = synthetic_recordings(population, num_subjects=len(lengths), num_timepoints=130)
        for number, (recording, length) in enumerate(zip(drawn, lengths, strict=True)):
            bold = recording.bold[:length].copy()
            if number == 3:
                bold[:, 4] = np.nan
            phenotypes = {name: recording.phenotypes[name] for name in ("age", "sex")}
            writer.add(dataclasses.replace(recording, bold=bold, phenotypes=phenotypes), split="train")
    return Store.open(path)


@pytest.fixture(scope="session")
def make_model(store):
    """``make_model(scaler="robust", **settings)``: a model of the store's parcels, with weights that matter."""

    def make(scaler: str = "robust", *, seed: int = 0, **settings) -> BrainLM:
        config = dataclasses.replace(SMALL, **settings)
        generator = torch.Generator().manual_seed(seed)
        linear = None
        if config.head != "plain":
            draws = torch.randn(NUM_PARCELS, 40, generator=generator)
            linear = LinearMoments(draws @ draws.T / 40, 0.5 + 0.5 * torch.eye(config.num_timepoints))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            order = torch.from_numpy(store.parcels.order(config.parcel_order))
            network = MaskedAutoencoder(config, order, linear=linear)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        return BrainLM(network, Scaler.fit(store, scaler), store.parcels, {"data": {"atlas": "synthetic"}})

    return make


@pytest.fixture(scope="session")
def model(make_model) -> BrainLM:
    """The model most tests use."""
    return make_model()


@pytest.fixture(scope="session")
def make_recording(store):
    """A recording of the store, changed: ``make_recording(3, bold=...)``."""

    def make(index: int = 0, **changes) -> Recording:
        return dataclasses.replace(store[index], **changes)

    return make
