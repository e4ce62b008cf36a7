"""A small LSTM that reads a recording step by step, as in the paper: scaled time points, or tokens of a model.

What it is fed, how it is trained and what it is compared with belong to the evaluation of phenotypes.

Shapes: B batch, L steps, F numbers a step, H width, K outputs; P parcels, T time points; W windows of C patches, D
width of a model.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from brainlm.baselines.standardise import Standardise

WIDTH = 32  # ours, not the paper's: 15,000 weights at 200 parcels; a few hundred recordings support no more


class StepLSTM(nn.Module):
    """Steps are mapped to ``width`` numbers, read by one LSTM layer, and its states averaged over the steps.

    The average, not the last state: a resting recording has no end that would sum it up.

    Args:
        num_inputs: F.
        num_outputs: K.
        width: H.
        dropout: share of the averaged state that is dropped in training.
        seed: of the weights.
    """

    def __init__(
        self, num_inputs: int, num_outputs: int, *, width: int = WIDTH, dropout: float = 0.2, seed: int = 0
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(num_inputs, width)
            self.lstm = nn.LSTM(width, width, batch_first=True)
            self.drop = nn.Dropout(dropout)
            self.head = nn.Linear(width, num_outputs)

    def forward(self, steps_BLF: Float[Tensor, "B L F"], present_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B K"]:
        """One row of outputs for each sequence; steps that are not present count nowhere.

        Args:
            steps_BLF: finite everywhere; what is not present must come after all that is.
            present_BL: True = a real step.
        """
        states_BLH, _ = self.lstm(self.embed(steps_BLF))
        count_B1 = present_BL.sum(dim=1, keepdim=True).clamp(min=1)
        mean_BH = (states_BLH * present_BL[:, :, None]).sum(dim=1) / count_B1
        outputs_BK: Tensor = self.head(self.drop(mean_BH))
        return outputs_BK


class SeriesLSTM(nn.Module):
    """``StepLSTM`` over the time points of scaled windows, which lie as (B, P, T) like a model's input.

    Args:
        num_parcels: P.
        num_outputs: K.
        seed: of the weights.
    """

    def __init__(self, num_parcels: int, num_outputs: int, *, seed: int = 0) -> None:
        super().__init__()
        self.steps = StepLSTM(num_parcels, num_outputs, seed=seed)

    def forward(self, signal_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> Float[Tensor, "B K"]:
        """One row of outputs for each window; time points where no parcel is valid (padding at its end) do not count.

        Args:
            signal_BPT: zero where not valid.
            valid_BPT: True = real data.
        """
        outputs_BK: Tensor = self.steps(signal_BPT.transpose(1, 2), valid_BPT.any(dim=1))
        return outputs_BK


class TokenLSTM(nn.Module):
    """``StepLSTM`` over the temporal patches of a model, those of a recording's windows behind one another.

    Args:
        standardise: fitted to the training fold, per place in the window and number of the vector.
        num_outputs: K.
        seed: of the weights.
    """

    def __init__(self, standardise: Standardise, num_outputs: int, *, seed: int = 0) -> None:
        super().__init__()
        self.standardise = standardise
        self.steps = StepLSTM(standardise.mean.shape[-1], num_outputs, seed=seed)

    def forward(self, patches_BWCD: Float[Tensor, "B W C D"]) -> Float[Tensor, "B K"]:
        """One row of outputs for each recording; patches that are missing (at its end) are NaN."""
        present_BL = torch.isfinite(patches_BWCD[..., 0]).flatten(1)
        steps_BLD = self.standardise(patches_BWCD.flatten(0, 1)).reshape(*present_BL.shape, -1)
        outputs_BK: Tensor = self.steps(steps_BLD, present_BL)
        return outputs_BK
