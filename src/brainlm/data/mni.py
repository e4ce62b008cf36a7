"""Is a scan in MNI space, where atlases are? By its name, by its header, and by where its signal lies.

A scan that is not would be parcellated without a murmur, and every parcel would be another place.
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Shaped

from brainlm.data.atlas import Atlas
from brainlm.data.grid import Grid
from brainlm.data.label_grid import LabelGrid, atlas_voxels
from brainlm.data.nifti_header import ALIGNED, MNI, SCANNER, TALAIRACH, TEMPLATE, UNKNOWN, NiftiHeader
from brainlm.errors import DataError

CODE_NAMES = {
    UNKNOWN: "unknown",
    SCANNER: "the scanner's coordinates",
    ALIGNED: "aligned to some other image",
    TALAIRACH: "Talairach space",
    MNI: "MNI space",
    TEMPLATE: "some other template",
}
# "Aligned to some other image" is what most programs write that make images in MNI space.
POSSIBLE_CODES = (MNI, ALIGNED, TEMPLATE)
MIN_BRAIN_SHARE = 0.5  # of the atlas's voxels that a scan must show: with less it is another space, or half a brain
# Axes are suspected where the scan lacks more of the atlas than a wrong place would, and another order of them lacks
# little and much less. Between left and right there is no telling: the halves of a brain are too alike.
SUSPICIOUS_SHARE = 0.9
BETTER_BY = 0.1


def check_space(header: NiftiHeader, space: str) -> None:
    """Make sure that the scan's name or header says MNI, and nothing else.

    Args:
        header: of the scan.
        space: the space its name says (BIDS entity ``space``, or what is known of a layout); empty: not said.

    Raises:
        DataError: the name says another space, or says none and the header says the scanner's, Talairach's or an
            unknown one.
    """
    if space.startswith("MNI") or (not space and header.space_code in POSSIBLE_CODES):
        return
    code = header.space_code
    raise DataError(
        f"{header.path} is not in MNI space",
        expected="a scan normalised to an MNI template, where the atlas is",
        found=f"space-{space} in its name"
        if space
        else f"code {code} in its header: {CODE_NAMES.get(code, 'no space')}",
        remedy="give the MNI version of the scan"
        + ("" if space else "; if this is it, say so: --assume_space MNI152NLin6Asym, or space= in Python"),
    )


def check_in_view(labels: LabelGrid, header: NiftiHeader, atlas: Atlas) -> None:
    """Make sure that most of the atlas lies inside the image.

    Raises:
        DataError: it does not.
    """
    share = labels.share_in_view
    if share >= MIN_BRAIN_SHARE:
        return
    raise DataError(
        f"{header.path} does not show the brain that the atlas {atlas.name} is of",
        expected=f"at least {MIN_BRAIN_SHARE:.0%} of the atlas's voxels inside the image",
        found=f"{share:.0%}; the image reaches {_extent(header.grid)}",
        remedy="give the scan in MNI space, or correct the affine in its header",
    )


def check_signal(
    labels: LabelGrid,
    valid_V: Bool[np.ndarray, "V"],
    first_volume: Shaped[np.ndarray, "num_voxels"],
    header: NiftiHeader,
    atlas: Atlas,
) -> None:
    """Make sure that there is signal where the atlas's brain is.

    Args:
        labels: the atlas on the scan's grid.
        valid_V: which of its voxels have signal.
        first_volume: all stored values of the first volume, which tell brain from empty space.
        header: of the scan.
        atlas: that the scan is parcellated with.

    Raises:
        DataError: the brain is elsewhere, or lies as if the axes of the data had been swapped or turned round.
    """
    share = _share(labels, valid_V)
    if share >= SUSPICIOUS_SHARE:
        return
    signal = _not_empty(first_volume)
    shown = _share(labels, signal[labels.voxels])
    axes, better = _best_axes(signal, header.grid, atlas)
    if shown < SUSPICIOUS_SHARE <= better and better - shown >= BETTER_BY:
        raise DataError(
            f"{header.path}: the axes of the data do not fit its affine",
            expected=f"an image in the place of the brain of the atlas {atlas.name}",
            found=f"{shown:.0%} of the atlas's voxels there, but {better:.0%} if the axes of the data were {axes}",
            remedy="write the image again with an affine that belongs to its data",
        )
    if share < MIN_BRAIN_SHARE:
        raise DataError(
            f"{header.path} has no signal where the brain of the atlas {atlas.name} is",
            expected=f"values that vary in at least {MIN_BRAIN_SHARE:.0%} of the atlas's voxels (within the mask)",
            found=f"{share:.0%}",
            remedy="check that the scan is in MNI space, that it is whole, and that the mask is its own",
        )


def _share(labels: LabelGrid, where_V: Bool[np.ndarray, "V"]) -> float:
    """The share of all the atlas's voxels that fall into these voxels of the image."""
    return float((labels.counts @ where_V.astype(np.float64)).sum() / labels.num_atlas_voxels.sum())


def _not_empty(volume: Shaped[np.ndarray, "num_voxels"]) -> Bool[np.ndarray, "num_voxels"]:
    """Where a volume shows something: finite, and another value than in its first corner."""
    return np.asarray(np.isfinite(volume) & (volume != volume[0]))


def _best_axes(signal: Bool[np.ndarray, "num_voxels"], grid: Grid, atlas: Atlas) -> tuple[str, float]:
    """The other order or direction of the axes that puts most of the atlas's voxels into signal, and the share."""
    image = atlas_voxels(atlas)
    atlas_grid = Grid(image.volume.shape, image.affine)
    indices = np.argwhere(image.volume)
    volume = signal.reshape(grid.shape, order="F")
    best = ("", 0.0)
    for order in itertools.permutations(range(3)):
        turned = volume.transpose(order)
        voxels = Grid(turned.shape, grid.affine).voxels_at(indices, atlas_grid)
        for steps in itertools.product((1, -1), repeat=3):
            if order == (0, 1, 2) and steps == (1, 1, 1):
                continue
            flipped = turned[:: steps[0], :: steps[1], :: steps[2]].ravel(order="F")
            share = float((flipped[voxels] & (voxels >= 0)).mean())
            if share > best[1]:
                names = ("-" if step < 0 else "" for step in steps)
                best = (", ".join(sign + "xyz"[axis] for sign, axis in zip(names, order, strict=True)), share)
    return best


def _extent(grid: Grid) -> str:
    ends = np.array(list(itertools.product(*[(0, length - 1) for length in grid.shape])))
    corners = ends @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    spans = (
        f"{name} {low:.0f} to {high:.0f}" for name, low, high in zip("xyz", corners.min(0), corners.max(0), strict=True)
    )
    return ", ".join(spans) + " mm"
