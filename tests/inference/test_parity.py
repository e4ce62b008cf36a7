"""What the authors' code computed with small random weights in the three published layouts, and what we compute."""

import contextlib
import io
import math

import numpy as np
import pytest
import torch
from published_folder import IMAGE, SEQUENCE, weights_of, write_published

from brainlm.data.parcels import Parcels
from brainlm.data.synthetic import synthetic_population
from brainlm.errors import CheckpointError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.parity import QUANTITIES, TOLERANCE, Difference, check_inputs, differences, read_expected
from brainlm.inference.released import parcels_of, released_checkpoint
from brainlm.model.autoencoder import MaskedAutoencoder, Places
from brainlm.model.official import read_official

FIXTURES = ("old_13M_tiny", "vitmae_111M_tiny", "vitmae_650M_tiny")
EACH = pytest.mark.parametrize("name", FIXTURES)


@pytest.fixture
def fixtures(shared, monkeypatch):
    """Where the authors' outputs are; the atlas that two of them need is there, too."""
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(shared / "atlas"))
    return shared / "fixtures" / "official"


@pytest.fixture
def open_fixture(fixtures):
    """``open_fixture(name)``: the network, and what it should compute."""

    def open_one(name: str) -> tuple[MaskedAutoencoder, dict[str, torch.Tensor], float]:
        official = read_official(fixtures / name)
        expected = read_expected(fixtures / name / "expected.npz")
        network = released_checkpoint(official, parcels=parcels_of(official, expected)).network
        return network, expected, official.mask_ratio

    return open_one


@EACH
def test_we_compute_what_the_authors_code_computes(open_fixture, name):
    network, expected, mask_ratio = open_fixture(name)
    found = {one.quantity: one for one in differences(network, expected, mask_ratio)}
    wanted = [quantity for quantity in QUANTITIES if quantity in expected]
    assert list(found) == wanted
    assert {"prediction", "mask", "loss", "embed_no_mask", "cls_attention_last"} <= set(wanted)
    assert found["mask"].largest == 0
    for one in found.values():
        assert one.is_same
        assert one.largest < 1e-5  # ten times better than asked for


@EACH
def test_attention_agrees_far_below_its_own_variation(open_fixture, name):
    """Untrained attention is nearly uniform: 1e-4 alone would let a wrong one pass."""
    network, expected, mask_ratio = open_fixture(name)
    theirs = expected["cls_attention_last"]
    spread = float((theirs - theirs.mean(dim=2, keepdim=True)).std())
    assert spread < 10 * TOLERANCE
    (found,) = (one for one in differences(network, expected, mask_ratio) if one.quantity == "cls_attention_last")
    assert found.largest < 0.01 * spread


@EACH
@torch.no_grad()
def test_a_changed_weight_shows(open_fixture, name):
    network, expected, mask_ratio = open_fixture(name)
    assert isinstance(network.embed, torch.nn.Linear)
    network.embed.weight[3, 5] += 1e-2
    found = {one.quantity: one for one in differences(network, expected, mask_ratio)}
    assert not found["prediction"].is_same or not found["embed_no_mask"].is_same
    assert found["mask"].is_same


@EACH
@torch.no_grad()
def test_a_network_without_numbers_is_not_the_same(open_fixture, name):
    network, expected, mask_ratio = open_fixture(name)
    network.cls_D[0] = torch.nan
    found = {one.quantity: one for one in differences(network, expected, mask_ratio)}
    assert not found["embed_no_mask"].is_same
    assert not found["loss"].is_same


@EACH
def test_the_masked_tokens_are_those_that_the_noise_says(open_fixture, name):
    """With another noise the mask and all that depends on it differ; what is not masked does not."""
    network, expected, mask_ratio = open_fixture(name)
    other = expected | {"noise": expected["noise"].flip(1)}
    found = {one.quantity: one for one in differences(network, other, mask_ratio)}
    assert not any(found[quantity].is_same for quantity in ("prediction", "mask"))
    assert all(found[quantity].is_same for quantity in ("embed_no_mask", "cls_attention_last"))


