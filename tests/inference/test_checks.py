"""What a model is given: told apart by repetition time, parcels and amplitude, in words that say what to do."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from brainlm.data.atlas import Atlas
from brainlm.data.parcels import Parcels
from brainlm.data.scaling import ScaledBatch, Scaler
from brainlm.data.synthetic import synthetic_population
from brainlm.errors import AtlasError, DataError
from brainlm.inference.checks import (
    USUAL_AMPLITUDE,
    amplitudes,
    check_same_parcels,
    check_tr,
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


def test_with_several_trained_repetition_times_those_between_pass_too():
    check_tr(1.2, [0.72, 2.0], what="it")
    check_tr(2.2, [0.72, 2.0], what="it")
    with pytest.raises(DataError, match=r"0\.72 to 2 s"):
        check_tr(3.0, [0.72, 2.0], what="it")
    with pytest.raises(DataError, match=r"expected: 0\.72 s, give"):
        check_tr(3.0, [0.72, 0.72], what="it")


def test_where_nothing_is_recorded_every_repetition_time_passes():
    check_tr(17.0, [], what="it")


# ---- parcels


@pytest.fixture(scope="module")
def trained() -> Parcels:
    return synthetic_population(num_parcels=40, num_networks=5).parcels


def changed(parcels: Parcels, **columns) -> Parcels:
    return Parcels(parcels.table.assign(**columns))


def refusal(given: Parcels, trained: Parcels) -> str:
    with pytest.raises(AtlasError) as caught:
        check_same_parcels(given, trained, what="the store a.store")
    said = str(caught.value)
    assert said.startswith("the store a.store has other parcels than the model, or another order")
    assert "parcellate with the model's atlas" in said
    return said


def test_the_same_parcels_pass_whatever_they_are_called(trained):
    check_same_parcels(trained, trained, what="it")
    names = [f"area {number}" for number in range(40)]
    check_same_parcels(changed(trained, name=names, network="all"), trained, what="it")


def test_centroids_of_another_release_of_the_atlas_pass(trained, rng):
    moved = trained.coordinates + rng.normal(0, 3, (40, 3))
    check_same_parcels(changed(trained, **dict(zip("xyz", moved.T, strict=True))), trained, what="it")


def test_one_parcel_whose_centroid_lies_elsewhere_passes(trained):
    """A parcel in two hemispheres has its centroid anywhere between them."""
    x = trained.table["x"].to_numpy().copy()
    x[7] = -x[7] + 60
    check_same_parcels(changed(trained, x=x), trained, what="it")


def test_without_coordinates_the_labels_decide(trained):
    bare = Parcels(trained.table[["label", "name"]])
    check_same_parcels(bare, trained, what="it")
    check_same_parcels(trained, bare, what="it")
    said = refusal(Parcels(bare.table.assign(label=np.arange(40, 0, -1))), trained)
    assert "40 of 40 columns are other labels" in said


def test_rows_in_another_order_are_refused_with_the_first_that_differs(trained):
    table = trained.table.copy()
    order = np.arange(40)
    order[[3, 8]] = 8, 3
    said = refusal(Parcels(table.iloc[order].reset_index(drop=True)), trained)
    assert "2 of 40 columns are other labels; column 4 is label 9 " in said
    assert "expected: 40 parcels; column 4 is label 4 " in said


def test_coordinates_in_another_order_are_refused_though_labels_agree(trained):
    backwards = {axis: trained.table[axis].to_numpy()[::-1] for axis in "xyz"}
    said = refusal(changed(trained, **backwards), trained)
    assert "more than 20 mm away" in said
    assert " mm\n" in said


def test_hemispheres_that_are_swapped_are_refused(trained):
    assert "more than 20 mm away" in refusal(changed(trained, x=-trained.table["x"]), trained)


def test_another_number_of_parcels_is_refused_with_both(trained):
    for number in (39, 41):
        said = refusal(synthetic_population(num_parcels=number, num_networks=5).parcels, trained)
        assert f"found:    {number} parcels" in said
        assert "expected: 40 parcels" in said


def test_a_permuted_a424_is_refused_and_the_atlas_itself_passes(shared, monkeypatch):
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(shared / "atlas"))
    atlas = Atlas.load("A424").parcels
    check_same_parcels(atlas, atlas, what="it")
    check_same_parcels(Parcels.unnamed(424), atlas, what="it")
    left_first = np.r_[180:360, 0:180, 360:424]
    coordinates = {axis: atlas.table[axis].to_numpy()[left_first] for axis in "xyz"}
    assert "of 424 columns are more than 20 mm away" in refusal(changed(atlas, **coordinates), atlas)


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
