"""From an image to parcels: the mean that a loop gives, whatever is wrong with some voxels; and what is refused."""

import gzip
import json
import tracemalloc

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.maskers import NiftiLabelsMasker

from brainlm.data.atlas import Atlas
from brainlm.data.label_image import read_label_image
from brainlm.data.parcellate import parcellate, read_nifti
from brainlm.errors import DataError

SHAPE = (18, 22, 16)
AFFINE = np.array([[-4.0, 0, 0, 34], [0, 4.0, 0, -42], [0, 0, 4.0, -30], [0, 0, 0, 1]])
NUM_VOLUMES = 12
LABELS = (12, 3, 40, 7, 5, 21, 9, 2)  # with gaps, in an order of its own
NAME = "sub-01_ses-a_task-rest_run-2_space-MNI152NLin6Asym_desc-preproc_bold"


@pytest.fixture
def brain() -> np.ndarray:
    """An egg: no two of its axes are alike, and none is the same both ways."""
    x, y, z = ((index - (size - 1) / 2) / size for index, size in zip(np.indices(SHAPE), SHAPE, strict=True))
    return (x / 0.38) ** 2 + (y / (0.44 - 0.3 * z)) ** 2 + ((z - 0.3 * x) / (0.36 + 0.3 * y)) ** 2 < 1


@pytest.fixture
def volume(brain, rng) -> np.ndarray:
    """Parcels around random points of the brain."""
    points = rng.permutation(np.argwhere(brain))[: len(LABELS)]
    distance = np.linalg.norm(np.indices(SHAPE)[..., None] - points.T[:, None, None, None], axis=0)
    return np.where(brain, np.array(LABELS)[distance.argmin(axis=-1)], 0)


@pytest.fixture
def atlas(volume, tmp_path) -> Atlas:
    path = tmp_path / "atlas" / "toy.nii.gz"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(volume.astype(np.float32), AFFINE), path)
    table = pd.DataFrame({"label": LABELS, "name": [f"area {label}" for label in LABELS]})
    return Atlas.from_image(path, table, name="toy")


@pytest.fixture
def data(brain, rng) -> np.ndarray:
    """(X, Y, Z, T) of a scanner's units inside the brain, whole numbers, zero outside."""
    values = rng.normal(9000, 200, (*SHAPE, NUM_VOLUMES)).round()
    return values * brain[..., None]


@pytest.fixture
def write(tmp_path):
    """A function that writes an image with nibabel and returns its path."""

    def write_image(data, *, affine=AFFINE, dtype="<i2", name=NAME, codes=(4, 4), tr=2.0, scaling=(1.0, 0.0)):
        """With ``scaling``, slope and intercept, ``data`` are the stored values; None: nibabel scales them to fit."""
        order = np.dtype(dtype).newbyteorder("<") == np.dtype(dtype)
        image = nib.Nifti1Image(
            np.asarray(data, np.float64), affine, nib.Nifti1Header(endianness="<" if order else ">")
        )
        image.set_data_dtype(np.dtype(dtype).newbyteorder("="))
        image.set_sform(affine, codes[0])
        image.set_qform(affine if codes[1] else None, codes[1])
        image.header.set_xyzt_units("mm", "sec")
        if np.ndim(data) == 4:
            image.header["pixdim"][4] = tr
        path = tmp_path / f"{name}.nii.gz"
        image.header.set_slope_inter(*((1.0, 0.0) if scaling else (None, None)))
        nib.save(image, path)
        if scaling:
            content = bytearray(gzip.decompress(path.read_bytes()))
            content[112:120] = np.array(scaling, "<f4" if order else ">f4").tobytes()
            path.write_bytes(gzip.compress(content, compresslevel=1))
        return path

    return write_image


def by_loop(data, volume, *, mask=True) -> tuple[np.ndarray, np.ndarray]:
    """(means, coverage), a parcel at a time: the mean over its voxels that are finite and vary, inside the mask."""
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(data).all(axis=-1) & (data.max(axis=-1) > data.min(axis=-1)) & mask
    means, coverage = [], []
    for label in LABELS:
        voxels = valid & (volume == label)
        means.append(data[voxels].mean(axis=0) if voxels.any() else np.full(data.shape[-1], np.nan))
        coverage.append(voxels.sum() / (volume == label).sum())
    return np.array(means).T, np.array(coverage)


