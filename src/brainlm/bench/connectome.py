"""Connectomes: all correlations of a store against nilearn's, the partial ones, and the tangent space of a fold.

What the features are is in ``baselines/``. nilearn computes the same numbers one recording at a time, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainlm.baselines.connectome import connectomes
from brainlm.baselines.tangent import Tangent, covariances
from brainlm.bench.results import Aim, Measure
from brainlm.bench.timing import in_turn, timer
from brainlm.data.store import Store

TEST_SHARE = 5  # a fold trains on all recordings but every fifth


@dataclass(frozen=True)
class ConnectomeSizes:
    """How large the store is whose connectomes are computed.

    Args:
        num_recordings: one of each subject.
        num_parcels: P.
        recording_timepoints: length of every recording, in time points.
        repeats: rounds.
    """

    num_recordings: int
    num_parcels: int
    recording_timepoints: int
    repeats: int


def measure_connectomes(store: Store, sizes: ConnectomeSizes) -> list[Measure]:
    """Seconds for all recordings: our correlations, nilearn's, our partial correlations; and for a tangent fold."""
    features = covariances(store)
    alternatives = {
        "ours": timer(lambda: connectomes(store, "correlation")),
        "nilearn": timer(lambda: by_nilearn(store)),
        "partial": timer(lambda: connectomes(store, "partial")),
        "tangent": timer(lambda: tangent_fold(features)),
    }
    seconds = in_turn(alternatives, repeats=sizes.repeats)
    what = f"{sizes.num_recordings:,} recordings of {sizes.num_parcels} x {sizes.recording_timepoints}"
    return [
        Measure.of("connectome", f"correlations of {what}", "s", seconds["ours"]),
        Measure.of("connectome", "nilearn's", "s", seconds["nilearn"]),
        Measure.of("connectome", "nilearn's / ours", "times", seconds["nilearn"] / seconds["ours"], Aim(5.0)),
        Measure.of("connectome", "partial correlations", "s", seconds["partial"]),
        Measure.of("connectome", "tangent vectors of a fold", "s", seconds["tangent"], Aim(10.0, at_most=True)),
    ]


def by_nilearn(store: Store) -> np.ndarray:
    """The correlations of every recording by nilearn: (N, P (P - 1) / 2), the lower triangle row by row.

    With the plain covariance: nilearn's default is a shrunk one, which is another quantity and takes longer.
    """
    from nilearn.connectome import ConnectivityMeasure
    from sklearn.covariance import EmpiricalCovariance

    plain = EmpiricalCovariance(store_precision=False, assume_centered=False)
    measure = ConnectivityMeasure(plain, kind="correlation", vectorize=True, discard_diagonal=True)
    return measure.fit_transform([store.bold(index) for index in range(len(store))])


def tangent_fold(covariances_RPP: np.ndarray) -> None:
    """Fit the space to four fifths of the recordings, and project all."""
    everybody = np.arange(len(covariances_RPP))
    tangent = Tangent(covariances_RPP, list(everybody[:, None]))
    training = everybody[everybody % TEST_SHARE != 0]
    tangent.fit(training).transform(everybody)
