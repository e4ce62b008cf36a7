"""What deletion and insertion came to, with intervals over subjects. The sums are made in ``hiding.py``.

Shapes: S subjects, J shares, O orders, K sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64

from brainlm.evaluation.attention.hidden_rows import ORDERS, SHARES
from brainlm.evaluation.attention.hiding import HidingSums
from brainlm.evaluation.attention.subject_maps import mean_of_sums
from brainlm.evaluation.metrics import r2
from brainlm.evaluation.statistics import SubjectBootstrap

EMBEDDING = (
    "1 - cosine between the CLS vector of what is left and that of everything, the mean CLS vector of the judged "
    "windows taken off both"
)
RECONSTRUCTION = (
    "loss of R2 on a random fifth of the parcels, the same in every condition and never shown, beside what is reached "
    "with all the others shown"
)


def judge_hiding(sums: HidingSums, resamples: SubjectBootstrap) -> dict[str, Any]:
    """``deletion`` as results hold it: curves by share, and differences of two of them as means over shares.

    Everything is a distance from all being shown: where attention marks what the model uses, it is higher for the most
    attended parcels when they are hidden, and lower when they are all that is shown (``insertion``). Random parcels
    alone are no fair comparison: without parcels that are alike the vector may move further than without a mixture of
    all, and the ends of any order are alike. So are the least attended.
    """
    return {
        "shares": list(SHARES),
        "embedding": _embedding(sums.deleted, resamples),
        "reconstruction": _reconstruction(sums, resamples),
        "insertion": _embedding(sums.inserted, resamples),
    }


def _embedding(sums: Float64[np.ndarray, "J O S 2"], resamples: SubjectBootstrap) -> dict[str, Any]:
    curves = {
        name: [resamples.interval(own_S2, mean_of_sums).as_dict() for own_S2 in sums[:, order]]
        for order, name in enumerate(ORDERS)
    }
    return {"what": EMBEDDING, **curves, **_gaps(sums, mean_of_sums, resamples)}


def _reconstruction(sums: HidingSums, resamples: SubjectBootstrap) -> dict[str, Any]:
    curves = {
        name: [resamples.difference(sums.all_terms, own_S8, r2).as_dict() for own_S8 in sums.terms[:, order]]
        for order, name in enumerate(ORDERS)
    }
    # R2 falls where its loss rises.
    gaps = _gaps(sums.terms, lambda terms: -r2(terms), resamples)
    return {"what": RECONSTRUCTION, **curves, **gaps, "r2_all_shown": resamples.interval(sums.all_terms, r2).as_dict()}


def _gaps(
    sums: Float64[np.ndarray, "J O S K"], statistic: Callable[[np.ndarray], np.ndarray], resamples: SubjectBootstrap
) -> dict[str, Any]:
    """The statistic with the most attended parcels less that with others, mean over shares."""
    most = ORDERS.index("most")

    def gap(weights: np.ndarray, other: int) -> np.ndarray:
        by_share = [statistic(weights @ own[most]) - statistic(weights @ own[other]) for own in sums]
        return np.asarray(np.mean(by_share, axis=0))

    everybody = np.ones(sums.shape[2])
    return {
        f"most_minus_{name}": resamples.interval_of(float(gap(everybody, o)), gap(resamples.counts_RS, o)).as_dict()
        for o, name in enumerate(ORDERS)
        if o != most
    }
