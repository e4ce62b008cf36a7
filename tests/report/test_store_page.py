"""The page about a store: what it says, of stores of every kind, and that it stands alone."""

import base64
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from stores import COPY, UNITS, bare_store, full_store
from test_page import text_of

from brainlm.data.inspecting import inspect_store
from brainlm.data.outliers import find_outliers
from brainlm.data.store import Store
from brainlm.errors import ConfigError, DataError
from brainlm.report import outlier_section, store_page, store_sections, store_tables
from brainlm.report.looked import Looked
from brainlm.report.store_page import build_store_page, page_path

MAX_BYTES = 3_000_000


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store with everything."""
    return full_store(tmp_path_factory.mktemp("full") / "study.store")


@pytest.fixture(scope="module")
def full_page(full: Store) -> str:
    """Its page."""
    return build_store_page(full).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def looked(full: Store) -> Looked:
    """What its page is made of."""
    return look(full)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the maps out and the charts empty, for tests of the words."""
    monkeypatch.setattr(store_page, "choose_brain", lambda *_: None)
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write("<svg></svg>"))


def look(store: Store, **settings) -> Looked:
    return Looked.at(store, inspect_store(store), find_outliers(store, **settings))


def test_a_full_store_gives_every_section_without_a_missing_part(full_page: str) -> None:
    anchors = re.findall(r'<section id="(\w+)"', full_page)
    assert anchors == ["contents", "coverage", "motion", "outliers", "excluded", "people", "origin", "reading"]
    assert 'class="missing"' not in full_page
    assert re.findall(r'<span class="count">(\d+)</span>', full_page) == [str(number) for number in range(1, 9)]


def test_the_page_loads_nothing_from_elsewhere_and_stays_small(full_page: str) -> None:
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["']?\s*(?:https?:)?//""", full_page)
    assert not re.findall(r"<script[^>]*src", full_page)
    body = re.sub(r"<script[^>]*>.*?</script>", "", full_page, flags=re.DOTALL)
    assert not re.findall(r"@import|url\(|<script|<link|<iframe", body)
    svgs = [base64.b64decode(code).decode() for code in re.findall(r"svg\+xml;base64,([^\"]+)", full_page)]
    assert len(svgs) > 12
    assert not [svg for svg in svgs if re.search(r'href="(?!#|data:)', svg) or "<script" in svg or "url(http" in svg]
    assert len(full_page.encode()) < MAX_BYTES


def test_every_image_has_a_text_for_who_cannot_see_it(full_page: str) -> None:
    images = re.findall(r"<img [^>]*>", full_page)
    assert images
    assert all(re.search(r'alt="[^"]{15,}"', image) for image in images)


def test_names_from_the_data_are_escaped(full_page: str) -> None:
    assert "<b>Ulm" not in full_page
    assert "&lt;b&gt;Ulm" in full_page


def test_the_summary_says_what_is_there_and_what_to_look_at(looked: Looked) -> None:
    said = " ".join(store_page.summary(looked))
    assert "40 recordings of 20 people" in said
    assert "24 parcels (toy), from 3 sites; a volume every 0.8 to 2 s" in said
    assert "20 for training, 10 for validation and 10 for testing" in said
    assert "2 recordings stand out (1 by their spread and 1 with the same signal as another). 31 inputs" in said


def test_what_stands_out_is_listed_with_who_and_why(full_page: str, looked: Looked) -> None:
    written = text_of(full_page)
    assert "the same signal as sub-00_ses-1_task-rest" in written
    assert "50 times the cohort's spread" in written
    assert looked.outliers.flagged.tolist() == [COPY, UNITS]
    assert looked.names[UNITS] == "sub-02_ses-2_task-rest"


def test_the_carpets_are_of_the_worst_and_of_one_that_is_not_conspicuous(looked: Looked) -> None:
    chosen = outlier_section.carpets_of(looked)
    assert list(chosen.values()) == ["The most conspicuous", "One drawn at random"]
    assert next(iter(chosen)) == UNITS
    assert list(chosen)[1] not in (UNITS, COPY)
    assert outlier_section.carpets_of(looked) == chosen  # the draw is seeded


def test_a_recording_conspicuous_in_another_way_has_a_carpet_too(looked: Looked) -> None:
    distance_z = np.zeros(40)
    distance_z[7] = 5.0
    found = dataclasses.replace(looked.outliers, distance_z=distance_z)
    chosen = outlier_section.carpets_of(dataclasses.replace(looked, outliers=found))
    assert list(chosen)[:2] == [UNITS, 7]
    assert chosen[7] == "Conspicuous in another way"


def test_inputs_left_out_are_counted_by_reason(full_page: str) -> None:
    written = text_of(full_page)
    assert "31 inputs did not become a recording, for 2 reasons." in written
    assert "left out by rule: mean FD … mm, above 0.5 mm 30 none needed derivatives/sub-0_bold.nii.gz" in written
    assert "bad.nii.gz: the file ends too early 1 copy it again" in written


