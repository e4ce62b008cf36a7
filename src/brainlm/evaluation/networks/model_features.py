"""What a model says of parcels: where CLS looks, how parcels look at each other, and the parcels' own vectors.

How attention is had from a model is in ``inference/attention_maps.py``.

Shapes: N recordings, P parcels, F numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from brainlm.data.store import Store
from brainlm.evaluation.networks.parcel_features import ParcelFeatures, without_itself
from brainlm.inference.attention_maps import cached_attention
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.cached import cached_features

MAIN = "attention profile"  # the question is about this row, as in the paper; fixed before any score is seen
SUFFIX = ", random weights"

Listener = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Passing:
    """How recordings go through a model; ``layer`` is the encoder block whose attention counts."""

    layer: int = -1
    batch_size: int = 8
    resample: bool = False


def model_features(
    model: BrainLM,
    store: Store,
    *,
    group: Literal["model", "random-init"],
    passing: Passing,
    folder: Path,
    draw: int = 0,
    on_progress: Listener | None = None,
) -> Iterator[ParcelFeatures]:
    """The three kinds of features of one model; files in ``folder`` are taken if they are of the same model and store.

    Each is made when it is asked for. ``draw`` numbers several networks with random weights, from 0.

    - ``attention profile``: CLS's attention to every temporal patch of a parcel, head by head, mean over the windows of
      a recording; all recordings side by side.
    - ``attention rows``: how a parcel's patches attend to every other parcel, and these to it; mean over recordings.
    - ``parcel embeddings``: the mean of its patches' vectors over time and recordings.

    Raises:
        DataError: the store does not fit the model, or the disk is full.
        ConfigError: there is no such layer, or the scaler was never fitted.
    """
    suffix = "" if group == "model" else f"{SUFFIX} {draw + 1}" if draw else SUFFIX

    def tell(what: str) -> Callable[[int, int], None]:
        return lambda done, total: None if on_progress is None else on_progress(done, total, what + suffix)

    attention = cached_attention(
        model,
        store,
        folder=folder,
        layer=passing.layer,
        with_profile=True,
        with_rows=True,
        rollout_windows=1,
        between_windows=1,
        batch_size=passing.batch_size,
        resample=passing.resample,
        on_progress=tell("attention"),
    )
    assert attention.profile_NPF is not None, "asked for"
    assert attention.rows_NPP is not None, "asked for"
    yield ParcelFeatures(MAIN + suffix, group, attention.profile_NPF.astype(np.float32), "concatenate")
    asking_NPP = without_itself(attention.rows_NPP)
    both_NPF = np.concatenate((asking_NPP, asking_NPP.transpose(0, 2, 1)), axis=2)
    yield ParcelFeatures("attention rows" + suffix, group, both_NPF)
    vectors = cached_features(
        model,
        store,
        ("parcels",),
        folder=folder,
        batch_size=passing.batch_size,
        resample=passing.resample,
        on_progress=tell("embeddings"),
    )["parcels"]
    embeddings_NPF = vectors.reshape(len(store), store.num_parcels, -1)
    yield ParcelFeatures("parcel embeddings" + suffix, group, embeddings_NPF)
