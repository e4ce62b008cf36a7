"""A carpet shows every parcel on one scale, and averages only what no screen could show."""

import base64

import numpy as np
import pandas as pd
import pytest

from brainlm.data.parcels import Parcels
from brainlm.report import carpet
from brainlm.report.carpet import carpet_panel, jumps, order_note, z_scored


def parcels_of(num: int, **columns) -> Parcels:
    return Parcels(pd.DataFrame({"label": range(1, num + 1), "name": [f"P{n}" for n in range(num)]}).assign(**columns))


def test_units_do_not_matter_and_missing_parcels_stay_missing(rng) -> None:
    bold = rng.normal(size=(50, 4)).astype(np.float32)
    bold[:, 2] = np.nan
    found = z_scored(bold * [1, 100, 1, 1e4] + [0, 7, 0, 1e5])
    assert np.isnan(found[:, 2]).all()
    assert found[:, [0, 1, 3]] == pytest.approx(z_scored(bold)[:, [0, 1, 3]], abs=1e-3)
    assert found[:, 0].std() == pytest.approx(1, abs=1e-3)


def test_a_jump_shows_where_it_is(rng) -> None:
    bold = rng.normal(size=(60, 5)).astype(np.float32)
    bold[30:] += 20
    assert int(np.argmax(jumps(z_scored(bold)))) == 29


def test_parcels_are_ordered_by_network_else_by_place_else_as_they_are() -> None:
    place = {"x": [0.0, 0, 0, 0], "y": [3.0, 1, 2, 0], "z": [0.0, 0, 0, 0]}
    by_network, names = carpet._order(parcels_of(4, **place, net=list("baab")))
    assert by_network.tolist() == [1, 2, 3, 0]
    assert names.tolist() == ["a", "a", "b", "b"]
    assert carpet._order(parcels_of(4, **place))[0].tolist() == [3, 1, 2, 0]
    assert carpet._order(parcels_of(4))[0].tolist() == [0, 1, 2, 3]
    assert order_note(parcels_of(4, net=list("baab"))) == "by network (net)"
    assert "back of the brain" in order_note(parcels_of(4, **place))


def test_averaging_keeps_means_and_ignores_what_is_missing() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [5.0, 4.0], [7.0, np.nan], [9.0, np.nan]])
    expected = np.array([[2, np.nan], [6, 4], [9, np.nan]])
    assert carpet._averaged(values, 3) == pytest.approx(expected, nan_ok=True)
    assert carpet._averaged(values, 5) is values


@pytest.mark.parametrize(("num_timepoints", "num_parcels"), [(2, 1), (1500, 3), (30, 900)])
def test_carpets_of_any_size_are_drawn_and_told(rng, num_timepoints: int, num_parcels: int) -> None:
    bold = rng.normal(size=(num_timepoints, num_parcels)).astype(np.float32)
    panel = carpet_panel(bold, 0.8, parcels_of(num_parcels), title="The worst", note="sub-01")
    assert panel.alt.startswith(f"Carpet plot of The worst: {num_parcels} parcel")
    svg = base64.b64decode(panel.uri.split(",")[1])
    assert len(svg) < 500_000
    assert b"data:image/png" in svg
