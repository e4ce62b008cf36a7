"""How networks learn to forecast, as a frozen record, which needs no torch.

What the settings do is in ``forecast.py``; one learning rate's share of them is what any network learns by
(``SupervisedConfig``).
"""

from __future__ import annotations

from dataclasses import dataclass

from brainlm.errors import ConfigError
from brainlm.training.config import Precision
from brainlm.training.finetune_config import SupervisedConfig


@dataclass(frozen=True)
class ForecastConfig:
    """The budget that every network has to learn forecasting, a pretrained one no more than the others.

    Args:
        epochs: at most this many visits to every training recording, for each learning rate.
        draws: random windows of each recording in one epoch.
        batch_size: windows per step.
        learning_rates: all of them are tried from the same start; the lowest validation error decides.
        patience: stop after this many epochs without a lower validation error; 0 never stops early.
        weight_decay: of AdamW, on matrices only.
        clip_norm: gradients with a larger norm are scaled down to it; 0 never clips.
        warmup_share: the share of the steps over which a learning rate rises; then it falls as a cosine.
        precision: as Lightning calls it.
        accelerator: ``auto``, ``cpu``, ``gpu``, ...
        seed: of weights, order and windows.
    """

    epochs: int = 20
    draws: int = 1
    batch_size: int = 16
    learning_rates: tuple[float, ...] = (1e-3,)
    patience: int = 4
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    warmup_share: float = 0.1
    precision: Precision = "32-true"
    accelerator: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.learning_rates:
            raise ConfigError("no learning rate to try", expected="one or more", found="none")
        for rate in self.learning_rates:
            if not rate > 0:
                raise ConfigError("a learning rate teaches nothing", expected="above 0", found=f"{rate}")
            self.at(rate)  # refuses what is wrong with the rest

    def at(self, learning_rate: float) -> SupervisedConfig:
        """The settings with one learning rate of the budget."""
        return SupervisedConfig(
            epochs=self.epochs,
            draws=self.draws,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            warmup_share=self.warmup_share,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            patience=self.patience,
            precision=self.precision,
            accelerator=self.accelerator,
            seed=self.seed,
        )

    @property
    def sentence(self) -> str:
        """The budget in words, for tables and reports."""
        rates = ", ".join(f"{rate:g}" for rate in self.learning_rates)
        stopping = f", stopping after {self.patience} epochs without a lower validation error" if self.patience else ""
        windows = "a random window" if self.draws == 1 else f"{self.draws} random windows"
        return (
            f"Every network had the same budget: learning rate {rates}"
            f"{' (each tried from the same start)' if len(self.learning_rates) > 1 else ''}, at most {self.epochs} "
            f"epochs of {windows} per training recording{stopping}; AdamW (weight decay {self.weight_decay:g}), "
            f"{self.batch_size} windows a step; the state with the lowest validation error was kept."
        )
