"""``brainlm attention`` as typed: what it leaves, what it says, and what it refuses."""

import json

import pandas as pd
import pytest

from brainlm.files import CHECKSUM

QUICK = ("--permutations", 200, "--num_bootstrap", 50, "--deletion_recordings", 4, "--attribution_recordings", 2)


@pytest.fixture(scope="module")
def looked(study, speak, tmp_path_factory):
    """A contrast of halves of the age, in a folder of its own, and what was said."""
    out = tmp_path_factory.mktemp("looked")
    words = ("--contrast", "age", "--levels", "low,high", "--out", out, *QUICK)
    return out / "attention" / "age.low-high", speak("attention", study.run, study.store, *words)


def test_it_leaves_tables_pictures_and_results(looked):
    folder, spoken = looked
    assert spoken.status == 0, spoken.err
    results = json.loads((folder / "results.json").read_text())
    assert results["kind"] == "attention"
    assert results["contrast"]["levels"] == ["low", "high"]
    assert results["facts"]["seen"].endswith("were seen in pretraining.")
    assert len(pd.read_csv(folder / "table.csv")) == len(results["parcels"]["attention"])
    assert results["files"] == {"nifti": [], "surface": "maps/surface.png", "view": "view.html"}
    assert all((folder / name).is_file() for name in ("maps/surface.png", "view.html"))


def test_it_says_what_follows_and_what_was_not_possible(looked):
    _, spoken = looked
    text = " ".join(spoken.out.split())
    assert "low minus high: the largest differences" in text
    assert "the store has no label image: maps are in table.csv, pictures show markers" in text
    assert "below and above the median over subjects of age" in text
    assert "next: brainlm report" in text


def test_results_are_not_replaced_unless_asked(looked, study, speak):
    folder, _ = looked
    words = ("attention", study.run, study.store, "--contrast", "age", "--levels", "low,high", *QUICK)
    out = ("--out", folder.parents[1])
    before = (folder / "results.json").read_text()
    refused = speak(*words, *out)
    assert refused.status == 2
    assert "--overwrite" in refused.err
    again = speak(*words, *out, "--overwrite")
    assert again.status == 0
    one, other = (json.loads(text) for text in (before, (folder / "results.json").read_text()))
    for results in (one, other):
        del results["facts"], results[CHECKSUM]  # how long it took
    assert one == other


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--contrast", "site"), "site has 3 levels"),
        (("--contrast", "agee"), "nearest: age"),
        (("--contrast", "sex", "--levels", "F"), "a contrast is of two levels"),
        (("--layer", "top"), "there is no such layer"),
        (("--networks", "yeo7"), "network columns: network"),
        (("--name", "../elsewhere"), "a plain name"),
        (("--levels", "a,b"), "no --contrast"),
    ],
)
def test_what_cannot_be_done_is_said(study, speak, words, said, tmp_path):
    spoken = speak("attention", study.run, study.store, "--out", tmp_path, *words, *QUICK)
    assert spoken.status == 2
    assert said in spoken.err
