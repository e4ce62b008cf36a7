"""The Transformer's parts against loops, and what must not change their output."""

import math

import pytest
import torch
from torch import nn

from brainlm.model.config import Stack
from brainlm.model.layers import (
    LEAK,
    Attention,
    Block,
    FeedForward,
    Linear,
    Transformer,
    _onednn_pays,
    initialise,
    prediction_head,
)

WIDTH, HEADS = 12, 3
FILTERS = pytest.mark.parametrize("length", [1, 3, 5, 65])  # the longest is longer than twice the sequence


def tokens(num_windows: int = 3, num_tokens: int = 7) -> torch.Tensor:
    return torch.randn(num_windows, num_tokens, WIDTH, generator=torch.Generator().manual_seed(0))


def stack(**changes) -> Stack:
    settings = {"width": WIDTH, "depth": 2, "num_heads": HEADS, "mlp": 16, "dropout": 0.0}
    settings |= {"norm": "before", "norm_epsilon": 1e-5, "value_convolution": 0}
    return Stack(**settings | changes)


def make(kind, *arguments, **settings) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(*arguments, **settings).eval()


def with_large_filters(module: nn.Module) -> nn.Module:
    """Filters as small as training starts from would hide mistakes."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("filter_HL"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


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
    if layer.filter_HL is not None:
        mixed_SD = mixed_SD + reference_convolution(layer.filter_HL, value_SD)
    return mixed_SD @ layer.out.weight.T + layer.out.bias


def reference_convolution(filter_HL: torch.Tensor, value_SD: torch.Tensor) -> torch.Tensor:
    """Each head's filter slid along the tokens: who stands d places behind counts by the weight d behind the middle."""
    size, length = value_SD.shape[1] // len(filter_HL), filter_HL.shape[1]
    out_SD = torch.zeros_like(value_SD)
    for token in range(len(value_SD)):
        for place in range(length):
            neighbour = token + place - length // 2
            if 0 <= neighbour < len(value_SD):
                weight_D = filter_HL[:, place].repeat_interleave(size)
                out_SD[token] += weight_D * value_SD[neighbour]
    return out_SD


@torch.no_grad()
@FILTERS
def test_the_filter_of_the_values_agrees_with_loops(length):
    layer = with_large_filters(make(Attention, WIDTH, HEADS, length))
    expected = torch.stack([reference_attention(layer, window) for window in tokens()])
    torch.testing.assert_close(layer(tokens()), expected)
    layer.filter_HL.zero_()
    assert not torch.allclose(layer(tokens()), expected, atol=1e-2)


@torch.no_grad()
def test_a_filter_is_not_turned_around():
    layer = make(Attention, WIDTH, HEADS, 3)
    value_BHSF = torch.zeros(1, HEADS, 5, WIDTH // HEADS)
    value_BHSF[:, :, 2] = 1.0
    layer.filter_HL.copy_(torch.tensor([1.0, 2.0, 3.0]).expand(HEADS, -1))
    assert layer._filtered(value_BHSF, None)[0, 0, :, 0].tolist() == [0, 3, 2, 1, 0]


@torch.no_grad()
@pytest.mark.parametrize("norm", ["before", "after"])
@FILTERS
def test_with_a_filter_places_that_only_fill_up_are_as_good_as_not_there(length, norm):
    network = with_large_filters(make(Transformer, stack(value_convolution=length, norm=norm)))
    present_BS = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    found = network(tokens(), present_BS=present_BS)
    for window, count in enumerate((7, 4, 1)):
        alone = network(tokens()[window : window + 1, :count])
        torch.testing.assert_close(found[window, :count], alone[0])
    mates = torch.cat((tokens()[:1], 50 * tokens()[1:]))
    torch.testing.assert_close(network(mates, present_BS=present_BS)[0], found[0])


@torch.no_grad()
def test_with_a_filter_the_order_of_tokens_matters():
    network = with_large_filters(make(Transformer, stack(value_convolution=3)))
    order = torch.tensor([0, 2, 1, 3, 4, 5, 6])
    assert not torch.allclose(network(tokens()[:, order]), network(tokens())[:, order], atol=1e-2)


@torch.no_grad()
def test_attention_agrees_with_loops():
    layer = make(Attention, WIDTH, HEADS)
    expected = torch.stack([reference_attention(layer, window) for window in tokens()])
    torch.testing.assert_close(layer(tokens()), expected)


@torch.no_grad()
def test_tokens_that_only_fill_up_are_as_good_as_not_there():
    network = make(Transformer, stack())
    present_BS = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    found = network(tokens(), present_BS=present_BS)
    for window, count in enumerate((7, 4, 1)):
        alone = network(tokens()[window : window + 1, :count])
        torch.testing.assert_close(found[window, :count], alone[0])


@torch.no_grad()
def test_the_order_of_tokens_does_not_matter():
    network = make(Transformer, stack())
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(tokens()[:, order]), network(tokens())[:, order])


