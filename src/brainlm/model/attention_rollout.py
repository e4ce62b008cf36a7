"""Attention rollout: what CLS takes from each patch of the input when attention is followed through all layers.

The rows of attention come from ``attention_rows.py``.

Shapes: B batch, H heads, S = 1 + K tokens (CLS first), K seen patches, F features of one head.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from brainlm.model.attention_rows import attention_rows, cls_rows, fillers, queries_at_a_time
from brainlm.model.autoencoder import Places

# What a token passes on of itself, for the residual connection around attention (Abnar and Zuidema 2020, section 3).
SELF_SHARE = 0.5


class Rollout:
    """The row of CLS in the product over layers of 0.5 A + 0.5 I, A being a layer's attention, mean over heads.

    Only that row is carried, from the last layer to the first, so no two matrices are ever multiplied; the queries and
    keys of all layers are held until then. Abnar and Zuidema 2020, "Quantifying attention flow in transformers",
    section 3.
    """

    def __init__(self, places: Places, depth: int) -> None:
        self._places = places
        self._depth = depth
        self._earlier: list[tuple[Tensor, Tensor]] = []
        self._share_BS: Tensor | None = None

    @property
    def share_BS(self) -> Float[Tensor, "B S"]:  # noqa: N802 - shape suffix
        """The share of CLS itself and of every seen patch; they sum to one."""
        assert self._share_BS is not None, "nothing has been encoded yet"
        return self._share_BS

    def see(self, query_BHSF: Tensor, key_BHSF: Tensor) -> None:
        """Take the next layer's queries and keys; with the last one's, go back through all."""
        if len(self._earlier) < self._depth - 1:
            self._earlier.append((query_BHSF, key_BHSF))
            return
        share_BS = (1 - SELF_SHARE) * cls_rows(query_BHSF, key_BHSF, self._places).mean(dim=1)
        share_BS[:, 0] += SELF_SHARE
        while self._earlier:
            attended_BS = self._attended(share_BS, *self._earlier.pop())
            share_BS = SELF_SHARE * share_BS + (1 - SELF_SHARE) * attended_BS
        self._share_BS = share_BS

    def _attended(self, share_BS: Tensor, query_BHSF: Tensor, key_BHSF: Tensor) -> Float[Tensor, "B S"]:
        """What tokens with these shares attend to."""
        absent_BS = fillers(self._places)
        attended_BS = torch.zeros_like(share_BS)
        for window, (query_HSF, key_HSF) in enumerate(zip(query_BHSF, key_BHSF, strict=True)):
            absent_S = None if absent_BS is None else absent_BS[window]
            step = queries_at_a_time(key_HSF)
            for first in range(0, key_HSF.shape[1], step):
                asking = slice(first, first + step)
                rows_HQS = attention_rows(query_HSF[:, asking], key_HSF, absent_S)
                attended_BS[window] += share_BS[window, asking] @ rows_HQS.mean(dim=0)
        return attended_BS
