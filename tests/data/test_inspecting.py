"""What `brainlm inspect` shows is what is in the store."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainlm.data.inspecting import inspect_store
from brainlm.data.parcels import Parcels
from brainlm.data.quality import Quality
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
    assert inspection.table("left out").values.tolist() == [[1, "x.tsv is empty", "write it again", "x.tsv"]]
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


def test_what_is_known_of_the_scans_is_shown_as_such_and_not_as_phenotypes(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "scans.store"
    with StoreWriter(path, Parcels.unnamed(3), atlas="toy", phenotypes=("age",), has_quality=True) as writer:
        for number, mean_fd in enumerate((0.1, 0.3, np.nan)):
            bold = rng.normal(size=(20, 3)).astype(np.float32)
            recording = Recording(bold, 2.0, f"sub-{number}", phenotypes={"age": 30.0})
            quality = Quality(22, 2, mean_fd, 3 * mean_fd, np.nan, np.full(3, 0.75, np.float32))
            writer.add(recording, quality=quality)
    inspection = inspect_store(Store.open(path))
    table = inspection.table("motion and quality").set_index("of each recording")
    assert list(table.index) == ["num_volumes", "num_censored", "mean_fd", "max_fd", "coverage"]  # no tSNR is known
    assert table.loc["mean_fd", ["known", "median"]].tolist() == [2, pytest.approx(0.2)]
    assert table.loc["coverage", "max"] == 0.75
    assert inspection.table("phenotypes")["phenotype"].tolist() == ["age"]
    assert inspection.coverage.share.tolist() == [0.75] * 3


def test_a_phenotype_named_as_a_measure_is_shown_with_the_measures(make_recording, make_store):
    recordings = [make_recording(f"{n}", phenotypes={"mean_fd": 0.1 * n, "tsnr": "high"}) for n in range(1, 4)]
    inspection = inspect_store(make_store(recordings, phenotypes=("mean_fd", "tsnr")))
    assert inspection.table("motion and quality")["of each recording"].tolist() == ["mean_fd"]  # text is no measure
    assert inspection.table("phenotypes")["phenotype"].tolist() == ["mean_fd", "tsnr"]


def test_many_exclusions_are_told_by_reason(tmp_path):
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(2), atlas="toy") as writer:
        writer.add(Recording(np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32), 2.0, "sub-1"))
        for number in range(30):
            writer.exclude(Failure(f"s{number}.tsv", f"s{number}.tsv has {number} columns", "choose its atlas"))
        writer.exclude(Failure("empty.tsv", "empty.tsv is empty", "write it again"))
    inspection = inspect_store(Store.open(tmp_path / "a.store"))
    assert inspection.table("left out").values.tolist() == [
        [30, "… has … columns", "choose its atlas", "s0.tsv, s1.tsv, s2.tsv, and 27 more"],
        [1, "empty.tsv is empty", "write it again", "empty.tsv"],
    ]
    assert {table.title: table.note for table in inspection.tables}["left out"].startswith("31 inputs")
