"""The parcels tables that come with the package, compared with what others say of the same atlases."""

import io

import numpy as np
import pandas as pd
import pytest

from brainlm.data.atlas import Atlas
from brainlm.data.parcels import Parcels
from brainlm.data.shipped_atlases import (
    CORTEX,
    FOLDER,
    NAMES,
    SCHAEFER,
    SUBCORTEX,
    candidates,
    canonical,
    shipped_parcels,
)
from brainlm.errors import AtlasError

YEO7 = {"Vis", "SomMot", "DorsAttn", "SalVentAttn", "Limbic", "Cont", "Default"}

# Lines of the list of centroids that the authors of Schaefer's atlas publish (CBIG, MNI/Centroid_coordinates, 1 mm).
CENTROIDS = """
schaefer:100:7 1 7Networks_LH_Vis_1 -26 -34 -17
schaefer:100:17 1 17Networks_LH_VisCent_ExStr_1 -26 -77 -14
schaefer:100:17 36 17Networks_LH_ContC_pCun_2 -6 -60 56
schaefer:100:17 60 17Networks_RH_SomMotA_4 6 -26 70
schaefer:100:17 98 17Networks_RH_TempPar_1 51 7 -18
schaefer:500:17 471 17Networks_RH_DefaultB_Temp_1 63 -24 -7
schaefer:500:17 486 17Networks_RH_DefaultC_PHC_1 33 -26 -25
schaefer:500:17 500 17Networks_RH_TempPar_12 54 -43 25
schaefer:1000:7 812 7Networks_RH_Limbic_OFC_1 21 14 -22
schaefer:1000:7 860 7Networks_RH_Cont_Temp_1 59 -29 -23
schaefer:1000:7 900 7Networks_RH_Cont_pCun_1 14 -68 35
schaefer:1000:7 1000 7Networks_RH_Cont_pCun_4 8 -44 41
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_unique_names_on_their_side_of_the_brain(name):
    parcels = shipped_parcels(name)
    assert parcels.has_coordinates
    assert parcels.table["name"].is_unique
    assert np.abs(parcels.coordinates).max() < 110
    side = parcels.table["name"].str.extract(r"(?:^|[_-])(?P<side>L|R|LH|RH|Left|Right|lh|rh)(?:[ _-]|$)", expand=False)
    known = side.notna().to_numpy()
    left = side[known].str.lower().str.startswith("l").to_numpy()
    x = parcels.coordinates[known, 0]
    assert ((x < 0) == left).sum() >= 0.99 * len(x)
    if "yeo7" in parcels.networks:
        assert set(parcels.table["yeo7"].dropna()) <= YEO7


@pytest.mark.parametrize("name", SCHAEFER)
def test_schaefer_tables_count_from_1_and_name_their_networks(name):
    number, networks = map(int, name.split(":")[1:])
    parcels = shipped_parcels(name)
    assert parcels.labels.tolist() == list(range(1, number + 1))
    assert parcels.table["name"].str.startswith(f"{networks}Networks_").all()
    assert set(parcels.table["yeo7"]) == YEO7
    words = parcels.table["name"].str.split("_").str
    assert (words[2] == parcels.table[f"yeo{networks}"]).all()
    # The left half comes first, and parcels are the same with 7 and with 17 networks.
    assert (np.diff(words[1] == "RH") >= 0).all()
    other = shipped_parcels(f"schaefer:{number}:{24 - networks}")
    assert sorted(map(tuple, parcels.coordinates)) == sorted(map(tuple, other.coordinates))


def test_schaefer_centroids_are_those_of_the_authors():
    lines = pd.read_csv(io.StringIO(CENTROIDS), sep=" ", names=["atlas", "label", "name", "x", "y", "z"])
    for line in lines.itertuples():
        row = shipped_parcels(line.atlas).table.iloc[line.label - 1]
        assert row["name"] == line.name
        assert (row["x"], row["y"], row["z"]) == (line.x, line.y, line.z), line


def test_a424_is_as_its_files_say(shared, monkeypatch):
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(shared / "atlas"))
    table, shipped = Atlas.load("A424").parcels.table, shipped_parcels("A424").table
    for column in ("label", "name", "x", "y", "z", "structure"):
        assert (table[column] == shipped[column]).all(), column
    assert (table["yeo7"].fillna("") == shipped["yeo7"].fillna("")).all()


def test_cc200_is_as_measured_in_its_image(shared):
    table, shipped = pd.read_csv(shared / "data" / "abide" / "parcels.tsv", sep="\t"), shipped_parcels("CC200").table
    np.testing.assert_allclose(shipped[["x", "y", "z"]], table[["x", "y", "z"]], atol=0.051)
    assert (shipped["yeo7"].isna() == (table["yeo7"] == 0)).all()


def test_glasser_lies_where_a424_has_the_same_areas():
    """Two sources: the mean of vertices of a surface, and the centres that come with A424."""
    glasser, a424 = shipped_parcels("glasser"), shipped_parcels("A424")
    assert glasser.table["name"].tolist() == a424.table["name"].tolist()[:360]
    apart = np.linalg.norm(glasser.coordinates - a424.coordinates[:360], axis=1)
    assert np.median(apart) < 2
    assert apart.max() < 10


def test_subcortex_lies_where_other_atlases_have_it():
    aseg = shipped_parcels("aseg").table.set_index("name")[["x", "y", "z"]]
    oxford = shipped_parcels("harvard_oxford:sub-maxprob-thr25-2mm").table.set_index("name")[["x", "y", "z"]]
    aal = shipped_parcels("aal:SPM12").table.set_index("name")[["x", "y", "z"]]
    tian = shipped_parcels("tian:S1").table.set_index("name")[["x", "y", "z"]]
    for side in ("Left", "Right"):
        for name in ("Caudate", "Putamen", "Pallidum", "Hippocampus", "Amygdala", "Thalamus"):
            place = aseg.loc[f"{side}-{name}"]
            assert np.linalg.norm(place - oxford.loc[f"{side} {name}"]) < 3.5, name
            assert np.linalg.norm(place - aal.loc[f"{name}_{side[0]}"]) < 6, name
        for name, short in (("Amygdala", "AMY"), ("Caudate", "CAU"), ("Putamen", "PUT"), ("Pallidum", "GP")):
            assert np.linalg.norm(aseg.loc[f"{side}-{name}"] - tian.loc[f"{short}-{side[0].lower()}h"]) < 4, name


def test_what_ships_is_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 400_000
    text = (FOLDER / "README.md").read_text()
    for file in FOLDER.glob("*.tsv"):
        assert file.name in text


# names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("cc200", "CC200"),
        ("Schaefer:400", "schaefer:400:7"),
        ("AAL:spm12", "aal:SPM12"),
        ("schaefer:400:17+Tian:s2", "schaefer:400:17+tian:S2"),
        ("aal", None),
        ("schaefer:450:7", None),
        ("aseg+aseg", None),
        ("a424+nothing", None),
    ],
)
def test_names_are_recognised_whatever_their_case(given, name):
    assert canonical(given) == name


@pytest.mark.parametrize("cortex", CORTEX[:3])
@pytest.mark.parametrize("below", SUBCORTEX)
def test_a_composition_is_one_table_after_the_other(cortex, below):
    both = shipped_parcels(f"{cortex}+{below}")
    parts = [shipped_parcels(cortex), shipped_parcels(below)]
    assert both.table["name"].tolist() == [name for part in parts for name in part.table["name"]]
    assert both.labels.tolist() == [*parts[0].labels, *(parts[1].labels + parts[0].labels.max())]


def test_a_table_is_loaded_without_a_download(monkeypatch, tmp_path):
    monkeypatch.delenv("BRAINLM_ATLAS_DIR", raising=False)
    monkeypatch.setenv("NILEARN_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    def offline(*_args, **_kwargs):
        raise AssertionError("asked the network")

    monkeypatch.setattr("pooch.retrieve", offline)
    monkeypatch.setattr("requests.Session.send", offline)
    for name in ("A424", "schaefer:200:7", "aal:SPM12", "harvard_oxford:cort-maxprob-thr25-2mm", "schaefer:400+aseg"):
        atlas = Atlas.load(name, needs_image=False, cache=tmp_path)
        assert atlas.image is None
        assert atlas.parcels is shipped_parcels(canonical(name))
        assert atlas.name == canonical(name)


def test_an_image_that_is_here_comes_along(shared, monkeypatch):
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(shared / "atlas"))
    assert Atlas.load("A424", needs_image=False).image is not None


@pytest.mark.parametrize("name", ["CC200", "glasser", "schaefer:400:7+aseg"])
def test_where_only_the_table_is_known_an_image_is_asked_for(name):
    with pytest.raises(AtlasError, match="label image of the atlas") as caught:
        Atlas.load(name)
    assert "--atlas" in str(caught.value.remedy)


# which atlas ----------------------------------------------------------------------------------------------------------


def test_the_number_of_parcels_gives_candidates():
    found = [candidate.atlas for candidate in candidates([200, 331], [])]
    assert found == ["CC200", "schaefer:200:7", "schaefer:200:17"]
    assert "schaefer:400:7+aseg" in [candidate.atlas for candidate in candidates([414], [])]
    assert candidates([7], []) == []


def test_names_of_all_columns_decide():
    names = shipped_parcels("schaefer:200:17").table["name"].str.lower().tolist()[::-1]
    best, *others = candidates([200, 100], names)
    assert (best.atlas, best.is_certain) == ("schaefer:200:17", True)
    assert not any(other.is_certain for other in others)


def test_names_of_no_atlas_leave_the_number():
    found = candidates([116], [f"region {number}" for number in range(116)])
    assert (found[0].atlas, found[0].num_named) == ("aal:SPM12", 0)


def test_column_numbers_are_no_names():
    assert candidates([116], [f"#{number}" for number in range(1, 117)])[0].num_named is None


def test_every_atlas_is_recognised_by_its_own_names():
    for name in NAMES:
        table = shipped_parcels(name).table
        named = [one.atlas for one in candidates([len(table)], table["name"].tolist()) if one.is_certain]
        assert named == [name]


def test_compositions_are_recognised_by_their_names():
    table: Parcels = shipped_parcels("schaefer:400:7+tian:S1")
    assert [one.atlas for one in candidates([416], table.table["name"].tolist()) if one.is_certain] == [
        "schaefer:400:7+tian:S1"
    ]


def test_places_decide_where_columns_have_no_names(rng):
    atlas = shipped_parcels("schaefer:200:17").table
    places = {axis: atlas[axis] + rng.uniform(-2, 2, 200) for axis in "xyz"}
    given = Parcels(Parcels.unnamed(200).table.assign(**places))
    best, *others = candidates([200, 150], [], given)
    assert (best.atlas, best.is_certain, best.num_near) == ("schaefer:200:17", True, 200)
    assert "within 5 mm" in best.evidence
    assert not any(other.is_certain for other in others)
