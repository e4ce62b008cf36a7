"""The parcels table: what column p of every recording is, where it lies and which networks it belongs to.

Reading label images and fetching atlases is in ``atlas.py``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from brainlm.atomic import write_text
from brainlm.errors import AtlasError
from brainlm.files import damaged, read_csv

REQUIRED_COLUMNS = ("label", "name")
COORDINATES = ("x", "y", "z")
NOT_NETWORKS = frozenset({*REQUIRED_COLUMNS, *COORDINATES, "structure", "coverage"})
# The settings of `brainlm pretrain` with which a model needs no coordinates.
WITHOUT_COORDINATES = ("--model.spatial_positions", "learned", "--model.parcel_order", "atlas")


@dataclass(frozen=True, eq=False)
class Parcels:
    """One row a parcel, in the order of the recordings' columns.

    Columns: ``label`` (integer in the label image), ``name``, ``x y z`` (MNI, mm; NaN where unknown), ``structure`` and
    ``coverage`` where known; every other column assigns each parcel to a network (``yeo7``, ``aa7``, ...).

    Raises:
        AtlasError: no rows, a column missing, or labels that are not unique integers.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED_COLUMNS if name not in self.table.columns]
        if missing or self.table.empty:
            raise AtlasError(
                "the parcels table cannot be used",
                expected=f"at least one row and the columns {', '.join(REQUIRED_COLUMNS)}",
                found=f"{len(self.table)} rows, columns {', '.join(map(str, self.table.columns))}",
                remedy="write parcels.tsv with a header line: label, name, x, y, z and any network columns",
            )
        labels = self.table["label"]
        if not pd.api.types.is_integer_dtype(labels) or labels.duplicated().any():
            raise AtlasError(
                "the labels of the parcels table are not unique integers",
                found=f"{labels.dtype}, {int(labels.duplicated().sum())} repeated",
                remedy="give each parcel the integer it has in the label image",
            )
        for name in (name for name in COORDINATES if name in self.table):
            if not pd.api.types.is_numeric_dtype(self.table[name]) and not self.table[name].isna().all():
                wrong = pd.to_numeric(self.table[name], errors="coerce").isna() & self.table[name].notna()
                raise AtlasError(
                    f"the column {name} of the parcels table is not made of numbers",
                    expected="coordinates in MNI mm, n/a where unknown",
                    found=f"{self.table.loc[wrong, name].iloc[0]!r}, parcel {self.table.loc[wrong, 'name'].iloc[0]}",
                    remedy="correct it",
                )

    @classmethod
    def read(cls, path: str | Path) -> Parcels:
        """The table in ``path`` (tab separated, with a header)."""
        path = Path(path)
        if not path.is_file():
            raise AtlasError(f"no parcels table at {path}", remedy="give the path of a parcels.tsv with --parcels")
        remedy = "restore the file, or write it anew: label, name, x, y, z and any network columns, tab separated"
        what: dict[str, Any] = {"what": "a parcels table in UTF-8, tab separated", "remedy": remedy, "kind": AtlasError}
        # A parcel may be called "NA" or "None"; only what we write for missing values is missing.
        table = read_csv(path, **what, sep="\t", dtype={"name": str}, keep_default_na=False, na_values=["n/a", ""])
        with damaged(path, **what):
            try:
                return cls(table)
            except AtlasError as error:
                raise ValueError(f"{error.problem} ({error.found})") from error

    @classmethod
    def unnamed(cls, num_parcels: int) -> Parcels:
        """Parcels about which nothing is known but their number."""
        labels = np.arange(1, num_parcels + 1)
        return cls(pd.DataFrame({"label": labels, "name": [f"parcel-{label}" for label in labels]}))

    def write(self, path: str | Path) -> None:
        """Write the table to ``path``, tab separated."""
        write_text(Path(path), self.to_tsv())

    def to_tsv(self) -> str:
        """The table as tab-separated text; missing values are ``n/a``."""
        return self.table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n")

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        place = "MNI coordinates" if self.has_coordinates else "no coordinates"
        return f"Parcels({len(self)}: {place}, networks: {', '.join(self.networks) or 'none'})"

    @property
    def labels(self) -> Int64[np.ndarray, "P"]:
        """The integer of each parcel in the label image."""
        return self.table["label"].to_numpy(np.int64)

    @property
    def has_coordinates(self) -> bool:
        """True when x, y and z are there for every parcel."""
        return all(name in self.table for name in COORDINATES) and not self.table[list(COORDINATES)].isna().any(
            axis=None
        )

    @property
    def coordinates(self) -> Float32[np.ndarray, "P 3"]:
        """MNI coordinates in mm.

        Raises:
            AtlasError: some are missing.
        """
        if not self.has_coordinates:
            raise AtlasError(
                "the parcels table lacks coordinates",
                expected="columns x, y, z in MNI mm for every parcel",
                found=f"columns {', '.join(map(str, self.table.columns))}",
                remedy=f"add them to parcels.tsv, or do without: {' '.join(WITHOUT_COORDINATES)} on the command line",
            )
        return self.table[list(COORDINATES)].to_numpy(np.float32, copy=True)

    @property
    def networks(self) -> list[str]:
        """The names of the columns that assign parcels to networks."""
        return [str(name) for name in self.table.columns if name not in NOT_NETWORKS]

    def order(self, by: str) -> Int64[np.ndarray, "P"]:
        """The parcels' positions in the order asked for; ties keep atlas order.

        ``"y"``: posterior to anterior, as in the paper; ``"atlas"``: as they are; ``"network:<column>"``: network by
        network, within each by y where known.
        """
        if by == "atlas":
            return np.arange(len(self), dtype=np.int64)
        if by == "y":
            return np.argsort(self.coordinates[:, 1], kind="stable").astype(np.int64)
        column = by.removeprefix("network:")
        if not by.startswith("network:") or column not in self.networks:
            raise AtlasError(
                f"parcels cannot be ordered by {by!r}",
                expected="'y', 'atlas' or 'network:<column>'",
                found=f"network columns: {', '.join(self.networks) or 'none'}",
                remedy="name one of the network columns of parcels.tsv",
            )
        second = self.coordinates[:, 1] if self.has_coordinates else np.zeros(len(self))
        first = pd.factorize(self.table[column].astype(str), sort=True)[0]
        return np.lexsort((second, first)).astype(np.int64)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the table's text: two stores fit together when this agrees."""
        return hashlib.sha256(self.to_tsv().encode()).hexdigest()


def same_name(name: str) -> str:
    """The name as it is compared: without regard to case, blanks, underscores and hyphens."""
    return re.sub(r"[\s_\-]+", " ", str(name)).strip().casefold()
