"""Attention against the full softmax matrix of one window at a time, computed the obvious way."""

import pytest
import torch

from brainlm.errors import ConfigError
from brainlm.model import attention_lags, attention_rollout, attention_rows
from brainlm.model.attention import AttentionWatch
from brainlm.model.autoencoder import MaskedAutoencoder

NUM_COLUMNS = 4
LAGS = range(-3, 4)


def watched(network: MaskedAutoencoder, windows, **asked) -> AttentionWatch:
    """A watch that saw the windows being encoded."""
    watch = AttentionWatch(network, windows.valid_BPT, **asked)
    network.encode(windows.signal_BPT, visible=watch.places, observers=watch.observers)
    return watch


def full_matrices(network: MaskedAutoencoder, signal_PT: torch.Tensor, present_N: torch.Tensor) -> torch.Tensor:
    """Attention of CLS and every present patch to each other in every block, by hand: (L, H, S, S)."""
    patches_NV = network.tokenizer.patches(signal_PT[None])[0]
    tokens_ND = network.embed(patches_NV) + network.encoder_positions()
    tokens_SD = torch.cat((network.cls_D[None], tokens_ND[present_N]))
    matrices = []
    for block in network.encoder.blocks:
        query_SD, key_SD, _ = block.attention.qkv(block.attention_norm(tokens_SD)).chunk(3, dim=1)
        heads = [(query_SD[:, own], key_SD[:, own]) for own in (slice(0, 8), slice(8, 16))]
        matrices.append(torch.stack([((query @ key.T) / 8**0.5).softmax(dim=1) for query, key in heads]))
        tokens_SD = block(tokens_SD[None])[0]
    return torch.stack(matrices)


@pytest.fixture(params=[1, 4], ids=["one parcel a patch", "four parcels a patch"])
def example(request, make_network, make_windows):
    """A network, uneven windows, and for each window its present patches and matrices."""
    network = make_network(parcels_per_patch=request.param)
    windows = make_windows(network)
    present_BN = network.present(windows.valid_BPT)
    with torch.no_grad():
        matrices = [
            full_matrices(network, *one) for one in zip(windows.signal_BPT, present_BN, strict=True)
        ]  # fmt: skip
    return network, windows, present_BN, matrices


