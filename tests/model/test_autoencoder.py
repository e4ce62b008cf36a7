"""The masked autoencoder: what may change its predictions, what must not, its loss and its size."""

import pytest
import torch

from brainlm.errors import ConfigError
from brainlm.model.autoencoder import Encoding, HiddenPrediction, MaskedAutoencoder, OwnCovariance, Places
from brainlm.model.conditional import conditional_mean
from brainlm.model.config import PRESETS
from brainlm.model.masks import Mask, choose, hide, num_hidden
from brainlm.model.space_time import window_mean

# Networks that differ in every choice there is.
VARIANTS = {
    "plain": {},
    "several parcels a patch": {"parcels_per_patch": 4},
    "coordinates": {
        "parcels_per_patch": 2,
        "spatial_positions": "coordinates",
        "temporal_positions": "sinusoidal",
    },
    "gaussian": {"head": "gaussian"},
    "own covariance": {"head": "gaussian", "own_covariance_points": 30, "parcels_per_patch": 2},
    "space-time": {"head": "space-time"},
    "as the published 13M": {
        "spatial_positions": "coordinates",
        "temporal_positions": "sinusoidal",
        "norm": "after",
        "norm_epsilon": 1e-12,
        "value_convolution": 5,
        "head_layers": 2,
    },
}
# All patches of an image are seen, also those without data, so that these do matter.
IMAGE = {
    "image_size": 24,
    "parcels_per_patch": 4,
    "timepoints_per_patch": 4,
    "spatial_positions": "grid",
    "temporal_positions": "grid",
    "norm_epsilon": 1e-12,
}
WITH_IMAGES = {**VARIANTS, "as a published image": IMAGE}
EACH = pytest.mark.parametrize("settings", WITH_IMAGES.values(), ids=WITH_IMAGES.keys())
EACH_BUT_IMAGES = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def tolerance(settings: dict) -> dict[str, float]:
    """Conjugate gradients stop at a residual, so that rounding may show a little more."""
    return {"atol": 1e-3, "rtol": 1e-3} if settings.get("head") == "space-time" else CLOSE


def own_of(network: MaskedAutoencoder, num_windows: int) -> OwnCovariance | None:
    """Covariances of other time points, of none for the first window."""
    if not network.config.own_covariance_points:
        return None
    num_parcels = network.tokenizer.num_parcels
    generator = torch.Generator().manual_seed(5)
    outside = [torch.randn(40 * number, num_parcels, generator=generator) for number in range(num_windows)]
    return OwnCovariance.of(outside, num_parcels=num_parcels)


@EACH
@torch.no_grad()
def test_hidden_values_change_neither_the_encoding_nor_the_prediction(make_network, make_windows, settings):
    network = make_network(**settings)
    windows = make_windows(network)
    hidden_BPT = network.tokenizer.expand(windows.hidden_BN) & windows.valid_BPT
    perturbed_BPT = torch.where(hidden_BPT, windows.signal_BPT + 100, windows.signal_BPT)
    visible = Places.of(network.seen(windows.valid_BPT) & ~windows.hidden_BN)
    encodings = [network.encode(signal, visible=visible) for signal in (windows.signal_BPT, perturbed_BPT)]
    assert torch.equal(encodings[0].cls_BD, encodings[1].cls_BD)
    seen = visible.present_BK  # the other places fill up the batch, with patches nobody attends to
    assert torch.equal(encodings[0].tokens_BKD[seen], encodings[1].tokens_BKD[seen])
    own = own_of(network, 4)
    before = network(*windows.inputs, own=own)
    after = network(perturbed_BPT, windows.valid_BPT, windows.hidden_BN, own=own)
    assert torch.equal(before.predicted_BMV, after.predicted_BMV)
    assert not torch.equal(before.target_BMV, after.target_BMV)


