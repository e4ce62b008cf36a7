"""What every method that forecasts gets and gives: the model and its baselines alike.

Evaluation scores any ``Forecaster``; fitting or training one is its own module's business.

Shapes: B batch, P parcels, T time points of the context, H time points of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Group = Literal["model", "finetuned", "scratch", "linear", "neural", "simple"]


@runtime_checkable
class Forecaster(Protocol):
    """A method that continues a context.

    ``name`` is what tables show, ``group`` what kind of method it is, ``tuned`` how its settings were found, in words
    ("" where there are none), and ``seconds`` what fitting took (None where nothing was fitted here).
    """

    @property
    def name(self) -> str: ...

    @property
    def group(self) -> Group: ...

    @property
    def tuned(self) -> str: ...

    @property
    def seconds(self) -> float | None: ...

    def predict(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"], horizon: int
    ) -> Float[Tensor, "B P {horizon}"]:
        """Finite values in scaled units, on the context's device.

        Args:
            context_BPT: scaled, zero where not valid.
            valid_BPT: True = real data.
            horizon: time points to forecast.
        """
        ...


@dataclass(frozen=True, eq=False)
class NetworkForecaster:
    """Any network that maps (context_BPT, valid_BPT) to (B, P, H), as a ``Forecaster``.

    Args:
        name, group, tuned, seconds: see ``Forecaster``.
        network: for a horizon of at least what is asked for.
    """

    name: str
    group: Group
    network: nn.Module
    tuned: str = ""
    seconds: float | None = None

    @torch.no_grad()
    def predict(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"], horizon: int
    ) -> Float[Tensor, "B P {horizon}"]:
        """What the network forecasts, without dropout."""
        self.network.eval()
        forecast_BPH = self.network(context_BPT, valid_BPT)
        assert forecast_BPH.shape[2] >= horizon, "a network is made for its horizon"
        return forecast_BPH[:, :, :horizon]
