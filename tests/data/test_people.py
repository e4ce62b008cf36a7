"""Tables about people, joined with recordings by one rule: matched, labelled, never mixed where they contradict."""

from pathlib import Path

import pytest

from brainlm.data.missing_values import MissingRule
from brainlm.data.people import People, PeopleRules, sessions_of
from brainlm.data.people_files import PeopleFile
from brainlm.data.scan import Scan
from brainlm.errors import ConfigError, DataError


def scan(subject: str = "sub-01", session: str = "", site: str = "") -> Scan:
    return Scan(f"/data/{subject}.nii.gz", f"{subject}.nii.gz", "nifti", subject, session=session, site=site)


@pytest.fixture
def joined(tmp_path):
    """``joined("id,age\\n...", "id,iq\\n...", recorded=[...], missing=["-9999"])``: tables put together."""

    def join(*texts: str, recorded=(("sub-01", ""), ("sub-02", "")), id_column=None, missing=(), labels=()) -> People:
        files = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{'abc'[number]}.csv"
            path.write_text(text, encoding="utf-8")
            files.append(PeopleFile.read(path))
        return People.join(files, recorded, PeopleRules.parse(id_column, missing, labels))

    return join


def test_columns_become_phenotypes_and_site_and_tr_the_recordings_own(joined):
    people = joined(
        "participant_id\tage\tsex\tsite\ttr\tcode\n"
        "sub-01\t33\tF\tNYU\t2.0\t007\n02\tn/a\t\tn/a\tn/a\tx1\n  sub-03 \t41.5\tM\tUSM\t0.72\tn/a\n"
    )
    assert people.columns == ("age", "sex", "code")
    assert people.introduce(scan()).phenotypes == {"age": 33.0, "sex": "F", "code": "007"}
    assert people.introduce(scan("sub-02")).phenotypes == {"age": None, "sex": None, "code": "x1"}
    assert people.introduce(scan()).site == "NYU"
    assert people.repetition_times("sub-01", "") == {people.tables[0].path: 2.0}
    assert people.repetition_times("sub-02", "") == {}


def test_a_table_speaks_of_participants_or_of_their_sessions(joined):
    recorded = [("sub-01", "1"), ("sub-01", "2"), ("sub-02", "1")]
    people = joined(
        "participant_id,iq\n01,100\nsub-02,n/a\n", "subject,session_id,mood\nsub-01,ses-1,low\n01,2,high\n",
        recorded=recorded,
    )  # fmt: skip
    assert people.columns == ("iq", "mood")
    assert people.introduce(scan(session="1")).phenotypes == {"iq": 100.0, "mood": "low"}
    assert people.introduce(scan(session="2")).phenotypes == {"iq": 100.0, "mood": "high"}
    assert people.introduce(scan("sub-02", session="1")).phenotypes == {"iq": None}
    assert "1 sessions have no line in b.csv: sub-02_ses-1" in people.notes


@pytest.mark.parametrize("name", ["session", "ses", "visit", "eventname", "Session_ID"])
def test_sessions_have_columns_of_several_names(joined, name):
    text = f"subject,{name},mood\n01,baseline_1,low\n01,followup_2,high\n"
    people = joined(text, recorded=[("sub-01", "baseline1"), ("sub-01", "followup2")])
    assert people.introduce(scan(session="followup2")).phenotypes == {"mood": "high"}


def test_sessions_that_no_recording_has_are_an_error_unless_there_is_one_row_a_person(joined):
    recorded = [("sub-01", "1"), ("sub-02", "1")]
    assert joined("subject,visit,iq\n01,x,100\n02,x,90\n", recorded=recorded).introduce(
        scan(session="1")
    ).phenotypes == {
        "visit": "x",
        "iq": 100.0,
    }
    with pytest.raises(DataError, match="none of the sessions") as caught:
        joined("subject,visit,iq\n01,x,100\n01,y,90\n", recorded=recorded)
    assert "x, y" in caught.value.found


def test_several_tables_join_and_a_contradiction_names_both(joined):
    people = joined("subject,age\n01,30\n02,n/a\n", "SUB_ID,age,iq\n1,30.0,5\n2,41,6\n")
    assert people.introduce(scan()).phenotypes == {"age": 30.0, "iq": 5.0}
    assert people.introduce(scan("sub-02")).phenotypes == {"age": 41.0, "iq": 6.0}
    people = joined("subject,age\n01,30\n", "subject,age\n01,31\n")
    with pytest.raises(DataError, match="two tables contradict each other about age") as caught:
        people.introduce(scan())
    assert "30.0 in" in caught.value.found
    assert "a.csv" in caught.value.found
    assert "b.csv" in caught.value.found


