"""What all targets of one probe are predicted from, computed once: features of the recordings and a model's vectors.

From it come the rows of the result, in the order of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from brainlm.data.store import Store
from brainlm.errors import ConfigError
from brainlm.evaluation.phenotypes.adjusting import Adjustment
from brainlm.evaluation.phenotypes.blocks import Block, RecordingFeatures, nuisance_columns, vector_blocks
from brainlm.evaluation.phenotypes.methods import BlockMethod, Chance, Fusion, NeuralMethod
from brainlm.evaluation.phenotypes.neural import (
    ConnectomeGCNBaseline,
    EmbeddingGCNBaseline,
    NeuralBaseline,
    SeriesLSTMBaseline,
    TokenLSTMBaseline,
)
from brainlm.evaluation.phenotypes.running import Method
from brainlm.evaluation.phenotypes.targets import Cohort
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.cached import cached_features, cached_patches
from brainlm.inference.features import Pooling
from brainlm.inference.identity import weights_sha256
from brainlm.inference.untrained import untrained

Family = Literal["linear", "nonlinear", "neural"]
Tell = Callable[[int, int, str], None]

NAME = "BrainLM"


@dataclass(frozen=True)
class RowRule:
    """Which rows a result has.

    Attributes:
        poolings: of the model's vectors; the first, with the linear estimator, is the main row.
        families: ``linear``; ``nonlinear`` (SVM and MLP on correlations and the main vectors), ``neural`` (LSTM,
            GCN).
        nuisance: columns; the usual ones where empty.
        adjustment: what is taken off all features but the nuisance.
        seed: of the untrained network and of PCA.
    """

    poolings: tuple[Pooling, ...] = ("mean", "cls", "parcels")
    families: tuple[Family, ...] = ("linear", "nonlinear")
    nuisance: tuple[str, ...] = ()
    adjustment: Adjustment = field(default_factory=Adjustment)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.poolings or "linear" not in self.families:
            raise ConfigError(
                "a result needs its main row",
                expected="at least one pooling, and linear among the methods",
                found=f"poolings {list(self.poolings)}, methods {list(self.families)}",
            )


@dataclass(frozen=True, eq=False)
class Evidence:
    """Features by recording of ``store``.

    Attributes:
        vectors, untrained_vectors: of the model and of the same network before training, by pooling.
        identity: of the model's weights and scaler, and of what recordings were resampled to.
        cache: folder of vectors.
        seen: a remark where test people were seen in pretraining.
        resample: whether recordings were brought to the model's repetition time.
    """

    store: Store
    model: BrainLM
    recordings: RecordingFeatures
    vectors: dict[Pooling, Float32[np.ndarray, "R F"]]
    untrained_vectors: dict[Pooling, Float32[np.ndarray, "R F"]]
    identity: str
    cache: Path
    seen: str = ""
    resample: bool = False

    @classmethod
    def gather(
        cls,
        model: BrainLM,
        store: Store,
        rule: RowRule,
        *,
        cache: Path,
        resample: bool = False,
        batch_size: int = 32,
        seen: str = "",
        on_progress: Tell | None = None,
    ) -> Evidence:
        """Compute it, or read the vectors from ``cache``.

        Raises:
            DataError: the store does not fit the model.
            AtlasError: its parcels are others than the model's.
        """

        def part(name: str) -> Callable[[int, int], None]:
            return lambda done, total: None if on_progress is None else on_progress(done, total, name)

        def vectors_of(one: BrainLM, name: str) -> dict[Pooling, np.ndarray]:
            return cached_features(
                one,
                store,
                rule.poolings,
                folder=cache,
                batch_size=batch_size,
                resample=resample,
                on_progress=part(name),
            )

        vectors = vectors_of(model, "embedding")
        random = vectors_of(untrained(model, seed=rule.seed), "embedding, untrained")
        features = RecordingFeatures.of(
            store, num_timepoints=model.config.num_timepoints, on_progress=part("connectivity")
        )
        # Predictions from resampled recordings are others than those from recordings as they are.
        identity = weights_sha256(model) + (f" resampled to {model.tr_s} s" if resample else "")
        return cls(store, model, features, vectors, random, identity, cache, seen, resample)

    def rows(self, cohort: Cohort, rule: RowRule) -> Rows:
        """The methods for one target."""
        kind, adjustment = cohort.target.kind, rule.adjustment
        columns = nuisance_columns(cohort, rule.nuisance)
        cohort.check_codes([*columns, *adjustment.confounds, *adjustment.keep])
        blocks = self.recordings.blocks(cohort, nuisance=columns, seed=rule.seed)
        own = vector_blocks(NAME, "model", self.vectors, cohort, identity=self.identity, seen=self.seen)
        random_identity = f"untrained {rule.seed} {self.identity}"
        random = vector_blocks(
            "Random-initialised", "random-init", self.untrained_vectors, cohort, identity=random_identity
        )

        def linear(block: Block) -> BlockMethod:
            return BlockMethod(block, "linear", kind, adjustment)

        main, connectome = linear(own[rule.poolings[0]]), linear(blocks["correlation"])
        methods: list[Method] = [Chance(kind), *(linear(block) for block in blocks.values())]
        methods += [linear(random[pooling]) for pooling in rule.poolings]
        if "neural" in rule.families:
            methods += [NeuralMethod(baseline, f"{self.identity} {self.resample}") for baseline in self._networks()]
            # What is made of the model's own patches is a way to use the model, not something it has to beat.
            methods += [
                NeuralMethod(baseline, f"{self.identity} {self.resample}", seen=self.seen, group="model")
                for baseline in self._networks_on_patches()
            ]
        if "nonlinear" in rule.families:
            for block in (blocks["correlation"], own[rule.poolings[0]]):
                methods += [BlockMethod(block, "svm", kind, adjustment), BlockMethod(block, "mlp", kind, adjustment)]
        methods += [linear(own[pooling]) for pooling in rule.poolings]
        methods.append(Fusion(f"Connectivity (correlation) + {main.block.name}", (connectome, main)))
        return Rows(sorted(methods, key=_place), main, connectome.name, linear(random[rule.poolings[0]]).name)

    def _networks(self) -> list[NeuralBaseline]:
        """LSTM and GCN on recordings."""
        return [
            SeriesLSTMBaseline(self.store, self.model.config.num_timepoints, "robust"),
            ConnectomeGCNBaseline(self.recordings.correlation_RE),
        ]

    def _networks_on_patches(self) -> list[NeuralBaseline]:
        """The same on the model's patches."""
        patches_RWCD = cached_patches(self.model, self.store, folder=self.cache, resample=self.resample)
        found: list[NeuralBaseline] = [TokenLSTMBaseline(patches_RWCD)]
        if "parcels" in self.vectors:
            parcels_RPD = self.vectors["parcels"].reshape(len(self.store), self.store.num_parcels, -1)
            found.append(EmbeddingGCNBaseline(parcels_RPD, self.recordings.correlation_RE))
        return found


@dataclass(frozen=True, eq=False)
class Rows:
    """The methods of one target, and which of them the question is about.

    Attributes:
        methods: in the order of the table.
        main: the model's row, chosen before any score is known.
        fusion_over: the name of the row that the fusion adds the model to.
        untrained: the name of the main row's counterpart before any training.
    """

    methods: Sequence[Method]
    main: BlockMethod
    fusion_over: str
    untrained: str


_ORDER = ("chance", "nuisance", "signal", "connectivity", "neural", "random-init", "model", "fusion", "finetuned")


def _place(method: Method) -> int:
    return _ORDER.index(method.group)
