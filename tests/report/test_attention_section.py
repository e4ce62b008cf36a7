"""The sections about attention: what they say and draw, and what gives way to them."""

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_attention import make_attention, make_bare_attention, write_attention
from synthetic_run import make_parcels

from brainlm.report import attention_section, page
from brainlm.report.attention_section import study_section
from brainlm.report.attention_study_file import read_attention_study
from brainlm.report.blocks import Picture, Section, Sentence, Table, View
from brainlm.report.brain_maps import MarkerBrain
from brainlm.report.page import summary
from brainlm.report.run_folder import RunFolder

PARCELS = make_parcels(40, np.random.default_rng(0))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts without lay-out, for tests of the words."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write("<svg></svg>"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    PARCELS.write(tmp_path / "parcels.tsv")
    return RunFolder.read(tmp_path)


def section_of(run: RunFolder, content: dict[str, Any]) -> Section:
    return study_section(run, None, read_attention_study(content, "folder"), "attention_1")


def titles(section: Section) -> list[str]:
    return [panel.title for block in section.blocks if isinstance(block, Picture) for panel in block.panels]


def words(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Sentence))


@pytest.mark.usefixtures("undrawn")
def test_the_conclusion_comes_first_word_for_word(run: RunFolder) -> None:
    content = make_attention(PARCELS)
    first = section_of(run, content).blocks[0]
    assert isinstance(first, Sentence)
    assert first.conclusion
    assert first.text == content["conclusion"]


def test_every_part_has_its_figure(run: RunFolder) -> None:
    section = section_of(run, make_attention(PARCELS, contrast="paired", effect=5.0))
    found = titles(section)
    for title in ("Every parcel", "Attention by network", "The contrast by network", "Between parcels, by lag",
                  "Parcel by parcel", "By network", "How widely each looks", "Parcels hidden: embedding",
                  "Only these parcels shown", "Attention rollout", "Gradient attribution"):  # fmt: skip
        assert title in found
    checks = next(block for block in section.blocks if isinstance(block, Table) and not block.folded)
    assert [row[0].text for row in checks.rows][:4] == [
        *("Signal amplitude", "Connectivity strength", "No signal at all", "Gradient attribution"),
    ]


@pytest.mark.usefixtures("undrawn")
def test_an_effect_is_counted_by_its_direction(run: RunFolder) -> None:
    content = make_attention(PARCELS, contrast="paired", effect=5.0)
    written = words(section_of(run, content))
    num = content["contrast"]["num_significant"]
    higher = sum(t > 0 and q < 0.05 for t, q in zip(content["contrast"]["t"], content["contrast"]["q"], strict=True))
    assert f"{num} of 40 parcels differ at q ≤ 0.05: attention is higher in “up” in {higher} of them" in written
    assert "within 33 subjects (paired); 2 subjects left out" in written


@pytest.mark.usefixtures("undrawn")
def test_a_contrast_without_a_significant_parcel_is_called_that(run: RunFolder) -> None:
    content = make_attention(PARCELS, contrast="two-sample")
    content["contrast"] |= {"q": [0.7] * 40}
    section = section_of(run, content)
    assert "None of 40 parcels differs at q ≤ 0.05 (smallest q = 0.700)" in words(section)
    assert "not to be read parcel by parcel" in words(section)
    assert "up (16 subjects) minus down (17 subjects), different people" in words(section)


@pytest.mark.usefixtures("undrawn")
def test_what_else_differs_between_groups_is_in_red(run: RunFolder) -> None:
    section = section_of(run, make_attention(PARCELS, contrast="two-sample"))
    (warning,) = [block for block in section.blocks if isinstance(block, Sentence) and block.warning]
    assert "site differs between the two" in warning.text
    assert "mean_fd" not in warning.text
    quiet = section_of(run, make_attention(PARCELS, contrast="paired"))
    assert not [block for block in quiet.blocks if isinstance(block, Sentence) and block.warning]


