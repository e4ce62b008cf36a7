"""Deletion and insertion: against a slow reference, and where one knows what must come out."""

import numpy as np
import pytest
import torch

from brainlm.data.windows import spread_starts
from brainlm.evaluation.attention.hidden_rows import SHARES, HidingPlan, conditions, rows_hidden
from brainlm.evaluation.attention.hiding import hide_attended
from brainlm.evaluation.attention.hiding_scores import judge_hiding
from brainlm.evaluation.attention.sample import sample_batches, spread_recordings
from brainlm.evaluation.attention.subject_maps import Subjects
from brainlm.evaluation.metrics import Term, r2
from brainlm.evaluation.statistics import SubjectBootstrap
from brainlm.model.autoencoder import Places


@pytest.fixture(scope="module")
def people(tasks):
    return Subjects.of(tasks.metadata)


@pytest.fixture(scope="module")
def maps(tasks):
    return np.random.default_rng(0).random((len(tasks), tasks.num_parcels))


def plan_of(model, tasks, maps, recordings):
    (batch,) = sample_batches(model, tasks, recordings, batch_size=len(recordings))
    return batch, HidingPlan.of(model.network, batch, maps[batch.recording_B], seed=0)


def test_targets_are_hidden_always_and_the_others_by_attention(model, tasks, maps):
    batch, plan = plan_of(model, tasks, maps, np.array([0, 5]))
    rows = model.network.tokenizer.rows_of_parcels().numpy()
    for one in conditions():
        hidden_BR = plan.hidden(one).numpy()
        assert hidden_BR[plan.target_BR].all()
        num_others = (hidden_BR & ~plan.target_BR).sum(axis=1)
        candidates = (~plan.target_BR).sum(axis=1)
        expected = np.maximum(1, np.round(SHARES[one.share] * candidates))
        assert (num_others == (expected if one.is_deletion else candidates - expected)).all()
        if one.is_deletion and one.order == 0:
            attended = np.empty_like(maps[batch.recording_B])
            attended[:, rows] = maps[batch.recording_B]
            for own, hidden, target in zip(attended, hidden_BR, plan.target_BR, strict=True):
                assert own[hidden & ~target].min() > own[~hidden].max()


def test_a_window_is_hidden_alike_whatever_its_batch_mates(model, tasks, maps):
    _, both = plan_of(model, tasks, maps, np.array([0, 5]))
    _, alone = plan_of(model, tasks, maps, np.array([5]))
    for one in conditions():
        assert (both.hidden(one)[1] == alone.hidden(one)[0]).all()


def test_distances_and_losses_are_those_of_a_slow_reference(model, tasks, maps, people):
    recordings = np.array([0, 5, 9])
    sums = hide_attended(model, tasks, maps, recordings, people, seed=0, batch_size=2)
    network = model.network
    cls, terms = [], []
    for row in recordings:
        recording = tasks[int(row)]
        starts = spread_starts(recording.num_timepoints, 40, max_windows=1)
        scaled = model.scale(recording, starts)
        batch, plan = plan_of(model, tasks, maps, np.array([row]))
        target = rows_hidden(network, batch.valid_BPT, plan.targets)
        own_cls, own_terms = [], []
        for hidden_BR in [plan.targets, *(plan.hidden(one) for one in conditions())]:
            hidden = rows_hidden(network, batch.valid_BPT, hidden_BR)
            with torch.no_grad():
                own_cls.append(network.encode(scaled.signal_BPT, visible=Places.of(~hidden)).cls_BD[0].double().numpy())
                out = network.reconstruct(scaled.signal_BPT, scaled.valid_BPT, hidden)
            scored = network.tokenizer.expand(target)
            y, p = scaled.signal_BPT[scored].double().numpy(), out[scored].double().numpy()
            own_terms.append([len(y), y.sum(), (y**2).sum(), ((y - p) ** 2).sum()])
        cls.append(own_cls)
        terms.append(own_terms)
    cls, terms = np.array(cls), np.array(terms)
    centred = cls - cls[:, 0].mean(axis=0)
    cosines = (
        (centred * centred[:, :1]).sum(2) / np.linalg.norm(centred, axis=2) / np.linalg.norm(centred[:, :1], axis=2)
    )
    chosen = [Term.COUNT, Term.Y, Term.YY, Term.SQUARED_ERROR]
    np.testing.assert_allclose(sums.all_terms.sum(axis=0)[chosen], terms[:, 0].sum(axis=0), rtol=1e-4)
    expected = np.zeros((2, len(SHARES), 3))
    expected_terms = np.zeros((len(SHARES), 3, 4))
    for number, one in enumerate(conditions(), start=1):
        expected[one.mode, one.share, one.order] += one.weight * (1 - cosines[:, number]).mean()
        if one.is_deletion:
            expected_terms[one.share, one.order] += one.weight * terms[:, number].sum(axis=0)
    for found, own in zip((sums.deleted, sums.inserted), expected, strict=True):
        totals = found.sum(axis=2)
        np.testing.assert_allclose(totals[..., 0] / totals[..., 1], own, rtol=1e-4)
    np.testing.assert_allclose(sums.terms.sum(axis=2)[..., chosen], expected_terms, rtol=1e-4)


def test_scores_are_losses_with_intervals_over_subjects(model, tasks, maps, people):
    recordings = spread_recordings(people, 6)
    sums = hide_attended(model, tasks, maps, recordings, people, seed=0)
    chosen = np.unique(people.subject_N[recordings])
    found = judge_hiding(sums.of_subjects(chosen), SubjectBootstrap.draw(len(chosen), num_bootstrap=200, seed=0))
    full = r2(sums.all_terms.sum(axis=0))
    hidden = r2(sums.terms[1, 0].sum(axis=0))
    assert found["reconstruction"]["most"][1]["value"] == pytest.approx(full - hidden)
    losses = [found["reconstruction"][name] for name in ("most", "random")]
    gap = np.mean([a["value"] - b["value"] for a, b in zip(*losses, strict=True)])
    assert found["reconstruction"]["most_minus_random"]["value"] == pytest.approx(gap)
    for curve in ("embedding", "reconstruction", "insertion"):
        interval = found[curve]["most_minus_random"]
        assert interval["low"] <= interval["value"] <= interval["high"]
    assert all(0 <= one["value"] <= 2 for one in found["insertion"]["most"])


def test_recordings_are_spread_over_subjects_first(people):
    seven = spread_recordings(people, 7)
    assert len(set(people.subject_N[seven])) == 7
    fifteen = spread_recordings(people, 15)
    assert len(fifteen) == 15
    assert len(set(people.subject_N[fifteen])) == 14
    assert spread_recordings(people, 100).tolist() == list(range(28))
    assert len(spread_recordings(people, 0)) == 0
