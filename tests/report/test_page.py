"""The page as a whole: whole runs, runs with parts missing, what it says, and that it stands alone."""

import base64
import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from brainlm.errors import ConfigError, DataError
from brainlm.files import CHECKSUM
from brainlm.report import page
from brainlm.report.blocks import Picture
from brainlm.report.page import build_report
from brainlm.report.rendering import write_page
from brainlm.report.run_folder import PARTS, RunFolder
from brainlm.report.score_sections import _r2_table
from brainlm.report.sections import embedding_map

MAX_BYTES = 6_000_000


@pytest.fixture(scope="module")
def full_page(tmp_path_factory: pytest.TempPathFactory, template_run: Path) -> str:
    """The page of a run that has everything, the label image included."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    return build_report(template_run, out=out).read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the maps out and the charts empty, for tests of the words."""
    monkeypatch.setattr(page, "choose_brain", lambda *_: None)
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write("<svg></svg>"))


def text_of(source: str) -> str:
    """What a reader sees."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", source, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_a_full_run_gives_every_section_without_a_missing_part(full_page: str) -> None:
    anchors = re.findall(r'<section id="(\w+)"', full_page)
    assert anchors == [
        *("provenance", "training", "examples", "masks", "parcels", "forecasting", "forecast_1", "embeddings"),
        *("attention", "networks_1", "study_1", "reading"),
    ]
    assert 'class="missing"' not in full_page


def test_the_page_loads_nothing_from_elsewhere(full_page: str) -> None:
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["']?\s*(?:https?:)?//""", full_page)
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", full_page, flags=re.DOTALL)
    assert not [
        code for attributes, code in scripts if "src" in attributes or re.search(r"fetch\(|\bimport[ (]|XMLHttp", code)
    ]
    body = re.sub(r"<script[^>]*>.*?</script>", "", full_page, flags=re.DOTALL)
    assert not re.findall(r"@import|url\(|<script|<link|<iframe", body)
    svgs = [base64.b64decode(code).decode() for code in re.findall(r"svg\+xml;base64,([^\"]+)", full_page)]
    assert len(svgs) > 15
    assert not [svg for svg in svgs if re.search(r'href="(?!#|data:)', svg) or "<script" in svg or "url(http" in svg]


def test_the_page_stays_small(full_page: str) -> None:
    assert len(full_page.encode()) < MAX_BYTES


def test_every_image_has_a_text_for_who_cannot_see_it(full_page: str) -> None:
    images = re.findall(r"<img [^>]*>", full_page)
    assert images
    assert all(re.search(r'alt="[^"]{15,}"', image) for image in images)


def test_every_figure_can_be_saved_under_a_name_that_says_what_it_is(full_page: str) -> None:
    figures = re.findall(r'<figure data-file="([^"]+)">(.*?)</figure>', full_page, flags=re.DOTALL)
    assert len(figures) == full_page.count("<figure") == full_page.count("<figcaption")
    names = [name for name, _ in figures]
    assert len(set(names)) == len(names)
    assert all(
        re.fullmatch(rf"demo-figure-{number:02d}-[a-z0-9-]+", name) for number, name in enumerate(names, start=1)
    )
    for _, content in figures:
        assert re.findall(r'<button type="button" data-kind="(\w+)"', content) == ["svg", "png"]
        assert len(re.findall(r'<button[^>]*aria-label="Save figure \d+ as (?:SVG|PNG)"', content)) == 2


def test_the_contents_stay_in_reach_and_lead_to_every_section(full_page: str) -> None:
    anchors = re.findall(r'<section id="(\w+)"', full_page)
    menu = re.search(r'<nav class="top"[^>]*>(.*?)</nav>', full_page, flags=re.DOTALL)
    assert menu
    assert re.findall(r'<a href="#(\w+)"', menu.group(1)) == anchors
    assert re.search(r"\.top \{[^}]*position: sticky", full_page)


def test_a_table_wider_than_the_page_says_so_and_keeps_its_first_column(full_page: str) -> None:
    tables = re.findall(
        r'<div class="scroll" tabindex="0" role="region".*?</div>\s*(<p class="hint">)?', full_page, re.DOTALL
    )
    assert tables
    assert all(tables)
    assert re.search(r"td:first-child \{[^}]*position: sticky; left: 0", full_page)
    assert re.search(r"\.scroll\.right \{[^}]*box-shadow", full_page)


@pytest.mark.usefixtures("undrawn")
def test_the_baselines_stand_by_how_strong_they_are(full_run: Path) -> None:
    evaluation = RunFolder.read(full_run).evaluation
    assert evaluation is not None
    head = _r2_table(evaluation).head
    assert head[1] == evaluation.method_names[0]
    assert head[3] == evaluation.conditions[0].best_baseline
    assert set(head[3:]) == set(evaluation.method_names[1:])


def test_the_same_files_give_the_same_bytes(full_run: Path) -> None:
    first = build_report(full_run).read_bytes()
    assert build_report(full_run, out=full_run / "again.html").read_bytes() == first


def test_the_same_numbers_give_the_same_charts(template_run: Path) -> None:
    run = RunFolder.read(template_run)
    assert embedding_map(run, None) == embedding_map(run, None)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_missing_part_is_told_with_the_way_to_get_it(full_run: Path, part: str) -> None:
    file, remedy = PARTS[part]
    (full_run / file).unlink()
    written = text_of(build_report(full_run).read_text(encoding="utf-8"))
    if part == "atlas":
        assert "RUN/atlas.nii.gz" in written
    else:
        assert f"{file} is not in the run folder" in written
        assert remedy.replace("`", "").split(" writes")[0].split(" copies")[0] in re.sub(r"\s+", " ", written)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("part", sorted(PARTS))
