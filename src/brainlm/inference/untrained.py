"""A model as it was before any training: the control that shows what pretraining has added.

Many signal features can be read from an encoder with random weights almost as well as from a trained one.
"""

from __future__ import annotations

import copy

import torch

from brainlm.inference.brainlm import BrainLM
from brainlm.inference.disclosure import training_record
from brainlm.model.autoencoder import MaskedAutoencoder


def untrained(model: BrainLM, *, seed: int = 0) -> BrainLM:
    """The same architecture, parcels and scaler with weights as training starts from; the model itself stays.

    Its record says nothing of training people: it has seen nobody.
    """
    config, parcels = model.config, model.parcels
    coordinates = torch.from_numpy(parcels.coordinates) if config.spatial_positions == "coordinates" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        order = torch.from_numpy(parcels.order(config.parcel_order))
        network = MaskedAutoencoder(config, order, coordinates=coordinates)
    twin = copy.copy(model)
    twin.network = network.to(model.device).eval()
    twin.evaluation = None
    data = {name: value for name, value in model.provenance.get("data", {}).items() if name in ("tr_s", "atlas")}
    twin.provenance = {"preset": model.provenance.get("preset", ""), "data": data | training_record((), (), ())}
    return twin
