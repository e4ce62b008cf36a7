"""Fine-tuning as a row of the result, in the same folds as all others; and the model of all people, to be kept.

How an encoder is fine-tuned is in ``training/finetune.py``.

Shapes: M test units of a fold, N units, K outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from brainlm.atomic import replacing_folder
from brainlm.errors import CheckpointError
from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.methods import inner_of
from brainlm.evaluation.phenotypes.predictions import Group
from brainlm.evaluation.phenotypes.running import Study
from brainlm.inference.brainlm import BrainLM
from brainlm.training.finetune import FinetuneConfig, Finetuned, finetune
from brainlm.training.labelled import Labelled

Listener = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class FinetunedMethod:
    """The encoder with a head, trained in every fold anew from where pretraining left it; ``Method``.

    One of the inner folds decides when to stop.

    Attributes:
        model: pretrained.
        identity: of its weights and scaler.
        config: how it is fine-tuned; its seed is the study's.
        seen: a remark where test people were seen in pretraining.
        on_epoch: called after every epoch with its losses.
    """

    model: BrainLM
    identity: str
    config: FinetuneConfig
    seen: str = ""
    group: Group = "finetuned"
    on_epoch: Listener | None = None

    @property
    def in_parallel(self) -> bool:
        """See ``Method``."""
        return False

    @property
    def name(self) -> str:
        """See ``Method``."""
        return f"Fine-tuned ({self.config.train}, {self.config.head.pooling}, {self.config.head.layers} head)"

    @property
    def settings(self) -> str:
        """See ``Method``."""
        # Where it is computed changes no more than the last digits.
        supervised = dataclasses.replace(self.config.supervised, accelerator="auto", seed=0)
        return f"{self.identity} {dataclasses.replace(self.config, supervised=supervised)}"

    def predict(self, study: Study, fold: Fold) -> Float64[np.ndarray, "M K"]:
        """See ``Method``."""
        learnt = self.train(study, fold.train_M)
        return learnt.predict(study.store, _labelled(study, fold.test_M))

    def train(self, study: Study, units_M: Int64[np.ndarray, "M"]) -> Finetuned:
        """Fine-tune on these units, but for those who decide when to stop."""
        learning, stopping = inner_of(study, units_M)[0]
        target = study.cohort.target
        return finetune(
            self.model,
            study.store,
            train=_labelled(study, units_M[learning]),
            validation=_labelled(study, units_M[stopping]),
            config=dataclasses.replace(
                self.config, supervised=dataclasses.replace(self.config.supervised, seed=study.problem.seed)
            ),
            kind=target.kind,
            classes=target.classes,
            name=target.name,
            on_progress=self.on_epoch,
        )

    def write_final(self, study: Study, folder: Path, facts: Mapping[str, Any]) -> Path:
        """Fine-tune on everybody and write the model to ``folder``, which ``brainlm predict`` takes; returns it."""
        trained = self.train(study, np.arange(len(study.cohort)))
        with replacing_folder(folder, kind=CheckpointError) as written:
            trained.write(written, facts)
        return folder


def _labelled(study: Study, units_M: Int64[np.ndarray, "M"]) -> Labelled:
    problem = study.problem
    assert problem.transform == "none", "a head speaks in the target's own units"
    return Labelled.of(study.cohort.recordings, problem.values_N, units_M, weights_N=problem.weights_N)