def agrees_with_loop(series, data, volume, *, mask=True, min_coverage=0.5) -> None:
    means, coverage = by_loop(np.asarray(data, np.float64), volume, mask=mask)
    np.testing.assert_allclose(series.coverage, coverage, rtol=1e-6)
    covered = (coverage >= min_coverage) & (coverage > 0)
    np.testing.assert_array_equal(series.bold[:, covered], means[:, covered].astype(np.float32))
    assert np.isnan(series.bold[:, ~covered]).all()


# The mean -------------------------------------------------------------------------------------------------------------


def test_a_parcel_is_the_mean_of_its_voxels(atlas, volume, data, write):
    series = read_nifti(write(data), atlas)
    agrees_with_loop(series, data, volume)
    assert (series.how, series.header_tr_s) == ("same grid", 2.0)
    assert (series.coverage == 1).all()
    np.testing.assert_allclose(series.tsnr, series.bold.mean(axis=0) / series.bold.std(axis=0), rtol=1e-4)


def test_it_agrees_with_the_masker_of_nilearn(atlas, rng, data, write):
    signal = data + (data > 0) * rng.normal(0, 100, NUM_VOLUMES)
    path = write(signal, scaling=(0.7, 1000.0))
    series = read_nifti(path, atlas)
    theirs = NiftiLabelsMasker(atlas.image, standardize=None).fit_transform(path)  # ascending labels
    ours = series.bold[:, np.argsort(LABELS)]
    assert (np.abs(ours - theirs).max(axis=0) / theirs.std(axis=0)).max() < 1e-4


@pytest.mark.parametrize("scaling", [(1.0, 0.0), (0.013, -7.0), (-2.5, 1e4)])
@pytest.mark.parametrize("dtype", ["i2", ">i2", "u1", ">u4", "i8", "f4", ">f8"])
def test_every_type_gives_the_mean_of_the_scaled_values(atlas, volume, rng, brain, write, dtype, scaling):
    stored = rng.integers(1, 200, (*SHAPE, NUM_VOLUMES)) * brain[..., None]
    path = write(stored, dtype=dtype, scaling=scaling)
    expected, _ = by_loop(nib.load(path).get_fdata(), volume)
    np.testing.assert_allclose(read_nifti(path, atlas).bold, expected, rtol=1e-5)


def test_intercepts_and_large_offsets_cost_no_precision(atlas, volume, rng, brain, write):
    """The signal of a parcel is a few units on top of 30,000: sums in float32 would lose it."""
    stored = np.clip(rng.normal(30_000, 3, (*SHAPE, NUM_VOLUMES)).round(), 0, 32_767) * brain[..., None]
    expected, _ = by_loop(stored, volume)
    np.testing.assert_array_equal(read_nifti(write(stored), atlas).bold, expected.astype(np.float32))


# Voxels without signal ------------------------------------------------------------------------------------------------

DAMAGES = {
    "zero throughout": (slice(None), 0.0),
    "constant": (slice(None), 7777.0),
    "nan throughout": (slice(None), np.nan),
    "nan in the first volume": (slice(0, 1), np.nan),
    "nan in one volume": (slice(5, 6), np.nan),
    "nan in the last volume": (slice(-1, None), np.nan),
    "infinite in one volume": (slice(5, 6), np.inf),
    "both infinities": (slice(5, 7), np.array([np.inf, -np.inf])),
}


@pytest.mark.parametrize(
    ("damage", "dtype"),
    [*((damage, np.float32) for damage in DAMAGES), ("zero throughout", np.int16), ("constant", np.int16)],
)
def test_voxels_without_signal_do_not_count(atlas, volume, data, rng, write, damage, dtype):
    when, value = DAMAGES[damage]
    data[rng.random(SHAPE) < 0.3, when] = value
    agrees_with_loop(read_nifti(write(data, dtype=dtype), atlas), data, volume)


def test_all_damages_together_do_not_count(atlas, volume, data, rng, write):
    data = data + rng.normal(0, 1, data.shape)
    data = data.astype(np.float32)
    for when, value in DAMAGES.values():
        data[rng.random(SHAPE) < 0.05, when] = value
    series = read_nifti(write(data, dtype=np.float32), atlas, min_coverage=0.0)
    means, coverage = by_loop(data.astype(np.float64), volume)
    np.testing.assert_allclose(series.bold, means, rtol=1e-7)
    np.testing.assert_allclose(series.coverage, coverage, rtol=1e-6)


