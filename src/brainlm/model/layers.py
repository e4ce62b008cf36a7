"""The Transformer's parts: attention, feed-forward and the pre-norm block, in plain torch.

Shapes: B batch, S tokens, D width, H heads, K keys, F features of one head. What the tokens mean is in ``tokens.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

# Called with the queries and keys (B, H, S, F) of a block, so that attention can be looked at without the S x S matrix.
Observer = Callable[[Tensor, Tensor], None]

INIT_STD = 0.02  # standard deviation of the truncated normal that weights start from (ViT, MAE)


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        tokens_BSD: Float[Tensor, "B S D"],
        *,
        present_BS: Bool[Tensor, "B S"] | None = None,
        observe: Observer | None = None,
    ) -> Float[Tensor, "B S D"]:
        batch, num_tokens, width = tokens_BSD.shape
        # Three slices of the last axis: their gradients are joined in one copy (a permuted view would take two).
        query_BHSF, key_BHSF, value_BHSF = (
            part_BSD.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part_BSD in self.qkv(tokens_BSD).chunk(3, dim=2)
        )
        if observe is not None:
            observe(query_BHSF, key_BHSF)
        mask = None if present_BS is None else present_BS[:, None, None, :].expand(-1, -1, num_tokens, -1)
        mixed_BHSF = F.scaled_dot_product_attention(query_BHSF, key_BHSF, value_BHSF, attn_mask=mask)
        return self.out(mixed_BHSF.transpose(1, 2).reshape(batch, num_tokens, width))


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens_BSD: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        return self.contract(F.gelu(self.expand(tokens_BSD)))


class Block(nn.Module):
    """Pre-norm Transformer block: tokens + attention(norm), then + feed-forward(norm)."""

    # Differs from the authors' 13M code: no LayerNorm after the sums, no convolution along the tokens.

    def __init__(self, width: int, num_heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, mlp)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens_BSD: Float[Tensor, "B S D"],
        *,
        present_BS: Bool[Tensor, "B S"] | None = None,
        observe: Observer | None = None,
    ) -> Float[Tensor, "B S D"]:
        attended = self.attention(self.attention_norm(tokens_BSD), present_BS=present_BS, observe=observe)
        tokens_BSD = tokens_BSD + self.dropout(attended)
        return tokens_BSD + self.dropout(self.feed_forward(self.feed_forward_norm(tokens_BSD)))


class Transformer(nn.Module):
    """A stack of blocks and a last LayerNorm."""

    def __init__(self, *, width: int, depth: int, num_heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        tokens_BSD: Float[Tensor, "B S D"],
        *,
        present_BS: Bool[Tensor, "B S"] | None = None,
        observers: dict[int, Observer] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Tokens after all blocks.

        Args:
            tokens_BSD: the sequence.
            present_BS: False for places that only fill up the batch: nobody attends to them. None when there are none.
            observers: called, by block number from 0, with that block's queries and keys.
        """
        for number, block in enumerate(self.blocks):
            observe = None if observers is None else observers.get(number)
            tokens_BSD = block(tokens_BSD, present_BS=present_BS, observe=observe)
        return self.norm(tokens_BSD)


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Start ``module``'s own weights: truncated normal for linear maps, zero biases, unit LayerNorms."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
