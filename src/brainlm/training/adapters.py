"""Low-rank adapters on the encoder's attention (LoRA), through peft: put in before training, merged away after it.

Hu et al. 2022, "LoRA: Low-rank adaptation of large language models": a frozen matrix W learns as W + scale B A of rank
r. Once merged, the network is one of ours again and its checkpoint needs no peft.
"""

from __future__ import annotations

from typing import Any

import torch

from brainlm.errors import ConfigError
from brainlm.extras import check_extra
from brainlm.model.autoencoder import MaskedAutoencoder

# The projections of queries, keys and values, and of what attention mixed; the feed-forward layers stay as they are.
TARGETS = r"encoder\.blocks\.\d+\.attention\.(qkv|out)"
ALPHA_PER_RANK = 2  # the usual choice: the adapters' product is added twice


def add_adapters(network: MaskedAutoencoder, *, rank: int, seed: int) -> None:
    """Put adapters into ``network`` (in place); they start at zero, and are all of it that needs gradients.

    Raises:
        ConfigError: peft is not installed, or the rank is not positive.
    """
    peft = _peft()
    if rank < 1:
        raise ConfigError("the rank of the adapters is too small", expected="at least 1", found=str(rank))
    settings = peft.LoraConfig(r=rank, lora_alpha=ALPHA_PER_RANK * rank, target_modules=TARGETS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(settings, network)


def merge_adapters(network: MaskedAutoencoder) -> None:
    """Add the adapters to the matrices they belong to and take them out (in place)."""
    from peft.tuners.lora import LoraLayer

    for block in network.encoder.blocks:
        attention = block.get_submodule("attention")
        for name, layer in list(attention.named_children()):
            if isinstance(layer, LoraLayer):
                layer.merge(safe_merge=True)
                setattr(attention, name, layer.get_base_layer())
    del network.peft_config


def _peft() -> Any:
    check_extra("peft", what="low-rank adapters", otherwise="choose another part of the encoder to train")
    import peft

    return peft