@torch.no_grad()
def test_how_much_the_order_of_tokens_matters_to_the_13m(open_fixture):
    """Its blocks filter the values along the sequence, which the authors' code shuffles; nothing is masked here."""
    network, expected, _ = open_fixture("old_13M_tiny")
    signal_BPT = expected["signal"]
    everything = torch.ones(2, network.tokenizer.num_tokens, dtype=torch.bool)
    natural = network.encode(signal_BPT, visible=Places.of(everything))
    again = network.encode(signal_BPT, visible=Places.of(everything))
    assert torch.equal(natural.cls_BD, again.cls_BD)
    cls, mean, tokens, cosine = [], [], [], []
    for seed in range(20):
        order_BN = torch.rand(everything.shape, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
        shuffled = network.encode(signal_BPT, visible=Places(order_BN, None))
        cls.append((shuffled.cls_BD - natural.cls_BD).norm(dim=1) / natural.cls_BD.norm(dim=1))
        cosine.append(torch.cosine_similarity(shuffled.cls_BD, natural.cls_BD))
        mean_BD = natural.tokens_BKD.mean(dim=1)
        mean.append((shuffled.tokens_BKD.mean(dim=1) - mean_BD).norm(dim=1) / mean_BD.norm(dim=1))
        back_BN = order_BN.argsort(dim=1)[:, :, None].expand_as(natural.tokens_BKD)
        apart_BND = shuffled.tokens_BKD.gather(1, back_BN) - natural.tokens_BKD
        tokens.append(apart_BND.norm(dim=2).mean(dim=1) / natural.tokens_BKD.norm(dim=2).mean(dim=1))
    medians = [float(torch.stack(values).median()) for values in (cls, cosine, mean, tokens)]
    assert 0.5 < medians[0] < 1.5
    assert medians[1] < 0.8
    assert 0.001 < medians[2] < 0.05
    assert 0.02 < medians[3] < 0.2


@torch.no_grad()
def test_the_order_of_tokens_does_not_matter_to_the_image_models(open_fixture):
    network, expected, _ = open_fixture("vitmae_111M_tiny")
    signal_BPT = expected["signal"].index_select(1, network.tokenizer.position_P)
    order_BN = expected["noise"].argsort(dim=1)
    natural = network.encode(signal_BPT)
    shuffled = network.encode(signal_BPT, visible=Places(order_BN, None))
    torch.testing.assert_close(shuffled.cls_BD, natural.cls_BD, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_parcels_of_the_fixture_are_in_the_order_of_the_patches(open_fixture):
    """The authors' signal is sorted by y already; ours is sorted by the network. Forgetting either would show."""
    network, expected, mask_ratio = open_fixture("vitmae_111M_tiny")
    order = network.tokenizer.order_P
    assert not torch.equal(order, torch.arange(424))
    unsorted = expected | {"signal": expected["signal"].index_select(1, order)}
    found = {one.quantity: one for one in differences(network, unsorted, mask_ratio)}
    assert not found["prediction"].is_same


@EACH
def test_a_fixture_survives_our_folder(open_fixture, fixtures, name, tmp_path):
    _, expected, mask_ratio = open_fixture(name)
    model = BrainLM.from_pretrained(fixtures / name, parcels=parcels_of(read_official(fixtures / name), expected))
    model.save_pretrained(tmp_path / "ours")
    opened = BrainLM.from_pretrained(tmp_path / "ours")
    before, after = (differences(network, expected, mask_ratio) for network in (model.network, opened.network))
    assert [one.largest for one in before] == [one.largest for one in after]


# ---- on made-up networks: what is compared, and how files that do not fit are refused


@pytest.fixture
def small(tmp_path):
    """A network of the 13M's layout, and outputs that fit it."""
    parcels = synthetic_population(num_parcels=6, num_networks=2).parcels
    folder = write_published(tmp_path / "small", SEQUENCE)
    network = released_checkpoint(read_official(folder), parcels=parcels).network
    generator = torch.Generator().manual_seed(0)
    expected = {
        "signal": torch.randn(2, 6, 40, generator=generator),
        "noise": torch.rand(2, 24, generator=generator),
        "xyz": torch.from_numpy(parcels.coordinates),
        "embed_no_mask": torch.zeros(2, 25, 16),
    }
    return network, expected


@torch.no_grad()
def test_a_masked_prediction_is_the_networks_own(small):
    network, expected = small
    rank = expected["noise"].argsort(dim=1).argsort(dim=1)
    hidden_BN = rank >= 6  # of 24 tokens a quarter stays
    visible = Places(expected["noise"].argsort(dim=1)[:, :6], None)
    encoding = network.encode(expected["signal"], visible=visible)
    values_BMV = network.decode(encoding, Places.of(hidden_BN), None)
    patches_BNV = network.tokenizer.patches(expected["signal"])
    theirs = expected | {
        "prediction": patches_BNV,
        "latent": torch.cat((encoding.cls_BD[:, None], encoding.tokens_BKD), dim=1),
        "mask": hidden_BN.view(2, 6, 4).double(),
        "loss": (values_BMV - patches_BNV[hidden_BN].view(2, 18, 10)).square().mean(),
    }
    found = {one.quantity: one for one in differences(network, theirs, 0.75)}
    assert found["latent"].largest == 0
    assert found["mask"].largest == 0
    assert found["loss"].largest < 1e-6
    assert found["loss"].typical == pytest.approx(float(theirs["loss"]))
    assert found["prediction"].largest > 1e-2  # the signal itself is not what is predicted


def test_sameness_ends_at_the_tolerance():
    assert Difference("a", 1e-4, 1.0).is_same
    assert not Difference("a", 1.0001e-4, 1.0).is_same
    assert not Difference("a", math.nan, 1.0).is_same
    assert not Difference("a", math.inf, 1.0).is_same


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": torch.zeros(2, 6, 41)}, r"signal(.|\n)*\(2, 6, 40\)(.|\n)*\(2, 6, 41\)"),
        ({"signal": torch.zeros(2, 7, 40)}, r"signal(.|\n)*\(2, 7, 40\)"),
        ({"signal": torch.zeros(6, 40)}, r"signal(.|\n)*\(6, 40\)"),
        ({"signal": torch.tensor(1.0)}, r"signal(.|\n)*\(1, 6, 40\)(.|\n)*\(\)"),
        ({"signal": torch.zeros(0, 6, 40)}, r"signal(.|\n)*\(1, 6, 40\)(.|\n)*\(0, 6, 40\)"),
        ({"noise": torch.zeros(2, 23)}, r"noise(.|\n)*\(2, 24\)(.|\n)*\(2, 23\)"),
        ({"noise": torch.zeros(3, 24)}, r"noise(.|\n)*\(3, 24\)"),
        ({"xyz": torch.zeros(7, 3)}, r"xyz(.|\n)*\(6, 3\)(.|\n)*\(7, 3\)"),
        ({"xyz": torch.zeros(6)}, r"xyz(.|\n)*\(6, 3\)(.|\n)*\(6,\)"),
        ({"xyz": torch.zeros(6, 3)}, r"xyz(.|\n)*parcel 1 of the model at .* mm(.|\n)*at 0, 0, 0 mm"),
        ({"embed_no_mask": torch.zeros(2, 24, 16)}, r"embed_no_mask has another shape(.|\n)*\(2, 25, 16\)"),
        ({"mask": torch.zeros(2, 48)}, r"mask has another shape"),
        ({"mask": torch.zeros(2, 6, 0)}, r"mask has another shape"),
        ({"mask": torch.zeros(2, 6, 3)}, r"mask has another shape"),
        ({"loss": torch.zeros(2)}, r"loss has another shape"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(f"{k}{tuple(v.shape)}" for k, v in value.items()),
)
def test_inputs_and_outputs_that_do_not_fit_the_network_are_named(small, change, message):
    network, expected = small
    with pytest.raises(CheckpointError, match=message):
        differences(network, expected | change, 0.75)


def test_masked_outputs_need_the_noise(small):
    network, expected = small
    without = {name: value for name, value in expected.items() if name != "noise"} | {"loss": torch.tensor(1.0)}
    with pytest.raises(CheckpointError, match=r"loss cannot be compared(.|\n)*noise in the same file"):
        differences(network, without, 0.75)


def test_coordinates_count_only_where_the_weights_map_them(small, tmp_path):
    _, expected = small
    image = read_official(write_published(tmp_path / "image", IMAGE))
    check_inputs({"signal": torch.zeros(1, 424, 200), "xyz": torch.zeros(3)}, image.config, 424)
    with pytest.raises(CheckpointError, match=r"signal(.|\n)*\(2, 424, 200\)(.|\n)*\(2, 6, 40\)"):
        check_inputs(expected, image.config, 424)


def test_coordinates_beside_the_outputs_stand_in_for_a_table(tmp_path):
    official = read_official(write_published(tmp_path / "x", SEQUENCE))
    coordinates = torch.arange(18.0).view(6, 3)
    parcels = parcels_of(official, {"xyz": coordinates})
    assert isinstance(parcels, Parcels)
    np.testing.assert_array_equal(parcels.coordinates, coordinates)
    assert parcels_of(official) is None
    assert parcels_of(official, {"signal": torch.zeros(1)}) is None
    for wrong in (torch.zeros(7, 3), torch.zeros(6), torch.tensor(0.0)):
        assert parcels_of(official, {"xyz": wrong}) is None


def written(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


GOOD = {"signal": np.zeros((1, 6, 40), np.float32), "loss": np.array(1.0, np.float32)}


def test_expected_outputs_are_read_as_tensors(tmp_path):
    (tmp_path / "a.npz").write_bytes(written(**GOOD))
    found = read_expected(tmp_path / "a.npz")
    assert found["signal"].shape == (1, 6, 40)
    assert float(found["loss"]) == 1.0


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "cannot be read"),
        (b"hello", "cannot be read"),
        (written(**GOOD)[:-30], "cannot be read"),
        (written(**GOOD)[:100], "cannot be read"),
        (written(signal=np.array(["a"]), loss=np.zeros(1)), "cannot be read"),
        (written(signal=np.array([{}], dtype=object), loss=np.zeros(1)), "cannot be read"),
        (written(loss=np.zeros(1)), r"nothing to compare(.|\n)*found: +loss"),
        (written(signal=np.zeros(1), other=np.zeros(1)), r"nothing to compare(.|\n)*signal, other"),
        (written(), r"nothing to compare(.|\n)*nothing"),
    ],
    ids=["empty", "text", "cut off", "cut short", "words", "objects", "no signal", "no output", "nothing"],
)
def test_a_file_without_expected_outputs_is_refused(tmp_path, content, found):
    path = tmp_path / "expected.npz"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=found) as caught:
        read_expected(path)
    assert str(path) in str(caught.value)


def test_a_single_array_or_no_file_at_all_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name, found in (("one.npy", "a single array"), ("nowhere.npz", "No such file"), (".", "directory")):
        with pytest.raises(CheckpointError, match=rf"cannot be read(.|\n)*{found}"):
            read_expected(tmp_path / name)


def test_whatever_bytes_are_wrong_the_error_is_ours(tmp_path):
    generator = np.random.default_rng(0)
    whole = written(**GOOD, prediction=generator.standard_normal((1, 6, 40)))
    path = tmp_path / "expected.npz"
    for number in range(150):
        broken = bytearray(whole)
        for place in generator.integers(0, len(whole), 4):
            broken[len(whole) - 1 - place // 4 if number % 2 else place] = generator.integers(0, 256)
        path.write_bytes(bytes(broken))
        with contextlib.suppress(CheckpointError):
            read_expected(path)


def test_the_random_weights_of_these_tests_are_not_trivial():
    assert weights_of(SEQUENCE)["vit.layernorm.weight"].std() > 0.01