@EACH
@torch.no_grad()
def test_visible_values_change_the_prediction(make_network, make_windows, settings):
    network = make_network(**settings)
    windows = make_windows(network)
    visible_BPT = windows.valid_BPT & ~network.tokenizer.expand(windows.hidden_BN)
    perturbed_BPT = torch.where(visible_BPT, windows.signal_BPT + torch.randn(()), windows.signal_BPT)
    own = own_of(network, 4)
    before = network(*windows.inputs, own=own)
    after = network(perturbed_BPT, windows.valid_BPT, windows.hidden_BN, own=own)
    assert ((before.predicted_BMV - after.predicted_BMV).abs().amax(dim=(1, 2)) > 1e-3).all()
    assert torch.equal(before.target_BMV[before.counts_BMV], after.target_BMV[after.counts_BMV])


@EACH_BUT_IMAGES
@torch.no_grad()
def test_patches_without_data_do_not_matter(make_network, make_windows, settings):
    network = make_network(**settings)
    windows = make_windows(network)
    absent_BPT = ~network.tokenizer.expand(network.present(windows.valid_BPT))
    assert absent_BPT.any()
    perturbed_BPT = torch.where(absent_BPT, 100.0, windows.signal_BPT)
    before = network(*windows.inputs)
    after = network(perturbed_BPT, windows.valid_BPT, windows.hidden_BN)
    assert torch.equal(before.predicted_BMV[before.counts_BMV], after.predicted_BMV[after.counts_BMV])
    assert torch.equal(before.loss(), after.loss())


@torch.no_grad()
def test_values_that_are_not_valid_do_not_count_in_the_loss(make_network, make_windows):
    network = make_network(parcels_per_patch=4)
    windows = make_windows(network)
    hidden_BPT = network.tokenizer.expand(windows.hidden_BN)
    wrong_BPT = hidden_BPT & ~windows.valid_BPT
    assert wrong_BPT.any()
    perturbed_BPT = torch.where(wrong_BPT, 100.0, windows.signal_BPT)
    after = network(perturbed_BPT, windows.valid_BPT, windows.hidden_BN)
    assert torch.equal(network(*windows.inputs).loss(), after.loss())


@EACH
@torch.no_grad()
def test_batch_mates_do_not_matter(make_network, make_windows, settings):
    network = make_network(**settings)
    windows = make_windows(network, num_windows=5)
    own = own_of(network, 5)
    together = network.reconstruct(*windows.inputs, own=own)
    for number in range(5):
        chosen = slice(number, number + 1)
        alone = network.reconstruct(*windows.part(chosen).inputs, own=None if own is None else own.part(chosen))
        torch.testing.assert_close(alone[0], together[number], **tolerance(settings))
    loss = network(*windows.inputs, own=own).loss()
    losses = [
        network(*windows.part(slice(n, n + 1)).inputs, own=None if own is None else own.part(slice(n, n + 1))).loss()
        for n in range(5)
    ]
    torch.testing.assert_close(torch.stack(losses).mean(), loss, **tolerance(settings))


@EACH
@torch.no_grad()
def test_the_order_of_parcels_in_the_atlas_does_not_matter(make_network, make_windows, settings):
    network = make_network(**settings)
    windows = make_windows(network)
    moved = torch.randperm(11, generator=torch.Generator().manual_seed(9))  # new parcel i is old parcel moved[i]
    other = make_network(order=torch.argsort(moved)[network.tokenizer.order_P], **settings)
    state = network.state_dict() | {"tokenizer.order_P": other.tokenizer.order_P}
    if "covariance_PP" in state:
        state["covariance_PP"] = network.covariance_PP[moved][:, moved]
    other.load_state_dict(state)
    expected = network.reconstruct(*windows.inputs)[:, moved]
    found = other.reconstruct(windows.signal_BPT[:, moved], windows.valid_BPT[:, moved], windows.hidden_BN)
    torch.testing.assert_close(found, expected, **tolerance(settings))


