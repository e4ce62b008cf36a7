"""What the page about a store is made of: the store, and all that was computed before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from brainlm.data.inspecting import Inspection, measured_columns
from brainlm.data.outliers import Outliers
from brainlm.data.recording import recording_name
from brainlm.data.store import Store


@dataclass(frozen=True, eq=False)
class Looked:
    """``metadata`` is the store's, ``names`` those of its recordings, ``measured`` the columns that say how good each
    scan was, as far as any of it is known.
    """

    store: Store
    metadata: pd.DataFrame
    names: Sequence[str]
    measured: Sequence[str]
    inspection: Inspection
    outliers: Outliers

    @classmethod
    def at(cls, store: Store, inspection: Inspection, outliers: Outliers) -> Looked:
        """With what follows from the store's metadata."""
        metadata = store.metadata
        keys = metadata[["subject", "session", "task", "run"]].itertuples(index=False)
        names = [recording_name(*key) for key in keys]
        return cls(store, metadata, names, measured_columns(metadata), inspection, outliers)

    @property
    def minutes(self) -> pd.Series:
        """The length of each recording."""
        return self.metadata["num_timepoints"] * self.metadata["tr"] / 60

    @property
    def mean_fd(self) -> pd.Series | None:
        """Mean framewise displacement in mm, None where nothing is known of it."""
        return self.metadata["mean_fd"] if "mean_fd" in self.measured else None

    @property
    def short_names(self) -> list[str]:
        """What tells the recordings apart, and no more: for charts."""
        told = [name for name in ("subject", "session", "task", "run") if self.metadata[name].nunique() > 1]
        keys = self.metadata[told or ["subject"]].itertuples(index=False)
        return [" · ".join(part for part in key if part) for key in keys]

    @property
    def sites(self) -> list[str]:
        """The names of the sites."""
        return sorted(site for site in self.metadata["site"].unique() if site)

    def known(self, column: str) -> pd.Series:
        """Which recordings have something in a column of text."""
        return self.metadata[column].astype(str) != ""
