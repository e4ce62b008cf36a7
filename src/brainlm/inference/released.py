"""The published checkpoints as complete models: what belongs to their weights besides the network.

The weights are CC BY-NC-ND 4.0: a user downloads them, nobody passes them on. Their scaling statistics were never
published, so their scaler must be fitted on the user's own recordings. Reading the files is in ``model/official.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from brainlm.data.atlas import Atlas
from brainlm.data.parcels import COORDINATES, Parcels
from brainlm.data.scaling import Scaler
from brainlm.errors import CheckpointError
from brainlm.inference.folder import Checkpoint
from brainlm.model.official import NUM_PARCELS, OfficialFolder

REPOSITORY = "vandijklab/brainlm"
LICENCE = "CC BY-NC-ND 4.0"
ATLAS = "A424"
TR_S = 0.735  # of UK Biobank, which they were trained on
# What the image checkpoints' input was divided by after robust scaling (the authors' tutorial).
DIVISORS = {"brainlm_mae": 1.0, "vit_mae": 5.6430855}


def released_checkpoint(official: OfficialFolder, *, parcels: Parcels | None = None) -> Checkpoint:
    """The model in a published folder, its scaler not fitted yet.

    Args:
        official: the folder, from ``read_official``.
        parcels: of other weights of the same layout; the published ones belong to A424, which is loaded when None.

    Raises:
        CheckpointError: the weights cannot be read or do not fit their settings or the parcels.
        AtlasError: the folder of A424 that is named in the environment lacks files.
    """
    parcels = parcels_of(official) if parcels is None else parcels
    if parcels is None or len(parcels) != official.num_parcels:
        raise CheckpointError(
            f"the weights in {official.folder} belong to other parcels",
            expected=f"a table of {official.num_parcels} parcels",
            found="none" if parcels is None else f"{len(parcels)} parcels",
            remedy="give their parcels.tsv: `brainlm convert --parcels`, or parcels=Parcels.read(...) in Python",
        )
    coordinates = torch.from_numpy(parcels.coordinates) if official.needs_coordinates else None
    order = torch.from_numpy(parcels.order(official.config.parcel_order))
    return Checkpoint(
        network=official.network(order, coordinates=coordinates),
        scaler=Scaler.unfitted(len(parcels), divisor=DIVISORS[official.layout]),
        parcels=parcels,
        provenance=_provenance(official),
    )


def parcels_of(official: OfficialFolder, expected: Mapping[str, Tensor] | None = None) -> Parcels | None:
    """The parcels that a published folder's weights belong to: A424; None where nothing says which.

    Weights that are not for A424 (tests have some) may come with coordinates among their ``expected`` inputs.

    Raises:
        AtlasError: the folder of A424 that is named in the environment lacks files.
    """
    if official.num_parcels == NUM_PARCELS:
        return Atlas.load(ATLAS, needs_image=False).parcels
    coordinates_P3 = None if expected is None else expected.get("xyz")
    if coordinates_P3 is None or tuple(coordinates_P3.shape) != (official.num_parcels, len(COORDINATES)):
        return None
    table = Parcels.unnamed(official.num_parcels).table
    for position, axis in enumerate(COORDINATES):
        table[axis] = coordinates_P3[:, position].numpy()
    return Parcels(table)


def _provenance(official: OfficialFolder) -> dict[str, Any]:
    return {
        "released": {
            "layout": official.layout,
            "folder": official.folder.name,
            "repository": REPOSITORY,
            "licence": LICENCE,
            "paper": "Ortega Caro et al., BrainLM: A foundation model for brain activity recordings, ICLR 2024",
            "scaling": "statistics not published; to be fitted on the recordings at hand",
        },
        "data": {
            "source": {
                "description": "UK Biobank and Human Connectome Project recordings, as published (paper, section 2.2)",
                "terms": "not passed on with the weights",
            },
            "atlas": ATLAS if official.num_parcels == NUM_PARCELS else "unknown",
            "num_parcels": official.num_parcels,
            "tr_s": [TR_S],
        },
        "scaler": "robust",
    }
