"""How often the network is right, and how sure that is when parcels are drawn anew; the same for clusters.

Homologous pairs are drawn as one. Nothing is fitted in a resample of parcels; subjects, for which features are combined
anew, are drawn in ``running.py``.

Shapes: Q parcels with a network, U pairs and single parcels, C networks, R repeats, B resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8, Int64

from brainlm.evaluation.networks.clustering import adjusted_rand, contingency, normalised_information
from brainlm.evaluation.networks.labels import NetworkLabels
from brainlm.evaluation.statistics import Interval, SubjectBootstrap, interval_of

CLUSTER_SCORES = {"ari": adjusted_rand, "nmi": normalised_information}


@dataclass(frozen=True, eq=False)
class ParcelScoring:
    """The parcels that are judged, and the resamples of them that are used for everything.

    Attributes:
        number_Q: the true network of each parcel.
        unit_Q: which parcels are drawn together.
        num_networks: C.
        bootstrap: resamples of the U.
    """

    number_Q: Int64[np.ndarray, "Q"]
    unit_Q: Int64[np.ndarray, "Q"]
    num_networks: int
    bootstrap: SubjectBootstrap

    @classmethod
    def of(cls, labels: NetworkLabels, *, num_bootstrap: int, seed: int) -> ParcelScoring:
        """The parcels with a network, with ``num_bootstrap`` resamples."""
        unit_Q = labels.units
        bootstrap = SubjectBootstrap.draw(int(unit_Q.max()) + 1, num_bootstrap=num_bootstrap, seed=seed)
        return cls(labels.numbers, unit_Q, len(labels.names), bootstrap)

    def scores(self, predicted_RQ: Int8[np.ndarray, "R Q"]) -> dict[str, Interval]:
        """Accuracy and balanced accuracy, each the mean over repeats, with their intervals over parcels."""
        sums_UK = self._sums(predicted_RQ)
        return {name: self.bootstrap.interval(sums_UK, statistic) for name, statistic in STATISTICS.items()}

    def difference(
        self, name: str, predicted_RQ: Int8[np.ndarray, "R Q"], others_RQ: Int8[np.ndarray, "R Q"]
    ) -> Interval:
        """One less the other in the score ``name``, on the same resamples."""
        return self.bootstrap.difference(self._sums(predicted_RQ), self._sums(others_RQ), STATISTICS[name])

    def clustering(self, cluster_Q: Int8[np.ndarray, "Q"]) -> dict[str, Interval]:
        """Adjusted Rand index and normalised mutual information with their intervals over parcels.

        A resample has parcels more than once, which by itself raises both: the intervals are the spread of the
        resamples, laid around the value of the parcels as they are.
        """
        weights_BQ = np.concatenate((np.ones((1, len(self.unit_Q))), self.bootstrap.counts_RS[:, self.unit_Q]))
        table_BAC = contingency(cluster_Q, self.number_Q, weights_BQ)
        num_drawn = self.bootstrap.counts_RS.shape[1]
        values = {name: score(table_BAC) for name, score in CLUSTER_SCORES.items()}
        return {name: around(float(found[0]), found[1:], num_drawn=num_drawn) for name, found in values.items()}

    def confusion(self, predicted_RQ: Int8[np.ndarray, "R Q"]) -> Float64[np.ndarray, "C C"]:
        """The share of each network's parcels (row) said to be of each network (column), the mean over repeats."""
        out_CC = np.zeros((self.num_networks, self.num_networks))
        for predicted_Q in predicted_RQ:
            np.add.at(out_CC, (self.number_Q, predicted_Q.astype(np.int64)), 1.0)
        return out_CC / out_CC.sum(axis=1, keepdims=True)

    def share_right(self, predicted_RQ: Int8[np.ndarray, "R Q"]) -> Float64[np.ndarray, "Q"]:
        """In what share of the repeats each parcel's network is right."""
        share_Q: np.ndarray = (predicted_RQ == self.number_Q).mean(axis=0)
        return share_Q

    def _sums(self, predicted_RQ: Int8[np.ndarray, "R Q"]) -> Float64[np.ndarray, "U K"]:
        """Of each unit, the parcels of every network, and how many of them are right."""
        sums_UK = np.zeros((self.bootstrap.counts_RS.shape[1], 2 * self.num_networks))
        np.add.at(sums_UK, (self.unit_Q, self.number_Q), 1.0)
        np.add.at(sums_UK, (self.unit_Q, self.num_networks + self.number_Q), self.share_right(predicted_RQ))
        return sums_UK


def around(value: float, values_B: Float64[np.ndarray, "B"], *, num_drawn: int) -> Interval:
    """``value`` with the spread of those of the resamples of ``num_drawn`` units laid around it."""
    shifted_B = values_B - values_B.mean() + value if len(values_B) else values_B
    return interval_of(value, shifted_B, num_subjects=num_drawn)


def accuracy(sums: np.ndarray) -> np.ndarray:
    """The share of parcels that are right, of (..., 2 C) sums: sizes of networks, then right ones."""
    size, right = np.split(sums, 2, axis=-1)
    return np.asarray(right.sum(axis=-1) / size.sum(axis=-1))


def balanced_accuracy(sums: np.ndarray) -> np.ndarray:
    """The mean over networks of the share of their parcels that are right; networks without parcels do not count."""
    size, right = np.split(sums, 2, axis=-1)
    recall = np.where(size > 0, right, 0) / np.where(size > 0, size, 1)
    return np.asarray(recall.sum(axis=-1) / (size > 0).sum(axis=-1))


STATISTICS = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}
