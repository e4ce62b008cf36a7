"""Tables about people: sessions and phenotypes put together for each scan; contradictions are never mixed."""

from pathlib import Path

import pytest

from brainlm.data.bids import Participants
from brainlm.data.people import People, PhenotypeTable, notes_on_subjects, sessions_of
from brainlm.data.scan import Scan
from brainlm.errors import DataError


def scan(subject: str = "sub-01", session: str = "", site: str = "") -> Scan:
    return Scan(f"/data/{subject}.nii.gz", f"{subject}.nii.gz", "nifti", subject, session=session, site=site)


def table(folder: Path, text: str, name: str = "scores.tsv") -> PhenotypeTable:
    (folder / name).write_text(text, encoding="utf-8")
    return PhenotypeTable.read(folder / name)


def test_a_table_speaks_of_participants_or_of_their_sessions(tmp_path):
    by_person = table(tmp_path, "participant_id\tiq\n01\t100\nsub-02\tn/a\n")
    by_session = table(tmp_path, "subject,session_id,mood\nsub-01,ses-1,low\n01,2,high\n", "mood.csv")
    people = People(tables=(by_person, by_session))
    assert people.columns == ("iq", "mood")
    assert people.introduce(scan(session="1")).phenotypes == {"iq": 100.0, "mood": "low"}
    assert people.introduce(scan(session="2")).phenotypes == {"iq": 100.0, "mood": "high"}
    assert people.introduce(scan("sub-02", session="1")).phenotypes == {"iq": None}
    assert people.introduce(scan("sub-03")).phenotypes == {}
    notes = people.notes([scan(session="1"), scan("sub-02")])
    assert len(notes) == 1
    assert "1 scans have no line in" in notes[0]
    assert "mood.csv" in notes[0]


def test_the_same_in_two_tables_is_fine_and_a_contradiction_costs_the_scan(tmp_path):
    participants = Participants(
        phenotypes={"sub-01": {"age": 30.0}, "sub-02": {"age": None}}, columns=("age",), path="p.tsv"
    )
    people = People(participants, (table(tmp_path, "participant_id\tage\nsub-01\t30\nsub-02\t41\n"),))
    assert people.columns == ("age",)
    assert people.introduce(scan()).phenotypes == {"age": 30.0}
    assert people.introduce(scan("sub-02")).phenotypes == {"age": 41.0}
    people = People(participants, (table(tmp_path, "participant_id\tage\nsub-01\t31\n"),))
    with pytest.raises(DataError, match="two tables contradict each other about age") as caught:
        people.introduce(scan())
    assert caught.value.found == f"30.0 in p.tsv, 31.0 in {tmp_path / 'scores.tsv'}"


def test_equal_lines_count_once_and_different_ones_cost_the_scan(tmp_path):
    people = People(tables=(table(tmp_path, "participant_id\tiq\n01\t100\nsub-01\t100\nsub-02\t90\nsub-02\t91\n"),))
    assert people.introduce(scan()).phenotypes == {"iq": 100.0}
    with pytest.raises(DataError, match="more than once, with different values") as caught:
        people.introduce(scan("sub-02"))
    assert "session_id" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name\tiq\nx\t5\n", "phenotype table .* has no column of subjects"),
        ("participant_id\tname\nsub-01\tJosé\n".encode("latin-1"), "phenotype table .* is not in UTF-8"),
        (b"", "phenotype table .* cannot be read"),
    ],
)
def test_tables_that_cannot_be_used_are_errors_with_their_path(tmp_path, content, message):
    (tmp_path / "scores.tsv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        PhenotypeTable.read(tmp_path / "scores.tsv")
    with pytest.raises(DataError, match="no phenotype table at") as caught:
        PhenotypeTable.read(tmp_path / "nowhere.tsv")
    assert caught.value.remedy == "correct --phenotypes"


def sessions(root: Path, subject: str, text: str, encoding: str = "utf-8") -> Path:
    path = root / subject / f"{subject}_sessions.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def test_every_subjects_own_sessions_become_one_table(tmp_path):
    sessions(tmp_path, "sub-01", "\ufeffsession_id\tdays\tdrug\nses-1\t0\tn/a\nses-2\t30\tx\n")
    sessions(tmp_path, "sub-02", "session_id\tdays\nses-1\t0\n")
    found, unusable = sessions_of([tmp_path], ["sub-01", "sub-02", "sub-03"])
    assert found is not None
    assert unusable == {}
    assert found.columns == ("days", "drug")
    assert found.about(scan(session="2")) == {"days": 30.0, "drug": "x"}
    assert found.about(scan("sub-02", session="1")) == {"days": 0.0, "drug": None}
    assert found.about(scan("sub-03", session="1")) == {}
    assert sessions_of([tmp_path], ["sub-03"]) == (None, {})


@pytest.mark.parametrize(
    ("text", "message"), [("name\tdays\nses-1\t0\n", "no column of sessions"), ("session_id\tw\nses-1\té\n", "read")]
)
def test_a_sessions_table_that_cannot_be_read_costs_its_subject_only(tmp_path, text, message):
    path = sessions(tmp_path, "sub-01", text, encoding="latin-1")
    sessions(tmp_path, "sub-02", "session_id\tdays\nses-1\t0\n")
    found, unusable = sessions_of([tmp_path], ["sub-01", "sub-02"])
    people = People(tables=(found,), unusable=unusable)
    with pytest.raises(DataError, match=message) as caught:
        people.introduce(scan(session="1"))
    assert str(path) in str(caught.value)
    assert people.introduce(scan("sub-02", session="1")).phenotypes == {"days": 0.0}


def test_the_site_of_path_and_table_must_agree():
    people = People(Participants(site={"sub-01": "NYU"}, path="p.tsv"))
    assert people.introduce(scan()).site == "NYU"
    assert people.introduce(scan("sub-02", site="USM")).site == "USM"
    with pytest.raises(DataError, match="contradict each other about the site"):
        people.introduce(scan(site="USM"))


def test_who_is_missing_on_either_side_is_said():
    people = Participants(phenotypes={"sub-01": {}, "sub-02": {}}, path="p.tsv")
    assert notes_on_subjects(["sub-02", "sub-03"], people) == [
        "1 participants of p.tsv have no recording: sub-01",
        "1 subjects with recordings are not in p.tsv, and have no phenotypes: sub-03",
    ]
    assert notes_on_subjects(["sub-01", "sub-02"], people) == []