def test_one_part_alone_is_enough_for_a_page(full_run: Path, part: str) -> None:
    for other in set(PARTS) - {part}:
        (full_run / PARTS[other][0]).unlink()
    assert build_report(full_run).is_file()


@pytest.mark.parametrize(
    ("advantage", "expected"),
    [
        (-0.06, "the model is worse by 0.060 [0.040, 0.080]"),
        (0.06, "the model is better by 0.060 [0.040, 0.080]"),
        (0.01, "there is no clear difference (model minus baseline +0.010 [−0.010, +0.030]"),
        (-0.01, "there is no clear difference (model minus baseline −0.010 [−0.030, +0.010]"),
    ],
)
def test_the_summary_follows_the_sign_of_the_difference(
    tmp_path: Path, write_run: Callable[..., Path], advantage: float, expected: str
) -> None:
    run = RunFolder.read(write_run(tmp_path / "run", advantage=advantage, atlas=False))
    written = " ".join(page.summary(run))
    assert expected in written
    for word in ("better", "worse"):
        assert (f"the model is {word} by" in written) == (f"is {word} by" in expected)


def test_an_evaluation_on_training_subjects_is_not_called_held_out(full_run: Path) -> None:
    path = full_run / "evaluation.json"
    content = json.loads(path.read_text())
    content["store"]["split"] = "train"
    path.write_text(json.dumps(content))
    run = RunFolder.read(full_run)
    assert "7 training subjects (21 recordings), which are not held out" in " ".join(page.summary(run))
    assert "held-out" not in str(page.glance(run)) + " ".join(page.summary(run))


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_which_weights_were_evaluated(full_run: Path) -> None:
    path = full_run / "evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for judged in ("", "0123abcd" * 8):
        content["model"] = {**content["model"], "weights_sha256": judged}
        path.write_text(json.dumps(content), encoding="utf-8")
        text = text_of(build_report(full_run).read_text(encoding="utf-8"))
        assert (f"Weights evaluated (SHA-256) {judged} " in text) == bool(judged)


@pytest.mark.usefixtures("undrawn")
def test_an_unknown_column_to_colour_by_is_refused_with_the_nearest_names(full_run: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean regulation") as caught:
        build_report(full_run, colour_by="regulaton")
    assert "sex" in (caught.value.expected or "")
    assert not (full_run / "report.html").exists()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("column", ["sex", "age", "subject", "run"])
def test_any_column_can_colour_the_embeddings(template_run: Path, column: str) -> None:
    (picture,) = (b for b in embedding_map(RunFolder.read(template_run), column).blocks if isinstance(b, Picture))
    assert picture.panels[0].title == f"Coloured by {column}"


def test_names_from_the_data_are_escaped(full_run: Path) -> None:
    path = full_run / "embeddings.parquet"
    table = pd.read_parquet(path)
    attack = "<img src=x onerror=alert(1)>$x^"
    table[attack] = [f"{value}</li><script>1</script>&$日本" for value in table["sex"]]
    table.to_parquet(path)
    run = RunFolder.read(full_run)
    written = page._render(run, [embedding_map(run, attack)])
    assert re.findall(r"<script[^>]*>\s*(\S+)", written) == ['"use']  # the page's own
    assert "<img src=x" not in written
    assert html.escape(f"Coloured by {attack}") in written
    drawn = [base64.b64decode(code).decode() for code in re.findall(r"svg\+xml;base64,([^\"]+)", written)]
    assert len(drawn) == 3
    assert not [svg for svg in drawn if "<script" in svg or "<img" in svg]


@pytest.mark.usefixtures("undrawn")
def test_progress_counts_up_to_the_writing(full_run: Path) -> None:
    told: list[tuple[int, int, str]] = []
    build_report(full_run, on_progress=lambda *step: told.append(step))
    assert [done for done, _, _ in told] == list(range(told[0][1]))
    assert told[-1][2] == "writing"


def test_a_page_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write") as caught:
        write_page("text", tmp_path / "file" / "report.html")
    assert str(tmp_path / "file" / "report.html") in caught.value.problem
    assert caught.value.remedy


@pytest.mark.usefixtures("undrawn")
def test_an_old_page_stays_when_a_new_one_fails(full_run: Path) -> None:
    (full_run / "report.html").write_text("old")
    with pytest.raises(ConfigError):
        build_report(full_run, colour_by="nothing")
    assert (full_run / "report.html").read_text() == "old"
    assert not list(full_run.glob(".report.html*"))


@pytest.mark.usefixtures("undrawn")
def test_results_of_another_store_say_so_where_they_stand(full_run: Path) -> None:
    path = full_run / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance.pop(CHECKSUM, None)
    provenance.setdefault("data", {})["store"] = "study.store"
    folder = next(full_run.glob("phenotypes/*/results.json"))
    results = json.loads(folder.read_text())
    results.pop(CHECKSUM, None)
    for used, is_said in (("elsewhere.store", True), ("study.store", False)):
        results.setdefault("facts", {})["store"] = {"name": used, "fingerprint": "ab"}
        folder.write_text(json.dumps(results))
        path.write_text(json.dumps(provenance))
        text = text_of(build_report(full_run).read_text(encoding="utf-8"))
        assert ("of the store elsewhere.store, not of study.store" in text) is is_said
