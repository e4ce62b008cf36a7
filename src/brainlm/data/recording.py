"""A recording: one run of one subject as parcel time series, with what is needed to interpret it.

Where recordings come from is in ``read.py`` and ``sources/``; where they are kept is in ``store.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from brainlm.data.repetition import seconds
from brainlm.errors import DataError

Phenotype = str | float | None


@dataclass(frozen=True, eq=False)
class Recording:
    """One run of one subject.

    ``bold`` is (T, P): time points by parcels, in the scanner's or the pipeline's own units, never scaled. A parcel
    without signal (no coverage, or constant) is NaN in *all* its time points; any other NaN or infinity is refused.

    Raises:
        DataError: ``bold`` is not a 2-D array, holds non-finite values in a parcel that has signal, has no parcel
            with signal at all, or ``tr`` is no repetition time of fMRI in seconds.
    """

    bold: Float32[np.ndarray, "T P"]
    tr: float
    subject: str
    session: str = ""
    task: str = ""
    run: str = ""
    site: str = ""
    atlas: str = ""
    source: str = ""
    phenotypes: Mapping[str, Phenotype] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seconds(self.tr, f"recording {self.name}")
        if not self.subject:
            raise DataError(f"recording from {self.source or 'an array'} has no subject", remedy="name the subject")
        finite_TP = np.isfinite(self.bold)
        partly_P = (finite_TP.any(axis=0) & ~finite_TP.all(axis=0)) | np.isinf(self.bold).any(axis=0)
        if partly_P.any():
            parcel = int(np.flatnonzero(partly_P)[0])
            time = int(np.flatnonzero(~finite_TP[:, parcel])[0])
            raise DataError(
                f"recording {self.name}: NaN or infinity inside a parcel that has signal",
                expected="finite values (a parcel without signal is NaN throughout)",
                found=f"{int(partly_P.sum())} parcels, first: column {parcel + 1}, time point {time + 1}",
                remedy="repair or leave out this recording",
            )
        if not finite_TP.any():
            raise DataError(
                f"recording {self.name}: no parcel has any signal",
                expected="at least one parcel with finite values",
                found=f"{self.num_timepoints} x {self.num_parcels}, all NaN",
                remedy="check that the file is what you think it is",
            )

    def __repr__(self) -> str:
        atlas = f" of {self.atlas}" if self.atlas else ""
        size = f"{self.num_timepoints} time points, {self.num_parcels} parcels{atlas}"
        return f"Recording({self.name}: {size}, TR {self.tr:g} s)"

    @property
    def num_timepoints(self) -> int:
        """T, the number of time points (volumes)."""
        return self.bold.shape[0]

    @property
    def num_parcels(self) -> int:
        """P, the number of parcels."""
        return self.bold.shape[1]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """(subject, session, task, run): what tells one recording from another within a store."""
        return (self.subject, self.session, self.task, self.run)

    @property
    def name(self) -> str:
        """The key as one readable word, such as ``sub-01_ses-1_task-rest_run-02``."""
        return recording_name(*self.key)


def recording_name(subject: str, session: str = "", task: str = "", run: str = "") -> str:
    """The BIDS-like name of a recording; parts that are empty are left out."""
    subject = subject if subject.startswith("sub-") else f"sub-{subject}"
    parts = [subject]
    parts += [f"{entity}-{value}" for entity, value in (("ses", session), ("task", task), ("run", run)) if value]
    return "_".join(parts)
