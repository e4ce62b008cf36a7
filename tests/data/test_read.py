"""One table file: every format gives the same signal, and every way to be wrong gives a message that helps."""

import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from brainlm.data.parcels import Parcels
from brainlm.data.read import TABLE_SUFFIXES, MisfitError, parcels_come_first, read_table, signal_from_values
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
    assert "--ignore_header" in str(caught.value)
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
    path = write_text(tmp_path / "a.tsv", bold[:, :-2])
    path.write_text("\t".join(NAMES) + "\n" + path.read_text())
    with pytest.raises(DataError, match="header does not fit"):
        read_table(path, parcels)


# What names or counts rows and columns, and is no signal --------------------------------------------------------------


def as_pandas_writes(**options):
    return lambda bold, path: pd.DataFrame(bold).to_csv(path, **options)


def with_columns(columns, **options):
    return lambda bold, path: pd.DataFrame(bold, columns=columns(bold)).to_csv(path, **options)


def parcels_in_rows(names=None, columns=None, **options):
    return lambda bold, path: pd.DataFrame(bold.T, index=names, columns=columns and columns(bold)).to_csv(
        path, **options
    )


def with_first_column(name, values):
    def write(bold, path):
        frame = pd.DataFrame(bold, columns=NAMES)
        frame.insert(0, name, [values(row) for row in range(len(bold))])
        frame.to_csv(path, index=False)

    return write


def as_numpy_writes(**options):
    return lambda bold, path: np.savetxt(path, bold, **options)


def as_r_writes(bold, path):
    """``write.table(bold, path)`` of a data frame: a header one cell shorter than the lines below."""
    header = " ".join(f'"V{number}"' for number in range(1, NUM_PARCELS + 1))
    rows = [f'"{number}" ' + " ".join(map(str, row)) for number, row in enumerate(bold, start=1)]
    path.write_text("\n".join([header, *rows]))


def as_r_writes_names(bold, path):
    header = " ".join(f'"Area {letter}, left"' for letter in "ABCDEFGHIJKL")
    path.write_text("\n".join([header, *(f'"{number}" ' + " ".join(map(str, row)) for number, row in enumerate(bold))]))


def as_afni_writes(bold, path):
    """``3dROIstats``: two columns of words, then a mean for each label; each line ends with a tab."""
    header = "\t".join(["File", "Sub-brick", *(f"Mean_{label} " for label in range(101, 113))])
    rows = ["\t".join(["run+tlrc", f"{number}[?]", *map(str, row)]) for number, row in enumerate(bold)]
    path.write_text("\n".join([header, *(row + "\t" for row in rows)]))


def as_fsl_writes(bold, path):
    """``fslmeants --label``: two spaces after each value."""
    path.write_text("\n".join("".join(f"{value}  " for value in row) for row in bold) + "\n")


def as_1d_file(bold, path):
    lines = ["# 3dcopy of something", "\t".join(f"#{number}" for number in range(1, NUM_PARCELS + 1))]
    path.write_text("\n".join([*lines, *("\t".join(map(str, row)) for row in bold)]))


def as_excel_writes(bold, path):
    text = pd.DataFrame(bold, columns=NAMES).to_csv(sep=";", decimal=",", index=False)
    path.write_text("sep=;\n" + text, encoding="utf-8-sig")


def as_matlab_writes(bold, path):
    """``writetable`` of an array: Var1, Var2, ..."""
    pd.DataFrame(bold, columns=[f"Var{number}" for number in range(1, NUM_PARCELS + 1)]).to_csv(path, index=False)


