"""Means by network, lags, the map of no signal, and images in the atlas's grid."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from brainlm.data.manifest import ATLAS_IMAGE
from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError
from brainlm.evaluation.attention.gathering import silent_map
from brainlm.evaluation.attention.images import write_image
from brainlm.evaluation.attention.networks import Networks, by_network, lag_curves
from brainlm.evaluation.attention.rule import MapChoice
from brainlm.evaluation.statistics import SubjectBootstrap


def parcels(words, **more):
    columns = {"label": range(1, len(words) + 1), "name": [f"p{i}" for i in range(len(words))], "nets": words}
    return Parcels(pd.DataFrame(columns | more))


def test_parcels_without_a_network_are_in_none():
    networks = Networks.of(parcels(["b", "a", "None", "b", None, "0"]))
    assert (networks.column, networks.names, networks.sizes()) == ("nets", ("a", "b"), [1, 2])
    np.testing.assert_array_equal(networks.network_P, [1, 0, -1, 1, -1, -1])


def test_a_table_without_networks_has_no_summary():
    table = parcels(["a", "b"]).table.drop(columns="nets")
    assert Networks.of(Parcels(table)) is None
    assert Networks.of(parcels(["None", None])) is None
    resamples = SubjectBootstrap.draw(2, num_bootstrap=5, seed=0)
    maps = np.ones((2, 2))
    assert by_network(None, maps, maps, resamples, None, uniform=0.5, num=1, seed=0) == []


def test_an_absent_network_column_lists_what_there_is():
    with pytest.raises(AtlasError, match="network columns: nets"):
        Networks.of(parcels(["a", "b"]), "yeo7")
    with pytest.raises(AtlasError, match="no parcel has a network"):
        Networks.of(parcels(["None", None]), "nets")


def test_networks_are_summed_up_relative_to_uniform(rng):
    networks = Networks.of(parcels(["b", "a", "b", None]))
    maps = rng.random((6, 4))
    resamples = SubjectBootstrap.draw(6, num_bootstrap=50, seed=0)
    found = by_network(networks, maps, maps, resamples, None, uniform=0.25, num=10, seed=0)
    assert [entry["name"] for entry in found] == ["a", "b"]
    assert found[1]["attention_relative"]["value"] == pytest.approx(maps[:, [0, 2]].mean() / 0.25)
    assert found[0]["contrast"] is None


def test_lags_are_of_one_parcel_of_one_network_and_of_others(rng):
    between_GPP = rng.random((3, 4, 4))
    between_GPP[:, 3] = np.nan
    found = lag_curves(between_GPP, Networks.of(parcels(["a", "a", "b", None])))
    assert found["lag"] == [-1, 0, 1]
    np.testing.assert_allclose(found["same_parcel"], between_GPP[:, [0, 1, 2], [0, 1, 2]].mean(axis=1))
    np.testing.assert_allclose(found["same_network"], (between_GPP[:, 0, 1] + between_GPP[:, 1, 0]) / 2)
    others = [(0, 2), (1, 2), (2, 0), (2, 1)]
    np.testing.assert_allclose(found["other_network"], np.mean([between_GPP[:, a, b] for a, b in others], axis=0))
    assert lag_curves(between_GPP, None)["same_network"] is None


@pytest.mark.parametrize("kind", ["layer", "mean", "rollout"])
def test_the_map_of_no_signal_is_a_map(model, kind):
    found = silent_map(model, MapChoice(kind, 0))
    assert found.shape == (12,)
    assert 0.5 < found.sum() <= 1
    one_head = silent_map(model, MapChoice("layer", 0, 1))
    assert not np.allclose(one_head, found)


def test_every_voxel_of_a_parcel_has_its_value(tasks, tmp_path):
    values = np.arange(12.0) + 1
    values[5] = np.nan
    atlas = tasks.path / ATLAS_IMAGE
    paths = [tmp_path / name / "map.nii.gz" for name in ("a", "b")]
    for path in paths:
        write_image(path, tasks.parcels, atlas, values, description="a test")
    image, labels = nib.load(paths[0]), nib.load(atlas)
    np.testing.assert_array_equal(image.affine, labels.affine)
    volume, label_volume = np.asarray(image.dataobj), np.asarray(labels.dataobj)
    assert volume.dtype == np.float32
    assert (volume[label_volume == 0] == 0).all()
    assert (volume[label_volume == 3] == 3).all()
    assert np.isnan(volume[label_volume == 6]).all()
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_image_of_another_atlas_is_refused(tasks, tmp_path):
    others = parcels(["a", "b"], label=[101, 102])
    with pytest.raises(AtlasError, match="does not belong"):
        write_image(tmp_path / "x.nii.gz", others, tasks.path / ATLAS_IMAGE, np.ones(2), description="")
