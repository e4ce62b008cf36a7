"""Network labels that could have been: as large and as smooth in space as the real ones, and owing nothing to a signal.

Neighbouring parcels are alike in labels and in features, so shuffled labels are too easy to beat. What is scored under
these labels is decided elsewhere.

Shapes: P parcels, U units (labelled left-right pairs, and single parcels), K networks, M label maps, H distances, I
pairs of parcels that lie close.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.optimize import linear_sum_assignment

from brainlm.data.homologues import Homologues
from brainlm.data.parcels import Parcels
from brainlm.errors import DataError

SURROGATE_KIND = "variogram-matched"
MIN_UNITS = 20  # fewer places have no variogram to speak of

# Widths (mm) of the Gaussian that a map may be smoothed with before labels are dealt out; 0 leaves it as it is.
SMOOTHING_MM = (0.0, 4.0, 6.0, 8.0, 10.0, 12.5, 15.0, 20.0, 25.0, 30.0, 40.0)

# Those of Burt et al. (2020) and of brainsmash: the closest quarter of all pairs, 25 distances, shares of neighbours.
CLOSEST_PERCENT = 25
NUM_DISTANCES = 25
NEIGHBOUR_SHARES = np.linspace(0.1, 0.9, 9)


def surrogate_labels(
    parcels: Parcels, labels_P: Int64[np.ndarray, "P"], *, num: int, seed: int, homologues: Homologues
) -> Int64[np.ndarray, "M P"]:
    """``num`` label maps that keep the real one's sizes, symmetry and smoothness; the same seed gives the same maps.

    1. A unit is a left-right pair or a single parcel; it lies where its parcels' mean lies on one half of the brain
       (the other mirrored onto it). Only labelled parcels count.
    2. For each network a map over units with the variogram of its real map (Burt et al. 2020, NeuroImage 220; library
       brainsmash, Euclidean distances), networks independently of each other.
    3. The labels of whole units are dealt out anew so that they follow these maps as closely as possible (assignment
       with the highest sum), pairs among pairs and singles among singles. So every network keeps its number of
       parcels, and as many pairs as in truth have the same network on both sides.
    4. Labels dealt out from maps are rougher than the maps. So step 3 is done on maps smoothed by each of
       ``SMOOTHING_MM``, and the label map is kept whose share of equal labels, as a function of distance, is closest to
       the real one: Burt's rule for the choice of a smoothing, applied to labels.

    Args:
        parcels: with coordinates.
        labels_P: the network of each parcel, counted from 0; -1 where it is missing, which stays so in every map.
        num: M.
        seed: of the maps.
        homologues: of ``parcels``.

    Raises:
        AtlasError: the parcels have no coordinates.
        DataError: fewer than ``MIN_UNITS`` units have a label.
    """
    known_P = labels_P >= 0
    num_networks = len(np.unique(labels_P[known_P]))
    assert num_networks == labels_P.max() + 1 >= 2, "at least two networks, none without parcels"
    units = _Units.of(parcels, labels_P, homologues)
    agreement = _Agreement.of(parcels.coordinates[known_P].astype(np.float64))
    real_H = agreement(labels_P[known_P])
    smoothers = [_smoother(units.distance_UU, width) for width in SMOOTHING_MM]
    maps_MP = np.full((num, len(labels_P)), -1, np.int64)
    for labels, fields_KU in zip(maps_MP, _fields(units, num_networks, num=num, seed=seed), strict=True):
        dealt = [units.deal(fields_KU @ smoother_UU) for smoother_UU in smoothers]
        misfits = [float(((agreement(candidate_P[known_P]) - real_H) ** 2).sum()) for candidate_P in dealt]
        labels[:] = dealt[int(np.argmin(misfits))]
    return maps_MP


def surrogate_sentence(num: int, num_pairs: int) -> str:
    """What these label maps are, in words for a report."""
    pairs = f", kept alike across the {num_pairs} left-right pairs as often as in truth" if num_pairs else ""
    return (
        f"{num} surrogate label maps: networks of the same sizes and of matched spatial autocorrelation (variogram-"
        f"matched maps after Burt et al. 2020, dealt out as labels){pairs}."
    )


@dataclass(frozen=True, eq=False)
class _Units:
    """What labels are dealt out to: ``member_U2`` are a pair's left and right parcel, or a single one twice."""

    labels_P: Int64[np.ndarray, "P"]
    member_U2: Int64[np.ndarray, "U 2"]
    share_UK: Float64[np.ndarray, "U K"]
    distance_UU: Float64[np.ndarray, "U U"]

    @classmethod
    def of(cls, parcels: Parcels, labels_P: Int64[np.ndarray, "P"], homologues: Homologues) -> _Units:
        place_P3 = parcels.coordinates.astype(np.float64)
        labelled = np.flatnonzero(labels_P >= 0)
        labelled = labelled[np.argsort(homologues.group_P[labelled], kind="stable")]
        groups = np.split(labelled, np.flatnonzero(np.diff(homologues.group_P[labelled])) + 1)
        if len(groups) < MIN_UNITS:
            raise DataError(
                "too few parcels have a network for surrogate label maps",
                expected=f"{MIN_UNITS} left-right pairs or single parcels, or more",
                found=f"{len(groups)}",
                remedy="leave the surrogates out (--surrogates 0), or choose other labels",
            )
        member_U2 = np.array([(group[0], group[-1]) for group in groups])
        left_first_U2 = np.argsort(place_P3[member_U2, 0], axis=1, kind="stable")
        member_U2 = np.take_along_axis(member_U2, left_first_U2, axis=1)
        place_P3[:, 0] = np.abs(place_P3[:, 0])
        place_U3 = place_P3[member_U2].mean(axis=1)
        share_UK = np.eye(labels_P.max() + 1)[labels_P[member_U2]].mean(axis=1)
        return cls(labels_P, member_U2, share_UK, _distances(place_U3))

    @property
    def is_pair_U(self) -> Bool[np.ndarray, "U"]:  # noqa: N802 - shape suffix
        return self.member_U2[:, 0] != self.member_U2[:, 1]

    def deal(self, fields_KU: Float64[np.ndarray, "K U"]) -> Int64[np.ndarray, "P"]:
        """The labels of the units given to units anew, where each network's field is high."""
        # A rare network's field has a small variance; in equal units it claims its places like the others.
        centred_KU = fields_KU - fields_KU.mean(axis=1, keepdims=True)
        centred_KU /= np.maximum(centred_KU.std(axis=1, keepdims=True), np.finfo(float).tiny)
        labels_P = self.labels_P.copy()
        for kind in (self.is_pair_U, ~self.is_pair_U):
            units = np.flatnonzero(kind)
            gain = centred_KU.T[units] @ self.share_UK[units].T
            to, source = linear_sum_assignment(gain, maximize=True)
            # Left takes from left, right from right: networks of one half of the brain stay there.
            labels_P[self.member_U2[units[to]]] = self.labels_P[self.member_U2[units[source]]]
        return labels_P


