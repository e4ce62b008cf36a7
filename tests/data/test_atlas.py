"""Atlases: by name, by path, checked against their label images; nothing here needs the net."""

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pooch
import pytest
import requests
from derivatives import small_atlas
from nibabel import cifti2

from brainlm.data.atlas import Atlas
from brainlm.data.label_image import read_label_image
from brainlm.data.named_atlases import A424_DLABEL, A424_FILES, A424_GRAYORDINATES, ATLAS_DIR_VARIABLE
from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2.0, 0, -126], [0, 0, 2.0, -72], [0, 0, 0, 1]])
LABELS = (3, 7, 20)


def write_image(path: Path, volume: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, AFFINE), path)
    return path


@pytest.fixture
def volume(rng) -> np.ndarray:
    return rng.choice([0, *LABELS], size=(6, 7, 5)).astype(np.float32)


@pytest.fixture
def image(tmp_path, volume) -> Path:
    return write_image(tmp_path / "toy" / "toy.nii.gz", volume)


def write_table(path: Path, labels=LABELS, **columns) -> Path:
    table = pd.DataFrame({"label": labels, "name": [f"area {label}" for label in labels], **columns})
    table.to_csv(path, sep="\t", index=False)
    return path


# By path --------------------------------------------------------------------------------------------------------------


def test_label_image_and_table_make_an_atlas(image):
    table = write_table(image.with_name("parcels.tsv"), yeo7=["Vis", "Vis", "Limbic"])
    for atlas in (Atlas.load(image), Atlas.load(image.parent), Atlas.load(str(image), table=table)):
        assert atlas.parcels.table["name"].tolist() == ["area 3", "area 7", "area 20"]
        assert atlas.parcels.networks == ["yeo7"]
        assert (atlas.name, atlas.image) == ("toy", image)
        assert atlas.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()


def test_order_of_the_table_is_the_order_of_the_parcels(image, volume):
    write_table(image.with_name("parcels.tsv"), labels=(20, 3, 7))
    atlas = Atlas.load(image)
    assert atlas.parcels.labels.tolist() == [20, 3, 7]
    expected = np.argwhere(volume == 20).mean(axis=0) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    np.testing.assert_allclose(atlas.parcels.coordinates[0], expected, atol=0.01)


def test_an_atlas_prints_what_it_is(image):
    atlas = Atlas.load(image)
    assert all(fact in repr(atlas) for fact in (atlas.name, f"{len(atlas.parcels)} parcels", image.name))


def test_without_table_the_labels_are_the_names(image):
    atlas = Atlas.load(image)
    assert atlas.parcels.table["name"].tolist() == ["parcel-3", "parcel-7", "parcel-20"]
    assert atlas.parcels.has_coordinates


def test_coordinates_of_the_table_are_kept(image):
    write_table(image.with_name("parcels.tsv"), x=[1.0, 2, 3], y=[4.0, 5, 6], z=[7.0, 8, 9])
    np.testing.assert_array_equal(Atlas.load(image).parcels.coordinates, [[1, 4, 7], [2, 5, 8], [3, 6, 9]])


def test_table_alone_is_an_atlas_without_image(tmp_path):
    atlas = Atlas.load(write_table(tmp_path / "toy.tsv"))
    assert (atlas.image, atlas.name, len(atlas.parcels)) == (None, "toy", 3)
    assert atlas.sha256 == atlas.parcels.fingerprint


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ((3, 7), "3 labels; not in the image: none; not in the table: 20"),
        ((3, 7, 20, 21), "3 labels; not in the image: 21; not in the table: none"),
        ((1, 2, 3), "3 labels; not in the image: 1, 2; not in the table: 7, 20"),
    ],
)
def test_labels_only_in_the_image_or_only_in_the_table_are_an_error(image, labels, found):
    write_table(image.with_name("parcels.tsv"), labels=labels)
    with pytest.raises(AtlasError, match="do not fit each other") as caught:
        Atlas.load(image)
    assert caught.value.found == found
    assert str(image) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v + 0.25, "is not a label image"),
        (lambda v: -v, "is not a label image"),
        (lambda v: np.where(v == 3, np.nan, v), "is not a label image"),
        (lambda v: np.stack([v, v], axis=-1), "three dimensions"),
        (lambda v: v * 0, "holds no parcel"),
    ],
    ids=["fractions", "negative", "nan", "4-D", "empty"],
)
def test_images_that_are_no_label_images_are_errors(image, volume, change, message):
    write_image(image, change(volume))
    with pytest.raises(AtlasError, match=message) as caught:
        Atlas.load(image)
    assert str(image) in str(caught.value)