@torch.no_grad()
def test_a_block_normalises_before_and_adds_after():
    block = make(Block, stack())
    attended = tokens() + block.attention(block.attention_norm(tokens()))
    expected = attended + block.feed_forward(block.feed_forward_norm(attended))
    torch.testing.assert_close(block(tokens()), expected)


def standardised(tokens_BSD: torch.Tensor, norm: nn.LayerNorm, epsilon: float) -> torch.Tensor:
    mean = tokens_BSD.mean(dim=2, keepdim=True)
    variance = (tokens_BSD - mean).square().mean(dim=2, keepdim=True)
    return (tokens_BSD - mean) / (variance + epsilon).sqrt() * norm.weight + norm.bias


@torch.no_grad()
@pytest.mark.parametrize("epsilon", [1e-12, 0.5])
def test_a_block_may_add_first_and_normalise_after(epsilon):
    block = make(Block, stack(norm="after", norm_epsilon=epsilon, value_convolution=3))
    for norm in (block.attention_norm, block.feed_forward_norm):
        norm.weight.copy_(torch.linspace(0.5, 2.0, WIDTH))
        norm.bias.copy_(torch.linspace(-1.0, 1.0, WIDTH))
    attended = standardised(tokens() + block.attention(tokens()), block.attention_norm, epsilon)
    expected = standardised(attended + block.feed_forward(attended), block.feed_forward_norm, epsilon)
    torch.testing.assert_close(block(tokens()), expected)


@torch.no_grad()
def test_a_head_of_two_layers_halves_the_width_and_leaks():
    head = make(prediction_head, 12, 5, 2)
    assert [tuple(parameter.shape) for parameter in head.parameters()] == [(6, 12), (6,), (5, 6), (5,)]
    hidden = tokens() @ head[0].weight.T + head[0].bias
    assert (hidden < 0).any()
    leaky = torch.where(hidden < 0, LEAK * hidden, hidden)
    torch.testing.assert_close(head(tokens()), leaky @ head[2].weight.T + head[2].bias)
    assert LEAK == 0.1  # the authors'


def test_a_head_of_one_layer_is_a_linear_map():
    head = prediction_head(12, 5, 1)
    assert isinstance(head, nn.Linear)
    assert head.weight.shape == (5, 12)


@torch.no_grad()
def test_feed_forward_layers_are_two_maps_with_a_gelu_between():
    layer = make(FeedForward, WIDTH, 16)
    hidden = tokens() @ layer.expand.weight.T + layer.expand.bias
    gelu = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    torch.testing.assert_close(layer(tokens()), gelu @ layer.contract.weight.T + layer.contract.bias)


@torch.no_grad()
def test_an_observer_sees_the_queries_and_keys_of_its_block_only():
    network = make(Transformer, stack(depth=3))
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
    network = make(Transformer, stack(depth=1, dropout=0.5))
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


class TestLinear:
    """The fast way through oneDNN beside torch's own."""

    def layer(self) -> Linear:
        return make(Linear, WIDTH, 5)

    def test_without_gradients_it_gives_what_it_gives_with_them(self):
        layer, x_BSD = self.layer(), tokens()
        with torch.no_grad():
            plain, after_gelu = layer(x_BSD), layer.gelu(x_BSD)
        torch.testing.assert_close(plain, layer(x_BSD).detach(), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(after_gelu, torch.nn.functional.gelu(layer(x_BSD)).detach(), atol=1e-6, rtol=1e-5)

    def test_tokens_that_are_not_contiguous_or_not_there_pass(self):
        layer, x_BSD = self.layer(), tokens()
        strided_SBD = x_BSD.transpose(0, 1)
        with torch.no_grad():
            torch.testing.assert_close(layer(strided_SBD), layer(strided_SBD.contiguous()))
            assert layer(x_BSD[:0]).shape == (0, x_BSD.shape[1], 5)

    @pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
    def test_inference_in_float32_takes_the_fast_way_and_nothing_else_does(self):
        layer, x_BSD = self.layer(), tokens()
        assert not _onednn_pays(x_BSD)  # with gradients
        with torch.no_grad():
            assert _onednn_pays(x_BSD)
            assert not _onednn_pays(x_BSD.double())
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert not _onednn_pays(x_BSD)
                assert layer(x_BSD).dtype is torch.bfloat16
