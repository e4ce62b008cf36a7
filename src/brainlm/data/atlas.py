"""Atlases: a parcels table with the label image or dlabel it belongs to, from the net, a folder, a file or nilearn.

The table alone is in ``parcels.py``, those that come with the package in ``shipped_atlases.py``; label images are read
in ``label_image.py``, dlabels in ``grayordinates.py``; what each named atlas consists of is in ``named_atlases.py``.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from brainlm.data.grayordinates import DLABEL_SUFFIX, LabelGrayordinates, cached_dlabel, read_dlabel
from brainlm.data.label_image import LabelImage, read_label_image
from brainlm.data.named_atlases import (
    A424_IMAGE,
    NILEARN_ATLASES,
    AtlasFiles,
    a424,
    a424_grayordinates,
    is_on_this_machine,
    mist122,
    nilearn_atlas,
)
from brainlm.data.parcel_tables import read_parcel_table
from brainlm.data.parcels import COORDINATES, Parcels
from brainlm.data.shipped_atlases import NAMES, canonical, shipped_parcels
from brainlm.errors import AtlasError

IMAGE_SUFFIXES = (".nii", ".nii.gz")
NAMED = {"a424": a424, "mist-122": mist122}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Atlas:
    """Which parcels a signal belongs to, and where they lie.

    ``image`` is the path of a NIfTI label image whose integers are the table's labels, or None when there is none.
    ``grayordinates`` is the path of a CIFTI dlabel with the same labels, for CIFTI scans, or None. ``sha256`` is that
    of the image; without one, of the dlabel, or of the table where there is nothing else.
    """

    parcels: Parcels
    image: Path | None
    name: str
    sha256: str
    grayordinates: Path | None = None

    def __repr__(self) -> str:
        files = [path.name for path in (self.image, self.grayordinates) if path is not None]
        return f"Atlas({self.name!r}: {len(self.parcels)} parcels, {', '.join(files) or 'no image'})"

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        table: str | Path | None = None,
        grayordinates: str | Path | None = None,
        cache: str | Path | None = None,
        needs_image: bool = True,
    ) -> Atlas:
        """The atlas called ``name_or_path``, or the one at that path.

        Args:
            name_or_path: ``A424``; ``MIST-122``; one of nilearn's, such as ``schaefer:100:7`` or ``aal``; one whose
                table comes with the package, such as ``CC200`` or ``schaefer:400:7+aseg``; the path of a
                label image, of a CIFTI dlabel, of a parcels table, or of a folder with an image and its table.
                ``./A424`` is a path, ``A424`` a name.
            table: the parcels table of a label image or dlabel; without it a ``parcels.tsv`` beside it, or none.
            grayordinates: the dlabel of the same parcels, for CIFTI scans; without it one beside the image that is
                called as it is (``x.nii.gz`` and ``x.dlabel.nii``), or none.
            cache: where downloads are kept; by default the user's cache folder. For A424, the environment variable
                ``BRAINLM_ATLAS_DIR`` names a folder that has its files already.
            needs_image: False where the table suffices: the one that comes with the package is taken, and nothing is
                downloaded. A label image that is on this machine already comes along.

        Raises:
            AtlasError: no such atlas, no internet, or an image and a table that do not fit each other.
        """
        atlas = cls._load(str(name_or_path), table, Path(cache) if cache is not None else None, needs_image=needs_image)
        if grayordinates is None:
            return atlas
        atlas = replace(atlas, grayordinates=Path(grayordinates).expanduser())
        atlas.read_grayordinates()
        return atlas

    @classmethod
    def _load(cls, text: str, table: str | Path | None, cache: Path | None, *, needs_image: bool) -> Atlas:
        path = Path(text).expanduser()
        shipped = canonical(text)
        if shipped is not None and not needs_image and not is_on_this_machine(shipped, cache):
            parcels = shipped_parcels(shipped)
            return cls(parcels, None, shipped, parcels.fingerprint)
        text = shipped or text
        if text.lower() in NAMED:
            return cls._from_files(NAMED[text.lower()](cache))
        if "+" not in text and text.split(":")[0].lower() in NILEARN_ATLASES:
            return cls._from_files(nilearn_atlas(text, cache))
        if shipped is not None:
            raise _without_image(shipped)
        if not path.exists():
            raise _unknown(text)
        if (path / A424_IMAGE).is_file():
            return cls._from_files(a424(cache, folder=path))
        if path.is_file() and not path.name.endswith(IMAGE_SUFFIXES):
            parcels = read_parcel_table(path)
            return cls(parcels, None, _stem(path), parcels.fingerprint)
        image = path if path.is_file() else _image_in(path)
        if image.name.endswith(DLABEL_SUFFIX):
            return cls.from_dlabel(image, _table_of(image, table), name=_stem(path))
        atlas = cls.from_image(image, _table_of(image, table), name=_stem(path))
        beside = image.with_name(_stem(image) + DLABEL_SUFFIX)
        return replace(atlas, grayordinates=beside) if beside.is_file() else atlas

    @classmethod
    def _from_files(cls, files: AtlasFiles) -> Atlas:
        return replace(cls.from_image(files.image, files.table, name=files.name), grayordinates=files.grayordinates)

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

    @classmethod
    def from_dlabel(cls, path: Path, table: pd.DataFrame | None, *, name: str) -> Atlas:
        """The atlas of a CIFTI dlabel; without a parcels table, the names are those of the dlabel.

        Raises:
            AtlasError: the dlabel cannot be used, or does not have the table's labels.
        """
        dlabel = read_dlabel(path)
        parcels = Parcels(dlabel.table if table is None else table)
        check_labels(dlabel, parcels)
        return cls(parcels, None, name, hashlib.sha256(path.read_bytes()).hexdigest(), grayordinates=path)

    def with_grayordinates(self, *, cache: str | Path | None = None) -> Atlas:
        """This atlas with its dlabel; that of A424 is downloaded into ``cache`` unless it is there.

        Raises:
            AtlasError: none is known, or no internet.
        """
        if self.grayordinates is not None:
            return self
        if self.name != "A424":
            raise AtlasError(
                f"the atlas {self.name} has no dlabel: it does not say which grayordinates belong to its parcels",
                expected="a CIFTI dlabel with the labels of its table",
                found=f"the label image {self.image}" if self.image else "a parcels table alone",
                remedy=f"put it beside the label image (x.nii.gz and x{DLABEL_SUFFIX}), or give the path of the dlabel "
                "as the atlas",
            )
        return replace(self, grayordinates=a424_grayordinates(Path(cache) if cache is not None else None))

    def read_grayordinates(self) -> LabelGrayordinates:
        """The atlas's dlabel, from the file once in a process.

        Raises:
            AtlasError: there is none, it cannot be used, or it does not have the table's labels.
        """
        dlabel = cached_dlabel(Path(str(self.with_grayordinates().grayordinates)))
        check_labels(dlabel, self.parcels)
        return dlabel


def check_labels(image: LabelImage | LabelGrayordinates, parcels: Parcels) -> None:
    """Make sure that the image, or the dlabel, has exactly the table's labels.

    Raises:
        AtlasError: a label is only in one of the two.
    """
    title, what = ("label image", "image") if isinstance(image, LabelImage) else ("dlabel", "dlabel")
    absent = np.setdiff1d(parcels.labels, image.labels)
    extra = np.setdiff1d(image.labels, parcels.labels)
    if absent.size or extra.size:
        raise AtlasError(
            f"the {title} {image.path} and the parcels table do not fit each other",
            expected=f"the table's {len(parcels)} labels",
            found=f"{len(image.labels)} labels; not in the {what}: {_some(absent)}; not in the table: {_some(extra)}",
            remedy=f"give the table that belongs to the {what}, without lines for parcels that are not there",
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
    """The label image of a folder; its dlabel where there is no other."""
    images = sorted(item for item in folder.iterdir() if item.name.endswith(IMAGE_SUFFIXES))
    images = [item for item in images if not item.name.endswith(DLABEL_SUFFIX)] or images
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
    return read_parcel_table(Path(table) if table is not None else beside).table


def _without_image(name: str) -> AtlasError:
    return AtlasError(
        f"the label image of the atlas {name} is not known, only its parcels table",
        expected="a label image, to average a scan over its parcels",
        found="the table that comes with the package: `brainlm import` needs no more",
        remedy="give the path of the label image with --atlas, and its table with --parcels",
    )


def _unknown(text: str) -> AtlasError:
    names = ["A424", "MIST-122", *NILEARN_ATLASES, *NAMES]
    nearest = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    families = dict.fromkeys(name.split(":")[0] for name in names)
    return AtlasError(
        f"no atlas called {text}, and no file there",
        expected=f"a path, or one of {', '.join(families)} (schaefer:400:7, aal:SPM12, tian:S2, schaefer:400:7+aseg)",
        found=f"nearest: {', '.join(nearest)}" if nearest else None,
        remedy="correct the name, or give the path of a label image (with parcels.tsv beside it)",
    )


def _stem(path: Path) -> str:
    return path.name.split(".", 1)[0] if path.is_file() else path.resolve().name


def _some(labels: Sequence[int] | np.ndarray, most: int = 10) -> str:
    shown = ", ".join(str(label) for label in labels[:most])
    return (shown or "none") + (f", ... ({len(labels)})" if len(labels) > most else "")
