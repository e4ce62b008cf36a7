"""One value a parcel on a brain that can be turned: a whole HTML document that needs no network.

nilearn draws it; still maps are in ``brain_maps.py``, how several documents share one page in ``packed_views.py``.
P parcels.
"""

from __future__ import annotations

import html
import re

import matplotlib as mpl
import numpy as np
from jaxtyping import Float

from brainlm.report.brain_maps import SURFACE, Brain, PaintedBrain
from brainlm.report.parcel_charts import ColourScale, colour_bar

# The document may draw and nothing else: whatever is in it, no browser fetches anything for it. Plotly compiles its
# shaders' helpers at run time.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
MARKER_PIXELS = (5.0, 11.0)
_STYLE = "<style>body { margin: 0; overflow-x: hidden; }</style>"
_OUTSIDE = re.compile(r"<link\b[^>]*>")  # nilearn names an icon on its web site


def document(brain: Brain, values: Float[np.ndarray, "P"], scale: ColourScale) -> str:
    """The page of the cortical surface, or of markers where there is no label image, with its colour bar below."""
    drawn = _surface(brain, values, scale) if isinstance(brain, PaintedBrain) else _markers(brain, values, scale)
    bar = colour_bar(values, scale)
    below = (
        f'<div style="max-width:344px;margin:6px 4px;font:13px sans-serif"><img style="width:100%" src="{bar.uri}" '
        f'alt="{html.escape(bar.alt)}"></div>'
    )
    head = f'<head>\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n{_STYLE}'
    drawn = _OUTSIDE.sub("", drawn).replace("<head>", head, 1)
    before, after = drawn.rsplit("</body>", 1)
    return f"{before}{below}</body>{after}"


def _surface(brain: PaintedBrain, values: Float[np.ndarray, "P"], scale: ColourScale) -> str:
    from nilearn.datasets import load_fsaverage, load_fsaverage_data
    from nilearn.plotting import view_surf
    from nilearn.surface import SurfaceImage

    shown = np.clip(values, scale.low, scale.high)
    sides = {side: brain.on_vertices(shown, side).astype(np.float32) for side in ("left", "right")}
    view = view_surf(
        surf_map=SurfaceImage(load_fsaverage(SURFACE)["inflated"], sides),
        bg_map=load_fsaverage_data(mesh=SURFACE, data_type="sulcal", mesh_type="inflated"),
        hemi="both",
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        symmetric_cmap=False,
        colorbar=False,
    )
    return str(view.get_standalone())


def _markers(brain: Brain, values: Float[np.ndarray, "P"], scale: ColourScale) -> str:
    from nilearn.plotting import view_markers

    assert not isinstance(brain, PaintedBrain)
    known = np.isfinite(values)
    colours = [
        mpl.colors.to_hex(colour) for colour in scale.mapped().to_rgba(np.clip(values[known], scale.low, scale.high))
    ]
    size = float(np.clip(1600 / max(int(known.sum()), 1), *MARKER_PIXELS))
    return str(view_markers(brain.coordinates[known], marker_color=colours, marker_size=size).get_standalone())