def test_damaged_images_are_errors(tmp_path, image):
    whole = image.read_bytes()
    for name, content in (("a.nii.gz", whole[:60]), ("b.nii.gz", b"junk"), ("c.nii", b""), ("d.nii.gz", whole[:-60])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AtlasError, match="cannot be read as an image"):
            Atlas.load(tmp_path / name)


def test_unknown_names_and_ambiguous_folders_are_errors(tmp_path, image):
    with pytest.raises(AtlasError, match="no atlas called A425") as caught:
        Atlas.load("A425")
    assert "A424" in str(caught.value)
    write_image(image.with_name("other.nii"), np.ones((2, 2, 2), dtype=np.int16))
    with pytest.raises(AtlasError, match="not the folder of one atlas"):
        Atlas.load(image.parent)
    with pytest.raises(AtlasError, match="no label image"):
        read_label_image(tmp_path / "none.nii")


def test_centroids_agree_with_a_loop_over_parcels(tmp_path, rng):
    volume = rng.integers(0, 9, (8, 9, 7)).astype(np.int16)
    image = read_label_image(write_image(tmp_path / "a.nii", volume))
    expected = [nib.affines.apply_affine(AFFINE, np.argwhere(volume == label).mean(axis=0)) for label in (5, 2, 8)]
    np.testing.assert_allclose(image.centroids(np.array([5, 2, 8])), expected, rtol=1e-5)
    assert np.isnan(image.centroids(np.array([5, 99]))[1]).all()


# Grayordinates --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A folder with ``small.nii.gz``, ``small.dlabel.nii`` and ``parcels.tsv``."""
    return Path(str(small_atlas(tmp_path_factory.mktemp("small"), voxel_mm=12).image)).parent


def test_a_dlabel_that_is_called_like_the_image_belongs_to_it(small, tmp_path):
    for atlas in (Atlas.load(small), Atlas.load(small / "small.nii.gz")):
        assert (atlas.image, atlas.grayordinates) == (small / "small.nii.gz", small / "small.dlabel.nii")
        assert atlas.with_grayordinates() is atlas
        assert atlas.read_grayordinates().labels.tolist() == atlas.parcels.labels.tolist()
    for name in ("small.nii.gz", "parcels.tsv"):
        (tmp_path / name).write_bytes((small / name).read_bytes())
    alone = Atlas.load(tmp_path)
    assert alone.grayordinates is None
    given = Atlas.load(tmp_path, grayordinates=small / "small.dlabel.nii")
    assert given.grayordinates == small / "small.dlabel.nii"
    assert given.sha256 == alone.sha256 == Atlas.load(small).sha256
    with pytest.raises(AtlasError, match=r"the atlas .* has no dlabel") as caught:
        alone.with_grayordinates()
    assert str(tmp_path / "small.nii.gz") in caught.value.found


def test_a_dlabel_alone_is_an_atlas_without_image(small, tmp_path):
    dlabel = tmp_path / "mine.dlabel.nii"
    dlabel.write_bytes((small / "small.dlabel.nii").read_bytes())
    for path in (dlabel, tmp_path):
        atlas = Atlas.load(path)
        assert (atlas.image, atlas.grayordinates) == (None, dlabel)
        assert atlas.parcels.table["name"].tolist() == [f"P{number:02d}" for number in range(1, 21)]
        assert not atlas.parcels.has_coordinates
        assert atlas.sha256 == hashlib.sha256(dlabel.read_bytes()).hexdigest()
    assert Atlas.load(dlabel).name == "mine"
    named = Atlas.load(dlabel, table=small / "parcels.tsv")
    assert named.parcels.has_coordinates
    (tmp_path / "parcels.tsv").write_bytes((small / "parcels.tsv").read_bytes())
    assert Atlas.load(dlabel).parcels.fingerprint == named.parcels.fingerprint


