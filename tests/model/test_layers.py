"""The Transformer's parts against loops, and what must not change their output."""

import math

import pytest
import torch
from torch import nn

from brainlm.model.layers import Attention, Block, FeedForward, Transformer, initialise

WIDTH, HEADS = 12, 3


def tokens(num_windows: int = 3, num_tokens: int = 7) -> torch.Tensor:
    return torch.randn(num_windows, num_tokens, WIDTH, generator=torch.Generator().manual_seed(0))


def make(kind, *arguments, **settings) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(*arguments, **settings).eval()


def reference_attention(layer: Attention, tokens_SD: torch.Tensor) -> torch.Tensor:
    """One head and one query at a time, as the textbook writes it."""
    size = WIDTH // HEADS
    query_SD, key_SD, value_SD = (tokens_SD @ layer.qkv.weight.T + layer.qkv.bias).split(WIDTH, dim=1)
    mixed_SD = torch.zeros_like(tokens_SD)
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        for asking in range(len(tokens_SD)):
            logits = [
                float(query_SD[asking, own] @ key_SD[asked, own]) / math.sqrt(size) for asked in range(len(tokens_SD))
            ]
            weights = torch.tensor([math.exp(logit) for logit in logits])
            mixed_SD[asking, own] = (weights / weights.sum()) @ value_SD[:, own]
    return mixed_SD @ layer.out.weight.T + layer.out.bias


@torch.no_grad()
def test_attention_agrees_with_loops():
    layer = make(Attention, WIDTH, HEADS)
    expected = torch.stack([reference_attention(layer, window) for window in tokens()])
    torch.testing.assert_close(layer(tokens()), expected)


@torch.no_grad()
def test_tokens_that_only_fill_up_are_as_good_as_not_there():
    network = make(Transformer, width=WIDTH, depth=2, num_heads=HEADS, mlp=16, dropout=0.0)
    present_BS = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    found = network(tokens(), present_BS=present_BS)
    for window, count in enumerate((7, 4, 1)):
        alone = network(tokens()[window : window + 1, :count])
        torch.testing.assert_close(found[window, :count], alone[0])


@torch.no_grad()
def test_the_order_of_tokens_does_not_matter():
    network = make(Transformer, width=WIDTH, depth=2, num_heads=HEADS, mlp=16, dropout=0.0)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(tokens()[:, order]), network(tokens())[:, order])


@torch.no_grad()
def test_a_block_normalises_before_and_adds_after():
    block = make(Block, WIDTH, HEADS, 16, 0.0)
    attended = tokens() + block.attention(block.attention_norm(tokens()))
    expected = attended + block.feed_forward(block.feed_forward_norm(attended))
    torch.testing.assert_close(block(tokens()), expected)


@torch.no_grad()
def test_feed_forward_layers_are_two_maps_with_a_gelu_between():
    layer = make(FeedForward, WIDTH, 16)
    hidden = tokens() @ layer.expand.weight.T + layer.expand.bias
    gelu = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    torch.testing.assert_close(layer(tokens()), gelu @ layer.contract.weight.T + layer.contract.bias)


@torch.no_grad()
def test_an_observer_sees_the_queries_and_keys_of_its_block_only():
    network = make(Transformer, width=WIDTH, depth=3, num_heads=HEADS, mlp=16, dropout=0.0)
    seen = []
    network(tokens(), observers={1: lambda query, key: seen.append((query, key))})
    ((query_BHSF, key_BHSF),) = seen
    inside = network.blocks[0](tokens())
    block = network.blocks[1]
    query, key, _ = block.attention.qkv(block.attention_norm(inside)).split(WIDTH, dim=2)
    for found, expected in ((query_BHSF, query), (key_BHSF, key)):
        torch.testing.assert_close(found, expected.unflatten(2, (HEADS, -1)).transpose(1, 2))


@torch.no_grad()
def test_dropout_acts_in_training_only():
    network = make(Transformer, width=WIDTH, depth=1, num_heads=HEADS, mlp=16, dropout=0.5)
    assert torch.equal(network(tokens()), network(tokens()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network.train()
        assert not torch.equal(network(tokens()), network(tokens()))


def test_weights_start_small_biases_at_zero_and_norms_at_one():
    linear, norm = nn.Linear(200, 100), nn.LayerNorm(8)
    nn.init.constant_(norm.weight, 3.0)
    for module in (linear, norm, nn.GELU()):
        initialise(module)
    assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not linear.bias.any()
    assert norm.weight.eq(1).all()
    assert not norm.bias.any()
