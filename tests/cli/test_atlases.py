"""From tables to a store without an atlas at hand, as a user would, without internet."""

import json
import shlex
import sys

import numpy as np
import pandas as pd
import pytest

from brainlm.data.parcels import Parcels
from brainlm.data.shipped_atlases import shipped_parcels
from brainlm.data.store import Store


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No cached atlas, and an error where somebody asks the network."""

    def refuse(*_args, **_kwargs):
        raise OSError("no route to host")

    for name in ("BRAINLM_ATLAS_DIR", "NILEARN_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def write_tables(folder, names, rng, *, header=True, num=3):
    folder.mkdir()
    for number in range(num):
        table = pd.DataFrame(rng.normal(size=(30, len(names))), columns=names)
        table.to_csv(folder / f"sub-{number}_bold.csv", index=False, header=header)
    return folder


@pytest.mark.parametrize("name", ["schaefer:100:7", "CC200", "A424", "schaefer:100:7+aseg"])
def test_a_named_atlas_needs_no_internet(name, tmp_path, speak, rng):
    names = shipped_parcels(name).table["name"].tolist()
    spoken = speak(
        "import", write_tables(tmp_path / "in", names, rng), tmp_path / "a.store", "--atlas", name, "--tr", 2
    )
    assert spoken.status == 0, spoken.err
    assert f"the table of {name} that comes with the package" in spoken.out.replace("\n", " ")
    store = Store.open(tmp_path / "a.store")
    assert store.parcels.table["name"].tolist() == names
    assert store.parcels.has_coordinates


def test_an_atlas_is_taken_where_the_columns_have_its_names(tmp_path, speak, rng):
    names = shipped_parcels("schaefer:100:17").table["name"].tolist()[::-1]
    spoken = speak(
        "import", write_tables(tmp_path / "in", names, rng), tmp_path / "a.store", "--atlas", "auto", "--tr", 2
    )
    assert spoken.status == 0, spoken.err
    assert "atlas: schaefer:100:17" in spoken.out
    assert "100 of its names among the columns" in spoken.out.replace("\n", " ")
    assert json.loads((tmp_path / "a.store" / "manifest.json").read_text())["atlas"] == "schaefer:100:17"


def test_otherwise_the_candidates_are_shown_with_the_command_to_type(tmp_path, speak, rng, monkeypatch):
    source = write_tables(tmp_path / "in put", [f"c{n}" for n in range(200)], rng, header=False)
    words = ["import", str(source), str(tmp_path / "a.store"), "--atlas", "auto", "--tr", "2"]
    monkeypatch.setattr(sys, "argv", ["brainlm", *words])
    spoken = speak(*words)
    assert spoken.status == 2
    said = spoken.err.replace("\n", " ")
    for name in ("CC200", "schaefer:200:7", "schaefer:200:17"):
        assert f"{name} (200 parcels" in said
    assert not (tmp_path / "a.store").exists()
    command = said[said.index("brainlm import") :].strip()
    assert shlex.split(command)[1:] == [*words[:4], "CC200", *words[5:]]
    assert speak(*shlex.split(command)[1:]).status == 0


def test_coordinates_given_decide_too(tmp_path, speak, rng):
    source = write_tables(tmp_path / "in", [f"c{n}" for n in range(200)], rng, header=False)
    places = shipped_parcels("schaefer:200:7").coordinates + rng.uniform(-1, 1, (200, 3))
    np.savetxt(tmp_path / "places.txt", places)
    spoken = speak(
        "import", source, tmp_path / "a.store", "--atlas", "auto", "--parcels", tmp_path / "places.txt", "--tr", 2
    )
    assert spoken.status == 0, spoken.err
    assert Store.open(tmp_path / "a.store").parcels.table["name"][0] == "7Networks_LH_Vis_1"


def test_where_nothing_fits_a_table_is_asked_for(tmp_path, speak, rng):
    source = write_tables(tmp_path / "in", [f"c{n}" for n in range(7)], rng, header=False)
    spoken = speak("import", source, tmp_path / "a.store", "--atlas", "auto", "--tr", 2)
    assert spoken.status == 2
    assert "--parcels parcels.tsv" in spoken.err


@pytest.mark.parametrize("name", ["schaefer:200:7", "A424", "aal:SPM12"])
def test_an_image_that_cannot_be_had_is_said_with_what_needs_none(name, tmp_path, speak):
    (tmp_path / "sub-1_space-MNI152NLin6Asym_bold.nii.gz").touch()
    spoken = speak("parcellate", tmp_path, tmp_path / "a.store", "--atlas", name)
    assert spoken.status == 2
    said = spoken.err.replace("\n", " ")
    assert "on a machine with internet" in said
    assert "brainlm import --atlas" in said


def test_a_store_of_another_atlas_is_refused_though_labels_agree(study, tmp_path, speak, rng):
    """The study's parcels have the labels 1 to 10, and so have these."""
    source = write_tables(tmp_path / "in", [f"area {n}" for n in range(10)], rng, num=12)
    table = pd.DataFrame({"label": range(1, 11), "name": [f"area {n}" for n in range(10)]})
    Parcels(table).write(tmp_path / "parcels.tsv")
    other = tmp_path / "b.store"
    given = ("--parcels", tmp_path / "parcels.tsv", "--tr", 2, "--split.test", 0.4)
    assert speak("import", source, other, *given).status == 0
    for verb, out in (("embed", "e"), ("evaluate", "e.json")):
        spoken = speak(verb, study.run, other, "--out", tmp_path / out)
        assert spoken.status == 2
        assert "10 of 10 columns have other names" in spoken.err
    second = speak("forecast", study.run, study.store, "--test_store", other, "--context", 30, "--horizon", 10)
    assert second.status == 2
    assert "10 of 10 columns have other names" in second.err
