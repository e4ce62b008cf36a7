"""`brainlm inspect --html`: where the page goes, and that nothing else is ever replaced."""

import numpy as np
import pytest

from brainlm.cli.data_verbs import inspect
from brainlm.cli.main import _tidied, parser_of
from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.store import StoreWriter


@pytest.fixture
def store(tmp_path):
    """Three short recordings of four parcels."""
    path = tmp_path / "study.store"
    with StoreWriter(path, Parcels.unnamed(4), atlas="toy") as writer:
        for number in range(3):
            bold = np.random.default_rng(number).normal(size=(12, 4)).astype(np.float32)
            writer.add(Recording(bold, 2.0, f"{number}"))
    return path


def test_alone_it_writes_beside_the_store_and_says_where(speak, store):
    spoken = speak("inspect", store, "--html")
    assert (spoken.status, spoken.err) == (0, "")
    page = store.with_suffix(".html")
    assert f"open it in a browser: {page}" in spoken.out
    assert "by split" in spoken.out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_with_a_path_it_writes_there_and_without_it_nothing(speak, store, tmp_path):
    assert speak("inspect", store, "--html", tmp_path / "pages" / "a.html", "--max_read", 2).status == 0
    assert (tmp_path / "pages" / "a.html").is_file()
    before = sorted(tmp_path.iterdir())
    assert speak("inspect", store).status == speak("inspect", store, "--html", "false").status == 0
    assert sorted(tmp_path.iterdir()) == before


def test_a_path_that_may_be_data_is_refused_before_anything_is_shown(speak, store, tmp_path):
    (tmp_path / "data.tsv").write_text("precious")
    spoken = speak("inspect", store, "--html", tmp_path / "data.tsv")
    assert (spoken.status, spoken.out) == (2, "")
    assert "a file that ends in .html" in spoken.err
    assert (tmp_path / "data.tsv").read_text() == "precious"


def test_before_the_store_it_takes_the_store_for_the_page_and_harms_nothing(speak, store):
    spoken = speak("inspect", "--html", store)
    assert spoken.status == 2
    assert "required: store" in spoken.err
    assert speak("inspect", store).status == 0


def test_a_value_that_may_be_left_out_is_told_from_one_that_is_given():
    parser = parser_of("inspect", inspect)
    for words, expected in (
        ("a --html", "a --html true"),
        ("a --html b.html", "a --html b.html"),
        ("--html --verify a", "--html true --verify true a"),
        ("a --html=b.html --verify", "a --html=b.html --verify true"),
    ):
        assert _tidied(words.split(), parser) == expected.split()
