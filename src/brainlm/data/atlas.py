"""Atlases: a parcels table with the label image it belongs to, from the net, a folder, a file or nilearn.

The table alone is in ``parcels.py``; label images are read in ``label_image.py``; what each named atlas consists of is
in ``named_atlases.py``.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from brainlm.data.label_image import LabelImage, read_label_image
from brainlm.data.named_atlases import A424_IMAGE, NILEARN_ATLASES, a424, mist122, nilearn_atlas
from brainlm.data.parcels import COORDINATES, Parcels
from brainlm.errors import AtlasError

IMAGE_SUFFIXES = (".nii", ".nii.gz")
NAMED = {"a424": a424, "mist-122": mist122}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Atlas:
    """Which parcels a signal belongs to, and where they lie.

    ``image`` is the path of a NIfTI label image whose integers are the table's labels, or None when there is only a
    table. ``sha256`` is that of the image, or of the table where there is no image.
    """

    parcels: Parcels
    image: Path | None
    name: str
    sha256: str

    @classmethod
    def load(
        cls, name_or_path: str | Path, *, table: str | Path | None = None, cache: str | Path | None = None
    ) -> Atlas:
        """The atlas called ``name_or_path``, or the one at that path.

        Args:
            name_or_path: ``A424``; ``MIST-122``; one of nilearn's, such as ``schaefer:100:7`` or ``aal``; the path of a
                label image, of a parcels table, or of a folder with both. ``./A424`` is a path, ``A424`` a name.
            table: the parcels table of a label image; without it a ``parcels.tsv`` beside the image, or none.
            cache: where downloads are kept; by default the user's cache folder. For A424, the environment variable
                ``BRAINLM_ATLAS_DIR`` names a folder that has its files already.

        Raises:
            AtlasError: no such atlas, no internet, or an image and a table that do not fit each other.
        """
        text = str(name_or_path)
        cache = Path(cache) if cache is not None else None
        if text.lower() in NAMED:
            source = NAMED[text.lower()](cache)
        elif text.split(":")[0].lower() in NILEARN_ATLASES:
            source = nilearn_atlas(text, cache)
        else:
            path = Path(text).expanduser()
            if not path.exists():
                raise _unknown(text)
            if (path / A424_IMAGE).is_file():
                source = a424(cache, folder=path)
            elif path.is_file() and not path.name.endswith(IMAGE_SUFFIXES):
                parcels = Parcels.read(path)
                return cls(parcels, None, _stem(path), parcels.fingerprint)
            else:
                image = path if path.is_file() else _image_in(path)
                return cls.from_image(image, _table_of(image, table), name=_stem(path))
        return cls.from_image(source.image, source.table, name=source.name)

    @classmethod
    def from_image(cls, path: Path, table: pd.DataFrame | None, *, name: str) -> Atlas:
        """The atlas of a label image and its parcels table; without a table, labels are names.

        Raises:
            AtlasError: the image cannot be used, or does not have the table's labels.
        """
        image = read_label_image(path)
        if table is None:
            logger.info("%s has no parcels table: its parcels are named by their labels", path)
            table = pd.DataFrame({"label": image.labels, "name": [f"parcel-{label}" for label in image.labels]})
        parcels = Parcels(table)
        check_labels(image, parcels)
        return cls(with_coordinates(parcels, image), path, name, hashlib.sha256(path.read_bytes()).hexdigest())


def check_labels(image: LabelImage, parcels: Parcels) -> None:
    """Make sure that the image has exactly the table's labels.

    Raises:
        AtlasError: a label is only in one of the two.
    """
    absent = np.setdiff1d(parcels.labels, image.labels)
    extra = np.setdiff1d(image.labels, parcels.labels)
    if absent.size or extra.size:
        raise AtlasError(
            f"the label image {image.path} and the parcels table do not fit each other",
            expected=f"the table's {len(parcels)} labels",
            found=f"{len(image.labels)} labels; not in the image: {_some(absent)}; not in the table: {_some(extra)}",
            remedy="give the table that belongs to the image, without lines for parcels that are not there",
        )


def with_coordinates(parcels: Parcels, image: LabelImage) -> Parcels:
    """The table, with the centroids of the image's parcels as x, y, z (mm) if it has no coordinates."""
    if parcels.has_coordinates:
        return parcels
    table = parcels.table.drop(columns=[name for name in COORDINATES if name in parcels.table])
    centroids = image.centroids(parcels.labels).astype(np.float64).round(2)
    for position, name in enumerate(COORDINATES, start=2):
        table.insert(position, name, centroids[:, position - 2])
    return Parcels(table)


def _image_in(folder: Path) -> Path:
    images = sorted(item for item in folder.iterdir() if item.name.endswith(IMAGE_SUFFIXES))
    if len(images) != 1:
        raise AtlasError(
            f"{folder} is not the folder of one atlas",
            expected="one label image (.nii or .nii.gz) and its parcels.tsv",
            found=f"{len(images)} images: {', '.join(image.name for image in images) or 'none'}",
            remedy="give the path of the label image",
        )
    return images[0]


def _table_of(image: Path, table: str | Path | None) -> pd.DataFrame | None:
    beside = image.with_name("parcels.tsv")
    if table is None and not beside.is_file():
        return None
    return Parcels.read(table if table is not None else beside).table


def _unknown(text: str) -> AtlasError:
    names = ["A424", "MIST-122", *NILEARN_ATLASES]
    nearest = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    return AtlasError(
        f"no atlas called {text}, and no file there",
        expected=f"a path, or one of {', '.join(names)}",
        found=f"nearest: {', '.join(nearest)}" if nearest else None,
        remedy="correct the name, or give the path of a label image (with parcels.tsv beside it)",
    )


def _stem(path: Path) -> str:
    return path.name.split(".", 1)[0] if path.is_file() else path.resolve().name


def _some(labels: Sequence[int] | np.ndarray, most: int = 10) -> str:
    shown = ", ".join(str(label) for label in labels[:most])
    return (shown or "none") + (f", ... ({len(labels)})" if len(labels) > most else "")
