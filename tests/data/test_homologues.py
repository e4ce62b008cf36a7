"""Left-right pairs are found by names where names mean places, by mirrored places elsewhere, and nowhere by chance."""

import numpy as np
import pandas as pd
import pytest

from brainlm.data.homologues import MIDLINE_MM, MIRRORED_MM, Homologues, homologues
from brainlm.data.parcels import Parcels
from brainlm.data.synthetic import synthetic_population

PLACES = [(-40.0, -80.0, 2.0), (40.0, -78.0, 0.0), (-30.0, 20.0, 40.0), (33.0, 22.0, 41.0), (0.0, 50.0, 10.0)]


def atlas(names, places=None) -> Parcels:
    table = pd.DataFrame({"label": np.arange(1, len(names) + 1), "name": list(names)})
    if places is not None:
        table[["x", "y", "z"]] = np.asarray(places, float)
    return Parcels(table)


def pairs(found: Homologues) -> set[tuple[int, int]]:
    members = [np.flatnonzero(found.group_P == group) for group in range(found.group_P.max() + 1)]
    assert all(len(group) in (1, 2) for group in members)
    return {(int(group[0]), int(group[1])) for group in members if len(group) == 2}


def from_folder(path, label: str, name: str) -> Parcels:
    table = pd.read_csv(path, sep="\t")
    return Parcels(table[[label, name, "x", "y", "z"]].set_axis(["label", "name", "x", "y", "z"], axis=1))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("L_V1", "R_V1"),
        ("l_PCsul", "r_PCsul"),
        ("LH_Vis", "RH_Vis"),
        ("V1_l", "V1_r"),
        ("V1-lh", "V1-rh"),
        ("lh.V1", "rh.V1"),
        ("rHipp_L", "rHipp_R"),
        ("Left_I-IV", "Right_I-IV"),
        ("Left IX", "Right IX"),
        ("Insula Left", "Insula right"),
        ("ctx-lh-insula", "ctx-rh-insula"),
        ("L_FP_l", "R_FP_l"),
    ],
)
def test_names_that_differ_in_the_side_alone_are_a_pair(left, right):
    found = homologues(atlas([left, "Vermis_VI", right]))
    assert pairs(found) == {(0, 2)}
    assert (found.num_pairs, found.how) == (1, "names")
    assert found.group_P.tolist() == [0, 1, 0]


@pytest.mark.parametrize("names", [("MOTnet_l", "MOTnet_m"), ("R_RI", "L_LI"), ("Lobe", "Robe"), ("vermis", "vermis")])
def test_letters_that_are_no_side_make_no_pair(names):
    found = homologues(atlas(names))
    assert (found.num_pairs, found.how) == (0, "no pair was found")
    assert found.group_P.tolist() == [0, 1]


def test_without_telling_names_mirrored_places_decide():
    found = homologues(atlas("abcde", PLACES))
    assert pairs(found) == {(0, 1), (2, 3)}
    assert found.how == "mirrored coordinates"


def test_a_pair_lies_on_two_sides_of_the_midline_and_close_enough_the_closest_first():
    step = MIRRORED_MM / 2
    rows = {
        "far": [(-40.0, 0.0, 0.0), (40.0, MIRRORED_MM + 1, 0.0)],
        "one side": [(-40.0, 0.0, 0.0), (-40.0, 1.0, 0.0)],
        "midline": [(-MIDLINE_MM, 0.0, 0.0), (MIDLINE_MM, 0.0, 0.0)],
    }
    for why, places in rows.items():
        assert homologues(atlas("ab", places)).num_pairs == 0, why
    # The third one is opposite to the first, whose closest is the second.
    places = [(-40.0, 0.0, 0.0), (40.0, 1.0, 0.0), (40.0, step, 0.0)]
    assert pairs(homologues(atlas("abc", places))) == {(0, 1)}


def test_of_several_with_one_name_the_closest_are_the_pair():
    places = [(-40.0, 0.0, 0.0), (-40.0, 9.0, 0.0), (41.0, 8.0, 0.0), (0.0, 0.0, 0.0)]
    assert pairs(homologues(atlas(["L_lob", "L_lob", "R_lob", "x"], places))) == {(1, 2)}


def test_names_that_only_number_parcels_are_left_aside():
    # Numbered apart in each half: 1 lies opposite to 2.
    places = [(-40.0, -80.0, 0.0), (-30.0, 20.0, 40.0), (31.0, 21.0, 40.0), (40.0, -79.0, 1.0)]
    found = homologues(atlas(["LH_Vis_1", "LH_Vis_2", "RH_Vis_1", "RH_Vis_2"], places))
    assert pairs(found) == {(0, 3), (1, 2)}
    assert found.how == "mirrored coordinates"


def test_the_order_of_parcels_changes_no_pair(rng):
    order = rng.permutation(len(PLACES))
    shuffled = homologues(atlas(np.array(list("abcde"))[order], np.array(PLACES)[order]))
    assert {tuple(sorted(order[list(pair)].tolist())) for pair in pairs(shuffled)} == {(0, 1), (2, 3)}


def test_the_pairs_of_made_up_parcels_are_their_mirror_images():
    population = synthetic_population(num_parcels=41, num_networks=5)
    found = homologues(population.parcels)
    expected = {(p, int(m)) for p, m in enumerate(population.mirror_P) if p < m}
    assert pairs(found) == expected


def test_a424s_names_and_its_places_agree(shared):
    path = shared / "atlas" / "a424_parcels.tsv"
    by_name = homologues(from_folder(path, "index", "node"))
    assert by_name.how == "names"
    assert by_name.num_pairs == 180 + 18 + 10  # cortex, subcortex, cerebellum without its 8 of the vermis
    by_place = homologues(from_folder(path, "index", "name"))
    assert by_place.how == "mirrored coordinates"
    assert len(pairs(by_place) & pairs(by_name)) > 0.9 * len(pairs(by_place))


def test_cc200s_pairs_mostly_belong_to_one_network(shared):
    table = pd.read_csv(shared / "data" / "abide" / "parcels.tsv", sep="\t")
    table["name"] = [f"CC200-{label}" for label in table["label"]]
    found = homologues(Parcels(table[["label", "name", "x", "y", "z"]]))
    network = table["yeo7"].to_numpy()
    both = [(network[a], network[b]) for a, b in pairs(found) if network[a] and network[b]]
    assert found.num_pairs == 81
    assert np.mean([a == b for a, b in both]) > 0.6