OTHERS_TABLES = {
    "pandas": as_pandas_writes(),
    "pandas without header": as_pandas_writes(header=False),
    "pandas without index": as_pandas_writes(index=False),
    "columns 0.0, 1.0, ...": with_columns(lambda bold: [float(i) for i in range(bold.shape[1])], index=False),
    "columns 0.0, 1.0, ... and an index": with_columns(lambda bold: [float(i) for i in range(bold.shape[1])]),
    "columns of labels as fractions": with_columns(lambda _: [float(i) for i in range(101, 113)], index=False),
    "columns V1, V2, ...": with_columns(lambda _: [f"V{i}" for i in range(1, 13)], index=False),
    "parcels in rows": parcels_in_rows(),
    "parcels in rows, their names": parcels_in_rows(names=NAMES),
    "parcels in rows, their names, no header": parcels_in_rows(names=NAMES, header=False),
    "parcels in rows, their labels": parcels_in_rows(names=range(101, 113)),
    "parcels in rows, no header": parcels_in_rows(header=False),
    "parcels in rows, times above": parcels_in_rows(names=NAMES, columns=lambda bold: np.arange(len(bold)) * 0.72),
    "parcels in rows, times above, no index": parcels_in_rows(columns=lambda b: np.arange(len(b)) * 2.0, index=False),
    "parcels in rows, title": parcels_in_rows(names=NAMES, index_label="Node"),
    "time": with_first_column("time", lambda row: row * 2.0),
    "time of a TR of 0.735, rounded": with_first_column("seconds", lambda row: round(row * 0.735, 2)),
    "frames after censoring": with_first_column("frame", lambda row: row + row // 5),
    "volumes without a title": with_first_column("Unnamed: 0", lambda row: row),
    "numpy.savetxt": as_numpy_writes(),
    "numpy.savetxt with names": as_numpy_writes(header=" ".join(NAMES)),
    "R": as_r_writes,
    "AFNI 3dROIstats": as_afni_writes,
    "FSL fslmeants": as_fsl_writes,
    "ABIDE 1D": as_1d_file,
    "Excel": as_excel_writes,
    "MATLAB writetable": as_matlab_writes,
}


@pytest.mark.parametrize("kind", OTHERS_TABLES)
def test_tables_as_other_programs_write_them_are_read_and_nothing_in_them_becomes_a_time_point(
    tmp_path, parcels, bold, kind
):
    path = tmp_path / "sub-01.csv"
    OTHERS_TABLES[kind](bold, path)
    signal = read_table(path, parcels)
    np.testing.assert_allclose(signal.bold, bold, rtol=1e-6)
    assert not signal.reordered


def test_what_was_recognised_as_no_signal_is_said(tmp_path, parcels, bold):
    parcels_in_rows()(bold, tmp_path / "a.csv")
    remarks = read_table(tmp_path / "a.csv", parcels).remarks
    assert [("first line" in remark, "column 1" in remark) for remark in remarks] == [(True, False), (False, True)]
    assert all("0, 1, 2" in remark for remark in remarks)


def test_names_with_spaces_and_commas_are_read_between_spaces(tmp_path, bold):
    as_r_writes_names(bold, tmp_path / "a.txt")
    names = [f"Area {letter}, left" for letter in "ABCDEFGHIJKL"]
    parcels = Parcels(pd.DataFrame({"label": range(1, 13), "name": names}))
    np.testing.assert_allclose(read_table(tmp_path / "a.txt", parcels).bold, bold, rtol=1e-6)


@pytest.mark.parametrize("names", [NAMES, list(range(101, 113)), [float(label) for label in range(101, 113)]])
@pytest.mark.parametrize("dropped", [(), ("1",)])
def test_rows_in_another_order_are_put_right_by_their_names_or_labels(tmp_path, parcels, bold, rng, names, dropped):
    order = rng.permutation(NUM_PARCELS)
    path = tmp_path / "a.csv"
    pd.DataFrame(bold.T[order], index=[names[i] for i in order]).to_csv(path)
    signal = read_table(path, parcels, drop_columns=dropped)
    np.testing.assert_allclose(signal.bold, bold, rtol=1e-6)
    assert (signal.transposed, signal.reordered) == (True, True)


@pytest.mark.parametrize("dropped", [(), ("1",)])
@pytest.mark.parametrize("names", [[f"ROI{i}" for i in range(12)], list(range(2001, 2013)), [*range(6, 12), *range(6)]])
def test_rows_with_other_names_are_an_error_unless_ignored(tmp_path, parcels, bold, names, dropped):
    path = tmp_path / "a.csv"
    pd.DataFrame(bold.T, index=names).to_csv(path)
    with pytest.raises(MisfitError, match="names of the rows are not") as caught:
        read_table(path, parcels, drop_columns=dropped)
    assert f"row 1 is '{names[0]}'" in caught.value.found
    signal = read_table(path, parcels, drop_columns=dropped, ignore_header=True)
    np.testing.assert_allclose(signal.bold, bold, rtol=1e-6)


def test_names_tell_which_axis_is_time_where_both_fit(tmp_path, parcels, rng):
    square = rng.normal(size=(NUM_PARCELS, NUM_PARCELS))
    pd.DataFrame(square, columns=NAMES).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(square.T, index=NAMES).to_csv(tmp_path / "b.csv")
    for name in ("a.csv", "b.csv"):
        np.testing.assert_allclose(read_table(tmp_path / name, parcels).bold, square, rtol=1e-5)


@pytest.mark.parametrize("index", [False, True])
def test_matrices_over_pairs_of_parcels_are_no_time_series(tmp_path, parcels, bold, index):
    matrix = pd.DataFrame(bold, columns=NAMES).corr()
    matrix.to_csv(tmp_path / "a.csv", index=index)
    with pytest.raises(MisfitError, match="pairs of parcels"):
        read_table(tmp_path / "a.csv", parcels, orientation="time-first")


@pytest.mark.parametrize("words", [[0, 1, 2, 3], [1, 2, 3, 4], [7.1, 7.2, 7.3, 7.4]])
def test_few_numbers_that_count_up_over_whole_numbers_are_an_error_until_told(tmp_path, rng, words):
    parcels = Parcels(pd.DataFrame({"label": [5, 6, 7, 8], "name": list("abcd")}))
    values = rng.integers(100, 999, size=(9, 4))
    path = tmp_path / "a.tsv"
    pd.DataFrame([words, *values.tolist()]).astype(object).to_csv(path, sep="\t", header=False, index=False)
    if words[0] == 7.1:  # not a count
        assert read_table(path, parcels).bold.shape == (10, 4)
        return
    with pytest.raises(DataError, match="first line may hold names") as caught:
        read_table(path, parcels)
    assert "0, 1, 2, 3" in caught.value.found or "1, 2, 3, 4" in caught.value.found
    assert "--header first-line" in caught.value.remedy
    np.testing.assert_array_equal(read_table(path, parcels, header="first-line").bold, values)
    assert read_table(path, parcels, header="none").bold.shape == (10, 4)


def test_a_first_column_that_may_count_is_an_error_until_told(tmp_path, rng):
    parcels = Parcels(pd.DataFrame({"label": [5, 6, 7, 8], "name": list("abcd")}))
    values = rng.integers(100, 999, size=(4, 9))
    path = tmp_path / "a.tsv"
    pd.DataFrame(values).to_csv(path, sep="\t", header=False)
    with pytest.raises(DataError, match="first column may count") as caught:
        read_table(path, parcels)
    assert "--index first-column" in caught.value.remedy
    np.testing.assert_array_equal(read_table(path, parcels, index="first-column").bold, values.T)
    assert read_table(path, parcels, index="none").bold.shape == (10, 4)


@pytest.mark.parametrize("ending", ["npy", "mat"])
def test_a_count_in_an_array_is_no_signal(tmp_path, parcels, bold, ending):
    path = tmp_path / f"a.{ending}"
    table = np.vstack([np.arange(NUM_PARCELS + 1), np.column_stack([np.arange(NUM_TIMEPOINTS) * 2.0, bold])])
    for array in (table[1:], table[:, 1:], table):
        np.save(path, array) if ending == "npy" else scipy.io.savemat(path, {"signals": array})
        signal = read_table(path, parcels)
        np.testing.assert_array_equal(signal.bold, bold.astype(np.float32))
        assert signal.remarks


def test_a_signed_first_line_among_whole_numbers_is_data(tmp_path, parcels, rng):
    values = rng.permutation(np.arange(-200, 160)).reshape(30, 12)
    values[0] = np.abs(values[0])
    path = write_text(tmp_path / "a.tsv", values)
    assert read_table(path, parcels).bold.shape == (30, 12)


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
    path = write_text(tmp_path / "a.tsv", np.column_stack([bold.mean(axis=1), bold]))
    with pytest.raises(DataError, match="--drop_columns 1"):
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


@pytest.mark.parametrize(("sep", "ending"), [(";", "csv"), ("\t", "tsv"), (" ", "txt"), (",", "csv")])
@pytest.mark.parametrize("named", [False, True])
def test_decimal_commas_are_read_and_said(tmp_path, parcels, bold, sep, ending, named):
    path = tmp_path / f"a.{ending}"
    header = NAMES if named else False
    pd.DataFrame(bold - 1000).to_csv(path, sep=sep, decimal=",", header=header, index=False)
    signal = read_table(path, parcels)
    np.testing.assert_allclose(signal.bold, bold - 1000, rtol=1e-5)
    assert any("decimal commas" in remark for remark in signal.remarks)


def test_commas_that_may_separate_thousands_are_an_error(tmp_path, parcels):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(";".join(f"{n},{100 + n + row}" for n in range(1, 13)) for row in range(30)))
    with pytest.raises(DataError, match="decimals or thousands"):
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
        (np.array([{"a": 1}], dtype=object), "does not hold one table"),
        (np.ones((NUM_TIMEPOINTS, NUM_PARCELS), dtype=complex), "complex"),
        (np.ones((NUM_TIMEPOINTS, NUM_PARCELS), dtype=bool), "does not hold one table"),
    ],
    ids=["3-D", "text", "pickle", "complex", "bool"],
)
def test_arrays_that_are_no_table_of_numbers_are_errors(tmp_path, parcels, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.npy", parcels)


def claim_in_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (10**9, NUM_PARCELS)}
        )


