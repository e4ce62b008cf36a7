"""What is to be done to parcel series before they are stored: the settings, checked, and the order in words.

Doing it is in ``clean.py``; reading what a pipeline says about confounds is in ``confounds.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from brainlm.data.repetition import MAX_TR_S, MIN_TR_S, is_plausible
from brainlm.errors import ConfigError

ConfoundPreset = Literal["none", "motion6", "motion24", "compcor", "ica-aroma"]


@dataclass(frozen=True)
class Cleaning:
    """Which steps; a number of 0 is a step that is left out. Without any, series stay as they are.

    Args:
        confounds: what is regressed out. ``motion6``: three translations and three rotations. ``motion24``: these,
            their derivatives and the squares of both (Satterthwaite et al. 2013, NeuroImage 64). ``compcor`` and
            ``ica-aroma``: nilearn's strategies of these names for fMRIPrep, with its discrete cosines; the first with
            ``motion24`` and the components of white matter and CSF, the second with the mean signals of white matter
            and CSF, for the image that ICA-AROMA has cleaned.
        max_scrub_fd_mm: volumes with a larger framewise displacement (Power et al. 2012) are censored.
        detrend: remove a straight line.
        low_hz: lower edge of the pass band, such as 0.008.
        high_hz: upper edge of the pass band, such as 0.1.
        tr_s: repetition time to which everything is resampled.

    Raises:
        ConfigError: a number that is negative or no number, edges in the wrong order, or an unknown preset.
    """

    confounds: ConfoundPreset = "none"
    max_scrub_fd_mm: float = 0.0
    detrend: bool = False
    low_hz: float = 0.0
    high_hz: float = 0.0
    tr_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_scrub_fd_mm", "low_hz", "high_hz", "tr_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(
                    f"cleaning: {name} is not usable",
                    expected="a positive number, or 0 for none",
                    found=repr(value),
                    remedy="correct it",
                )
        if self.confounds not in get_args(ConfoundPreset):
            raise ConfigError(
                "cleaning: no such set of confounds",
                expected=", ".join(get_args(ConfoundPreset)),
                found=repr(self.confounds),
                remedy="give one of these",
            )
        if 0 < self.high_hz <= self.low_hz:
            raise ConfigError(
                "cleaning: nothing is left between the edges of the pass band",
                expected="low_hz below high_hz, such as 0.008 and 0.1",
                found=f"low_hz {self.low_hz:g}, high_hz {self.high_hz:g}",
                remedy="exchange them, or leave one out",
            )
        if self.tr_s and not is_plausible(self.tr_s):
            raise ConfigError(
                "cleaning: tr_s is not usable as a repetition time",
                expected=f"seconds, {MIN_TR_S:g} to {MAX_TR_S:g}; 0 leaves it as it is",
                found=f"{self.tr_s:g}",
                remedy="give seconds",
            )

    @property
    def changes_anything(self) -> bool:
        """False when series stay as they are."""
        return self != Cleaning()

    @property
    def filters(self) -> bool:
        """True with a pass band."""
        return self.low_hz > 0 or self.high_hz > 0

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done, in this order, in words for the manifest; empty when nothing is."""
        if not self.changes_anything:
            return ()
        scrubbed = f" and those with a framewise displacement above {self.max_scrub_fd_mm:g} mm"
        steps = [
            f"volumes before the steady state{scrubbed if self.max_scrub_fd_mm else ''} censored: at the ends cut "
            "off, within filled by straight lines"
        ]
        if self.detrend or self.filters:
            steps.append(
                "straight line removed" + ("" if self.detrend or self.low_hz else ", and added again after the filter")
            )
        if self.filters:
            band = " to ".join(f"{edge:g}" for edge in (self.low_hz, self.high_hz) if edge)
            kind = "band" if self.low_hz and self.high_hz else "high" if self.low_hz else "low"
            steps.append(
                f"{kind}-pass at {band} Hz, series and confounds: Butterworth of order 5, forward and backward"
            )
        if self.confounds != "none":
            steps.append(f"confounds {self.confounds} regressed out, fitted to volumes that are not censored")
        steps.append("each parcel's mean as before")
        if self.tr_s:
            steps.append(f"resampled to a repetition time of {self.tr_s:g} s")
        return tuple(steps)
