"""Made-up head motion, and the tables of confounds in which fMRIPrep, XCP-D, the HCP and FSL write it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

AXES = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
HEAD_RADIUS_MM = 50.0  # Power et al. (2012): rotations as displacements on a sphere of this radius


@dataclass(frozen=True, eq=False)
class Motion:
    """Six parameters (T, 6): translations in mm, rotations in radians; ``fd_mm`` is NaN first (Power et al., 2012).

    ``jumps`` are the volumes at which the head moved suddenly.
    """

    parameters: np.ndarray
    jumps: tuple[int, ...]

    @property
    def fd_mm(self) -> np.ndarray:
        """Framewise displacement in mm."""
        steps = np.abs(np.diff(self.parameters, axis=0))
        steps[:, 3:] *= HEAD_RADIUS_MM
        return np.concatenate([[np.nan], steps.sum(axis=1)])


def made_up_motion(num_timepoints: int, *, jumps: tuple[int, ...] = (), jump_mm: float = 1.5, seed: int = 0) -> Motion:
    """A slow walk of the head of about 0.05 mm a volume, with sudden jumps at the given volumes."""
    rng = np.random.default_rng([seed, 3])
    steps = rng.normal(0, 0.01, (num_timepoints, 6))
    steps[:, 3:] /= HEAD_RADIUS_MM
    steps[list(jumps), 0] += jump_mm
    return Motion(np.cumsum(steps, axis=0), jumps)


def expanded(name: str, values_T: np.ndarray) -> dict[str, np.ndarray]:
    """The values with their derivative and the squares of both, as fMRIPrep names them."""
    derivative = np.concatenate([[np.nan], np.diff(values_T)])
    return {
        name: values_T,
        f"{name}_derivative1": derivative,
        f"{name}_derivative1_power2": derivative**2,
        f"{name}_power2": values_T**2,
    }


def fmriprep_confounds(
    motion: Motion, *, tr: float, num_components: int = 6, num_non_steady: int = 1, aroma: int = 3, seed: int = 0
) -> tuple[pd.DataFrame, dict]:
    """The table and metadata of ``desc-confounds_timeseries``, with the columns that nilearn's strategies ask for."""
    rng = np.random.default_rng([seed, 5])
    num_timepoints = len(motion.parameters)
    columns: dict[str, np.ndarray] = {}
    for name in ("global_signal", "csf", "white_matter"):
        columns |= expanded(name, rng.normal(500, 5, num_timepoints))
    columns["dvars"] = np.concatenate([[np.nan], rng.uniform(20, 25, num_timepoints - 1)])
    columns["std_dvars"] = np.concatenate([[np.nan], rng.uniform(0.9, 1.1, num_timepoints - 1)])
    columns["std_dvars"][list(motion.jumps)] = 4.0
    columns["framewise_displacement"] = motion.fd_mm
    columns["rmsd"] = motion.fd_mm / 2
    metadata = {}
    for kind, mask in (("t", None), ("a", "combined"), ("w", "WM"), ("c", "CSF")):
        for number in range(num_components):
            name = f"{kind}_comp_cor_{number:02d}"
            columns[name] = rng.normal(0, 0.1, num_timepoints)
            metadata[name] = {
                "CumulativeVarianceExplained": 0.1 * (number + 1),
                "Method": "tCompCor" if mask is None else "aCompCor",
                "Retained": True,
                "SingularValue": 20.0 - number,
                "VarianceExplained": 0.1,
            } | ({} if mask is None else {"Mask": mask})
    metadata["dropped_0"] = metadata["a_comp_cor_00"] | {"Retained": False}
    # The discrete cosines below 1/128 Hz.
    for number in range(int(2 * num_timepoints * tr / 128)):
        times = np.arange(num_timepoints) + 0.5
        columns[f"cosine{number:02d}"] = np.cos(np.pi * (number + 1) * times / num_timepoints)
    for number in range(num_non_steady):
        columns[f"non_steady_state_outlier{number:02d}"] = (np.arange(num_timepoints) == number).astype(float)
    for axis, name in enumerate(AXES):
        columns |= expanded(name, motion.parameters[:, axis])
    for number, volume in enumerate(motion.jumps):
        columns[f"motion_outlier{number:02d}"] = (np.arange(num_timepoints) == volume).astype(float)
    for number in range(aroma):
        name = f"aroma_motion_{number + 1:02d}"
        columns[name] = rng.normal(0, 1, num_timepoints)
        metadata[name] = {"MotionNoise": True}
    return pd.DataFrame(columns), metadata


def write_tsv(table: pd.DataFrame, path: Path) -> None:
    """The table, tab separated, missing values as ``n/a``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a", lineterminator="\n")


def write_json(content: dict, path: Path) -> None:
    """The content, as a sidecar is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_xcpd_motion(motion: Motion, stem: Path) -> None:
    """``*_motion.tsv`` and ``*_outliers.tsv``: seven columns, and 1 where a volume was censored (above 0.3 mm)."""
    table = pd.DataFrame(motion.parameters, columns=list(AXES))
    write_tsv(table.assign(framewise_displacement=motion.fd_mm), stem.with_name(f"{stem.name}_motion.tsv"))
    outliers = pd.DataFrame({"framewise_displacement": (np.nan_to_num(motion.fd_mm) > 0.3).astype(int)})
    write_tsv(outliers, stem.with_name(f"{stem.name}_outliers.tsv"))


def write_hcp_motion(motion: Motion, folder: Path) -> None:
    """``Movement_Regressors.txt`` (mm and degrees, then their derivatives) and the two files of root mean squares."""
    parameters = motion.parameters.copy()
    parameters[:, 3:] = np.rad2deg(parameters[:, 3:])
    derivatives = np.vstack([np.zeros(6), np.diff(parameters, axis=0)])
    np.savetxt(folder / "Movement_Regressors.txt", np.hstack([parameters, derivatives]), fmt="%.6f", delimiter="\t")
    relative = np.nan_to_num(motion.fd_mm) / 2
    np.savetxt(folder / "Movement_RelativeRMS.txt", relative, fmt="%.6f")
    np.savetxt(folder / "Movement_AbsoluteRMS.txt", np.cumsum(relative), fmt="%.6f")


def write_fsl_motion(motion: Motion, folder: Path) -> None:
    """MCFLIRT's ``prefiltered_func_data_mcf.par`` (rotations in radians first, then mm) and its ``.rms`` files."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "prefiltered_func_data_mcf.par", np.roll(motion.parameters, 3, axis=1), fmt="%.8g")
    relative = motion.fd_mm[1:] / 2
    np.savetxt(folder / "prefiltered_func_data_mcf_rel.rms", relative, fmt="%.6g")
    np.savetxt(folder / "prefiltered_func_data_mcf_abs.rms", np.cumsum(np.append(0, relative)), fmt="%.6g")