def test_a_dlabel_of_other_labels_than_the_table_is_an_error(small, tmp_path):
    table = pd.read_csv(small / "parcels.tsv", sep="\t")
    fewer = tmp_path / "fewer.tsv"
    table[:-1].to_csv(fewer, sep="\t", index=False)
    with pytest.raises(AtlasError, match=r"the dlabel .* and the parcels table do not fit") as caught:
        Atlas.load(small / "small.dlabel.nii", table=fewer)
    assert caught.value.found == "20 labels; not in the dlabel: none; not in the table: 20"
    with pytest.raises(AtlasError, match=r"the dlabel .* and the parcels table do not fit"):
        Atlas.load(fewer, grayordinates=small / "small.dlabel.nii")


def write_dlabel(path: Path, values, *, keys=(0, 1, 2)) -> Path:
    brain = cifti2.BrainModelAxis.from_surface(np.arange(len(values)), 9, name="CIFTI_STRUCTURE_CORTEX_LEFT")
    table = cifti2.LabelAxis(["a"], [{key: (f"key {key}", (0.0, 0.0, 0.0, 0.0)) for key in keys}])
    cifti2.Cifti2Image(np.array([values], np.float32), header=(table, brain)).to_filename(path)
    return path


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0, 1, 2, 3], "1 others, first 3"),
        ([0, 1, 1.5, 2.5], "2 others, first 1.5"),
        ([0, 1, -1, 2], "1 others, first -1"),
        ([0, 1, np.nan, 2], "1 others, first nan"),
        ([0, 0, 0, 0], "no label above 0"),
    ],
)
def test_dlabels_with_labels_out_of_their_table_are_errors(tmp_path, values, found):
    with pytest.raises(AtlasError, match="cannot be used as an atlas") as caught:
        Atlas.load(write_dlabel(tmp_path / "a.dlabel.nii", values, keys=(-1, 0, 1, 2)))
    assert caught.value.found == found


def test_labels_that_no_grayordinate_has_are_no_parcels(tmp_path):
    atlas = Atlas.load(write_dlabel(tmp_path / "a.dlabel.nii", [2, 0, 2, 7], keys=(0, 1, 2, 7)))
    assert atlas.parcels.table[["label", "name"]].to_numpy().tolist() == [[2, "key 2"], [7, "key 7"]]


def test_files_that_are_no_dlabels_of_one_atlas_are_errors(small, tmp_path):
    image = nib.load(small / "small.dlabel.nii")
    labels, brain = (image.header.get_axis(axis) for axis in (0, 1))
    values = np.asarray(image.dataobj)
    two = cifti2.LabelAxis(["a", "b"], [labels.label[0]] * 2)
    for axes in ((two, brain), (cifti2.SeriesAxis(0, 1, 2), brain)):
        cifti2.Cifti2Image(np.vstack([values, values]), header=axes).to_filename(tmp_path / "b.dlabel.nii")
        with pytest.raises(AtlasError, match="is not a dlabel of one atlas") as caught:
            Atlas.load(tmp_path / "b.dlabel.nii")
        assert "Axis of 2 x BrainModelAxis of" in caught.value.found
    (tmp_path / "b.dlabel.nii").write_bytes((small / "small.dlabel.nii").read_bytes()[:3000])
    with pytest.raises(AtlasError, match=r"b.dlabel.nii"):
        Atlas.load(tmp_path / "b.dlabel.nii")
    with pytest.raises(AtlasError, match="no dlabel at"):
        Atlas.load(small, grayordinates=tmp_path / "none.dlabel.nii")


