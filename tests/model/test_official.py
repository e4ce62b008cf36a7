"""The published layouts in our network: the same algebra as the authors' code, key by key, nothing taken on trust.

Outputs of the authors' code are compared in ``tests/inference/test_parity.py``.
"""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from published_folder import FULL_SIZE, IMAGE, SEQUENCE, light_weights_of, sines, weights_of, write_published
from torch import nn
from torch.nn import functional as F

from brainlm.errors import CheckpointError
from brainlm.model.attention import AttentionWatch
from brainlm.model.autoencoder import MaskedAutoencoder, Places
from brainlm.model.checkpoint import read_network, write_network
from brainlm.model.official import OfficialFolder, read_official

LAYOUTS = pytest.mark.parametrize("settings", [SEQUENCE, IMAGE], ids=["brainlm_mae", "vit_mae"])
# As many parcels as the settings say; with an image they are sorted by y, here by anything.
NUM_PARCELS = {"brainlm_mae": 6, "vit_mae": 424}


def opened(folder: Path) -> OfficialFolder:
    official = read_official(folder)
    assert official is not None
    return official


def order_and_places(layout: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    number = NUM_PARCELS[layout]
    order = torch.arange(number) if layout == "brainlm_mae" else torch.randperm(number, generator=generator)
    return order, 40 * torch.randn(number, 3, generator=generator)


def network_of(folder: Path) -> MaskedAutoencoder:
    official = opened(folder)
    order, coordinates = order_and_places(official.layout)
    return official.network(order, coordinates=coordinates if official.needs_coordinates else None)


def refusal(folder: Path) -> str:
    """What is said when the folder is opened."""
    with pytest.raises(CheckpointError) as caught:
        network_of(folder)
    return str(caught.value)


@LAYOUTS
@pytest.mark.parametrize("as_safetensors", [False, True])
def test_a_published_folder_opens_ready_for_inference(tmp_path, settings, as_safetensors):
    folder = write_published(tmp_path / "x", settings, as_safetensors=as_safetensors)
    before = torch.random.get_rng_state()
    network = network_of(folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not network.training
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in network.parameters())
    assert all(not buffer.is_meta for buffer in network.buffers())
    network(torch.zeros(1, NUM_PARCELS[settings["model_type"]], network.config.num_timepoints).add(0.5),
            torch.ones(1, NUM_PARCELS[settings["model_type"]], network.config.num_timepoints, dtype=torch.bool),
            torch.arange(network.tokenizer.num_tokens)[None] == 1)  # fmt: skip


def test_the_13m_settings_become_ours(tmp_path):
    official = opened(write_published(tmp_path / "x", SEQUENCE))
    config = official.config
    assert (official.layout, official.num_parcels, official.mask_ratio) == ("brainlm_mae", 6, 0.75)
    assert (config.num_timepoints, config.timepoints_per_patch, config.parcels_per_patch) == (40, 10, 1)
    assert (config.encoder_width, config.encoder_depth, config.encoder_heads, config.encoder_mlp) == (16, 2, 4, 24)
    assert (config.decoder_width, config.decoder_depth, config.decoder_heads, config.decoder_mlp) == (16, 1, 2, 20)
    assert (config.spatial_positions, config.coordinate_unit_mm) == ("coordinates", 1.0)
    assert (config.temporal_positions, config.parcel_order) == ("sinusoidal", "atlas")
    assert (config.norm, config.norm_epsilon, config.value_convolution, config.head_layers) == ("after", 1e-12, 5, 2)
    assert (config.head, config.dropout, config.image_size) == ("plain", 0.0, 0)


def test_the_image_settings_become_ours(tmp_path):
    official = opened(write_published(tmp_path / "x", IMAGE))
    config = official.config
    assert (official.layout, official.num_parcels, official.mask_ratio) == ("vit_mae", 424, 0.75)
    assert (config.num_timepoints, config.timepoints_per_patch, config.parcels_per_patch) == (200, 16, 16)
    assert (config.image_size, config.image_fill) == (432, -1.0)
    assert (config.spatial_positions, config.temporal_positions, config.parcel_order) == ("grid", "grid", "y")
    assert (config.norm, config.norm_epsilon, config.value_convolution, config.head_layers) == ("before", 1e-12, 0, 1)
    (tmp_path / "x" / "config.json").write_text(json.dumps({**IMAGE, "image_size": 432}))
    assert opened(tmp_path / "x").config == config


@LAYOUTS
def test_settings_that_may_be_absent_have_the_published_values(tmp_path, settings):
    fewer = {
        name: value for name, value in settings.items() if name not in ("layer_norm_eps", "mask_ratio", "qkv_bias")
    }
    assert (
        opened(write_published(tmp_path / "a", fewer)).config
        == opened(write_published(tmp_path / "b", settings)).config
    )
    assert opened(tmp_path / "a").mask_ratio == 0.75


# ---- the same algebra


def dyadic(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Numbers whose sums of three are exact in float32, and divisible by three."""
    return 3 / 64 * torch.randint(-40, 41, shape, generator=generator).float()


@torch.no_grad()
@pytest.mark.parametrize(("image_size", "side"), [(432, 16), (434, 14)])
def test_three_equal_channels_are_folded_exactly_into_one(tmp_path, image_size, side):
    """The input as a convolution over the picture repeated three times; the output unpatchified and averaged."""
    settings = {**IMAGE, "image_size": [image_size, image_size], "patch_size": side}
    generator = torch.Generator().manual_seed(0)
    weights = weights_of(settings)
    for name in ("vit.embeddings.patch_embeddings.projection", "decoder.decoder_pred"):
        for kind in ("weight", "bias"):
            weights[f"{name}.{kind}"] = dyadic(tuple(weights[f"{name}.{kind}"].shape), generator)
    network = network_of(write_published(tmp_path / "x", settings, weights)).double()
    signal_BPT = torch.randn(2, 424, 200, dtype=torch.float64, generator=generator)

    above, before = (image_size - 424) // 2, (image_size - 200) // 2
    image = torch.full((2, image_size, image_size), -1.0, dtype=torch.float64)
    image[:, above : above + 424, before : before + 200] = signal_BPT[:, network.tokenizer.order_P]
    name = "vit.embeddings.patch_embeddings.projection"
    kernel, bias = weights[f"{name}.weight"].double(), weights[f"{name}.bias"].double()
    tokens_BDRC = F.conv2d(image[:, None].expand(-1, 3, -1, -1), kernel, bias, stride=side)
    found_BND = network.embed(network.tokenizer.patches(signal_BPT))
    torch.testing.assert_close(found_BND, tokens_BDRC.flatten(2).transpose(1, 2), atol=1e-12, rtol=1e-12)

    decoded_BND = torch.randn(2, network.tokenizer.num_tokens, 12, dtype=torch.float64, generator=generator)
    pixels_BNX = F.linear(
        decoded_BND, weights["decoder.decoder_pred.weight"].double(), weights["decoder.decoder_pred.bias"].double()
    )
    rows = image_size // side
    # (window, row, column, pixel row, pixel column, channel) -> (window, channel, height, width)
    pictures = pixels_BNX.reshape(2, rows, rows, side, side, 3).permute(0, 5, 1, 3, 2, 4)
    pictures = pictures.reshape(2, 3, image_size, image_size)
    expected_BPT = pictures[:, :, above : above + 424, before : before + 200].mean(dim=1)
    found_BPT = network.tokenizer.windows(network.head(decoded_BND))[:, network.tokenizer.order_P]
    torch.testing.assert_close(found_BPT, expected_BPT, atol=1e-12, rtol=1e-12)


def their_block(tokens_SD: torch.Tensor, weights: dict, layer: str, heads: int, epsilon: float) -> torch.Tensor:
    """One encoder layer of the 13M, written from its description (post-norm, filtered values), in double precision."""

    def linear(name: str, values: torch.Tensor) -> torch.Tensor:
        return values @ weights[f"{layer}.{name}.weight"].double().T + weights[f"{layer}.{name}.bias"].double()

    def norm(name: str, values: torch.Tensor) -> torch.Tensor:
        centred = values - values.mean(dim=1, keepdim=True)
        scaled = centred / (centred.square().mean(dim=1, keepdim=True) + epsilon).sqrt()
        return scaled * weights[f"{layer}.{name}.weight"].double() + weights[f"{layer}.{name}.bias"].double()

    query, key, value = (
        linear(f"attention.self.{name}", tokens_SD).unflatten(1, (heads, -1)) for name in ("query", "key", "value")
    )
    kernel = weights[f"{layer}.attention.self.conv.weight"].double()[:, 0, :, 0]
    mixed = torch.zeros_like(value)
    half = kernel.shape[1] // 2
    for head in range(heads):
        logits = query[:, head] @ key[:, head].T / query.shape[2] ** 0.5
        mixed[:, head] = logits.softmax(dim=1) @ value[:, head]
        for token in range(len(tokens_SD)):
            for place in range(kernel.shape[1]):
                if 0 <= token + place - half < len(tokens_SD):
                    mixed[token, head] += kernel[head, place] * value[token + place - half, head]
    tokens_SD = norm("attention.output.LayerNorm", linear("attention.output.dense", mixed.flatten(1)) + tokens_SD)
    hidden = F.gelu(linear("intermediate.dense", tokens_SD))
    return norm("output.LayerNorm", linear("output.dense", hidden) + tokens_SD)


@torch.no_grad()
def test_the_13m_encoder_is_what_its_description_says(tmp_path):
    weights = weights_of(SEQUENCE)
    network = network_of(write_published(tmp_path / "x", SEQUENCE, weights)).double()
    _, coordinates = order_and_places("brainlm_mae")
    signal_PT = torch.randn(6, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    name = "vit.embeddings"
    tokens = []
    for parcel in range(6):
        place = coordinates[parcel].double() @ weights[f"{name}.xyz_embedding_projection.weight"].double().T
        place = place + weights[f"{name}.xyz_embedding_projection.bias"].double()
        for column in range(4):
            values = signal_PT[parcel, 10 * column : 10 * (column + 1)]
            token = values @ weights[f"{name}.signal_embedding_projection.weight"].double().T
            token = token + weights[f"{name}.signal_embedding_projection.bias"].double()
            tokens.append(token + place + weights[f"{name}.pos_embedding.pe"][column].double())
    sequence_SD = torch.cat((weights[f"{name}.cls_token"][0].double(), torch.stack(tokens)))
    for number in range(2):
        sequence_SD = their_block(sequence_SD, weights, f"vit.encoder.layer.{number}", 4, 1e-12)
    norm = nn.LayerNorm(16, eps=1e-12).double()
    norm.load_state_dict({kind: weights[f"vit.layernorm.{kind}"].double() for kind in ("weight", "bias")})
    encoding = network.encode(signal_PT[None])
    torch.testing.assert_close(encoding.cls_BD[0], norm(sequence_SD)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoding.tokens_BKD[0], norm(sequence_SD)[1:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_attention_of_an_image_model_is_read_off_as_the_full_matrix_says(tmp_path):
    network = network_of(write_published(tmp_path / "x", IMAGE))
    signal_BPT = torch.randn(1, 424, 200, generator=torch.Generator().manual_seed(0))
    valid_BPT = torch.ones_like(signal_BPT, dtype=torch.bool)
    order = network.tokenizer.order_P
    valid_BPT[:, order[:40]] = False  # the first two rows of patches hold no data, the third some
    signal_BPT[~valid_BPT] = 0
    watch = AttentionWatch(network, valid_BPT, between=-1, rollout=True)
    seen = {}
    network.encode(signal_BPT, visible=watch.places, observers=watch.observers)
    network.encode(
        signal_BPT,
        observers={number: lambda query, key, number=number: seen.update({number: (query, key)}) for number in (0, 1)},
    )
    first_HSS, matrix_HSS = (
        ((seen[number][0] @ seen[number][1].transpose(2, 3))[0] / seen[number][0].shape[-1] ** 0.5).softmax(dim=2)
        for number in (0, 1)
    )
    # CLS attends to the padding as well.
    torch.testing.assert_close(watch.cls_BLHN[0], torch.stack((first_HSS, matrix_HSS))[:, :, 0, 1:])
    passed_S = 0.5 * matrix_HSS.mean(dim=0)[0] + 0.5 * torch.eye(730)[0]
    rolled_S = 0.5 * passed_S @ first_HSS.mean(dim=0) + 0.5 * passed_S
    torch.testing.assert_close(watch.rollout_BN[0], rolled_S[1:])
    among_NN = matrix_HSS.mean(dim=0)[1:, 1:].double()
    present_N = network.present(valid_BPT)[0]
    expected_RR = torch.zeros(27, 27, dtype=torch.float64)
    for asking in range(27):
        ask = [patch for patch in range(27 * asking, 27 * asking + 27) if present_N[patch]]
        for asked in range(27):
            told = [patch for patch in range(27 * asked, 27 * asked + 27) if present_N[patch]]
            if ask and told:
                expected_RR[asking, asked] = among_NN[ask][:, told].sum() / len(ask)
    torch.testing.assert_close(watch.rows_BRR[0].double(), expected_RR, atol=1e-6, rtol=1e-4)
    assert not expected_RR[:2].any()
    sums = watch.rows_BRR[0].sum(dim=1)
    assert (sums <= 1).all()
    assert (sums[2:] > 0.2).all()
    assert torch.equal(watch.places.index_BK[0], torch.arange(729))
    assert watch.pairs_BGRR.shape == (1, 25, 27, 27)  # 13 columns of patches lie in the window
    in_grid = among_NN.view(27, 27, 27, 27)[:, 7:20][:, :, :, 7:20]
    for lag in (-12, -5, 0, 3):
        pairs = [in_grid[3:, time, 3:, time + lag] for time in range(13) if 0 <= time + lag < 13]
        torch.testing.assert_close(
            watch.between_BGRR[0, lag + 12, 3:, 3:].double(), torch.stack(pairs).mean(dim=0), atol=1e-7, rtol=1e-4
        )


# ---- key by key


@LAYOUTS
def test_every_parameter_comes_from_the_file(tmp_path, settings, monkeypatch):
    folder = write_published(tmp_path / "x", settings)
    expected = network_of(folder).state_dict()

    def poisoned(*arguments, **options) -> MaskedAutoencoder:
        network = MaskedAutoencoder(*arguments, **options)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(torch.nan)
        return network

    monkeypatch.setattr("brainlm.model.official.unfilled_network", poisoned)
    found = network_of(folder).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.isfinite().all(), name
        assert torch.equal(tensor, expected[name])
    other = network_of(write_published(tmp_path / "y", settings, weights_of(settings, seed=1))).state_dict()
    kept = {"tokenizer.order_P", "encoder_positions.coordinates_R3", "decoder_positions.coordinates_R3"}
    assert {name for name, tensor in other.items() if torch.equal(tensor, expected[name])} == kept & found.keys()


@LAYOUTS
def test_every_weight_of_the_file_matters(tmp_path, settings):
    """A tensor that was read but put nowhere would leave the prediction as it is."""
    weights = weights_of(settings)
    num_parcels = NUM_PARCELS[settings["model_type"]]
    signal_BPT = None
    never_used = {"decoder.decoder_pred.weight", "decoder.decoder_pred.bias"} if num_parcels == 6 else set()
    generator = torch.Generator().manual_seed(5)

    @torch.no_grad()
    def outputs() -> torch.Tensor:
        nonlocal signal_BPT
        network = network_of(write_published(tmp_path / "x", settings, weights))
        if signal_BPT is None:
            signal_BPT = torch.randn(1, num_parcels, network.config.num_timepoints, generator=generator)
        hidden_BN = torch.zeros(1, network.tokenizer.num_tokens, dtype=torch.bool)
        hidden_BN[:, 1::2] = True
        encoding = network.encode(signal_BPT, visible=Places.of(~hidden_BN))
        return network.decode_all(encoding, Places.of(hidden_BN))

    before = outputs()
    without = set()
    for name, tensor in weights.items():
        if name.endswith(".pe") or name == "decoder.decoder_pos_embed":
            continue
        weights[name] = tensor + 0.5 * torch.randn(tensor.shape, generator=generator)
        if torch.equal(outputs(), before):
            without.add(name)
        weights[name] = tensor
    # A constant added to all keys changes no softmax.
    without = {name for name in without if not name.endswith("key.bias")}
    assert without == never_used


@LAYOUTS
def test_a_missing_key_is_named(tmp_path, settings):
    weights = weights_of(settings)
    never_used = {"decoder.decoder_pred.weight", "decoder.decoder_pred.bias"} if "conv_kernel_size" in settings else ()
    for name in weights:
        rest = {other: tensor for other, tensor in weights.items() if other != name}
        folder = write_published(tmp_path / "x", settings, rest)
        if name in never_used:
            continue
        said = refusal(folder)
        assert f"do not fit its config.json: {name}\n" in said
        assert f"expected: shape {tuple(weights[name].shape)}" in said or name.endswith(".pe")
        assert "found:    missing" in said
        assert "nothing was loaded" in said


@LAYOUTS
def test_a_key_of_another_shape_is_named_with_both_shapes(tmp_path, settings):
    weights = weights_of(settings)
    for number, (name, tensor) in enumerate(weights.items()):
        wrong = (tensor[..., :-1].clone(), tensor[None].clone(), torch.tensor(1.0))[number % 3]
        said = refusal(write_published(tmp_path / "x", settings, weights | {name: wrong}))
        if name.startswith("decoder.decoder_pred.") and "conv_kernel_size" in settings:
            assert ": decoder.decoder_pred." in said  # never used: weight and bias need only fit each other
            continue
        assert f": {name}\n" in said
        assert f"shape {tuple(wrong.shape)}\n" in said


@LAYOUTS
@pytest.mark.parametrize(
    "name",
    ["vit.pooler.dense.weight", "vit.encoder.layer.2.attention.output.dense.bias", "module.vit.layernorm.weight"],
)
def test_an_unknown_key_is_named(tmp_path, settings, name):
    said = refusal(write_published(tmp_path / "x", settings, weights_of(settings) | {name: torch.zeros(3)}))
    assert f": {name}\n" in said
    assert "no such tensor" in said


@LAYOUTS
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_weight_that_is_no_number_is_named(tmp_path, settings, bad):
    weights = weights_of(settings)
    weights["decoder.decoder_embed.weight"][3, 2] = bad
    said = refusal(write_published(tmp_path / "x", settings, weights))
    assert ": decoder.decoder_embed.weight\n" in said
    assert "NaN or infinity" in said


@LAYOUTS
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.to(torch.int32),
        lambda t: t.to(torch.complex64),
        lambda t: t > 0,
        lambda t: t.to_sparse(),
        lambda t: t.to("meta"),
    ],
    ids=["whole numbers", "complex", "flags", "sparse", "without values"],
)
def test_a_weight_of_another_kind_is_named(tmp_path, settings, change):
    weights = weights_of(settings)
    weights["vit.layernorm.weight"] = change(weights["vit.layernorm.weight"])
    said = refusal(write_published(tmp_path / "x", settings, weights))
    assert ": vit.layernorm.weight\n" in said
    assert "floating-point numbers" in said


@LAYOUTS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_another_precision_become_single_precision(tmp_path, settings, dtype):
    weights = {
        name: tensor if name.endswith(".pe") else tensor.to(dtype) for name, tensor in weights_of(settings).items()
    }
    found = network_of(write_published(tmp_path / "x", settings, weights))
    same = {name: tensor.float() for name, tensor in weights.items()}
    expected = network_of(write_published(tmp_path / "y", settings, same)).state_dict()
    assert all(parameter.dtype == torch.float32 for parameter in found.parameters())
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())


def test_a_position_of_cls_in_the_decoder_is_refused(tmp_path):
    weights = weights_of(IMAGE)
    weights["decoder.decoder_pos_embed"][0, 0, 5] = 1e-3
    said = refusal(write_published(tmp_path / "x", IMAGE, weights))
    assert "decoder.decoder_pos_embed" in said
    assert "zeros in its first row" in said


def test_a_position_of_cls_in_the_encoder_is_added_to_it(tmp_path):
    weights = weights_of(IMAGE)
    network = network_of(write_published(tmp_path / "x", IMAGE, weights))
    expected = weights["vit.embeddings.cls_token"][0, 0] + weights["vit.embeddings.position_embeddings"][0, 0]
    assert torch.equal(network.cls_D, expected)
    assert torch.equal(network.encoder_positions(), weights["vit.embeddings.position_embeddings"][0, 1:])


@pytest.mark.parametrize("part", ["vit.embeddings", "decoder"])
@pytest.mark.parametrize(("row", "change"), [(0, 1e-4), (3, 1e-4), (4999, 0.1)])
def test_other_sines_than_the_formulas_are_refused(tmp_path, part, row, change):
    weights = weights_of(SEQUENCE)
    weights[f"{part}.pos_embedding.pe"][row, 7] += change
    said = refusal(write_published(tmp_path / "x", SEQUENCE, weights))
    assert f"{part}.pos_embedding.pe" in said
    assert "sines and cosines" in said


def test_sines_that_another_machine_rounded_otherwise_are_accepted(tmp_path):
    """In float32 an exponential rounded the other way shows 4e-4 at the table's end, and nothing where it is used."""
    wide = {**SEQUENCE, "hidden_size": 512, "decoder_hidden_size": 512}
    weights = weights_of(wide)
    rates = torch.exp(torch.arange(0, 512, 2) * (-torch.tensor(10_000.0).log() / 512))
    rates = torch.nextafter(rates, torch.ones(()))
    angles = torch.arange(5000)[:, None] * rates
    for part in ("vit.embeddings", "decoder"):
        weights[f"{part}.pos_embedding.pe"] = torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
    assert (weights["decoder.pos_embedding.pe"] - sines(5000, 512)).abs().max() > 1e-4
    network_of(write_published(tmp_path / "x", wide, weights))


def test_a_table_of_fewer_sines_is_enough_if_it_covers_the_window(tmp_path):
    weights = weights_of(SEQUENCE)
    for part in ("vit.embeddings", "decoder"):
        weights[f"{part}.pos_embedding.pe"] = sines(4, 16)
    network_of(write_published(tmp_path / "x", SEQUENCE, weights))
    weights["decoder.pos_embedding.pe"] = sines(3, 16)
    assert "shape (4, 16)" in refusal(write_published(tmp_path / "x", SEQUENCE, weights))


def test_what_the_13m_never_uses_may_be_absent(tmp_path):
    weights = weights_of(SEQUENCE)
    expected = network_of(write_published(tmp_path / "x", SEQUENCE, weights)).state_dict()
    for kind in ("weight", "bias"):
        del weights[f"decoder.decoder_pred.{kind}"]
    found = network_of(write_published(tmp_path / "y", SEQUENCE, weights)).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


# ---- settings against weights


# What each setting is changed to, and the tensor that is found not to fit. The heads of an image model are the one
# thing that its weights do not show: 4 or 8 heads of 16 have the same tensors.
CONTRADICTIONS = [
    (SEQUENCE, {"hidden_size": 32, "decoder_hidden_size": 32}, "vit.embeddings.cls_token"),
    (SEQUENCE, {"num_hidden_layers": 3}, "vit.encoder.layer.2.attention.self.query.weight"),
    (SEQUENCE, {"num_hidden_layers": 1}, "vit.encoder.layer.1.attention.output.LayerNorm.bias"),
    (SEQUENCE, {"num_hidden_layers": 10**9}, "vit.encoder.layer.2.attention.self.query.weight"),
    (SEQUENCE, {"num_attention_heads": 2}, "vit.encoder.layer.0.attention.self.conv.weight"),
    (SEQUENCE, {"decoder_num_attention_heads": 4}, "decoder.decoder_layers.0.attention.self.conv.weight"),
    (SEQUENCE, {"intermediate_size": 12}, "vit.encoder.layer.0.intermediate.dense.weight"),
    (SEQUENCE, {"decoder_intermediate_size": 16}, "decoder.decoder_layers.0.intermediate.dense.weight"),
    (SEQUENCE, {"decoder_num_hidden_layers": 2}, "decoder.decoder_layers.1.attention.self.query.weight"),
    (SEQUENCE, {"conv_kernel_size": 7}, "vit.encoder.layer.0.attention.self.conv.weight"),
    (SEQUENCE, {"timepoint_patching_size": 20}, "vit.embeddings.signal_embedding_projection.weight"),
    (IMAGE, {"hidden_size": 32}, "vit.embeddings.position_embeddings"),
    (IMAGE, {"hidden_size": 2**40}, "vit.embeddings.position_embeddings"),
    (IMAGE, {"decoder_hidden_size": 16}, "decoder.decoder_pos_embed"),
    (IMAGE, {"num_hidden_layers": 1}, "vit.encoder.layer.1.attention.attention.key.bias"),
    (IMAGE, {"num_hidden_layers": 3}, "vit.encoder.layer.2.attention.attention.query.weight"),
    (IMAGE, {"decoder_intermediate_size": 21}, "decoder.decoder_layers.0.intermediate.dense.weight"),
    (IMAGE, {"image_size": [448, 448]}, "vit.embeddings.position_embeddings"),
    (IMAGE, {"image_size": 16 * 10**9}, "vit.embeddings.position_embeddings"),
    (IMAGE, {"patch_size": 8}, "vit.embeddings.position_embeddings"),
]


@pytest.mark.parametrize(("settings", "change", "name"), CONTRADICTIONS, ids=lambda value: str(value)[-60:])
def test_settings_that_contradict_the_weights_are_refused_with_the_tensor(tmp_path, settings, change, name):
    said = refusal(write_published(tmp_path / "x", {**settings, **change}, weights_of(settings)))
    assert f"do not fit its config.json: {name}\n" in said


def test_the_number_of_heads_of_an_image_model_cannot_be_seen_from_its_weights(tmp_path):
    """A limit, not a feature: these tensors fit both settings, and give another model."""
    weights = weights_of(IMAGE)
    four = network_of(write_published(tmp_path / "x", IMAGE, weights))
    eight = network_of(write_published(tmp_path / "y", {**IMAGE, "num_attention_heads": 8}, weights))
    signal_BPT = torch.randn(1, 424, 200, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.allclose(four.encode(signal_BPT).cls_BD, eight.encode(signal_BPT).cls_BD, atol=1e-3)


@pytest.mark.parametrize(("settings", "other"), [(SEQUENCE, IMAGE), (IMAGE, SEQUENCE)], ids=["13M", "image"])
def test_weights_of_the_other_family_are_refused(tmp_path, settings, other):
    said = refusal(write_published(tmp_path / "x", settings, weights_of(other)))
    assert "do not fit its config.json: " in said
    assert "keep the two files of one published checkpoint together; nothing was loaded" in said


@pytest.mark.parametrize("layout", ["old_13M", "vitmae_111M", "vitmae_650M"])
@pytest.mark.parametrize("other", ["old_13M", "vitmae_111M", "vitmae_650M"])
def test_weights_of_another_size_are_refused(tmp_path, layout, other):
    if layout == other:
        return
    folder = write_published(tmp_path / "x", FULL_SIZE[layout], light_weights_of(FULL_SIZE[other]))
    with pytest.raises(CheckpointError, match="do not fit its config"):
        opened(folder).network(torch.arange(424), coordinates=torch.zeros(424, 3))


WRONG_SETTINGS = [
    (SEQUENCE, "num_landmarks", 32, "num_landmarks differs from segment_means_seq_len"),
    (SEQUENCE, "segment_means_seq_len", 128, "num_landmarks differs from segment_means_seq_len"),
    (SEQUENCE, "use_tanh_decoder", True, "use_tanh_decoder is True"),
    (SEQUENCE, "loss_fn", "mae", "loss_fn is 'mae'"),
    (SEQUENCE, "decoder_hidden_size", 32, "decoder_hidden_size differs"),
    (SEQUENCE, "num_brain_voxels", 0, "num_brain_voxels is 0"),
    (SEQUENCE, "conv_kernel_size", 4, "odd value_convolution"),
    (SEQUENCE, "timepoint_patching_size", 7, "not a whole number of patches"),
    (IMAGE, "num_channels", 1, "num_channels is 1"),
    (IMAGE, "train_mode", "sideways", "train_mode is 'sideways'"),
    (IMAGE, "image_size", [432, 434], r"image_size is \[432, 434\]"),
    (IMAGE, "image_size", [432], r"image_size is \[432\]"),
    (IMAGE, "image_size", 224, "image_size is 224"),
    (IMAGE, "image_size", "432", "image_size is '432'"),
    (IMAGE, "image_size", None, "image_size is missing"),
    (IMAGE, "image_size", [432.0, 432.0], r"image_size is \[432.0, 432.0\]"),
    (IMAGE, "image_size", {"height": 432}, "image_size is {'height': 432}"),
    (IMAGE, "image_size", 430, "not a whole number of patches"),
    (IMAGE, "patch_size", [16, 16], r"patch_size is \[16, 16\]"),
    *(
        (settings, name, value, shown)
        for settings in (SEQUENCE, IMAGE)
        for name, value, shown in (
            ("hidden_size", "512", "hidden_size is '512'"),
            ("hidden_size", None, "hidden_size is missing"),
            ("hidden_size", True, "hidden_size is True"),
            ("hidden_size", 16.0, "hidden_size is 16.0"),
            ("hidden_size", [16], r"hidden_size is \[16\]"),
            ("hidden_size", {"a": 1}, "hidden_size is {'a': 1}"),
            ("hidden_size", -16, "hidden_size is -16"),
            ("hidden_size", "x" * 500, r"hidden_size is 'x{50,60}\.\.\."),
            ("num_hidden_layers", 0, "num_hidden_layers is 0"),
            ("num_attention_heads", 3, "does not fit its heads"),
            ("hidden_act", "relu", "hidden_act is 'relu'"),
            ("hidden_act", ["gelu"], r"hidden_act is \['gelu'\]"),
            ("qkv_bias", False, "qkv_bias is False"),
            ("qkv_bias", None, "qkv_bias is missing"),
            ("norm_pix_loss", True, "norm_pix_loss is True"),
            ("layer_norm_eps", "tiny", "layer_norm_eps is 'tiny'"),
            ("layer_norm_eps", None, "layer_norm_eps is missing"),
            ("layer_norm_eps", 0.0, "layer_norm_eps is 0"),
            ("layer_norm_eps", float("nan"), "layer_norm_eps is nan"),
            ("mask_ratio", "0.75", "mask_ratio is '0.75'"),
            ("mask_ratio", None, "mask_ratio is missing"),
            ("mask_ratio", 75, "mask_ratio is 75"),
            ("mask_ratio", [0.5], r"mask_ratio is \[0.5\]"),
        )
    ),
]


@pytest.mark.parametrize(("settings", "name", "value", "shown"), WRONG_SETTINGS, ids=lambda value: str(value)[:40])
def test_settings_that_no_published_checkpoint_has_are_refused_and_named(tmp_path, settings, name, value, shown):
    (tmp_path / "config.json").write_text(json.dumps({**settings, name: value}))
    with pytest.raises(CheckpointError, match=shown) as caught:
        read_official(tmp_path)
    assert f"{tmp_path / 'config.json'} has settings that no published" in str(caught.value)
    assert "old_13M, vitmae_111M, vitmae_650M" in str(caught.value)


@LAYOUTS
def test_every_size_must_be_there(tmp_path, settings):
    sizes = [name for name, value in settings.items() if type(value) is int and name != "num_channels"]
    assert len(sizes) >= 9
    for name in sizes:
        (tmp_path / "config.json").write_text(json.dumps({key: v for key, v in settings.items() if key != name}))
        with pytest.raises(CheckpointError, match=f"{name} is missing"):
            read_official(tmp_path)


@pytest.mark.parametrize("mode", ["auto_encode", "predict_last", "predict_last_pixel"])
def test_all_published_ways_of_training_are_known(tmp_path, mode):
    assert opened(write_published(tmp_path / "x", {**IMAGE, "train_mode": mode})).layout == "vit_mae"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"vit_mae"', "{}", '{"model_type": "bert"}', '{"model_type": null}', '{"model_type": []}',
     '{"model_type": {}}', '{"model_type": "brainlm"}', '{"model_type": true}'],
)  # fmt: skip
def test_what_is_not_of_their_kind_is_left_to_others(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert read_official(tmp_path) is None


def test_a_folder_without_settings_is_left_to_others(tmp_path):
    assert read_official(tmp_path) is None
    assert read_official(tmp_path / "nowhere") is None
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    assert read_official(tmp_path) is None


# ---- files that are bad, or worse


class Touch:
    """When this is unpickled without care, a file appears."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@LAYOUTS
@pytest.mark.parametrize("way", ["zip", "legacy", "pickle 2", "pickle 4", "among weights"])
def test_a_pickle_that_would_run_something_is_refused_and_does_not_run(tmp_path, settings, way):
    folder = write_published(tmp_path / "x", settings)
    touched = tmp_path / "touched"
    content = {"vit.layernorm.weight": Touch(touched)}
    path = folder / "pytorch_model.bin"
    if way == "among weights":
        torch.save(weights_of(settings) | {"vit.layernorm.weight": Touch(touched)}, path)
    elif way.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(way[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "zip")
    said = refusal(folder)
    assert not touched.exists()
    assert str(path) in said
    if way != "pickle 4":  # which torch does not write, and does not read far enough to see the call
        assert "could run any program on this computer" in said
        assert "system" in said
        assert "nothing was run" in said
    with pytest.raises(CheckpointError):
        read_network(folder)  # nor by the other door
    assert not touched.exists()
    if way in ("zip", "legacy"):  # opened carelessly it would have run: the test would have seen it
        torch.load(path, weights_only=False)
        assert touched.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_file_is_damaged_whatever_is_left_of_it(tmp_path, legacy):
    folder = write_published(tmp_path / "x", SEQUENCE)
    path = folder / "pytorch_model.bin"
    small = {name: tensor[:1].clone() for name, tensor in weights_of(SEQUENCE).items()}
    torch.save(small, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for size in {0, 1, 2, 7, *range(0, len(whole), len(whole) // 60), len(whole) - 1}:
        path.write_bytes(whole[:size])
        said = refusal(folder)
        assert "is damaged, or no PyTorch file" in said
        assert f"{size} bytes" in said
        assert "download it again" in said


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 159\n",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"\x00" * 4096,
        b"PK\x03\x04" + b"\x00" * 100,
        bytes(range(256)) * 20,
    ],
    ids=["a pointer of git", "a web page", "zeros", "the beginning of a zip", "anything"],
)
def test_a_file_that_is_no_weights_at_all_is_told_as_damaged(tmp_path, content):
    folder = write_published(tmp_path / "x", SEQUENCE)
    (folder / "pytorch_model.bin").write_bytes(content)
    assert "is damaged, or no PyTorch file" in refusal(folder)


def test_whatever_bytes_are_wrong_the_error_is_ours(tmp_path):
    """Either it opens (a changed number), or it is refused in words; never a traceback from somewhere inside."""
    folder = write_published(tmp_path / "x", SEQUENCE)
    path = folder / "pytorch_model.bin"
    generator = torch.Generator().manual_seed(0)
    small = {name: tensor[:1].clone() for name, tensor in weights_of(SEQUENCE).items()}
    for legacy in (False, True):
        torch.save(small, path, _use_new_zipfile_serialization=not legacy)
        whole = path.read_bytes()
        for _ in range(60):
            broken = bytearray(whole)
            for place in torch.randint(0, min(len(whole), 3000), (3,), generator=generator).tolist():
                broken[place] = int(torch.randint(0, 256, (), generator=generator))
            path.write_bytes(bytes(broken))
            refusal(folder)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([torch.zeros(3)], "list"),
        (torch.zeros(3), "Tensor"),
        (None, "NoneType"),
        ({"state_dict": {"a": torch.zeros(3)}}, "'state_dict': dict"),
        ({"a": torch.zeros(3), "epoch": 7}, "'epoch': int"),
        ({"a": [1.0, 2.0]}, "'a': list"),
        ({1: torch.zeros(3), "b": torch.zeros(3)}, "'1': Tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pickle_of_something_else_is_told_by_what_it_holds(tmp_path, content, found):
    folder = write_published(tmp_path / "x", SEQUENCE)
    torch.save(content, folder / "pytorch_model.bin")
    said = refusal(folder)
    assert "is not a dictionary of tensors" in said
    assert f"found:    {found}\n" in said


def test_an_empty_dictionary_lacks_the_first_key(tmp_path):
    assert "missing" in refusal(write_published(tmp_path / "x", SEQUENCE, {}))


def test_weights_saved_by_a_module_of_torch_open(tmp_path):
    """``state_dict`` gives an ordered dictionary with a record of versions, and parameters where asked to."""
    weights = weights_of(SEQUENCE)
    expected = network_of(write_published(tmp_path / "x", SEQUENCE, weights)).state_dict()

    module = nn.Module()
    for name, tensor in weights.items():
        inner = module
        *path, last = name.split(".")
        for part in path:
            if not hasattr(inner, part):
                inner.add_module(part, nn.Module())
            inner = getattr(inner, part)
        inner.register_parameter(last, nn.Parameter(tensor))
    for number, state in enumerate((module.state_dict(), dict(module.named_parameters()))):
        torch.save(state, tmp_path / "x" / "pytorch_model.bin", _use_new_zipfile_serialization=bool(number))
        found = network_of(tmp_path / "x").state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_no_weights_is_an_error_that_says_what_is_there(tmp_path):
    folder = write_published(tmp_path / "x", SEQUENCE)
    (folder / "pytorch_model.bin").unlink()
    (folder / "README.md").write_text("hello")
    said = refusal(folder)
    assert "no weights in" in said
    assert "pytorch_model.bin or model.safetensors" in said
    assert "README.md, config.json" in said
    (folder / "pytorch_model.bin").mkdir()
    assert "no weights in" in refusal(folder)


@LAYOUTS
def test_safetensors_are_preferred_to_a_pickle(tmp_path, settings):
    folder = write_published(tmp_path / "x", settings, weights_of(settings, seed=1), as_safetensors=True)
    expected = network_of(folder).state_dict()
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network_of(folder).state_dict().items())


@pytest.mark.parametrize("size", [0, 5, 8, 100, -1])
def test_damaged_safetensors_are_refused_even_beside_a_whole_pickle(tmp_path, size):
    folder = write_published(tmp_path / "x", SEQUENCE, as_safetensors=True)
    write_published(folder, SEQUENCE)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert f"{path} is damaged" in refusal(folder)


def test_the_network_does_not_change_when_its_file_does(tmp_path):
    folder = write_published(tmp_path / "x", SEQUENCE, as_safetensors=True)
    network = network_of(folder)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    size = (folder / "model.safetensors").stat().st_size
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"\x00" * size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


# ---- full size


def counted(settings: dict) -> int:
    """The parameters of our network, worked out from the sizes alone."""
    width, depth, mlp = settings["hidden_size"], settings["num_hidden_layers"], settings["intermediate_size"]
    decoder, decoder_depth = settings["decoder_hidden_size"], settings["decoder_num_hidden_layers"]
    decoder_mlp = settings["decoder_intermediate_size"]

    def block(d: int, m: int) -> int:
        return 4 * (d * d + d) + 2 * 2 * d + (d * m + m) + (m * d + d)

    total = depth * block(width, mlp) + decoder_depth * block(decoder, decoder_mlp)
    total += 2 * width + 2 * decoder  # last norms
    total += width + decoder  # CLS and mask
    total += width * decoder + decoder  # between them
    if settings["model_type"] == "vit_mae":  # one channel instead of three; positions are not trained
        values = settings["patch_size"] ** 2
        return total + (values * width + width) + (values * decoder + decoder * 0 + values)
    step, taps = settings["timepoint_patching_size"], settings["conv_kernel_size"]
    total += depth * settings["num_attention_heads"] * taps
    total += decoder_depth * settings["decoder_num_attention_heads"] * taps
    total += (3 * width + width) + (3 * decoder + decoder)  # coordinates
    half = decoder // 2
    return total + (step * width + width) + (decoder * half + half) + (half * step + step)


@LAYOUTS
def test_the_parameters_are_those_of_the_sizes(tmp_path, settings):
    assert network_of(write_published(tmp_path / "x", settings)).num_parameters == counted(settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "parameters"), [("old_13M", 13_035_308), ("vitmae_111M", 110_999_808), ("vitmae_650M", 655_911_108)]
)
def test_the_published_sizes_are_converted(tmp_path, layout, parameters, monkeypatch):
    settings = FULL_SIZE[layout]
    assert counted(settings) == parameters
    folder = write_published(tmp_path / layout, settings, light_weights_of(settings))
    assert (folder / "pytorch_model.bin").stat().st_size < 30e6
    drawn = []
    monkeypatch.setattr(torch.Tensor, "erfinv_", lambda tensor: drawn.append(tensor.is_meta) or tensor)
    network = opened(folder).network(torch.arange(424), coordinates=torch.ones(424, 3))
    assert network.num_parameters == parameters
    write_network(tmp_path / "ours", network)
    del network  # 2.6 GB of the largest
    assert read_network(tmp_path / "ours").num_parameters == parameters
    assert all(drawn)  # nothing is drawn at random that the file replaces
    shutil.rmtree(tmp_path / "ours")  # 2.6 GB that pytest would keep for a while
