"""Where the encoder looks, without ever holding an S x S matrix.

Shapes: B batch, H heads, S = 1 + N tokens (CLS first), N = R x C patches, R spatial and C temporal, F features of one
head. Attention is read from the queries and keys as the blocks compute them; nothing is masked.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainlm.errors import ConfigError
from brainlm.model.autoencoder import MaskedAutoencoder, Places

QUERIES_AT_A_TIME = 256  # rows of the attention matrix held at once; bounds memory to B x H x 256 x S


@torch.no_grad()
def cls_attention(
    network: MaskedAutoencoder,
    signal_BPT: Float[Tensor, "B P T"],
    valid_BPT: Bool[Tensor, "B P T"],
    *,
    layer: int = -1,
) -> Float[Tensor, "B H N"]:
    """How much CLS attends to each patch in one encoder block; absent patches get 0, the part to itself is left out.

    Raises:
        ConfigError: there is no such block.
    """
    rows: list[Tensor] = []
    present_BN = network.present(valid_BPT)

    def observe(query_BHSF: Tensor, key_BHSF: Tensor) -> None:
        rows.append(_attention_rows(query_BHSF[:, :, :1], key_BHSF, places)[:, :, 0, 1:])

    places = Places.of(present_BN)
    network.encode(signal_BPT, visible=places, observers={_block(network, layer): observe})
    return _spread(rows[0], places, present_BN.shape[1])


@torch.no_grad()
def parcel_attention(
    network: MaskedAutoencoder,
    signal_BPT: Float[Tensor, "B P T"],
    valid_BPT: Bool[Tensor, "B P T"],
    *,
    layer: int = -1,
) -> Float[Tensor, "B R R"]:
    """How much the patches of one row of parcels attend to those of another.

    Averaged over heads and querying times, summed over attended times: rows sum to one less the attention to CLS. A row
    of absent parcels is zero.

    Raises:
        ConfigError: there is no such block.
    """
    sums: list[Tensor] = []
    present_BN = network.present(valid_BPT)
    places = Places.of(present_BN)

    def observe(query_BHSF: Tensor, key_BHSF: Tensor) -> None:
        sums.append(_sum_by_rows(network, query_BHSF, key_BHSF, places, present_BN))

    network.encode(signal_BPT, visible=places, observers={_block(network, layer): observe})
    return sums[0]


def _block(network: MaskedAutoencoder, layer: int) -> int:
    depth = network.config.encoder_depth
    if not -depth <= layer < depth:
        raise ConfigError(
            f"the encoder has no block {layer}",
            expected=f"0 to {depth - 1}, or -{depth} to -1 from the end",
            found=str(layer),
        )
    return layer % depth


def _attention_rows(query_BHQF: Tensor, key_BHSF: Tensor, places: Places) -> Float[Tensor, "B H Q S"]:
    logits = (query_BHQF @ key_BHSF.transpose(2, 3)).float() * query_BHQF.shape[-1] ** -0.5
    if places.present_BK is not None:
        logits[:, :, :, 1:] = logits[:, :, :, 1:].masked_fill(~places.present_BK[:, None, None, :], -torch.inf)
    return logits.softmax(dim=-1)


def _spread(values_BHK: Tensor, places: Places, num_patches: int) -> Float[Tensor, "B H N"]:
    """Values at the kept places, put back among all patches."""
    out = values_BHK.new_zeros(*values_BHK.shape[:2], num_patches)
    return out.scatter(2, places.index_BK[:, None, :].expand_as(values_BHK), values_BHK)


def _sum_by_rows(
    network: MaskedAutoencoder, query_BHSF: Tensor, key_BHSF: Tensor, places: Places, present_BN: Tensor
) -> Float[Tensor, "B R R"]:
    num_rows, num_columns = network.tokenizer.num_rows, network.tokenizer.num_columns
    batch = query_BHSF.shape[0]
    row_BK = places.index_BK // num_columns
    attended_BSR = query_BHSF.new_zeros(batch, num_rows, num_rows, dtype=torch.float32)
    for start in range(1, query_BHSF.shape[2], QUERIES_AT_A_TIME):
        stop = start + QUERIES_AT_A_TIME
        rows_BQK = _attention_rows(query_BHSF[:, :, start:stop], key_BHSF, places).mean(dim=1)[:, :, 1:]
        by_row_BQR = rows_BQK.new_zeros(batch, rows_BQK.shape[1], num_rows)
        by_row_BQR.scatter_add_(2, row_BK[:, None, :].expand_as(rows_BQK), rows_BQK)
        asking_BQ = row_BK[:, start - 1 : stop - 1]
        if places.present_BK is not None:
            by_row_BQR = by_row_BQR * places.present_BK[:, start - 1 : stop - 1, None]
        attended_BSR.scatter_add_(1, asking_BQ[:, :, None].expand_as(by_row_BQR), by_row_BQR)
    num_asking_BR = present_BN.unflatten(1, (num_rows, num_columns)).sum(dim=2)
    return attended_BSR / num_asking_BR.clamp(min=1)[:, :, None]
