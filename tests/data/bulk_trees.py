"""Trees in the layouts of the HCP and of UK Biobank's bulk download, and plain folders, painted from known series."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from confound_tables import write_fsl_motion, write_hcp_motion, write_json
from painting import mni_grid, paint_cifti, paint_nifti, write_volume
from tree_parts import Run, Tree, Truth, truth_of, write_participants

from brainlm.data.atlas import Atlas
from brainlm.data.recording import recording_name

UKB_TR_S = 0.735
HCP_TR_S = 0.72


def write_hcp_tree(
    folder: Path,
    atlas: Atlas,
    *,
    subjects: Sequence[str] = ("100307", "100408"),
    runs: Mapping[str, tuple[str, str]] | None = None,
    num_timepoints: int = 40,
    tr: float = HCP_TR_S,
    nifti: bool = True,
    cifti: bool = True,
    shared: Path | None = None,
    **painting: object,
) -> Tree:
    """HCP's minimally preprocessed layout in ``folder``.

    ``runs``: by folder name, the task and the run that must come out of it. Rest is cleaned by ICA-FIX (the uncleaned
    image beside it is not the truth); tasks are not. Motion files beside each; a table of people as from ConnectomeDB.
    """
    runs = runs or {"rfMRI_REST1_LR": ("rest", "1LR"), "tfMRI_WM_RL": ("WM", "RL")}
    truth: dict[str, Truth] = {}
    number = 0
    for subject in subjects:
        for run, (task, label) in runs.items():
            known = truth_of(Run(subject, "", task, label, number), atlas, num_timepoints, tr, shared)
            truth[recording_name(subject, "", task, label)] = known
            results = folder / subject / "MNINonLinear" / "Results" / run
            results.mkdir(parents=True, exist_ok=True)
            cleaned = "_hp2000_clean" if run.startswith("rfMRI") else ""
            settings: dict[str, object] = {"tr": tr, "seed": number, "dtype": "float32", **painting}
            if nifti:
                mask = results / "brainmask_fs.2.nii.gz"
                paint_nifti(known.bold, atlas, results / f"{run}{cleaned}.nii.gz", mask=mask, **settings)
                if cleaned:
                    paint_nifti(known.bold * 0.5, atlas, results / f"{run}.nii.gz", **settings)
            for name in ("_Atlas_MSMAll", "_Atlas") if cifti else ():
                bold = known.bold if name == "_Atlas_MSMAll" else known.bold * 0.5
                paint_cifti(bold, atlas, results / f"{run}{name}{cleaned}.dtseries.nii", tr=tr, seed=number)
            write_volume(np.ones((4, 4, 4), np.float32), mni_grid(60), results / f"{run}_SBRef.nii.gz")
            write_hcp_motion(known.motion, results)
            number += 1
    phenotypes = write_participants(folder / "participants.tsv", subjects)
    return Tree(folder, truth, folder / "participants.tsv", phenotypes)


def write_ukb_tree(
    folder: Path,
    atlas: Atlas,
    *,
    subjects: Sequence[str] = ("1234567", "7654321"),
    instances: Sequence[str] = ("2",),
    task: bool = False,
    zips: bool = False,
    num_timepoints: int = 40,
    tr: float = UKB_TR_S,
    native: bool = True,
    shared: Path | None = None,
    **painting: object,
) -> Tree:
    """UK Biobank's bulk layout in ``folder``: ``20227/<subject>_20227_<instance>_0`` as folders or as zips.

    Resting state lies in standard space in ``fMRI/rfMRI.ica/reg_standard``; the image of the same name in the scanner's
    space (``native``) is not the truth. ``task``: field 20249, too. A sparse table of people, as from the showcase.
    """
    truth: dict[str, Truth] = {}
    fields = {"20227": ("rest", "rfMRI.ica", "filtered_func_data_clean")}
    if task:
        fields["20249"] = ("faces", "tfMRI.feat", "filtered_func_data")
    number = 0
    for subject in subjects:
        for instance in instances:
            for code, (label, analysis, image) in fields.items():
                known = truth_of(Run(subject, instance, label, "", number), atlas, num_timepoints, tr, shared)
                truth[recording_name(subject, instance, label)] = known
                bulk = folder / code / f"{subject}_{code}_{instance}_0"
                inside = bulk / "fMRI" / analysis
                settings: dict[str, object] = {"tr": tr, "seed": number, **painting}
                standard = inside / "reg_standard" / f"{image}.nii.gz"
                paint_nifti(known.bold, atlas, standard, mask=standard.with_name("mask.nii.gz"), **settings)
                if native:
                    scanner: dict[str, object] = {"grid": mni_grid(8, oblique_deg=12), "form_code": 1}
                    paint_nifti(known.bold[:, ::-1], atlas, inside / f"{image}.nii.gz", tr=tr, **scanner)
                write_fsl_motion(known.motion, inside / "mc")
                write_json({"RepetitionTime": tr, "TaskName": label}, bulk / "fMRI" / f"{analysis.split('.')[0]}.json")
                if zips:
                    _zip(bulk)
                number += 1
    phenotypes = write_participants(folder / "participants.tsv", subjects)
    return Tree(folder, truth, folder / "participants.tsv", phenotypes)


def _zip(folder: Path) -> None:
    """``folder.zip`` with the folder's content, and the folder gone; what is compressed already is stored."""
    with zipfile.ZipFile(folder.with_name(folder.name + ".zip"), "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def write_plain_tree(
    folder: Path,
    atlas: Atlas,
    *,
    names: Mapping[str, str] | None = None,
    num_timepoints: int = 40,
    tr: float = 2.0,
    sidecars: bool = True,
    compressed: bool = True,
    shared: Path | None = None,
    **painting: object,
) -> Tree:
    """A folder of images without any standard; ``names``: the file's stem below ``folder`` by recording name."""
    names = names or {"sub-01_task-rest": "sub-01_task-rest_bold", "sub-02_task-rest": "more/sub-02_task-rest_bold"}
    truth: dict[str, Truth] = {}
    for number, (name, stem) in enumerate(names.items()):
        known = truth[name] = truth_of(Run(name, "", "", "", number), atlas, num_timepoints, tr, shared)
        path = folder / f"{stem}.nii{'.gz' if compressed else ''}"
        paint_nifti(known.bold, atlas, path, tr=tr, seed=number, **painting)
        if sidecars:
            write_json({"RepetitionTime": tr}, folder / f"{stem}.json")
    return Tree(folder, truth)
