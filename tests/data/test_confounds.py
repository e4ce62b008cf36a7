"""Confounds: the presets against nilearn, motion files, framewise displacement, volumes to censor, bad tables."""

import gzip
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from derivatives import fmriprep_confounds, made_up_motion, write_fsl_motion, write_hcp_motion, write_json, write_tsv
from nilearn.interfaces.fmriprep import load_confounds, load_confounds_strategy

from brainlm.data.cleaning import Cleaning
from brainlm.data.confounds import Confounds, read_confounds
from brainlm.data.motion import expanded, framewise_displacement, read_motion
from brainlm.data.scan import Scan
from brainlm.errors import DataError

T = 80
NAME = "sub-01_task-rest"
PREPROC = f"{NAME}_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
AROMA = f"{NAME}_space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz"
TABLE = f"{NAME}_desc-confounds_timeseries.tsv"
PRESETS = ("motion6", "motion24", "compcor", "ica-aroma")


@pytest.fixture
def motion():
    return made_up_motion(T, jumps=(20, 41))


@pytest.fixture
def fmriprep(tmp_path, motion) -> Scan:
    """A scan with fMRIPrep's confounds beside it, one volume before the steady state."""
    table, metadata = fmriprep_confounds(motion, tr=2.0)
    write_tsv(table, tmp_path / TABLE)
    write_json(metadata, (tmp_path / TABLE).with_suffix(".json"))
    return Scan(str(tmp_path / PREPROC), PREPROC, "nifti", "sub-01", confounds=str(tmp_path / TABLE))


def changed(scan: Scan, change) -> None:
    """Write the scan's table again after ``change``."""
    table = pd.read_csv(scan.confounds, sep="\t")
    write_tsv(change(table), Path(scan.confounds))


def read(scan: Scan, preset="none", *, num=T, **settings) -> Confounds:
    return read_confounds(scan, Cleaning(confounds=preset, **settings), num)


# fMRIPrep -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "strategy", "options"),
    [
        ("motion6", ("motion",), {"motion": "basic"}),
        ("motion24", ("motion",), {"motion": "full"}),
    ],
)
def test_motion_presets_are_nilearns(fmriprep, preset, strategy, options):
    theirs, mask = load_confounds(fmriprep.path, strategy, demean=False, **options)
    ours = read(fmriprep, preset)
    np.testing.assert_array_equal(ours.regressors, theirs.to_numpy())
    np.testing.assert_array_equal(np.flatnonzero(ours.kept_T), mask)
    assert ours.regressors.shape == (T, int(preset.removeprefix("motion")))


def test_compcor_is_nilearns_strategy_of_this_name(fmriprep):
    theirs, mask = load_confounds_strategy(fmriprep.path, "compcor", demean=False)
    ours = read(fmriprep, "compcor")
    np.testing.assert_array_equal(ours.regressors, theirs.to_numpy())
    np.testing.assert_array_equal(np.flatnonzero(ours.kept_T), mask)
    assert ours.regressors.shape[1] == 24 + 6 + 2  # motion, components, cosines


def test_ica_aroma_is_nilearns_strategy_of_this_name_and_needs_its_image(fmriprep, tmp_path):
    scan = replace(fmriprep, path=str(tmp_path / AROMA))
    theirs, _ = load_confounds_strategy(scan.path, "ica_aroma", demean=False)
    np.testing.assert_array_equal(read(scan, "ica-aroma").regressors, theirs.to_numpy())
    with pytest.raises(DataError, match="has not been cleaned by ICA-AROMA") as caught:
        read(fmriprep, "ica-aroma")
    assert caught.value.found == PREPROC


def test_ica_aroma_without_mean_signals_and_cosines_is_an_error(fmriprep, tmp_path):
    changed(fmriprep, lambda table: table[[name for name in table if "csf" not in name and "white" not in name]])
    with pytest.raises(DataError, match="does not have the confounds ica-aroma"):
        read(replace(fmriprep, path=str(tmp_path / AROMA)), "ica-aroma")


def test_scrubbing_by_displacement_is_nilearns(fmriprep, motion):
    _, mask = load_confounds(
        fmriprep.path, ("motion", "scrub"), scrub=0, fd_threshold=0.5, std_dvars_threshold=np.inf, demean=False
    )
    confounds = read(fmriprep, "motion6", max_scrub_fd_mm=0.5)
    np.testing.assert_array_equal(np.flatnonzero(confounds.kept_T), mask)
    assert np.flatnonzero(~confounds.kept_T).tolist() == [0, *motion.jumps]


