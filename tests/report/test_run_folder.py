"""Reading a RUN folder: what is there, what is damaged, what does not fit together."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainlm.errors import AtlasError, BrainLMError, DataError
from brainlm.report.run_folder import PARTS, RunFolder, TrainingLog


def test_every_part_of_a_full_run_is_read(full_run: Path) -> None:
    run = RunFolder.read(full_run)
    assert all(getattr(run, part) is not None for part in PARTS)


def test_a_folder_without_any_part_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a run folder"):
        RunFolder.read(tmp_path)


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run folder at .*nowhere"):
        RunFolder.read(tmp_path / "nowhere")


@pytest.mark.parametrize("part", sorted(set(PARTS) - {"config", "atlas"}))
@pytest.mark.parametrize("content", [b"\x00\x01binary junk\xff\xfe", b'[1, 2, "'], ids=["junk", "cut short"])
def test_a_damaged_file_is_named_with_what_to_do(full_run: Path, part: str, content: bytes) -> None:
    file, _ = PARTS[part]
    (full_run / file).write_bytes(content)
    with pytest.raises(BrainLMError) as caught:
        RunFolder.read(full_run)
    if not isinstance(caught.value, AtlasError):
        assert Path(file).name in str(caught.value)
    assert caught.value.remedy


def test_an_evaluation_of_another_format_version_is_refused(full_run: Path) -> None:
    path = full_run / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    with pytest.raises(DataError, match=r"format version 2, this program reads 1"):
        RunFolder.read(full_run)


def test_files_about_different_parcels_are_refused(full_run: Path) -> None:
    np.savez(full_run / "attention.npz", cls_P=np.full(7, 1 / 7), uniform_P=1 / 7)
    with pytest.raises(DataError, match=r"different parcels") as caught:
        RunFolder.read(full_run)
    assert "attention.npz: 7" in (caught.value.found or "")


def test_an_empty_log_of_a_run_killed_at_once_counts_as_missing(full_run: Path) -> None:
    (full_run / "logs" / "metrics.csv").write_text("")
    assert RunFolder.read(full_run).log is None


def test_logs_of_a_resumed_run_are_joined_and_a_repeated_step_counts_once(full_run: Path) -> None:
    for version, values in (("version_2", (5.0, 4.0)), ("version_10", (3.0, 2.0))):
        path = full_run / "logs" / version / "metrics.csv"
        path.parent.mkdir()
        start = 9000 if version == "version_2" else 9001
        pd.DataFrame({"step": [start, start + 1], "epoch": 0, "train_loss": values}).to_csv(path, index=False)
    log = RunFolder.read(full_run).log
    assert log is not None
    curve = log.curve("train_loss")
    assert curve.steps[-3:].tolist() == [9000, 9001, 9002]
    assert curve.values[-3:].tolist() == [5.0, 3.0, 2.0]


def test_epochs_come_from_the_distance_between_validations() -> None:
    table = pd.DataFrame({"step": [19, 39, 59], "epoch": [3, 7, 11], "val_loss": [3.0, 2.0, 1.0]})
    assert TrainingLog(table, validate_every=2).steps_per_epoch == 10
    assert TrainingLog(table[:1], validate_every=2).steps_per_epoch == 10
    assert TrainingLog(table, validate_every=None).steps_per_epoch is None
    assert TrainingLog(table.drop(columns="val_loss"), validate_every=1).steps_per_epoch is None


def test_recordings_with_non_finite_vectors_are_left_out_and_counted(full_run: Path) -> None:
    path = full_run / "embeddings.parquet"
    table = pd.read_parquet(path)
    vectors = [vector if row != 4 else vector * np.nan for row, vector in enumerate(table["cls"])]
    table.assign(cls=vectors).to_parquet(path)
    embeddings = RunFolder.read(full_run).embeddings
    assert embeddings is not None
    assert embeddings.num_left_out == 1
    assert len(embeddings.metadata) == len(embeddings.cls) == len(table) - 1
    assert embeddings.metadata["run"][4] == table["run"][5]


def test_an_empty_text_in_the_metadata_means_not_known(full_run: Path) -> None:
    path = full_run / "embeddings.parquet"
    pd.read_parquet(path).assign(site="").to_parquet(path)
    embeddings = RunFolder.read(full_run).embeddings
    assert embeddings is not None
    assert embeddings.metadata["site"].isna().all()
