"""An LSTM that forecasts: it reads a context step by step and goes on from its own predictions.

What all neural baselines share, a starting point and a scale taken from the context, is here, too; those with
differential equations are in ``ode_forecasters.py``. How they are trained belongs elsewhere.

Shapes: B batch, P parcels, T time points of the context, H time points of the horizon, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

WIDTH = 64  # ours: some 100,000 weights at 200 parcels, soon trained on a few hundred recordings
LEAST_SIZE = 1e-6  # scaled units; a context that does not vary is forecast by its mean


@dataclass(frozen=True, eq=False)
class Framed:
    """A context as networks see it: deviations from each parcel's mean over it, in units of the window's own size.

    Attributes:
        steps_BTP: the deviations, zero where not valid.
        last_BP: the last valid deviation of each parcel.
        mean_BP: the mean of each parcel's valid values, scaled as the context is.
        size_B: root mean square of all valid deviations, scaled as the context is.
    """

    steps_BTP: Float[Tensor, "B T P"]
    last_BP: Float[Tensor, "B P"]
    mean_BP: Float[Tensor, "B P"]
    size_B: Float[Tensor, "B"]

    @classmethod
    def of(cls, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> Framed:
        """The context in its own frame."""
        count_BP = valid_BPT.sum(dim=2)
        mean_BP = (context_BPT * valid_BPT).sum(dim=2) / count_BP.clamp(min=1)
        deviation_BPT = (context_BPT - mean_BP[:, :, None]).masked_fill(~valid_BPT, 0.0)
        num_values_B = count_BP.sum(dim=1).clamp(min=1)
        size_B = (deviation_BPT.square().sum(dim=(1, 2)) / num_values_B).sqrt().clamp(min=LEAST_SIZE)
        steps_BPT = deviation_BPT / size_B[:, None, None]
        place_T = torch.arange(valid_BPT.shape[2], device=valid_BPT.device)
        last_BP1 = torch.where(valid_BPT, place_T, 0).amax(dim=2, keepdim=True)
        return cls(steps_BPT.transpose(1, 2), steps_BPT.gather(2, last_BP1)[:, :, 0], mean_BP, size_B)


class Persistence(nn.Module):
    """Where every neural baseline starts from, and what it adds its own forecast to: two shares, learnt for each step.

    The share of the last deviation is 0 where training starts (1 would be the last value); that of the context's mean
    is 1 (0 would be the centre that scaling took off).

    Args:
        horizon: H.
    """

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.last_H = nn.Parameter(torch.zeros(horizon))
        self.mean_H = nn.Parameter(torch.ones(horizon))

    def forward(self, last_BP: Float[Tensor, "B P"]) -> Float[Tensor, "B H P"]:
        """What remains of the last deviation at every step."""
        return self.last_H[:, None] * last_BP[:, None]

    def restored(self, framed: Framed, steps_BHP: Float[Tensor, "B H P"]) -> Float[Tensor, "B P H"]:
        """Forecast deviations in the context's own units, the mean added."""
        return framed.mean_BP[:, :, None] * self.mean_H + framed.size_B[:, None, None] * steps_BHP.transpose(1, 2)


def silent(width: int, num_parcels: int) -> nn.Linear:
    """A map to parcels that says nothing before it has learnt."""
    layer = nn.Linear(width, num_parcels)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class LSTMForecaster(nn.Module):
    """An encoder that reads the context, and a decoder of the same size that starts from its state.

    The decoder is fed the last time point, then its own predictions, in training as in forecasting (Sutskever et al.
    2014, "Sequence to sequence learning with neural networks", without teacher forcing).

    Args:
        num_parcels: P.
        horizon: H.
        width: W.
        seed: of the weights.
    """

    def __init__(self, num_parcels: int, horizon: int, *, width: int = WIDTH, seed: int = 0) -> None:
        super().__init__()
        self.horizon = horizon
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(num_parcels, width)
            self.encoder = nn.LSTM(width, width, batch_first=True)
            self.decoder = nn.LSTMCell(width, width)
            self.read = silent(width, num_parcels)
            self.persistence = Persistence(horizon)

    def forward(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]
    ) -> Float[Tensor, "B P {self.horizon}"]:
        """The time points after the context, in its units.

        Args:
            context_BPT: zero where not valid.
            valid_BPT: True = real data.
        """
        framed = Framed.of(context_BPT, valid_BPT)
        _, (hidden_1BW, cell_1BW) = self.encoder(self.embed(framed.steps_BTP))
        state, known_BP, steps = (hidden_1BW[0], cell_1BW[0]), framed.last_BP, []
        for kept_BP in self.persistence(framed.last_BP).unbind(dim=1):
            state = self.decoder(self.embed(known_BP), state)
            known_BP = kept_BP + self.read(state[0])
            steps.append(known_BP)
        return self.persistence.restored(framed, torch.stack(steps, dim=1))
