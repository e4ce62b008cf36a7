"""One value a parcel, on the brain: cortical surface and slices with a label image, else markers at the coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float, Int64, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy.ndimage import distance_transform_edt

from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError
from brainlm.report.blocks import Picture
from brainlm.report.parcel_charts import SCALE_NOTE, ColourScale, colour_bar, dots_panel
from brainlm.report.sentences import counted, number
from brainlm.report.style import Panel, png_uri

TILE_INCHES, TILE_DPI = 3.0, 150
# Where the surface shows nothing: cerebellum, hippocampus, striatum, thalamus.
SLICES_MM = (-44, -18, -2, 14)
CORTICAL_DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
EXTENSION_MM = 3.0
SURFACE = "fsaverage5"  # comes with nilearn: no download


class PaintedBrain:
    """The parcels of a label image on the inflated cortical surface and on axial slices.

    Raises:
        AtlasError: the image cannot be read or holds none of the parcels' labels.
    """

    def __init__(self, parcels: Parcels, atlas: Path) -> None:
        from nilearn.datasets import load_mni152_template

        self._affine, self._index_XYZ = _parcel_index(parcels, atlas)
        num_absent = len(parcels) - len(np.unique(self._index_XYZ[self._index_XYZ >= 0]))
        self.note = (
            f"Parcels painted by {atlas.name}: inflated {SURFACE} surface (parcels extended by "
            f"{EXTENSION_MM:g} mm, then sampled between white and pial surface) and axial slices in MNI space, left on "
            "the left. Uncoloured: outside the atlas."
        )
        if num_absent:
            self.note += f" {counted(num_absent, 'parcel')} without a voxel in the image not shown."
        self._template = load_mni152_template(resolution=2)
        # 0 is what sampling outside the image gives, so parcels count from 1 here.
        extended = (_extended(self._index_XYZ, self._affine) + 1).astype(np.float32)
        self._surfaces = {
            side: _on_surface(nib.Nifti1Image(extended, self._affine), side) for side in ("left", "right")
        }

    def tiles(self, values: Float[np.ndarray, "P"], scale: ColourScale) -> tuple[Panel, ...]:
        """Four views of the cortex, then the slices that hold parcels with a value."""
        views = [(side, view) for view in ("lateral", "medial") for side in ("left", "right")]
        pictures = _trimmed([self._surface(values, scale, side, view) for side, view in views])
        names = [f"{side} hemisphere, {view}" for side, view in views]
        shown = np.append(np.isfinite(values), False)  # index -1 is the appended one
        heights = [z for z in SLICES_MM if shown[np.asarray(self._slab(z).dataobj)].any()]
        slices = [self._slice(values, scale, z) for z in heights]
        pictures += _trimmed(slices) if slices else []
        names += [f"z = {number(float(z), digits=0)} mm" for z in heights]
        return tuple(_tile(name, picture, scale) for name, picture in zip(names, pictures, strict=True))

    def on_vertices(self, values: Float[np.ndarray, "P"], side: str) -> Float[np.ndarray, "V"]:
        """The value of the parcel at every vertex of a hemisphere, ``left`` or ``right``; NaN outside the atlas."""
        index = self._surfaces[side]
        return np.where(index >= 0, values[index], np.nan)

    def _surface(
        self, values: Float[np.ndarray, "P"], scale: ColourScale, side: str, view: str
    ) -> UInt8[np.ndarray, "H W 3"]:
        from nilearn.datasets import load_fsaverage, load_fsaverage_data
        from nilearn.plotting import plot_surf

        painted = self.on_vertices(np.clip(values, scale.low, scale.high), side)
        figure = _tile_figure()
        plot_surf(
            load_fsaverage(SURFACE)["inflated"].parts[side],
            painted,
            bg_map=load_fsaverage_data(mesh=SURFACE, data_type="sulcal", mesh_type="inflated").data.parts[side],
            hemi=side,
            view=view,
            cmap=scale.colours,
            vmin=scale.low,
            vmax=scale.high,
            avg_method="median",
            colorbar=False,
            axes=figure.add_axes((0, 0, 1, 1), projection="3d"),
            figure=figure,
        )
        return _pixels(figure)

    def _slab(self, z_mm: int) -> nib.Nifti1Image:
        """The positions of the parcels around ``z_mm`` only: the whole image would be resampled for one slice of it."""
        level = round(float((np.linalg.inv(self._affine) @ (0, 0, z_mm, 1))[2]))
        first, stop = (int(np.clip(edge, 0, self._index_XYZ.shape[2])) for edge in (level - 1, level + 2))
        shift = np.eye(4)
        shift[2, 3] = first
        return nib.Nifti1Image(self._index_XYZ[:, :, first:stop].astype(np.int32), self._affine @ shift)

    def _slice(self, values: Float[np.ndarray, "P"], scale: ColourScale, z_mm: int) -> UInt8[np.ndarray, "H W 3"]:
        from nilearn.plotting import plot_img

        # Values become steps of the colour scale, 0 stays "nothing here": a value of 0 must not vanish.
        num_steps = 256
        share = (np.clip(values, scale.low, scale.high) - scale.low) / (scale.high - scale.low)
        step = np.append(np.nan_to_num(1 + np.round(share * (num_steps - 1)), nan=0), 0)  # index -1 is the appended 0
        slab = self._slab(z_mm)
        figure = _tile_figure()
        plot_img(
            nib.Nifti1Image(step[np.asarray(slab.dataobj)].astype(np.float32), slab.affine),
            bg_img=self._template,
            display_mode="z",
            cut_coords=[z_mm],
            cmap=ListedColormap(scale.colours(np.linspace(0, 1, num_steps))),
            vmin=1,
            vmax=num_steps,
            threshold=0.5,
            resampling_interpolation="nearest",
            black_bg=False,
            colorbar=False,
            annotate=False,
            figure=figure,
        )
        return _pixels(figure)


def _parcel_index(parcels: Parcels, atlas: Path) -> tuple[Float[np.ndarray, "4 4"], Int64[np.ndarray, "X Y Z"]]:
    """Affine, and for every voxel the position of its parcel in the table (-1: none)."""
    try:
        image: Any = nib.as_closest_canonical(nib.load(atlas))
        labels = np.asarray(image.dataobj).squeeze()
        labels = np.nan_to_num(labels).round().astype(np.int64)
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise AtlasError(
            "the label image cannot be read",
            found=f"{atlas}: {error}",
            remedy="replace it by the atlas's label image, or delete it to get markers at the coordinates",
        ) from error
    order = np.argsort(parcels.labels)
    place = np.searchsorted(parcels.labels[order], labels).clip(max=len(parcels) - 1)
    index = np.where(parcels.labels[order][place] == labels, order[place], -1)
    if labels.ndim != 3 or (index < 0).all():
        raise AtlasError(
            "the label image does not belong to the parcels table",
            expected="a 3-D image whose values are the labels of parcels.tsv",
            found=f"{atlas}: shape {labels.shape}, labels {labels.min()} to {labels.max()}",
            remedy="replace it by the atlas's label image, or delete it to get markers at the coordinates",
        )
    return np.asarray(image.affine, dtype=np.float64), index


def _extended(index_XYZ: Int64[np.ndarray, "X Y Z"], affine: Float[np.ndarray, "4 4"]) -> Int64[np.ndarray, "X Y Z"]:
    """The parcels grown by a few millimetres: the surface runs through slits that label images leave along sulci."""
    sizes_mm = nib.affines.voxel_sizes(affine)
    distance, nearest = distance_transform_edt(index_XYZ < 0, sampling=sizes_mm, return_indices=True)
    return np.where(distance <= EXTENSION_MM, index_XYZ[tuple(nearest)], -1)


def _on_surface(parcels_from_1: nib.Nifti1Image, side: str) -> Int64[np.ndarray, "V"]:
    """For every vertex the position of its parcel in the table (-1: none)."""
    from nilearn.datasets import load_fsaverage
    from nilearn.surface import vol_to_surf

    meshes = load_fsaverage(SURFACE)
    labels = vol_to_surf(
        parcels_from_1,
        meshes["pial"].parts[side],
        inner_mesh=meshes["white_matter"].parts[side],
        kind="depth",
        depth=CORTICAL_DEPTHS,
        interpolation="nearest_most_frequent",
    )
    return np.nan_to_num(labels).round().astype(np.int64) - 1


class MarkerBrain:
    """A marker at each parcel's coordinates in a glass brain."""

    views: Mapping[str, str] = {"l": "left", "r": "right", "y": "coronal", "z": "axial"}

    def __init__(self, parcels: Parcels) -> None:
        self.coordinates = parcels.coordinates
        self.note = (
            "A marker at the MNI coordinates of each parcel, in a glass brain: markers in front cover those behind. "
            "Coronal and axial: left on the left."
        )

    def tiles(self, values: Float[np.ndarray, "P"], scale: ColourScale) -> tuple[Panel, ...]:
        """Left, right, coronal and axial projection."""
        from nilearn.plotting import plot_markers

        known = np.isfinite(values)
        pictures = []
        for view in self.views:
            figure = _tile_figure()
            plot_markers(
                np.clip(values[known], scale.low, scale.high),
                self.coordinates[known],
                node_size=float(np.clip(6000 / len(values), 8, 40)),
                node_cmap=scale.colours,
                node_vmin=scale.low,
                node_vmax=scale.high,
                display_mode=view,
                figure=figure,
                annotate=False,
                colorbar=False,
            )
            pictures.append(_pixels(figure))
        # Each view has its own frame: cut away the margins of each, not those common to all.
        trimmed = [_trimmed([picture])[0] for picture in pictures]
        return tuple(_tile(name, picture, scale) for name, picture in zip(self.views.values(), trimmed, strict=True))


