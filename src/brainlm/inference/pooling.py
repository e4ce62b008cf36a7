"""From the tokens of windows to vectors and maps: averages over what holds signal, shares of parcels in a patch.

Shapes: B windows, P parcels, T time points, N patches, R rows of patches, K seen patches, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from brainlm.model.attention import ClsWatch
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
    watch: ClsWatch | None = None,
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


def parcel_share(network: MaskedAutoencoder, attention_BN: Float[Tensor, "B N"]) -> Float[Tensor, "B P"]:
    """Attention to patches, summed over time and shared equally among the parcels of each patch."""
    tokenizer = network.tokenizer
    rows = tokenizer.rows_of_parcels()
    inside = slice(tokenizer.columns_with_signal.start, tokenizer.columns_with_signal.stop)
    by_row_BR = attention_BN.unflatten(1, (tokenizer.num_rows, tokenizer.num_columns))[:, :, inside].sum(dim=2)
    return (by_row_BR / torch.bincount(rows, minlength=tokenizer.num_rows))[:, rows]


def between_parcels(network: MaskedAutoencoder, attention_BRR: Float[Tensor, "B R R"]) -> Float[Tensor, "B P P"]:
    """Attention between rows of parcels, shared equally among the parcels of each patch."""
    rows = network.tokenizer.rows_of_parcels()
    shared_BRR = attention_BRR / torch.bincount(rows, minlength=network.tokenizer.num_rows)
    return shared_BRR[:, rows][:, :, rows]
