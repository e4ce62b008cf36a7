"""The rows of the result: how each predicts a fold's test people from its training people.

Features are in ``blocks.py``, estimators in ``estimators.py``; ``running.py`` goes through methods and folds.

Shapes: M test units of a fold, K outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from brainlm.evaluation.phenotypes.adjusting import Adjustment, fold_features
from brainlm.evaluation.phenotypes.blocks import Block
from brainlm.evaluation.phenotypes.estimators import Estimator, fit_predict, predict_chance
from brainlm.evaluation.phenotypes.fits import Fit
from brainlm.evaluation.phenotypes.folds import Fold, inner_folds
from brainlm.evaluation.phenotypes.neural import NEURAL_CONFIG, NeuralBaseline, fit_predict_neural
from brainlm.evaluation.phenotypes.predictions import Group
from brainlm.evaluation.phenotypes.problem import InnerFolds
from brainlm.evaluation.phenotypes.rotation import Coordinates
from brainlm.evaluation.phenotypes.running import Study
from brainlm.evaluation.phenotypes.stacking import stack
from brainlm.evaluation.phenotypes.targets import Kind
from brainlm.training.supervised import SupervisedConfig

NOTHING = Adjustment()
INNER_FOLDS = 5  # in which the strength of the regularisation is chosen


def estimator_name(estimator: Estimator, kind: Kind) -> str:
    """As tables call it."""
    linear, machine = ("ridge", "SVR") if kind == "regression" else ("logistic", "SVC")
    return {"linear": linear, "svm": machine, "mlp": "MLP"}[estimator]


def inner_of(study: Study, train_M: Int64[np.ndarray, "_"], *, num_folds: int = INNER_FOLDS) -> InnerFolds:
    """The inner folds of some training units; people and families stay whole."""
    return inner_folds(study.cohort, train_M, num_folds=num_folds, seed=study.problem.seed, group=study.rule.group)


def coordinates_of(block: Block, study: Study, fold: Fold, adjustment: Adjustment) -> Coordinates:
    """A block's features in a fold, all that is fitted to them fitted to the training units."""
    fitted = block.features.fit(fold.train_M)
    found = fold_features(
        fitted.transform(fold.train_M),
        fitted.transform(fold.test_M),
        adjustment=adjustment if block.is_adjusted else NOTHING,
        table=study.cohort.table,
        train_M=fold.train_M,
        test_L=fold.test_M,
        weights_M=study.problem.weights_N[fold.train_M],
    )
    return found.coordinates


@dataclass(frozen=True, eq=False)
class BlockMethod:
    """One table of features into one estimator; ``Method``."""

    block: Block
    estimator: Estimator
    kind: Kind
    adjustment: Adjustment = NOTHING

    @property
    def in_parallel(self) -> bool:
        """See ``Method``."""
        return True

    @property
    def name(self) -> str:
        """See ``Method``."""
        return f"{self.block.name}, {estimator_name(self.estimator, self.kind)}"

    @property
    def group(self) -> Group:
        """See ``Method``."""
        return self.block.group

    @property
    def settings(self) -> str:
        """See ``Method``."""
        return f"{self.block.identity} {self.estimator} {self.adjustment} {INNER_FOLDS}"

    @property
    def seen(self) -> str:
        """See ``Method``."""
        return self.block.seen

    def fit(self, study: Study, fold: Fold, inner: InnerFolds) -> Fit:
        """With the inner predictions that a fusion needs."""
        coordinates = coordinates_of(self.block, study, fold, self.adjustment)
        return fit_predict(self.estimator, coordinates, study.problem, fold.train_M, inner=inner)

    def predict(self, study: Study, fold: Fold) -> Float64[np.ndarray, "M K"]:
        """See ``Method``."""
        return self.fit(study, fold, inner_of(study, fold.train_M)).predicted_LK


@dataclass(frozen=True, eq=False)
class Fusion:
    """Several methods' predictions combined by a linear model (late fusion); ``Method``."""

    name: str
    parts: tuple[BlockMethod, ...]
    group: Group = "fusion"

    @property
    def in_parallel(self) -> bool:
        """See ``Method``."""
        return True

    @property
    def settings(self) -> str:
        """See ``Method``."""
        return " + ".join(f"{part.name} {part.settings}" for part in self.parts)

    @property
    def seen(self) -> str:
        """See ``Method``."""
        return next((part.seen for part in self.parts if part.seen), "")

    def predict(self, study: Study, fold: Fold) -> Float64[np.ndarray, "M K"]:
        """See ``Method``."""
        inner = inner_of(study, fold.train_M)
        fits = [part.fit(study, fold, inner) for part in self.parts]
        return stack(fits, study.problem, fold.train_M, inner=inner).fit.predicted_LK


@dataclass(frozen=True)
class Chance:
    """The training people's mean, or the shares of their classes; ``Method``."""

    kind: Kind
    group: Group = "chance"
    settings: str = ""
    seen: str = ""

    @property
    def in_parallel(self) -> bool:
        """See ``Method``."""
        return False

    @property
    def name(self) -> str:
        """See ``Method``."""
        return "Mean" if self.kind == "regression" else "Majority"

    def predict(self, study: Study, fold: Fold) -> Float64[np.ndarray, "M K"]:
        """See ``Method``."""
        return predict_chance(study.problem, fold.train_M, len(fold.test_M))


@dataclass(frozen=True, eq=False)
class NeuralMethod:
    """A recurrent or graph network; ``Method``.

    Attributes:
        baseline: which.
        identity: what its inputs were computed from, beside the store.
        config: how it learns.
    """

    baseline: NeuralBaseline
    identity: str
    seen: str = ""
    group: Group = "neural"
    config: SupervisedConfig = NEURAL_CONFIG

    @property
    def in_parallel(self) -> bool:
        """See ``Method``."""
        return False

    @property
    def name(self) -> str:
        """See ``Method``."""
        return self.baseline.name

    @property
    def settings(self) -> str:
        """See ``Method``."""
        return f"{self.identity} {self.config}"

    def predict(self, study: Study, fold: Fold) -> Float64[np.ndarray, "M K"]:
        """See ``Method``."""
        return fit_predict_neural(
            self.baseline,
            study.problem,
            study.cohort.recordings,
            fold.train_M,
            fold.test_M,
            inner=inner_of(study, fold.train_M),
            config=self.config,
        ).values_MK
