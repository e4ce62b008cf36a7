"""Maps of one value a parcel as files of their own: still pictures as a PNG, a brain that can be turned as HTML.

`brainlm attention` writes them beside its tables; the maps inside a report are in ``brain_maps.py``. P parcels.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from brainlm.atomic import disk_errors, replacing
from brainlm.data.parcels import Parcels
from brainlm.report import brain_views
from brainlm.report.brain_maps import Brain, choose_brain
from brainlm.report.parcel_charts import ColourScale, draw_bar, plain_scale
from brainlm.report.style import drawing

TILES_A_ROW, TILE_HEIGHT, BAR_HEIGHT, SHEET_WIDTH = 4, 150, 58, 640  # points
DPI = 200


def write_surface(
    path: Path,
    parcels: Parcels,
    atlas: Path | None,
    values: Float[np.ndarray, "P"],
    *,
    label: str,
    centre: float | None = None,
) -> bool:
    """Write the map of ``values`` as a PNG: cortical surface and slices with a label image, else markers.

    Args:
        atlas: the label image (``atlas.nii.gz``), None where there is none.
        values: any number a parcel; NaN stays uncoloured.
        label: the quantity and its unit, for the colour bar.
        centre: the value from which the colours go two ways (1 for multiples of the uniform level, 0 for t); None:
            one way.

    Returns:
        False where there is neither an image nor coordinates, or no value: nothing is written then.

    Raises:
        AtlasError: the image cannot be read or holds none of the parcels' labels. DataError: cannot be written.
    """
    return _write(_sheet, path, parcels, atlas, values, label=label, centre=centre)


def write_view(
    path: Path,
    parcels: Parcels,
    atlas: Path | None,
    values: Float[np.ndarray, "P"],
    *,
    label: str,
    centre: float | None = None,
) -> bool:
    """Write a brain that can be turned as one HTML file that needs no network, with arguments as ``write_surface``.

    Returns:
        False where there is neither an image nor coordinates, or no value: nothing is written then.

    Raises:
        AtlasError: the image cannot be read or holds none of the parcels' labels. DataError: cannot be written.
    """
    return _write(_view, path, parcels, atlas, values, label=label, centre=centre)


def _write(
    draw: Callable[[Brain, Float[np.ndarray, "P"], ColourScale], bytes],
    path: Path,
    parcels: Parcels,
    atlas: Path | None,
    values: Float[np.ndarray, "P"],
    *,
    label: str,
    centre: float | None,
) -> bool:
    """Write what ``draw`` makes of the brain, the values and their scale; see ``write_surface``."""
    brain = choose_brain(parcels, atlas) if np.isfinite(values).any() else None
    if brain is None:
        return False
    drawn = draw(brain, values, plain_scale(values, label=label, centre=centre))
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(drawn)
    return True


def _view(brain: Brain, values: Float[np.ndarray, "P"], scale: ColourScale) -> bytes:
    """The brain that can be turned, as an HTML file."""
    return brain_views.document(brain, values, scale).encode()


def _sheet(brain: Brain, values: Float[np.ndarray, "P"], scale: ColourScale) -> bytes:
    """The tiles in rows of four above their colour bar, as a PNG."""
    tiles = brain.tiles(values, scale)
    num_rows = -(-len(tiles) // TILES_A_ROW)
    buffer = io.BytesIO()
    with drawing(num_rows * TILE_HEIGHT + BAR_HEIGHT, width=SHEET_WIDTH) as figure:
        grid = figure.add_gridspec(num_rows + 1, TILES_A_ROW, height_ratios=[*[1.0] * num_rows, 0.08])
        for place, tile in enumerate(tiles):
            axes = figure.add_subplot(grid[place // TILES_A_ROW, place % TILES_A_ROW])
            axes.imshow(_decoded(tile.uri))
            axes.set_axis_off()
            axes.set_title(tile.title, fontsize=9)
        draw_bar(figure.add_subplot(grid[num_rows, 1:3]), values, scale)
        figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _decoded(uri: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))
    return np.asarray(picture.convert("RGB"))
