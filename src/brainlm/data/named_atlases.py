"""What the atlases known by name consist of, and how they come here: A424, the demo's MIST-122, nilearn's own.

Images are not vendored: they are downloaded when first asked for, checked and cached. ``atlas.py`` puts image and
table together; tables that come with the package are in ``shipped_atlases.py``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainlm.data.demo_files import demo_folder
from brainlm.data.label_image import read_label_image
from brainlm.data.shipped_atlases import NAMES, canonical
from brainlm.errors import AtlasError

ATLAS_DIR_VARIABLE = "BRAINLM_ATLAS_DIR"

A424_IMAGE = "A424+2mm.nii.gz"
A424_COORDINATES = "A424_Coordinates.txt"
A424_NAMES = "A424_Labels_AA-AAc_main_maps.csv"
A424_NETWORKS = "a424_parcels.tsv"  # optional, not published: Yeo-7 networks by majority of vertices
A424_GRAYORDINATES = "A424.dlabel.nii"  # optional: only CIFTI scans need it
# Last label of each part of the brain: 360 areas of the HCP-MMP cortex (1-180 right, 181-360 left), then subcortex.
A424_STRUCTURES = {"cortex": 360, "subcortex": 396, "cerebellum": 424}


@dataclass(frozen=True)
class _Download:
    url: str
    sha256: str


_BRAINLM = "https://raw.githubusercontent.com/vandijklab/BrainLM/HEAD/toolkit/atlases"
_HIERARCHICAL = "https://raw.githubusercontent.com/emergelab/hierarchical-brain-networks/HEAD/brainmaps"
A424_FILES: Mapping[str, _Download] = {
    A424_IMAGE: _Download(
        f"{_BRAINLM}/A424%2B2mm.nii.gz", "8478d7516a2bbf295989835d5033d03e4283143a2955c90428f634951702501b"
    ),
    A424_COORDINATES: _Download(
        f"{_BRAINLM}/A424_Coordinates.dat", "cdad8f8859c211b1400211ebbad455dedcc4399ac14fd614354fb71b110c892c"
    ),
    A424_NAMES: _Download(
        f"{_HIERARCHICAL}/{A424_NAMES}", "2920dac75cc297e48a8444c8a58a50c8ae2244b664167ac13c573633e9842b58"
    ),
}
A424_DLABEL = _Download(
    f"{_BRAINLM}/{A424_GRAYORDINATES}", "aa44b971ff80d247f890365cbb5bc68583c84b37605bab04bc930dce8a263a1e"
)
A424_TERMS = "A424: Nemati et al. (2020), iScience 23, 100800; Apache-2.0 (image, coordinates) and GPL-3.0 (names)"

NO_IMAGE_NEEDED = (
    "Tables of signals need no download: `brainlm import --atlas` takes the table that comes with the package"
)

# Yeo et al. (2011), J Neurophysiol 106: the 7 networks in their published order, by the names of the Schaefer atlas.
YEO7 = {1: "Vis", 2: "SomMot", 3: "DorsAttn", 4: "SalVentAttn", 5: "Limbic", 6: "Cont", 7: "Default"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AtlasFiles:
    """The label image of an atlas and its parcels table; coordinates may be missing from it.

    ``grayordinates`` is the CIFTI dlabel with the same labels, where there is one.
    """

    name: str
    image: Path
    table: pd.DataFrame
    grayordinates: Path | None = None


def a424(cache: Path | None, *, folder: Path | None = None) -> AtlasFiles:
    """A424 from ``folder``, from the folder in ``BRAINLM_ATLAS_DIR``, or downloaded into ``cache``.

    Raises:
        AtlasError: files are missing from the folder, or cannot be downloaded.
    """
    if folder is None and os.environ.get(ATLAS_DIR_VARIABLE):
        folder = Path(os.environ[ATLAS_DIR_VARIABLE])
    if folder is None:
        folder = _downloaded(A424_FILES, cache)
    missing = [name for name in A424_FILES if not (folder / name).is_file()]
    if missing:
        raise AtlasError(
            f"the folder {folder} lacks files of A424",
            expected=", ".join(A424_FILES),
            found=f"no {', '.join(missing)}",
            remedy="download them: " + ", ".join(f"{A424_FILES[name].url} (as {name})" for name in missing),
        )
    grayordinates = folder / A424_GRAYORDINATES
    return AtlasFiles(
        "A424", folder / A424_IMAGE, _a424_table(folder), grayordinates if grayordinates.is_file() else None
    )


def a424_grayordinates(cache: Path | None) -> Path:
    """The checked CIFTI dlabel of A424, downloaded into ``cache`` unless it is there.

    Raises:
        AtlasError: it cannot be downloaded.
    """
    return _downloaded({A424_GRAYORDINATES: A424_DLABEL}, cache) / A424_GRAYORDINATES


def is_on_this_machine(name: str, cache: Path | None) -> bool:
    """True if the label image of this atlas can be had without a download, as far as that can be told."""
    if name == "A424":
        return bool(os.environ.get(ATLAS_DIR_VARIABLE)) or all((_cached(cache) / file).is_file() for file in A424_FILES)
    family, *options = name.split(":")
    if family not in NILEARN_ATLASES or not NILEARN_ATLASES[family].place:
        return False
    from nilearn.datasets import get_data_dirs

    place = NILEARN_ATLASES[family].place.format(*options)
    return any((Path(folder) / place).is_file() for folder in get_data_dirs(None if cache is None else str(cache)))


def _table_alone(text: str) -> str:
    """What to do without the image of an atlas of nilearn's, where its table comes with the package."""
    family = text.split(":")[0].lower()
    tables = [name for name in NAMES if name.split(":")[0].startswith(family)]
    if not tables:
        return "For tables of signals a parcels.tsv suffices: --parcels"
    return NO_IMAGE_NEEDED if canonical(text) else f"Tables that come with the package: {', '.join(tables)}"


