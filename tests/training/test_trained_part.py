"""Which part of an encoder learns, and how fast each layer does; adapters merge without a trace."""

import dataclasses
import sys

import pytest
import torch

from brainlm.errors import ConfigError
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.head import Head, Predictor
from brainlm.model.head_config import HeadConfig
from brainlm.training.adapters import add_adapters, merge_adapters
from brainlm.training.trained_part import choose_trained, layer_rates


@pytest.fixture
def network(small) -> MaskedAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MaskedAutoencoder(dataclasses.replace(small, encoder_depth=3), torch.arange(10)).eval()


def learning(network: MaskedAutoencoder) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_all_is_the_encoder_and_nothing_of_the_decoder(network):
    choose_trained(network, "all", lora_rank=2, seed=0)
    parts = {name.split(".")[0] for name in learning(network)}
    assert parts == {"embed", "encoder_positions", "cls_D", "encoder"}


def test_the_last_blocks_learn_with_the_norm_behind_them(network):
    choose_trained(network, "last:2", lora_rank=2, seed=0)
    assert {".".join(name.split(".")[:3]) for name in learning(network)} == {
        "encoder.blocks.1",
        "encoder.blocks.2",
        "encoder.norm.weight",
        "encoder.norm.bias",
    }


def test_of_the_head_alone_nothing_in_the_network_learns(network):
    choose_trained(network, "head", lora_rank=2, seed=0)
    assert learning(network) == set()


def test_more_blocks_than_there_are_cannot_learn(network):
    with pytest.raises(ConfigError, match="fewer blocks") as caught:
        choose_trained(network, "last:4", lora_rank=2, seed=0)
    assert "last:3" in str(caught.value)


def test_each_layer_learns_more_slowly_than_the_one_above_it(network):
    rate = layer_rates(3, 0.5)
    predictor = Predictor(network, Head(HeadConfig(), width=16, num_outputs=1))
    rates = {name: rate(name) for name, _ in predictor.named_parameters()}
    assert rates["head.layers.1.weight"] == rates["network.encoder.norm.weight"] == 1
    blocks = [rates[f"network.encoder.blocks.{block}.attention.qkv.weight"] for block in range(3)]
    assert blocks == [0.125, 0.25, 0.5]
    assert rates["network.embed.weight"] == rates["network.cls_D"] == 0.0625
    assert rates["network.encoder_positions.space_RD"] == 0.0625


def test_adapters_start_as_nothing_and_are_all_that_learns(network):
    signal_BPT = torch.randn(2, 10, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = network.encode(signal_BPT).cls_BD
        add_adapters(network, rank=2, seed=0)
        torch.testing.assert_close(network.encode(signal_BPT).cls_BD, before)
    names = learning(network)
    assert all("lora_" in name and ".attention." in name for name in names)
    assert len(names) == 3 * 2 * 2  # blocks, qkv and out, A and B


def test_merged_adapters_compute_the_same_and_leave_a_plain_network(network):
    fresh = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    biases = network.encoder.blocks[0].attention.qkv.bias.clone()
    add_adapters(network, rank=2, seed=0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
        signal_BPT = torch.randn(2, 10, 20, generator=torch.Generator().manual_seed(1))
        unmerged = network.encode(signal_BPT).cls_BD
        merge_adapters(network)
        torch.testing.assert_close(network.encode(signal_BPT).cls_BD, unmerged, atol=1e-5, rtol=1e-4)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()} == fresh
    assert torch.equal(network.encoder.blocks[0].attention.qkv.bias, biases)
    assert not any("peft" in type(module).__module__ for module in network.modules())


def test_adapters_without_peft_name_the_extra(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match="peft") as caught:
        add_adapters(network, rank=2, seed=0)
    assert "brainlm[finetune]" in str(caught.value)
