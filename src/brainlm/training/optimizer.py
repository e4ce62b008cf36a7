"""How networks learn once their loss is known: AdamW with a warm-up and a cosine, decay on matrices only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import nn

from brainlm.training.finetune_config import SupervisedConfig
from brainlm.training.schedule import warmup_cosine

RateShare = Callable[[str], float]


def warmed_adamw(
    network: nn.Module, config: SupervisedConfig, *, trainer: Trainer, rate_share: RateShare | None = None
) -> dict[str, Any]:
    """What ``configure_optimizers`` gives Lightning.

    Args:
        network: its parameters with gradients learn.
        config: rate, decay and warm-up.
        trainer: knows how many steps there will be.
        rate_share: of a parameter's name, its learning rate as a share of the config's; all of it unless given.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            # Positions are tables of vectors, not maps: decay would pull them to one another.
            decays = parameter.ndim >= 2 and not name.endswith(("space_RD", "time_CD"))
            share = 1.0 if rate_share is None else rate_share(name)
            groups.setdefault((share, decays), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": parameters, "lr": config.learning_rate * share, "weight_decay": config.weight_decay * decays}
            for (share, decays), parameters in groups.items()
        ]
    )
    num_steps, warmup_share = int(trainer.estimated_stepping_batches), config.warmup_share
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, num_steps=num_steps, warmup_share=warmup_share)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
