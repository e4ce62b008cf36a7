"""One scan -> one value per parcel and volume: the mean over the parcel's voxels that have signal.

Files are streamed in ``volumes.py``; which voxels belong to which parcel is in ``label_grid.py``; many scans and the
store are elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from brainlm.data.atlas import Atlas
from brainlm.data.bids import Entities, Sidecars, entities_of
from brainlm.data.label_grid import label_grid
from brainlm.data.mni import check_in_view, check_signal, check_space
from brainlm.data.nifti_header import NiftiHeader
from brainlm.data.parcel_means import parcel_means
from brainlm.data.recording import Recording
from brainlm.data.repetition import agreed_tr, seconds
from brainlm.data.statistics import constant_parcels
from brainlm.data.volumes import open_image, read_mask
from brainlm.errors import DataError

MIN_COVERAGE = 0.5  # of a parcel's atlas voxels: with less the mean stands for another, smaller region
CIFTI_SUFFIXES = (".dtseries.nii", ".ptseries.nii")


@dataclass(frozen=True, eq=False)
class ParcelSeries:
    """What one scan gives for each parcel of an atlas; column p is row p of the atlas's table.

    ``bold`` is in the units of the scan, NaN throughout where a parcel has no signal. ``coverage`` is the share of the
    parcel's atlas voxels with signal, ``tsnr`` the mean of the series over its standard deviation (NaN without
    signal), ``header_tr_s`` the repetition time in the header, None where that is unusable, and ``how`` the way from
    voxels to parcels in a word or two.
    """

    bold: Float32[np.ndarray, "T P"]
    coverage: Float32[np.ndarray, "P"]
    tsnr: Float32[np.ndarray, "P"]
    header_tr_s: float | None
    how: str

    @classmethod
    def of(
        cls,
        means_TP: Float64[np.ndarray, "T P"],
        coverage_P: Float64[np.ndarray, "P"],
        *,
        min_coverage: float,
        header_tr_s: float | None,
        how: str,
    ) -> ParcelSeries:
        """The series of means, NaN where coverage is too low or the mean never changes."""
        with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which a recording refuses
            bold_TP = means_TP.astype(np.float32)
        bold_TP[:, (coverage_P < min_coverage) | (coverage_P == 0)] = np.nan
        bold_TP[:, constant_parcels(bold_TP)] = np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            tsnr_P = bold_TP.mean(axis=0, dtype=np.float64) / bold_TP.std(axis=0, dtype=np.float64)
        return cls(bold_TP, coverage_P.astype(np.float32), tsnr_P.astype(np.float32), header_tr_s, how)


def parcellate(
    path: str | Path,
    atlas: Atlas | str,
    *,
    tr: float | None = None,
    mask: str | Path | None = None,
    space: str | None = None,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    run: str | None = None,
    site: str = "",
    min_coverage: float = MIN_COVERAGE,
) -> Recording:
    """The recording of one scan in MNI space: the mean of every parcel over time, nothing cleaned, nothing scaled.

    Args:
        path: a 4-D NIfTI image (.nii or .nii.gz), or a CIFTI dtseries or ptseries.
        atlas: an atlas, or what ``Atlas.load`` takes.
        tr: repetition time in seconds; by default that of the header and of the JSON sidecar, which must agree.
        mask: image whose voxels above 0 are brain; without it every voxel counts that varies.
        space: the space that the scan is in, where its name (``space-MNI152NLin6Asym``) does not say it.
        subject, session, task, run: by default what the name says (``sub-01_ses-1_task-rest_run-02``).
        site: where it was recorded.
        min_coverage: parcels of which a smaller share has signal are NaN throughout.

    Raises:
        DataError: the scan cannot be used (damaged, not over time, not in MNI space, empty), nobody says its
            repetition time, or two sources contradict each other about it.
        AtlasError: the atlas cannot be used for it.
    """
    atlas = Atlas.load(atlas) if isinstance(atlas, str) else atlas
    name = str(path)
    if name.endswith(CIFTI_SUFFIXES):
        from brainlm.data.cifti import read_cifti

        series = read_cifti(name, atlas, min_coverage=min_coverage)
    else:
        said = _space_in(name) if space is None else space
        series = read_nifti(name, atlas, mask=str(mask or ""), space=said, min_coverage=min_coverage)
    known = entities_of(Path(name)) if subject is None else Entities(subject)
    return Recording(
        bold=series.bold,
        tr=seconds(tr, "tr") if tr is not None else _repetition_time(name, series.header_tr_s),
        subject=known.subject,
        session=known.session if session is None else session,
        task=known.task if task is None else task,
        run=known.run if run is None else run,
        site=site,
        atlas=atlas.name,
        source=name,
    )


def read_nifti(
    path: str | Path, atlas: Atlas, *, mask: str = "", space: str = "", min_coverage: float = MIN_COVERAGE
) -> ParcelSeries:
    """The series of one 4-D NIfTI image in MNI space.

    A voxel has signal when it is finite in every volume, not constant in time, and inside the mask if there is one.
    Coverage is the share of a parcel's atlas voxels that fall into such voxels; those outside the image count as
    without. The mean is over the parcel's voxels with signal, as ``label_grid`` assigns and weighs them.

    Args:
        path: ``.nii`` or ``.nii.gz``, or such a member of an archive, ``a.zip!/b.nii.gz``.
        atlas: with a label image.
        mask: path of an image whose voxels above 0 are brain; empty: none.
        space: what the scan's name says about its space; empty: nothing, so the header decides.
        min_coverage: parcels of which a smaller share has signal are NaN.

    Raises:
        DataError: as in ``parcellate``.
        AtlasError: the atlas has no label image.
    """
    with open_image(path) as image:
        header = image.header
        _check_time_course(header)
        check_space(header, space)
        labels = label_grid(atlas, header.grid)
        check_in_view(labels, header, atlas)
        inside = np.ones(len(labels.voxels), dtype=bool)
        if mask:
            inside = read_mask(mask, header.grid)[labels.voxels]
        result = parcel_means(image, labels, inside=inside)
    check_signal(labels, result.valid, result.first_volume, header, atlas)
    coverage_P = (labels.counts @ result.valid.astype(np.float64)) / labels.num_atlas_voxels
    return ParcelSeries.of(result.means, coverage_P, min_coverage=min_coverage, header_tr_s=header.tr_s, how=labels.how)


def _check_time_course(header: NiftiHeader) -> None:
    if header.num_volumes < 2:
        raise DataError(
            f"{header.path} has no time course",
            expected="a 4-D image of at least 2 volumes",
            found="one volume of " + " x ".join(str(length) for length in header.grid.shape),
            remedy="give the 4-D image of the scan",
        )


def _space_in(name: str) -> str:
    """The space that a file's name says, empty if none."""
    found = re.search(r"(?:^|_)space-([A-Za-z0-9]+)", Path(name).name)
    return found.group(1) if found else ""


def _repetition_time(name: str, header_tr_s: float | None) -> float:
    sources = {"its header": header_tr_s} if header_tr_s is not None else {}
    sidecars = Sidecars()
    sidecar = sidecars.find(Path(name))
    if sidecar is not None:
        sources[str(sidecar)] = seconds(sidecars.content(sidecar)["RepetitionTime"], str(sidecar))
    return agreed_tr(name, sources, expected="a repetition time in the header or in a JSON sidecar")