def test_a_huge_constant_does_not_drown_the_signal(atlas, volume, data, write):
    """1e30 is taken out of a sum by leaving it out, never by subtracting it."""
    data[::3] = 1e30
    agrees_with_loop(read_nifti(write(data, dtype=np.float64), atlas, min_coverage=0.1), data, volume, min_coverage=0.1)


def test_a_background_that_scaling_makes_constant_does_not_count(atlas, volume, data, write):
    """nibabel stores zero as some integer when it chooses scaling and intercept for integers itself."""
    data[volume == LABELS[0]] = 0
    path = write(data / 3, scaling=None)
    header = nib.load(path).dataobj
    assert header.inter != 0
    series = read_nifti(path, atlas)
    assert np.isnan(series.bold[:, 0]).all()
    expected, _ = by_loop(nib.load(path).get_fdata(), volume)
    np.testing.assert_allclose(series.bold[:, 1:], expected[:, 1:], rtol=1e-6)


def test_parcels_with_too_few_voxels_are_nan_and_counted(atlas, volume, data, write):
    part = np.argwhere(volume == LABELS[2])
    data[tuple(part[: int(0.6 * len(part))].T)] = 0
    data[volume == LABELS[5]] = 5
    path = write(data)
    for min_coverage in (0.3, 0.5):
        series = read_nifti(path, atlas, min_coverage=min_coverage)
        agrees_with_loop(series, data, volume, min_coverage=min_coverage)
    assert np.isnan(series.bold).all(axis=0).tolist() == [False, False, True, False, False, True, False, False]
    assert np.isnan(series.tsnr).tolist() == np.isnan(series.bold[0]).tolist()
    assert series.coverage[5] == 0
    assert np.isnan(read_nifti(path, atlas, min_coverage=0.0).bold[:, 5]).all(), "never zero, whatever is asked"


def test_only_voxels_inside_the_mask_count(atlas, volume, data, rng, write):
    mask = rng.random(SHAPE) < 0.7
    mask_path = write(mask, dtype=np.uint8, name="mask")
    agrees_with_loop(read_nifti(write(data), atlas, mask=str(mask_path)), data, volume, mask=mask)


def test_damage_outside_the_mask_or_the_atlas_is_not_looked_at(atlas, volume, data, write):
    data[0, 0, 0, 5] = np.nan
    data[volume == LABELS[3], 6] = np.inf
    mask_path = write(volume != LABELS[3], dtype=np.uint8, name="mask")
    series = read_nifti(write(data, dtype=np.float32), atlas, mask=str(mask_path))
    agrees_with_loop(series, data, volume, mask=volume != LABELS[3])


# Other grids ----------------------------------------------------------------------------------------------------------


def test_flipped_and_permuted_images_give_the_same_series(atlas, data, write):
    expected = read_nifti(write(data), atlas)
    image = nib.Nifti1Image(data.astype(np.int16), AFFINE)
    for codes in ("RAS", "LPS", "SRA", "ASL", "PIR"):
        wanted = nib.orientations.axcodes2ornt(codes)
        turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(AFFINE), wanted))
        series = read_nifti(write(turned.get_fdata(), affine=turned.affine, name="turned"), atlas)
        np.testing.assert_array_equal(series.bold, expected.bold)
        np.testing.assert_array_equal(series.coverage, expected.coverage)


