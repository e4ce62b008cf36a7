"""The sections of clinical variables: what they say, what they draw, and that what evaluation writes is understood."""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic_study import CONNECTIVITY, FUSION, MAIN, make_bare_study, make_small_study, make_study, write_study

from brainlm.evaluation.phenotypes.fold_rule import FoldRule
from brainlm.evaluation.phenotypes.folds import make_folds
from brainlm.evaluation.phenotypes.judging import judge
from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.targets import Cohort, Target
from brainlm.report import phenotype_sections, phenotype_words
from brainlm.report.blocks import Picture, Section, Sentence, Table
from brainlm.report.page import build_report, next_steps, summary
from brainlm.report.phenotype_figures import marks_of, shown_names
from brainlm.report.phenotype_file import read_study
from brainlm.report.phenotype_forest import forest_panels
from brainlm.report.phenotype_sections import study_section
from brainlm.report.run_folder import RunFolder
from brainlm.report.style import GROUP_LOOKS


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts without lay-out, for tests of the words."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write("<svg></svg>"))


def section_of(content: dict[str, Any]) -> Section:
    return study_section(read_study(content, "folder"), "study_1")


def pictures(section: Section) -> list[Picture]:
    return [block for block in section.blocks if isinstance(block, Picture)]


def titles(section: Section) -> list[str]:
    return [panel.title for picture in pictures(section) for panel in picture.panels]


def svg(uri: str) -> str:
    return base64.b64decode(uri.split(",")[1]).decode()


@pytest.mark.usefixtures("undrawn")
def test_the_conclusion_comes_first_word_for_word() -> None:
    content = make_study("binary")
    first = section_of(content).blocks[0]
    assert isinstance(first, Sentence)
    assert first.text == content["conclusion"]
    assert first.conclusion


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("regression", {MAIN, CONNECTIVITY, FUSION}),
        ("binary", {"ROC", "Precision and recall", "Calibration"}),
        ("multiclass", {"ROC", "Precision and recall", "Calibration"}),
    ],
)
def test_each_kind_of_target_has_its_figures(kind: str, own: set[str]) -> None:
    found = titles(section_of(make_study(kind)))
    assert own <= set(found)
    assert "Minus the best baseline" in found
    assert "Shuffled labels" in found
    assert ("Model against connectivity, site by site" in found) == (kind != "multiclass")


def test_everything_optional_can_be_absent() -> None:
    section = section_of(make_bare_study())
    assert titles(section) == ["AUROC"]
    assert not [block for block in section.blocks if isinstance(block, Table) and block.folded]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "part", ["curves", "permutation", "site_prediction", "difference", "best_connectivity", "fusion"]
)
def test_any_one_part_can_be_null(part: str) -> None:
    assert section_of(make_small_study() | {part: None}).blocks


@pytest.mark.usefixtures("undrawn")
def test_a_method_seen_in_pretraining_is_red_and_has_a_dagger() -> None:
    section = section_of(make_study("binary", is_seen=True))
    assert any(isinstance(block, Sentence) and block.warning and MAIN in block.text for block in section.blocks)
    table = next(block for block in section.blocks if isinstance(block, Table))
    rows = {row[0].text: row for row in table.rows}
    assert "seen" in rows[f"{MAIN} †"][0].look
    assert "seen" in rows[f"{MAIN} †"][1].look
    assert "241 of 833" in rows[f"{MAIN} †"][0].small
    assert "seen" not in rows[CONNECTIVITY][0].look
    quiet = section_of(make_study("binary"))
    assert not [block for block in quiet.blocks if isinstance(block, Sentence) and block.warning]
    assert "†" not in str(quiet)


def test_the_forest_shows_every_method_with_its_numbers() -> None:
    study = read_study(make_study("regression"), "x")
    panel, difference, error = forest_panels(study)
    drawn = svg(panel.uri)
    assert "0.413 [0.3" in drawn
    assert "Functional connectivity" in drawn
    assert all(method.name in panel.alt for method in study.methods)
    assert "the best baseline" in svg(difference.uri)
    assert "in units of age" in svg(error.uri)


def test_a_method_far_below_the_others_does_not_squeeze_them() -> None:
    content = make_study("regression")
    squeezed = next(m for m in content["methods"] if "MLP" in m["name"] and m["group"] == "connectivity")
    assert squeezed["scores"]["r2"]["value"] == -1.7
    drawn = svg(forest_panels(read_study(content, "x"))[0].uri)
    assert "−1.700 [−2.400, −1.200]" in drawn
    assert "−2.0</text>" not in drawn


def test_two_methods_of_one_kind_are_told_apart_by_colour_and_shape() -> None:
    study = read_study(make_study("binary"), "x")
    names = [method.name for method in study.methods if method.group == "connectivity"][:3]
    marks = marks_of(study, names)
    assert len({mark.colour for mark in marks.values()}) == 3
    assert len({mark.marker for mark in marks.values()}) == 3


def test_the_kinds_of_method_differ_in_shape_and_in_lightness_not_in_hue_alone() -> None:
    assert len({marker for _, marker in GROUP_LOOKS.values()}) == len(GROUP_LOOKS)


