"""Streaming 4-D images: every type reads as nibabel reads it; what is damaged or promises too much is named."""

import gzip
import os
import zipfile

import nibabel as nib
import numpy as np
import pytest

from brainlm.data.grid import Grid
from brainlm.data.motion import file_content
from brainlm.data.volumes import open_file, open_image, read_mask
from brainlm.errors import DataError

SHAPE = (5, 4, 3)
NUM_VOLUMES = 7
AFFINE = np.array([[-3.0, 0, 0, 90], [0, 3.0, 0, -126], [0, 0, 3.0, -72], [0, 0, 0, 1]])
DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


@pytest.fixture
def data(rng) -> np.ndarray:
    return rng.integers(1, 120, (*SHAPE, NUM_VOLUMES))


def header_of(data, dtype="<i2", *, kind=nib.Nifti1Header, tr=2.0, codes=(4, 4), slope=1.0, intercept=0.0):
    dtype = np.dtype(dtype)
    header = kind(endianness={"=": "<", "|": "<"}.get(dtype.byteorder, dtype.byteorder))
    header.set_data_shape(data.shape)
    header.set_data_dtype(dtype.newbyteorder("="))
    header.set_sform(AFFINE, codes[0])
    header.set_qform(AFFINE, codes[1])
    header.set_xyzt_units("mm", "sec")
    if data.ndim > 3:
        header["pixdim"][4] = tr
    header["scl_slope"], header["scl_inter"] = slope, intercept
    header["vox_offset"] = int(header.sizeof_hdr) + 4
    return header


def write(path, data, dtype="<i2", *, header=None, gap=4, cut=None, **settings):
    """An image written byte by byte, so that it can be wrong where nibabel would not let it be."""
    header = header_of(data, dtype, **settings) if header is None else header
    content = header.binaryblock + bytes(gap) + np.asfortranarray(data.astype(dtype)).tobytes(order="F")
    content = gzip.compress(content, compresslevel=1) if path.name.endswith(".gz") else content
    path.write_bytes(content[:cut])
    return path


def read(path) -> tuple:
    with open_image(path) as image:
        volumes = [volume.copy() for volume in image.volumes()]
    return image.header, np.stack(volumes, axis=-1).reshape(*image.header.grid.shape, -1, order="F")


def complaint_about(path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert caught.value.remedy
    return message


# What is there is read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_in_both_byte_orders_reads_as_nibabel_reads_it(tmp_path, data, dtype, order, ending):
    path = write(tmp_path / f"a.{ending}", data, np.dtype(dtype).newbyteorder(order))
    header, values = read(path)
    np.testing.assert_array_equal(values, np.asanyarray(nib.load(path).dataobj))
    assert header.dtype == np.dtype(dtype).newbyteorder(order)
    assert (header.grid.shape, header.num_volumes, header.tr_s, header.space_code) == (SHAPE, NUM_VOLUMES, 2.0, 4)
    np.testing.assert_allclose(header.grid.affine, AFFINE)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_an_image_that_nibabel_wrote_reads_the_same(tmp_path, data, name):
    image = nib.Nifti1Image(data / 7, AFFINE)
    image.set_data_dtype(np.int16)  # chooses slope and intercept itself
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"moves the data further back"))
    nib.save(image, tmp_path / name)
    header, values = read(tmp_path / name)
    expected = nib.load(tmp_path / name)
    assert header.data_offset > 352
    np.testing.assert_allclose(values * header.slope + header.intercept, expected.get_fdata(), rtol=1e-6)
    np.testing.assert_array_equal(header.grid.affine, expected.affine)


def test_nifti_2_is_read(tmp_path, data):
    header, values = read(write(tmp_path / "a.nii.gz", data, kind=nib.Nifti2Header))
    np.testing.assert_array_equal(values, data)
    assert (header.data_offset, header.tr_s) == (544, 2.0)


def test_a_member_of_an_archive_is_read_in_place(tmp_path, data):
    for name in ("a.nii", "b.nii.gz"):
        write(tmp_path / name, data)
    with zipfile.ZipFile(tmp_path / "person 1.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.nii", "fMRI/a.nii")
        archive.write(tmp_path / "b.nii.gz", "../b.nii.gz")
    for member in ("fMRI/a.nii", "../b.nii.gz"):
        _, values = read(f"{tmp_path}/person 1.zip!/{member}")
        np.testing.assert_array_equal(values, data)
    assert "no file at" in complaint_about(f"{tmp_path}/person 1.zip!/c.nii")
    assert "no file at" in complaint_about(f"{tmp_path}/person 2.zip!/a.nii")
    (tmp_path / "junk.zip").write_bytes(b"junk")
    assert "damaged" in complaint_about(f"{tmp_path}/junk.zip!/a.nii")


def test_a_file_and_a_member_of_an_archive_open_the_same_way(tmp_path, rng):
    (tmp_path / "a.par").write_bytes(rng.bytes(5000))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.par", "in/a.par")
    for name in (f"{tmp_path}/a.par", f"{tmp_path}/a.zip!/in/a.par"):
        with open_file(name) as opened:
            assert opened.num_bytes == 5000
            assert opened.content.read() == file_content(name) == (tmp_path / "a.par").read_bytes()
        assert opened.content.closed


