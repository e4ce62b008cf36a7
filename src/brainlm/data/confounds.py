"""What a pipeline says about the confounds of a scan: regressors, volumes to censor, framewise displacement.

fMRIPrep's table is read by nilearn's strategies; motion parameters in text files are read in ``motion.py``. How all of
it is used is in ``clean.py``.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from brainlm.data.cleaning import Cleaning
from brainlm.data.motion import expanded, file_content, framewise_displacement, read_motion
from brainlm.data.scan import Scan
from brainlm.errors import DataError

FD_COLUMN = "framewise_displacement"
NON_STEADY = "non_steady_state"
MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
AROMA_IMAGE = "_desc-smoothAROMAnonaggr_bold"
DENOISED = re.compile(r"_desc-(denoised[A-Za-z]*|smoothAROMAnonaggr)_")  # confounds have been regressed out of these

# nilearn's `load_confounds`: the last two as its `load_confounds_strategy` names them.
STRATEGIES: Mapping[str, Mapping[str, object]] = {
    "motion6": {"strategy": ("motion",), "motion": "basic"},
    "motion24": {"strategy": ("motion",), "motion": "full"},
    "compcor": {
        "strategy": ("high_pass", "motion", "compcor"),
        "motion": "full",
        "compcor": "anat_combined",
        "n_compcor": "all",
    },
    "ica-aroma": {"strategy": ("high_pass", "wm_csf", "ica_aroma"), "wm_csf": "basic", "ica_aroma": "full"},
}


@dataclass(frozen=True, eq=False)
class Confounds:
    """What there is to clean a scan with, one row a volume.

    ``regressors`` are None when none are asked for, and nowhere NaN. ``kept_T`` is False for volumes to be censored.
    ``fd_T`` is the framewise displacement in mm, NaN in the first volume; None where motion is unknown.
    """

    regressors: Float64[np.ndarray, "T K"] | None
    kept_T: Bool[np.ndarray, "T"]
    fd_T: Float64[np.ndarray, "T"] | None

    @property
    def mean_fd_mm(self) -> float | None:
        """The mean framewise displacement, None where motion is unknown."""
        return None if self.fd_T is None else float(np.nanmean(self.fd_T))

    @property
    def max_fd_mm(self) -> float | None:
        """The largest framewise displacement, None where motion is unknown."""
        return None if self.fd_T is None else float(np.nanmax(self.fd_T))


def read_confounds(scan: Scan, cleaning: Cleaning, num_volumes: int) -> Confounds:
    """The confounds of ``scan`` that ``cleaning`` asks for; framewise displacement wherever motion is known.

    Volumes are censored when their framewise displacement is above ``cleaning.max_scrub_fd_mm`` and, if anything is
    cleaned at all, when fMRIPrep says that they came before the steady state.

    Args:
        scan: with the path of fMRIPrep's table, or of a motion file, or of neither.
        cleaning: the preset and the threshold.
        num_volumes: of the image, which the tables must agree with.

    Raises:
        DataError: a file that is missing, damaged or of another length; a preset that it cannot give; or confounds
            asked for where there are none, or where they have been regressed out.
    """
    _check_possible(scan, cleaning)
    if scan.confounds:
        return _from_fmriprep(scan, cleaning, num_volumes)
    if scan.motion:
        return _from_motion(scan, cleaning, num_volumes)
    return Confounds(None, np.ones(num_volumes, dtype=bool), None)


def _check_possible(scan: Scan, cleaning: Cleaning) -> None:
    preset = cleaning.confounds
    name = Path(scan.path).name
    if (preset != "none" or cleaning.max_scrub_fd_mm) and not (scan.confounds or scan.motion):
        raise DataError(
            f"{scan.path}: no confounds were found for this scan",
            expected="fMRIPrep's desc-confounds_timeseries.tsv, or the motion parameters of the HCP or of FSL",
            found="none",
            remedy="put them where the layout has them, or clean without confounds and scrubbing",
        )
    denoised = DENOISED.search(name) or (scan.motion_kind == "xcpd" and not scan.confounds)
    if preset == "ica-aroma":
        if AROMA_IMAGE not in name:
            raise DataError(
                f"{scan.path} has not been cleaned by ICA-AROMA",
                expected=f"the image whose name has {AROMA_IMAGE} (fMRIPrep up to 23.0 with --use-aroma)",
                found=name,
                remedy="choose motion24 or compcor, or select these images",
            )
    elif preset != "none" and denoised:
        raise DataError(
            f"{scan.path}: confounds have been regressed out of it already",
            expected="confounds none",
            found=f"confounds {preset}",
            remedy="clean denoised images without confounds, or start from those that are only preprocessed",
        )


def _from_fmriprep(scan: Scan, cleaning: Cleaning, num_volumes: int) -> Confounds:
    content = file_content(scan.confounds)
    table = _table(content, scan.confounds)
    _check_length(len(table), scan.confounds, num_volumes)
    kept_T = np.ones(num_volumes, dtype=bool)
    if cleaning.changes_anything:
        kept_T = ~table.filter(like=NON_STEADY).astype(bool).any(axis=1).to_numpy()
    fd_T = _displacement(table, scan.confounds)
    regressors = None
    if cleaning.confounds != "none":
        regressors = _nilearn_confounds(content, scan.confounds, cleaning.confounds)
    return Confounds(regressors, _scrubbed(kept_T, fd_T, scan.confounds, cleaning), fd_T)


def _nilearn_confounds(content: bytes, path: str, preset: str) -> Float64[np.ndarray, "T K"] | None:
    """What nilearn's strategy takes from the table; None if nothing, as when ICA-AROMA has done it all."""
    from nilearn.interfaces.fmriprep import load_confounds

    # nilearn finds the table by the image's name, and finds too many where one name is the beginning of another.
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "sub-1_desc-confounds_timeseries.tsv"
        alone.write_text(content.decode("utf-8-sig"), encoding="utf-8")
        sidecar = Path(path).with_suffix(".json")
        if sidecar.is_file():
            alone.with_suffix(".json").write_bytes(file_content(str(sidecar)))
        image = AROMA_IMAGE if preset == "ica-aroma" else "_desc-preproc_bold"
        try:
            chosen, _ = load_confounds(f"{folder}/sub-1{image}.nii.gz", demean=False, **STRATEGIES[preset])
        except (ValueError, KeyError) as error:
            raise DataError(
                f"{path} does not have the confounds {preset}",
                expected=f"what nilearn's load_confounds reads for {' and '.join(_strategy(preset))}"
                + (", and the JSON file beside it" if preset == "compcor" else ""),
                found=" ".join(str(error).replace(folder, "").split()),
                remedy="choose another preset, or none",
            ) from error
    if chosen is None or chosen.empty:
        return None
    _check_finite(chosen, path)
    return chosen.to_numpy(np.float64)