@torch.no_grad()
def test_the_order_of_patches_does_not_matter(make_network, make_windows):
    network = make_network(order=torch.arange(11))
    windows = make_windows(network)
    other = make_network(order=torch.arange(11).flip(0))
    state = network.state_dict() | {"tokenizer.order_P": torch.arange(11).flip(0)}
    for name in ("encoder_positions.space_RD", "decoder_positions.space_RD"):
        state[name] = state[name].flip(0)
    other.load_state_dict(state)
    hidden_BRC = windows.hidden_BN.unflatten(1, (11, 4))
    found = other.reconstruct(windows.signal_BPT, windows.valid_BPT, hidden_BRC.flip(1).flatten(1))
    torch.testing.assert_close(found, network.reconstruct(*windows.inputs), **CLOSE)


@torch.no_grad()
def test_nothing_is_masked_unless_a_mask_is_given(make_network, make_windows):
    network = make_network(dropout=0.5)
    windows = make_windows(network, uneven=False)
    first, second = (network.encode(windows.signal_BPT) for _ in range(2))
    assert first.tokens_BKD.shape[1] == network.tokenizer.num_tokens
    assert torch.equal(first.cls_BD, second.cls_BD)
    everything = Places.of(network.present(windows.valid_BPT))
    asked = network.encode(windows.signal_BPT, visible=everything)
    assert torch.equal(first.tokens_BKD, asked.tokens_BKD)


@EACH
@torch.no_grad()
def test_decoding_all_that_is_hidden_is_the_default(make_network, make_windows, settings):
    network = make_network(**settings)
    windows = make_windows(network)
    default = network(*windows.inputs)
    asked = network(*windows.inputs, decoded_BN=windows.hidden_BN)
    assert torch.equal(default.predicted_BMV, asked.predicted_BMV)
    assert torch.equal(default.loss(), asked.loss())


@torch.no_grad()
def test_sparse_decoding_predicts_the_same_truth_in_a_smaller_context(make_network, make_windows):
    """Mask tokens see each other, so a subset's predictions are near the full ones but not the same."""
    network = make_network()
    windows = make_windows(network, uneven=False)
    decoded_BN = choose(0.25, torch.arange(4), windows.hidden_BN)
    full, sparse = network(*windows.inputs), network(*windows.inputs, decoded_BN=decoded_BN)
    assert not (decoded_BN & ~windows.hidden_BN).any()
    assert sparse.counts_BMV.sum() == decoded_BN.sum() * network.tokenizer.values_per_patch
    predicted, true = spread(network, full), spread(network, full, "target_BMV")
    few, few_true = spread(network, sparse), spread(network, sparse, "target_BMV")
    assert torch.equal(few_true[decoded_BN], true[decoded_BN])
    assert not torch.allclose(few[decoded_BN], predicted[decoded_BN], atol=1e-3)
    # Where the decoder has no way to look around, only the visible tokens' encoding could differ; it does not.
    for block in network.decoder.blocks:
        torch.nn.init.zeros_(block.attention.out.weight)
    full, sparse = network(*windows.inputs), network(*windows.inputs, decoded_BN=decoded_BN)
    torch.testing.assert_close(spread(network, sparse)[decoded_BN], spread(network, full)[decoded_BN])


def spread(network: MaskedAutoencoder, out: HiddenPrediction, name: str = "predicted_BMV") -> torch.Tensor:
    """A prediction's values at their patches among all, (B, N, V); NaN elsewhere."""
    values_BMV = getattr(out, name)
    spread_BNV = torch.full((len(values_BMV), network.tokenizer.num_tokens, values_BMV.shape[2]), torch.nan)
    for window in range(len(values_BMV)):
        for place in range(values_BMV.shape[1]):
            if out.places.present_BK is None or out.places.present_BK[window, place]:
                spread_BNV[window, out.places.index_BK[window, place]] = values_BMV[window, place]
    return spread_BNV