def test_displacement_is_read_even_when_nothing_is_cleaned(fmriprep, motion):
    confounds = read(fmriprep)
    np.testing.assert_allclose(confounds.fd_T, motion.fd_mm)
    assert confounds.regressors is None
    assert confounds.kept_T.all()
    assert confounds.mean_fd_mm == pytest.approx(motion.fd_mm[1:].mean())
    assert confounds.max_fd_mm == pytest.approx(motion.fd_mm[1:].max())


def test_displacement_comes_from_the_parameters_where_its_column_is_missing(fmriprep, motion):
    changed(fmriprep, lambda table: table.drop(columns="framewise_displacement"))
    np.testing.assert_allclose(read(fmriprep).fd_T, motion.fd_mm)
    changed(fmriprep, lambda table: table[["csf"]])
    confounds = read(fmriprep)
    assert (confounds.fd_T, confounds.mean_fd_mm, confounds.max_fd_mm) == (None, None, None)
    with pytest.raises(DataError, match="does not say how much the head moved"):
        read(fmriprep, max_scrub_fd_mm=0.5)


@pytest.mark.parametrize("settings", [{"detrend": True}, {"low_hz": 0.01}, {"tr_s": 3.0}, {"confounds": "motion6"}])
def test_volumes_before_the_steady_state_are_censored_when_anything_is_cleaned(fmriprep, settings):
    kept = read_confounds(fmriprep, Cleaning(**settings), T).kept_T
    assert np.flatnonzero(~kept).tolist() == [0]


def test_neighbours_whose_names_begin_alike_are_not_mixed_up(fmriprep, tmp_path):
    """nilearn alone finds both tables for the second run, and stops."""
    table, metadata = fmriprep_confounds(made_up_motion(T, seed=9), tr=2.0)
    second = tmp_path / TABLE.replace("rest_", "rest_run-2_")
    write_tsv(table, second)
    write_json(metadata, second.with_suffix(".json"))
    scan = replace(fmriprep, path=fmriprep.path.replace("rest_", "rest_run-2_"), confounds=str(second))
    Path(scan.path).touch()
    with pytest.raises(ValueError, match="more than one confound file"):
        load_confounds(scan.path, ("motion",))
    for preset in ("motion24", "compcor"):
        first, other = read(fmriprep, preset).regressors, read(scan, preset).regressors
        assert not np.allclose(first, other)
    np.testing.assert_allclose(read(scan, "motion6").regressors[:, 3:], table.filter(regex="^trans_.$"))


def test_old_names_images_in_other_folders_and_byte_order_marks_are_fine(fmriprep, tmp_path):
    expected = read(fmriprep, "compcor").regressors
    folder = tmp_path / "déjà vu"
    folder.mkdir()
    old = folder / f"{NAME}_desc-confounds_regressors.tsv"
    old.write_bytes(b"\xef\xbb\xbf" + Path(fmriprep.confounds).read_bytes())
    old.with_suffix(".json").write_bytes(Path(fmriprep.confounds).with_suffix(".json").read_bytes())
    cifti = "elsewhere/sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii"
    scan = replace(fmriprep, path=cifti, kind="cifti", confounds=str(old))
    np.testing.assert_array_equal(read(scan, "compcor").regressors, expected)
    before = sorted(folder.iterdir())
    assert [path.name for path in before] == [old.with_suffix(".json").name, old.name]


@pytest.mark.parametrize(
    ("preset", "gone", "told"),
    [
        ("motion6", "trans_y", "trans_y"),
        ("motion6", "trans|rot", "motion"),
        ("motion24", "rot_z_derivative1_power2", "rot_z_derivative1_power2"),
        ("compcor", "a_comp_cor_03", "a_comp_cor_03"),
        ("compcor", "a_comp_cor", "compcor"),
    ],
)
def test_a_preset_that_the_table_cannot_give_is_an_error(fmriprep, preset, gone, told):
    changed(fmriprep, lambda table: table.drop(columns=table.filter(regex=f"^({gone})").columns))
    with pytest.raises(DataError, match=f"does not have the confounds {preset}") as caught:
        read(fmriprep, preset)
    assert told in caught.value.found
    assert fmriprep.confounds in str(caught.value)
    assert caught.value.remedy
    read(fmriprep)


def test_compcor_without_its_json_is_an_error(fmriprep):
    sidecar = Path(fmriprep.confounds).with_suffix(".json")
    sidecar.write_text("{ not json", encoding="utf-8")
    with pytest.raises(DataError, match="does not have the confounds compcor"):
        read(fmriprep, "compcor")
    read(replace(fmriprep), "none")
    sidecar.write_text(json.dumps({"a_comp_cor_00": {"Method": "aCompCor"}}), encoding="utf-8")
    with pytest.raises(DataError, match="does not have the confounds compcor"):
        read(fmriprep, "compcor")
    sidecar.unlink()
    with pytest.raises(DataError, match="does not have the confounds compcor") as caught:
        read(fmriprep, "compcor")
    assert "JSON" in caught.value.expected
    read(fmriprep, "motion24")


