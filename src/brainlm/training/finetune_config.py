"""How networks learn people's labels and how an encoder is fine-tuned, as frozen records, which need no torch.

What the settings do is in ``supervised.py`` and ``finetune.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from brainlm.errors import ConfigError
from brainlm.model.head_config import HeadConfig
from brainlm.training.config import Precision

LAST_BLOCKS = re.compile(r"last:([1-9]\d*)")


@dataclass(frozen=True)
class SupervisedConfig:
    """How a network learns labels.

    Args:
        epochs: at most this many visits to every training recording.
        draws: random inputs of each recording in one epoch.
        batch_size: recordings per step.
        learning_rate: the highest; it rises over the first ``warmup_share`` of the steps and falls as a cosine.
        warmup_share: see ``learning_rate``.
        weight_decay: of AdamW, on matrices only.
        clip_norm: gradients with a larger norm are scaled down to it; 0 never clips.
        patience: stop after this many epochs without a better validation loss; 0 never stops early.
        balanced: weigh classes equally in the loss, however many people they have (probabilities then do not follow
            the classes' shares).
        precision: as Lightning calls it.
        accelerator: ``auto``, ``cpu``, ``gpu``, ...
        seed: of order, windows and dropout.
    """

    epochs: int = 30
    draws: int = 1
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    patience: int = 5
    balanced: bool = False
    precision: Precision = "32-true"
    accelerator: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in (("epochs", 1), ("draws", 1), ("batch_size", 1), ("patience", 0), ("seed", 0)):
            if getattr(self, name) < lowest:
                found = f"{name}={getattr(self, name)}"
                raise ConfigError(f"{name} is too small", expected=f"at least {lowest}", found=found)
        for name in ("learning_rate", "weight_decay", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is negative", expected="0 or more", found=f"{getattr(self, name)}")
        if not 0 < self.warmup_share < 1:
            raise ConfigError("warmup_share is not a share", expected="between 0 and 1", found=str(self.warmup_share))


@dataclass(frozen=True)
class FinetuneConfig:
    """How an encoder is fine-tuned.

    Args:
        head: the layers on top.
        train: what of the encoder learns: ``all``, ``last:K`` (its last K blocks), ``head`` (nothing) or ``lora``
            (low-rank adapters on the attention of every block, merged into it in the end).
        layer_decay: the learning rate of each block as a share of that of the block above it (Clark et al. 2020,
            ELECTRA; the head has the highest); 1 treats all alike.
        lora_rank: of the adapters.
        hidden_share: of each training window's patches, the share that is hidden at random; what is hidden costs
            nothing. Predictions see everything.
        supervised: epochs, rates, stopping.
    """

    head: HeadConfig = field(default_factory=HeadConfig)
    train: str = "all"
    layer_decay: float = 0.75
    lora_rank: int = 8
    hidden_share: float = 0.0
    supervised: SupervisedConfig = field(default_factory=SupervisedConfig)

    def __post_init__(self) -> None:
        if self.train not in ("all", "head", "lora") and not LAST_BLOCKS.fullmatch(self.train):
            raise ConfigError(
                "unknown part of the encoder to train",
                expected="all, last:K (such as last:2), head or lora",
                found=self.train,
            )
        if not 0 < self.layer_decay <= 1:
            raise ConfigError("layer_decay is not a share", expected="above 0, up to 1", found=str(self.layer_decay))
        if not 0 <= self.hidden_share < 1:
            raise ConfigError(
                "hidden_share is not a share", expected="0 <= hidden_share < 1", found=f"{self.hidden_share}"
            )
        if self.lora_rank < 1:
            raise ConfigError("lora_rank is too small", expected="at least 1", found=str(self.lora_rank))
