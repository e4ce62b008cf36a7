"""The look of every chart: colours and marks of the methods, type, and how a figure becomes an inline image.

Charts are drawn 344 points wide and shown at about 344 CSS pixels, three in a row on a desk and one on a phone, so
their type is never scaled down.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

INK, MUTED, RULE, BAND = "#1b2430", "#5b6775", "#d9dee4", "#eef1f4"
MODEL = "#c8440b"
HIDDEN = "#f3e9d2"
VERDICT_COLOURS = {"better": MODEL, "worse": "#0f3f78", "level": "#8a94a0", "unknown": "#8a94a0"}
# Naive rules are grey, fitted baselines blue to violet; the shape carries the identity where the hue is too near.
NAIVE_WORDS = ("zero", "last value", "interpolation")
NAIVE = (("#9aa3ad", "v"), ("#6d7681", "^"), ("#b9a88f", "<"), ("#4c535b", ">"))
FITTED = (
    *(("#1d5c99", "s"), ("#5aa5da", "D"), ("#0f2f55", "P"), ("#7b6bb0", "X")),
    *(("#3d8f8a", "d"), ("#8fb8ff", "h"), ("#a5548f", "p"), ("#46327e", "*")),
)
# The kinds of method of a clinical variable: the model's own are warm, what it is measured against cool or grey.
GROUP_LOOKS = {
    "model": (MODEL, "o"),
    "finetuned": ("#e0902b", "P"),
    "fusion": ("#882255", "X"),
    "random-init": ("#a08a68", "<"),
    "connectivity": ("#1d5c99", "s"),
    "neural": ("#5aa5da", "D"),
    "signal": ("#3d8f8a", "d"),
    "nuisance": ("#6d7681", "^"),
    "chance": ("#9aa3ad", "v"),
}
# Paul Tol's "muted" scheme: categories that stay apart under the common colour-vision deficiencies.
CATEGORIES = (
    *("#332288", "#44aa99", "#cc6677", "#ddcc77", "#88ccee"),
    *("#882255", "#117733", "#999933", "#aa4499", "#777777"),
)
CATEGORY_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
MISSING = "#c3c9d0"
FIRST_LEVEL, SECOND_LEVEL = "#9b1c31", "#1f4b99"  # of a contrast, where it is higher in the one and in the other
SEEN = "#b00020"  # what was in the pretraining data; always beside a dagger

PANEL_WIDTH = 344  # points; CSS pixels at a scale of 1
POINTS_PER_INCH = 72
RASTER_DPI = 2 * POINTS_PER_INCH

_TYPEFACE = "DejaVu Sans"  # comes with matplotlib, so that lay-out is the same everywhere; browsers draw with theirs:
_BROWSER_TYPEFACES = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SETTINGS: Any = {
    "font.family": _TYPEFACE,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#aeb6bf",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#e6eaee",
    "grid.linewidth": 0.8,
    "xtick.color": "#aeb6bf",
    "ytick.color": "#aeb6bf",
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "text.parse_math": False,  # names of parcels and phenotypes may hold a dollar sign
    "svg.fonttype": "none",
    "svg.hashsalt": "brainlm",  # same numbers, same bytes
    "savefig.dpi": RASTER_DPI,
}


@dataclass(frozen=True)
class Mark:
    """How a method, or a category, is drawn everywhere on the page."""

    label: str
    colour: str
    marker: str


@dataclass(frozen=True)
class Panel:
    """One inline image with its heading and the text for who cannot see it."""

    title: str
    alt: str
    uri: str
    note: str = ""
    key: tuple[Mark, ...] = ()


def method_marks(names: Sequence[str], model_name: str | None) -> dict[str, Mark]:
    """The mark of every method: the model's own, greys for naive rules and blues for fitted baselines, in order."""
    marks = {}
    used = {"naive": 0, "fitted": 0}
    for name in names:
        if name == model_name:
            marks[name] = Mark(name, MODEL, "o")
            continue
        family = "naive" if any(word in name.lower() for word in NAIVE_WORDS) else "fitted"
        scheme = NAIVE if family == "naive" else FITTED
        marks[name] = Mark(name, *scheme[used[family] % len(scheme)])
        used[family] += 1
    return marks


@contextmanager
def drawing(height: int, *, width: int = PANEL_WIDTH) -> Iterator[Figure]:
    """A new figure of ``height`` points in the page's style, without pyplot: nothing is left open."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # Only the lay-out is measured with this typeface; the browser has the glyphs it lacks.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # type: ignore[call-arg, union-attr]
        yield figure


def svg_uri(figure: Figure) -> str:
    """The figure as an SVG image to inline; same figure, same bytes."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(f"'{_TYPEFACE}'", _BROWSER_TYPEFACES)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def png_uri(pixels: np.ndarray) -> str:
    """The (height, width, 3) bytes as a PNG image to inline, in up to 256 colours: brains need no more."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).quantize(256).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
