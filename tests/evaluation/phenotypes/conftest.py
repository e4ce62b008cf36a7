"""Tiny stores with any metadata, and cohorts without a store."""

import numpy as np
import pandas as pd
import pytest

from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import ATLAS, synthetic_population, synthetic_recordings
from brainlm.evaluation.phenotypes.targets import Cohort, Target
from brainlm.evaluation.phenotypes.units import units_of

NUM_PARCELS = 4
KEYS = ("subject", "session", "task", "run", "site")


@pytest.fixture
def make_store(tmp_path):
    """A store with the rows of a table: subject, if need be session, task, run and site, and any phenotypes."""

    def make(**columns) -> Store:
        table = pd.DataFrame(columns)
        population = synthetic_population(num_parcels=NUM_PARCELS, num_networks=2)
        phenotypes = [name for name in table if name not in KEYS]
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.store"
        recording = next(synthetic_recordings(population, num_subjects=1, num_timepoints=20))
        with StoreWriter(path, population.parcels, atlas=ATLAS, phenotypes=phenotypes) as writer:
            for number, row in enumerate(table.to_dict(orient="records")):
                known = {"run": str(number), "session": "", "task": "rest", "site": ""} | row
                writer.add(
                    type(recording)(
                        recording.bold,
                        recording.tr,
                        **{key: known[key] for key in KEYS},
                        atlas=ATLAS,
                        source="made up",
                        phenotypes={name: row[name] for name in phenotypes},
                    ),
                    split="train",
                )
        return Store.open(path)

    return make


@pytest.fixture
def make_cohort():
    """A cohort of the rows of a table, without a store; ``values`` in the order of the table's rows."""

    def make(*, values, kind="regression", classes=(), level="recording", **columns) -> Cohort:
        num = len(columns["subject"])
        table = pd.DataFrame({"session": "", "task": "rest", "run": [str(n) for n in range(num)], "site": ""} | columns)
        units = units_of(table, level)
        values_N = np.array([np.asarray(values, dtype=float)[rows[0]] for rows in units.recordings])
        target = Target("label", kind, values_N, classes)
        return Cohort(units.table, units.recordings, target, level, varying=units.varying)

    return make
