"""Attention against the full softmax matrix of one window at a time, computed the obvious way."""

import pytest
import torch

from brainlm.errors import ConfigError
from brainlm.model import attention
from brainlm.model.attention import ClsWatch, ParcelWatch
from brainlm.model.autoencoder import MaskedAutoencoder

LAYERS = pytest.mark.parametrize("layer", [0, 1, -1, -2])
PATCHES = pytest.mark.parametrize("parcels_per_patch", [1, 4])


def cls_attention(network, signal_BPT, valid_BPT, *, layer=-1):
    """What a watch saw of CLS while the windows were encoded."""
    watch = ClsWatch(network, valid_BPT, layer=layer)
    network.encode(signal_BPT, visible=watch.places, observers=watch.observers)
    return watch.attention_BHN


def parcel_attention(network, signal_BPT, valid_BPT, *, layer=-1):
    """What a watch saw between parcels while the windows were encoded."""
    watch = ParcelWatch(network, valid_BPT, layer=layer)
    network.encode(signal_BPT, visible=watch.places, observers=watch.observers)
    return watch.parcels_BRR


def full_matrix(
    network: MaskedAutoencoder, signal_PT: torch.Tensor, present_N: torch.Tensor, layer: int
) -> torch.Tensor:
    """The attention of CLS and every present patch to each other in one block, (H, S, S): the forward pass by hand."""
    patches_NV = network.tokenizer.patches(signal_PT[None])[0]
    tokens_ND = network.embed(patches_NV) + network.encoder_positions()
    tokens_SD = torch.cat((network.cls_D[None], tokens_ND[present_N]))
    for block in list(network.encoder.blocks)[: layer % 2]:
        tokens_SD = block(tokens_SD[None])[0]
    block = network.encoder.blocks[layer]
    query_SD, key_SD, _ = block.attention.qkv(block.attention_norm(tokens_SD)).chunk(3, dim=1)
    heads = [(query_SD[:, own], key_SD[:, own]) for own in (slice(0, 8), slice(8, 16))]
    return torch.stack([((query @ key.T) / 8**0.5).softmax(dim=1) for query, key in heads])


@PATCHES
@LAYERS
@torch.no_grad()
def test_cls_attention_is_the_first_row_of_the_full_matrix(make_network, make_windows, layer, parcels_per_patch):
    network = make_network(parcels_per_patch=parcels_per_patch)
    windows = make_windows(network)
    found_BHN = cls_attention(network, windows.signal_BPT, windows.valid_BPT, layer=layer)
    present_BN = network.present(windows.valid_BPT)
    for found_HN, signal_PT, present_N in zip(found_BHN, windows.signal_BPT, present_BN, strict=True):
        matrix_HSS = full_matrix(network, signal_PT, present_N, layer)
        torch.testing.assert_close(found_HN[:, present_N], matrix_HSS[:, 0, 1:])
        torch.testing.assert_close(found_HN.sum(dim=1), 1 - matrix_HSS[:, 0, 0])
        assert not found_HN[:, ~present_N].any()


@PATCHES
@LAYERS
@torch.no_grad()
def test_parcel_attention_is_the_full_matrix_summed_by_rows(make_network, make_windows, layer, parcels_per_patch):
    network = make_network(parcels_per_patch=parcels_per_patch)
    windows = make_windows(network)
    found_BRR = parcel_attention(network, windows.signal_BPT, windows.valid_BPT, layer=layer)
    num_rows, num_columns = network.tokenizer.num_rows, network.tokenizer.num_columns
    present_BN = network.present(windows.valid_BPT)
    for found_RR, signal_PT, present_N in zip(found_BRR, windows.signal_BPT, present_BN, strict=True):
        matrix_SS = full_matrix(network, signal_PT, present_N, layer).mean(dim=0)
        rows = [int(patch) // num_columns for patch in present_N.nonzero()]
        expected_RR = torch.zeros(num_rows, num_rows)
        to_cls_R = torch.zeros(num_rows)
        for asking, asking_row in enumerate(rows):
            share = 1 / rows.count(asking_row)
            to_cls_R[asking_row] += matrix_SS[1 + asking, 0] * share
            for asked, asked_row in enumerate(rows):
                expected_RR[asking_row, asked_row] += matrix_SS[1 + asking, 1 + asked] * share
        torch.testing.assert_close(found_RR, expected_RR)
        there = torch.tensor([row in rows for row in range(num_rows)])
        torch.testing.assert_close(found_RR.sum(dim=1)[there], (1 - to_cls_R)[there])
        assert not found_RR[~there].any()
        assert not found_RR[:, ~there].any()


@torch.no_grad()
def test_some_parcels_of_the_example_are_absent(make_network, make_windows):
    network = make_network()
    windows = make_windows(network)
    assert (network.present_grid(windows.valid_BPT).any(dim=2).sum(dim=1) < 11).any()


@torch.no_grad()
def test_small_chunks_give_the_same_and_bound_what_is_held(make_network, make_windows, monkeypatch):
    network = make_network()
    windows = make_windows(network)
    whole = parcel_attention(network, windows.signal_BPT, windows.valid_BPT)
    held = []
    rows_of = attention._attention_rows

    def recorded(query, key, places):
        held.append(query.shape[2])
        return rows_of(query, key, places)

    monkeypatch.setattr(attention, "QUERIES_AT_A_TIME", 3)
    monkeypatch.setattr(attention, "_attention_rows", recorded)
    torch.testing.assert_close(parcel_attention(network, windows.signal_BPT, windows.valid_BPT), whole)
    assert max(held) == 3
    assert sum(held) == 1 + int(network.present(windows.valid_BPT).sum(dim=1).max())  # CLS and every patch
    held.clear()
    cls_attention(network, windows.signal_BPT, windows.valid_BPT)
    assert held == [1]


@torch.no_grad()
def test_batch_mates_do_not_matter(make_network, make_windows):
    network = make_network()
    windows = make_windows(network)
    for attend in (cls_attention, parcel_attention):
        together = attend(network, windows.signal_BPT, windows.valid_BPT)
        for number in range(4):
            part = windows.part(slice(number, number + 1))
            alone = attend(network, part.signal_BPT, part.valid_BPT)
            torch.testing.assert_close(alone[0], together[number], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layer", [2, -3])
@pytest.mark.parametrize("attend", [cls_attention, parcel_attention])
def test_a_block_that_is_not_there_is_an_error(make_network, make_windows, layer, attend):
    network = make_network()
    windows = make_windows(network)
    with pytest.raises(ConfigError, match=rf"no block {layer}(.|\n)*0 to 1, or -2 to -1 from the end"):
        attend(network, windows.signal_BPT, windows.valid_BPT, layer=layer)