@torch.no_grad()
def test_the_loss_is_the_mean_squared_error_of_each_windows_hidden_valid_values(make_network, make_windows):
    network = make_network(parcels_per_patch=4)
    windows = make_windows(network)
    windows.hidden_BN[1] = False  # nothing hidden: adds nothing
    reconstructed_BPT = network.reconstruct(*windows.inputs)
    hidden_BPT = network.tokenizer.expand(windows.hidden_BN)
    losses = []
    for b in range(4):
        squares = [
            float(reconstructed_BPT[b, p, t] - windows.signal_BPT[b, p, t]) ** 2
            for p in range(11)
            for t in range(20)
            if hidden_BPT[b, p, t] and windows.valid_BPT[b, p, t]
        ]
        losses.append(sum(squares) / len(squares) if squares else 0.0)
    assert losses[1] == 0
    assert float(network(*windows.inputs).loss()) == pytest.approx(sum(losses) / 4, rel=1e-5)


@EACH
@torch.no_grad()
def test_reconstruction_keeps_what_is_seen_and_fills_what_is_hidden(make_network, make_windows, settings):
    network = make_network(**settings)
    windows = make_windows(network)
    hidden_BPT = network.tokenizer.expand(windows.hidden_BN)
    found_BPT = network.reconstruct(*windows.inputs)
    assert torch.equal(found_BPT[~hidden_BPT], windows.signal_BPT[~hidden_BPT])
    predicted = network.tokenizer.windows(spread(network, network(*windows.inputs)))
    assert torch.equal(found_BPT[hidden_BPT], predicted[hidden_BPT])


@pytest.mark.parametrize("decode_share", [1.0, 0.5])
@EACH
@torch.no_grad()
def test_known_counts_give_the_same_as_counting(make_network, make_windows, settings, decode_share):
    network = make_network(**settings)
    windows = make_windows(network, uneven=False)
    masks = (Mask("random", 0.6),)
    grid = network.present_grid(windows.valid_BPT)
    hidden_BN = hide(masks, torch.arange(4), grid).flatten(1)
    decoded_BN = choose(decode_share, torch.arange(4), hidden_BN) if decode_share < 1 else hidden_BN
    number = num_hidden(masks, *grid.shape[1:])
    inputs = windows.signal_BPT, windows.valid_BPT, hidden_BN
    counted = network(*inputs, decoded_BN=decoded_BN)
    known = network(
        *inputs,
        decoded_BN=decoded_BN,
        num_visible=network.tokenizer.num_tokens - number,
        num_decoded=round(decode_share * number),
    )
    assert torch.equal(counted.predicted_BMV, known.predicted_BMV)
    assert torch.equal(counted.counts_BMV, known.counts_BMV)
    assert torch.equal(counted.places.index_BK, known.places.index_BK)


