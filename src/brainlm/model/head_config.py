"""What a head is: its layers, what it sees of a window, dropout. Importing this needs no torch.

The head itself is in ``head.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from brainlm.errors import ConfigError

HeadLayers = Literal["mlp", "linear"]
HeadPooling = Literal["cls", "mean"]


@dataclass(frozen=True)
class HeadConfig:
    """Settings of a head.

    Args:
        layers: ``mlp`` (three linear layers, as in the paper, each half as wide as the one before) or ``linear``.
        pooling: what it sees of a window: the ``cls`` token (the paper) or the ``mean`` of the patch tokens.
        dropout: share of the activations that is dropped before each linear layer while training.
    """

    layers: HeadLayers = "mlp"
    pooling: HeadPooling = "cls"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, choices in (("layers", HeadLayers), ("pooling", HeadPooling)):
            if getattr(self, name) not in get_args(choices):
                expected = f"one of {', '.join(get_args(choices))}"
                raise ConfigError(f"a head's {name} cannot be that", expected=expected, found=str(getattr(self, name)))
        if not 0 <= self.dropout < 1:
            raise ConfigError("dropout is not a share", expected="0 <= dropout < 1", found=str(self.dropout))