def claim_in_npz(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("bold.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (1_000_000, NUM_PARCELS)}
        )
        for _ in range(96):
            file.write(bytes(10**6))


def claim_in_mat(path: Path) -> None:
    """A variable that says it is small and unpacks to 300 MB."""
    scipy.io.savemat(path, {"bold": np.zeros((30, NUM_PARCELS))})
    plain = path.read_bytes()
    packer = zlib.compressobj(1)
    packed = packer.compress(plain[128:]) + b"".join(packer.compress(bytes(10**6)) for _ in range(300)) + packer.flush()
    path.write_bytes(plain[:128] + struct.pack("<II", 15, len(packed)) + packed)


def claim_in_text(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**10)  # takes no place on the disk


@pytest.mark.parametrize("ending", ["npy", "npz", "mat", "tsv"])
def test_small_files_that_claim_much_are_refused_before_memory_is_taken(tmp_path, parcels, ending):
    path = tmp_path / f"a.{ending}"
    {"npy": claim_in_npy, "npz": claim_in_npz, "mat": claim_in_mat, "tsv": claim_in_text}[ending](path)
    tracemalloc.start()
    with pytest.raises(DataError, match="too large for one recording"):
        read_table(path, parcels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6  # SciPy unpacks 128 kB at a time, at most a thousandfold


def test_other_arrays_in_an_archive_are_not_read(tmp_path, parcels, bold):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, bold=bold, names=np.array(NAMES, dtype=object), voxels=np.zeros((300, 300, 300)))
    tracemalloc.start()
    np.testing.assert_array_equal(read_table(path, parcels).bold, bold.astype(np.float32))
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_a_file_of_the_conn_toolbox_says_what_to_save(tmp_path, parcels, bold):
    cells = np.empty((1, NUM_PARCELS), dtype=object)
    for number in range(NUM_PARCELS):
        cells[0, number] = bold[:, [number]]
    names = np.array(NAMES, dtype=object)[np.newaxis]
    scipy.io.savemat(tmp_path / "a.mat", {"data": cells, "names": names, "xyz": cells})
    with pytest.raises(DataError, match="does not hold one table") as caught:
        read_table(tmp_path / "a.mat", parcels)
    assert "cell2mat" in caught.value.remedy


@pytest.mark.parametrize("parcels_first", [False, True])
def test_infinity_is_named_with_its_line_and_column(tmp_path, parcels, bold, parcels_first):
    bold[7, 4] = np.inf
    path = tmp_path / "a.csv"
    pd.DataFrame(bold.T if parcels_first else bold, index=NAMES if parcels_first else None).to_csv(path)
    with pytest.raises(DataError, match="NaN or infinity") as caught:
        read_table(path, parcels)
    assert ("(line 6, column 9 (7))" if parcels_first else "(line 9, column 6 (4))") in caught.value.found


def test_unknown_ending_and_missing_file_are_errors(tmp_path, parcels):
    with pytest.raises(DataError, match="not a kind of table"):
        read_table(tmp_path / "a.xlsx", parcels)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "a.tsv", parcels)