Brain = PaintedBrain | MarkerBrain


def choose_brain(parcels: Parcels | None, atlas: Path | None) -> Brain | None:
    """The label image where there is one, else markers, None where nothing says where the parcels lie."""
    if parcels is None:
        return None
    if atlas is not None:
        return PaintedBrain(parcels, atlas)
    return MarkerBrain(parcels) if parcels.has_coordinates else None


def picture(
    parcels: Parcels | None,
    brain: Brain | None,
    values: Float[np.ndarray, "P"],
    scale: ColourScale,
    about: str,
    *,
    scale_note: str = SCALE_NOTE,
    drawn_as_above: bool = False,
    networks: str | None = None,
    side: Panel | None = None,
) -> Picture:
    """The map with its colour bar beside the dots by network; the dots alone where nothing says where parcels lie.

    ``networks`` is the column of the dots (default: the first that holds networks), ``side`` what stands there instead.
    """
    side = dots_panel(values, parcels, scale, networks=networks) if side is None else side
    if brain is None:
        return Picture((side,), about)
    note = "Drawn as above." if drawn_as_above else brain.note
    caption = f"{about} {scale.reading} {note} {scale_note}".rstrip()
    return Picture(brain.tiles(values, scale), caption, layout="brain", bar=colour_bar(values, scale), side=side)


def _tile(name: str, picture: UInt8[np.ndarray, "H W 3"], scale: ColourScale) -> Panel:
    return Panel(title=name, alt=f"{scale.label} on the brain: {name}.", uri=png_uri(picture))


def _tile_figure() -> Figure:
    figure = Figure(figsize=(TILE_INCHES, TILE_INCHES), dpi=TILE_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Figure) -> UInt8[np.ndarray, "H W 3"]:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    figure.clear()
    return pixels


def _trimmed(pictures: Sequence[UInt8[np.ndarray, "H W 3"]]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The pictures without the white margin that all share, so that their scale stays the same."""
    ink = np.any([(picture < 250).any(axis=2) for picture in pictures], axis=0)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return list(pictures)
    return [picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] for picture in pictures]