def test_places_are_the_flagged_patches_in_their_order():
    flag_BN = torch.rand(6, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    places = Places.of(flag_BN)
    for window, flags in enumerate(flag_BN):
        wanted = [number for number, flag in enumerate(flags) if flag]
        assert places.index_BK[window][places.present_BK[window]].tolist() == wanted
    even = Places.of(torch.ones(2, 3, dtype=torch.bool))
    assert even.present_BK is None
    assert even.index_BK.tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize("parcels_per_patch", [1, 4])
@torch.no_grad()
def test_a_gaussian_head_starts_at_the_conditional_mean(make_network, make_windows, parcels_per_patch):
    network = make_network(head="gaussian", parcels_per_patch=parcels_per_patch, spread=False)
    windows = make_windows(network)
    hidden_BPT = network.tokenizer.expand(windows.hidden_BN)
    expected = conditional_mean(network.covariance_PP, windows.signal_BPT, windows.valid_BPT & ~hidden_BPT)
    found = network.reconstruct(*windows.inputs)
    assert torch.equal(found[hidden_BPT], expected[hidden_BPT])


@torch.no_grad()
def test_a_space_time_head_starts_at_the_mean_given_the_whole_window(make_network, make_windows):
    network = make_network(head="space-time", spread=False)
    windows = make_windows(network)
    hidden_BPT = network.tokenizer.expand(windows.hidden_BN)
    visible_BPT = windows.valid_BPT & ~hidden_BPT
    expected = window_mean(network.covariance_PP, network.temporal_TT, windows.signal_BPT, visible_BPT)
    found = network.reconstruct(*windows.inputs)
    assert torch.equal(found[hidden_BPT], expected[hidden_BPT])


@torch.no_grad()
def test_a_recordings_own_covariance_is_blended_in_by_its_number_of_time_points(make_network, make_windows):
    network = make_network(head="gaussian", own_covariance_points=30, spread=False)
    windows = make_windows(network)
    generator = torch.Generator().manual_seed(5)
    outside = [3 * torch.randn(points, 11, generator=generator) for points in (0, 15, 60, 30)]
    own = OwnCovariance.of(outside, num_parcels=11)
    hidden_BPT = network.tokenizer.expand(windows.hidden_BN)
    found = network.reconstruct(*windows.inputs, own=own)
    population = network.covariance_PP
    for number, points_TP in enumerate(outside):
        blended = population
        if len(points_TP):
            own_PP = sum(torch.outer(point, point) for point in points_TP) / len(points_TP)
            own_PP = own_PP * population.trace() / own_PP.trace()
            share = len(points_TP) / (len(points_TP) + 30)
            blended = (1 - share) * population + share * own_PP
        chosen = slice(number, number + 1)
        visible_BPT = (windows.valid_BPT & ~hidden_BPT)[chosen]
        expected = conditional_mean(blended, windows.signal_BPT[chosen], visible_BPT)
        hidden = hidden_BPT[chosen]
        torch.testing.assert_close(found[chosen][hidden], expected[hidden], **CLOSE)


@EACH
@torch.no_grad()
def test_half_precision_autocast_stays_near_single_precision(make_network, make_windows, settings):
    network = make_network(**settings)
    windows = make_windows(network)
    exact = network(*windows.inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(*windows.inputs)
        filled_BPT = network.reconstruct(*windows.inputs)
    assert filled_BPT.isfinite().all()
    assert rough.loss().dtype == torch.float32
    error = (rough.predicted_BMV.float() - exact.predicted_BMV)[exact.counts_BMV]
    assert float(error.std() / exact.predicted_BMV[exact.counts_BMV].std()) < 0.05


@EACH
def test_gradients_reach_every_parameter(make_network, make_windows, settings):
    network = make_network(**settings).train()
    windows = make_windows(network)
    network(*windows.inputs, own=own_of(network, 4)).loss().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    network.zero_grad()


def test_positions_from_coordinates_need_coordinates():
    config = PRESETS["tiny"]
    config = type(config)(**{**vars(config), "spatial_positions": "coordinates"})
    with pytest.raises(ConfigError, match=r"need coordinates(.|\n)*columns x, y, z(.|\n)*spatial_positions learned"):
        MaskedAutoencoder(config, torch.arange(5))


def test_the_same_seed_gives_the_same_weights(make_network):
    first, second, other = (make_network(seed=seed, spread=False).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])


@pytest.mark.parametrize(
    ("name", "exact", "published"),
    [
        ("tiny", 445_716, None),
        ("13m", 13_347_860, 13e6),
        ("111m", 110_957_472, 111e6),
        ("650m", 655_959_456, 650e6),
    ],
)
def test_presets_have_the_sizes_they_are_called_after(name: str, exact: int, published: float | None):
    order = torch.arange(424)
    with torch.device("meta"):
        network = MaskedAutoencoder(PRESETS[name], order)
    assert network.num_parameters == exact
    if published is not None:
        assert exact == pytest.approx(published, rel=0.1)


def test_parameters_that_are_frozen_are_not_counted(make_network):
    network = make_network()
    before = network.num_parameters
    network.head.weight.requires_grad_(False)
    assert network.num_parameters == before - network.head.weight.numel()
    network.head.weight.requires_grad_(True)


def listed_otherwise(places: Places, *, seed: int = 0) -> tuple[Places, torch.Tensor]:
    """The same places in another order, the same one for every window, and where each went."""
    order_K = torch.randperm(places.index_BK.shape[1], generator=torch.Generator().manual_seed(seed))
    present_BK = None if places.present_BK is None else places.present_BK[:, order_K]
    return Places(places.index_BK[:, order_K], present_BK), torch.argsort(order_K)


@pytest.mark.parametrize("uneven", [False, True])
@torch.no_grad()
def test_with_a_filter_the_encoder_minds_the_order_of_patches_and_the_decoder_does_not(
    make_network, make_windows, uneven
):
    network = make_network(**VARIANTS["as the published 13M"])
    windows = make_windows(network, uneven=uneven)
    present_BN = network.present(windows.valid_BPT)
    visible, decoded = Places.of(present_BN & ~windows.hidden_BN), Places.of(windows.hidden_BN)
    encoding = network.encode(windows.signal_BPT, visible=visible)
    shuffled, back_K = listed_otherwise(visible)
    other = network.encode(windows.signal_BPT, visible=shuffled)
    assert not torch.allclose(other.cls_BD, encoding.cls_BD, atol=1e-2)
    assert not torch.allclose(other.tokens_BKD[:, back_K], encoding.tokens_BKD, atol=1e-2)

    predicted_BMV = network.decode(encoding, decoded, None)
    other_decoded, back_M = listed_otherwise(decoded, seed=1)
    same = Encoding(encoding.cls_BD, encoding.tokens_BKD[:, torch.argsort(back_K)], shuffled)
    found_BMV = network.decode(same, other_decoded, None)[:, back_M]
    counts_BM = (
        torch.ones_like(decoded.index_BK, dtype=torch.bool) if decoded.present_BK is None else decoded.present_BK
    )
    torch.testing.assert_close(found_BMV[counts_BM], predicted_BMV[counts_BM], **CLOSE)
    everything = network.decode_all(same, other_decoded)
    num_visible = visible.index_BK.shape[1]
    torch.testing.assert_close(everything[:, num_visible:][:, back_M][counts_BM], predicted_BMV[counts_BM], **CLOSE)


@torch.no_grad()
def test_without_a_filter_the_order_in_which_patches_are_listed_does_not_matter(make_network, make_windows):
    network = make_network()
    windows = make_windows(network)
    visible = Places.of(network.present(windows.valid_BPT) & ~windows.hidden_BN)
    encoding = network.encode(windows.signal_BPT, visible=visible)
    shuffled, back_K = listed_otherwise(visible)
    other = network.encode(windows.signal_BPT, visible=shuffled)
    torch.testing.assert_close(other.cls_BD, encoding.cls_BD, **CLOSE)
    torch.testing.assert_close(other.tokens_BKD[:, back_K], encoding.tokens_BKD, **CLOSE)


@torch.no_grad()
def test_with_a_filter_a_hidden_patch_stands_between_its_neighbours_in_the_decoder(make_network):
    """Block by block by hand: CLS, then all patches in raster order."""
    network = make_network(3, **VARIANTS["as the published 13M"])
    signal_BPT = torch.randn(1, 3, 20, generator=torch.Generator().manual_seed(0))
    hidden_BN = torch.zeros(1, 12, dtype=torch.bool)
    hidden_BN[:, [2, 3, 7, 11]] = True
    encoding = network.encode(signal_BPT, visible=Places.of(~hidden_BN))
    positions_ND = network.decoder_positions()
    seen = iter(network.to_decoder(encoding.tokens_BKD[0]))
    raster = [network.mask_D if hidden else next(seen) for hidden in hidden_BN[0]]
    sequence_BSD = torch.cat((network.to_decoder(encoding.cls_BD), torch.stack(raster) + positions_ND))[None]
    expected_BNV = network.head(network.decoder(sequence_BSD))[:, 1:]
    found_BMV = network.decode(encoding, Places.of(hidden_BN), None)
    torch.testing.assert_close(found_BMV[0], expected_BNV[0, hidden_BN[0]], **CLOSE)


@torch.no_grad()
def test_all_patches_of_an_image_are_seen_but_only_those_with_data_are_hidden(make_network, make_windows):
    network = make_network(**IMAGE)
    windows = make_windows(network)
    assert network.seen(windows.valid_BPT).all()
    present_BN = network.present(windows.valid_BPT)
    # 11 of 24 rows of pixels, in the middle, lie in 4 of 6 rows of patches; 20 of 24 columns in all 6 of them.
    whole = network.present(torch.ones_like(windows.valid_BPT))
    assert whole.unflatten(1, (6, 6)).any(dim=2)[0].tolist() == [False, True, True, True, True, False]
    assert whole.unflatten(1, (6, 6))[:, 1:5].all()
    assert (present_BN.sum(dim=1) < whole.sum(dim=1)).any()
    for mask in (Mask("random", 0.9), Mask("parcel", 0.8), Mask("future", 2)):
        hidden_BN = hide((mask,), torch.arange(4), network.present_grid(windows.valid_BPT)).flatten(1)
        assert hidden_BN.any(dim=1).all()
        assert not (hidden_BN & ~present_BN).any()
    hidden_BRC = hide((Mask("future", 1),), torch.arange(4), network.present_grid(torch.ones_like(windows.valid_BPT)))
    assert hidden_BRC.any(dim=1)[:, -1].all()
    assert not hidden_BRC[:, :, :-1].any()


@torch.no_grad()
def test_what_an_image_is_filled_with_matters(make_network, make_windows):
    network, other = make_network(**IMAGE), make_network(**IMAGE, image_fill=0.0)
    windows = make_windows(network, uneven=False)
    assert not torch.allclose(
        network.encode(windows.signal_BPT).cls_BD, other.encode(windows.signal_BPT).cls_BD, atol=1e-2
    )


# What a checkpoint written before there were images and filters holds; those on people's disks must still open.
PLAIN_KEYS = """
cls_D mask_D tokenizer.order_P embed.weight embed.bias
encoder_positions.space_RD encoder_positions.time_CD decoder_positions.space_RD decoder_positions.time_CD
encoder.blocks.0.attention_norm.weight encoder.blocks.0.attention_norm.bias
encoder.blocks.0.attention.qkv.weight encoder.blocks.0.attention.qkv.bias
encoder.blocks.0.attention.out.weight encoder.blocks.0.attention.out.bias
encoder.blocks.0.feed_forward_norm.weight encoder.blocks.0.feed_forward_norm.bias
encoder.blocks.0.feed_forward.expand.weight encoder.blocks.0.feed_forward.expand.bias
encoder.blocks.0.feed_forward.contract.weight encoder.blocks.0.feed_forward.contract.bias
encoder.norm.weight encoder.norm.bias to_decoder.weight to_decoder.bias
decoder.blocks.0.attention_norm.weight decoder.blocks.0.attention_norm.bias
decoder.blocks.0.attention.qkv.weight decoder.blocks.0.attention.qkv.bias
decoder.blocks.0.attention.out.weight decoder.blocks.0.attention.out.bias
decoder.blocks.0.feed_forward_norm.weight decoder.blocks.0.feed_forward_norm.bias
decoder.blocks.0.feed_forward.expand.weight decoder.blocks.0.feed_forward.expand.bias
decoder.blocks.0.feed_forward.contract.weight decoder.blocks.0.feed_forward.contract.bias
decoder.norm.weight decoder.norm.bias head.weight head.bias
"""


def test_a_plain_model_has_the_tensors_it_always_had(make_network):
    assert set(make_network(encoder_depth=1).state_dict()) == set(PLAIN_KEYS.split())
    by_coordinates = make_network(encoder_depth=1, spatial_positions="coordinates", temporal_positions="sinusoidal")
    changed = {
        f"{part}_positions.{name}"
        for part in ("encoder", "decoder")
        for name in ("space_RD", "time_CD", "project.weight", "project.bias", "coordinates_R3")
    }
    assert set(by_coordinates.state_dict()) ^ set(PLAIN_KEYS.split()) == changed
    gaussian = make_network(encoder_depth=1, head="space-time")
    extra = {"carry.weight", "carry.bias", "covariance_PP", "temporal_TT"}
    assert set(gaussian.state_dict()) - set(PLAIN_KEYS.split()) == extra
