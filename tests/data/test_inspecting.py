"""What `brainlm inspect` shows is what is in the store."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainlm.data.inspecting import inspect_store
from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store, StoreWriter
from brainlm.errors import Failure


def write_store(path: Path, *, bare: bool = False) -> Store:
    """Four people: two sites, two repetition times, parcel 3 without signal twice and parcel 5 once."""
    rng = np.random.default_rng(0)
    parcels = Parcels(pd.DataFrame({"label": range(1, 6), "name": list("abcde"), "yeo7": list("VVSSL")}))
    phenotypes = () if bare else ("age", "dx")
    rule = SplitRule(hold_out={} if bare else {"site": ["B"]})
    with StoreWriter(path, parcels, atlas="toy", phenotypes=phenotypes, split_rule=rule) as writer:
        for number in range(4):
            bold = rng.normal(size=(20 + 10 * number, 5)).astype(np.float32) * (1000 if number == 3 else 1)
            if not bare and number in (1, 2):
                bold[:, 2] = np.nan
            if not bare and number == 2:
                bold[:, 4] = np.nan
            recording = Recording(
                bold,
                tr=2.0 if number < 3 else 0.72,
                subject=f"sub-{number}",
                site="" if bare or number == 0 else "AB"[number % 2],
                phenotypes={} if bare else {"age": 20.0 + number, "dx": None if number == 0 else "asd"},
            )
            writer.add(recording, split="test" if number % 2 else "train")
        if not bare:
            writer.exclude(Failure("x.tsv", "x.tsv is empty", "write it again"))
    return Store.open(path)


@pytest.fixture
def store(tmp_path) -> Store:
    return write_store(tmp_path / "toy.store")


def test_counts_are_those_of_the_store(store):
    inspection = inspect_store(store)
    assert (inspection.num_recordings, inspection.num_subjects, inspection.num_parcels) == (4, 4, 5)
    assert inspection.table("by split").values.tolist() == [["train", 2, 2, 50.0], ["test", 2, 2, 50.0]]
    assert inspection.table("by site").values.tolist() == [["A", 1, 1, 25.0], ["B", 2, 2, 50.0]]
    assert inspection.table("by tr")["tr"].tolist() == [0.72, 2.0]
    notes = {table.title: table.note for table in inspection.tables}
    assert notes["by site"] == "1 recordings without site"
    assert "mixed" in notes["by tr"]


def test_lengths_spread_and_parcels_without_signal(store):
    inspection = inspect_store(store)
    assert inspection.table("time points").loc[0, ["total", "min", "median", "max"]].tolist() == [140, 20, 35, 50]
    assert inspection.table("minutes").loc[0, "max"] == round(40 * 2 / 60, 2)
    assert inspection.table("parcels without signal").values.tolist() == [[3, "c", 2, 50.0], [5, "e", 1, 25.0]]
    spread = inspection.table("level and spread").iloc[1]
    assert spread["max"] > 500 * spread["min"]
    notes = {table.title: table.note for table in inspection.tables}
    assert "times the spread" in notes["level and spread"]
    assert notes["parcels without signal"] == "2 of 5 parcels lack signal somewhere; 2 of 4 recordings lack some"


def test_phenotypes_and_exclusions(store):
    inspection = inspect_store(store)
    phenotypes = inspection.table("phenotypes").set_index("phenotype")
    assert phenotypes.loc["age", ["kind", "present", "missing"]].tolist() == ["number", 4, 0]
    assert phenotypes.loc["age", "values"].startswith("20 to 23, mean 21.5")
    assert phenotypes.loc["dx", ["kind", "present", "missing", "values"]].tolist() == ["text", 3, 1, "asd (3)"]
    assert inspection.table("left out").values.tolist() == [["x.tsv", "x.tsv is empty", "write it again"]]
    origin = inspection.table("store").set_index("entry")["value"]
    assert origin["atlas"] == "toy, 5 parcels"
    assert origin["network columns"] == "yeo7"
    assert origin["split fractions"] in ("validation 0.1, test 0.2", "test 0.2, validation 0.1")
    assert origin["split held_out"] == "site B"
    assert "split columns" not in origin


def test_a_selection_is_inspected_like_a_store(store):
    inspection = inspect_store(store.select(split="train"))
    assert inspection.num_recordings == 2
    assert inspection.table("by split").values.tolist() == [["train", 2, 2, 100.0]]


def test_tables_with_nothing_to_show_are_left_out(tmp_path):
    inspection = inspect_store(write_store(tmp_path / "bare.store", bare=True))
    titles = [table.title for table in inspection.tables]
    assert not {"by site", "by task", "phenotypes", "left out", "parcels without signal"} & set(titles)
    assert all(not table.frame.empty for table in inspection.tables)
