"""From the tokens of windows to vectors and maps: averages over what holds signal, shares of parcels in a patch.

Shapes: B windows, P parcels, T time points, N patches, R rows of patches, C patches of a row that lie in the window,
K seen patches, D width, L layers, H heads, G = 2C - 1 lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from brainlm.model.attention import AttentionWatch
from brainlm.model.autoencoder import Encoding, MaskedAutoencoder, Places


@dataclass(frozen=True, eq=False)
class WindowEmbedding:
    """A batch of windows as vectors, float32: CLS, the mean over patches, and each parcel's mean over time (NaN where
    it has no signal).
    """

    cls_BD: Float32[Tensor, "B D"]
    mean_BD: Float32[Tensor, "B D"]
    parcels_BPD: Float32[Tensor, "B P D"]


@torch.no_grad()
def embed_windows(
    network: MaskedAutoencoder,
    signal_BPT: Float[Tensor, "B P T"],
    valid_BPT: Bool[Tensor, "B P T"],
    *,
    watch: AttentionWatch | None = None,
) -> WindowEmbedding:
    """Scaled windows as vectors, with nothing masked; ``watch`` sees where CLS looks on the way."""
    # Differs from the authors' code, where 75 % of the tokens are hidden at random also when embedding.
    tokenizer = network.tokenizer
    present_BN = network.present(valid_BPT)
    if watch is None:
        encoding = network.encode(signal_BPT, visible=Places.of(network.seen(valid_BPT)))
    else:
        encoding = network.encode(signal_BPT, visible=watch.places, observers=watch.observers)
    tokens_BND = tokens_in_place(encoding, tokenizer.num_tokens) * present_BN[:, :, None]
    grid = (tokenizer.num_rows, tokenizer.num_columns)
    count_BR = present_BN.unflatten(1, grid).sum(dim=2)
    rows_BRD = tokens_BND.unflatten(1, grid).sum(dim=2) / count_BR[:, :, None]
    parcels_BPD = rows_BRD[:, tokenizer.rows_of_parcels()]
    return WindowEmbedding(
        cls_BD=encoding.cls_BD.float(),
        mean_BD=tokens_BND.sum(dim=1) / present_BN.sum(dim=1, keepdim=True),
        parcels_BPD=parcels_BPD.masked_fill(~valid_BPT.any(dim=2)[:, :, None], torch.nan),
    )


def tokens_in_place(encoding: Encoding, num_patches: int) -> Float32[Tensor, "B N D"]:
    """The encoded tokens, each at its patch's place; zeros at patches that were not seen."""
    tokens_BKD = encoding.tokens_BKD.float()
    index_BKD = encoding.places.index_BK[:, :, None].expand_as(tokens_BKD)
    return tokens_BKD.new_zeros(len(tokens_BKD), num_patches, tokens_BKD.shape[2]).scatter(1, index_BKD, tokens_BKD)


@dataclass(frozen=True, eq=False)
class WindowAttention:
    """Attention in a batch of windows, shared out to parcels; NaN for parcels without signal.

    A parcel gets an equal part of its patch; what falls to padding and to parcels without signal belongs to nobody, so
    that a patch with few parcels does not make each of them look attended to.

    Attributes:
        patches_BLHPC: from CLS to each temporal patch of each parcel, in every layer and head.
        rollout_BP: from CLS to each parcel through all layers (``AttentionWatch.rollout_BN``), summed over time.
        between_BGPP: from one patch of a parcel (third axis) to one of another, by the time between them
            (``AttentionWatch.between_BGRR``).
        rows_BPP: from the patches of a parcel to another parcel, mean over asking and sum over attended times.
    """

    patches_BLHPC: Float32[Tensor, "B L H P C"]
    rollout_BP: Float32[Tensor, "B P"] | None
    between_BGPP: Float32[Tensor, "B G P P"] | None
    rows_BPP: Float32[Tensor, "B P P"] | None

    @property
    def cls_BLHP(self) -> Float32[Tensor, "B L H P"]:  # noqa: N802 - shape suffix
        """From CLS to each parcel, summed over time."""
        return self.patches_BLHPC.sum(dim=4)

    @property
    def quantities(self) -> dict[str, Float32[Tensor, "B ..."]]:
        """Those that are there, by name: cls, rollout, between, rows."""
        all_of_them = {
            "cls": self.cls_BLHP, "rollout": self.rollout_BP, "between": self.between_BGPP, "rows": self.rows_BPP
        }  # fmt: skip
        return {name: values for name, values in all_of_them.items() if values is not None}


@torch.no_grad()
def attend_windows(
    network: MaskedAutoencoder,
    signal_BPT: Float[Tensor, "B P T"],
    valid_BPT: Bool[Tensor, "B P T"],
    *,
    between: int | None = None,
    head: int | None = None,
    rollout: bool = False,
) -> WindowAttention:
    """Where the encoder looks in scaled windows, with nothing masked, in one encoding pass.

    Args:
        network: encodes.
        signal_BPT: scaled windows.
        valid_BPT: True = real data.
        between: the layer whose attention between parcels is taken; None = of none.
        head: the head that it is taken from; None = the mean over heads.
        rollout: follow attention through all layers as well.

    Raises:
        ConfigError: there is no such layer or head.
    """
    watch = AttentionWatch(network, valid_BPT, between=between, head=head, rollout=rollout)
    network.encode(signal_BPT, visible=watch.places, observers=watch.observers)
    share = ParcelShare(network, valid_BPT)
    return WindowAttention(
        patches_BLHPC=share.in_time(watch.cls_BLHN),
        rollout_BP=share.in_time(watch.rollout_BN).sum(dim=2) if rollout else None,
        between_BGPP=None if between is None else share.between(watch.between_BGRR),
        rows_BPP=None if between is None else share.between(watch.rows_BRR[:, None])[:, 0],
    )


class ParcelShare:
    """Shares attention to patches out to parcels, an equal part for each place in a patch; NaN without signal."""

    def __init__(self, network: MaskedAutoencoder, valid_BPT: Bool[Tensor, "B P T"]) -> None:
        tokenizer = network.tokenizer
        self._grid = (tokenizer.num_rows, tokenizer.num_columns)
        self._inside = slice(tokenizer.columns_with_signal.start, tokenizer.columns_with_signal.stop)
        self._row_P = tokenizer.rows_of_parcels()
        with_signal_BP = valid_BPT.any(dim=2)
        there_BP = torch.ones(with_signal_BP.shape, device=valid_BPT.device)
        self._is_there_BP = there_BP.masked_fill(~with_signal_BP, torch.nan)
        self._part_BP = self._is_there_BP / tokenizer.parcels_per_patch

    def in_time(self, attention_BN: Float[Tensor, "B *more N"]) -> Float[Tensor, "B *more P C"]:
        """Each parcel's part of its patches, column by column of those that lie in the window."""
        by_row_BRC = attention_BN.unflatten(-1, self._grid)[..., self._inside]
        more = (1,) * (attention_BN.ndim - 2)
        return by_row_BRC[..., self._row_P, :] * self._part_BP.view(len(self._part_BP), *more, -1, 1)

    def between(self, attention_BGRR: Float[Tensor, "B G R R"]) -> Float[Tensor, "B G P P"]:
        """From each parcel (the value of its patch) to each parcel (its part of the patch)."""
        attention_BGPP = attention_BGRR[:, :, self._row_P[:, None], self._row_P]  # a copy, so it may be changed
        return attention_BGPP.mul_(self._is_there_BP[:, None, :, None]).mul_(self._part_BP[:, None, None, :])
