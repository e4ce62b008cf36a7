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


class ClsWatch:
    """Reads the attention of CLS off one encoder block while windows are encoded.

    Hand ``places`` and ``observers`` to ``network.encode``; ``attention_BHN`` is there afterwards.

    Raises:
        ConfigError: there is no such block.
    """

    def __init__(self, network: MaskedAutoencoder, valid_BPT: Bool[Tensor, "B P T"], *, layer: int = -1) -> None:
        seen_BN = network.seen(valid_BPT)
        self.places = Places.of(seen_BN)
        self.observers: dict[int, Observer] = {_block(network, layer): self._observe}
        self._num_patches = seen_BN.shape[1]
        self._row_BHK: Tensor | None = None

    def _observe(self, query_BHSF: Tensor, key_BHSF: Tensor) -> None:
        self._row_BHK = _attention_rows(query_BHSF[:, :, :1], key_BHSF, self.places)[:, :, 0, 1:]

    @property
    def attention_BHN(self) -> Float[Tensor, "B H N"]:  # noqa: N802 - shape suffix
        """From CLS to each patch, the part to itself left out; patches that were not seen get 0."""
        assert self._row_BHK is not None, "nothing has been encoded yet"
        return _spread(self._row_BHK, self.places, self._num_patches)


class ParcelWatch(ClsWatch):
    """Reads the attention between rows of parcels as well.

    ``parcels_BRR``: how much the patches of one row of parcels attend to those of another, averaged over heads and
    querying times, summed over attended times: rows sum to one less the attention to CLS and, in an image, to patches
    without data. A row of absent parcels is zero.
    """

    parcels_BRR: Float[Tensor, "B R R"]

    def __init__(self, network: MaskedAutoencoder, valid_BPT: Bool[Tensor, "B P T"], *, layer: int = -1) -> None:
        super().__init__(network, valid_BPT, layer=layer)
        self._grid = network.tokenizer.num_rows, network.tokenizer.num_columns
        self._present_BN = network.present(valid_BPT)

    def _observe(self, query_BHSF: Tensor, key_BHSF: Tensor) -> None:
        super()._observe(query_BHSF, key_BHSF)
        self.parcels_BRR = _sum_by_rows(query_BHSF, key_BHSF, self.places, self._present_BN, self._grid)


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
    query_BHSF: Tensor, key_BHSF: Tensor, places: Places, present_BN: Tensor, grid: tuple[int, int]
) -> Float[Tensor, "B R R"]:
    num_rows, num_columns = grid
    batch = query_BHSF.shape[0]
    row_BK = places.index_BK // num_columns
    counts_BK = present_BN.gather(1, places.index_BK)
    if places.present_BK is not None:
        counts_BK = counts_BK & places.present_BK
    attended_BSR = query_BHSF.new_zeros(batch, num_rows, num_rows, dtype=torch.float32)
    for start in range(1, query_BHSF.shape[2], QUERIES_AT_A_TIME):
        asking = slice(start - 1, start - 1 + QUERIES_AT_A_TIME)
        queries_BHQF = query_BHSF[:, :, 1:][:, :, asking]
        rows_BQK = _attention_rows(queries_BHQF, key_BHSF, places).mean(dim=1)[:, :, 1:] * counts_BK[:, None, :]
        by_row_BQR = rows_BQK.new_zeros(batch, rows_BQK.shape[1], num_rows)
        by_row_BQR.scatter_add_(2, row_BK[:, None, :].expand_as(rows_BQK), rows_BQK)
        by_row_BQR = by_row_BQR * counts_BK[:, asking, None]
        attended_BSR.scatter_add_(1, row_BK[:, asking, None].expand_as(by_row_BQR), by_row_BQR)
    num_asking_BR = present_BN.unflatten(1, grid).sum(dim=2)
    return attended_BSR / num_asking_BR.clamp(min=1)[:, :, None]
