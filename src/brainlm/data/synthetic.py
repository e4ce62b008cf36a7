"""Made-up recordings whose structure is known exactly, for tests, demonstrations and calibration of baselines.

Each parcel's signal is a stationary AR(1) process; parcels are correlated through the network they belong to, a
coupling of two networks that grows with age, and their mirror image in the other hemisphere. Nothing here resembles
real data in detail.

The covariance of a subject with connectivity strength a and coupling c is, in standardised units (unit variance),

    C = a L F(c) L' + N + h M N,    N = diag(1 - a l^2)

where L holds each parcel's loading l on its network; F is the networks' correlation (the identity, but for c between
the first two); N is the variance that a parcel does not owe to its network; M maps a parcel to its mirror image, with
which it shares the proportion h of N. C is linear in a and a c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from scipy.signal import lfilter

from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.splits import SplitRule, assign_splits
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter

ATLAS = "synthetic"
PHENOTYPES = ("age", "sex", "strength", "coupling")
AGE_YEARS = (20.0, 80.0)
STRENGTH = (0.5, 0.9)  # uniform over subjects
COUPLING_AT_MEAN_AGE = 0.1
COUPLING_BY_AGE = 0.4  # added at the highest age, subtracted at the lowest
COUPLING_BY_SUBJECT = 0.2  # uniform from minus this to plus this, unrelated to anything
LOADING = (0.6, 0.95)  # of a parcel on its network, uniform over pairs of parcels
MIRRORED = 0.3  # share of a parcel's own variance that it has in common with its mirror image
SITES = {"north": 1.0, "south": 1.6, "west": 0.7}  # gain of the scanner: what differs between sites, and all that does
BASELINE = (800.0, 1200.0)  # scanner units, uniform over parcels
FLUCTUATION = 0.01  # standard deviation of a parcel's signal as a fraction of its baseline


@dataclass(frozen=True, eq=False)
class Population:
    """What is true of all synthetic subjects; made by ``synthetic_population``.

    Attributes:
        parcels: with coordinates (mirror images side by side in the table) and a column ``network``.
        autoregression: correlation of each parcel's signal with itself one time point later, the same for all.
        network_P: number of each parcel's network.
        loading_P: of each parcel on its network.
        mirror_P: position of each parcel's mirror image; its own for one in the midline.
        baseline_P: mean signal in scanner units at gain 1.
    """

    parcels: Parcels
    autoregression: float
    network_P: Int64[np.ndarray, "P"]
    loading_P: Float64[np.ndarray, "P"]
    mirror_P: Int64[np.ndarray, "P"]
    baseline_P: Float64[np.ndarray, "P"]

    @property
    def num_networks(self) -> int:
        """How many networks there are."""
        return int(self.network_P.max()) + 1

    @property
    def covariance(self) -> Float64[np.ndarray, "P P"]:
        """The mean of all subjects' covariances, in standardised units: exact, because a covariance is linear in the
        strength and in its product with the coupling, which are independent.
        """
        return self.covariance_of(strength=sum(STRENGTH) / 2, coupling=COUPLING_AT_MEAN_AGE)

    def covariance_of(self, *, strength: float, coupling: float) -> Float64[np.ndarray, "P P"]:
        """The covariance of a subject (phenotypes ``strength`` and ``coupling``), in standardised units."""
        networks = np.eye(self.num_networks)
        networks[0, 1] = networks[1, 0] = coupling
        loadings = np.eye(self.num_networks)[self.network_P] * self.loading_P[:, None]
        shared = strength * loadings @ networks @ loadings.T
        own = np.diag(1 - strength * self.loading_P**2)
        has_mirror = self.mirror_P != np.arange(len(self.mirror_P))
        return shared + own + MIRRORED * own[self.mirror_P] * has_mirror[:, None]


@dataclass(frozen=True)
class _Subject:
    label: str
    site: str
    age: float
    sex: str
    strength: float
    coupling: float


def synthetic_population(
    *, num_parcels: int = 40, num_networks: int = 5, autoregression: float = 0.8, seed: int = 0
) -> Population:
    """Parcels, networks and everything else that the subjects have in common."""
    assert 2 <= num_networks <= num_parcels // 2, "each network needs a pair of parcels, and two are coupled"
    rng = np.random.default_rng([seed, 0])
    num_pairs = num_parcels // 2
    pair_P = np.minimum(np.arange(num_parcels) // 2, num_pairs - 1)
    mirror_P = np.arange(num_parcels) ^ 1
    if num_parcels % 2:  # the last one lies in the midline
        mirror_P[-1] = num_parcels - 1
    network_P = pair_P * num_networks // num_pairs
    parcels = _parcels(rng, pair_P, network_P, is_midline=mirror_P == np.arange(num_parcels))
    return Population(
        parcels=parcels,
        autoregression=autoregression,
        network_P=network_P,
        loading_P=rng.uniform(*LOADING, num_pairs)[pair_P],
        mirror_P=mirror_P,
        baseline_P=rng.uniform(*BASELINE, num_parcels),
    )


def _parcels(rng: np.random.Generator, pair_P: np.ndarray, network_P: np.ndarray, *, is_midline: np.ndarray) -> Parcels:
    """Pairs from the back of the brain to its front, on an ellipsoid about the size of the MNI template's cortex."""
    num_pairs = int(pair_P.max()) + 1
    y = np.linspace(-95, 65, num_pairs)
    radius = np.sqrt(np.clip(1 - ((y + 15) / 90) ** 2, 0.1, None))
    angle = rng.uniform(-0.3 * np.pi, 0.45 * np.pi, num_pairs)
    side_P = np.where(is_midline, 0, np.where(np.arange(len(pair_P)) % 2 == 0, -1, 1))
    table = pd.DataFrame(
        {
            "label": np.arange(1, len(pair_P) + 1),
            "name": [f"{'LMR'[side + 1]}-{pair + 1}" for side, pair in zip(side_P, pair_P, strict=True)],
            "x": np.round(side_P * (62 * radius * np.cos(angle))[pair_P], 1) + 0.0,  # + 0.0: no minus zero
            "y": np.round(y[pair_P], 1),
            "z": np.round((10 + 60 * radius * np.sin(angle))[pair_P], 1),
            "network": [f"network-{network + 1}" for network in network_P],
        }
    )
    return Parcels(table)


