"""CIFTI scans: against a plain loop, grayordinates in any order, other resolutions, coverage, bad files."""

import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from derivatives import a424_atlas, dlabel_of, paint_cifti, series, small_atlas, truncated
from nibabel import cifti2

from brainlm.data import cifti
from brainlm.data.atlas import Atlas
from brainlm.data.cifti import read_cifti
from brainlm.data.parcellate import parcellate
from brainlm.errors import AtlasError, DataError

T = 12


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Atlas:
    return small_atlas(tmp_path_factory.mktemp("atlas"), voxel_mm=12)


@pytest.fixture(scope="module")
def bold(atlas) -> np.ndarray:
    return series(T, len(atlas.parcels))


@pytest.fixture
def scan(atlas, bold, tmp_path) -> Path:
    return paint_cifti(bold, atlas, tmp_path / "sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii", tr=0.72)


def content(path: Path):
    """Values (T, V), the axis of time and that of grayordinates."""
    image = nib.load(path)
    return np.asarray(image.dataobj), image.header.get_axis(0), image.header.get_axis(1)


def write(path: Path, values, *axes) -> Path:
    cifti2.Cifti2Image(np.asarray(values, np.float32), header=axes).to_filename(path)
    return path


def slowly_read(path: Path, atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """Series and coverage by a loop over parcels and grayordinates, matched by what they are called."""

    def named(axis):
        for name, vertex, voxel in zip(axis.name, axis.vertex, axis.voxel, strict=True):
            yield (name, int(vertex)) if vertex >= 0 else (name, *(int(number) for number in voxel))

    labels, _, brain = content(dlabel_of(atlas))
    members = {int(label): [] for label in atlas.parcels.labels}
    for place, label in zip(named(brain), labels[0], strict=True):
        if label:
            members[int(label)].append(place)
    values, _, axis = content(path)
    series_of = dict(zip(named(axis), values.T.astype(np.float64), strict=True))
    means, coverage = [], []
    for label in atlas.parcels.labels:
        found = [series_of[place] for place in members[label] if place in series_of]
        good = [one for one in found if np.isfinite(one).all() and one.min() < one.max()]
        coverage.append(len(good) / len(members[label]))
        means.append(np.mean(good, axis=0) if good and coverage[-1] >= 0.5 else np.full(len(values), np.nan))
    return np.stack(means, axis=1), np.array(coverage)


def check(path: Path, atlas: Atlas):
    expected, coverage = slowly_read(path, atlas)
    result = read_cifti(path, atlas)
    np.testing.assert_allclose(result.bold, expected, rtol=1e-6)
    np.testing.assert_allclose(result.coverage, coverage, rtol=1e-6)
    return result


# What comes out -------------------------------------------------------------------------------------------------------


def test_painted_series_come_back_from_grayordinates(scan, atlas, bold):
    result = check(scan, atlas)
    np.testing.assert_allclose(result.bold, bold, rtol=1e-6)
    np.testing.assert_array_equal(result.coverage, 1)
    np.testing.assert_allclose(result.tsnr, bold.mean(axis=0) / bold.std(axis=0), rtol=1e-4)
    assert (result.header_tr_s, result.how, result.bold.dtype) == (0.72, "grayordinates", np.float32)


def test_real_series_come_back_from_91282_grayordinates_of_a424(shared, tmp_path):
    atlas = a424_atlas(shared)
    bold = series(20, 424, shared=shared)
    for name in ("a.dtseries.nii", "a.ptseries.nii"):
        result = read_cifti(paint_cifti(bold, atlas, tmp_path / name, tr=0.8), atlas)
        np.testing.assert_allclose(result.bold, bold, rtol=1e-6)
        assert result.coverage.min() == 1
        assert result.header_tr_s == 0.8


@pytest.mark.parametrize("num_bytes", [1, 8 * T * 7, 8 * T * 1000])
def test_how_much_is_read_at_a_time_does_not_matter(scan, atlas, num_bytes, monkeypatch):
    expected = read_cifti(scan, atlas)
    monkeypatch.setattr(cifti, "CHUNK_BYTES", num_bytes)
    result = read_cifti(scan, atlas)
    np.testing.assert_allclose(result.bold, expected.bold, rtol=1e-6)
    np.testing.assert_array_equal(result.coverage, expected.coverage)


def test_grayordinates_in_another_order_give_the_same(scan, atlas, rng, tmp_path):
    values, time, brain = content(scan)
    expected = read_cifti(scan, atlas)
    order = rng.permutation(len(brain))
    result = check(write(tmp_path / "b.dtseries.nii", values[:, order], time, brain[order]), atlas)
    np.testing.assert_allclose(result.bold, expected.bold, rtol=1e-6)


def test_grayordinates_of_the_scan_alone_such_as_the_medial_wall_are_passed_over(scan, atlas, tmp_path, rng):
    values, time, brain = content(scan)
    wall = cifti2.BrainModelAxis.from_surface(np.arange(4), 64, name="CIFTI_STRUCTURE_CORTEX_LEFT")
    stem = cifti2.BrainModelAxis(
        "CIFTI_STRUCTURE_BRAIN_STEM", voxel=[[0, 0, 0], [1, 0, 0]], affine=brain.affine, volume_shape=brain.volume_shape
    )
    noise = rng.normal(500, 100, (T, 6))
    both = write(
        tmp_path / "b.dtseries.nii", np.hstack([noise[:, :4], values, noise[:, 4:]]), time, wall + brain + stem
    )
    np.testing.assert_allclose(check(both, atlas).bold, read_cifti(scan, atlas).bold, rtol=1e-6)


def test_grayordinates_that_the_scan_lacks_lower_coverage(scan, atlas, tmp_path):
    values, time, brain = content(scan)
    cortex = np.flatnonzero(brain.surface_mask)
    result = check(write(tmp_path / "cortex.dtseries.nii", values[:, cortex], time, brain[cortex]), atlas)
    deep = np.arange(len(atlas.parcels)) >= 16
    assert np.isnan(result.bold[:, deep]).all()
    assert np.isfinite(result.bold[:, ~deep]).all()
    np.testing.assert_array_equal(result.coverage, np.where(deep, 0, 1))
    most = np.setdiff1d(np.arange(len(brain)), np.arange(3))
    check(write(tmp_path / "most.dtseries.nii", values[:, most], time, brain[most]), atlas)


def test_grayordinates_without_signal_lower_coverage_and_do_not_enter_the_mean(scan, atlas, tmp_path):
    values, time, brain = content(scan)
    values[3, 0] = np.nan
    values[:, 1] = 0
    values[5, 8] = np.inf
    values[:, 20:27] = 1000
    result = check(write(tmp_path / "b.dtseries.nii", values, time, brain), atlas)
    assert ((result.coverage > 0) & (result.coverage < 1)).sum() == 4
    low = np.isnan(result.bold[0])
    assert low.any()
    np.testing.assert_array_equal(low, result.coverage < 0.5)
    assert not np.isnan(read_cifti(tmp_path / "b.dtseries.nii", atlas, min_coverage=0.0).bold).any()
    strict = read_cifti(tmp_path / "b.dtseries.nii", atlas, min_coverage=1.0)
    np.testing.assert_array_equal(np.isnan(strict.bold[0]), result.coverage < 1)


def test_parcels_keep_the_order_of_the_table(scan, atlas, bold, tmp_path):
    folder = tmp_path / "turned"
    folder.mkdir()
    dlabel = folder / "x.dlabel.nii"
    dlabel.write_bytes(dlabel_of(atlas).read_bytes())
    atlas.parcels.table[::-1].to_csv(folder / "parcels.tsv", sep="\t", index=False)
    turned = Atlas.load(dlabel)
    np.testing.assert_allclose(read_cifti(scan, turned).bold, bold[:, ::-1], rtol=1e-6)
    parcels = paint_cifti(bold, atlas, tmp_path / "a.ptseries.nii")
    np.testing.assert_allclose(read_cifti(parcels, turned).bold, bold[:, ::-1], rtol=1e-6)


def test_integers_with_a_scale_are_understood(scan, atlas, bold, tmp_path):
    image = nib.load(scan)
    image.set_data_dtype(np.int16)
    image.to_filename(tmp_path / "int.dtseries.nii")
    result = read_cifti(tmp_path / "int.dtseries.nii", atlas)
    assert nib.load(tmp_path / "int.dtseries.nii").get_data_dtype() == np.int16
    np.testing.assert_allclose(result.bold, bold, atol=0.05)


def test_recordings_of_cifti_scans_have_their_repetition_time(scan, atlas, bold):
    recording = parcellate(scan, atlas)
    assert (recording.tr, recording.subject, recording.task) == (0.72, "sub-01", "rest")
    np.testing.assert_allclose(recording.bold, bold, rtol=1e-6)


# Parcellated ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def parcels(atlas, bold, tmp_path) -> Path:
    return paint_cifti(bold, atlas, tmp_path / "a.ptseries.nii", tr=2.5)


def renamed(path: Path, names, out: Path, columns=slice(None)) -> Path:
    values, time, axis = content(path)
    axis = axis[np.arange(len(axis))[columns]]
    axis.name = np.array(names, dtype=object)
    return write(out, values[:, columns], time, axis)


def test_parcellated_series_are_taken_as_they_are(parcels, atlas, bold):
    result = read_cifti(parcels, atlas)
    np.testing.assert_array_equal(result.bold, bold)
    assert (result.header_tr_s, result.how) == (2.5, "parcellated")


def test_parcels_are_found_by_name_by_label_and_by_the_dlabels_name(parcels, atlas, bold, shared, tmp_path):
    order = np.arange(len(atlas.parcels))[::-1]
    by_label = renamed(
        parcels, [str(label) for label in atlas.parcels.labels[order]], tmp_path / "b.ptseries.nii", order
    )
    np.testing.assert_array_equal(read_cifti(by_label, atlas).bold, bold)
    a424 = a424_atlas(shared)
    assert a424.parcels.table["name"][0] != a424.read_grayordinates().names[1]  # R_V1 and R_V1_ROI
    real = paint_cifti(series(3, 424), a424, tmp_path / "c.ptseries.nii")
    by_name = renamed(real, a424.parcels.table["name"].tolist(), tmp_path / "d.ptseries.nii")
    for path in (real, by_name):
        np.testing.assert_array_equal(read_cifti(path, a424).bold, series(3, 424))


def test_parcels_that_are_missing_or_constant_have_no_signal(parcels, atlas, bold, tmp_path):
    values, time, axis = content(parcels)
    values[:, 3] = 0
    values[4, 5] = np.nan
    keep = np.setdiff1d(np.arange(len(axis)), [1])
    result = read_cifti(write(tmp_path / "b.ptseries.nii", values[:, keep], time, axis[keep]), atlas)
    gone = np.isin(np.arange(len(axis)), [1, 3, 5])
    assert np.isnan(result.bold[:, gone]).all()
    np.testing.assert_array_equal(result.bold[:, ~gone], bold[:, ~gone])
    np.testing.assert_array_equal(result.coverage, np.where(gone, 0, 1))


@pytest.mark.parametrize("names", [[f"Q{n}" for n in range(20)], ["P01"] * 20])
def test_other_parcels_are_an_error(parcels, atlas, names, tmp_path):
    with pytest.raises(DataError, match="does not have the parcels of the atlas small") as caught:
        read_cifti(renamed(parcels, names, tmp_path / "b.ptseries.nii"), atlas)
    assert "20 parcels" in caught.value.found


# Errors ---------------------------------------------------------------------------------------------------------------


def brain_with(brain, *, num_vertices=64, shift=0.0, structure=None):
    """The axis of a small dlabel, changed."""
    axis = None
    for name, part, model in brain.iter_structures():
        del part
        if model.surface_mask.all():
            new = cifti2.BrainModelAxis.from_surface(model.vertex, num_vertices, name=name)
        else:
            affine = model.affine + np.eye(4)[3] * shift * np.eye(4)[:, :1]
            new = cifti2.BrainModelAxis(
                structure or name, voxel=model.voxel, affine=affine, volume_shape=model.volume_shape
            )
        axis = new if axis is None else axis + new
    return axis


@pytest.mark.parametrize(
    ("change", "message", "expected", "found"),
    [
        ({"num_vertices": 128}, "lies on another surface", "64 vertices of CIFTI_STRUCTURE_CORTEX", "128 vertices"),
        ({"shift": 2.0}, "voxels of .* lie elsewhere", "the affine", "92.0"),
        (
            {"structure": "CIFTI_STRUCTURE_PUTAMEN_LEFT"},
            "voxels into different structures",
            "CIFTI_STRUCTURE_THALAMUS_LEFT",
            "CIFTI_STRUCTURE_PUTAMEN_LEFT",
        ),
    ],
)
def test_other_grayordinates_than_the_atlas_has_are_an_error(scan, atlas, tmp_path, change, message, expected, found):
    values, time, brain = content(scan)
    path = write(tmp_path / "b.dtseries.nii", values, time, brain_with(brain, **change))
    with pytest.raises(DataError, match=message) as caught:
        read_cifti(path, atlas)
    assert expected in caught.value.expected
    assert found in caught.value.found
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_nothing_in_common_is_an_error(atlas, tmp_path, rng):
    other = cifti2.BrainModelAxis.from_surface(np.arange(30), 64, name="CIFTI_STRUCTURE_CEREBELLUM")
    path = write(tmp_path / "b.dtseries.nii", rng.normal(size=(T, 30)), cifti2.SeriesAxis(0, 1, T), other)
    with pytest.raises(DataError, match="no grayordinates in common"):
        read_cifti(path, atlas)


def test_a_grayordinate_that_is_there_twice_is_an_error(scan, atlas, tmp_path):
    values, time, brain = content(scan)
    twice = np.append(np.arange(len(brain)), 0)
    with pytest.raises(DataError, match="has a vertex or voxel twice") as caught:
        read_cifti(write(tmp_path / "b.dtseries.nii", values[:, twice], time, brain[twice]), atlas)
    assert caught.value.found == "1 repeated"


@pytest.mark.parametrize(
    ("change", "message", "found"),
    [
        (lambda values: values * 0 + 7, "time points without an image", "12 of 12 time points"),
        (lambda values: values * np.where(np.arange(T) == 4, 0, 1)[:, None], "time points without an image", "none: 5"),
        (lambda values: values + np.where(np.arange(T) > 9, np.nan, 0)[:, None], "without an image", "none: 11, 12"),
        (lambda values: np.tile(values[:1], (T, 1)), "no parcel has any signal", "all constant or not finite"),
    ],
    ids=["constant", "zeros", "nan", "never changes"],
)
def test_scans_without_signal_are_errors(scan, parcels, atlas, tmp_path, change, message, found):
    for path in (scan, parcels):
        values, time, axis = content(path)
        with pytest.raises(DataError, match=message) as caught:
            read_cifti(write(tmp_path / f"b.{path.name.split('.', 1)[1]}", change(values), time, axis), atlas)
        assert found in caught.value.found


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.999])
def test_files_that_were_cut_off_are_errors(scan, atlas, share):
    truncated(scan, share)
    with pytest.raises(DataError, match=r"cannot be read as a CIFTI file|is shorter than what its header promises"):
        read_cifti(scan, atlas)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"n+2\0", b"n+9\0"),
        (b"<CIFTI", b"<BIFTI"),
        (b"</BrainModel>", b"</PrainModel>"),
        (b'NumberOfVertices="64"', b'NumberOfVertices="6x"'),
        (b'SurfaceNumberOfVertices="64"', b'SurfaceNumberOfVerticos="64"'),
        (b'NumberOfSeriesPoints="12"', b'NumberOfSeriesPoints="13"'),
        (b'NumberOfSeriesPoints="12"', b'Number0fSeriesPoints="12"'),
        (b"CIFTI_INDEX_TYPE_SERIES", b"CIFTI_INDEX_TYPE_SERIOS"),
    ],
)
def test_damaged_headers_are_errors(scan, atlas, old, new):
    whole = scan.read_bytes()
    assert old in whole
    scan.write_bytes(whole.replace(old, new, 1))
    with pytest.raises(DataError, match=r"cannot be read as a CIFTI file|contradicts itself") as caught:
        read_cifti(scan, atlas)
    assert str(scan) in str(caught.value)


