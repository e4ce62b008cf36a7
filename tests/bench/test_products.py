"""Operations of a training step, counted by us and by torch."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from brainlm.bench.products import Product, ProductTimes, square_product, step_products
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import preset
from brainlm.model.masks import choose, hide, num_hidden, parse_masks

NUM_PARCELS, NUM_WINDOWS = 16, 2


def counted_by_torch(config, *, decode_share):
    network = MaskedAutoencoder(config, torch.arange(NUM_PARCELS))
    signal_BPT = torch.randn(NUM_WINDOWS, NUM_PARCELS, config.num_timepoints)
    valid_BPT = torch.ones_like(signal_BPT, dtype=torch.bool)
    seeds_B = torch.arange(NUM_WINDOWS)
    hidden_BN = hide(parse_masks("random:0.75"), seeds_B, network.present_grid(valid_BPT)).flatten(1)
    decoded_BN = choose(decode_share, seeds_B, hidden_BN)
    # The plain form of attention: the others are either not counted by torch, or with what they compute twice.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(signal_BPT, valid_BPT, hidden_BN, decoded_BN=decoded_BN).loss().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("parcels_per_patch", [1, 8])
@pytest.mark.parametrize("decode_share", [1.0, 0.25])
def test_operations_are_those_that_torch_counts(parcels_per_patch, decode_share):
    config = replace(preset("tiny"), parcels_per_patch=parcels_per_patch, decoder_width=48, decoder_mlp=64)
    number = num_hidden(parse_masks("random:0.75"), config.num_spatial_patches(NUM_PARCELS), 10)
    products = step_products(
        config,
        num_parcels=NUM_PARCELS,
        num_windows=NUM_WINDOWS,
        num_hidden=number,
        num_decoded=round(decode_share * number),
    )
    counted = counted_by_torch(config, decode_share=decode_share)
    assert sum(product.flops for product in products) == counted


def test_a_step_is_three_times_its_forward_pass_but_for_the_gradient_of_the_patches():
    products = step_products(preset("13m"), num_parcels=424, num_windows=2, num_hidden=3180, num_decoded=3180)
    backward = ("gradient", "input gradient", "weight gradient")
    forward = sum(product.flops for product in products if not product.name.endswith(backward))
    of_patches = 2 * (2 * 1060) * 20 * 512
    assert sum(product.flops for product in products) == 3 * forward - of_patches


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("together", [1, 3])
def test_every_kind_of_product_can_be_timed(left, right, together):
    product = Product("any", 5, 7, 3, count=10, together=together, left_transposed=left, right_transposed=right)
    times = ProductTimes([product, square_product(4)], device=torch.device("cpu"), dtype=torch.bfloat16)
    assert times.seconds_of(product) > 0
    assert times.seconds() > 0


def test_products_are_timed_once_and_counted_as_often_as_they_occur(monkeypatch):
    products = [Product("three times", 2, 2, 2, count=3), Product("twice", 2, 2, 2, count=2)]
    times = ProductTimes(products, device=torch.device("cpu"), dtype=torch.float32)
    monkeypatch.setattr(times, "seconds_of", lambda product: 10.0 if product.count == 3 else 1.0)
    assert times.seconds() == 32.0
