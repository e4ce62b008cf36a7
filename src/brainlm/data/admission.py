"""Who may enter a store: the checks on a recording before it becomes a row.

A recording that is refused leaves no trace, so that the caller can count it as an exclusion and go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from brainlm.data.fingerprints import fingerprint_of
from brainlm.data.quality import Quality
from brainlm.data.recording import Recording
from brainlm.data.shards import KEY_COLUMNS, Row, StoredType, is_missing
from brainlm.data.splits import SPLITS, bare_subject
from brainlm.data.statistics import constant_parcels, recording_statistics
from brainlm.errors import DataError

# What the 32-bit offsets of one Arrow list can address.
MAX_VALUES_PER_RECORDING = 2**31 - 1


class Admission:
    """Decides whether a recording may enter a store, and makes it a row.

    Args:
        num_parcels: of the store.
        atlas: of the store.
        dtype: stored type.
        phenotypes: the store's columns.
        numeric: those that are numbers for good, because shards with them exist.
    """

    def __init__(
        self, *, num_parcels: int, atlas: str, dtype: StoredType, phenotypes: Sequence[str], numeric: Iterable[str] = ()
    ) -> None:
        self.num_parcels = num_parcels
        self.atlas = atlas
        self.dtype = dtype
        self.phenotypes = tuple(phenotypes)
        self.numeric = tuple(numeric)
        self._split_of: dict[str, str] = {}
        self._source_of: dict[str, str] = {}

    def remember(self, name: str, *, subject: str, split: str, source: str) -> None:
        """Note a recording as present."""
        self._source_of[name] = source or "an array"
        self._split_of[bare_subject(subject)] = split

    def split_of(self, subject: str) -> str | None:
        """The split that the subject's recordings are in, if there are any."""
        return self._split_of.get(bare_subject(subject))

    def admit(self, recording: Recording, split: str, quality: Quality | None = None) -> Row:
        """The row of a recording, which now counts as present.

        Raises:
            DataError: it does not fit the store.
        """
        self._check_identity(recording, split)
        self._check_parcels(recording)
        self._check_phenotypes(recording)
        bold = _stored(recording, self.dtype)
        self.remember(recording.name, subject=recording.subject, split=split, source=recording.source)
        values: dict[str, str | float | int] = {name: getattr(recording, name) for name in KEY_COLUMNS}
        values |= {"site": recording.site, "source": recording.source, "split": split}
        values |= {"tr": float(recording.tr), "num_timepoints": recording.num_timepoints}
        phenotypes = dict(recording.phenotypes)
        return Row(bold, values, phenotypes, recording_statistics(bold), fingerprint_of(bold), quality)

    def _check_identity(self, recording: Recording, split: str) -> None:
        if split not in SPLITS:
            raise DataError(
                f"recording {recording.name}: no such split",
                expected=" or ".join(SPLITS),
                found=repr(split),
                remedy="use the splits that assign_splits returns",
            )
        if recording.name in self._source_of:
            raise DataError(
                f"recording {recording.name} is there twice",
                expected="one recording per subject, session, task and run",
                found=f"{self._source_of[recording.name]} and {recording.source or 'an array'}",
                remedy="leave one of them out, or tell them apart by session, task or run",
            )
        earlier = self.split_of(recording.subject)
        if earlier not in (None, split):
            raise DataError(
                f"subject {recording.subject} would be in two splits",
                expected=f"{earlier}, where the subject's other recordings are",
                found=f"{split} for {recording.name}",
                remedy="assign splits by subject, as assign_splits does",
            )

    def _check_parcels(self, recording: Recording) -> None:
        if recording.num_parcels != self.num_parcels:
            raise DataError(
                f"recording {recording.name} does not fit the store's parcels",
                expected=f"{self.num_parcels} parcels ({self.atlas})",
                found=f"{recording.num_parcels} parcels in {recording.source or 'an array'}",
                remedy="parcellate it with the same atlas, or write it to a store of its own",
            )
        if recording.atlas not in ("", self.atlas):
            raise DataError(
                f"recording {recording.name} was parcellated with another atlas",
                expected=self.atlas,
                found=recording.atlas,
                remedy="parcellate it with the same atlas, or write it to a store of its own",
            )

    def _check_phenotypes(self, recording: Recording) -> None:
        unknown = [name for name in recording.phenotypes if name not in self.phenotypes]
        if unknown:
            raise DataError(
                f"recording {recording.name} has phenotypes that the store has no column for",
                expected=", ".join(self.phenotypes) or "none",
                found=", ".join(unknown),
                remedy="name all phenotypes when the store is created, or leave these out",
            )
        for name in self.numeric:
            value = recording.phenotypes.get(name)
            if isinstance(value, str) and not is_missing(value):
                raise DataError(
                    f"recording {recording.name}: phenotype {name} is a number in this store",
                    expected="a number, or nothing",
                    found=repr(value),
                    remedy="mend the value, or import everything into a new store, where the column becomes text",
                )


def _stored(recording: Recording, dtype: StoredType) -> Float[np.ndarray, "T P"]:
    """A copy of the signal in the stored type, which must neither overflow nor flatten it."""
    if recording.bold.size > MAX_VALUES_PER_RECORDING:
        raise DataError(
            f"recording {recording.name} is too large for one row",
            expected=f"at most {MAX_VALUES_PER_RECORDING} values",
            found=f"{recording.num_timepoints} x {recording.num_parcels}",
            remedy="cut it into runs",
        )
    with np.errstate(over="ignore"):
        bold = recording.bold.astype(dtype, order="C")
    if np.isinf(bold).any():
        raise DataError(
            f"recording {recording.name} does not fit {dtype}",
            expected=f"absolute values up to {np.finfo(dtype).max:.0f}",
            found=f"{np.nanmax(np.abs(recording.bold)):.0f}",
            remedy="store as float32",
        )
    constant = constant_parcels(bold)
    if constant.any():
        only_when_stored = not constant_parcels(recording.bold)[constant].any()
        raise DataError(
            f"recording {recording.name}: parcels without any change" + (f" as {dtype}" if only_when_stored else ""),
            expected="parcels that vary, or NaN where there is no signal",
            found=f"{int(constant.sum())} constant parcels, first: column {int(np.flatnonzero(constant)[0]) + 1}",
            remedy="store as float32" if only_when_stored else "set these parcels to NaN",
        )
    return bold
