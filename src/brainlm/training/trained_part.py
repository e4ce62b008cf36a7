"""Which part of an encoder is fine-tuned, and how fast each of its layers learns.

The training is in ``finetune.py``; low-rank adapters are in ``adapters.py``.
"""

from __future__ import annotations

import re

from torch import nn

from brainlm.errors import ConfigError
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.training.adapters import add_adapters
from brainlm.training.finetune_config import LAST_BLOCKS
from brainlm.training.optimizer import RateShare

BLOCK = re.compile(r"network\.encoder\.blocks\.(\d+)\.")
# What of a network the encoder consists of; the rest predicts hidden signal and stays as it is.
ENCODER_PARTS = ("embed", "encoder_positions", "cls_D", "encoder")


def choose_trained(network: MaskedAutoencoder, part: str, *, lora_rank: int, seed: int) -> None:
    """Say which parameters of ``network`` need gradients (in place); puts adapters in where they are wanted.

    Args:
        network: whose encoder is fine-tuned.
        part: of the encoder; see ``FinetuneConfig``.
        lora_rank: of the adapters.
        seed: that they start from.

    Raises:
        ConfigError: more blocks than the encoder has, or no peft.
    """
    depth = network.config.encoder_depth
    network.requires_grad_(False)
    last = LAST_BLOCKS.fullmatch(part)
    if part == "lora":
        add_adapters(network, rank=lora_rank, seed=seed)
    elif part == "all":
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in ENCODER_PARTS)
    elif last:
        number = int(last[1])
        if number > depth:
            raise ConfigError(
                "the encoder has fewer blocks than are to be trained",
                expected=f"last:1 to last:{depth}, or all",
                found=part,
            )
        trained: list[nn.Module] = [*network.encoder.blocks[depth - number :], network.encoder.norm]
        for module in trained:
            module.requires_grad_(True)


def layer_rates(depth: int, decay: float) -> RateShare:
    """Of each parameter of a ``Predictor``, its learning rate as a share of the head's.

    The head and the encoder's last LayerNorm have 1, the last of ``depth`` blocks ``decay``, the one below it
    ``decay`` squared, and so on; patch projection, positions and CLS come below the first block.
    """

    def share(name: str) -> float:
        if name.startswith(("head.", "network.encoder.norm.")):
            return 1.0
        block = BLOCK.match(name)
        return decay ** (depth - int(block[1])) if block else decay ** (depth + 1)

    return share