@pytest.mark.parametrize("size_mm", [2.0, 3.0, 6.0])
@pytest.mark.parametrize("angles", [(0, 0, 0), (0.2, -0.3, 0.1)])
def test_constant_regions_are_recovered_on_other_grids(atlas, volume, rng, write, size_mm, angles):
    """Parcels painted into another grid by the label at each voxel's centre come back, as far as they are whole."""
    matrix = nib.eulerangles.euler2mat(*angles) @ np.diag([size_mm] * 3)
    shape = np.ceil(np.array(SHAPE) * 4 * 1.3 / size_mm).astype(int)
    middle = AFFINE @ [*(np.array(SHAPE) - 1) / 2, 1]
    affine = nib.affines.from_matvec(matrix, middle[:3] - matrix @ ((shape - 1) / 2))
    mm = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    there = np.floor(nib.affines.apply_affine(np.linalg.inv(AFFINE), mm) + 0.5).astype(int)
    inside = ((there >= 0) & (there < SHAPE)).all(axis=-1)
    labels = np.where(inside, volume[tuple(np.moveaxis(np.clip(there, 0, np.array(SHAPE) - 1), -1, 0))], 0)
    true = rng.normal(1000, 50, (NUM_VOLUMES, max(LABELS) + 1))
    true[:, 0] = 0
    painted = np.moveaxis(true[:, labels], 0, -1)
    series = read_nifti(write(painted, affine=affine, dtype=np.float32), atlas, min_coverage=0.3)
    if series.how == "labels resampled":  # no other way, so each mean is over the parcel's own voxels
        np.testing.assert_allclose(series.bold, true[:, LABELS], rtol=1e-6)
    correlation = [np.corrcoef(series.bold[:, p], true[:, label])[0, 1] for p, label in enumerate(LABELS)]
    assert min(correlation) > 0.97
    assert (series.coverage > (0.7 if size_mm > 4 else 0.85)).all()


def test_parcels_outside_the_image_have_no_coverage(atlas, volume, data, write):
    cut = AFFINE.copy()
    cut[:3, 3] = AFFINE[:3] @ [0, 0, 5, 1]
    series = read_nifti(write(data[:, :, 5:], affine=cut), atlas, min_coverage=0.2)
    gone = data.copy()
    gone[:, :, :5] = 0
    agrees_with_loop(series, gone, volume, min_coverage=0.2)
    assert series.coverage.min() < 1


# What is refused ------------------------------------------------------------------------------------------------------


def test_empty_volumes_are_an_error(atlas, data, write):
    for value, dtype in ((0, np.int16), (np.nan, np.float32)):
        data[..., [3, 7]] = value
        with pytest.raises(DataError, match="volumes without an image") as caught:
            read_nifti(write(data, dtype=dtype), atlas)
        assert "2 of 12 volumes: 4, 8" in caught.value.found
    data[..., 0] = np.nan
    with pytest.raises(DataError, match="volumes without an image"):
        read_nifti(write(data, dtype=np.float32), atlas)
    data[...] = 0
    with pytest.raises(DataError, match="has no signal where the brain"):
        read_nifti(write(data), atlas)
    data[...] = np.arange(NUM_VOLUMES)
    with pytest.raises(DataError, match="volumes without an image"):
        read_nifti(write(data), atlas)


def test_one_volume_is_no_time_course(atlas, data, write):
    with pytest.raises(DataError, match="has no time course") as caught:
        read_nifti(write(data[..., 0]), atlas)
    assert "18 x 22 x 16" in caught.value.found


@pytest.mark.parametrize("space", ["T1w", "Talairach", "fsaverage5", "mni"])
def test_a_scan_whose_name_says_another_space_is_refused(atlas, data, write, space):
    with pytest.raises(DataError, match="is not in MNI space") as caught:
        read_nifti(write(data), atlas, space=space)
    assert f"space-{space}" in caught.value.found


@pytest.mark.parametrize(("codes", "right"), [((1, 1), False), ((3, 3), False), ((4, 1), True), ((2, 0), True)])
def test_without_a_name_the_header_decides_about_the_space(atlas, data, write, codes, right):
    path = write(data, codes=codes)
    if right:
        assert read_nifti(path, atlas).how == "same grid"
    else:
        with pytest.raises(DataError, match="is not in MNI space") as caught:
            read_nifti(path, atlas)
        assert f"code {codes[0]} in its header" in caught.value.found
        assert "space=" in caught.value.remedy
    assert read_nifti(path, atlas, space="MNI152NLin2009cAsym").how == "same grid"


def test_an_image_beside_the_brain_is_refused(atlas, data, write):
    away = AFFINE.copy()
    away[:3, 3] += (60, 40, 0)
    with pytest.raises(DataError, match="does not show the brain") as caught:
        read_nifti(write(data, affine=away), atlas)
    assert "the image reaches x" in caught.value.found


