"""Stores of random numbers, for speed only: nothing in them means anything.

Synthetic recordings with a structure are in ``data/synthetic.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.store import Store, StoreWriter

ATLAS = "random"


def random_store(
    path: Path, *, num_recordings: int, num_parcels: int, num_timepoints: tuple[int, int], seed: int = 0
) -> Store:
    """A new store of training recordings of normally distributed numbers.

    Args:
        path: the folder to create.
        num_recordings: one of each subject.
        num_parcels: P.
        num_timepoints: lowest and highest number, drawn for each recording.
        seed: of lengths and numbers.
    """
    rng = np.random.default_rng(seed)
    low, high = num_timepoints
    with StoreWriter(path, random_parcels(num_parcels), atlas=ATLAS) as writer:
        for number in range(num_recordings):
            length = int(rng.integers(low, high + 1))
            bold = rng.standard_normal((length, num_parcels), dtype=np.float32)
            writer.add(Recording(bold, 2.0, f"{number + 1:05d}", atlas=ATLAS, source=ATLAS))
    return Store.open(path)


def random_parcels(num_parcels: int) -> Parcels:
    """Parcels in an order from front to back that is not the atlas's, as in real atlases."""
    numbers = np.arange(num_parcels)
    y = np.random.default_rng(0).permutation(numbers).astype(np.float64)
    names = [f"parcel-{number + 1}" for number in numbers]
    return Parcels(pd.DataFrame({"label": numbers + 1, "name": names, "x": 0.0, "y": y, "z": 0.0}))