def test_equal_lines_count_once_and_are_said_and_different_ones_cost_the_person(joined):
    people = joined("subject,iq\n01,100\nsub-01,100\nsub-02,90\nsub-02,91\n")
    assert people.introduce(scan()).phenotypes == {"iq": 100.0}
    assert any("1 lines are there more than once" in note for note in people.notes)
    with pytest.raises(DataError, match="more than once, with different values") as caught:
        people.introduce(scan("sub-02"))
    assert "session_id" in caught.value.remedy


def test_the_rule_that_matched_and_who_is_missing_on_either_side_are_said(joined):
    recorded = [("sub-0050001", ""), ("sub-0050002", ""), ("sub-0050009", "")]
    people = joined("SUB_ID,age\n50001,20\n50002,30\n50003,40\n", recorded=recorded)
    assert people.introduce(scan("sub-0050002")).phenotypes == {"age": 30.0}
    assert people.notes == (
        "a.csv: matched 2 of 3 subjects by SUB_ID, after removing 'sub-' and leading zeros",
        "1 participants of a.csv have no recording: 50003",
        "1 subjects with recordings are not in a.csv, and have no phenotypes: sub-0050009",
    )


@pytest.mark.parametrize(
    "name", ["participant_id", "subject", "subject_id", "sub_id", "SUB_ID", "src_subject_id", "Subject", "eid", "ID"]
)
def test_known_names_of_the_column_of_subjects_are_found(joined, name):
    assert joined(f"x,{name},age\n9,01,5\n8,02,6\n").introduce(scan()).phenotypes == {"x": 9.0, "age": 5.0}


def test_a_second_column_that_says_the_same_is_left_out_and_one_that_differs_is_asked_about(joined):
    people = joined("SUB_ID,subject,age\n01,1,5\n02,2,6\n")
    assert people.columns == ("age",)
    text = "SUB_ID,ID,age\n01,02,5\n02,01,6\n"
    with pytest.raises(DataError, match="several columns of subjects") as caught:
        joined(text)
    assert "SUB_ID would match 2" in caught.value.found
    assert "ID would match 2" in caught.value.found
    assert joined(text, id_column="ID").introduce(scan()).phenotypes["age"] == 6.0


def test_a_table_without_a_known_column_says_which_column_would_match_how_many(joined):
    with pytest.raises(DataError, match="no column of subjects") as caught:
        joined("code,age\n01,5\n02,6\n")
    assert "code would match 2 of 2" in caught.value.found
    assert "--id_column code" in caught.value.remedy
    assert joined("code,age\n01,5\n02,6\n", id_column="code").introduce(scan()).phenotypes == {"age": 5.0}
    with pytest.raises(DataError) as caught:
        joined(",age\n01,5\n02,6\n")
    assert "column 1" in caught.value.remedy
    with pytest.raises(ConfigError, match="--id_column names a column") as caught:
        joined("subject,age\n01,5\n", id_column="subjct")
    assert "nearest: subject" in caught.value.found


@pytest.mark.parametrize(
    ("recorded", "text", "remedy"),
    [
        ("sub-NYU_0050952", "SUB_ID,FILE_ID,age\n7,NYU_0050952,5\n", "--id_column FILE_ID would match 1"),
        ("sub-NYU_0050952_rois", "SUB_ID,age\n50952,5\n", "takes 0050952 of sub-NYU_0050952_rois"),
        ("sub-xyz", "SUB_ID,age\n50952,5\n", "--id_column"),
    ],
)
def test_nobody_matched_is_an_error_with_examples_of_both_sides_and_the_likely_rule(joined, recorded, text, remedy):
    with pytest.raises(DataError, match="0 of 1 subjects") as caught:
        joined(text, recorded=[(recorded, "")])
    assert recorded in caught.value.expected
    assert "SUB_ID" in caught.value.found
    assert remedy in caught.value.remedy


def test_a_table_that_was_found_and_not_given_may_match_nobody(tmp_path):
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tage\nsub-77\t5\n")
    people = People.join([PeopleFile.read(path, is_given=False)], [("sub-01", "")])
    assert people.introduce(scan()).phenotypes == {}
    assert "matched 0 of 1" in people.notes[0]


def test_codes_for_missing_are_asked_about_and_settled(joined):
    text = "subject,age,iq\n01,30,-9999\n02,-9999,100\n03,31,110\n04,33,95\n"
    people = joined(text)
    assert people.introduce(scan("sub-02")).phenotypes["age"] == -9999.0
    assert sum("--missing -9999" in note for note in people.notes) == 1
    people = joined(text, missing=["-9999"])
    assert people.introduce(scan("sub-02")).phenotypes == {"age": None, "iq": 100.0}
    assert not any("--missing" in note for note in people.notes)
    assert not any("--missing" in note for note in joined(text, missing=["none"]).notes)


