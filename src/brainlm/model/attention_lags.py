"""Attention between patches, summed for each pair of rows of parcels and each time between the patches.

The rows of attention come from ``attention_rows.py``.

Shapes: B batch, H heads, S = 1 + K tokens (CLS first), K seen patches, R x C patches that lie in the window (R spatial,
C temporal), G = 2C - 1 lags, Q asking tokens, F features of one head.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from brainlm.model.attention_rows import attention_rows, fillers, queries_at_a_time
from brainlm.model.autoencoder import MaskedAutoencoder, Places


class LagSums:
    """Sums of attention over pairs of patches with data, by lag: attended minus asking time.

    Args:
        network: whose windows are encoded.
        valid_BPT: True = real data.
        places: the patches that the encoder sees.
        head: the head that is looked at; None = the mean over heads.
    """

    def __init__(
        self, network: MaskedAutoencoder, valid_BPT: Bool[Tensor, "B P T"], places: Places, *, head: int | None
    ) -> None:
        columns = network.tokenizer.columns_with_signal
        inside = slice(columns.start, columns.stop)
        grid = (network.tokenizer.num_rows, network.tokenizer.num_columns)
        self.present_BRC = network.present_grid(valid_BPT)[:, :, inside]
        self._token_BRC = _tokens(places, grid[0] * grid[1]).unflatten(1, grid)[:, :, inside]
        self._fillers_BS = fillers(places)
        self._heads = slice(None) if head is None else slice(head, head + 1)
        self._sums_BGRR: Tensor | None = None

    @property
    def sums_BGRR(self) -> Float[Tensor, "B G R R"]:  # noqa: N802 - shape suffix
        """The sums; asking rows before attended ones, lags from -(C - 1) to C - 1."""
        assert self._sums_BGRR is not None, "nothing has been encoded yet"
        return self._sums_BGRR

    @property
    def pairs_BGRR(self) -> Float[Tensor, "B G R R"]:  # noqa: N802 - shape suffix
        """How many pairs of patches each sum is over."""
        present_BRC = self.present_BRC.float()
        num_columns = present_BRC.shape[2]
        forwards = [
            present_BRC[:, :, : num_columns - lag] @ present_BRC[:, :, lag:].transpose(1, 2)
            for lag in range(num_columns)
        ]
        backwards = [pairs_BRR.transpose(1, 2) for pairs_BRR in forwards[:0:-1]]
        return torch.stack([*backwards, *forwards], dim=1)

    def see(self, query_BHSF: Tensor, key_BHSF: Tensor) -> None:
        """Take the queries and keys of the layer."""
        query_BHSF, key_BHSF = query_BHSF[:, self._heads], key_BHSF[:, self._heads]
        sums = [self._sums(window, query_BHSF[window], key_BHSF[window]) for window in range(len(query_BHSF))]
        self._sums_BGRR = torch.stack(sums)

    def _sums(self, window: int, query_HSF: Tensor, key_HSF: Tensor) -> Float[Tensor, "G R R"]:
        present_RC, token_RC = self.present_BRC[window], self._token_BRC[window]
        num_rows, num_columns = present_RC.shape
        # Keys in the order of the grid, all others behind them: attention then comes out as rows x columns, and nothing
        # of the size of the matrix has to be rearranged.
        order = torch.cat((token_RC.flatten(), self._others(window, key_HSF.shape[1])))
        key_HSF = key_HSF[:, order]
        absent = None
        if not present_RC.all():  # patches that nobody sees stand at the place of CLS, which comes among the others
            absent = order == 0
            absent[token_RC.numel()] = False
        sums_RRG = key_HSF.new_zeros(num_rows, num_rows, 2 * num_columns - 1, dtype=torch.float32)
        step = max(1, queries_at_a_time(key_HSF) // num_columns)
        for first in range(0, num_rows, step):
            rows = slice(first, first + step)
            rows_HQS = attention_rows(query_HSF[:, token_RC[rows].flatten()], key_HSF, absent)
            attended_QRC = rows_HQS.mean(dim=0)[:, : token_RC.numel()].unflatten(1, present_RC.shape) * present_RC
            attended_RCRC = attended_QRC.unflatten(0, (-1, num_columns)) * present_RC[rows, :, None, None]
            for asking in range(num_columns):
                # From one asking time, the attended times are the C lags from -asking on.
                zero_lag = num_columns - 1
                sums_RRG[rows, :, zero_lag - asking : zero_lag - asking + num_columns] += attended_RCRC[:, asking]
        return sums_RRG.permute(2, 0, 1)

    def _others(self, window: int, num_tokens: int) -> Int64[Tensor, "O"]:
        """The tokens outside the window: CLS, then patches of the surrounding image."""
        is_other = torch.ones(num_tokens, dtype=torch.bool, device=self._token_BRC.device)
        is_other[self._token_BRC[window].flatten()] = False
        is_other[0] = True
        if self._fillers_BS is not None:
            is_other &= ~self._fillers_BS[window]
        return is_other.nonzero()[:, 0]


def _tokens(places: Places, num_patches: int) -> Int64[Tensor, "B N"]:
    """Which token each patch is, counted from CLS = 0; 0 for patches that are not seen."""
    number_BK = torch.arange(1, places.index_BK.shape[1] + 1, device=places.index_BK.device).expand_as(places.index_BK)
    if places.present_BK is not None:
        number_BK = number_BK * places.present_BK
    out_BN = torch.zeros(len(number_BK), num_patches, dtype=torch.int64, device=number_BK.device)
    return out_BN.scatter(1, places.index_BK, number_BK)
