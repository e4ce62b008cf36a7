"""Two tables of parcels: the same places of the brain, or not, by names and coordinates rather than by labels."""

import logging

import numpy as np
import pandas as pd
import pytest

from brainlm.data.atlas import Atlas
from brainlm.data.parcels import Parcels
from brainlm.data.same_parcels import check_same_parcels, has_names
from brainlm.data.shipped_atlases import shipped_parcels
from brainlm.data.synthetic import synthetic_population
from brainlm.errors import AtlasError


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
    assert "parcellate with the atlas of the model" in said
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
    assert "40 of 40 columns have other labels" in said


def test_rows_in_another_order_are_refused_with_the_first_that_differs(trained):
    table = trained.table.copy()
    order = np.arange(40)
    order[[3, 8]] = 8, 3
    said = refusal(Parcels(table.iloc[order].reset_index(drop=True)), trained)
    assert "2 of 40 columns have other labels; column 4 is label 9 " in said
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
    left_first = np.r_[180:360, 0:180, 360:424]
    coordinates = {axis: atlas.table[axis].to_numpy()[left_first] for axis in "xyz"}
    assert "of 424 columns are more than 20 mm away" in refusal(changed(atlas, **coordinates), atlas)


# ---- names


@pytest.mark.parametrize("located", [True, False])
def test_two_atlases_with_the_same_labels_are_refused(located):
    """200 parcels each, labels 1 to 200 each."""
    one, other = shipped_parcels("CC200"), shipped_parcels("schaefer:200:7")
    if not located:
        one, other = (Parcels(parcels.table[["label", "name"]]) for parcels in (one, other))
    said = refusal(one, other)
    assert "of 200 columns have other names" in said
    assert "(CC200-1)" in said
    assert "(7Networks_LH_Vis_1)" in said


def test_the_same_parcels_in_the_order_of_other_networks_are_refused():
    said = refusal(shipped_parcels("schaefer:100:17"), shipped_parcels("schaefer:100:7"))
    assert "label 1 (17Networks_LH_VisCent_ExStr_1)" in said


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.assign(name=table["name"].str.upper()),
        lambda table: table.assign(name=" " + table["name"].str.replace("_", " ") + " "),
        lambda table: table.assign(**{axis: table[axis].round(1) for axis in "xyz"}),
        lambda table: table[["label", "name", "x", "y", "z"]],
        lambda table: table[["label", "name"]],
        lambda table: table.assign(label=table["label"] + 2000),
        lambda table: table.assign(name=[f"parcel-{label}" for label in table["label"]]),
    ],
    ids=["case", "blanks", "rounding", "no networks", "no coordinates", "labels of another image", "no names"],
)
def test_trivial_differences_pass(change, rng):
    atlas = shipped_parcels("schaefer:100:7")
    exact = Parcels(atlas.table.assign(**{axis: atlas.table[axis] + rng.uniform(-0.4, 0.4, 100) for axis in "xyz"}))
    other = Parcels(change(exact.table))
    check_same_parcels(other, exact, what="it")
    check_same_parcels(exact, other, what="it")


def test_one_other_name_is_refused_unless_it_lies_in_the_same_place(trained):
    renamed = changed(trained, name=["new", *trained.table["name"][1:]])
    check_same_parcels(renamed, trained, what="it")
    bare = Parcels(renamed.table[["label", "name"]])
    assert "1 of 40 columns have other names" in refusal(bare, trained)


def test_where_only_labels_can_be_compared_it_is_said_what_to_do(trained, caplog):
    with caplog.at_level(logging.WARNING):
        check_same_parcels(Parcels.unnamed(40), Parcels(trained.table[["label", "name"]]), what="it")
    assert "--atlas NAME or --parcels parcels.tsv" in caplog.text
    assert "only labels could be compared" in caplog.text


@pytest.mark.parametrize(
    ("names", "known"), [(["1", "2"], False), (["parcel-1", "ROI_02"], False), (["CC200-1", "CC200-2"], True)]
)
def test_numbers_are_no_names(names, known):
    assert has_names(Parcels(pd.DataFrame({"label": [1, 2], "name": names}))) is known