def test_a_brain_in_another_place_of_the_image_is_refused(atlas, brain, data, write):
    larger = np.zeros((40, 40, 40, NUM_VOLUMES))
    larger[:18, :22, 24:] = data
    affine = AFFINE.copy()
    affine[:3, 3] = AFFINE[:3] @ [-11, -9, -12, 1]
    with pytest.raises(DataError, match="has no signal where the brain"):
        read_nifti(write(larger, affine=affine), atlas)
    nowhere = write(~brain, dtype=np.uint8, name="mask")
    with pytest.raises(DataError, match="has no signal where the brain"):
        read_nifti(write(data), atlas, mask=str(nowhere))


@pytest.mark.parametrize(("axes", "name"), [((1, 0, 2), "y, x, z"), ((0, 2, 1), "x, z, y"), ((2, 1, 0), "z, y, x")])
def test_swapped_axes_that_the_affine_does_not_know_of_are_refused(atlas, data, write, axes, name):
    with pytest.raises(DataError, match="axes of the data do not fit its affine") as caught:
        read_nifti(write(data.transpose(*axes, 3)), atlas)
    assert name in caught.value.found


def test_axes_turned_round_that_the_affine_does_not_know_of_are_refused(atlas, data, write):
    with pytest.raises(DataError, match="axes of the data do not fit its affine") as caught:
        read_nifti(write(data[:, :, ::-1]), atlas)
    assert "x, y, -z" in caught.value.found


# The public function --------------------------------------------------------------------------------------------------


def test_a_scan_becomes_a_recording_named_by_its_file(atlas, data, write):
    path = write(data)
    recording = parcellate(path, atlas)
    assert recording.key == ("sub-01", "a", "rest", "2")
    assert (recording.tr, recording.atlas, recording.source) == (2.0, "toy", str(path))
    np.testing.assert_array_equal(recording.bold, read_nifti(path, atlas).bold)
    named = parcellate(path, str(atlas.image), subject="x", run="7", site="here", min_coverage=1.0)
    assert (named.key, named.site) == (("x", "", "", "7"), "here")
    np.testing.assert_array_equal(named.bold[:, np.argsort(np.argsort(LABELS))], recording.bold)  # no table: ascending


def test_the_repetition_time_of_header_and_sidecar_must_agree(atlas, data, write):
    path = write(data, tr=0.735)
    sidecar = path.with_name(f"{NAME}.json")
    sidecar.write_text(json.dumps({"RepetitionTime": 0.735}), encoding="utf-8")
    assert parcellate(path, atlas).tr == 0.735
    sidecar.write_text(json.dumps({"RepetitionTime": 2.0}), encoding="utf-8")
    with pytest.raises(DataError, match="contradict") as caught:
        parcellate(path, atlas)
    assert "0.735 s in its header" in caught.value.found
    assert parcellate(path, atlas, tr=0.735).tr == 0.735


@pytest.mark.parametrize("tr", [0.0, np.nan])
def test_a_header_without_repetition_time_needs_another_source(atlas, data, write, tr):
    path = write(data, tr=tr)
    with pytest.raises(DataError, match="repetition time is unknown") as caught:
        parcellate(path, atlas)
    assert "--tr" in caught.value.remedy
    path.with_name(f"{NAME}.json").write_text(json.dumps({"RepetitionTime": 0.8}), encoding="utf-8")
    assert parcellate(path, atlas).tr == 0.8
    with pytest.raises(DataError, match="not usable"):
        parcellate(path, atlas, tr=0.0)


@pytest.mark.parametrize(("tr", "meant"), [(0.002, "2"), (2000.0, "2")])
def test_a_repetition_time_that_no_scanner_has_is_refused_from_header_sidecar_and_argument(
    atlas, data, write, tr, meant
):
    path = write(data, tr=tr)
    sidecar = path.with_name(f"{NAME}.json")
    with pytest.raises(DataError, match="its header: the repetition time is not usable") as from_header:
        parcellate(path, atlas)
    sidecar.write_text(json.dumps({"RepetitionTime": tr}), encoding="utf-8")
    with pytest.raises(DataError, match="not usable") as from_sidecar:
        parcellate(path, atlas)
    with pytest.raises(DataError, match="not usable") as from_argument:
        parcellate(path, atlas, tr=tr)
    for caught in (from_header, from_sidecar, from_argument):
        assert f"give seconds: {meant}" in caught.value.remedy
    sidecar.write_text(json.dumps({"RepetitionTime": 2.0}), encoding="utf-8")
    assert parcellate(path, atlas).tr == 2.0  # a unit that the header names wrongly does not hide what is known


