"""A repetition time: in seconds, and the same wherever it is said.

Where it is said (sidecars, tables, columns) is known in ``bids.py`` and the sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from brainlm.errors import DataError

SAME_TR_S = 1e-3  # two sources that round the same repetition time differently agree within a millisecond
# The fastest whole-brain fMRI takes a volume in 25 ms (echo-shifted inverse imaging: Chang et al. 2013, NeuroImage);
# sparse sampling, the slowest, takes 12 s and more (Perrachione & Ghosh 2013, Frontiers in Neuroscience).
MIN_TR_S, MAX_TR_S = 0.02, 30.0


def is_plausible(tr_s: float) -> bool:
    """Whether fMRI is acquired with this repetition time; False also for NaN."""
    return MIN_TR_S <= tr_s <= MAX_TR_S


def seconds(value: object, source: str) -> float:
    """``value`` as a repetition time in seconds.

    Raises:
        DataError: no number, or none that fMRI is acquired with, such as milliseconds, or seconds called milliseconds.
    """
    try:
        tr = float(str(value))
    except ValueError:
        tr = math.nan
    if not is_plausible(tr):
        meant = next((guess for guess in (tr / 1000, tr * 1000) if is_plausible(guess)), None)
        raise DataError(
            f"{source}: the repetition time is not usable",
            expected=f"seconds, {MIN_TR_S:g} to {MAX_TR_S:g}",
            found=repr(value),
            remedy=f"give seconds: {meant:g}, if the unit is wrong by 1000" if meant else "correct it",
        )
    return tr


def agreed_tr(origin: str, sources: Mapping[str, float], *, expected: str) -> float:
    """The one repetition time (s) that all ``sources`` give, by where it was found.

    A header's that no fMRI is acquired with does not count beside another source: programs leave headers so.

    Raises:
        DataError: there is none, none is plausible, or two of them contradict each other. It is never guessed.
    """
    implausible = {name: value for name, value in sources.items() if not is_plausible(value)}
    sources = {name: value for name, value in sources.items() if name not in implausible}
    if implausible and not sources:
        name, value = next(iter(implausible.items()))
        seconds(value, f"{origin}: {name}")
    if not sources:
        raise DataError(
            f"{origin}: the repetition time is unknown",
            expected=expected,
            found="none of them",
            remedy="give it in seconds with --tr",
        )
    if max(sources.values()) - min(sources.values()) > SAME_TR_S:
        raise DataError(
            f"{origin}: two sources contradict each other about the repetition time",
            expected="one value",
            found=", ".join(f"{value:g} s in {name}" for name, value in sources.items()),
            remedy="correct the one that is wrong",
        )
    return next(iter(sources.values()))