def synthetic_recordings(
    population: Population,
    *,
    num_subjects: int,
    runs_per_subject: int = 1,
    num_timepoints: int | tuple[int, int] = 200,
    tr: float = 2.0,
    seed: int = 0,
) -> Iterator[Recording]:
    """Recordings of made-up subjects, one at a time. A subject is the same however many others are asked for.

    Phenotypes: ``age`` (years; linear in the coupling of the first two networks, with noise), ``sex`` (unrelated to
    everything: whatever predicts it has a leak), ``strength`` and ``coupling`` (the truth, see
    ``Population.covariance_of``). Sites differ in gain.

    Args:
        population: what subjects have in common.
        num_subjects: how many people.
        runs_per_subject: recordings of each, independent but for what makes the subject.
        num_timepoints: per recording, or the lowest and highest number to draw from.
        tr: repetition time in seconds; the autoregression is per time point, whatever it is.
        seed: other subjects for another seed.
    """
    low, high = (num_timepoints, num_timepoints) if isinstance(num_timepoints, int) else num_timepoints
    for number in range(num_subjects):
        rng = np.random.default_rng([seed, number + 1])
        subject = _subject(rng, number)
        for run in range(runs_per_subject):
            signal = _signal(rng, population, subject, num_timepoints=int(rng.integers(low, high + 1)))
            bold = SITES[subject.site] * population.baseline_P * (1 + FLUCTUATION * signal)
            yield Recording(
                bold.astype(np.float32),
                tr,
                subject.label,
                task="rest",
                run=str(run + 1) if runs_per_subject > 1 else "",
                site=subject.site,
                atlas=ATLAS,
                source="synthetic",
                phenotypes={name: getattr(subject, name) for name in PHENOTYPES},
            )