def test_files_that_are_not_there_or_no_cifti_are_errors(atlas, tmp_path):
    with pytest.raises(DataError, match="no file at"):
        read_cifti(tmp_path / "no.dtseries.nii", atlas)
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 4), np.float32), np.eye(4)), tmp_path / "volume.dtseries.nii")
    (tmp_path / "text.dtseries.nii").write_text("hello", encoding="utf-8")
    (tmp_path / "folder.dtseries.nii").mkdir()
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError, match="cannot be read as a CIFTI file") as caught:
            read_cifti(path, atlas)
        assert str(path) in str(caught.value)


def test_cifti_files_that_are_not_over_time_are_errors(scan, atlas, tmp_path):
    values, _, brain = content(scan)
    others = {
        "scalars.dtseries.nii": (values, cifti2.ScalarAxis([f"m{n}" for n in range(T)]), brain),
        "one.dtseries.nii": (values[:1], cifti2.SeriesAxis(0, 1, 1), brain),
        "hertz.dtseries.nii": (values, cifti2.SeriesAxis(0, 1, T, "HERTZ"), brain),
        "dense.dtseries.nii": (np.ones((len(brain), len(brain))), brain, brain),
    }
    for name, parts in others.items():
        with pytest.raises(DataError, match="has no time course") as caught:
            read_cifti(write(tmp_path / name, *parts), atlas)
        assert "Axis of" in caught.value.found
    with pytest.raises(DataError, match="has no time course"):
        read_cifti(dlabel_of(atlas), atlas)


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
def test_repetition_times_that_are_none_are_left_to_others(scan, atlas, tmp_path, step):
    values, _, brain = content(scan)
    path = write(tmp_path / "b.dtseries.nii", values, cifti2.SeriesAxis(0, step, T), brain)
    assert read_cifti(path, atlas).header_tr_s is None


def test_atlases_without_a_dlabel_can_read_parcellated_scans_only(scan, parcels, atlas, bold, tmp_path):
    atlas.parcels.write(tmp_path / "parcels.tsv")
    table = Atlas.load(tmp_path / "parcels.tsv")
    np.testing.assert_array_equal(read_cifti(parcels, table).bold, bold)
    with pytest.raises(AtlasError, match="has no dlabel"):
        read_cifti(scan, table)


def test_memory_does_not_grow_with_the_scan(atlas, tmp_path, monkeypatch):
    num_timepoints = 18_000
    path = paint_cifti(series(num_timepoints, len(atlas.parcels)), atlas, tmp_path / "long.dtseries.nii")
    monkeypatch.setattr(cifti, "CHUNK_BYTES", 2**20)
    read_cifti(path, atlas)
    tracemalloc.start()
    read_cifti(path, atlas)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result_bytes = 8 * num_timepoints * len(atlas.parcels)
    assert path.stat().st_size > 20e6
    assert peak < 6 * 2**20 + 4 * result_bytes
