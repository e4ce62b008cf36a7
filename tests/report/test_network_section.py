"""The sections about functional networks: what they say and draw."""

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_networks import BEST, MAIN, make_bare_networks, make_networks, write_networks
from synthetic_run import make_parcels

from brainlm.report import network_section, network_words, page
from brainlm.report.blocks import Picture, Section, Sentence, Table
from brainlm.report.network_file import read_network_study
from brainlm.report.network_section import shown_methods, study_section
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
    return study_section(run, None, read_network_study(content, "folder"), "networks_1")


def titles(section: Section) -> list[str]:
    return [panel.title for block in section.blocks if isinstance(block, Picture) for panel in block.panels]


def words(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Sentence))


def test_every_part_has_its_figure_and_the_conclusion_comes_first(run: RunFolder) -> None:
    content = make_networks(PARCELS)
    section = section_of(run, content)
    assert isinstance(section.blocks[0], Sentence)
    assert section.blocks[0].conclusion
    assert section.blocks[0].text == content["conclusion"]
    for title in ("Accuracy", "Minus the best baseline", "Balanced accuracy", "Adjusted Rand index", MAIN, BEST):
        assert title in titles(section)


@pytest.mark.usefixtures("undrawn")
def test_the_table_calls_a_loss_a_loss(run: RunFolder) -> None:
    section = section_of(run, make_networks(PARCELS))
    table = next(block for block in section.blocks if isinstance(block, Table) and not block.folded)
    rows = {row[0].text: row for row in table.rows}
    assert rows[MAIN][2].text == "−0.150 ▼ worse"
    assert rows[BEST][2].text == "best baseline"
    assert "best" in rows[BEST][1].look.split()
    assert len(table.rows) == 12


@pytest.mark.usefixtures("undrawn")
def test_what_is_owed_to_smoothness_alone_is_said(run: RunFolder) -> None:
    written = words(section_of(run, make_networks(PARCELS)))
    assert "attention profile 55 % against 33 % (p = 0.0050)" in written
    assert "MNI coordinates 57 % against 50 % (p = 0.080)" in written
    assert "2 parcels without a label left out" in written
    assert "17 left-right pairs never torn apart" in written


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("part", ["difference", "surrogates", "settings", "facts", "num_pairs", "best_baseline"])
def test_any_one_part_can_be_null(run: RunFolder, part: str) -> None:
    assert section_of(run, make_networks(PARCELS) | {part: None}).blocks


def test_everything_optional_can_be_absent(run: RunFolder) -> None:
    assert titles(section_of(run, make_bare_networks(40))) == ["Accuracy"]


def test_the_models_best_features_are_shown_beside_the_main_ones() -> None:
    study = read_network_study(make_networks(PARCELS), "x")
    assert shown_methods(study) == (MAIN, BEST, "parcel embedding")


@pytest.mark.usefixtures("undrawn")
def test_yeos_numbers_are_spelled_out(run: RunFolder) -> None:
    table = PARCELS.table.assign(yeo7=[1 + place % 7 for place in range(40)])
    content = make_networks(type(PARCELS)(table), labels="yeo7")
    written = words(section_of(run, content))
    assert "Somatomotor" in written
    assert "Frontoparietal" in written


def test_without_a_study_the_way_to_get_one_is_told(run: RunFolder) -> None:
    (section,) = network_section.sections(run, None)
    assert "brainlm networks RUN STORE --labels COLUMN" in words(section)


def test_the_summary_says_who_is_ahead(run: RunFolder) -> None:
    write_networks(run.path, make_networks(PARCELS))
    written = " ".join(summary(RunFolder.read(run.path)))
    assert f"network, 56 % of parcels right by {MAIN}, worse than {BEST} (−0.150 [−0.220, −0.080])" in written
    assert network_words.tally([read_network_study(make_bare_networks(4), "x")]) == ""


@pytest.mark.usefixtures("undrawn")
def test_names_from_the_data_are_escaped(run: RunFolder) -> None:
    attack = "<script>alert(1)</script>$x^"
    section = section_of(run, json.loads(json.dumps(make_networks(PARCELS)).replace(BEST, attack)))
    written = page._render(run, [section])
    assert re.findall(r"<script[^>]*>\s*(\S+)", written) == ['"use']  # the page's own
    assert html.escape(attack) in written


def test_the_same_results_give_the_same_section(run: RunFolder) -> None:
    content = make_networks(PARCELS)
    assert section_of(run, content) == section_of(run, content)