def test_a_dlabel_is_read_again_when_the_file_has_changed(tmp_path):
    path = write_dlabel(tmp_path / "a.dlabel.nii", [1, 2, 1, 2])
    atlas = Atlas.load(path)
    assert atlas.read_grayordinates() is atlas.read_grayordinates()
    write_dlabel(path, [1, 2, 1, 2, 2])
    assert len(atlas.read_grayordinates().label) == 5


# A424 -----------------------------------------------------------------------------------------------------------------


def check_a424(atlas: Atlas) -> None:
    table = atlas.parcels.table
    assert (atlas.name, len(table)) == ("A424", 424)
    assert table["label"].tolist() == list(range(1, 425))
    assert table.loc[[0, 359, 360, 395, 396, 423], "structure"].tolist() == [
        *["cortex"] * 2,
        *["subcortex"] * 2,
        *["cerebellum"] * 2,
    ]
    assert table.loc[[0, 180, 423], "name"].tolist() == ["R_V1", "L_V1", "Right_X"]
    assert atlas.parcels.coordinates[0].tolist() == [14, -78, 4]
    assert set(table["aa7"]) >= {"Visual", "Default Mode", "Subcortical"}
    assert atlas.sha256 == A424_FILES["A424+2mm.nii.gz"].sha256


def test_a424_comes_from_a_folder_or_the_environment(shared, monkeypatch):
    atlas = Atlas.load(shared / "atlas")
    check_a424(atlas)
    assert atlas.grayordinates == shared / "atlas" / A424_GRAYORDINATES
    assert hashlib.sha256(atlas.grayordinates.read_bytes()).hexdigest() == A424_DLABEL.sha256
    assert atlas.parcels.table["yeo7"].isna().sum() == 65
    assert atlas.parcels.table.loc[0, "yeo7"] == "Vis"
    monkeypatch.setenv(ATLAS_DIR_VARIABLE, str(shared / "atlas"))
    assert Atlas.load("a424").parcels.fingerprint == atlas.parcels.fingerprint


def test_a424_coordinates_lie_in_their_parcels(shared):
    atlas = Atlas.load(shared / "atlas")
    centroids = read_label_image(atlas.image).centroids(atlas.parcels.labels)
    assert np.median(np.linalg.norm(centroids - atlas.parcels.coordinates, axis=1)) < 4


def test_a424_is_taken_from_the_cache_and_checked(shared, tmp_path, monkeypatch):
    monkeypatch.delenv(ATLAS_DIR_VARIABLE, raising=False)
    (tmp_path / "A424").mkdir()
    for name in A424_FILES:
        (tmp_path / "A424" / name).write_bytes((shared / "atlas" / name).read_bytes())
    atlas = Atlas.load("A424", cache=tmp_path)
    check_a424(atlas)
    assert atlas.grayordinates is None
    (tmp_path / "A424" / A424_GRAYORDINATES).write_bytes((shared / "atlas" / A424_GRAYORDINATES).read_bytes())
    assert atlas.with_grayordinates(cache=tmp_path).grayordinates == tmp_path / "A424" / A424_GRAYORDINATES
    assert Atlas.load("A424", cache=tmp_path).grayordinates == tmp_path / "A424" / A424_GRAYORDINATES
    (tmp_path / "A424" / A424_GRAYORDINATES).unlink()


def test_the_dlabel_of_a424_is_asked_for_only_when_it_is_needed(shared, tmp_path, monkeypatch):
    asked = []

    def offline(url, **_kwargs):
        asked.append(url)
        raise requests.exceptions.ConnectionError("no route to host")

    for name in A424_FILES:
        (tmp_path / name).write_bytes((shared / "atlas" / name).read_bytes())
    monkeypatch.setattr(pooch, "retrieve", offline)
    monkeypatch.setenv(ATLAS_DIR_VARIABLE, str(tmp_path))
    atlas = Atlas.load("A424")
    assert (atlas.grayordinates, asked) == (None, [])
    with pytest.raises(AtlasError, match=r"could not be downloaded: A424.dlabel.nii") as caught:
        atlas.with_grayordinates(cache=tmp_path / "cache")
    assert asked == [A424_DLABEL.url]
    assert f"{A424_DLABEL.url} (as {A424_GRAYORDINATES})" in caught.value.remedy