def test_members_of_a_gzip_file_are_one_stream(tmp_path, data):
    whole = gzip.decompress(write(tmp_path / "a.nii.gz", data).read_bytes())
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(whole[:500]) + gzip.compress(whole[500:]))
    np.testing.assert_array_equal(read(tmp_path / "b.nii.gz")[1], data)


def test_a_last_dimension_of_one_is_no_dimension(tmp_path, data):
    header, values = read(write(tmp_path / "a.nii", data[..., None]))
    assert header.num_volumes == NUM_VOLUMES
    np.testing.assert_array_equal(values, data)
    assert read(write(tmp_path / "b.nii", data[..., 0]))[0].num_volumes == 1


@pytest.mark.parametrize(("slope", "expected"), [(0.0, (1, 0)), (np.nan, (1, 0)), (0.5, (0.5, 3))])
def test_a_slope_of_zero_or_nan_is_no_scaling(tmp_path, data, slope, expected):
    header, _ = read(write(tmp_path / "a.nii", data, slope=slope, intercept=3.0))
    assert (header.slope, header.intercept) == expected


# Repetition time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "unit", "expected"),
    [
        (0.735, "sec", 0.735),
        (735.0, "msec", 0.735),
        (735000.0, "usec", 0.735),
        (2.0, "unknown", 2.0),
        (1.0, "sec", 1.0),
        (1.0, "unknown", None),
        (0.0, "sec", None),
        (-2.0, "sec", None),
        (np.nan, "sec", None),
        (np.inf, "sec", None),
        (2000.0, "sec", 2000.0),  # said, and refused by whoever uses it
        (2.0, "msec", 0.002),
        (2.0, "hz", None),
    ],
)
def test_the_repetition_time_is_in_seconds_or_unknown(tmp_path, data, stored, unit, expected):
    header = header_of(data, tr=stored)
    header.set_xyzt_units("mm", unit)
    assert read(write(tmp_path / "a.nii", data, header=header))[0].tr_s == expected


# What is not there is named -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.999, 0.6, 0.2])
def test_a_truncated_file_is_named_with_what_is_left_of_it(tmp_path, rng, share):
    data = rng.integers(0, 30_000, (30, 30, 30, 9))
    for name in ("a.nii", "a.nii.gz"):
        path = write(tmp_path / name, data)
        whole = path.stat().st_size
        path.write_bytes(path.read_bytes()[: int(share * whole)])
        message = complaint_about(path)
        assert "ends before what its header promises" in message
        # What is compressed is known only up to the last piece that was unpacked.
        assert f"{int(share * 9)} whole volumes" in message or f"{int(share * whole):,} bytes" in message


def test_a_compressed_file_without_its_last_bytes_is_truncated(tmp_path, data):
    for cut in (-1, -8, 30, 5):
        message = complaint_about(write(tmp_path / "a.nii.gz", data, cut=cut))
        assert "ends before what its header promises" in message


def test_a_truncated_header_is_an_error(tmp_path, data):
    for name, cut in (("a.nii", 300), ("b.nii", 0), ("c.nii", 2), ("d.nii.gz", 0)):
        assert "is not a NIfTI image" in complaint_about(write(tmp_path / name, data, cut=cut))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_promises_more_than_there_is_is_an_error(tmp_path, data, name):
    path = write(tmp_path / name, data, header=header_of(np.broadcast_to(data[..., :1], (*SHAPE, NUM_VOLUMES + 1))))
    message = complaint_about(path)
    assert "ends before what its header promises" in message
    assert "8 volumes" in message


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_promises_less_than_there_is_is_an_error(tmp_path, data, name):
    path = write(tmp_path / name, data, header=header_of(data[..., :-1]))
    assert "more than its header promises" in complaint_about(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_an_absurd_size_is_refused_before_memory_is_asked_for(tmp_path, data, name):
    header = header_of(data)
    header["dim"][1:5] = 30_000
    assert "ends before what its header promises" in complaint_about(write(tmp_path / name, data, header=header))


def test_damage_inside_a_compressed_file_is_an_error(tmp_path, rng):
    data = rng.integers(0, 30_000, (12, 12, 12, 9))
    content = bytearray(write(tmp_path / "a.nii.gz", data).read_bytes())
    content[-6] ^= 255  # the checksum
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert "is damaged" in complaint_about(tmp_path / "a.nii.gz")
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert "is damaged" in complaint_about(tmp_path / "a.nii.gz")


def test_other_files_are_not_images(tmp_path, data):
    (tmp_path / "a.nii").write_text("subject\tage\n" * 60, encoding="utf-8")
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"junk" * 300))
    for name in ("a.nii", "b.nii.gz"):
        assert "is not a NIfTI image" in complaint_about(tmp_path / name)
    pair = header_of(data)
    pair["magic"] = b"ni1"
    assert "one file" in complaint_about(write(tmp_path / "c.hdr", data, header=pair))