@pytest.mark.parametrize("num", [T - 1, T + 1, 0])
@pytest.mark.parametrize("preset", ["none", "motion6"])
def test_tables_with_another_number_of_rows_than_the_scan_has_volumes_are_errors(fmriprep, num, preset):
    with pytest.raises(DataError, match="does not fit its scan") as caught:
        read(fmriprep, preset, num=num)
    assert (caught.value.expected, caught.value.found) == (f"{num} rows, one a volume", f"{T} rows")


def test_values_that_are_missing_after_the_first_row_are_errors(fmriprep):
    def hole(column, row, value=np.nan):
        return lambda table: table.assign(**{column: table[column].where(table.index != row, value)})

    read(fmriprep, "motion24")
    changed(fmriprep, hole("rot_x", 7))
    with pytest.raises(DataError, match="missing or infinite") as caught:
        read(fmriprep, "motion6")
    assert caught.value.found == "nan in column rot_x, row 8"
    read(fmriprep)
    changed(fmriprep, hole("framewise_displacement", 11, np.inf))
    with pytest.raises(DataError, match="missing or infinite") as caught:
        read(fmriprep)
    assert caught.value.found == "inf in column framewise_displacement, row 12"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a table"),
        (b"csf\twhite\n1\t2\n1\t2\t3\n", "cannot be read as a table"),
        ("csf\tmüde\n1\t2\n".encode("latin-1"), "cannot be read as a table"),
        (b"csf\ttrans_x\n1\tmany\n2\t3\n", "columns that are no numbers"),
        (gzip.compress(b"csf\n1\n"), "cannot be read as a table"),
    ],
    ids=["empty", "ragged", "latin-1", "words", "gzip"],
)
def test_files_that_are_no_tables_are_errors(fmriprep, content, message):
    Path(fmriprep.confounds).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(fmriprep, num=2)
    assert fmriprep.confounds in str(caught.value)
    assert caught.value.remedy


def test_files_that_are_not_there_are_errors(fmriprep, tmp_path):
    for scan in (
        replace(fmriprep, confounds=str(tmp_path / "no.tsv")),
        replace(fmriprep, confounds="", motion=str(tmp_path / "no.par"), motion_kind="fsl"),
        replace(fmriprep, confounds="", motion=f"{tmp_path}/no.zip!/mc/a.par", motion_kind="fsl"),
    ):
        with pytest.raises(DataError, match="no file at"):
            read(scan)


def test_without_confounds_nothing_is_known_and_nothing_can_be_asked_for(fmriprep):
    scan = replace(fmriprep, confounds="")
    confounds = read(scan, detrend=True)
    assert (confounds.regressors, confounds.fd_T, confounds.kept_T.all()) == (None, None, True)
    for settings in ({"preset": "motion6"}, {"max_scrub_fd_mm": 0.5}):
        with pytest.raises(DataError, match="no confounds were found for this scan") as caught:
            read(scan, **settings)
        assert scan.path in str(caught.value)


# Other programs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def hcp(tmp_path, motion) -> Scan:
    write_hcp_motion(motion, tmp_path)
    path = str(tmp_path / "Movement_Regressors.txt")
    return Scan("rfMRI_REST1_LR_hp2000_clean.nii.gz", "r", "nifti", "sub-1", motion=path, motion_kind="hcp")


@pytest.fixture
def fsl(tmp_path, motion) -> Scan:
    write_fsl_motion(motion, tmp_path)
    path = str(tmp_path / "prefiltered_func_data_mcf.par")
    return Scan("filtered_func_data_clean.nii.gz", "f", "nifti", "sub-1", motion=path, motion_kind="fsl")


@pytest.fixture(params=["hcp", "fsl"])
def elsewhere(request) -> Scan:
    return request.getfixturevalue(request.param)


def test_units_and_order_of_motion_files_are_understood(elsewhere, motion):
    np.testing.assert_allclose(read_motion(elsewhere.motion, elsewhere.motion_kind), motion.parameters, atol=2e-6)
    np.testing.assert_allclose(read(elsewhere).fd_T, motion.fd_mm, atol=1e-3)
    assert read(elsewhere).regressors is None
    np.testing.assert_allclose(read(elsewhere, "motion6").regressors, motion.parameters, atol=2e-6)
    kept = read(elsewhere, max_scrub_fd_mm=0.5).kept_T
    assert np.flatnonzero(~kept).tolist() == list(motion.jumps)


