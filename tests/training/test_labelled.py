"""Recordings with labels: votes, windows, batches."""

import numpy as np
import pytest
import torch

from brainlm.data.scaling import Scaler
from brainlm.training.labelled import DrawnBatches, FeatureInputs, Labelled, WindowInputs, fixed_batches

# Three people: two recordings, one, and three.
RECORDINGS = [np.array([0, 3]), np.array([5]), np.array([1, 2, 4])]
VALUES = np.array([1.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def windows(store) -> WindowInputs:
    return WindowInputs(store, Scaler.fit(store, "zscore", allow_any_split=True), 20)


@pytest.fixture
def labelled() -> Labelled:
    return Labelled.of(RECORDINGS, VALUES, np.array([2, 0]))


def test_units_are_taken_in_the_order_asked_for(labelled):
    assert labelled.recordings_M.tolist() == [1, 2, 4, 0, 3]
    assert labelled.unit_M.tolist() == [0, 0, 0, 1, 1]
    assert labelled.values_U.tolist() == [1.0, 1.0]
    assert len(labelled) == 2


def test_the_recordings_of_a_person_share_one_vote():
    labelled = Labelled.of(RECORDINGS, VALUES, np.arange(3), weights_N=np.array([1.0, 2.0, 1.0]))
    weights_M = labelled.recording_weights_M
    votes_U = np.bincount(labelled.unit_M, weights_M)
    np.testing.assert_allclose(votes_U / votes_U[0], [1.0, 2.0, 1.0])
    assert weights_M.mean() == pytest.approx(1.0)


def test_windows_are_averaged_to_recordings_and_those_to_people(labelled):
    # Recording 0 of the first person has two windows, which must not outweigh the other recordings.
    values_WK = np.array([[0.0], [2.0], [4.0], [7.0], [1.0], [2.0]])
    mean_UK = labelled.mean_by_unit(values_WK, np.array([0, 0, 1, 2, 3, 4]))
    np.testing.assert_allclose(mean_UK, [[(1.0 + 4.0 + 7.0) / 3], [1.5]])


def test_windows_drawn_depend_on_seed_epoch_and_recording_alone(windows):
    recordings = np.array([3, 7, 9])
    signal, valid = windows.drawn(recordings, seed=1, epoch=2)
    assert signal.shape == (3, 10, 20)
    assert valid.all()
    alone, _ = windows.drawn(recordings[1:2], seed=1, epoch=2)
    assert torch.equal(signal[1:2], alone)
    assert not torch.equal(signal, windows.drawn(recordings, seed=1, epoch=3)[0])


def test_fixed_windows_cover_each_recording(windows, store):
    recordings = np.array([7, 3])
    fixed = windows.fixed(recordings)
    assert np.bincount(fixed.position_W).tolist() == (store.num_timepoints[recordings] // 20).tolist()
    again = windows.fixed(recordings[1:])
    assert torch.equal(fixed.tensors[0][fixed.position_W == 1], again.tensors[0])


def test_an_epoch_sees_every_recording_once_but_for_what_fills_no_batch(windows, store):
    everyone = Labelled.of([np.array([i]) for i in range(len(store))], np.arange(16.0), np.arange(16))
    batches = DrawnBatches(windows, everyone, batch_size=5, draws=1, seed=0)
    seen = []
    for epoch in (0, 1):
        batches.epoch = epoch
        seen.append(np.concatenate([batch.position_B.numpy() for batch in batches]))
    assert all(len(set(positions.tolist())) == 15 for positions in seen)
    assert seen[0].tolist() != seen[1].tolist()


def test_fewer_recordings_than_a_batch_are_one_batch(windows, labelled):
    batches = DrawnBatches(windows, labelled, batch_size=64, draws=1, seed=0)
    assert [len(batch.value_B) for batch in batches] == [5]


def test_several_draws_are_different_windows_of_all_recordings(windows, labelled):
    batches = DrawnBatches(windows, labelled, batch_size=10, draws=2, seed=0)
    (batch,) = list(batches)
    assert sorted(batch.position_B.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    same = np.flatnonzero(batch.position_B.numpy() == 4)
    assert not torch.equal(batch.tensors[0][same[0]], batch.tensors[0][same[1]])


def test_a_batch_carries_each_window_s_own_label(windows, store):
    everyone = Labelled.of([np.array([i]) for i in range(len(store))], np.arange(16.0), np.arange(16))
    for batch in DrawnBatches(windows, everyone, batch_size=3, draws=2, seed=0):
        assert batch.value_B.tolist() == batch.position_B.tolist()


def test_fixed_batches_are_no_larger_than_asked_for_and_keep_every_vote(windows, labelled):
    batches = list(fixed_batches(windows, labelled, batch_size=3))
    assert max(len(batch.value_B) for batch in batches) == 3
    position_W = np.concatenate([batch.position_B.numpy() for batch in batches])
    weight_W = np.concatenate([batch.weight_B.numpy() for batch in batches])
    np.testing.assert_allclose(np.bincount(position_W, weight_W), labelled.recording_weights_M, rtol=1e-6)


def test_features_are_picked_by_recording(labelled):
    features = torch.arange(12.0).reshape(6, 2)
    (batch,) = fixed_batches(FeatureInputs(features), labelled, batch_size=8)
    assert torch.equal(batch.tensors[0], features[torch.tensor([1, 2, 4, 0, 3])])
