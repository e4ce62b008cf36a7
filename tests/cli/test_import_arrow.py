"""`brainlm import` of others' Arrow data, as a user types it."""

import warnings

import datasets
import numpy as np
import pytest

from brainlm.data.store import Store

NUM_PARCELS = 6

datasets.disable_progress_bars()


def save(columns, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # `datasets` leaves its own files to the garbage collector
        datasets.Dataset.from_dict(columns).save_to_disk(folder)


@pytest.fixture
def authors(tmp_path, rng):
    """Two recordings in the authors' layout, one of them spoilt, and the coordinates."""
    signals = [rng.normal(size=(NUM_PARCELS, 30)).astype(np.float32) for _ in range(3)]
    columns = {"Raw_Recording": [*signals, signals[0][:5]], "Filename": [f"{i}.dat" for i in range(4)]}
    columns |= {"A_Recording": [signal.T for signal in columns["Raw_Recording"]], "Patient ID": [""] * 4}
    save(columns, tmp_path / "ukb" / "train")
    labels = [float(label) for label in range(1, NUM_PARCELS + 1)]
    save({"Index": labels, "X": labels, "Y": labels, "Z": labels}, tmp_path / "ukb" / "coordinates")
    return tmp_path / "ukb"


def test_authors_data_are_imported_with_their_coordinates(speak, authors, tmp_path):
    spoken = speak("import", authors, tmp_path / "a.store", "--parcels", authors / "coordinates", "--tr", 0.735)
    assert spoken.status == 1  # one row did not fit
    out = " ".join(spoken.out.split())
    assert "3 recordings of 3 subjects" in out
    assert "1 left out" in out
    assert "does not fit the parcels table of 6 (found: 5 rows x 30 columns)" in out
    assert "coordinates of parcels (for --parcels)" in out
    assert "next: brainlm inspect" in out
    store = Store.open(tmp_path / "a.store")
    assert store.manifest.atlas == "coordinates"
    assert store.parcels.coordinates[3].tolist() == [4, 4, 4]
    assert speak("inspect", tmp_path / "a.store", "--verify").status == 0


def test_a_column_and_target_maps_are_chosen_by_options(speak, authors, tmp_path):
    for name in ("age", "sex"):
        (tmp_path / f"{name}.json").write_text('{"0": 1, "1": 2}')
    words = ("--parcels", authors / "coordinates", "--tr", 0.735, "--column", "A_Recording")
    maps = ("--targets", tmp_path / "age.json", "--targets", tmp_path / "sex.json")
    spoken = speak("import", authors, tmp_path / "a.store", *words, *maps)
    assert "the column A_Recording was scaled by its makers" in spoken.out
    assert Store.open(tmp_path / "a.store").metadata["age"].tolist()[:2] == [1, 2]


def test_wrong_usage_is_said_and_nothing_is_written(speak, authors, tmp_path):
    words = (tmp_path / "a.store", "--parcels", authors / "coordinates", "--tr", 0.735)
    for source, option, message in (
        (authors, ("--column", "B"), "recordings in Raw_Recording, A_Recording"),
        (authors, ("--drop_columns", "time"), "has no meaning for Arrow data"),
        (authors, ("--targets", tmp_path / "nowhere.json"), "no target maps at"),
    ):
        spoken = speak("import", source, *words, *option)
        assert spoken.status == 2
        assert message in spoken.err
    assert not (tmp_path / "a.store").exists()
    speak("import", authors, *words)
    spoken = speak("import", tmp_path / "a.store", tmp_path / "b.store", *words[1:])
    assert spoken.status == 2
    assert "is a store already" in spoken.err
