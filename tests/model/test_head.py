"""Heads: what their numbers mean, what they see of a window, and what of them is at rest while others learn."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.errors import DataError
from brainlm.inference.pooling import embed_windows
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import ModelConfig
from brainlm.model.head import Head, Predictor, TargetUnits, pooled
from brainlm.model.head_config import HeadConfig

NUM_PARCELS = 7
CONFIG = ModelConfig(
    num_timepoints=20,
    timepoints_per_patch=5,
    parcels_per_patch=2,
    encoder_width=16,
    encoder_depth=2,
    encoder_heads=2,
    encoder_mlp=24,
    decoder_width=12,
    decoder_depth=1,
    decoder_heads=2,
    decoder_mlp=16,
    dropout=0.5,
)
IMAGE = dataclasses.replace(CONFIG, image_size=30, spatial_positions="grid", temporal_positions="grid")


def network(config: ModelConfig = CONFIG) -> MaskedAutoencoder:
    torch.manual_seed(0)
    made = MaskedAutoencoder(config, torch.arange(NUM_PARCELS))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    """Three windows: a whole one, one with absent parcels, one that ends early."""
    torch.manual_seed(1)
    valid_BPT = torch.ones(3, NUM_PARCELS, 20, dtype=torch.bool)
    valid_BPT[1, 2:4] = False
    valid_BPT[2, :, 8:] = False
    return torch.randn(3, NUM_PARCELS, 20) * valid_BPT, valid_BPT


@pytest.mark.parametrize("config", [CONFIG, IMAGE], ids=["sequence", "image"])
def test_a_head_sees_the_vectors_that_embedding_gives(config):
    signal_BPT, valid_BPT = windows()
    embedding = embed_windows(network(config), signal_BPT, valid_BPT)
    with torch.no_grad():
        for pooling, expected in (("cls", embedding.cls_BD), ("mean", embedding.mean_BD)):
            torch.testing.assert_close(pooled(network(config), signal_BPT, valid_BPT, pooling), expected)


def test_gradients_reach_the_encoder_through_both_poolings():
    for pooling in ("cls", "mean"):
        encoder = network()
        pooled(encoder, *windows(), pooling).square().sum().backward()
        assert encoder.embed.weight.grad.abs().sum() > 0


def test_a_multilayer_head_has_three_linear_layers_with_dropout_before_each():
    layers = list(Head(HeadConfig(dropout=0.3), width=16, num_outputs=3).layers)
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(16, 8), (8, 4), (4, 3)]
    assert [layer.p for layer in layers if isinstance(layer, torch.nn.Dropout)] == [0.3, 0.3, 0.3]
    assert len(Head(HeadConfig(layers="linear"), width=16, num_outputs=1).layers) == 2


def test_a_head_does_not_depend_on_where_its_vectors_lie_and_how_far_they_spread():
    torch.manual_seed(0)
    vectors_MD = torch.randn(50, 16)
    numbers = []
    for shift, spread in ((0.0, 1.0), (7.0, 0.05)):
        torch.manual_seed(1)
        head = Head(HeadConfig(dropout=0.0), width=16, num_outputs=1)
        moved_MD = shift + spread * vectors_MD
        moved_MD[:, 3] = shift  # an activation that never varies
        head.fit_standardisation(moved_MD)
        numbers.append(head(moved_MD))
    torch.testing.assert_close(*numbers, rtol=1e-3, atol=1e-4)


def test_what_is_frozen_stays_in_evaluation_mode_while_the_rest_is_trained():
    encoder = network()
    predictor = Predictor(encoder, Head(HeadConfig(), width=16, num_outputs=1))
    encoder.requires_grad_(False)
    encoder.encoder.blocks[1].requires_grad_(True)
    predictor.train()
    assert predictor.head.training
    assert encoder.encoder.blocks[1].dropout.training
    assert not encoder.encoder.blocks[0].training
    assert not encoder.decoder.training
    assert not any(module.training for module in predictor.eval().modules())


def test_a_frozen_encoder_under_training_is_deterministic():
    encoder = network().requires_grad_(False)
    predictor = Predictor(encoder, Head(HeadConfig(dropout=0.0), width=16, num_outputs=1)).train()
    first, second = predictor(*windows()), predictor(*windows())
    assert torch.equal(first, second)
    first.sum().backward()
    assert predictor.head.layers[1].weight.grad is not None


def test_the_mean_and_spread_of_a_quantity_are_weighted():
    units = TargetUnits.of(np.array([1.0, 2.0, 2.0, 5.0]), np.array([1.0, 0.5, 0.5, 1.0]), kind="regression")
    expanded = np.array([1.0, 1.0, 2.0, 2.0, 5.0, 5.0])
    assert units.mean == pytest.approx(expanded.mean())
    assert units.sd == pytest.approx(expanded.std())


def test_standardised_values_come_back_in_original_units():
    values = np.array([20.0, 35.0, 61.5])
    units = TargetUnits.of(values, np.ones(3), kind="regression", name="age")
    back = units.in_units(units.standardised(torch.from_numpy(values).float())[:, None])
    np.testing.assert_allclose(back[:, 0].numpy(), values, rtol=1e-6)


def test_log_odds_become_probabilities():
    binary = TargetUnits("sex", "binary", ("F", "M"))
    assert binary.in_units(torch.tensor([[0.0], [2.0]]))[:, 0].tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    several = TargetUnits("dx", "multiclass", ("a", "b", "c"))
    assert several.num_outputs == 3
    assert several.in_units(torch.tensor([[1.0, 1.0, 1.0]])).tolist() == [pytest.approx([1 / 3] * 3)]


@pytest.mark.parametrize(("values", "found"), [(np.full(3, 7.0), "all of them 7"), (np.empty(0), "nobody")])
def test_a_quantity_that_does_not_vary_is_refused(values, found):
    with pytest.raises(DataError, match="age does not vary") as caught:
        TargetUnits.of(values, np.ones(len(values)), kind="regression", name="age")
    assert found in str(caught.value)
