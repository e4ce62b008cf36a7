"""Which recordings are used, and how much each counts when subjects are drawn anew.

Shapes: N recordings, W weightings, S subjects.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from brainlm.evaluation.statistics import SubjectBootstrap


def spread_recordings(subjects: pd.Series, *, most: int, seed: int) -> Int64[np.ndarray, "N"]:
    """At most ``most`` recordings of as many people as possible: positions, in their order.

    Everybody's first recording comes before anybody's second; who is taken where not all can be is drawn.
    """
    assert most >= 1, "one recording or more"
    names = subjects.astype(str).reset_index(drop=True)
    people = sorted(names.unique())
    place_of = dict(zip(np.random.default_rng(seed).permutation(people).tolist(), range(len(people)), strict=True))
    order = np.lexsort((names.map(place_of), names.groupby(names).cumcount()))
    return np.sort(order[:most]).astype(np.int64)


def recording_weights(subjects: pd.Series, *, num_bootstrap: int, seed: int) -> Float32[np.ndarray, "W N"]:
    """The weight of each recording: first with everybody once, then in ``num_bootstrap`` resamples of subjects.

    The recordings of one person share the person's weight; the weights of each row sum to 1. One subject cannot be
    drawn anew: there is the first row only.
    """
    subject_N, people = pd.factorize(subjects.astype(str))
    share_N = 1.0 / np.bincount(subject_N)[subject_N]
    num_bootstrap = num_bootstrap if len(people) > 1 else 0
    resamples = SubjectBootstrap.draw(len(people), num_bootstrap=num_bootstrap, seed=seed)
    counts_WS = np.concatenate((np.ones((1, len(people)), np.int64), resamples.counts_RS))
    return (counts_WS[:, subject_N] * share_N / len(people)).astype(np.float32)