def _cached(cache: Path | None) -> Path:
    import pooch

    return (cache or Path(pooch.os_cache("brainlm"))) / "A424"


def _downloaded(files: Mapping[str, _Download], cache: Path | None) -> Path:
    """The folder with the checked files; downloaded unless they are there."""
    import pooch

    folder = _cached(cache)
    pooch.get_logger().setLevel(logging.WARNING)
    if not all((folder / name).is_file() for name in files):
        logger.info("downloading A424 to %s (%s)", folder, A424_TERMS)
    for name, download in files.items():
        try:
            pooch.retrieve(download.url, known_hash=f"sha256:{download.sha256}", fname=name, path=folder)
        except (OSError, ValueError) as error:  # no internet, or another file than expected
            raise AtlasError(
                f"the atlas A424 could not be downloaded: {name}",
                expected=f"{download.url} with SHA-256 {download.sha256}",
                found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
                remedy="on a machine with internet, download "
                + ", ".join(f"{item.url} (as {other})" for other, item in files.items())
                + f"; put the files into {folder}, or into a folder named in {ATLAS_DIR_VARIABLE}. "
                + NO_IMAGE_NEEDED,
            ) from error
    return folder


def _a424_table(folder: Path) -> pd.DataFrame:
    coordinates = pd.read_csv(folder / A424_COORDINATES, sep=r"\s+", header=None, names=["label", "x", "y", "z"])
    # Column names repeat in this file (three called Name): the first belongs to the affiliation before it, AA-7.
    names = pd.read_csv(folder / A424_NAMES, encoding="utf-8-sig")
    if coordinates["label"].tolist() != names["A424"].tolist():
        raise AtlasError(
            f"the files of A424 in {folder} do not fit each other",
            expected="labels 1 to 424 in both tables",
            found=f"{len(coordinates)} coordinates, {len(names)} names",
            remedy="download both again",
        )
    ends = list(A424_STRUCTURES.values())
    table = pd.DataFrame(
        {
            "label": coordinates["label"],
            "name": names["Nodes"],
            **{axis: coordinates[axis].astype(float) for axis in "xyz"},
            "structure": np.array(list(A424_STRUCTURES))[np.searchsorted(ends, coordinates["label"])],
            "aa7": names["Name"],
        }
    )
    if (folder / A424_NETWORKS).is_file():
        yeo7 = pd.read_csv(folder / A424_NETWORKS, sep="\t", usecols=["index", "yeo7"]).set_index("index")["yeo7"]
        table["yeo7"] = yeo7.reindex(table["label"]).map(YEO7).to_numpy()
    return table


