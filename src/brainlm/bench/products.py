"""The matrix products of a training step: how many operations they are, and how long they alone take.

Everything else of a step (normalisation, GELU, softmax, gathering tokens, the optimiser) costs time but is no matrix
product; "share of the same products" in the table says how little of it there is. Counting assumes the plain head and
windows without absent patches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from brainlm.bench.timing import timer
from brainlm.model.config import ModelConfig


@dataclass(frozen=True)
class Product:
    """``count`` times, ``together`` products at once, of (rows x inner) with (inner x columns).

    ``left_stored`` and ``right_stored`` say whether the factors lie in memory as they are or as their transposes, which
    is how backward passes and attention use them; it changes the speed.
    """

    name: str
    rows: int
    inner: int
    columns: int
    count: int = 1
    together: int = 1
    left_transposed: bool = False
    right_transposed: bool = False

    @property
    def flops(self) -> int:
        """Multiplications and additions, of all of them."""
        return 2 * self.count * self.together * self.rows * self.inner * self.columns


@dataclass(frozen=True)
class Stack:
    """What of a Transformer decides its products."""

    name: str
    num_tokens: int
    width: int
    depth: int
    num_heads: int
    mlp: int


def step_products(
    config: ModelConfig, *, num_parcels: int, num_windows: int, num_hidden: int, num_decoded: int
) -> list[Product]:
    """Every matrix product of a training step, forward and backward.

    The backward pass has two for each one forward: the forward operations three times, but for the gradient that the
    patches themselves would have, which nobody needs. What memory-saving attention computes a second time is not
    counted: that is the implementation's business, and its cost.

    Args:
        config: of the network.
        num_parcels: P.
        num_windows: of the step.
        num_hidden: patches of each window that the encoder does not see.
        num_decoded: hidden patches of each window that are decoded.
    """
    assert config.head == "plain", "the Gaussian heads solve equations, which are not counted here"
    num_values = config.parcels_per_patch * config.timepoints_per_patch
    num_visible = config.num_tokens(num_parcels) - num_hidden
    encoder = Stack(
        "encoder",
        1 + num_visible,
        config.encoder_width,
        config.encoder_depth,
        config.encoder_heads,
        config.encoder_mlp,
    )
    decoder = Stack(
        "decoder",
        1 + num_visible + num_decoded,
        config.decoder_width,
        config.decoder_depth,
        config.decoder_heads,
        config.decoder_mlp,
    )
    embed, *embed_backward = _linear("embed", num_windows * num_visible, num_values, encoder.width)
    return [
        embed,
        *(product for product in embed_backward if not product.name.endswith("input gradient")),
        *_stack_products(encoder, num_windows),
        *_linear("to decoder", num_windows * encoder.num_tokens, encoder.width, decoder.width),
        *_stack_products(decoder, num_windows),
        *_linear("head", num_windows * num_decoded, decoder.width, num_values),
    ]


def _stack_products(stack: Stack, num_windows: int) -> list[Product]:
    rows, width = num_windows * stack.num_tokens, stack.width
    linear = [
        ("queries, keys, values", width, 3 * width),
        ("attention out", width, width),
        ("expand", width, stack.mlp),
        ("contract", stack.mlp, width),
    ]
    return [
        *(
            product
            for name, inner, columns in linear
            for product in _linear(f"{stack.name} {name}", rows, inner, columns, count=stack.depth)
        ),
        *_attention(stack, num_windows),
    ]


def _linear(name: str, rows: int, inner: int, columns: int, *, count: int = 1) -> list[Product]:
    """A linear layer: x W', then the gradients of x and of W from that of the result."""
    return [
        Product(name, rows, inner, columns, count, right_transposed=True),
        Product(f"{name} input gradient", rows, columns, inner, count),
        Product(f"{name} weight gradient", columns, rows, inner, count, left_transposed=True),
    ]


def _attention(stack: Stack, num_windows: int) -> list[Product]:
    """Attention's two products forward and four backward, the heads of one window at once (they fill any machine)."""
    size, features = stack.num_tokens, stack.width // stack.num_heads
    count, heads = stack.depth * num_windows, stack.num_heads

    def product(name: str, rows: int, inner: int, columns: int, *, left: bool = False, right: bool = False) -> Product:
        return Product(f"{stack.name} {name}", rows, inner, columns, count, heads, left, right)

    return [
        product("queries with keys", size, features, size, right=True),
        product("attention with values", size, size, features),
        product("values gradient", size, size, features, left=True),
        product("attention gradient", size, features, size, right=True),
        product("queries gradient", size, size, features),
        product("keys gradient", size, size, features, left=True),
    ]


class ProductTimes:
    """Times products one by one, on numbers that lie ready in memory, so that nothing but multiplication is timed."""

    def __init__(
        self, products: Sequence[Product], *, device: torch.device, dtype: torch.dtype, times: int = 1
    ) -> None:
        self.products = products
        self.device = device
        self.times = times
        sizes = [
            (p.together * p.rows * p.inner, p.together * p.inner * p.columns, p.together * p.rows * p.columns)
            for p in products
        ]
        # One block of memory for the left factors of all products, one for the right ones and one for the results.
        self._left, self._right, self._out = (
            torch.rand(max(part), dtype=torch.float32, device=device).to(dtype) for part in zip(*sizes, strict=True)
        )

    def seconds(self) -> float:
        """The seconds that all products take; of each, one is measured and counted as often as it occurs."""
        return sum(product.count * self.seconds_of(product) for product in self.products)

    def seconds_of(self, product: Product) -> float:
        """The seconds of one ``product``, not of all its ``count``."""
        left = _factor(self._left, product.together, product.rows, product.inner, product.left_transposed)
        right = _factor(self._right, product.together, product.inner, product.columns, product.right_transposed)
        out = _factor(self._out, product.together, product.rows, product.columns, False)
        if product.together == 1:
            left, right, out = left[0], right[0], out[0]
            return timer(lambda: torch.mm(left, right, out=out), device=self.device, times=self.times)()
        return timer(lambda: torch.bmm(left, right, out=out), device=self.device, times=self.times)()


def square_product(size: int) -> Product:
    """A product large and regular enough to run as fast as this machine multiplies at all."""
    return Product("square", size, size, size)


def _factor(memory: Tensor, together: int, rows: int, columns: int, transposed: bool) -> Tensor:
    shape = (together, columns, rows) if transposed else (together, rows, columns)
    matrix = memory[: math.prod(shape)].view(shape)
    return matrix.mT if transposed else matrix
