"""Which methods take part in a forecast, and on which windows; each is fitted only when its forecasts are needed.

The fitting itself is in ``linear.py`` and ``neural.py``; scoring in ``running.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from brainlm.baselines.forecaster import Forecaster, NetworkForecaster
from brainlm.baselines.last_known import ContextMean, LastValue
from brainlm.data.context_windows import ContextWindows
from brainlm.data.store import Store
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows
from brainlm.evaluation.forecasting.linear import LINEAR_PROCEDURE, linear_forecasters
from brainlm.evaluation.forecasting.neural import Listener, neural_forecasters, speed_sentence
from brainlm.evaluation.forecasting.running import Entrant, network_identity
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.identity import weights_sha256
from brainlm.model.forecasting import PatchForecaster, check_context, longest_context
from brainlm.training.forecast_config import ForecastConfig

ZERO_SHOT = "BrainLM, zero-shot"
UNTUNED = "Nothing was tuned for the model itself: it is as it was pretrained."
NEVER_FUTURE = (
    "The model was pretrained on masks {masks}: it has never seen all parcels hidden at once, which is what "
    "forecasting without fine-tuning asks of it."
)
LINEAR_TUNING = "Linear methods choose their settings on windows of the validation recordings."


@dataclass(frozen=True)
class Span:
    """How windows are cut: time points seen and forecast, and how many windows of a recording are judged at most."""

    context: int
    horizon: int
    max_per_recording: int | None = None
    batch_size: int = 32

    @classmethod
    def of(
        cls,
        model: BrainLM,
        context: int = 0,
        horizon: int = 0,
        *,
        max_per_recording: int | None = None,
        batch_size: int = 32,
    ) -> Span:
        """One that the model can do; 0 is its longest context, and one of its patches.

        Raises:
            ConfigError: context or horizon do not fit the model.
        """
        context = context or longest_context(model.config)
        horizon = horizon or model.config.timepoints_per_patch
        PatchForecaster(model.network, horizon)  # refuses what cannot be forecast
        check_context(model.config, context)
        return cls(context, horizon, max_per_recording, batch_size)

    def windows(self, store: Store, model: BrainLM) -> ContextWindows:
        """Those of a store, scaled by the model's scaler.

        Raises:
            DataError: no recording is long enough.
        """
        return ContextWindows(store, model.scaler, context=self.context, horizon=self.horizon)

    def judged(self, store: Store, model: BrainLM) -> JudgedWindows:
        """The fixed ones of a store, on the model's device."""
        return JudgedWindows.of(
            self.windows(store, model),
            max_per_recording=self.max_per_recording,
            batch_size=self.batch_size,
            device=str(model.device),
        )


@dataclass(frozen=True, eq=False)
class Field:
    """All methods of a study, fitted to the same recordings.

    Args:
        model: what the study is about; its scaler must be fitted.
        training: recordings that methods learn from.
        validation: recordings that their settings are chosen on.
        span: how windows are cut.
        folder: the study's; trained weights are kept below it.
        families: ``linear``, ``neural``, both or none; last value and context mean are always there.
        finetune: also train a copy of the model and the same network from random weights.
        config: the budget of every network.
        on_fit: called with training recordings read, and all of them, while linear methods are fitted.
        on_epoch: see ``neural_forecasters``.
    """

    model: BrainLM
    training: Store
    validation: Store
    span: Span
    folder: Path
    families: Sequence[str]
    finetune: bool
    config: ForecastConfig
    on_fit: Callable[[int, int], None] | None = None
    on_epoch: Listener | None = None

    @cached_property
    def identity(self) -> str:
        """Of the weights and the scaler."""
        return weights_sha256(self.model)

    @cached_property
    def validation_windows(self) -> JudgedWindows:
        """The windows that settings are chosen on, and that bands come from."""
        return replace(self.span, max_per_recording=None).judged(self.validation, self.model)

    @cached_property
    def linear(self) -> list[Forecaster]:
        """The fitted linear methods."""
        return linear_forecasters(self.training, self.validation_windows, self.model.scaler, on_progress=self.on_fit)

    @cached_property
    def trained(self) -> Sequence[NetworkForecaster]:
        """The networks that learned to forecast, or were kept from before."""
        groups = ["neural", "scratch"] if "neural" in self.families else ["scratch"] if self.finetune else []
        if not groups:
            return []
        return neural_forecasters(
            self.model,
            self.span.windows(self.training, self.model),
            self.span.windows(self.validation, self.model),
            self.config,
            finetune=self.finetune,
            folder=self.folder,
            methods=groups,
            on_progress=self.on_epoch,
        )

    @property
    def zero_shot(self) -> NetworkForecaster:
        """The model as it is: the future is hidden, and it fills it in."""
        network = PatchForecaster(self.model.network, self.span.horizon)
        masks = self.model.provenance.get("training", {}).get("mask", "")
        return NetworkForecaster(
            ZERO_SHOT, "model", network, f"as pretrained, on masks {masks}" if masks else "as pretrained"
        )

    @property
    def remarks(self) -> list[str]:
        """What is to be said of the model's training."""
        masks = self.model.provenance.get("training", {}).get("mask", "future")
        return [] if "future" in masks else [NEVER_FUTURE.format(masks=masks)]

    def entrants(self) -> list[Entrant]:
        """Every method, the model first."""
        first = [Entrant("zero-shot", self.identity, lambda: self.zero_shot)]
        learnt = [_entrant(one) for one in sorted(self.trained, key=lambda one: one.group != "finetuned")]
        linear = []
        if "linear" in self.families:
            fitted_on = f"{LINEAR_PROCEDURE} {self.training.fingerprint}"
            linear = [
                Entrant("ar", fitted_on, lambda: self.linear[0]),
                Entrant("var", fitted_on, lambda: self.linear[1]),
            ]
        simple = [Entrant("last-value", "", LastValue), Entrant("context-mean", "", ContextMean)]
        return [*first, *learnt, *linear, *simple]

    @property
    def tuning(self) -> str:
        """What budget the methods had, in words."""
        parts = [self.config.sentence, speed_sentence(self.trained)] if self.trained else []
        parts += [LINEAR_TUNING] if "linear" in self.families else []
        parts += [] if self.finetune else [UNTUNED]
        return " ".join(part for part in parts if part)


def _entrant(trained: NetworkForecaster) -> Entrant:
    return Entrant(trained.name, network_identity(trained), lambda: trained)
