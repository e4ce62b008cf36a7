"""People who rest and watch, with and without an effect of the task in two parcels, and a model with random weights."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from brainlm.data.manifest import ATLAS_IMAGE
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import synthetic_population, synthetic_recordings
from brainlm.inference.brainlm import BrainLM
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import ModelConfig

NUM_PARCELS, NUM_PEOPLE = 12, 14
AFFECTED = (2, 7)  # parcels whose signal the task "movie" changes
CONFIG = ModelConfig(
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


def write_store(path: Path, *, effect: float, with_image: bool = False) -> Store:
    """Everybody twice; ``movie`` adds a slow response to the affected parcels. ``dx`` and ``coin`` are of people."""
    population = synthetic_population(num_parcels=NUM_PARCELS, num_networks=3)
    rng = np.random.default_rng(5)
    columns = ("dx", "coin", "score", "alone", "mean_fd")
    drawn = list(synthetic_recordings(population, num_subjects=NUM_PEOPLE, runs_per_subject=2, num_timepoints=85))
    with StoreWriter(path, population.parcels, atlas="synthetic", phenotypes=columns) as writer:
        for number, recording in enumerate(drawn):
            person, task = number // 2, ("rest", "movie")[number % 2]
            bold = recording.bold.copy()
            response = np.sin(2 * np.pi * np.arange(len(bold)) / 20 + rng.uniform(0, 6))
            if task == "movie":
                for parcel in AFFECTED:
                    bold[:, parcel] += (effect * bold[:, parcel].std() * response).astype(np.float32)
            values = {
                "dx": "patient" if person % 2 else "control",
                "coin": str(rng.choice(["heads", "tails"])) if number % 2 == 0 else None,
                "score": float(person),
                "alone": "one" if person == 0 else "others",
                "mean_fd": float(rng.uniform(0.1, 0.2)),
            }
            writer.add(
                dataclasses.replace(recording, bold=bold, task=task, run="", phenotypes=values),
                split="test" if person % 3 == 0 else "train",
            )
    if with_image:
        write_image(path / ATLAS_IMAGE)
    return Store.open(path)


def write_image(path: Path) -> None:
    """A label image with one block a parcel."""
    volume = np.zeros((NUM_PARCELS, 4, 4), dtype=np.int16)
    for label in range(1, NUM_PARCELS + 1):
        volume[label - 1, 1:3, 1:3] = label
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = (-60, -60, -20)
    nib.save(nib.Nifti1Image(volume, affine), path)


def with_random_weights(store: Store, **settings) -> BrainLM:
    """Random weights, larger than at the start of a training, so that attention depends on the signal."""
    generator = torch.Generator().manual_seed(1)
    config = dataclasses.replace(CONFIG, **settings)
    network = MaskedAutoencoder(config, torch.from_numpy(store.parcels.order(config.parcel_order)))
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            del name
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1) * 0.5)
    return BrainLM(network, Scaler.fit(store, allow_any_split=True), store.parcels, {"preset": "tiny"})


@pytest.fixture(scope="session")
def tasks(tmp_path_factory) -> Store:
    """With an effect of the task, and a label image."""
    return write_store(tmp_path_factory.mktemp("attention") / "tasks.store", effect=3.0, with_image=True)


@pytest.fixture(scope="session")
def no_effect(tmp_path_factory) -> Store:
    """The same without an effect and without an image."""
    return write_store(tmp_path_factory.mktemp("attention") / "nothing.store", effect=0.0)


@pytest.fixture(scope="session")
def model(no_effect) -> BrainLM:
    """Of the parcels of both stores."""
    return with_random_weights(no_effect)


@pytest.fixture(scope="session")
def make_model():
    """``make_model(store, **settings)``: another one."""
    return with_random_weights
