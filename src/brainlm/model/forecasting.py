"""The masked autoencoder as a forecaster: the next patch is hidden, predicted, and taken for seen.

Used as it was pretrained, trained further on forecasting, or untrained: the same rolling forward for all. Which windows
and how they are scaled is not known here.

Shapes: B batch, P parcels, T time points, H time points of the horizon, N patches.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from brainlm.errors import ConfigError
from brainlm.model.autoencoder import MaskedAutoencoder, OwnCovariance
from brainlm.model.config import ModelConfig
from brainlm.model.masks import Mask, hide


class PatchForecaster(nn.Module):
    """Forecasts patch by patch; beyond the first patch it goes on from its own predictions.

    Differentiable with regard to the network's weights. The network sees the last points that fit into its window
    beside one hidden patch; what lies before a short context is not valid. A Gaussian head that knows a recording's own
    covariance gets that of the context.

    Args:
        network: pretrained or not; it is used, not copied.
        horizon: time points to forecast.

    Raises:
        ConfigError: the horizon is not positive, or the network's windows are a single patch.
    """

    def __init__(self, network: MaskedAutoencoder, horizon: int) -> None:
        super().__init__()
        if horizon < 1 or network.config.num_temporal_patches == 1:
            raise ConfigError(
                "nothing can be forecast",
                expected="a horizon of at least 1 and a model with more than one patch in time",
                found=f"horizon {horizon}, windows of {network.config.num_temporal_patches} patches",
            )
        self.network = network
        self.horizon = horizon

    def forward(
        self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]
    ) -> Float[Tensor, "B P {self.horizon}"]:
        """The time points after the context, scaled as the context is; meaningless for parcels nowhere valid in it.

        Args:
            context_BPT: scaled, zero where not valid; of any length, of which the last ``longest_context`` are used.
            valid_BPT: True = real data.
        """
        longest = longest_context(self.network.config)
        known_BPT, valid_BPT = context_BPT[:, :, -longest:], valid_BPT[:, :, -longest:]
        present_BP1 = valid_BPT.any(dim=2, keepdim=True)
        own = self._own(known_BPT)
        patches: list[Tensor] = []
        while sum(patch.shape[2] for patch in patches) < self.horizon:
            next_BPS = self._next_patch(known_BPT, valid_BPT, present_BP1, own)
            patches.append(next_BPS)
            known_BPT = torch.cat((known_BPT, next_BPS.to(known_BPT.dtype)), dim=2)[:, :, -longest:]
            valid_BPT = torch.cat((valid_BPT, present_BP1.expand_as(next_BPS)), dim=2)[:, :, -longest:]
        return torch.cat(patches, dim=2)[:, :, : self.horizon]

    def _own(self, known_BPT: Tensor) -> OwnCovariance | None:
        """The covariance of each context, for a network that blends it in."""
        if not self.network.config.own_covariance_points:
            return None
        return OwnCovariance.of(list(known_BPT.detach().transpose(1, 2)), num_parcels=known_BPT.shape[1])

    def _next_patch(
        self, known_BPT: Tensor, valid_BPT: Tensor, present_BP1: Tensor, own: OwnCovariance | None
    ) -> Float[Tensor, "B P step"]:
        """The patch that follows ``known_BPT``, which stands at the end of the window's visible part."""
        step, length = self.network.config.last_patch, self.network.config.num_timepoints
        missing = length - step - known_BPT.shape[2]
        signal_BPT = F.pad(known_BPT, (missing, step))
        valid_BPT = torch.cat((F.pad(valid_BPT, (missing, 0)), present_BP1.expand(-1, -1, step)), dim=2)
        no_seed_B = torch.zeros(len(signal_BPT), dtype=torch.int64, device=signal_BPT.device)
        hidden_BN = hide((Mask("future", 1),), no_seed_B, self.network.present_grid(valid_BPT)).flatten(1)
        return self.network.reconstruct(signal_BPT, valid_BPT, hidden_BN, own=own)[:, :, -step:]


def longest_context(config: ModelConfig) -> int:
    """How many time points the network can see beside one hidden patch."""
    return config.num_timepoints - config.last_patch


def check_context(config: ModelConfig, context: int) -> None:
    """Raise ConfigError unless ``context`` fills whole patches of the network's window before the last one."""
    longest, patch = longest_context(config), config.timepoints_per_patch
    if 0 < context <= longest and (longest - context) % patch == 0:
        return
    # Of an image the first patches may hold fewer points: contexts are counted from the end of the window.
    allowed = range(longest % patch or patch, longest + 1, patch)
    nearest = sorted(sorted(allowed, key=lambda one: abs(one - context))[:2])
    raise ConfigError(
        "the model cannot forecast from this context",
        expected=f"whole patches of {patch} time points, at most {longest}",
        found=f"a context of {context} time points",
        remedy=f"use --context {' or '.join(map(str, nearest))}",
    )