def test_the_space_in_the_name_counts_unless_another_is_given(atlas, data, write):
    native = write(data, name="sub-01_space-T1w_bold")
    with pytest.raises(DataError, match="space-T1w in its name"):
        parcellate(native, atlas)
    assert parcellate(native, atlas, space="MNI152NLin6Asym").subject == "sub-01"
    assert parcellate(write(data, codes=(1, 1)), atlas).subject == "sub-01"


def test_a_failing_scan_leaves_nothing_behind_for_the_next(atlas, volume, data, write):
    first, broken = write(data, name="sub-01_bold"), write(data[::-1], name="sub-02_bold")
    broken.write_bytes(broken.read_bytes()[:-2000])
    other = data + (data > 0) * 500
    good = write(other, name="sub-03_bold")
    expected = parcellate(first, atlas).bold
    with pytest.raises(DataError, match="sub-02_bold"):
        parcellate(broken, atlas)
    agrees_with_loop(read_nifti(good, atlas), other, volume)
    np.testing.assert_array_equal(parcellate(first, atlas).bold, expected)


# Memory, and the real atlas -------------------------------------------------------------------------------------------


def test_memory_stays_below_a_few_volumes(tmp_path, atlas, rng):
    """Twenty times the volumes, no more memory than a handful of them and what comes out."""
    voxels = rng.integers(1, 9000, SHAPE).astype(np.int16)
    image = nib.Nifti1Image(np.repeat(voxels[..., None], 400, axis=-1) + np.arange(400, dtype=np.int16), AFFINE)
    nib.save(image, tmp_path / "long.nii.gz")
    read_nifti(tmp_path / "long.nii.gz", atlas)  # what is kept from scan to scan: the labels
    tracemalloc.start()
    series = read_nifti(tmp_path / "long.nii.gz", atlas)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    volume_bytes = voxels.nbytes
    assert peak < 1_500_000 + 12 * volume_bytes + 6 * series.bold.nbytes
    assert peak < 0.4 * 8 * voxels.size * 400


@pytest.mark.parametrize(
    ("size_mm", "shift_mm", "how"),
    [(2.0, 0.0, "same grid"), (3.0, 1.0, "labels resampled, small parcels sampled")],
)
def test_a_real_series_painted_into_the_real_atlas_comes_back(shared, tmp_path, size_mm, shift_mm, how):
    atlas = Atlas.load(shared / "atlas")
    labels = read_label_image(atlas.image)
    true = np.loadtxt(shared / "data" / "a424_example" / "fMRI.dat")[:20]
    true = 10_000 + (100 * (true - true.mean(axis=0)) / true.std(axis=0)).round()
    shape = np.ceil(np.array(labels.volume.shape) * 2 / size_mm).astype(int)
    affine = nib.affines.from_matvec(labels.affine[:3, :3] * size_mm / 2, labels.affine[:3, 3] + shift_mm)
    there = np.indices(shape).T @ np.linalg.solve(labels.affine, affine)[:3, :3].T
    there = np.floor(there + np.linalg.solve(labels.affine, affine)[:3, 3] + 0.5 + 1e-6).astype(int)
    last = np.array(labels.volume.shape) - 1
    inside = ((there >= 0) & (there <= last)).all(axis=-1)
    painted = np.where(inside, labels.volume[tuple(np.clip(there, 0, last).T)].T, 0).T
    values = np.concatenate([np.arange(20)[:, None], true], axis=1)[:, painted]  # around the parcels another series
    nib.save(nib.Nifti1Image(np.moveaxis(values, 0, -1).astype(np.int16), affine), tmp_path / "painted.nii.gz")
    series = read_nifti(tmp_path / "painted.nii.gz", atlas)
    assert series.how == how
    assert series.coverage.min() > 0.9
    differs = (np.abs(series.bold - true) > 1e-3).any(axis=0)
    # The parcel of a single voxel takes the value of the image voxel around it, which belongs to a neighbour.
    assert np.flatnonzero(differs).tolist() == ([] if how == "same grid" else [404])
