"""One table file: every format gives the same signal, and every way to be wrong gives a message that helps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from brainlm.data.parcels import Parcels
from brainlm.data.read import TABLE_SUFFIXES, parcels_come_first, read_table, signal_from_values
from brainlm.errors import DataError

NUM_PARCELS, NUM_TIMEPOINTS = 12, 30
NAMES = [f"area-{letter}" for letter in "ABCDEFGHIJKL"]


@pytest.fixture
def parcels() -> Parcels:
    return Parcels(pd.DataFrame({"label": range(101, 101 + NUM_PARCELS), "name": NAMES}))


@pytest.fixture
def bold(rng) -> np.ndarray:
    return rng.normal(1000, 10, (NUM_TIMEPOINTS, NUM_PARCELS)).round(3)


def write_text(path: Path, bold: np.ndarray, *, header=None, sep="\t") -> Path:
    pd.DataFrame(bold, columns=header).to_csv(path, sep=sep, index=False, header=header is not None)
    return path


def test_every_format_gives_the_same_signal(tmp_path, parcels, bold):
    paths = [write_text(tmp_path / f"a{suffix}", bold) for suffix in (".tsv", ".dat", ".1D")]
    paths += [write_text(tmp_path / "a.csv", bold, sep=","), write_text(tmp_path / "b.csv", bold, sep=";")]
    np.savetxt(tmp_path / "a.txt", bold)
    np.save(tmp_path / "a.npy", bold)
    np.savez_compressed(tmp_path / "a.npz", bold=bold)
    scipy.io.savemat(tmp_path / "a.mat", {"bold": bold, "TR": 2.0})
    paths += [tmp_path / f"a{suffix}" for suffix in (".txt", ".npy", ".npz", ".mat")]
    for path in paths:
        signal = read_table(path, parcels)
        np.testing.assert_array_equal(signal.bold, bold.astype(np.float32), err_msg=path.name)
        assert (signal.num_without_signal, signal.transposed, signal.reordered) == (0, False, False)
        assert signal.bold.flags.c_contiguous


@given(st.integers(0, 2**32 - 1), st.sampled_from(["\t", ",", ";", " "]), st.booleans(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_what_is_written_is_read_whatever_the_delimiter_header_and_orientation(
    tmp_path_factory, seed, sep, with_header, transposed
):
    bold = np.random.default_rng(seed).normal(size=(NUM_TIMEPOINTS, NUM_PARCELS))
    path = tmp_path_factory.mktemp("table") / "a.txt"
    header = None if not with_header else [f"t{i}" for i in range(NUM_TIMEPOINTS)] if transposed else NAMES
    write_text(path, bold.T if transposed else bold, header=header, sep=sep)
    parcels = Parcels(pd.DataFrame({"label": range(1, NUM_PARCELS + 1), "name": NAMES}))
    signal = read_table(path, parcels)
    np.testing.assert_allclose(signal.bold, bold, rtol=1e-6)
    assert signal.transposed == transposed


def test_raw_abide_file_agrees_with_a_plain_reader_and_the_packed_copy(shared):
    path = shared / "data" / "abide" / "raw_1D" / "CMU_a_0050642_rois_cc200.1D"
    signal = read_table(path, Parcels.unnamed(200))
    np.testing.assert_array_equal(signal.bold, np.loadtxt(path).astype(np.float32))
    packed = np.load(shared / "data" / "abide" / "abide_cc200_f16.npy", mmap_mode="r")[:236]
    np.testing.assert_allclose(signal.bold, packed, rtol=2e-3, atol=2e-3)


def test_a424_example_is_read(shared):
    signal = read_table(shared / "data" / "a424_example" / "fMRI.dat", Parcels.unnamed(424))
    assert signal.bold.shape == (99, 424)
    assert signal.bold.dtype == np.float32


# Header ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [NAMES, [str(label) for label in range(101, 113)]])
def test_columns_in_another_order_are_put_right_by_their_names_or_labels(tmp_path, parcels, bold, rng, names):
    order = rng.permutation(NUM_PARCELS)
    path = write_text(tmp_path / "a.tsv", bold[:, order], header=[names[i] for i in order])
    signal = read_table(path, parcels)
    np.testing.assert_array_equal(signal.bold, bold.astype(np.float32))
    assert signal.reordered


@pytest.mark.parametrize(
    "header",
    [NAMES, [f"#{label}" for label in range(101, 113)], list(range(NUM_PARCELS)), list(range(1, NUM_PARCELS + 1))],
    ids=["names", "abide", "pandas", "counted"],
)
def test_headers_that_keep_the_order_are_no_data(tmp_path, parcels, bold, header):
    signal = read_table(write_text(tmp_path / "a.tsv", bold, header=header), parcels)
    np.testing.assert_array_equal(signal.bold, bold.astype(np.float32))
    assert not signal.reordered


def test_labels_over_whole_numbers_are_a_header(tmp_path, parcels, rng):
    bold = rng.integers(5000, 9000, (NUM_TIMEPOINTS, NUM_PARCELS))
    labels = [str(label) for label in range(101, 113)]
    signal = read_table(write_text(tmp_path / "a.tsv", bold[:, ::-1], header=labels[::-1]), parcels)
    np.testing.assert_array_equal(signal.bold, bold.astype(np.float32))


def test_first_line_of_whole_numbers_is_data(tmp_path, parcels):
    bold = np.arange(5 * NUM_PARCELS).reshape(5, NUM_PARCELS)[::-1].copy()
    assert read_table(write_text(tmp_path / "a.tsv", bold), parcels).bold.shape == (5, NUM_PARCELS)


def test_other_names_are_an_error_unless_ignored(tmp_path, parcels, bold):
    path = write_text(tmp_path / "a.tsv", bold, header=[f"ROI{i}" for i in range(NUM_PARCELS)])
    with pytest.raises(DataError, match="does not name the parcels") as caught:
        read_table(path, parcels)
    assert "'ROI0'" in str(caught.value)
    assert "'area-A'" in str(caught.value)
    assert "--ignore-header" in str(caught.value)
    assert str(path) in str(caught.value)
    np.testing.assert_array_equal(read_table(path, parcels, ignore_header=True).bold, bold.astype(np.float32))


def test_names_that_repeat_are_fine_in_the_tables_order_only(tmp_path, bold):
    names = [*NAMES[:-1], NAMES[0]]
    parcels = Parcels(pd.DataFrame({"label": range(101, 113), "name": names}))
    path = tmp_path / "a.tsv"
    path.write_text("\t".join(names) + "\n" + "\n".join("\t".join(map(str, row)) for row in bold))
    np.testing.assert_array_equal(read_table(path, parcels).bold, bold.astype(np.float32))
    path.write_text("\t".join(names[::-1]) + "\n" + "\n".join("\t".join(map(str, row)) for row in bold))
    with pytest.raises(DataError, match="names repeat"):
        read_table(path, parcels)


def test_comments_byte_order_mark_quotes_blank_lines_and_trailing_tabs_do_no_harm(tmp_path, parcels, bold):
    lines = ["\t".join(f'"{name}"' for name in NAMES), *("\t".join(map(str, row)) + "\t" for row in bold), "", ""]
    path = tmp_path / "a.tsv"
    path.write_text("# made by a pipeline\n#second comment\n" + "\n".join(lines), encoding="utf-8-sig")
    np.testing.assert_array_equal(read_table(path, parcels).bold, bold.astype(np.float32))


@pytest.mark.parametrize("delimiter", [" ", "\t", ","])
def test_names_in_a_comment_line_put_columns_in_order(tmp_path, parcels, bold, delimiter):
    path = tmp_path / "a.txt"
    np.savetxt(path, bold[:, ::-1], delimiter=delimiter, header=delimiter.join(NAMES[::-1]))
    np.testing.assert_array_equal(read_table(path, parcels).bold, bold.astype(np.float32))


def test_names_with_commas_are_read_from_a_csv(tmp_path, bold):
    names = [f"Area {i}, lateral" for i in range(NUM_PARCELS)]
    parcels = Parcels(pd.DataFrame({"label": range(NUM_PARCELS), "name": names}))
    path = write_text(tmp_path / "a.csv", bold[:, ::-1], header=names[::-1], sep=",")
    np.testing.assert_array_equal(read_table(path, parcels).bold, bold.astype(np.float32))


def test_header_of_another_length_is_an_error(tmp_path, parcels, bold):
    path = tmp_path / "a.txt"  # as R writes row names
    rows = "\n".join(f'"{i}" ' + " ".join(map(str, row)) for i, row in enumerate(bold))
    path.write_text(" ".join(NAMES) + "\n" + rows)
    with pytest.raises(DataError, match="header does not fit"):
        read_table(path, parcels)


# Orientation ----------------------------------------------------------------------------------------------------------


def test_parcels_in_rows_are_transposed(tmp_path, parcels, bold):
    signal = read_table(write_text(tmp_path / "a.tsv", bold.T), parcels)
    np.testing.assert_array_equal(signal.bold, bold.astype(np.float32))
    assert signal.transposed


def test_square_tables_are_ambiguous_until_told(tmp_path, parcels, rng):
    square = rng.normal(size=(NUM_PARCELS, NUM_PARCELS))
    path = write_text(tmp_path / "a.tsv", square)
    with pytest.raises(DataError, match="which is time is unknown") as caught:
        read_table(path, parcels)
    assert "--orientation time-first" in str(caught.value)
    first = read_table(path, parcels, orientation="time-first").bold
    np.testing.assert_array_equal(first.T, read_table(path, parcels, orientation="parcels-first").bold)


@pytest.mark.parametrize("orientation", ["auto", "time-first", "parcels-first"])
@pytest.mark.parametrize(("shape", "found"), [((12,), "12 values"), ((2, 12, 12), "2 x 12 x 12 values")])
def test_what_is_no_table_has_no_orientation(shape, found, orientation):
    with pytest.raises(DataError, match=r"a\.tsv does not fit the parcels table of 12") as caught:
        parcels_come_first(shape, 12, orientation, what="a.tsv", remedy="give another")
    assert (caught.value.found, caught.value.remedy) == (found, "give another")


def test_wrong_number_of_columns_names_both_numbers_and_the_path(tmp_path, parcels, bold):
    path = write_text(tmp_path / "a.tsv", bold[:, :-2])
    with pytest.raises(DataError, match="does not fit the parcels table") as caught:
        read_table(path, parcels)
    assert caught.value.expected == "12 columns (or rows), one a parcel"
    assert caught.value.found == "30 rows x 10 columns"
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_one_column_too_many_points_to_drop_columns(tmp_path, parcels, bold):
    path = write_text(tmp_path / "a.tsv", np.column_stack([np.arange(NUM_TIMEPOINTS), bold]))
    with pytest.raises(DataError, match="--drop-columns 1"):
        read_table(path, parcels)


def test_the_wrong_orientation_is_an_error_that_says_so(tmp_path, parcels, bold):
    path = write_text(tmp_path / "a.tsv", bold)
    with pytest.raises(DataError, match="the other axis fits"):
        read_table(path, parcels, orientation="parcels-first")


def test_columns_are_left_out_by_name_or_number(tmp_path, parcels, bold, rng):
    extra = np.column_stack([rng.normal(size=NUM_TIMEPOINTS), bold, rng.normal(size=NUM_TIMEPOINTS)])
    named = write_text(tmp_path / "a.tsv", extra, header=["GlobSig", *NAMES, "CSF"])
    plain = write_text(tmp_path / "b.tsv", extra)
    for path, columns in ((named, ("GlobSig", "CSF")), (plain, ("1", "14")), (named, ("1", "CSF"))):
        np.testing.assert_array_equal(
            read_table(path, parcels, drop_columns=columns).bold, bold.astype(np.float32), err_msg=str(columns)
        )
    with pytest.raises(DataError, match="no column 'WM'"):
        read_table(named, parcels, drop_columns=("WM",))
    with pytest.raises(DataError, match="no column '15'"):
        read_table(plain, parcels, drop_columns=("15",))


def test_numbers_to_leave_out_are_positions_even_where_columns_are_called_by_numbers(tmp_path, parcels, bold):
    path = tmp_path / "a.csv"
    pd.DataFrame(bold).to_csv(path)  # an index without name, then columns 0, 1, 2, ...
    np.testing.assert_array_equal(read_table(path, parcels, drop_columns=("1",)).bold, bold.astype(np.float32))


def test_column_of_parcel_names_can_be_left_out_of_a_table_with_parcels_in_rows(tmp_path, parcels, bold):
    path = tmp_path / "a.csv"
    pd.DataFrame(bold.T, index=NAMES).to_csv(path, header=False)
    signal = read_table(path, parcels, drop_columns=("1",))
    np.testing.assert_array_equal(signal.bold, bold.astype(np.float32))


# Signal ---------------------------------------------------------------------------------------------------------------


def test_constant_and_missing_parcels_become_nan_and_are_counted(tmp_path, parcels, bold):
    bold[:, 3] = 7.0
    text = pd.DataFrame(bold).astype(object)
    text[5], text[6], text[7] = "n/a", "NaN", ""
    path = tmp_path / "a.tsv"
    text.to_csv(path, sep="\t", header=False, index=False)
    signal = read_table(path, parcels)
    assert np.flatnonzero(np.isnan(signal.bold).all(axis=0)).tolist() == [3, 5, 6, 7]
    assert np.isnan(signal.bold).sum() == 4 * NUM_TIMEPOINTS
    assert signal.num_without_signal == 4


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "1e60"])
def test_nan_or_infinity_inside_a_parcel_is_an_error_that_says_where(tmp_path, parcels, bold, bad):
    text = pd.DataFrame(bold).astype(object)
    text.iloc[8, 4] = bad
    path = tmp_path / "a.tsv"
    text.to_csv(path, sep="\t", header=False, index=False)
    with pytest.raises(DataError, match="NaN or infinity inside a parcel") as caught:
        read_table(path, parcels)
    assert "time point 9 of parcel 5" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_file_without_any_signal_is_an_error(tmp_path, parcels, value):
    np.save(tmp_path / "a.npy", np.full((NUM_TIMEPOINTS, NUM_PARCELS), value))
    with pytest.raises(DataError, match="no parcel has any signal"):
        read_table(tmp_path / "a.npy", parcels)


def test_single_time_point_is_no_recording(tmp_path, parcels, bold):
    with pytest.raises(DataError, match="no time course"):
        read_table(write_text(tmp_path / "a.tsv", bold[:1]), parcels)


def test_signal_agrees_with_a_loop_over_parcels(rng):
    values = rng.normal(size=(20, 6))
    values[:, 1], values[:, 4] = np.nan, 3.0
    expected = [np.full(20, np.nan) if not np.ptp(column) > 0 else column.astype(np.float32) for column in values.T]
    np.testing.assert_array_equal(signal_from_values(values, source="x").bold, np.array(expected).T)


# Files that are not what they should be -------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n"])
def test_empty_file_is_an_error(tmp_path, parcels, content):
    path = tmp_path / "a.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match="is empty") as caught:
        read_table(path, parcels)
    assert str(path) in str(caught.value)


def test_header_without_data_is_an_error(tmp_path, parcels):
    path = tmp_path / "a.tsv"
    path.write_text("\t".join(NAMES))
    with pytest.raises(DataError, match="nothing below"):
        read_table(path, parcels)


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
@pytest.mark.parametrize("seed", range(3))
def test_binary_junk_and_cut_files_are_errors_in_every_format(tmp_path, parcels, suffix, seed):
    junk = np.random.default_rng(seed).bytes(4000)
    path = tmp_path / f"a{suffix}"
    for content in (junk, b"", junk[:5]):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_table(path, parcels)
        assert str(path) in str(caught.value)
        assert caught.value.remedy


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
def test_array_files_cut_short_are_errors(tmp_path, parcels, bold, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, bold)
    elif suffix == ".npz":
        np.savez_compressed(path, bold=bold)
    else:
        scipy.io.savemat(path, {"bold": bold}, do_compression=True)
    whole = path.read_bytes()
    for size in range(0, len(whole), max(len(whole) // 17, 1)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            read_table(path, parcels)


def test_lines_of_different_length_are_an_error_with_the_line_number(tmp_path, parcels, bold):
    path = write_text(tmp_path / "a.tsv", bold)
    path.write_text("# comment\n" + path.read_text()[:-20])
    with pytest.raises(DataError, match="not equally long") as caught:
        read_table(path, parcels)
    assert f"in line {NUM_TIMEPOINTS + 1}" in str(caught.value)


def test_text_among_the_numbers_is_an_error_with_line_and_column(tmp_path, parcels, bold):
    text = pd.DataFrame(bold).astype(object)
    text.iloc[4, 2] = "1.2.3"
    path = tmp_path / "a.csv"
    text.to_csv(path, header=NAMES, index=False)
    with pytest.raises(DataError, match="not a number") as caught:
        read_table(path, parcels)
    assert caught.value.found == "'1.2.3' in line 6, column 3 (area-C)"


def test_decimal_commas_are_an_error(tmp_path, parcels, bold):
    path = tmp_path / "a.csv"
    pd.DataFrame(bold).to_csv(path, sep=";", decimal=",", header=False, index=False)
    with pytest.raises(DataError, match="with a point for decimals"):
        read_table(path, parcels)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_an_error(tmp_path, parcels, bold, encoding):
    path = tmp_path / "a.tsv"
    path.write_text("\t".join(["é", *NAMES[1:]]) + "\n" + "\t".join(map(str, bold[0])), encoding=encoding)
    with pytest.raises(DataError, match="UTF-8"):
        read_table(path, parcels)


def test_matlab_7_3_says_how_to_save(tmp_path, parcels):
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(500))
    with pytest.raises(DataError, match="-v7'"):
        read_table(path, parcels)


def test_of_several_arrays_the_one_that_fits_is_read(tmp_path, parcels, bold):
    scipy.io.savemat(tmp_path / "a.mat", {"bold": bold, "motion": np.zeros((NUM_TIMEPOINTS, 6))})
    np.testing.assert_array_equal(read_table(tmp_path / "a.mat", parcels).bold, bold.astype(np.float32))
    np.savez(tmp_path / "b.npz", raw=bold, clean=bold)
    with pytest.raises(DataError, match="does not hold one table") as caught:
        read_table(tmp_path / "b.npz", parcels)
    assert "raw: float64 (30, 12), clean: float64 (30, 12)" in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4)), "does not hold one table"),
        (np.array([["a", "b"]]), "does not hold one table"),
        (np.array([{"a": 1}], dtype=object), "damaged, or not what its name says"),
        (np.ones((NUM_TIMEPOINTS, NUM_PARCELS), dtype=complex), "complex"),
        (np.ones((NUM_TIMEPOINTS, NUM_PARCELS), dtype=bool), "does not hold one table"),
    ],
    ids=["3-D", "text", "pickle", "complex", "bool"],
)
def test_arrays_that_are_no_table_of_numbers_are_errors(tmp_path, parcels, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.npy", parcels)


def test_unknown_ending_and_missing_file_are_errors(tmp_path, parcels):
    with pytest.raises(DataError, match="not a kind of table"):
        read_table(tmp_path / "a.xlsx", parcels)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "a.tsv", parcels)