def test_codes_are_given_names(joined):
    text = "subject,DX_GROUP,age\n01,1,30\n02,2.0,31\n03,-9999,32\n"
    people = joined(text, missing=["-9999"], labels=["DX_GROUP:1=autism,2=control"])
    assert people.introduce(scan()).phenotypes == {"DX_GROUP": "autism", "age": 30.0}
    assert people.introduce(scan("sub-02")).phenotypes["DX_GROUP"] == "control"
    with pytest.raises(ConfigError, match="have no label") as caught:
        joined(text, labels=["DX_GROUP:1=autism,2=control"])
    assert "-9999" in caught.value.found
    with pytest.raises(ConfigError) as caught:
        joined(text, labels=["DX:1=autism,2=control"])
    assert "nearest: DX_GROUP" in caught.value.found
    for wrong in ("DX_GROUP", "DX_GROUP:autism", "1=autism", "DX_GROUP:1="):
        with pytest.raises(ConfigError, match="cannot be read"):
            joined(text, labels=[wrong])


def test_columns_that_a_store_has_of_its_own_are_left_out_and_said(joined):
    people = joined("participant_id,split,run,SITE_ID,age\n01,train,1,NYU,30\n02,test,1,USM,31\n")
    assert people.columns == ("age",)
    assert people.introduce(scan()).site == "NYU"
    assert any("split, run" in note for note in people.notes)
    assert any("SITE_ID is the site" in note for note in people.notes)


def test_the_site_of_path_and_tables_must_agree_whatever_the_capitals(joined):
    people = joined("subject,site\n01,NYU\n")
    assert people.introduce(scan()).site == "NYU"
    assert people.introduce(scan(site="Nyu")).site == "NYU"
    assert people.introduce(scan("sub-02", site="USM")).site == "USM"
    with pytest.raises(DataError, match="contradict each other about the site"):
        people.introduce(scan(site="USM"))
    with pytest.raises(DataError, match="contradict each other about the site"):
        joined("subject,site\n01,NYU\n", "subject,site\n01,USM\n").introduce(scan())


def test_a_repetition_time_that_no_scanner_has_is_an_error(joined):
    with pytest.raises(DataError, match="participant sub-01"):
        joined("subject,tr\n01,fast\n")


def test_a_rule_for_one_column_leaves_the_others(joined):
    people = joined("subject,age,change\n01,-1,-1\n02,30,2\n", missing=["age:-1"])
    assert people.introduce(scan()).phenotypes == {"age": None, "change": -1.0}
    assert PeopleRules().missing == MissingRule()


def sessions(root: Path, subject: str, text: str, encoding: str = "utf-8") -> Path:
    path = root / subject / f"{subject}_sessions.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def test_every_subjects_own_sessions_become_one_table(tmp_path):
    sessions(tmp_path, "sub-01", "\ufeffsession_id\tdays\tdrug\nses-1\t0\tn/a\nses-2\t30\tx\n")
    sessions(tmp_path, "sub-02", "session_id\tdays\nses-1\t0\n")
    file, unusable = sessions_of([tmp_path], ["sub-01", "sub-02", "sub-03"])
    assert file is not None
    assert unusable == {}
    recorded = [("sub-01", "1"), ("sub-01", "2"), ("sub-02", "1"), ("sub-03", "1")]
    (found,) = People.join([file], recorded).tables
    assert found.columns == ("days", "drug")
    assert found.about("sub-01", "2") == {"days": 30.0, "drug": "x"}
    assert found.about("sub-02", "1") == {"days": 0.0, "drug": None}
    assert found.about("sub-03", "1") == {}
    assert sessions_of([tmp_path], ["sub-03"]) == (None, {})


@pytest.mark.parametrize(
    ("text", "message"), [("name\tdays\nses-1\t0\n", "no column of sessions"), ("session_id\tw\nses-1\té\n", "read")]
)
def test_a_sessions_table_that_cannot_be_read_costs_its_subject_only(tmp_path, text, message):
    path = sessions(tmp_path, "sub-01", text, encoding="latin-1")
    sessions(tmp_path, "sub-02", "session_id\tdays\nses-1\t0\n")
    file, unusable = sessions_of([tmp_path], ["sub-01", "sub-02"])
    people = People.join([file], [("sub-01", "1"), ("sub-02", "1")], unusable=unusable)
    with pytest.raises(DataError, match=message) as caught:
        people.introduce(scan(session="1"))
    assert str(path) in str(caught.value)
    assert people.introduce(scan("sub-02", session="1")).phenotypes == {"days": 0.0}
