"""Known parcel series painted into images: small atlases, grids in MNI space, NIfTI volumes and grayordinates.

What is painted comes out exactly: the noise within each parcel sums to zero over its voxels at every time point.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel import cifti2
from scipy import ndimage

from brainlm.data.atlas import Atlas
from brainlm.data.parcels import Parcels

BOX_MM = np.array([[-90.0, -126.0, -72.0], [90.0, 90.0, 108.0]])  # the voxel centres of FSL's MNI152 grids
BACKGROUND = 600.0  # the signal of the brain outside all parcels
VERTICES = 64  # of each hemisphere of the small dlabel


@dataclass(frozen=True, eq=False)
class Grid:
    """Where an image's voxels lie; ``affine`` takes voxels to mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def mm(self) -> np.ndarray:
        """(X, Y, Z, 3): the place of every voxel."""
        voxels = np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), axis=-1)
        return voxels @ self.affine[:3, :3].T + self.affine[:3, 3]


def mni_grid(
    voxel_mm: float = 6, *, flip_x: bool = True, flip_y: bool = False, oblique_deg: float = 0, axes: str = "xyz"
) -> Grid:
    """A grid over the MNI152 box; ``flip_x`` as FSL has it. ``axes="yxz"`` stores y first; oblique about z."""
    num = tuple(int(length // voxel_mm) + 1 for length in BOX_MM[1] - BOX_MM[0])
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = BOX_MM[0]
    for axis, flipped in enumerate((flip_x, flip_y)):
        if flipped:
            affine[axis, 3] += voxel_mm * (num[axis] - 1)
            affine[axis, axis] = -voxel_mm
    order = ["xyz".index(axis) for axis in axes]
    affine[:, :3] = affine[:, order]
    if oblique_deg:
        c, s = np.cos(np.deg2rad(oblique_deg)), np.sin(np.deg2rad(oblique_deg))
        turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        affine = turn @ affine
    return Grid(tuple(num[axis] for axis in order), affine)


def grid_2009c(voxel_mm: float = 6) -> Grid:
    """A grid over the box of MNI152NLin2009cAsym: another origin, x from left to right."""
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = (-96, -132, -78)
    return Grid(tuple(int(length // voxel_mm) + 1 for length in (192, 228, 192)), affine)


def small_atlas(
    folder: Path, *, num_parcels: int = 20, voxel_mm: float = 6, tiny: bool = False, grid: Grid | None = None
) -> Atlas:
    """An atlas of the nearest of ``num_parcels`` points within an ellipsoid; ``tiny``: the last one is a single voxel.

    Writes ``small.nii.gz``, ``parcels.tsv`` and ``small.dlabel.nii`` into ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grid = grid or mni_grid(voxel_mm)
    rng = np.random.default_rng(7)
    direction = rng.normal(size=(num_parcels, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = direction * (50, 70, 45) * rng.uniform(0.4, 1, (num_parcels, 1)) + (0, -18, 18)
    mm = grid.mm
    inside = (((mm - (0, -18, 18)) / (66, 86, 60)) ** 2).sum(axis=-1) < 1
    regular = points[: num_parcels - 1] if tiny else points
    nearest = np.linalg.norm(mm[..., None, :] - regular, axis=-1).argmin(axis=-1)
    volume = np.where(inside, nearest + 1, 0).astype(np.int16)
    if tiny:
        volume[tuple(np.argwhere(inside)[inside.sum() // 2])] = num_parcels
    image = nib.Nifti1Image(volume, grid.affine)
    image.set_sform(grid.affine, code=4)
    image.set_qform(grid.affine, code=4)
    nib.save(image, folder / "small.nii.gz")
    labels = np.arange(1, num_parcels + 1)
    table = pd.DataFrame({"label": labels, "name": [f"P{label:02d}" for label in labels]})
    table[["x", "y", "z"]] = points.round(1)
    Parcels(table.assign(network=["front" if y > -18 else "back" for y in points[:, 1]])).write(folder / "parcels.tsv")
    _write_small_dlabel(folder / "small.dlabel.nii", volume, grid, table["name"].tolist())
    return Atlas.load(folder / "small.nii.gz")


def a424_atlas(shared: Path) -> Atlas:
    """A424 from the development data (the fixture ``shared``)."""
    return Atlas.load(shared / "atlas")


def dlabel_of(atlas: Atlas) -> Path:
    """The CIFTI dlabel beside the atlas's image."""
    assert atlas.image is not None
    return next(atlas.image.parent.glob("*.dlabel.nii"))


def label_volume(atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """The atlas's label image, and its affine."""
    image = nib.load(atlas.image)
    return np.asanyarray(image.dataobj).astype(np.int32), np.asarray(image.affine)


def labels_on(atlas: Atlas, grid: Grid) -> np.ndarray:
    """The label at every voxel of ``grid``: that of the nearest voxel of the atlas, 0 outside."""
    volume, affine = label_volume(atlas)
    places = np.linalg.inv(affine) @ np.vstack([grid.mm.reshape(-1, 3).T, np.ones(np.prod(grid.shape))])
    voxels = np.rint(places[:3]).astype(int)
    within = ((voxels >= 0) & (voxels < np.array(volume.shape)[:, None])).all(axis=0)
    labels = np.zeros(voxels.shape[1], np.int32)
    labels[within] = volume[tuple(voxels[:, within])]
    return labels.reshape(grid.shape)


@dataclass(frozen=True, eq=False)
class PaintedImage:
    """What ``paint_nifti`` wrote; ``brain`` and ``labels`` are volumes, ``num_voxels_P`` those with signal."""

    path: Path
    grid: Grid
    labels: np.ndarray
    brain: np.ndarray
    num_voxels_P: np.ndarray


def paint_nifti(
    bold_TP: np.ndarray,
    atlas: Atlas,
    path: Path,
    *,
    tr: float = 2.0,
    grid: Grid | None = None,
    dtype: str = "int16",
    slope: float | None = None,
    inter: float = 0.0,
    noise: float = 5.0,
    drift: float = 0.0,
    coverage: Mapping[int, float] | None = None,
    mask: Path | None = None,
    header_tr: float | None = None,
    time_unit: str = "sec",
    form_code: int = 4,
    qform: np.ndarray | None = None,
    seed: int = 0,
) -> PaintedImage:
    """Write a 4-D image in which parcel p has the series ``bold_TP[:, p]``.

    Args:
        bold_TP: (T, P), in the order of the atlas's table.
        atlas: whose label image says where.
        path: ``.nii`` or ``.nii.gz``.
        tr: seconds, for the header.
        grid: of the image; the atlas's own by default (any other: each voxel takes the nearest voxel's parcel).
        dtype: stored type; integers are scaled by ``slope`` (chosen to fit unless given) and ``inter``.
        slope: units a stored step.
        inter: units of a stored zero.
        noise: standard deviation within a parcel; sums to zero over it at every time point.
        drift: rise from the first to the last volume, in all of the brain; not part of the truth.
        coverage: by label, the share of its voxels that have signal; the others are zero.
        mask: where to write the brain mask (voxels with signal).
        header_tr: what the header says instead of ``tr``.
        time_unit: ``sec``, ``msec`` or ``unknown``.
        form_code: of sform and qform; 4 is MNI, 1 the scanner.
        qform: an affine that differs from the sform.
        seed: of the noise.
    """
    if grid is None:
        volume, affine = label_volume(atlas)
        grid, labels = Grid(volume.shape, affine), volume
    else:
        labels = labels_on(atlas, grid)
    rng = np.random.default_rng(seed)
    brain = ndimage.binary_fill_holes(ndimage.binary_dilation(labels > 0))
    for label, share in (coverage or {}).items():
        voxels = np.argwhere(labels == label)
        lost = rng.permutation(voxels)[: round((1 - share) * len(voxels))]
        labels = labels.copy() if labels is not None else labels
        labels[tuple(lost.T)] = 0
        brain[tuple(lost.T)] = False
    column = np.full(int(max(labels.max(), atlas.parcels.labels.max())) + 1, -1)
    column[atlas.parcels.labels] = np.arange(len(atlas.parcels))
    column_V = np.where(labels[brain] > 0, column[labels[brain]], -1)
    header = _header(grid, len(bold_TP), dtype, tr if header_tr is None else header_tr, time_unit, form_code, qform)
    if np.issubdtype(np.dtype(dtype), np.integer) and slope is None:
        slope = float(max(np.nanmax(bold_TP), BACKGROUND) + abs(drift) + 8 * noise - inter) / 30_000
    header.set_slope_inter(1.0 if slope is None else slope, inter)
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) if path.suffix == ".gz" else path.open("wb")
    with opened as file:
        header.write_to(file)
        for time, values_P in enumerate(bold_TP):
            signal_V = _painted(np.append(values_P, BACKGROUND), column_V, noise, rng)
            signal_V += drift * time / max(len(bold_TP) - 1, 1)
            stored = (signal_V - inter) / (slope or 1.0)
            full = np.zeros(grid.shape, dtype)
            full[brain] = np.rint(stored) if np.issubdtype(np.dtype(dtype), np.integer) else stored
            file.write(full.tobytes(order="F"))
    if mask is not None:
        write_volume(brain.astype(np.uint8), grid, mask, form_code=form_code)
    num_voxels = np.bincount(column_V[column_V >= 0], minlength=len(atlas.parcels))
    return PaintedImage(path, grid, labels, brain, num_voxels)


def write_volume(volume: np.ndarray, grid: Grid, path: Path, *, form_code: int = 4) -> None:
    """A 3-D image such as a mask or a reference."""
    image = nib.Nifti1Image(volume, grid.affine)
    image.set_sform(grid.affine, code=form_code)
    image.set_qform(grid.affine, code=form_code)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def _header(
    grid: Grid, num_timepoints: int, dtype: str, tr: float, time_unit: str, form_code: int, qform: np.ndarray | None
) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_shape((*grid.shape, num_timepoints))
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm", None if time_unit == "unknown" else time_unit)
    voxel_mm = np.linalg.norm(grid.affine[:3, :3], axis=0)
    header.set_zooms((*voxel_mm, tr * (1000 if time_unit == "msec" else 1)))
    header.set_qform(grid.affine if qform is None else qform, code=form_code, strip_shears=True)
    header.set_sform(grid.affine, code=form_code)
    return header


def _painted(values: np.ndarray, column_V: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The voxels' values: those of their columns (-1: the last), with noise that sums to zero over each column."""
    signal_V = values[column_V].astype(np.float64)
    if noise:
        noise_V = rng.normal(0, noise, len(column_V))
        group_V = column_V + 1
        counts = np.maximum(np.bincount(group_V), 1)
        signal_V += noise_V - (np.bincount(group_V, weights=noise_V) / counts)[group_V]
    return signal_V


def paint_cifti(
    bold_TP: np.ndarray, atlas: Atlas, path: Path, *, tr: float = 2.0, noise: float = 5.0, seed: int = 0
) -> Path:
    """Write the series as grayordinates (``.dtseries.nii``) or as parcels (``.ptseries.nii``) of the atlas's dlabel."""
    dlabel = nib.load(dlabel_of(atlas))
    labels_V = np.asarray(dlabel.dataobj)[0].astype(int)
    table = dlabel.header.get_axis(0).label[0]
    brain = dlabel.header.get_axis(1)
    time = cifti2.SeriesAxis(0, tr, len(bold_TP))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".ptseries.nii"):
        named = [(table[label][0], brain[np.flatnonzero(labels_V == label)]) for label in atlas.parcels.labels]
        axis = cifti2.ParcelsAxis.from_brain_models(named)
        cifti2.Cifti2Image(bold_TP.astype(np.float32), header=(time, axis)).to_filename(path)
        return path
    column = np.full(int(max(labels_V.max(), atlas.parcels.labels.max())) + 1, -1)
    column[atlas.parcels.labels] = np.arange(len(atlas.parcels))
    column_V = np.where(labels_V > 0, column[labels_V], -1)
    rng = np.random.default_rng(seed)
    rows = [_painted(np.append(values_P, BACKGROUND), column_V, noise, rng) for values_P in bold_TP]
    cifti2.Cifti2Image(np.asarray(rows, np.float32), header=(time, brain)).to_filename(path)
    return path


def _write_small_dlabel(path: Path, volume: np.ndarray, grid: Grid, names: list[str]) -> None:
    """The first 40 % of the parcels on the left surface, then 40 % on the right, the rest in the thalamus's voxels."""
    per_side = int(0.4 * len(names))
    axis, labels = None, []
    for number, side in enumerate(("LEFT", "RIGHT")):
        vertices = np.arange(4, VERTICES)  # the first ones stand for the medial wall, which has no signal
        model = cifti2.BrainModelAxis.from_surface(vertices, VERTICES, name=f"CIFTI_STRUCTURE_CORTEX_{side}")
        axis = model if axis is None else axis + model
        own = number * per_side + 1 + np.arange(len(vertices)) * per_side // len(vertices)
        labels.append(np.where(vertices % 10 == 5, 0, own))
    deep = volume > 2 * per_side
    mask = cifti2.BrainModelAxis.from_mask(deep, affine=grid.affine, name="CIFTI_STRUCTURE_THALAMUS_LEFT")
    axis = axis + mask
    labels.append(volume[tuple(mask.voxel.T)])
    keys = {0: ("???", (0.0, 0.0, 0.0, 0.0))}
    keys |= {number: (name, (number / len(names), 0.5, 0.5, 1.0)) for number, name in enumerate(names, start=1)}
    table = cifti2.LabelAxis(["small"], [keys])
    data = np.concatenate(labels)[None].astype(np.float32)
    cifti2.Cifti2Image(data, header=(table, axis)).to_filename(path)