def mist122(cache: Path | None = None, *, folder: Path | None = None) -> AtlasFiles:
    """The atlas of the demo's recordings: 122 parcels in 7 modules (Urchs et al. 2019, MNI Open Research 1:3)."""
    folder = folder or demo_folder(cache=cache)
    # The first, unnamed column is the label in the image; `index` is a number of the atlas's authors.
    table = pd.read_csv(folder / "MIST122_relabeled.tsv", sep="\t", index_col=0)
    parcels = pd.DataFrame({"label": table.index, "name": table["labels"], "network": table["modules"]})
    return AtlasFiles("MIST-122", folder / "MIST122_relabeled.nii.gz", parcels.reset_index(drop=True))


@dataclass(frozen=True)
class _NilearnAtlas:
    function: str
    options: tuple[tuple[str, Callable[[str], Any]], ...] = ()  # what stands after the colons
    fixed: tuple[tuple[str, Any], ...] = ()
    place: str = ""  # of the image in nilearn's data folder, where a table of it comes with the package


NILEARN_ATLASES: Mapping[str, _NilearnAtlas] = {
    "aal": _NilearnAtlas("fetch_atlas_aal", (("version", str),), place="aal_{0}/aal/atlas/AAL.nii"),
    "basc": _NilearnAtlas("fetch_atlas_basc_multiscale_2015", (("resolution", int), ("version", str))),
    "destrieux": _NilearnAtlas("fetch_atlas_destrieux_2009"),
    "harvard_oxford": _NilearnAtlas(
        "fetch_atlas_harvard_oxford",
        (("atlas_name", str),),
        place="fsl/data/atlases/HarvardOxford/HarvardOxford-{0}.nii.gz",
    ),
    "schaefer": _NilearnAtlas(
        "fetch_atlas_schaefer_2018",
        (("n_rois", int), ("yeo_networks", int)),
        (("resolution_mm", 2),),
        place="schaefer_2018/Schaefer2018_{0}Parcels_{1}Networks_order_FSLMNI152_2mm.nii.gz",
    ),
    "yeo": _NilearnAtlas("fetch_atlas_yeo_2011", (("n_networks", int), ("thickness", str))),
}


def nilearn_atlas(text: str, cache: Path | None) -> AtlasFiles:
    """One of nilearn's label images, such as ``schaefer:100:7``: family, then options in the order of the registry.

    Raises:
        AtlasError: an option nilearn does not know, or no internet and nothing in nilearn's data folder.
    """
    from nilearn import datasets

    family, *given = text.split(":")
    entry = NILEARN_ATLASES[family.lower()]
    usage = ":".join([family.lower(), *(f"<{name}>" for name, _ in entry.options)])
    fetch = getattr(datasets, entry.function)
    try:
        options = {name: convert(value) for (name, convert), value in zip(entry.options, given, strict=False)}
        if len(given) > len(entry.options):
            raise ValueError(f"{len(given)} options")
        data_dir = str(cache) if cache is not None else None
        fetched = fetch(**options, **dict(entry.fixed), data_dir=data_dir, verbose=0)
    except OSError as error:
        raise AtlasError(
            f"nilearn could not fetch the atlas {text}",
            expected="internet, or the atlas in nilearn's data folder",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy=f"on a machine with internet run nilearn.datasets.{entry.function}, and copy its data folder "
            f"(nilearn.datasets.get_data_dirs(), or the one in NILEARN_DATA). {_table_alone(text)}",
        ) from error
    except (ValueError, TypeError) as error:
        raise AtlasError(
            f"nilearn has no atlas {text}", expected=usage, found=str(error), remedy="correct the options"
        ) from error
    image = fetched.maps if isinstance(fetched.maps, str | Path) else fetched.filename
    return AtlasFiles(text, Path(image), _nilearn_table(fetched.lut, Path(image), text))


def _nilearn_table(lut: pd.DataFrame, image: Path, name: str) -> pd.DataFrame:
    """nilearn's look-up table as a parcels table, without background and without labels the image does not have."""
    table = pd.DataFrame({"label": lut["index"].astype(np.int64), "name": lut["name"].astype(str)})
    table = table[table["label"] > 0].reset_index(drop=True)
    present = table["label"].isin(read_label_image(image).labels)
    if not present.all():  # AAL3 lists regions that it has since divided
        logger.warning("%s: not in the image and left out: %s", name, ", ".join(table["name"][~present]))
        table = table[present].reset_index(drop=True)
    networks = table["name"].str.extract(r"^(?P<number>\d+)Networks_[LR]H_(?P<network>[^_]+)")
    if networks["network"].notna().all():
        table[f"yeo{networks['number'].iloc[0]}"] = networks["network"]
    return table
