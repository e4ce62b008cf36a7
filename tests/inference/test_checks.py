"""What a model is given: told apart by repetition time, parcels and amplitude, in words that say what to do."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from brainlm.data.scaling import ScaledBatch, Scaler
from brainlm.errors import DataError
from brainlm.inference.checks import (
    USUAL_AMPLITUDE,
    amplitudes,
    check_tr,
    is_trained_tr,
    learned_nothing,
    warn_of_amplitude,
    warn_of_tr,
)


@pytest.mark.parametrize("tr", [0.63, 0.72, 0.735, 0.8, 0.845])
def test_a_repetition_time_near_the_trained_one_passes(tr):
    check_tr(tr, [0.735], what="recording sub-1")


@pytest.mark.parametrize("tr", [0.62, 0.85, 2.0, 0.072, 735.0])
def test_another_repetition_time_is_refused_with_the_way_out(tr):
    with pytest.raises(DataError) as caught:
        check_tr(tr, [0.735], what="recording sub-1")
    said = str(caught.value)
    assert "recording sub-1 has another repetition time" in said
    assert "0.735 s, give or take 15 %" in said
    assert f"found:    {tr:g} s" in said
    assert "--resample" in said
    assert "resample=True" in said


def test_with_several_trained_repetition_times_those_near_one_of_them_pass():
    check_tr(0.8, [0.72, 2.0], what="it")
    check_tr(2.2, [0.72, 2.0], what="it")
    with pytest.raises(DataError, match=r"0\.72 or 2 s"):
        check_tr(1.2, [0.72, 2.0], what="it")
    with pytest.raises(DataError, match=r"0\.72 or 2 s"):
        check_tr(3.0, [0.72, 2.0], what="it")
    with pytest.raises(DataError, match=r"expected: 0\.72 s, give"):
        check_tr(3.0, [0.72, 0.72], what="it")


def test_where_nothing_is_recorded_every_repetition_time_passes():
    check_tr(17.0, [], what="it")


# ---- amplitude


def scaled(values_BPT: torch.Tensor, valid_BPT: torch.Tensor | None = None) -> ScaledBatch:
    valid_BPT = torch.ones_like(values_BPT, dtype=torch.bool) if valid_BPT is None else valid_BPT
    return ScaledBatch(values_BPT.masked_fill(~valid_BPT, 0.0), valid_BPT)


def test_the_amplitude_is_the_mean_absolute_value_of_what_is_valid():
    values_BPT = torch.tensor([[[1.0, -3.0], [100.0, 100.0]], [[2.0, 2.0], [-2.0, -2.0]]])
    valid_BPT = torch.tensor([[[True, True], [False, False]], [[True, True], [True, True]]])
    assert amplitudes(scaled(values_BPT, valid_BPT)).tolist() == [2.0, 2.0]
    assert amplitudes(scaled(values_BPT, torch.zeros_like(valid_BPT))).tolist() == [0.0, 0.0]


def test_the_usual_amplitudes_are_those_of_normal_signals():
    normal = torch.randn(1, 100, 10_000, generator=torch.Generator().manual_seed(0))
    assert float(amplitudes(scaled(normal))) == pytest.approx(USUAL_AMPLITUDE["zscore"], rel=0.01)
    low, high = np.quantile(normal.numpy(), [0.25, 0.75])
    assert float(amplitudes(scaled(normal / (high - low)))) == pytest.approx(USUAL_AMPLITUDE["robust"], rel=0.01)


@pytest.mark.parametrize("kind", ["robust", "zscore"])
@pytest.mark.parametrize("divisor", [1.0, 5.6430855])
@pytest.mark.parametrize(
    ("times", "warned"), [(0.01, True), (0.2, True), (0.3, False), (1.0, False), (3.5, False), (5.0, True), (100, True)]
)
def test_only_an_unusual_amplitude_is_warned_of(caplog, kind, divisor, times, warned):
    scaler = dataclasses.replace(Scaler.unfitted(3, kind, divisor=divisor), fitted=True)
    with caplog.at_level(logging.WARNING):
        warn_of_amplitude(USUAL_AMPLITUDE[kind] * times / divisor, scaler, what="recording sub-1")
    assert bool(caplog.records) == warned
    if warned:
        said = caplog.records[0].getMessage()
        assert "recording sub-1" in said
        assert f"{times:.2g} times as large" in said
        assert "fit_scaler" in said


@pytest.mark.parametrize("amplitude", [0.0, float("nan"), float("inf")])
def test_no_amplitude_at_all_is_unusual(caplog, amplitude):
    warn_of_amplitude(amplitude, Scaler.unfitted(3), what="it")
    assert len(caplog.records) == 1


def test_unscaled_signals_have_no_usual_amplitude(caplog):
    warn_of_amplitude(12_345.0, Scaler.unfitted(3, "none"), what="it")
    assert not caplog.records


def test_repetition_times_that_are_used_as_they_are_are_warned_of_once(caplog):
    warn_of_tr([0.72, 0.735, 0.8], [0.735], what="the store")
    warn_of_tr([17.0], [], what="the store")
    assert not caplog.records
    warn_of_tr([2.0, 0.72, 3.0, 2.0], [0.735, 0.735], what="the store a.store")
    (record,) = caplog.records
    assert "the store a.store has recordings with a repetition time of 2, 3 s" in record.getMessage()
    assert "trained on 0.735 s" in record.getMessage()


@pytest.mark.parametrize(("tr", "known"), [(0.72, True), (0.8, True), (2.2, True), (1.4, False), (2.5, False)])
def test_the_nearest_trained_repetition_time_counts_not_the_range(tr, known):
    assert is_trained_tr(tr, [0.72, 2.0]) == known


def test_a_model_that_fills_in_the_mean_has_learned_nothing():
    assert learned_nothing({"metrics": {"val_r2": 0.0002}})
    assert learned_nothing({"metrics": {"val_r2": -0.3}})
    assert not learned_nothing({"metrics": {"val_r2": 0.2}})
    assert not learned_nothing({"metrics": {}})
    assert not learned_nothing({})
