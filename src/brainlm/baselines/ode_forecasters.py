"""Networks that forecast by a differential equation they have learnt: a neural ODE and a latent ODE (torchdiffeq).

Both end in a state that moves as dz/dt = f(z) and is read out at every time point; they differ in where that state
begins. What they share with the LSTM is in ``sequence_forecasters.py``; how they are trained belongs elsewhere.

Shapes: B batch, P parcels, T time points of the context, H time points of the horizon, W width, Z size of the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from brainlm.baselines.sequence_forecasters import WIDTH, Framed, Persistence, silent

STATE = 32
# A fixed solver of fourth order, one step a time point, four evaluations of f in each: a learnt f need not be followed
# more closely than it is observed, and an adaptive solver takes several times as many.
SOLVER = "rk4"
TIME_PER_POINT = 0.1  # so that f of ordinary size makes rhythms of ordinary speed, some ten points a cycle
NOISE_VARIANCE = 0.5  # scaled units; what of a value the latent ODE takes for noise, so how much a nat of z0 costs


class Flow(nn.Module):
    """dz/dt = f(z), f a perceptron with one hidden layer, and the states it leads to.

    Args:
        size: Z.
        width: W, of the hidden layer.
    """

    def __init__(self, size: int, width: int) -> None:
        from torchdiffeq import odeint

        super().__init__()
        self._odeint = odeint
        self.speed = nn.Sequential(nn.Linear(size, width), nn.Tanh(), nn.Linear(width, size))

    def forward(self, start_BZ: Float[Tensor, "B Z"], num_steps: int) -> Float[Tensor, "B {num_steps} Z"]:
        """The states one, two, ... ``num_steps`` time points after ``start_BZ``."""
        time_T = TIME_PER_POINT * torch.arange(num_steps + 1, dtype=start_BZ.dtype, device=start_BZ.device)
        states_TBZ: Tensor = self._odeint(lambda _, state_BZ: self.speed(state_BZ), start_BZ, time_T, method=SOLVER)
        return states_TBZ[1:].transpose(0, 1)


class NeuralODEForecaster(nn.Module):
    """A GRU reads the context up to the origin; from the state it ends in, a learnt flow goes on (Chen et al. 2018,
    "Neural ordinary differential equations").

    Args:
        num_parcels: P.
        horizon: H.
        width: W.
        size: Z.
        seed: of the weights.
    """

    def __init__(self, num_parcels: int, horizon: int, *, width: int = WIDTH, size: int = STATE, seed: int = 0) -> None:
        super().__init__()
        self.horizon = horizon
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(num_parcels, width)
            self.encoder = nn.GRU(width, width, batch_first=True)
            self.start = nn.Linear(width, size)
            self.flow = Flow(size, width)
            self.read = silent(size, num_parcels)
            self.persistence = Persistence(horizon)

    def forward(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]
    ) -> Float[Tensor, "B P {self.horizon}"]:
        """The time points after the context, in its units; see ``LSTMForecaster.forward``."""
        framed = Framed.of(context_BPT, valid_BPT)
        _, hidden_1BW = self.encoder(self.embed(framed.steps_BTP))
        states_BHZ = self.flow(self.start(hidden_1BW[0]), self.horizon)
        return self.persistence.restored(framed, self.persistence(framed.last_BP) + self.read(states_BHZ))


@dataclass(frozen=True, eq=False)
class LatentForecast:
    """A forecast from a drawn latent state, and what training adds to its error, a mean per value."""

    future_BPH: Float[Tensor, "B P H"]
    penalty: Float[Tensor, ""]


class LatentODEForecaster(nn.Module):
    """A variational autoencoder whose code is where a learnt flow begins (Chen et al. 2018; Rubanova et al. 2019,
    "Latent ordinary differential equations for irregularly-sampled time series").

    A GRU reads the context backwards in time and gives the mean and spread of z0, the state just before its first
    point; the flow leads from there through the context, which it is to reproduce, and on into the future. In training
    z0 is drawn; a forecast starts from its mean.

    Args:
        num_parcels: P.
        horizon: H.
        width: W.
        size: Z.
        seed: of the weights.
    """

    def __init__(self, num_parcels: int, horizon: int, *, width: int = WIDTH, size: int = STATE, seed: int = 0) -> None:
        super().__init__()
        self.horizon = horizon
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(num_parcels, width)
            self.recognition = nn.GRU(width, width, batch_first=True)
            self.code = nn.Linear(width, 2 * size)
            self.flow = Flow(size, width)
            self.read = silent(size, num_parcels)
            self.persistence = Persistence(horizon)

    def forward(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]
    ) -> Float[Tensor, "B P {self.horizon}"]:
        """The time points after the context, in its units; see ``LSTMForecaster.forward``."""
        framed = Framed.of(context_BPT, valid_BPT)
        mean_BZ, _ = self._code(framed)
        return self._future(framed, self._path(framed, mean_BZ))

    def learn(self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> LatentForecast:
        """The forecast from a z0 drawn from its distribution; the penalty is the rest of the negative evidence bound.

        That is, of Gaussian noise of ``NOISE_VARIANCE``: the mean squared error in the context, which counts as much as
        that in the future however long they are, and the divergence of z0's distribution from N(0, 1), which is shared
        by all values.
        """
        framed = Framed.of(context_BPT, valid_BPT)
        mean_BZ, log_variance_BZ = self._code(framed)
        drawn_BZ = mean_BZ + (0.5 * log_variance_BZ).exp() * torch.randn_like(mean_BZ)
        path_BTP = self._path(framed, drawn_BZ)
        num_points = framed.steps_BTP.shape[1]
        missed_BTP = framed.size_B[:, None, None] * (path_BTP[:, :num_points] - framed.steps_BTP)
        num_values = valid_BPT.sum().clamp(min=1)
        squares = missed_BTP.square().masked_fill(~valid_BPT.transpose(1, 2), 0.0).sum() / num_values
        divergence = 0.5 * (mean_BZ.square() + log_variance_BZ.exp() - 1 - log_variance_BZ).sum()
        return LatentForecast(self._future(framed, path_BTP), squares + 2 * NOISE_VARIANCE * divergence / num_values)

    def _code(self, framed: Framed) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Mean and log variance of z0."""
        _, hidden_1BW = self.recognition(self.embed(framed.steps_BTP.flip(1)))
        mean_BZ, log_variance_BZ = self.code(hidden_1BW[0]).chunk(2, dim=1)
        return mean_BZ, log_variance_BZ

    def _path(self, framed: Framed, start_BZ: Tensor) -> Float[Tensor, "B T_and_H P"]:
        """What the flow says of every time point of context and future."""
        return self.read(self.flow(start_BZ, framed.steps_BTP.shape[1] + self.horizon))

    def _future(self, framed: Framed, path_BTP: Tensor) -> Float[Tensor, "B P H"]:
        # The path speaks of the last point, too: what persists is what it missed there.
        missed_BP = framed.last_BP - path_BTP[:, -self.horizon - 1]
        return self.persistence.restored(framed, self.persistence(missed_BP) + path_BTP[:, -self.horizon :])
