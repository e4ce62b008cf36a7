"""A repetition time: in seconds, and the same wherever it is said.

Where it is said (sidecars, tables, columns) is known in ``bids.py`` and the sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from brainlm.errors import DataError

SAME_TR_S = 1e-3  # two sources that round the same repetition time differently agree within a millisecond
MAX_TR_S = 60.0  # no scanner is this slow: a larger number is in milliseconds


def seconds(value: object, source: str) -> float:
    """``value`` as a repetition time in seconds.

    Raises:
        DataError: not a positive number, or so large that it must be milliseconds.
    """
    try:
        tr = float(str(value))
    except ValueError:
        tr = math.nan
    if not 0 < tr <= MAX_TR_S:
        raise DataError(
            f"{source}: the repetition time is not usable",
            expected="a positive number of seconds",
            found=repr(value),
            remedy=f"give seconds: {tr / 1000:g}" if tr > MAX_TR_S and math.isfinite(tr) else "correct it",
        )
    return tr


def agreed_tr(origin: str, sources: Mapping[str, float], *, expected: str) -> float:
    """The one repetition time (s) that all ``sources`` give, by where it was found.

    Raises:
        DataError: there is none, or two of them contradict each other. It is never guessed.
    """
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