@pytest.mark.usefixtures("undrawn")
def test_one_subject_and_nothing_optional_still_give_a_section(run: RunFolder) -> None:
    section = section_of(run, make_bare_attention(40))
    assert "One subject: there are no intervals" in words(section)
    assert "neither a label image nor coordinates" in words(section)
    assert not [block for block in section.blocks if isinstance(block, View)]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("part", ["heads", "lags", "networks", "sanity", "files", "contrast", "settings", "facts"])
def test_any_one_part_can_be_null(run: RunFolder, part: str) -> None:
    assert section_of(run, make_attention(PARCELS, contrast="paired") | {part: None}).blocks


@pytest.mark.usefixtures("undrawn")
def test_nearly_equal_attention_is_called_that(run: RunFolder) -> None:
    content = make_bare_attention(40)
    for spread, is_said in ((0.01, True), (0.4, False)):
        content["parcels"]["attention"] = (np.linspace(1 - spread, 1 + spread, 40) / 40).tolist()
        (picture,) = (block for block in section_of(run, content).blocks if isinstance(block, Picture))
        assert ("nearly equal attention" in picture.caption) == is_said


def test_a_map_without_any_signal_is_told(run: RunFolder) -> None:
    content = make_bare_attention(40)
    content["parcels"]["attention"] = [None] * 40
    assert "No parcel has signal" in words(section_of(run, content))


@pytest.mark.usefixtures("undrawn")
def test_more_rows_than_can_be_told_apart_become_means_over_heads(run: RunFolder) -> None:
    section = section_of(run, make_attention(PARCELS, layers=20, heads=16))
    (panel,) = (p for b in section.blocks if isinstance(b, Picture) for p in b.panels if p.title == "Parcel by parcel")
    assert "mean over heads" in panel.note


def test_the_same_results_give_the_same_section(run: RunFolder) -> None:
    content = make_attention(PARCELS, contrast="paired", effect=5.0)
    assert section_of(run, content) == section_of(run, content)


@pytest.mark.usefixtures("undrawn")
def test_the_study_takes_the_place_of_the_mean_over_embedded_recordings(full_run: Path) -> None:
    before = RunFolder.read(full_run)
    assert before.parcels is not None
    assert [section.anchor for section in page._attention(before, None)] == ["attention"]
    write_attention(full_run, make_attention(before.parcels))
    assert [section.anchor for section in page._attention(RunFolder.read(full_run), None)] == ["attention_1"]


def test_the_summary_is_silent_without_a_contrast(tmp_path: Path) -> None:
    write_attention(tmp_path, make_attention(PARCELS))
    assert attention_section.tally(RunFolder.read(tmp_path).attention_studies) == ""
    write_attention(tmp_path, make_attention(PARCELS, contrast="two-sample"), "other")
    assert "condition (up against down) in no parcel" in " ".join(summary(RunFolder.read(tmp_path)))


def test_views_are_folded_and_packed_and_the_page_fetches_nothing(run: RunFolder) -> None:
    start = "<html>" + "".join(str(number) for number in range(2000))
    views = tuple(View(f"view {place}", f"{start}{place}</html>", "about it") for place in range(2))
    written = page._render(run, [Section("attention_1", "t", views)])
    assert written.count('<details class="view"') == 2
    assert written.count('id="shared-') == 1  # both start alike
    assert written.count('id="rest-') == 2
    assert 'setAttribute("sandbox", "allow-scripts")' in written
    assert "<iframe" not in written
    assert "http" not in written[written.index("<main") :].replace("http://www.w3.org/2000/svg", "")  # a name of XML
    assert "sandbox" not in page._render(run, [])  # without views, no code for them


@pytest.mark.usefixtures("undrawn")
def test_names_from_the_data_are_escaped(run: RunFolder) -> None:
    attack = "<script>alert(1)</script>$x^"
    text = json.dumps(make_attention(PARCELS, contrast="paired", effect=5.0)).replace('"up"', json.dumps(attack))
    study = read_attention_study(json.loads(text), "folder")
    views = attention_section._turned(MarkerBrain(PARCELS), study)
    documents = [view.document for view in views if isinstance(view, View)]
    assert len(documents) == 2
    assert not [document for document in documents if attack in document]
    written = page._render(run, [study_section(run, None, study, "attention_1"), Section("x", "x", tuple(views))])
    assert attack not in written
    assert html.escape(attack) in written
