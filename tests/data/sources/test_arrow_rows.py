"""Whose recordings the rows of others' Arrow data are: columns, file names, patterns, contradictions."""

from brainlm.data.store import Store


def test_without_a_column_of_people_the_file_names_are_the_people(tmp_path, run_import, save, authors_columns):
    columns = authors_columns(range(3), **{"Patient ID": ["", ".dat", ".gz"]})
    del columns["eid"]
    summary = run_import(save(columns, tmp_path / "in"), tmp_path / "a.store")
    assert Store.open(summary.store).metadata["subject"].tolist() == [f"sub-{1000 + seed}_2_0" for seed in range(3)]
    assert any("names of the files, each a person" in note and "--pattern" in note for note in summary.notes)


def test_patient_id_is_used_where_it_names_people(tmp_path, run_import, save, authors_columns):
    folder = save(authors_columns(range(3), **{"Patient ID": ["a", "b", "c"]}), tmp_path / "in")
    summary = run_import(folder, tmp_path / "a.store")
    assert Store.open(summary.store).metadata["subject"].tolist() == ["sub-a", "sub-b", "sub-c"]


def test_a_pattern_finds_people_and_sessions_in_the_file_names(tmp_path, run_import, save, authors_columns):
    columns = authors_columns(range(3), Filename=["7_2_rest.dat", "7_3_rest.dat", "x.dat"])
    summary = run_import(
        save(columns, tmp_path / "in"),
        tmp_path / "a.store",
        pattern=r"^(?P<subject>\d)_(?P<session>\d)_(?P<task>[a-z]+)",
    )
    metadata = Store.open(summary.store).metadata
    assert metadata[["subject", "session", "task"]].values.tolist() == [["sub-7", "2", "rest"], ["sub-7", "3", "rest"]]
    (failure,) = summary.failures
    assert failure.source.endswith("row 3")
    assert "cannot be told from its name (found: x.dat)" in failure.reason


def test_names_as_in_bids_tell_session_task_and_run(tmp_path, run_import, save, authors_columns):
    columns = authors_columns(
        range(2), Filename=["sub-9_ses-1_task-rest_run-2_bold.dat", "sub-9_ses-2_task-rest_bold.dat"]
    )
    del columns["eid"]
    metadata = Store.open(run_import(save(columns, tmp_path / "in"), tmp_path / "a.store").store).metadata
    assert metadata[["subject", "session", "task", "run"]].values.tolist() == [
        ["sub-9", "1", "rest", "2"],
        ["sub-9", "2", "rest", ""],
    ]


def test_several_files_of_one_person_are_told_apart_and_one_file_twice_is_not(
    tmp_path, run_import, save, authors_columns
):
    columns = authors_columns(
        range(4), eid=[7, 7, 8, 8], Filename=["7_rest.dat", "7_task.dat", "8_rest.dat", "8_rest.dat"]
    )
    summary = run_import(save(columns, tmp_path / "in"), tmp_path / "a.store")
    metadata = Store.open(summary.store).metadata
    assert metadata["run"].tolist() == ["7_rest", "7_task", "8_rest"]
    assert (metadata.groupby("subject")["split"].nunique() == 1).all()
    assert any("told apart by the file's name" in note for note in summary.notes)
    assert "is there twice" in summary.failures[0].reason


def test_rows_that_nobody_is_named_for_fail(tmp_path, run_import, save, authors_columns, shard_of):
    folder = save(authors_columns(range(3), eid=[7, None, 9]), tmp_path / "in")
    summary = run_import(folder, tmp_path / "a.store")
    (failure,) = summary.failures
    assert summary.num_recordings == 2
    assert failure.source == f"{shard_of(folder)}, row 2"
    assert "whose recording this is is unknown" in failure.reason
    assert "--pattern takes it from 1001_2_0.dat" in failure.remedy


def test_columns_that_disagree_about_a_person_fail_their_rows(tmp_path, run_import, save, authors_columns):
    columns = authors_columns(range(5), **{"Patient ID": ["a", "a", "b", "c", "d"]}, eid=[1, 2, 3, 3, 5])
    summary = run_import(save(columns, tmp_path / "in"), tmp_path / "a.store")
    assert Store.open(summary.store).metadata["subject"].tolist() == ["sub-d"]
    reasons = [failure.reason for failure in summary.failures]
    assert all("contradict each other about whose recording" in reason for reason in reasons)
    assert "Patient ID a with eid 1, 2" in reasons[0]
    assert "eid 3 with Patient ID b, c" in reasons[2]