def _fields(units: _Units, num_networks: int, *, num: int, seed: int) -> Float64[np.ndarray, "M K U"]:
    from brainsmash.mapgen.base import Base

    num_units = len(units.member_U2)
    shares = NEIGHBOUR_SHARES[(NEIGHBOUR_SHARES * num_units).astype(int) > 0]
    seeds = np.random.default_rng(seed).integers(2**31, size=num_networks)
    fields_KMU = []
    for share_U, network_seed in zip(units.share_UK.T, seeds, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a name of numpy's that the library uses
            maker = Base(
                share_U,
                units.distance_UU,
                deltas=shares,
                pv=CLOSEST_PERCENT,
                nh=NUM_DISTANCES,
                seed=int(network_seed),
            )
            fields_KMU.append(maker(n=num, batch_size=num).reshape(num, num_units))
    return np.stack(fields_KMU, axis=1)


@dataclass(frozen=True, eq=False)
class _Agreement:
    """How often two parcels have the same label, by distance: a variogram for labels."""

    pair_I2: Int64[np.ndarray, "I 2"]
    weight_HI: Float64[np.ndarray, "H I"]

    @classmethod
    def of(cls, place_P3: Float64[np.ndarray, "P 3"]) -> _Agreement:
        pairs = np.stack(np.triu_indices(len(place_P3), k=1), axis=1)
        distance_I = np.linalg.norm(place_P3[pairs[:, 0]] - place_P3[pairs[:, 1]], axis=1)
        close_I = distance_I <= np.percentile(distance_I, CLOSEST_PERCENT)
        distance_I, pairs = distance_I[close_I], pairs[close_I]
        distance_H = np.linspace(distance_I.min(), distance_I.max(), NUM_DISTANCES)
        bandwidth = max(3 * (distance_H[1] - distance_H[0]), np.finfo(float).tiny)
        # The Gaussian of Burt et al. (2020), equation 6: quartiles at a quarter of the bandwidth.
        weight_HI = np.exp(-np.square(2.68 * (distance_I - distance_H[:, None]) / bandwidth) / 2)
        return cls(pairs, weight_HI / weight_HI.sum(axis=1, keepdims=True))

    def __call__(self, labels: Int64[np.ndarray, "_"]) -> Float64[np.ndarray, "H"]:
        agrees_I = labels[self.pair_I2[:, 0]] == labels[self.pair_I2[:, 1]]
        return self.weight_HI @ agrees_I.astype(np.float64)


def _smoother(distance_UU: Float64[np.ndarray, "U U"], width_mm: float) -> Float64[np.ndarray, "U U"]:
    """A matrix that a map (a row) is multiplied with to be averaged over its surroundings."""
    if width_mm == 0:
        return np.eye(len(distance_UU))
    weight_UU = np.exp(-np.square(distance_UU / width_mm) / 2)
    return (weight_UU / weight_UU.sum(axis=1, keepdims=True)).T


def _distances(place_U3: Float64[np.ndarray, "U 3"]) -> Float64[np.ndarray, "U U"]:
    return np.linalg.norm(place_U3[:, None] - place_U3[None], axis=2)
