"""The whole study of one label map: recordings, folds, surrogates, all features, verdict, files.

Shapes: P parcels, Q parcels with a network, L surrogate label maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int8, Int64

from brainlm.data.store import Store
from brainlm.errors import ConfigError
from brainlm.evaluation.networks.gathering import FeatureRule, gather
from brainlm.evaluation.networks.judging import Surroundings, judge
from brainlm.evaluation.networks.labels import NetworkLabels, check_layout
from brainlm.evaluation.networks.model_features import MAIN, SUFFIX, Listener
from brainlm.evaluation.networks.running import NetworkStudy, run_features
from brainlm.evaluation.networks.surrogates import SURROGATE_KIND, surrogate_labels, surrogate_sentence
from brainlm.evaluation.networks.tables import write_tables
from brainlm.evaluation.networks.weighing import recording_weights, spread_recordings
from brainlm.files import cached_arrays, key_of, write_json
from brainlm.inference.brainlm import BrainLM

RESULTS_FILE = "results.json"
SURROGATES = "surrogates"  # of the file that keeps them
NEAREST = 3  # parcels by which the smoothness of label maps is told
SURROGATES_VERSION = 1  # part of their key


@dataclass(frozen=True)
class NetworkRule:
    """How networks are told from features.

    Attributes:
        max_recordings: features are computed from at most so many, of as many people as possible.
        folds: over parcels.
        repeats: of the folds, drawn anew.
        surrogates: label maps for the null distribution; 0 for none.
        num_bootstrap: resamples of parcels.
        subject_bootstrap: resamples of subjects, each with features combined and settings chosen anew.
        features: which, and how they are made.
        seed: of all that is drawn.
    """

    max_recordings: int = 300
    folds: int = 5
    repeats: int = 5
    surrogates: int = 200
    num_bootstrap: int = 1000
    subject_bootstrap: int = 50
    features: FeatureRule = field(default_factory=FeatureRule)
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"max_recordings": 1, "surrogates": 0, "num_bootstrap": 1, "subject_bootstrap": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ConfigError(
                    f"a study of networks cannot be made with this {name}",
                    expected=f"--{name} {lowest} or more",
                    found=str(getattr(self, name)),
                )


def study_networks(
    model: BrainLM,
    judged: Store,
    train: Store,
    labels: NetworkLabels,
    *,
    rule: NetworkRule,
    folder: Path,
    cache: Path,
    facts: Callable[[], Mapping[str, Any]] = dict,
    on_progress: Listener | None = None,
) -> dict[str, Any]:
    """Write ``results.json`` and its tables into ``folder``; returns the content.

    Args:
        model: its scaler must be fitted.
        judged: recordings that features are computed from.
        train: recordings that the other networks learn from; may be empty.
        labels: the true networks, of the parcels of ``judged``.
        rule: how.
        folder: of the results, and of each row's outcome: what is there of the same data and settings is taken.
        cache: where features that take long are kept.
        facts: for the record, asked for when all is computed.
        on_progress: called with how much is done, of how much, and of what.

    Raises:
        ConfigError: folds that cannot be drawn, a model whose layout of parcels follows the networks, no such layer, or
            a package that is not installed.
        DataError: the store does not fit the model, or the disk is full.
    """
    chosen = judged.take(spread_recordings(judged.metadata["subject"], most=rule.max_recordings, seed=rule.seed))
    subjects = chosen.metadata["subject"]
    surrogates = _surrogates(judged, labels, rule, folder)
    check_layout(model.network, labels, surrogates.number_LQ, seed=rule.seed)
    study = NetworkStudy.of(
        labels,
        recording_weights(subjects, num_bootstrap=rule.subject_bootstrap, seed=rule.seed),
        surrogates.number_LQ,
        folds=rule.folds,
        repeats=rule.repeats,
        seed=rule.seed,
    )
    # Of further random weights only the accuracy is asked for.
    bare = replace(study, weights_WN=study.weights_WN[:1], surrogate_LQ=study.surrogate_LQ[:0])
    outcomes, draws = [], []
    for features in gather(model, chosen, train, rule=rule.features, folder=cache, on_progress=on_progress):
        if on_progress is not None:
            on_progress(0, 1, f"k-NN on {features.name}")
        if features.name.startswith(f"{MAIN}{SUFFIX} "):
            draws.append(run_features(features, bare, folder))
        else:
            outcomes.append(run_features(features, study, folder))
        if on_progress is not None:
            on_progress(1, 1, f"k-NN on {features.name}")
    left_out = "neural" in rule.features.families and len(train) == 0
    results = judge(
        study,
        sorted(outcomes, key=lambda outcome: _ORDER.index(outcome.group)),
        draws,
        main=MAIN,
        around_it=Surroundings(
            num_subjects=int(subjects.nunique()),
            num_recordings=len(chosen),
            surrogate_kind=SURROGATE_KIND if rule.surrogates and not surrogates.why_none else "",
            surrogate_sentence=surrogates.sentence,
            facts=facts(),
            settings={name: value for name, value in asdict(rule).items() if name != "num_bootstrap"},
            notes=_notes(model, labels, surrogates.why_none, networks_left_out=left_out),
        ),
        num_bootstrap=rule.num_bootstrap,
        seed=rule.seed,
    )
    write_tables(results, judged.parcels, folder)
    write_json(folder / RESULTS_FILE, results)
    return results


_ORDER = ("model", "random-init", "neural", "signal", "connectivity", "position", "chance")


@dataclass(frozen=True, eq=False)
class _Surrogates:
    number_LQ: Int8[np.ndarray, "L Q"]
    sentence: str
    why_none: str = ""


def _surrogates(store: Store, labels: NetworkLabels, rule: NetworkRule, folder: Path) -> _Surrogates:
    """Label maps as smooth as the true one, kept in ``folder``; none without coordinates, which is said."""
    nothing = np.empty((0, len(labels.positions)), np.int8)
    if rule.surrogates == 0:
        return _Surrogates(nothing, "No surrogate label maps were asked for.")
    if not store.parcels.has_coordinates:
        why = "No surrogate label maps: the parcels table has no coordinates."
        return _Surrogates(nothing, why, why)

    def draw() -> dict[str, np.ndarray]:
        maps_LP = surrogate_labels(
            store.parcels, labels.number_P, num=rule.surrogates, seed=rule.seed, homologues=labels.homologues
        )
        return {"maps": maps_LP.astype(np.int8)}

    key = key_of(
        SURROGATES_VERSION,
        store.parcels.fingerprint,
        labels.number_P.tolist(),
        labels.homologues.group_P.tolist(),
        rule.surrogates,
        rule.seed,
    )
    number_LQ = cached_arrays(folder / f"{SURROGATES}-{key}.npz", key, draw)["maps"][:, labels.positions]
    place_Q3 = store.parcels.coordinates[labels.positions]
    true, drawn = (_share_alike(each, place_Q3, labels.units) for each in (labels.numbers[None], number_LQ))
    said = surrogate_sentence(rule.surrogates, labels.num_pairs)
    alike = f"The {NEAREST} parcels nearest to one, its homologue left aside, are of its own network in"
    return _Surrogates(number_LQ, f"{said} {alike} {100 * true:.0f} % in truth, {100 * drawn:.0f} % in the surrogates.")


def _share_alike(
    number_LQ: Int8[np.ndarray, "L Q"] | Int64[np.ndarray, "L Q"],
    place_Q3: Float32[np.ndarray, "Q 3"],
    unit_Q: Int64[np.ndarray, "Q"],
) -> float:
    """How often a parcel and one of those nearest to it are of one network: how smooth label maps are."""
    distance_QQ = np.linalg.norm(place_Q3[:, None] - place_Q3[None], axis=2)
    distance_QQ[unit_Q[:, None] == unit_Q[None]] = np.inf
    near_QK = distance_QQ.argsort(axis=1, kind="stable")[:, :NEAREST]
    return float((number_LQ[:, near_QK] == number_LQ[:, :, None]).mean())


def _notes(model: BrainLM, labels: NetworkLabels, no_surrogates: str, *, networks_left_out: bool) -> list[str]:
    notes = [
        f"Homologous parcels are kept together in folds and resamples; where pairs come from: {labels.homologues.how}."
    ]
    notes += [no_surrogates] if no_surrogates else []
    if networks_left_out:
        notes.append("VAE and GCN are left out: there are no training recordings for them.")
    if model.config.parcels_per_patch > 1:
        notes.append(
            f"A patch of this model is {model.config.parcels_per_patch} parcels, which attention and embeddings cannot "
            "tell from one another: they are kept together in folds and resamples, and no model with these patches can "
            f"be right for more than {100 * labels.share_of_patches:.0f} % of parcels."
        )
    return notes
