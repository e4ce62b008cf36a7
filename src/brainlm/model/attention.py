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
from brainlm.model.layers import Observer

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
    watch = ClsWatch(network, valid_BPT, layer=layer)
    network.encode(signal_BPT, visible=watch.places, observers=watch.observers)
    return watch.attention_BHN


class ClsWatch:
    """Reads the attention of CLS off one encoder block while windows are encoded for another purpose.

    Hand ``places`` and ``observers`` to ``network.encode``; ``attention_BHN`` is there afterwards.

    Raises:
        ConfigError: there is no such block.
    """

    def __init__(self, network: MaskedAutoencoder, valid_BPT: Bool[Tensor, "B P T"], *, layer: int = -1) -> None:
        self.present_BN = network.present(valid_BPT)
        self.places = Places.of(self.present_BN)
        self.observers: dict[int, Observer] = {_block(network, layer): self._observe}
        self._row_BHK: Tensor | None = None

    def _observe(self, query_BHSF: Tensor, key_BHSF: Tensor) -> None:
        self._row_BHK = _attention_rows(query_BHSF[:, :, :1], key_BHSF, self.places)[:, :, 0, 1:]

    @property
    def attention_BHN(self) -> Float[Tensor, "B H N"]:  # noqa: N802 - shape suffix
        """From CLS to each patch; absent patches get 0."""
        assert self._row_BHK is not None, "nothing has been encoded yet"
        return _spread(self._row_BHK, self.places, self.present_BN.shape[1])


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
