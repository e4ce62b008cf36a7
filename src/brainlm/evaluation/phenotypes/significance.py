"""Permutation p and its adjustment for several targets.

Permuting itself is in ``permuting.py``; intervals are the subject bootstrap of ``evaluation/statistics.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from scipy.stats import false_discovery_control


def permutation_p(observed: float, null_values: Float64[np.ndarray, "M"]) -> float | None:
    """The share of labellings, the true one among them, that do at least as well: (1 + number) / (1 + M).

    It is never 0, since the true labelling is one of those that could have been drawn (Phipson and Smyth 2010). A
    permutation whose score is undefined counts as one that did at least as well. None where ``observed`` is undefined
    or nothing was permuted.
    """
    if not np.isfinite(observed) or len(null_values) == 0:
        return None
    # Equal scores may differ in the last bit by the order of their sums.
    below = null_values < observed - 1e-12 * max(1.0, abs(observed))
    return (1 + int((~below).sum())) / (1 + len(null_values))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for the false discovery rate among all of them.

    Valid for independent and for positively dependent tests, as of targets of the same people (Benjamini and Yekutieli
    2001).
    """
    return [float(p) for p in false_discovery_control(np.asarray(p_values, dtype=float), method="bh")]