def _strategy(preset: str) -> tuple[str, ...]:
    strategy = STRATEGIES[preset]["strategy"]
    assert isinstance(strategy, tuple)
    return strategy


def _from_motion(scan: Scan, cleaning: Cleaning, num_volumes: int) -> Confounds:
    path = scan.motion
    if cleaning.confounds not in ("none", "motion6", "motion24"):
        raise DataError(
            f"{path} does not have the confounds {cleaning.confounds}",
            expected="fMRIPrep's desc-confounds_timeseries.tsv",
            found="six motion parameters",
            remedy="choose motion6, motion24 or none",
        )
    regressors = None
    if scan.motion_kind == "xcpd":
        table = _table(file_content(path), path)
        _check_length(len(table), path, num_volumes, censored=len(table) > num_volumes)
        fd_T = _displacement(table, path)
    else:
        motion_T6 = read_motion(path, scan.motion_kind)
        _check_length(len(motion_T6), path, num_volumes)
        fd_T = framewise_displacement(motion_T6)
        if cleaning.confounds != "none":
            regressors = motion_T6 if cleaning.confounds == "motion6" else expanded(motion_T6)
    kept_T = np.ones(num_volumes, dtype=bool)
    return Confounds(regressors, _scrubbed(kept_T, fd_T, path, cleaning), fd_T)


def _table(content: bytes, path: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(io.BytesIO(content), sep="\t", encoding="utf-8-sig", na_values=["n/a"])
    except (ValueError, pd.errors.ParserError) as error:  # also what is not UTF-8
        raise DataError(
            f"{path} cannot be read as a table of confounds",
            expected="tab-separated text in UTF-8 with a header",
            found=str(error).splitlines()[0],
            remedy="copy it again from where it is whole",
        ) from error
    wrong = [str(name) for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    if wrong:
        raise DataError(
            f"{path} has columns that are no numbers",
            expected="numbers, and n/a where there are none",
            found=", ".join(wrong[:5]),
            remedy="copy it again from where it is whole",
        )
    return table


def _check_length(num_rows: int, path: str, num_volumes: int, *, censored: bool = False) -> None:
    if num_rows != num_volumes:
        raise DataError(
            f"{path} does not fit its scan",
            expected=f"{num_volumes} rows, one a volume",
            found=f"{num_rows} rows"
            + (": censored volumes are not in the scan, whose time has gaps" if censored else ""),
            remedy="write the scan with interpolated volumes (xcp_d --output-type interpolated)"
            if censored
            else "give the confounds of this very run, with the same volumes",
        )


def _check_finite(table: pd.DataFrame, path: str) -> None:
    wrong = np.argwhere(~np.isfinite(table.to_numpy(np.float64)))
    if wrong.size:
        row, column = (int(number) for number in wrong[0])
        raise DataError(
            f"{path} has values that are missing or infinite after the first row",
            expected="finite numbers (derivatives have none in the first row)",
            found=f"{table.to_numpy()[row, column]} in column {table.columns[column]}, row {row + 1}",
            remedy="run the preprocessing again, or leave this scan out",
        )


def _displacement(table: pd.DataFrame, path: str) -> Float64[np.ndarray, "T"] | None:
    """The framewise displacement in a table, or that of its motion parameters; None if it has neither."""
    if FD_COLUMN in table:
        fd_T = table[FD_COLUMN].to_numpy(np.float64, copy=True)
    elif set(MOTION_COLUMNS) <= set(table.columns):
        fd_T = framewise_displacement(table[list(MOTION_COLUMNS)].to_numpy(np.float64))
    else:
        return None
    fd_T[0] = 0  # nothing is known here: some leave it out, some write 0
    _check_finite(pd.DataFrame({FD_COLUMN: fd_T}), path)
    fd_T[0] = np.nan
    return fd_T


def _scrubbed(
    kept_T: Bool[np.ndarray, "T"], fd_T: Float64[np.ndarray, "T"] | None, path: str, cleaning: Cleaning
) -> Bool[np.ndarray, "T"]:
    """Without the volumes that moved more than allowed; about the first nothing is known, and it is kept."""
    if not cleaning.max_scrub_fd_mm:
        return kept_T
    if fd_T is None:
        raise DataError(
            f"{path} does not say how much the head moved",
            expected=f"a column {FD_COLUMN}, or {', '.join(MOTION_COLUMNS)}",
            found="none of them",
            remedy="clean without scrubbing, or leave this scan out",
        )
    return np.asarray(kept_T & ~(fd_T > cleaning.max_scrub_fd_mm))