def test_motion24_is_the_same_set_as_fmripreps(fmriprep, motion):
    theirs = read(fmriprep, "motion24").regressors
    ours = expanded(motion.parameters)
    distances = np.abs(ours[:, :, None] - theirs[:, None, :]).max(axis=0)
    assert (distances.min(axis=1) < 1e-12).all()
    assert sorted(distances.argmin(axis=1)) == list(range(24))


def test_displacement_agrees_with_a_loop(motion):
    expected = [np.nan]
    for before, now in zip(motion.parameters[:-1], motion.parameters[1:], strict=True):
        translation = sum(abs(now[axis] - before[axis]) for axis in range(3))
        arc_mm = sum(50 * abs(now[axis] - before[axis]) for axis in range(3, 6))
        expected.append(translation + arc_mm)
    np.testing.assert_allclose(framewise_displacement(motion.parameters), expected)
    np.testing.assert_allclose(framewise_displacement(motion.parameters + 3)[1:], expected[1:])


def test_motion_files_in_archives_are_read_in_place(fsl, tmp_path, motion):
    archive = tmp_path / "1234567_20227_2_0.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.write(fsl.motion, "fMRI/mc/a b.par")
    scan = replace(fsl, motion=f"{archive}!/fMRI/mc/a b.par")
    np.testing.assert_allclose(read(scan).fd_T, motion.fd_mm, atol=1e-4)
    with pytest.raises(DataError, match="no file at"):
        read(replace(scan, motion=f"{archive}!/fMRI/mc/other.par"))


@pytest.mark.parametrize("preset", ["compcor", "ica-aroma"])
def test_motion_files_have_motion_only(elsewhere, preset):
    with pytest.raises(DataError, match=r"does not have the confounds compcor|has not been cleaned by ICA-AROMA"):
        read(elsewhere, preset)


def test_motion_files_of_another_length_are_errors(elsewhere):
    with pytest.raises(DataError, match="does not fit its scan") as caught:
        read(elsewhere, num=T + 5)
    assert elsewhere.motion in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], "0 x 0 numbers"),
        (["1 2 3"] * T, f"{T} x 3 numbers"),
        (["1 2 3 4 5 6"] * 5 + ["1 2 3 4 5"], "row 6"),
        (["1 2 3 4 5 six"] * T, "six"),
        (["1 2 3 4 5 6"] * 3 + ["1 2 3 4 5 nan"] * 2, "not finite in line 4"),
        (["1 2 3 4 5 6"], "1 x 6 numbers"),
    ],
)
def test_texts_that_are_no_motion_files_are_errors(fsl, lines, found):
    Path(fsl.motion).write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match="is not a file of motion parameters") as caught:
        read(fsl)
    assert found in caught.value.found


@pytest.fixture
def xcpd(tmp_path, motion) -> Scan:
    table = pd.DataFrame({"trans_x": motion.parameters[:, 0], "framewise_displacement": np.nan_to_num(motion.fd_mm)})
    write_tsv(table, tmp_path / f"{NAME}_motion.tsv")
    path = f"{NAME}_space-MNI152NLin6Asym_desc-denoised_bold.nii.gz"
    return Scan(path, path, "nifti", "sub-01", motion=str(tmp_path / f"{NAME}_motion.tsv"), motion_kind="xcpd")


def test_motion_tables_of_denoised_images_give_displacement(xcpd, motion):
    np.testing.assert_allclose(read(xcpd).fd_T, motion.fd_mm)
    assert np.flatnonzero(~read(xcpd, max_scrub_fd_mm=0.5).kept_T).tolist() == list(motion.jumps)


@pytest.mark.parametrize("preset", ["motion6", "motion24", "compcor"])
def test_confounds_are_not_regressed_out_twice(xcpd, fmriprep, preset, tmp_path):
    table = replace(xcpd, path=f"{NAME}_timeseries.tsv", kind="table")
    denoised = replace(fmriprep, path=str(tmp_path / AROMA))
    for scan in (xcpd, table, denoised):
        with pytest.raises(DataError, match="confounds have been regressed out of it already"):
            read(scan, preset)


def test_denoised_images_without_their_censored_volumes_are_errors(xcpd):
    with pytest.raises(DataError, match="does not fit its scan") as caught:
        read(xcpd, num=T - 3)
    assert "time has gaps" in caught.value.found
    assert "interpolated" in caught.value.remedy
    with pytest.raises(DataError, match="does not fit its scan") as caught:
        read(xcpd, num=T + 3)
    assert "gaps" not in caught.value.found


def test_every_preset_of_cleaning_is_known():
    from typing import get_args

    from brainlm.data.cleaning import ConfoundPreset
    from brainlm.data.confounds import STRATEGIES

    assert set(get_args(ConfoundPreset)) == {"none", *STRATEGIES} == {"none", *PRESETS}
