"""Copies of a recording are recognised whatever their name, units and type; different recordings are not."""

import json

import numpy as np
import pytest

from brainlm.data.fingerprints import UNKNOWN, are_among, fingerprint_of, joined, pairs_of_copies
from brainlm.data.manifest import Manifest
from brainlm.data.recording import Recording
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store, StoreAppender
from brainlm.data.synthetic import synthetic_population, synthetic_recordings


@pytest.fixture(scope="module")
def signals():
    population = synthetic_population(num_parcels=12, num_networks=3)
    return [made.bold for made in synthetic_recordings(population, num_subjects=30, num_timepoints=90)]


def zscored(bold):
    return (bold - bold.mean(axis=0)) / bold.std(axis=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda bold: bold.astype(np.float16),
        lambda bold: 2 * bold,
        lambda bold: 1000 * bold + 5e4,
        zscored,
        lambda bold: (2 * zscored(bold)).astype(np.float16),
        lambda bold: bold[:70],
        lambda bold: np.where(np.arange(bold.shape[1]) == 3, np.nan, bold),
    ],
)
def test_a_copy_is_found_in_other_units_and_cut_at_the_end(signals, change):
    originals = [fingerprint_of(bold) for bold in signals]
    changed = [fingerprint_of(change(bold)) for bold in signals]
    assert are_among(changed, originals).all()
    for number, one in enumerate(changed):
        others = originals[:number] + originals[number + 1 :]
        assert not are_among([one], others).any()


@pytest.mark.parametrize("change", [lambda bold: bold[1:], lambda bold: bold[:, ::-1], lambda bold: bold[:20]])
def test_a_copy_cut_at_the_beginning_or_of_other_parcels_is_not_found(signals, change):
    originals = [fingerprint_of(bold) for bold in signals]
    assert are_among([fingerprint_of(change(bold)) for bold in signals], originals).mean() < 0.5


def test_bright_first_volumes_and_drift_make_no_copies(signals):
    start = 50 * np.exp(-np.arange(90) / 1.5)[:, None] + np.arange(90)[:, None]
    prints = [fingerprint_of(bold + bold.std() * start) for bold in signals]
    assert len(pairs_of_copies(prints)) == 0


def test_recordings_too_short_to_tell_are_copies_of_nothing(signals):
    short = fingerprint_of(signals[0][:5])
    assert short == UNKNOWN
    assert not are_among([short], [short]).any()
    assert len(pairs_of_copies([short, short])) == 0
    assert fingerprint_of(np.full((80, 12), np.nan, np.float32)) == UNKNOWN


def test_names_are_joined_through_others():
    assert joined(["d", "c", "a"], [("a", "b"), ("b", "c")]) == {"a": "a", "b": "a", "c": "a", "d": "d"}


def recording(bold, subject, **fields):
    return Recording(bold.astype(np.float32), 2.0, subject, **fields)


def test_a_store_keeps_fingerprints_and_computes_those_that_older_ones_lack(signals, make_store):
    store = make_store([recording(bold, f"{n:02d}") for n, bold in enumerate([*signals[:5], 2 * signals[1]])])
    assert store.fingerprints == tuple(fingerprint_of(store.bold(row)) for row in range(6))
    assert store.copies == ((1, 5),)
    assert store.people_with_copies == (("01", "05"),)
    assert store.take([5, 2, 1]).copies == ((0, 2),)
    manifest = Manifest.read(store.path)
    assert manifest.shards[0].pop("fingerprints") == list(store.fingerprints)
    (store.path / "manifest.json").write_text(manifest.to_json())
    assert "fingerprints" not in json.loads((store.path / "manifest.json").read_text())["shards"][0]
    assert Store.open(store.path).copies == ((1, 5),)


def test_a_copy_that_is_added_goes_where_its_original_is(signals, make_store):
    splits = {"00": "train", "01": "validation", "02": "test"}
    store = make_store(
        [recording(bold, f"{n:02d}") for n, bold in enumerate(signals[:3])], splits=splits, split_rule=SplitRule()
    )
    with StoreAppender(store.path) as appender:
        for number, bold in enumerate(signals[:3]):
            appender.add(recording(3 * bold, f"copy{number}"))
    added = Store.open(store.path).metadata.set_index("subject")["split"]
    assert added[["copy0", "copy1", "copy2"]].tolist() == ["train", "validation", "test"]
