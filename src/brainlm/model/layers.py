"""The Transformer's parts: attention, feed-forward and the block they make, in plain torch.

Shapes: B batch, S tokens, D width, H heads, K keys, F features of one head. What the tokens mean is in ``tokens.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from brainlm.model.config import Stack

# Called with the queries and keys (B, H, S, F) of a block, so that attention can be looked at without the S x S matrix.
Observer = Callable[[Tensor, Tensor], None]

LEAK = 0.1  # slope below zero of the LeakyReLU between two layers of a head

INIT_STD = 0.02  # standard deviation of the truncated normal that weights start from (ViT, MAE)


class Linear(nn.Linear):
    """``nn.Linear``, which at inference in float32 on a CPU goes through oneDNN where torch was built with it.

    torch multiplies float32 matrices with MKL, which leaves a quarter to a third of the speed of some processors
    unused (benchmarks/README.md).
    """

    def forward(self, tokens: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        return self._by_onednn(tokens, "none") if _onednn_pays(tokens) else super().forward(tokens)

    def gelu(self, tokens: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """The same and a GELU, in one pass where that is to be had."""
        return self._by_onednn(tokens, "gelu") if _onednn_pays(tokens) else F.gelu(super().forward(tokens))

    def _by_onednn(self, tokens: Tensor, then: str) -> Tensor:
        # What inductor calls for frozen weights; it takes contiguous tokens only.
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            tokens.contiguous(), self.weight, self.bias, then, [], "none"
        )
        return result


def _onednn_pays(tokens: Tensor) -> bool:
    plain = tokens.device.type == "cpu" and tokens.dtype is torch.float32 and not torch.is_grad_enabled()
    if not plain or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values.

    ``convolution``: 0, or the length of a filter along the tokens, one a head, of the values; its result is added to
    what attention mixes.
    """

    def __init__(self, width: int, num_heads: int, convolution: int = 0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.filter_HL = nn.Parameter(torch.empty(num_heads, convolution)) if convolution else None
        if self.filter_HL is not None:
            nn.init.trunc_normal_(self.filter_HL, std=INIT_STD)

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
        if self.filter_HL is not None:
            mixed_BHSF = mixed_BHSF + self._filtered(value_BHSF, present_BS)
        return self.out(mixed_BHSF.transpose(1, 2).reshape(batch, num_tokens, width))

    def _filtered(
        self, value_BHSF: Float[Tensor, "B H S F"], present_BS: Bool[Tensor, "B S"] | None
    ) -> Float[Tensor, "B H S F"]:
        """Neighbouring tokens' values, weighted by each head's filter; absent and beyond the ends they are 0."""
        assert self.filter_HL is not None
        if present_BS is not None:
            value_BHSF = value_BHSF * present_BS[:, None, :, None]
        num_features, length = value_BHSF.shape[3], self.filter_HL.shape[1]
        # A picture one pixel high: tokens along its width, every feature a channel. The same sums as with a channel a
        # head and features along the width, but on a processor ten times as fast.
        picture_BD1S = value_BHSF.transpose(1, 2).flatten(2).transpose(1, 2)[:, :, None]
        weight_D11L = self.filter_HL.repeat_interleave(num_features, dim=0)[:, None, None]
        filtered_BD1S = F.conv2d(picture_BD1S, weight_D11L, padding=(0, length // 2), groups=len(weight_D11L))
        return filtered_BD1S[:, :, 0].unflatten(1, (self.num_heads, num_features)).transpose(2, 3)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = Linear(width, hidden)
        self.contract = Linear(hidden, width)

    def forward(self, tokens_BSD: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        tokens_BSE: Tensor = self.expand.gelu(tokens_BSD)
        return self.contract(tokens_BSE)


class Block(nn.Module):
    """Transformer block: tokens + attention, then + feed-forward, with LayerNorm before each or after each sum."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.norm_first = stack.norm == "before"
        self.attention_norm = nn.LayerNorm(stack.width, eps=stack.norm_epsilon)
        self.attention = Attention(stack.width, stack.num_heads, stack.value_convolution)
        self.feed_forward_norm = nn.LayerNorm(stack.width, eps=stack.norm_epsilon)
        self.feed_forward = FeedForward(stack.width, stack.mlp)
        self.dropout = nn.Dropout(stack.dropout)

    def forward(
        self,
        tokens_BSD: Float[Tensor, "B S D"],
        *,
        present_BS: Bool[Tensor, "B S"] | None = None,
        observe: Observer | None = None,
    ) -> Float[Tensor, "B S D"]:
        if self.norm_first:
            attended = self.attention(self.attention_norm(tokens_BSD), present_BS=present_BS, observe=observe)
            tokens_BSD = tokens_BSD + self.dropout(attended)
            return tokens_BSD + self.dropout(self.feed_forward(self.feed_forward_norm(tokens_BSD)))
        attended = self.attention(tokens_BSD, present_BS=present_BS, observe=observe)
        tokens_BSD = self.attention_norm(tokens_BSD + self.dropout(attended))
        return self.feed_forward_norm(tokens_BSD + self.dropout(self.feed_forward(tokens_BSD)))


class Transformer(nn.Module):
    """A stack of blocks and a last LayerNorm."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(stack) for _ in range(stack.depth))
        self.norm = nn.LayerNorm(stack.width, eps=stack.norm_epsilon)

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


def prediction_head(width: int, num_values: int, num_layers: int) -> nn.Linear | nn.Sequential:
    """From decoded tokens to the values of a patch, in one linear layer or two."""
    if num_layers == 1:
        return nn.Linear(width, num_values)
    return nn.Sequential(nn.Linear(width, width // 2), nn.LeakyReLU(LEAK), nn.Linear(width // 2, num_values))


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