def test_the_main_method_and_its_opponent_are_shown_first() -> None:
    study = read_study(make_study("binary"), "x")
    assert shown_names(study, list(study.curves))[:3] == [MAIN, CONNECTIVITY, FUSION]


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_studies_says_which_command_makes_one(full_run: Path) -> None:
    for path in full_run.glob("phenotypes/*/results.json"):
        path.unlink()
    run = RunFolder.read(full_run)
    (section,) = phenotype_sections.sections(run)
    (block,) = section.blocks
    assert isinstance(block, Sentence)
    assert block.missing
    assert "`brainlm probe RUN STORE --target COLUMN`" in block.text
    assert any("brainlm probe" in step for step in next_steps(run))


@pytest.mark.usefixtures("undrawn")
def test_studies_alone_are_enough_for_a_page(tmp_path: Path) -> None:
    write_study(tmp_path, make_small_study() | {"target": make_study("binary")["target"] | {"name": "age"}})
    write_study(tmp_path, make_study("binary", folds="leave-site-out"))
    (tmp_path / "phenotypes" / "iq.5-fold").mkdir()
    (tmp_path / "phenotypes" / "iq.5-fold" / "folds.json").write_text("{}")
    overview, age, diagnosis = phenotype_sections.sections(RunFolder.read(tmp_path))
    assert isinstance(overview.blocks[0], Table)
    assert [row[0].text for row in overview.blocks[0].rows] == ["age", "diagnosis"]
    assert "iq.5-fold" in str(overview.blocks[1])
    assert (age.title, diagnosis.title) == ("Predicting age, 5x5-fold", "Predicting diagnosis, leave-site-out")
    assert build_report(tmp_path).is_file()


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.05, "better for diagnosis"),
        (-0.05, -0.01, "worse for diagnosis"),
        (-0.05, 0.01, "not clearly different for diagnosis"),
        (0.0, 0.02, "not clearly different for diagnosis"),
    ],
)
def test_the_summary_calls_a_win_only_where_the_interval_excludes_zero(
    tmp_path: Path, low: float, high: float, said: str
) -> None:
    write_study(tmp_path, make_study("binary") | {"difference": {"value": (low + high) / 2, "low": low, "high": high}})
    written = summary(RunFolder.read(tmp_path))[-1]
    assert said in written
    assert sum(word in written for word in ("better for", "worse for", "not clearly")) == 1


def test_the_summary_is_silent_where_connectivity_was_not_compared() -> None:
    assert phenotype_words.tally([read_study(make_bare_study(), "x")]) == ""
    assert phenotype_words.tally([]) == ""


def test_the_smallest_p_that_can_be_had_is_said_to_be_that() -> None:
    assert "smallest that 200 permutations can give" in phenotype_words.p_text(1 / 201, 200)
    assert phenotype_words.p_text(0.21, 200) == "p = 0.210"


@pytest.mark.usefixtures("undrawn")
def test_a_shorter_procedure_behind_the_shuffles_is_told() -> None:
    content = make_study("binary")
    assert "shorter procedure" not in str(section_of(content))
    content["permutation"]["observed"] -= 0.02
    assert "shorter procedure" in str(section_of(content))


def test_names_from_the_data_are_escaped(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>$x^"
    text = json.dumps(make_small_study()).replace(CONNECTIVITY, attack).replace('"NYU"', '"<b>$_"')
    write_study(tmp_path, json.loads(text))
    written = build_report(tmp_path).read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>\s*(\S+)", written) == ['"use']  # the page's own
    assert html.escape(attack) in written


def test_the_same_results_give_the_same_charts() -> None:
    content = make_small_study()
    assert section_of(content) == section_of(content)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
def test_what_the_evaluation_writes_is_understood(kind: Any, rng: np.random.Generator) -> None:
    num, classes = 60, {"regression": (), "binary": ("no", "yes"), "multiclass": ("a", "b", "c")}[kind]
    codes = rng.normal(40, 9, num) if kind == "regression" else rng.permutation(np.arange(num) % len(classes)) * 1.0
    table = pd.DataFrame({"subject": [f"s{i}" for i in range(num)], "site": rng.choice(["A", "B", "C"], num)})
    cohort = Cohort(
        table=table,
        recordings=tuple(np.array([i]) for i in range(num)),
        target=Target("t", kind, codes, classes),
        level="subject",
        num_missing=2,
    )
    rule = FoldRule(kind="k-fold", num_folds=3, repeats=2)
    folds = make_folds(cohort, rule)
    groups = ("model", "connectivity", "fusion", "random-init", "chance")
    width = max(len(classes), 1) if kind != "binary" else 1
    methods = []
    for group in groups:
        values = rng.random((2, num, width)) if classes else rng.normal(40, 9, (2, num, 1))
        values = values / values.sum(axis=2, keepdims=True) if kind == "multiclass" else values
        methods.append(
            Predictions(group, group, key="k", seconds=1.0, note="", seen=group == "model", values_RNK=values)
        )
    null = rng.normal(0.5, 0.05, 20)
    results = judge(cohort, rule, folds, methods, main="model", null=null, blocks="within site", num_bootstrap=20)
    section = section_of(json.loads(json.dumps(results)))
    assert section.blocks[0].text == results["conclusion"]  # type: ignore[union-attr]
    assert "Shuffled labels" in titles(section)
    assert ("ROC" in titles(section)) == bool(classes)
    assert any("by site" in title for title in titles(section))
