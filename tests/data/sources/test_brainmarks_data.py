"""Brainmarks' data sets become stores: z-scores are signals again, target maps are phenotypes."""

import json

import numpy as np
import pytest

from brainlm.data.parcels import Parcels
from brainlm.data.store import Store
from brainlm.errors import DataError


def test_brainmarks_data_become_signals_again(brainmarks, tmp_path, run_import, raw_signal):
    summary = run_import(brainmarks, tmp_path / "a.store", tr=None)
    assert (summary.num_recordings, summary.failures) == (8, ())
    store = Store.open(summary.store, verify=True)
    metadata = store.metadata
    assert metadata["subject"].tolist() == [f"sub-00{sub}" for sub in range(1, 9)]
    assert metadata[["task", "run", "tr"]].drop_duplicates().values.tolist() == [["rest", "1", 0.735]]
    for row in range(8):
        signal, restored = raw_signal(row + 1), store.bold(row)
        assert np.isnan(restored[:, 1]).all()
        np.testing.assert_allclose(np.delete(restored, 1, axis=1), np.delete(signal, 1, axis=1), atol=0.02)
    assert "n_frames" not in metadata
    assert any("bold x std + mean" in note for note in summary.notes)
    assert metadata.groupby("source_split")["split"].unique()["test"].tolist() == ["test"]


def test_target_maps_beside_the_data_become_phenotypes_if_they_are_named_after_it(brainmarks, tmp_path, run_import):
    summary = run_import(brainmarks, tmp_path / "a.store")
    metadata = Store.open(summary.store).metadata.set_index("subject")
    assert metadata["dx"].fillna("none").tolist() == ["asd"] * 7 + ["none"]
    assert metadata.loc["sub-005", "age_bin"] == 2
    assert "sex" not in metadata
    assert "phenotypes from target maps, with the number of people: age_bin (8), dx (7)" in summary.notes
    again = run_import(brainmarks / "train", tmp_path / "b.store")
    assert {"dx", "age_bin"} <= set(Store.open(again.store).metadata)


def test_target_maps_given_are_those_used(brainmarks, tmp_path, run_import):
    targets = brainmarks.parent / "targets"
    summary = run_import(brainmarks, tmp_path / "a.store", targets=[str(targets / "adni_target_map_sex.json")])
    metadata = Store.open(summary.store).metadata
    assert metadata["sex"].isna().sum() == 7
    assert "dx" not in metadata
    (targets / "abide_target_map_sex.json").write_text(json.dumps({"sub-002": None, "003": "M"}))
    (targets / "nobody.json").write_text(json.dumps({"x": 1, "001": None}))
    summary = run_import(brainmarks, tmp_path / "b.store", targets=[targets])
    metadata = Store.open(summary.store).metadata
    assert {"dx", "age_bin", "sex", "adni_target_map_sex"} <= set(metadata)
    assert summary.failures == ()
    assert "nobody" not in metadata
    assert "target maps with none of these people were left out: nobody" in summary.notes


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": [1]}', '{"1": 2, "sub-1": 3}'])
def test_a_file_that_is_no_target_map_ends_the_import(brainmarks, tmp_path, content, run_import):
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(DataError, match=r"map\.json (is not a target map|cannot be read)"):
        run_import(brainmarks, tmp_path / "a.store", targets=[tmp_path / "map.json"])
    for nothing in ("nowhere", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match="no target maps at"):
            run_import(brainmarks, tmp_path / "a.store", targets=[tmp_path / nothing])


def test_clips_of_one_run_are_told_apart_by_their_start(tmp_path, run_import, save_brainmarks):
    folder = save_brainmarks(["1", "1", "2"], tmp_path / "clips.a424.arrow" / "train", start=[0, 16, 0])
    summary = run_import(folder, tmp_path / "a.store")
    assert Store.open(summary.store).metadata["run"].tolist() == ["1-start0", "1-start16", "1-start0"]
    assert any("told apart by start" in note for note in summary.notes)


def test_z_scores_alone_are_no_signal_unless_asked_for(tmp_path, run_import, save_brainmarks):
    folder = save_brainmarks(["1"], tmp_path / "in", without=("mean", "std"))
    with pytest.raises(DataError, match="no raw signal"):
        run_import(folder, tmp_path / "a.store")
    summary = run_import(folder, tmp_path / "a.store", column="bold")
    assert any("scaled by its makers" in note for note in summary.notes)


def test_mean_and_std_of_another_size_fail_the_row(tmp_path, run_import, save, z_scored, raw_signal):
    columns = {"sub": ["1", "2"], "tr": [1.0, 1.0], **z_scored([raw_signal(1), raw_signal(2)])}
    columns["mean"][0] = columns["mean"][0][:, :5]
    summary = run_import(save(columns, tmp_path / "in"), tmp_path / "a.store", tr=None)
    assert summary.num_recordings == 1
    assert "mean and std do not fit bold (found: 5 and 12)" in summary.failures[0].reason


def test_repetition_times_that_disagree_fail_the_row(brainmarks, tmp_path, run_import):
    with pytest.raises(DataError, match="no input could be used") as caught:
        run_import(brainmarks, tmp_path / "a.store", tr=2.0)
    assert "contradict each other about the repetition time" in str(caught.value)
    assert "2 s in --tr, 0.735 s in the column tr" in str(caught.value)


def test_arrow_data_made_from_abide_give_abide_back(shared, tmp_path, run_import, save, z_scored):
    packed = np.load(shared / "data" / "abide" / "abide_cc200_f16.npy", mmap_mode="r")
    signal = np.asarray(packed[:120], dtype=np.float32)
    columns = {"sub": ["50642"], "tr": [2.0], **z_scored([signal])}
    folder = save(columns, tmp_path / "abide.cc200.arrow" / "train")
    store = Store.open(run_import(folder, tmp_path / "a.store", tr=None, parcels=Parcels.unnamed(200)).store)
    std = signal.std(axis=0)
    assert np.isnan(store.bold(0)[:, std == 0]).all()
    error = np.abs(store.bold(0) - signal)[:, std > 0] / std[std > 0]
    assert error.max() < 4e-3  # half precision of z-scores below 8
