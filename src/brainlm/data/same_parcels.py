"""Are the columns of two stores, or of a model and a store, the same places of the brain? By names and coordinates.

Labels are numbers in a label image: two atlases of 200 parcels both have 1 to 200. They decide only where there is
nothing else.
"""

from __future__ import annotations

import logging
import re

import numpy as np
from jaxtyping import Bool

from brainlm.data.parcels import Parcels, same_name
from brainlm.errors import AtlasError

# Centroids of the same parcel in different releases of an atlas lie some mm apart; another order, some cm.
FAR_MM = 20.0
FEW = 0.05  # the share of parcels of the same name that may be far
# A parcel of another name is the same parcel if it lies this close: neighbours of the finest atlases (1,000 parcels)
# lie 9 mm apart.
SAME_PLACE_MM = 5.0

logger = logging.getLogger(__name__)


def check_same_parcels(given: Parcels, trained: Parcels, *, what: str, than: str = "the model") -> None:
    """Raise AtlasError unless column p of ``given`` is the same place of the brain as column p of ``trained``.

    Names are compared without regard to case, blanks, underscores and hyphens; networks and coverage are not compared.

    - Names known in both: they must agree. A parcel of another name passes where both have coordinates and it lies
      within ``SAME_PLACE_MM``. Where names agree, coordinates may be some mm apart (other releases, rounding), and
      those of a share of ``FEW`` may be anywhere.
    - Names unknown in one of them (numbers, ``parcel-7``): coordinates decide, more than ``FEW`` farther than
      ``FAR_MM`` being too many.
    - The same labels in another order are another order, whatever else agrees.
    - Neither names nor coordinates in both: labels decide, and a warning says that nothing else could be compared.

    Args:
        given: the parcels that are to fit.
        trained: those they must fit.
        what: has the parcels ``given``, for the message.
        than: what has the parcels ``trained``.
    """
    problem = f"{what} has other parcels than {than}, or another order"
    remedy = (
        f"parcellate with the atlas of {than}, and keep the order of its parcels.tsv; if only the names differ, give "
        "both the same table (brainlm import --atlas NAME, or --parcels parcels.tsv)"
    )
    if len(given) != len(trained):
        first = min(len(given), len(trained)) - 1
        raise AtlasError(
            problem,
            expected=f"{len(trained)} parcels; column {first + 1} is {_named(trained, first)}",
            found=f"{len(given)} parcels; column {first + 1} is {_named(given, first)}",
            remedy=remedy,
        )
    differs_P, found = _differences(given, trained)
    if not differs_P.any():
        return
    first = int(differs_P.argmax())
    raise AtlasError(
        problem,
        expected=f"{len(trained)} parcels; column {first + 1} is {_named(trained, first)}",
        found=f"{int(differs_P.sum())} of {len(given)} columns {found}; column {first + 1} is {_named(given, first)}",
        remedy=remedy,
    )


def _differences(given: Parcels, trained: Parcels) -> tuple[Bool[np.ndarray, "P"], str]:
    """Which columns are not the same parcel, and in what they differ."""
    nothing_P = np.zeros(len(given), bool)
    other_label_P = given.labels != trained.labels
    if sorted(given.labels) == sorted(trained.labels) and other_label_P.any():
        return other_label_P, "have other labels"
    apart_P = nothing_P.astype(float)
    located = given.has_coordinates and trained.has_coordinates
    if located:
        apart_P = np.linalg.norm(given.coordinates - trained.coordinates, axis=1)
    if has_names(given) and has_names(trained):
        pairs = zip(given.table["name"], trained.table["name"], strict=True)
        other_name_P = np.array([same_name(one) != same_name(other) for one, other in pairs])
        if located:
            other_name_P &= apart_P > SAME_PLACE_MM
        if other_name_P.any():
            return other_name_P, f"have other names{f' and lie more than {SAME_PLACE_MM:g} mm away' if located else ''}"
    elif not located:
        logger.warning(
            "only labels could be compared, since names or coordinates of parcels are not known for both: that the "
            "atlas and its order are the same rests on you. Import with --atlas NAME or --parcels parcels.tsv (columns "
            "label, name, x, y, z) to have it checked"
        )
        return other_label_P, "have other labels"
    if (apart_P > FAR_MM).mean() > FEW:
        return apart_P > FAR_MM, f"are more than {FAR_MM:g} mm away"
    return nothing_P, ""


def has_names(parcels: Parcels) -> bool:
    """True unless the names are numbers: ``7``, ``parcel-7``, ``ROI_007``."""
    form = re.compile(r"((parcel|region|node|roi|label|column|channel) ?)?0*(\d+)")
    return not all(form.fullmatch(same_name(name)) for name in parcels.table["name"])


def _named(parcels: Parcels, position: int) -> str:
    row = parcels.table.iloc[position]
    place = " at " + ", ".join(f"{row[axis]:g}" for axis in "xyz") + " mm" if parcels.has_coordinates else ""
    return f"label {row['label']} ({row['name']}){place}"
