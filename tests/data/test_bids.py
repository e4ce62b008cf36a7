"""Whose recording a file is: names, the participants table, the repetition time and where it may come from."""

import json
from pathlib import Path

import pytest

from brainlm.data.bids import Entities, Participants, Sidecars, compile_pattern, entities_of, repetition_time
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


# Participants ---------------------------------------------------------------------------------------------------------


def participants(tmp_path: Path, text: str, *, name: str = "participants.tsv", encoding: str = "utf-8") -> Participants:
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return Participants.read(path)


def test_columns_become_phenotypes_and_site_and_tr_the_recordings_own(tmp_path):
    people = participants(
        tmp_path,
        "participant_id\tage\tsex\tsite\ttr\tcode\n"
        "sub-01\t33\tF\tNYU\t2.0\t007\n02\tn/a\t\tn/a\tn/a\tx1\n  sub-03 \t41.5\tM\tUSM\t0.72\tn/a\n",
    )
    assert people.phenotypes == {
        "sub-01": {"age": 33.0, "sex": "F", "code": "007"},
        "sub-02": {"age": None, "sex": None, "code": "x1"},
        "sub-03": {"age": 41.5, "sex": "M", "code": None},
    }
    assert people.site == {"sub-01": "NYU", "sub-03": "USM"}
    assert people.tr_s == {"sub-01": 2.0, "sub-03": 0.72}
    assert people.columns == ("age", "sex", "code")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_byte_order_mark_commas_and_other_subject_columns_do_no_harm(tmp_path, encoding):
    people = participants(tmp_path, "subject,age\n001,5\n002,6\n", name="people.csv", encoding=encoding)
    assert people.phenotypes == {"sub-001": {"age": 5.0}, "sub-002": {"age": 6.0}}


def test_equal_lines_count_once_and_different_ones_make_a_participant_unknown(tmp_path):
    people = participants(tmp_path, "participant_id\tage\nsub-01\t5\n01\t5\nsub-02\t6\nsub-02\t7\nsub-03\t8\n")
    assert people.phenotypes == {"sub-01": {"age": 5.0}, "sub-03": {"age": 8.0}}
    assert people.contradictory == {"sub-02"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("participant_id\tname\nsub-01\tJosé\n".encode("latin-1"), "not in UTF-8"),
        ("participant_id\tage\nsub-01\t5\n".encode("utf-16"), "not in UTF-8"),
        (b"", "cannot be read"),
        (b"name\tage\nx\t5\n", "no column of subjects"),
        (b"participant_id,age\nsub-01,5\n", "no column of subjects"),
        (b"participant_id\tage\nsub-01\t5\nsub-02\t6\t7\t8\n", "cannot be read"),
        (b"participant_id\ttr\nsub-01\t2000\n", "give seconds: 2"),
        (b"participant_id\ttr\nsub-01\tfast\n", "not usable"),
    ],
)
def test_tables_that_cannot_be_used_are_errors_with_their_path(tmp_path, content, message):
    path = tmp_path / "participants.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        Participants.read(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_missing_participants_table_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no participants table"):
        Participants.read(tmp_path / "participants.tsv")


# Repetition time ------------------------------------------------------------------------------------------------------


def tr_of(path: Path, *, tr: float | None = None, people: Participants | None = None) -> float:
    return repetition_time(path, entities_of(path), tr=tr, participants=people or Participants(), sidecars=Sidecars())


def sidecar(path: Path, **entries: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))
    return path


def test_tr_comes_from_the_argument_the_table_or_the_sidecar(tmp_path):
    table = tmp_path / "sub-01_task-rest_timeseries.tsv"
    people = Participants(tr_s={"sub-01": 2.2}, path="participants.tsv")
    assert tr_of(table, tr=0.72) == 0.72
    assert tr_of(table, people=people) == 2.2
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
