"""All kinds of features of one study, one after the other: the model's, its controls', and those of other networks.

Each is made when it is asked for, since all of them together may not fit into memory. What is done with them is in
``running.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from brainlm.data.store import Store
from brainlm.errors import ConfigError
from brainlm.evaluation.networks.model_features import Listener, Passing, model_features
from brainlm.evaluation.networks.neural import gcn_parcel_embeddings, vae_parcel_embeddings
from brainlm.evaluation.networks.parcel_features import (
    ParcelFeatures,
    connectivity_profiles,
    majority,
    position_features,
    series_features,
)
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.untrained import untrained

FAMILIES = ("model", "controls", "neural")


@dataclass(frozen=True)
class FeatureRule:
    """Which features, and how they are made.

    Attributes:
        families: some of ``FAMILIES``; the model's own are always among them, and with them those of the same network
            with random weights.
        passing: through the model.
        random_inits: how many networks with random weights there are; of all but the first only the main features.
        seed: of the random weights (counted up), and of the networks that are trained.
    """

    families: tuple[str, ...] = FAMILIES
    passing: Passing = field(default_factory=Passing)
    random_inits: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if "model" not in self.families:
            raise ConfigError(
                "the question is about the model's features, and they are left out",
                expected="model among --methods",
                found=",".join(self.families),
            )


def gather(
    model: BrainLM,
    judged: Store,
    train: Store,
    *,
    rule: FeatureRule,
    folder: Path,
    on_progress: Listener | None = None,
) -> Iterator[ParcelFeatures]:
    """The features of every row of the table.

    Args:
        model: its scaler must be fitted.
        judged: recordings that features are computed from.
        train: recordings that the other networks learn from; empty: they are left out.
        rule: which features.
        folder: where what takes long is kept.
        on_progress: called with how many are done, of how many, and of what.

    Raises:
        DataError: the store does not fit the model, or the disk is full.
        ConfigError: a package is not installed.
    """

    def tell(what: str) -> Callable[[int, int], None]:
        return lambda done, total: None if on_progress is None else on_progress(done, total, what)

    passing = rule.passing
    yield from model_features(model, judged, group="model", passing=passing, folder=folder, on_progress=on_progress)
    for draw in range(rule.random_inits):
        drawn = model_features(
            untrained(model, seed=rule.seed + draw),
            judged,
            group="random-init",
            passing=passing,
            folder=folder,
            draw=draw,
            on_progress=on_progress,
        )
        yield from islice(drawn, 1 if draw else None)
    if "controls" in rule.families:
        yield connectivity_profiles(judged)
        yield series_features(judged)
        yield from position_features(judged.parcels)
    if "neural" in rule.families and len(train):
        codes_NPF = vae_parcel_embeddings(
            train,
            judged,
            model.scaler,
            num_timepoints=model.config.num_timepoints,
            seed=rule.seed,
            folder=folder,
            on_progress=tell("VAE"),
        )
        yield ParcelFeatures("VAE embeddings", "neural", codes_NPF, "concatenate")
        vectors_NPF = gcn_parcel_embeddings(train, judged, seed=rule.seed, folder=folder, on_progress=tell("GCN"))
        yield ParcelFeatures("GCN embeddings", "neural", vectors_NPF)
    yield majority()
