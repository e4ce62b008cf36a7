"""ComBat is fitted to training rows and applied to the others, and says when it cannot be."""

import sys

import numpy as np
import pandas as pd
import pytest

from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.phenotypes.harmonising import Harmonisation


@pytest.fixture
def table(rng):
    return pd.DataFrame({"site": np.tile(["A", "B", "C"], 40), "age": rng.uniform(10, 50, size=120), "sex": "f"})


@pytest.fixture
def features(table, rng):
    """Site B is shifted and three times as spread."""
    second = (table["site"] == "B").to_numpy()[:, None]
    return rng.normal(size=(120, 30)) * np.where(second, 3.0, 1.0) + 5.0 * second


def test_sites_of_test_rows_become_alike_in_mean_and_spread(features, table):
    pytest.importorskip("combatlearn")
    combat = Harmonisation.fit(features[:90], table[:90], "site")
    adjusted = combat.apply(features[90:], table[90:])
    by_site = [adjusted[(table["site"][90:] == site).to_numpy()] for site in "ABC"]
    means, spreads = [rows.mean() for rows in by_site], [rows.std() for rows in by_site]
    assert np.ptp(means) < 0.6
    assert max(spreads) / min(spreads) < 1.4


def test_what_is_to_be_kept_survives_though_it_differs_between_sites(features, table):
    pytest.importorskip("combatlearn")
    table["age"] += 30.0 * (table["site"] == "B")
    features = features + 0.5 * table["age"].to_numpy()[:, None]
    slopes = []
    for keep in ((), ("age",)):
        adjusted = Harmonisation.fit(features, table, "site", keep=keep).apply(features, table)
        slopes.append(np.polyfit(table["age"], adjusted.mean(axis=1), 1)[0])
    assert abs(slopes[1] - 0.5) < 0.1 < abs(slopes[0] - 0.5)


def test_kept_categories_mean_the_same_in_a_test_fold_that_lacks_one(features, table):
    pytest.importorskip("combatlearn")
    table["sex"] = np.where(np.arange(120) % 2, "f", "m")
    combat = Harmonisation.fit(features[:90], table[:90], "site", keep=("sex",))
    together = combat.apply(features[90:], table[90:])
    only = np.flatnonzero((table["sex"][90:] == "m").to_numpy())
    alone = combat.apply(features[90:][only], table[90:].iloc[only])
    np.testing.assert_allclose(alone, together[only])


def test_test_rows_do_not_touch_the_model(features, table):
    pytest.importorskip("combatlearn")
    one = Harmonisation.fit(features[:90], table[:90], "site").apply(features[90:91], table[90:91])
    many = Harmonisation.fit(features[:90], table[:90], "site").apply(features[90:], table[90:])
    np.testing.assert_allclose(one[0], many[0])


def test_a_feature_without_variation_is_left_alone(features, table):
    pytest.importorskip("combatlearn")
    features = features.astype(np.float32)
    features[:, 3] = 0.25
    adjusted = Harmonisation.fit(features, table, "site").apply(features, table)
    assert adjusted.dtype == np.float32
    np.testing.assert_array_equal(adjusted[:, 3], features[:, 3])
    assert np.isfinite(adjusted).all()


def test_leaving_a_site_out_and_harmonising_by_it_exclude_one_another(features, table):
    pytest.importorskip("combatlearn")
    known = (table["site"] != "C").to_numpy()
    combat = Harmonisation.fit(features[known], table[known], "site")
    with pytest.raises(ConfigError, match="exclude one another"):
        combat.apply(features[~known], table[~known])


@pytest.mark.parametrize(
    ("sites", "error", "message"),
    [
        (["A"] * 120, ConfigError, "everybody has the same site"),
        (["A"] * 60 + ["B"] * 59 + ["C"], ConfigError, "'C' is too small"),
        (["A"] * 60 + ["B"] * 59 + [None], DataError, "1 people without a site"),
    ],
)
def test_sites_that_cannot_be_harmonised_are_refused(features, table, sites, error, message):
    pytest.importorskip("combatlearn")
    with pytest.raises(error, match=message):
        Harmonisation.fit(features, table.assign(site=sites), "site")


def test_without_the_package_the_extra_is_named(features, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "combatlearn", None)
    with pytest.raises(ConfigError, match=r"brainlm\[baselines\]"):
        Harmonisation.fit(features, table, "site")