def _subject(rng: np.random.Generator, number: int) -> _Subject:
    relative_age = rng.uniform(-1, 1)
    coupling = COUPLING_AT_MEAN_AGE + COUPLING_BY_AGE * relative_age + rng.uniform(-1, 1) * COUPLING_BY_SUBJECT
    return _Subject(
        label=f"{number + 1:04d}",
        site=str(rng.choice(list(SITES))),
        age=round(float(np.mean(AGE_YEARS) + relative_age * (AGE_YEARS[1] - AGE_YEARS[0]) / 2), 1),
        sex=str(rng.choice(["F", "M"])),
        strength=float(rng.uniform(*STRENGTH)),
        coupling=float(coupling),
    )


def _signal(
    rng: np.random.Generator, population: Population, subject: _Subject, *, num_timepoints: int
) -> Float64[np.ndarray, "T P"]:
    """Draws from the subject's covariance: networks, pairs and parcels each contribute independent AR(1) processes."""
    coefficient = population.autoregression
    networks = _autoregressive(rng, num_timepoints, population.num_networks, coefficient)
    c = subject.coupling
    networks[:, 1] = c * networks[:, 0] + np.sqrt(1 - c**2) * networks[:, 1]
    own = _autoregressive(rng, num_timepoints, len(population.parcels), coefficient)
    pairs = _autoregressive(rng, num_timepoints, len(population.parcels), coefficient)
    first_of_pair = np.minimum(np.arange(len(population.parcels)), population.mirror_P)
    own = np.sqrt(1 - MIRRORED) * own + np.sqrt(MIRRORED) * pairs[:, first_of_pair]
    shared = subject.strength * population.loading_P**2
    return np.sqrt(shared) * networks[:, population.network_P] + np.sqrt(1 - shared) * own


def _autoregressive(
    rng: np.random.Generator, num_timepoints: int, num_signals: int, coefficient: float
) -> Float64[np.ndarray, "T S"]:
    """Independent stationary AR(1) processes of unit variance."""
    noise = rng.standard_normal((num_timepoints, num_signals))
    noise[1:] *= np.sqrt(1 - coefficient**2)  # the first one has the stationary variance already
    return np.asarray(lfilter([1.0], [1.0, -coefficient], noise, axis=0))


def synthetic_store(
    path: str | Path,
    *,
    num_subjects: int = 20,
    runs_per_subject: int = 1,
    num_parcels: int = 40,
    num_networks: int = 5,
    num_timepoints: int | tuple[int, int] = 200,
    autoregression: float = 0.8,
    tr: float = 2.0,
    seed: int = 0,
    split_rule: SplitRule | None = None,
    overwrite: bool = False,
) -> Store:
    """A store of synthetic recordings; the population is ``synthetic_population`` with the same arguments.

    Args:
        path: the folder to create.
        split_rule: proportions kept at each site unless given, so that no split is empty from about 10 subjects on.
        overwrite: replace a store that is there.

    The other arguments are those of ``synthetic_population`` and ``synthetic_recordings``.
    """
    population = synthetic_population(
        num_parcels=num_parcels, num_networks=num_networks, autoregression=autoregression, seed=seed
    )
    rule = split_rule or SplitRule(seed=seed, stratify="site")
    people = [_subject(np.random.default_rng([seed, number + 1]), number) for number in range(num_subjects)]
    table = pd.DataFrame([{**vars(person), "subject": person.label} for person in people])
    split_of = dict(zip(table["subject"], assign_splits(table, rule), strict=True))
    recordings = synthetic_recordings(
        population,
        num_subjects=num_subjects,
        runs_per_subject=runs_per_subject,
        num_timepoints=num_timepoints,
        tr=tr,
        seed=seed,
    )
    with StoreWriter(
        path,
        population.parcels,
        atlas=ATLAS,
        split_rule=rule,
        phenotypes=PHENOTYPES,
        source={"description": "synthetic recordings of known structure"},
        overwrite=overwrite,
    ) as writer:
        for recording in recordings:
            writer.add(recording, split=split_of[recording.subject])
    return Store.open(path)
