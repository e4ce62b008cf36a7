"""Maps of the brain: every parcel where it belongs, and errors for images that do not fit."""

from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pytest
from synthetic_run import make_atlas, make_parcels

from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError
from brainlm.report.brain_maps import MarkerBrain, PaintedBrain, choose_brain
from brainlm.report.parcel_charts import (
    attention_scale,
    colour_bar,
    difference_scale,
    dots_panel,
    network_column,
    r2_scale,
)


@pytest.fixture(scope="module")
def parcels() -> Parcels:
    return make_parcels(30, np.random.default_rng(1))


@pytest.fixture(scope="module")
def painted(parcels: Parcels, tmp_path_factory: pytest.TempPathFactory) -> PaintedBrain:
    path = tmp_path_factory.mktemp("atlas") / "atlas.nii.gz"
    make_atlas(parcels, path)
    return PaintedBrain(parcels, path)


def test_voxels_point_to_the_position_of_their_parcel_in_the_table(parcels: Parcels, tmp_path: Path) -> None:
    shuffled = Parcels(parcels.table.sample(frac=1, random_state=0).reset_index(drop=True))
    make_atlas(parcels, tmp_path / "atlas.nii.gz")
    labels = nib.Nifti1Image.from_filename(tmp_path / "atlas.nii.gz").get_fdata()
    index = PaintedBrain(shuffled, tmp_path / "atlas.nii.gz")._index_XYZ
    assert ((index < 0) == (labels == 0)).all()
    assert (shuffled.labels[index[index >= 0]] == labels[labels > 0]).all()


def test_the_surface_shows_each_hemisphere_its_own_parcels(painted: PaintedBrain, parcels: Parcels) -> None:
    for side, sign in (("left", -1), ("right", 1)):
        index = painted._surfaces[side]
        assert (index >= 0).mean() > 0.5
        # A parcel near the midline reaches into both hemispheres.
        x_mm = parcels.coordinates[index[index >= 0], 0]
        assert (sign * x_mm[np.abs(x_mm) > 25] > 0).mean() > 0.9


def test_tiles_depend_on_the_values_and_nothing_stays_open(painted: PaintedBrain, parcels: Parcels) -> None:
    values = np.linspace(0.1, 0.6, len(parcels))
    tiles = painted.tiles(values, r2_scale(values))
    assert len({tile.uri for tile in tiles}) == len(tiles) == 8
    turned = [painted._surface(shown, r2_scale(values), "left", "lateral") for shown in (values, values[::-1].copy())]
    assert (turned[0] != turned[1]).any()
    assert plt.get_fignums() == []


def test_a_value_of_zero_is_painted_and_a_missing_one_is_not(painted: PaintedBrain, parcels: Parcels) -> None:
    values = np.linspace(-0.3, 0.3, len(parcels))
    zero, missing = values.copy(), values.copy()
    zero[:10], missing[:10] = 0, np.nan
    scale = r2_scale(values)
    assert (painted._slice(zero, scale, -2) != painted._slice(missing, scale, -2)).any()
    np.testing.assert_array_equal(painted._slice(zero, scale, -2), painted._slice(zero, scale, -2))


def test_without_a_label_image_markers_are_drawn_and_without_coordinates_nothing(parcels: Parcels) -> None:
    brain = choose_brain(parcels, None)
    assert isinstance(brain, MarkerBrain)
    values = np.linspace(0, 1, len(parcels))
    values[0] = np.nan
    assert len(brain.tiles(values, r2_scale(values))) == 4
    assert choose_brain(Parcels.unnamed(4), None) is None
    assert choose_brain(None, None) is None


@pytest.mark.parametrize("content", ["junk", "other labels", "four dimensions"])
def test_a_label_image_that_does_not_fit_is_named(parcels: Parcels, tmp_path: Path, content: str) -> None:
    path = tmp_path / "atlas.nii.gz"
    shape = (4, 4, 4, 2) if content == "four dimensions" else (4, 4, 4)
    if content == "junk":
        path.write_bytes(b"not an image")
    else:
        value = 1 if content == "four dimensions" else 999
        nib.save(nib.Nifti1Image(np.full(shape, value, dtype=np.int16), np.eye(4)), path)
    with pytest.raises(AtlasError) as caught:
        PaintedBrain(parcels, path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_scales_diverge_only_where_values_lie_on_both_sides() -> None:
    assert r2_scale(np.linspace(0.2, 0.6, 50)).centre is None
    assert r2_scale(np.linspace(-0.2, 0.6, 50)).centre == 0
    for scale in (difference_scale(np.linspace(-0.1, 0.3, 50)), attention_scale(np.linspace(-0.1, 0.3, 50))):
        assert scale.low == -scale.high


def test_ticks_of_a_narrow_scale_stay_apart() -> None:
    scale = r2_scale(np.linspace(0.4, 0.404, 50))
    ticks = [scale.text(value) for value in np.linspace(scale.low, scale.high, 5)]
    assert len(set(ticks)) == 5


def test_equal_values_still_give_a_bar(parcels: Parcels) -> None:
    values = np.full(len(parcels), 0.3)
    assert colour_bar(values, r2_scale(values)).uri
    assert dots_panel(values, parcels, r2_scale(values)).uri


def test_a_column_of_fractions_or_of_many_values_is_no_network(parcels: Parcels) -> None:
    table = parcels.table.drop(columns="network")
    table = table.assign(num_voxels=np.arange(len(table)), fraction=np.tile([0.5, 0.25], len(table) // 2))
    assert network_column(Parcels(table)) is None
    assert network_column(Parcels(table.assign(yeo7=np.tile([0, 1, 7], len(table) // 3)))) == "yeo7"


def test_networks_are_named_and_sorted_by_their_median(parcels: Parcels) -> None:
    table = parcels.table.drop(columns="network").assign(yeo7=np.tile([0, 1, 7], len(parcels) // 3))
    values = np.tile([0.1, 0.3, 0.2], len(parcels) // 3)
    panel = dots_panel(values, Parcels(table), r2_scale(values))
    assert panel.alt.index("Visual") < panel.alt.index("Default") < panel.alt.index("none")