def test_files_that_cannot_be_opened_are_named(tmp_path, data):
    assert "no file at" in complaint_about(tmp_path / "none.nii.gz")
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    assert "no file at" in complaint_about(tmp_path / "link.nii.gz")
    assert "cannot be read" in complaint_about(tmp_path)
    if os.geteuid() != 0:
        path = write(tmp_path / "a.nii", data)
        path.chmod(0)
        assert "cannot be read" in complaint_about(path)


@pytest.mark.parametrize("sizes", [(5, 4), (5, 4, 3, 7, 2), (5, 0, 3, 7), (5, -4, 3, 7)])
def test_other_dimensions_than_three_or_four_are_an_error(tmp_path, data, sizes):
    header = header_of(data)
    header["dim"][: len(sizes) + 1] = (len(sizes), *sizes)
    message = complaint_about(write(tmp_path / "a.nii", data, header=header))
    assert " x ".join(map(str, sizes)) in message


@pytest.mark.parametrize("code", [1, 32, 128, 1536, 999])
def test_numbers_that_are_none_are_an_error(tmp_path, data, code):
    header = header_of(data)
    header["datatype"] = code
    assert f"NIfTI data type {code}" in complaint_about(write(tmp_path / "a.nii", data, header=header))


def test_a_scaling_that_is_none_is_an_error(tmp_path, data):
    for slope, intercept in ((np.inf, 0.0), (1.0, np.nan)):
        assert "scl_slope" in complaint_about(write(tmp_path / "a.nii", data, slope=slope, intercept=intercept))


# Where the voxels lie -------------------------------------------------------------------------------------------------


def test_sform_and_qform_that_disagree_are_an_error(tmp_path, data):
    header = header_of(data)
    header.set_qform(nib.affines.from_matvec(np.diag([3.0, 3, 3]), [-90, -126, -72]), 4)
    message = complaint_about(write(tmp_path / "a.nii", data, header=header))
    assert "disagree" in message
    assert "sform_code 4, qform_code 4" in message


def test_a_standard_space_in_the_sform_holds_beside_the_scanner_in_the_qform(tmp_path, data):
    header = header_of(data)
    elsewhere = nib.affines.from_matvec(np.diag([3.0, 3, 3]), [10, 20, 30])
    header.set_qform(elsewhere, 1)
    found, _ = read(write(tmp_path / "a.nii", data, header=header))
    np.testing.assert_allclose(found.grid.affine, AFFINE)
    header.set_qform(AFFINE, 4)
    header.set_sform(elsewhere, 1)
    assert "disagree" in complaint_about(write(tmp_path / "a.nii", data, header=header))


def test_a_qform_alone_holds(tmp_path, data):
    header, _ = read(write(tmp_path / "a.nii", data, codes=(0, 4)))
    np.testing.assert_allclose(header.grid.affine, AFFINE, atol=1e-5)
    assert header.space_code == 4


def test_an_image_without_place_is_an_error(tmp_path, data):
    assert "where its voxels lie" in complaint_about(write(tmp_path / "a.nii", data, codes=(0, 0)))
    flat, broken = header_of(data), header_of(data)
    flat["srow_z"] = 0
    broken["quatern_b"] = np.nan
    assert "the sform of its header" in complaint_about(write(tmp_path / "b.nii", data, header=flat))
    assert "the qform of its header" in complaint_about(write(tmp_path / "c.nii", data, header=broken))


# Masks ----------------------------------------------------------------------------------------------------------------


def test_a_mask_includes_what_is_above_zero(tmp_path, rng):
    values = rng.choice([0.0, 1.0, 0.3, -1.0, np.nan], SHAPE)
    path = write(tmp_path / "mask.nii.gz", values, "<f4")
    expected = (values > 0).ravel(order="F")
    np.testing.assert_array_equal(read_mask(path, Grid(SHAPE, AFFINE)), expected)


def test_a_mask_on_another_grid_is_sampled_at_the_nearest_voxel(tmp_path, rng):
    values = rng.integers(0, 2, SHAPE)
    path = write(tmp_path / "mask.nii.gz", values, "<u1")
    finer = np.repeat(np.repeat(np.repeat(values, 3, 0), 3, 1), 3, 2)
    affine = AFFINE @ np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    affine[:3, 3] = AFFINE[:3, 3] - affine[:3, :3].sum(axis=1)  # the middle of the first three is where the first was
    grid = Grid(finer.shape, affine)
    np.testing.assert_array_equal(read_mask(path, grid), finer.ravel(order="F") > 0)


def test_masks_of_nothing_and_of_several_volumes_are_errors(tmp_path, data):
    with pytest.raises(DataError, match="includes no voxel"):
        read_mask(write(tmp_path / "a.nii", np.zeros(SHAPE)), Grid(SHAPE, AFFINE))
    far = AFFINE.copy()
    far[:3, 3] += 500
    with pytest.raises(DataError, match="includes no voxel"):
        read_mask(write(tmp_path / "b.nii", np.ones(SHAPE)), Grid(SHAPE, far))
    with pytest.raises(DataError, match="several volumes"):
        read_mask(write(tmp_path / "c.nii", data), Grid(SHAPE, AFFINE))
