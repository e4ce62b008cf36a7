"""Trees of fMRIPrep's and XCP-D's derivatives, painted from known series."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from confound_tables import fmriprep_confounds, write_json, write_tsv, write_xcpd_motion
from painting import grid_2009c, mni_grid, paint_cifti, paint_nifti, write_volume
from tree_parts import Tree, Truth, add_other_files, describe, runs_of, truth_of, write_participants

from brainlm.data.atlas import Atlas


def write_fmriprep_tree(
    folder: Path,
    atlas: Atlas,
    *,
    subjects: Sequence[str] = ("01", "02"),
    sessions: Sequence[str] = ("",),
    tasks: Sequence[str] = ("rest",),
    runs: Sequence[str] = ("",),
    spaces: Sequence[str] = ("MNI152NLin6Asym",),
    num_timepoints: int = 40,
    tr: float = 2.0,
    cifti: bool = False,
    native: bool = False,
    aroma: bool = False,
    confounds: bool = True,
    shared: Path | None = None,
    **painting: object,
) -> Tree:
    """A BIDS dataset in ``folder`` with ``derivatives/fmriprep`` in it, which is the tree's root.

    Args:
        folder: the raw dataset: participants.tsv and, where there are sessions, sessions tables.
        atlas: into which is painted; its own grid is that of MNI152NLin6Asym.
        subjects: labels without ``sub-``.
        sessions: labels without ``ses-``; "" for a dataset without them.
        tasks: labels.
        runs: labels; "" for none.
        spaces: of the images, each with a resolution if wanted: ``MNI152NLin2009cAsym:2``.
        num_timepoints: volumes a run.
        tr: seconds.
        cifti: write ``space-fsLR_den-91k`` dtseries, too.
        native: write images in the scanner's and in T1w space, too.
        aroma: write the ``smoothAROMAnonaggr`` image of older versions, too.
        confounds: write the confounds.
        shared: make the series from real ones (see ``series``).
        painting: further settings of ``paint_nifti``.
    """
    root = folder / "derivatives" / "fmriprep"
    write_json({"Name": "raw", "BIDSVersion": "1.8.0", "DatasetType": "raw"}, folder / "dataset_description.json")
    describe(root, "fMRIPrep - fMRI PREProcessing workflow", "fMRIPrep", "23.2.0")
    phenotypes = write_participants(folder / "participants.tsv", subjects)
    for subject in subjects if any(sessions) else ():
        table = pd.DataFrame({"session_id": [f"ses-{session}" for session in sessions]})
        table["days"] = np.arange(len(sessions)) * 30.0
        write_tsv(table, folder / f"sub-{subject}" / f"sub-{subject}_sessions.tsv")
    truth: dict[str, Truth] = {}
    for run in runs_of(subjects, sessions, tasks, runs):
        known = truth[run.name] = truth_of(run, atlas, num_timepoints, tr, shared)
        stem = root / run.folder / run.name
        sidecar = {"RepetitionTime": tr, "SkullStripped": False, "SliceTimingCorrected": True, "TaskName": run.task}
        for space in [*spaces, *(["T1w", ""] if native else [])]:
            _write_space(known, atlas, stem, space, sidecar, seed=run.number, **painting)
        if aroma:
            name = f"{stem.name}_space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold"
            paint_nifti(known.bold * 0.5, atlas, stem.with_name(f"{name}.nii.gz"), tr=tr, noise=0)
            write_json(sidecar, stem.with_name(f"{name}.json"))
        if cifti:
            name = f"{stem.name}_space-fsLR_den-91k_bold"
            paint_cifti(known.bold, atlas, stem.with_name(f"{name}.dtseries.nii"), tr=tr, seed=run.number)
            write_json(sidecar | {"Density": "91,282 grayordinates"}, stem.with_name(f"{name}.json"))
        if confounds:
            table, metadata = fmriprep_confounds(known.motion, tr=tr, aroma=3 if aroma else 0, seed=run.number)
            write_tsv(table, stem.with_name(f"{stem.name}_desc-confounds_timeseries.tsv"))
            write_json(metadata, stem.with_name(f"{stem.name}_desc-confounds_timeseries.json"))
    add_other_files(root, subjects)
    return Tree(root, truth, folder / "participants.tsv", phenotypes)


def _write_space(
    known: Truth, atlas: Atlas, stem: Path, space: str, sidecar: Mapping[str, object], **painting: object
) -> None:
    """The image in one space with its mask, reference and sidecar; unless MNI, the numbers are not the truth."""
    label, _, resolution = space.partition(":")
    name = stem.name + (f"_space-{label}" if label else "") + (f"_res-{resolution}" if resolution else "")
    standard = label.startswith("MNI152")
    settings: dict[str, object] = {"tr": known.tr, **painting}
    if "2009c" in label:
        settings["grid"] = grid_2009c()
    elif not standard:
        settings |= {"grid": mni_grid(8, oblique_deg=15), "form_code": 1}
    bold = known.bold if standard else known.bold[:, ::-1]
    mask = stem.with_name(f"{name}_desc-brain_mask.nii.gz")
    painted = paint_nifti(bold, atlas, stem.with_name(f"{name}_desc-preproc_bold.nii.gz"), mask=mask, **settings)
    write_json(dict(sidecar), stem.with_name(f"{name}_desc-preproc_bold.json"))
    reference = painted.brain.astype(np.float32) * 1000
    write_volume(reference, painted.grid, stem.with_name(f"{name}_boldref.nii.gz"))


def write_xcpd_tree(
    folder: Path,
    atlas: Atlas,
    *,
    subjects: Sequence[str] = ("01", "02"),
    sessions: Sequence[str] = ("",),
    tasks: Sequence[str] = ("rest",),
    runs: Sequence[str] = ("",),
    num_timepoints: int = 40,
    tr: float = 2.0,
    nifti: bool = True,
    cifti: bool = False,
    tables: Sequence[str] = ("A424", "4S156Parcels"),
    atlas_entity: str = "seg",
    smoothed: bool = False,
    shared: Path | None = None,
    **painting: object,
) -> Tree:
    """XCP-D's output in ``folder``, which is the root: denoised images and parcellated tables.

    The table named first holds the truth by the atlas's parcel names; the others have other parcels. ``atlas_entity``
    is ``atlas`` in old and new versions, ``seg`` in those between.
    """
    describe(folder, "XCP-D: A Robust Postprocessing Pipeline of fMRI data", "xcp_d", "0.7.0")
    phenotypes = write_participants(folder / "participants.tsv", subjects)
    truth: dict[str, Truth] = {}
    for run in runs_of(subjects, sessions, tasks, runs):
        known = truth[run.name] = truth_of(run, atlas, num_timepoints, tr, shared)
        stem = folder / run.folder / run.name
        sidecar = {"RepetitionTime": tr, "TaskName": run.task, "NuisanceParameters": "36P"}
        image = f"{stem.name}_space-MNI152NLin6Asym_desc-denoised"
        if nifti:
            settings: dict[str, object] = {"tr": tr, "seed": run.number, "dtype": "float32", **painting}
            paint_nifti(known.bold, atlas, stem.with_name(f"{image}_bold.nii.gz"), **settings)
            write_json(sidecar, stem.with_name(f"{image}_bold.json"))
        if smoothed:
            paint_nifti(known.bold * 0.5, atlas, stem.with_name(f"{image}Smoothed_bold.nii.gz"), tr=tr, noise=0)
            write_json(sidecar, stem.with_name(f"{image}Smoothed_bold.json"))
        if cifti:
            name = f"{stem.name}_space-fsLR_den-91k_desc-denoised_bold"
            paint_cifti(known.bold, atlas, stem.with_name(f"{name}.dtseries.nii"), tr=tr, seed=run.number)
            write_json(sidecar, stem.with_name(f"{name}.json"))
        for number, table in enumerate(tables):
            _write_table(known, atlas, stem, f"space-MNI152NLin6Asym_{atlas_entity}-{table}", sidecar, other=number > 0)
        write_xcpd_motion(known.motion, stem)
    add_other_files(folder, subjects)
    return Tree(folder, truth, folder / "participants.tsv", phenotypes)


def _write_table(
    known: Truth, atlas: Atlas, stem: Path, entities: str, sidecar: Mapping[str, object], *, other: bool
) -> None:
    bold = known.bold[:, : max(len(atlas.parcels) // 2, 1)] * 0.5 if other else known.bold
    names = [f"R{n}" for n in range(bold.shape[1])] if other else atlas.parcels.table["name"].tolist()
    name = f"{stem.name}_{entities}_stat"
    write_tsv(pd.DataFrame(bold, columns=names), stem.with_name(f"{name}-mean_timeseries.tsv"))
    write_json(dict(sidecar), stem.with_name(f"{name}-mean_timeseries.json"))
    coverage = pd.DataFrame({"Node": names, "coverage": 1.0})
    write_tsv(coverage, stem.with_name(f"{name}-coverage_bold.tsv"))
    correlation = pd.DataFrame(np.corrcoef(bold.T), columns=names)
    write_tsv(correlation, stem.with_name(f"{name}-pearsoncorrelation_relmat.tsv"))