def by_lag(matrix_SS: torch.Tensor, present_N: torch.Tensor, num_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums and numbers of pairs for every lag, asking row and attended row, pair by pair."""
    places = [divmod(int(patch), NUM_COLUMNS) for patch in present_N.nonzero()]
    sums_GRR, pairs_GRR = torch.zeros(7, num_rows, num_rows), torch.zeros(7, num_rows, num_rows)
    for asking, (row, time) in enumerate(places):
        for asked, (other_row, other_time) in enumerate(places):
            where = LAGS.index(other_time - time), row, other_row
            sums_GRR[where] += matrix_SS[1 + asking, 1 + asked]
            pairs_GRR[where] += 1
    return sums_GRR, pairs_GRR


@torch.no_grad()
def test_cls_attention_is_the_first_row_of_every_layers_and_heads_matrix(example):
    network, windows, present_BN, matrices = example
    found_BLHN = watched(network, windows).cls_BLHN
    for found_LHN, present_N, matrix_LHSS in zip(found_BLHN, present_BN, matrices, strict=True):
        torch.testing.assert_close(found_LHN[:, :, present_N], matrix_LHSS[:, :, 0, 1:])
        torch.testing.assert_close(found_LHN.sum(dim=2), 1 - matrix_LHSS[:, :, 0, 0])
        assert not found_LHN[:, :, ~present_N].any()


@torch.no_grad()
def test_layers_can_be_chosen_and_are_counted_from_either_end(example):
    network, windows, *_ = example
    every = watched(network, windows).cls_BLHN
    for layer in (0, 1, -1, -2):
        assert torch.equal(watched(network, windows, layers=[layer]).cls_BLHN, every[:, [layer]])
    assert torch.equal(watched(network, windows, layers=[1, 0]).cls_BLHN, every[:, [1, 0]])


@pytest.mark.parametrize("head", [None, 0, 1, -1])
@pytest.mark.parametrize("layer", [0, -1])
@torch.no_grad()
def test_attention_between_rows_at_a_lag_is_the_mean_over_all_pairs_of_patches(example, layer, head):
    network, windows, present_BN, matrices = example
    watch = watched(network, windows, layers=[], between=layer, head=head)
    for number, (present_N, matrix_LHSS) in enumerate(zip(present_BN, matrices, strict=True)):
        matrix_SS = matrix_LHSS[layer].mean(dim=0) if head is None else matrix_LHSS[layer, head]
        sums_GRR, pairs_GRR = by_lag(matrix_SS, present_N, network.tokenizer.num_rows)
        torch.testing.assert_close(watch.pairs_BGRR[number], pairs_GRR)
        torch.testing.assert_close(watch.between_BGRR[number], sums_GRR / pairs_GRR, equal_nan=True)


@torch.no_grad()
def test_lags_times_their_pairs_sum_to_how_much_rows_attend_to_each_other(example):
    network, windows, present_BN, matrices = example
    watch = watched(network, windows, between=1)
    asking_BR = network.present_grid(windows.valid_BPT).sum(dim=2)
    summed_BRR = (watch.between_BGRR * watch.pairs_BGRR).nansum(dim=1) / asking_BR.clamp(min=1)[:, :, None]
    torch.testing.assert_close(watch.rows_BRR, summed_BRR)
    for rows_RR, asking_R, present_N, matrix_LHSS in zip(watch.rows_BRR, asking_BR, present_BN, matrices, strict=True):
        to_cls_N = torch.zeros(len(present_N))
        to_cls_N[present_N] = matrix_LHSS[1].mean(dim=0)[1:, 0]
        there = asking_R > 0
        to_cls_R = to_cls_N.unflatten(0, (-1, NUM_COLUMNS)).sum(dim=1)[there] / asking_R[there]
        torch.testing.assert_close(rows_RR.sum(dim=1)[there], 1 - to_cls_R)
        assert not rows_RR[~there].any()
        assert not rows_RR[:, ~there].any()


@torch.no_grad()
def test_rollout_is_the_row_of_cls_in_the_product_of_the_layers(example):
    network, windows, present_BN, matrices = example
    found_BN = watched(network, windows, layers=[], rollout=True).rollout_BN
    for found_N, present_N, matrix_LHSS in zip(found_BN, present_BN, matrices, strict=True):
        first_SS, last_SS = 0.5 * matrix_LHSS.mean(dim=1) + 0.5 * torch.eye(matrix_LHSS.shape[2])
        product_SS = last_SS @ first_SS
        torch.testing.assert_close(found_N[present_N], product_SS[0, 1:])
        torch.testing.assert_close(found_N.sum(), 1 - product_SS[0, 0])
        assert not found_N[~present_N].any()


@torch.no_grad()
def test_rollout_goes_through_any_number_of_layers(make_network, make_windows):
    for depth in (1, 4):
        network = make_network(encoder_depth=depth)
        windows = make_windows(network, num_windows=1, uneven=False)
        matrices = full_matrices(network, windows.signal_BPT[0], network.present(windows.valid_BPT)[0])
        row_S = torch.eye(matrices.shape[2])[0]
        for matrix_HSS in reversed(matrices):
            row_S = row_S @ (0.5 * matrix_HSS.mean(dim=0) + 0.5 * torch.eye(len(row_S)))
        torch.testing.assert_close(watched(network, windows, rollout=True).rollout_BN[0], row_S[1:])


@torch.no_grad()
def test_some_parcels_and_times_of_the_example_are_absent(make_network, make_windows):
    network = make_network()
    present_BRC = network.present_grid(make_windows(network).valid_BPT)
    assert (present_BRC.any(dim=2).sum(dim=1) < 11).any()
    assert (present_BRC.any(dim=1).sum(dim=1) < 4).any()


@torch.no_grad()
def test_what_is_read_does_not_depend_on_what_else_is(example):
    network, windows, *_ = example
    everything = watched(network, windows, between=0, rollout=True)
    assert torch.equal(everything.cls_BLHN, watched(network, windows).cls_BLHN)
    assert torch.equal(everything.rows_BRR, watched(network, windows, layers=[], between=0).rows_BRR)
    assert torch.equal(everything.rollout_BN, watched(network, windows, layers=[1], rollout=True).rollout_BN)


@torch.no_grad()
def test_a_watch_changes_nothing_of_the_encoding(example):
    network, windows, *_ = example
    watch = AttentionWatch(network, windows.valid_BPT, between=0, rollout=True)
    seen = network.encode(windows.signal_BPT, visible=watch.places, observers=watch.observers)
    alone = network.encode(windows.signal_BPT, visible=watch.places)
    assert torch.equal(seen.cls_BD, alone.cls_BD)
    assert torch.equal(seen.tokens_BKD, alone.tokens_BKD)


@torch.no_grad()
def test_small_chunks_give_the_same_and_bound_what_is_held(make_network, make_windows, monkeypatch):
    network = make_network()
    windows = make_windows(network)
    whole = watched(network, windows, between=0, rollout=True)
    held = []

    def recorded(query, key, absent=None):
        rows = attention_rows.attention_rows(query, key, absent)
        held.append(rows.numel())
        return rows

    num_tokens = 1 + network.tokenizer.num_tokens
    monkeypatch.setattr(attention_rows, "NUMBERS_AT_A_TIME", 2 * num_tokens * NUM_COLUMNS)
    monkeypatch.setattr(attention_lags, "attention_rows", recorded)
    monkeypatch.setattr(attention_rollout, "attention_rows", recorded)
    parts = watched(network, windows, between=0, rollout=True)
    torch.testing.assert_close(parts.between_BGRR, whole.between_BGRR, equal_nan=True)
    torch.testing.assert_close(parts.rollout_BN, whole.rollout_BN)
    assert len(held) >= 2 * len(windows.signal_BPT) * network.tokenizer.num_rows
    assert max(held) <= 2 * num_tokens * NUM_COLUMNS


@torch.no_grad()
def test_batch_mates_do_not_matter(make_network, make_windows):
    network = make_network()
    windows = make_windows(network)
    together = watched(network, windows, between=-1, rollout=True)
    for number in range(4):
        alone = watched(network, windows.part(slice(number, number + 1)), between=-1, rollout=True)
        for name in ("cls_BLHN", "between_BGRR", "rows_BRR", "rollout_BN"):
            torch.testing.assert_close(
                getattr(alone, name)[0], getattr(together, name)[number], atol=1e-5, rtol=1e-4, equal_nan=True
            )


@pytest.mark.parametrize("layer", [2, -3])
@pytest.mark.parametrize("where", ["layers", "between"])
def test_a_block_that_is_not_there_is_an_error(make_network, make_windows, layer, where):
    network = make_network()
    with pytest.raises(ConfigError, match=rf"no block {layer}(.|\n)*0 to 1, or -2 to -1 from the end"):
        AttentionWatch(network, make_windows(network).valid_BPT, **{where: [layer] if where == "layers" else layer})


@pytest.mark.parametrize("head", [2, -3])
def test_a_head_that_is_not_there_is_an_error(make_network, make_windows, head):
    network = make_network()
    with pytest.raises(ConfigError, match=rf"no head {head}(.|\n)*0 to 1, or -2 to -1 from the end"):
        AttentionWatch(network, make_windows(network).valid_BPT, between=0, head=head)
