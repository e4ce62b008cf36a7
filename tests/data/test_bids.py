"""Whose recording a file is: names, the repetition time and where it may come from."""

import json
from pathlib import Path

import pytest

from brainlm.data.bids import Entities, Sidecars, compile_pattern, entities_of, repetition_time
from brainlm.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-01_timeseries.tsv", Entities("sub-01")),
        ("sub-01_ses-b_task-rest_run-02_atlas-A424_timeseries.tsv", Entities("sub-01", "b", "rest", "02")),
        ("sub-007_task-nback_desc-clean_bold.tsv", Entities("sub-007", "", "nback", "")),
        ("/data/ses-2/sub-A1_ts.1D", Entities("sub-A1")),
    ],
)
def test_entities_come_from_the_file_name(name, expected):
    assert entities_of(Path(name)) == expected


def test_entities_come_from_the_path_by_a_pattern():
    pattern = compile_pattern(r"(?P<site>[A-Z]+)/(?P<subject>\d+)(?:_r(?P<run>\d))?")
    assert entities_of(Path("raw/NYU/0050952_r2.1D"), pattern) == Entities("sub-0050952", run="2", site="NYU")
    assert entities_of(Path("raw/NYU/0050952.1D"), pattern) == Entities("sub-0050952", site="NYU")
    with pytest.raises(DataError, match="cannot be told"):
        entities_of(Path("raw/nyu/x.1D"), pattern)


def test_name_without_subject_is_an_error():
    with pytest.raises(DataError, match="whose recording this is") as caught:
        entities_of(Path("somewhere/scan3.tsv"))
    assert "somewhere/scan3.tsv" in str(caught.value)
    assert "--pattern" in str(caught.value)


@pytest.mark.parametrize("pattern", ["(", r"\d+", r"(?P<person>\d+)", r"(?P<subject>\d+)_(?P<visit>\d)"])
def test_patterns_that_do_not_work_are_errors(pattern):
    with pytest.raises(ConfigError, match="pattern"):
        compile_pattern(pattern)


# Repetition time ------------------------------------------------------------------------------------------------------


def tr_of(path: Path, *, tr: float | None = None, in_tables: dict[str, float] | None = None) -> float:
    return repetition_time(path, tr=tr, in_tables=in_tables or {}, sidecars=Sidecars())


def sidecar(path: Path, **entries: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))
    return path


def test_tr_comes_from_the_argument_the_table_or_the_sidecar(tmp_path):
    table = tmp_path / "sub-01_task-rest_timeseries.tsv"
    assert tr_of(table, tr=0.72) == 0.72
    assert tr_of(table, in_tables={"participants.tsv": 2.2}) == 2.2
    sidecar(table.with_suffix(".json"), RepetitionTime=1.5)
    assert tr_of(table) == 1.5


def test_unknown_tr_is_never_guessed(tmp_path):
    with pytest.raises(DataError, match="repetition time is unknown") as caught:
        tr_of(tmp_path / "sub-01_ts.tsv")
    assert "--tr" in str(caught.value)


def test_sources_that_contradict_each_other_are_an_error(tmp_path):
    table = tmp_path / "sub-01_ts.tsv"
    beside = sidecar(tmp_path / "sub-01_ts.json", RepetitionTime=2.0)
    assert tr_of(table, tr=2.0004) == 2.0004  # rounding is no contradiction
    with pytest.raises(DataError, match="contradict each other") as caught:
        tr_of(table, tr=0.72)
    assert f"0.72 s in --tr, 2 s in {beside}" in str(caught.value)


def test_sidecars_are_inherited_from_the_folders_above_by_entities(tmp_path):
    func = tmp_path / "sub-01" / "ses-1" / "func"
    func.mkdir(parents=True)
    rest, task = func / "sub-01_ses-1_task-rest_ts.tsv", func / "sub-01_ses-1_task-pain_ts.tsv"
    sidecar(tmp_path / "task-rest_bold.json", RepetitionTime=2.0)
    sidecar(tmp_path / "task-pain_bold.json", RepetitionTime=1.0)
    sidecar(tmp_path / "sub-01" / "sub-01_task-pain_bold.json", RepetitionTime=1.2)
    sidecar(func / "sub-02_ses-1_task-rest_bold.json", RepetitionTime=9.0)
    assert tr_of(rest) == 2.0
    assert tr_of(task) == 1.2  # the nearest counts


def test_inheritance_ends_at_the_dataset(tmp_path):
    sidecar(tmp_path / "task-rest_bold.json", RepetitionTime=2.0)
    table = tmp_path / "study" / "sub-01_task-rest_ts.tsv"
    sidecar(tmp_path / "study" / "dataset_description.json", Name="study")
    with pytest.raises(DataError, match="repetition time is unknown"):
        tr_of(table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "cannot be read"),
        ('{"RepetitionTime": "two"}', "not usable"),
        ('{"RepetitionTime": 2000}', "give seconds: 2"),
        ('{"RepetitionTime": null}', "not usable"),
        ('{"RepetitionTime": -1}', "not usable"),
    ],
)
def test_sidecars_that_cannot_be_used_are_errors_with_their_path(tmp_path, content, message):
    (tmp_path / "sub-01_ts.json").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        tr_of(tmp_path / "sub-01_ts.tsv")
    assert str(tmp_path / "sub-01_ts.json") in str(caught.value)
