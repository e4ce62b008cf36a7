"""From an encoded window to a prediction for its person: pooling, the head's layers, and the target's units.

Shapes: B windows, P parcels, T time points, N patches, K outputs (1, or one a class), D width, U people. How a head is
trained is in ``training/finetune.py``; how it is kept beside a checkpoint in ``inference/predicting.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from brainlm.errors import DataError
from brainlm.model.autoencoder import MaskedAutoencoder, Places
from brainlm.model.head_config import HeadConfig, HeadPooling
from brainlm.model.layers import initialise
from brainlm.model.masks import choose

TargetKind = Literal["regression", "binary", "multiclass"]


@dataclass(frozen=True)
class TargetUnits:
    """What the numbers of a network mean: standardised values of a quantity, or the log-odds of classes.

    ``classes`` is empty for regression; of two classes the second is the one whose probability is predicted. ``mean``
    and ``sd`` are those of the training people, in original units.
    """

    name: str
    kind: TargetKind
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    sd: float = 1.0

    @classmethod
    def of(
        cls,
        values_U: Float64[np.ndarray, "U"],
        weights_U: Float64[np.ndarray, "U"],
        *,
        kind: TargetKind,
        classes: tuple[str, ...] = (),
        name: str = "",
    ) -> TargetUnits:
        """Those of the training people's values (class codes, but for regression).

        Raises:
            DataError: there is nobody, or regression of values that do not vary.
        """
        assert np.isfinite(values_U).all(), "people without a value are left out before"
        if kind != "regression":
            assert len(classes) == 2 if kind == "binary" else len(classes) > 2, (kind, classes)
            return cls(name, kind, tuple(classes))
        mean = float(np.average(values_U, weights=weights_U)) if len(values_U) else 0.0
        sd = float(np.sqrt(np.average((values_U - mean) ** 2, weights=weights_U))) if len(values_U) else 0.0
        if sd <= 0:
            raise DataError(
                f"{name or 'the target'} does not vary among those the network is to be trained on",
                expected="two different values or more",
                found=f"{len(values_U)} people, all of them {mean:g}" if len(values_U) else "nobody",
                remedy="choose another target, or folds with larger training parts",
            )
        return cls(name, kind, (), mean, sd)

    @property
    def num_outputs(self) -> int:
        """K, how many numbers a network predicts."""
        return len(self.classes) if self.kind == "multiclass" else 1

    def standardised(self, values_B: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """What a network is trained to say: standard deviations from the mean, or the class codes as they are."""
        return (values_B - self.mean) / self.sd

    def in_units(self, raw_BK: Float[Tensor, "B K"]) -> Float64[Tensor, "B K"]:
        """A network's numbers as values in original units, as the second class's probability, or as each class's."""
        raw_BK = raw_BK.double()
        if self.kind == "regression":
            return raw_BK * self.sd + self.mean
        return raw_BK.sigmoid() if self.kind == "binary" else raw_BK.softmax(dim=1)


class Head(nn.Module):
    """The layers from a window's vector to the numbers that ``TargetUnits`` explains (Ortega Caro et al., ICLR 2024).

    Vectors are standardised first: what people share in them is far larger than what they differ in, and a head that
    sees both learns next to nothing in the epochs that few people allow.

    Args:
        config: which layers.
        width: D of the encoder.
        num_outputs: K.
    """

    mean_D: Tensor
    sd_D: Tensor

    def __init__(self, config: HeadConfig, *, width: int, num_outputs: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean_D", torch.zeros(width))
        self.register_buffer("sd_D", torch.ones(width))
        widths = [width] if config.layers == "linear" else [width, max(width // 2, 1), max(width // 4, 1)]
        layers: list[nn.Module] = []
        for given, made in pairwise(widths):
            layers += [nn.Dropout(config.dropout), nn.Linear(given, made), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Dropout(config.dropout), nn.Linear(widths[-1], num_outputs))
        initialise(self.layers[-1])  # near zero: training starts at the training people's mean

    @torch.no_grad()
    def fit_standardisation(self, vector_MD: Float[Tensor, "M D"], *, least_share: float = 0.0) -> None:
        """Take mean and spread from vectors of training people, as the encoder gives them before it is trained.

        Args:
            vector_MD: of their windows.
            least_share: the least spread, as a share of the vectors' root mean square. An encoder that is yet to learn
                would move what hardly varies by many of its standard deviations in one step.
        """
        least = least_share * vector_MD.square().mean().sqrt()
        sd_D = vector_MD.std(dim=0, correction=0).clamp(min=least)
        self.mean_D.copy_(vector_MD.mean(dim=0))
        self.sd_D.copy_(torch.where(sd_D > 0, sd_D, 1.0))

    def forward(self, vector_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        numbers_BK: Tensor = self.layers((vector_BD - self.mean_D) / self.sd_D)
        return numbers_BK.float()


class Predictor(nn.Module):
    """An encoder with a head: scaled windows in, one row of numbers a window out.

    Parts of which nothing is to be learnt stay in evaluation mode (no dropout) while the rest is trained.

    Args:
        network: whose encoder is used.
        head: on top of it.
        hidden_share: of each window's patches, the share that is hidden at random while training (as in pretraining).
    """

    def __init__(self, network: MaskedAutoencoder, head: Head, *, hidden_share: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.hidden_share = hidden_share

    def forward(self, signal_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> Float[Tensor, "B K"]:
        learns = any(parameter.requires_grad for parameter in self.network.parameters())
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            seen_BN = self.network.seen(valid_BPT)
            if self.training and self.hidden_share:
                seeds_B = torch.randint(2**62, (len(seen_BN),)).to(seen_BN.device)
                seen_BN = choose(1 - self.hidden_share, seeds_B, seen_BN)
            vector_BD = pooled(self.network, signal_BPT, valid_BPT, self.head.config.pooling, seen_BN=seen_BN)
        return self.head(vector_BD)

    def train(self, mode: bool = True) -> Predictor:
        """As in torch, but for what is frozen."""
        super().train(mode)
        for part in self.modules():
            parameters = list(part.parameters())
            if part is not self and parameters and not any(p.requires_grad for p in parameters):
                part.eval()
        return self


def pooled(
    network: MaskedAutoencoder,
    signal_BPT: Float[Tensor, "B P T"],
    valid_BPT: Bool[Tensor, "B P T"],
    pooling: HeadPooling,
    *,
    seen_BN: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, "B D"]:
    """Windows as vectors, with gradients: CLS, or the mean of the tokens of the patches that hold data.

    The same numbers as ``inference.pooling.embed_windows``, without those of the single parcels. ``seen_BN``: the
    patches to look at; all that hold data when None.
    """
    seen_BN = network.seen(valid_BPT) if seen_BN is None else seen_BN
    encoding = network.encode(signal_BPT, visible=Places.of(seen_BN))
    if pooling == "cls":
        return encoding.cls_BD
    counts_BK = network.present(valid_BPT).gather(1, encoding.places.index_BK)
    if encoding.places.present_BK is not None:
        counts_BK = counts_BK & encoding.places.present_BK
    tokens_BKD = encoding.tokens_BKD * counts_BK[:, :, None]
    return tokens_BKD.sum(dim=1) / counts_BK.sum(dim=1, keepdim=True)