def test_coverage_and_motion_are_those_of_the_store(full_page: str, looked: Looked) -> None:
    written = text_of(full_page)
    assert "1 parcel of 24 lacks signal in some recording; 10 recordings of 40 lack some parcel" in written
    assert "P3 4 81 % 10" in written  # a quarter of the recordings cover a quarter of it
    known = looked.metadata["mean_fd"].dropna()
    assert f"{int((known > 0.5).sum())} of 39 are above 0.5 mm" in written
    assert "780 volumes were left out for motion" in written


def test_counts_add_up_in_every_group(looked: Looked) -> None:
    table = store_tables.counts_table(looked)
    group, sums = "", {}
    for by, _, recordings, *_ in table.rows:
        group = by.text or group
        sums[group] = sums.get(group, 0) + int(recordings.text)
    assert sums == dict.fromkeys(("split", "site", "task", "session", "repetition time"), 40)


@pytest.mark.usefixtures("undrawn")
def test_of_many_values_the_rarer_ones_are_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_tables, "MAX_VALUES", 2)
    rows = store_tables.counts_table(look(full_store(tmp_path / "a.store"))).rows
    sites = [row[1].text for row in rows[3:6]]
    assert sites[2] == "1 other"
    assert sum(int(row[2].text) for row in rows[3:6]) == 40


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("num", "num_timepoints"), [(1, 2), (1, 40), (2, 12), (7, 12), (9, 12)])
def test_a_tiny_store_of_which_nothing_is_known_gives_a_page(tmp_path: Path, num: int, num_timepoints: int) -> None:
    store = bare_store(tmp_path / "tiny", num=num, num_timepoints=num_timepoints)
    path = build_store_page(store)
    assert path == tmp_path / "tiny.html"
    written = text_of(path.read_text(encoding="utf-8"))
    assert "How much people moved is not known" in written
    assert "All 5 parcels have signal in all recordings." in written
    assert "The store holds no phenotypes" in written
    assert "All of them are for training: nothing is held out." in written
    assert ("too few recordings to say what is usual" in written) == (num < 8)


def test_a_tiny_store_is_drawn_too(tmp_path: Path) -> None:
    drawn = build_store_page(bare_store(tmp_path / "tiny", num=2)).read_text(encoding="utf-8")
    assert drawn.count("<img") == 4  # split, length, two carpets


def test_without_measurements_the_share_of_recordings_with_signal_is_shown(full: Store) -> None:
    coverage = dataclasses.replace(inspect_store(full).coverage, num_measured=0)
    inspection = dataclasses.replace(inspect_store(full), coverage=coverage)
    section = store_sections.coverage(Looked.at(full, inspection, find_outliers(full)), None)
    assert "Recordings with signal" in str(section)
    assert "not known of this store" in str(section)


@pytest.mark.usefixtures("undrawn")
def test_what_was_only_drawn_at_random_is_said(full: Store, tmp_path: Path) -> None:
    written = text_of(build_store_page(full, out=tmp_path / "a.html", max_read=15).read_text(encoding="utf-8"))
    assert "Correlations: of 15 recordings drawn at random" in written
    assert "Only 15 were compared by connectivity" in written


def test_a_person_in_two_splits_is_called_out(looked: Looked) -> None:
    metadata = looked.metadata.copy()
    metadata.loc[0, "split"] = "test"
    said = " ".join(store_page.summary(dataclasses.replace(looked, metadata=metadata)))
    assert "1 person has recordings in more than one split" in said


@pytest.mark.usefixtures("undrawn")
def test_the_same_store_gives_the_same_bytes(full: Store, tmp_path: Path) -> None:
    first = build_store_page(full, out=tmp_path / "a.html").read_bytes()
    assert build_store_page(full, out=tmp_path / "b.html").read_bytes() == first


@pytest.mark.usefixtures("undrawn")
def test_progress_counts_up_to_the_end(full: Store, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    build_store_page(full, out=tmp_path / "a.html", on_progress=lambda *step: told.append(step))
    done = [step for step, _, _ in told]
    assert done == sorted(done)
    assert told[-1][:2] == (6, 6)
    assert "comparing, 100 %" in [note for _, _, note in told]


def test_the_page_goes_beside_the_store_unless_said_otherwise(tmp_path: Path) -> None:
    assert page_path(tmp_path / "study.store") == tmp_path / "study.html"
    assert page_path(tmp_path / "study.v2") == tmp_path / "study.v2.html"
    assert page_path(tmp_path / "study.store", tmp_path / "a" / "b.HTML") == tmp_path / "a" / "b.HTML"


@pytest.mark.parametrize("name", ["data.tsv", "study.store", "page"])
def test_a_page_never_replaces_what_may_be_data(full: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(ConfigError, match="cannot go there"):
        build_store_page(full, out=tmp_path / name)
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.usefixtures("undrawn")
def test_a_page_that_cannot_be_written_is_an_error_that_names_it(full: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write.*page\.html"):
        build_store_page(full, out=tmp_path / "file" / "page.html")
