"""Rows of the attention matrix from the queries and keys of a block, a bounded number at a time.

What is made of them is in ``attention_lags.py`` and ``attention_rollout.py``; who asks for it is ``attention.py``.

Shapes: B batch, H heads, S = 1 + K tokens (CLS first), K seen patches, Q asking tokens, F features of one head.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainlm.model.autoencoder import Places

NUMBERS_AT_A_TIME = 2**22  # of one window's attention, all heads: 16 MiB, about what a processor's caches hold


def attention_rows(
    query_HQF: Float[Tensor, "*batch Q F"],
    key_HSF: Float[Tensor, "*batch S F"],
    absent_HQS: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch Q S"]:
    """How much each asking token attends to every token, in single precision; rows sum to one.

    Args:
        query_HQF: of the asking tokens.
        key_HSF: of all tokens.
        absent_HQS: True where nobody may look; of a shape that expands to that of the rows. None = everywhere.
    """
    logits_HQS = (query_HQF * query_HQF.shape[-1] ** -0.5 @ key_HSF.transpose(-2, -1)).float()
    if absent_HQS is not None:
        logits_HQS.masked_fill_(absent_HQS, -torch.inf)
    return logits_HQS.softmax(dim=-1)


def cls_rows(
    query_BHSF: Float[Tensor, "B H S F"], key_BHSF: Float[Tensor, "B H S F"], places: Places
) -> Float[Tensor, "B H S"]:
    """How much CLS attends to itself and to every seen patch."""
    absent_BS = fillers(places)
    absent_B11S = None if absent_BS is None else absent_BS[:, None, None, :]
    return attention_rows(query_BHSF[:, :, :1], key_BHSF, absent_B11S)[:, :, 0]


def fillers(places: Places) -> Bool[Tensor, "B S"] | None:
    """Which tokens only fill up the batch; None where none does."""
    if places.present_BK is None:
        return None
    return torch.cat((torch.zeros_like(places.present_BK[:, :1]), ~places.present_BK), dim=1)


def queries_at_a_time(key_HSF: Float[Tensor, "H S F"]) -> int:
    """How many asking tokens' rows are held at once."""
    num_heads, num_tokens, _ = key_HSF.shape
    return max(1, NUMBERS_AT_A_TIME // (num_heads * num_tokens))
