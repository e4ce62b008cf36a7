"""The parcels table survives its file, orders parcels, and says what it lacks."""

import numpy as np
import pandas as pd
import pytest

from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError


def table(**columns):
    return pd.DataFrame({"label": [1, 2, 3], "name": ["a", "b", "c"], **columns})


@pytest.fixture
def parcels():
    return Parcels(table(x=[0.1, -3.5, 2.0], y=[10.0, -20.0, 10.0], z=[1.0, 2.0, 3.0], yeo7=["Vis", "Def", "Def"]))


def test_a_table_survives_its_file(parcels, tmp_path):
    parcels.write(tmp_path / "parcels.tsv")
    copy = Parcels.read(tmp_path / "parcels.tsv")
    pd.testing.assert_frame_equal(copy.table, parcels.table)
    assert copy.fingerprint == parcels.fingerprint


def test_coordinates_with_many_digits_survive_their_file_exactly(tmp_path, rng):
    many = rng.normal(0, 50, (200, 3))
    parcels = Parcels(Parcels.unnamed(200).table.assign(x=many[:, 0], y=many[:, 1], z=many[:, 2]))
    parcels.write(tmp_path / "parcels.tsv")
    assert Parcels.read(tmp_path / "parcels.tsv").fingerprint == parcels.fingerprint


@pytest.mark.parametrize("name", ["NA", "None", "null", "nan"])
def test_a_name_that_looks_like_a_missing_value_is_kept(tmp_path, name):
    # "NA" is an abbreviation of the nucleus accumbens.
    parcels = Parcels(pd.DataFrame({"label": [1, 2], "name": ["a", name]}))
    parcels.write(tmp_path / "parcels.tsv")
    assert list(Parcels.read(tmp_path / "parcels.tsv").table["name"]) == ["a", name]


def test_missing_coordinates_are_written_as_not_available(tmp_path):
    parcels = Parcels(table(x=[0.0, np.nan, 1.0], y=[0.0, np.nan, 1.0], z=[0.0, np.nan, 1.0]))
    assert "2\tb\tn/a\tn/a\tn/a" in parcels.to_tsv()
    parcels.write(tmp_path / "parcels.tsv")
    copy = Parcels.read(tmp_path / "parcels.tsv")
    assert not copy.has_coordinates
    with pytest.raises(AtlasError, match="lacks coordinates"):
        _ = copy.coordinates


def test_a_spreadsheets_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "parcels.tsv").write_text("\ufefflabel\tname\n1\ta\n", encoding="utf-8")
    assert len(Parcels.read(tmp_path / "parcels.tsv")) == 1


def test_columns_that_are_not_known_are_networks(parcels):
    assert parcels.networks == ["yeo7"]


def test_parcels_are_ordered_from_back_to_front_with_ties_as_they_were(parcels):
    np.testing.assert_array_equal(parcels.order("y"), [1, 0, 2])


def test_parcels_are_ordered_by_network_and_within_it_by_y(parcels):
    np.testing.assert_array_equal(parcels.order("network:yeo7"), [1, 2, 0])


def test_atlas_order_changes_nothing(parcels):
    np.testing.assert_array_equal(parcels.order("atlas"), [0, 1, 2])


@pytest.mark.parametrize("by", ["x", "network:aa7", "yeo7"])
def test_an_unknown_order_is_refused_with_what_there_is(parcels, by):
    with pytest.raises(AtlasError, match="network columns: yeo7"):
        parcels.order(by)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (pd.DataFrame({"label": [1, 2]}), "columns label, name"),
        (pd.DataFrame({"label": [], "name": []}), "0 rows"),
        (pd.DataFrame({"label": [1, 1], "name": ["a", "b"]}), "1 repeated"),
        (pd.DataFrame({"label": ["1", "x"], "name": ["a", "b"]}), "unique integers"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(wrong, message):
    with pytest.raises(AtlasError, match=message):
        Parcels(wrong)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AtlasError, match=r"nowhere\.tsv"):
        Parcels.read(tmp_path / "nowhere.tsv")


def test_unnamed_parcels_are_numbered_from_one():
    assert list(Parcels.unnamed(2).labels) == [1, 2]
