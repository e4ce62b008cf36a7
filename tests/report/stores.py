"""Stores for the tests of the page about a store: one with everything on it, one about which nothing is known."""

from pathlib import Path

import numpy as np
from synthetic_run import make_atlas, make_parcels

from brainlm.data.manifest import ATLAS_IMAGE
from brainlm.data.parcels import Parcels
from brainlm.data.quality import Quality
from brainlm.data.recording import Recording
from brainlm.data.store import Store, StoreWriter
from brainlm.errors import Failure

NUM_PARCELS, NUM_PEOPLE = 24, 20
UNITS, COPY = 5, 12  # positions of the recording in other units and of the copy (of the first)
HOLE = 3  # position of the parcel that every fourth recording lacks


def full_store(path: Path) -> Store:
    """Forty recordings of twenty people at three sites, measured scans, phenotypes, a label image, inputs left out."""
    rng = np.random.default_rng(0)
    parcels = make_parcels(NUM_PARCELS, rng)
    mixing = rng.normal(size=(4, NUM_PARCELS))
    first = None
    with StoreWriter(path, parcels, atlas="toy", phenotypes=("age", "sex"), has_quality=True) as writer:
        for number in range(2 * NUM_PEOPLE):
            num_timepoints = 80 + 20 * (number % 3)
            bold = rng.normal(size=(num_timepoints, 4)) @ mixing + rng.normal(size=(num_timepoints, NUM_PARCELS))
            bold = (100 + bold).astype(np.float32) * (50 if number == UNITS else 1)
            first = bold.copy() if first is None else first
            bold = first.copy() if number == COPY else bold
            coverage = np.ones(NUM_PARCELS, np.float32)
            if number % 4 == 1:
                coverage[HOLE], bold[:, HOLE] = 0.25, np.nan
            fd = np.nan if number == 2 else 0.1 + 0.02 * number
            person, session = divmod(number, 2)
            writer.add(
                Recording(
                    bold,
                    2.0 if number % 3 else 0.8,
                    f"sub-{person:02d}",
                    session=str(session + 1),
                    task="rest",
                    site=("Oslo", "São Paulo", "<b>Ulm</b>")[person % 3],
                    phenotypes={"age": 20.0 + person, "sex": "FM"[person % 2]},
                ),
                split=("train", "train", "validation", "test")[person % 4],
                quality=Quality(num_timepoints + number, number, fd, 5 * fd, 40.0 + number, coverage),
            )
        for number in range(30):
            name = f"derivatives/sub-{number}_bold.nii.gz"
            writer.exclude(Failure(name, f"left out by rule: mean FD 0.{number + 50} mm, above 0.5 mm", "none needed"))
        writer.exclude(Failure("bad.nii.gz", "bad.nii.gz: the file ends too early", "copy it again"))
        make_atlas(parcels, writer.path.parent / "image.nii.gz")
        writer.attach(writer.path.parent / "image.nii.gz", ATLAS_IMAGE)
    return Store.open(path)


def bare_store(path: Path, *, num: int = 3, num_timepoints: int = 12) -> Store:
    """A few recordings of unnamed parcels, of whom nothing is known but the subject."""
    rng = np.random.default_rng(1)
    with StoreWriter(path, Parcels.unnamed(5), atlas="toy") as writer:
        for number in range(num):
            bold = rng.normal(size=(num_timepoints, 5)).astype(np.float32)
            writer.add(Recording(bold, 2.0, f"{number}"))
    return Store.open(path)