def test_the_dlabel_of_a424_is_an_atlas_by_itself(shared):
    atlas = Atlas.load(shared / "atlas" / A424_GRAYORDINATES)
    assert (atlas.name, len(atlas.parcels), atlas.image) == ("A424", 424, None)
    assert atlas.parcels.table["name"][0] == "R_V1_ROI"


def test_a424_without_internet_says_what_to_download_and_where_to_put_it(tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.delenv(ATLAS_DIR_VARIABLE, raising=False)
    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(AtlasError, match="could not be downloaded") as caught:
        Atlas.load("A424", cache=tmp_path)
    message = str(caught.value)
    for name, download in A424_FILES.items():
        assert name in message
        assert download.url in message
    assert str(tmp_path / "A424") in message
    assert ATLAS_DIR_VARIABLE in message


def test_folder_that_lacks_files_of_a424_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(ATLAS_DIR_VARIABLE, str(tmp_path))
    with pytest.raises(AtlasError, match="lacks files of A424") as caught:
        Atlas.load("A424")
    assert "A424_Coordinates.txt" in str(caught.value)


# nilearn's ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def schaefer(tmp_path, rng) -> Path:
    """nilearn's data folder, with a small image under the name of Schaefer's 100 parcels."""
    folder = tmp_path / "schaefer_2018"
    volume = rng.permutation(np.arange(1, 101)).reshape(10, 10, 1).repeat(4, axis=2).astype(np.int16)
    volume[0, 0, 0] = 0
    write_image(folder / "Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz", volume)
    networks = ["Vis", "SomMot", "DorsAttn", "SalVentAttn", "Limbic", "Cont", "Default"]
    lines = [f"{i}\t7Networks_{'LH' if i <= 50 else 'RH'}_{networks[i % 7]}_{i}\t1\t2\t3\t0" for i in range(1, 101)]
    (folder / "Schaefer2018_100Parcels_7Networks_order.txt").write_text("\n".join(lines))
    return tmp_path


def test_nilearn_atlases_have_names_networks_and_coordinates(schaefer):
    atlas = Atlas.load("schaefer:100:7", cache=schaefer)
    assert len(atlas.parcels) == 100
    assert atlas.parcels.table.loc[0, "name"] == "7Networks_LH_SomMot_1"
    assert atlas.parcels.table.loc[0, "yeo7"] == "SomMot"
    assert atlas.parcels.has_coordinates
    assert atlas.name == "schaefer:100:7"


@pytest.mark.parametrize("name", ["schaefer:101:7", "schaefer:many", "schaefer:100:7:1:1", "basc:122:odd"])
def test_options_nilearn_does_not_know_are_errors(name, tmp_path):
    with pytest.raises(AtlasError, match=f"nilearn has no atlas {name}") as caught:
        Atlas.load(name, cache=tmp_path)
    assert caught.value.expected.startswith(name.split(":")[0] + ":<")


def test_nilearn_without_internet_says_what_to_do(tmp_path, monkeypatch):
    import nilearn.datasets

    def offline(**_kwargs):
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.setattr(nilearn.datasets, "fetch_atlas_aal", offline)
    with pytest.raises(AtlasError, match="could not fetch the atlas aal:SPM12") as caught:
        Atlas.load("aal:SPM12", cache=tmp_path)
    assert "copy its data folder" in str(caught.value)


def test_parcels_are_those_of_the_image_when_nilearn_lists_more(monkeypatch, image):
    import nilearn.datasets

    class Fetched:
        maps = str(image)
        lut = pd.DataFrame({"index": [0, 3, 5, 7, 20], "name": ["Background", "a", "gone", "b", "c"]})

    monkeypatch.setattr(nilearn.datasets, "fetch_atlas_aal", lambda **_kwargs: Fetched)
    assert Atlas.load("aal").parcels.table["name"].tolist() == ["a", "b", "c"]


def test_parcels_without_coordinates_stay_without_where_there_is_no_image(tmp_path):
    assert not Parcels.read(write_table(tmp_path / "t.tsv")).has_coordinates
