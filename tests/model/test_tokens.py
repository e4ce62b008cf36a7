"""Patches against nested loops, and positions against their formulas."""

import math

import numpy as np
import pytest
import torch

from brainlm.errors import ConfigError
from brainlm.model.config import ModelConfig
from brainlm.model.tokens import Positions, Tokenizer

LENGTH, STEP = 12, 4  # time points of a window and of a patch

SIZES = pytest.mark.parametrize(
    ("num_parcels", "parcels_per_patch"), [(11, 1), (11, 4), (12, 4), (5, 8), (1, 1), (7, 7)]
)
ORDERS = pytest.mark.parametrize("order", ["atlas", "reversed", "shuffled"])


def order_of(name: str, num_parcels: int) -> torch.Tensor:
    if name == "shuffled":
        return torch.randperm(num_parcels, generator=torch.Generator().manual_seed(1))
    return torch.arange(num_parcels).flip(0) if name == "reversed" else torch.arange(num_parcels)


def tokenizer_of(num_parcels: int, parcels_per_patch: int, order: str) -> Tokenizer:
    config = ModelConfig(
        num_timepoints=LENGTH, timepoints_per_patch=STEP, parcels_per_patch=parcels_per_patch, encoder_width=8
    )
    return Tokenizer(config, order_of(order, num_parcels))


def reference_patches(values_BPT: torch.Tensor, order: torch.Tensor, parcels_per_patch: int) -> torch.Tensor:
    """Value by value: patch (r, c) holds the r-th group of parcels in the order, during the c-th stretch of time."""
    num_windows, num_parcels, length = values_BPT.shape
    num_rows, num_columns = math.ceil(num_parcels / parcels_per_patch), length // STEP
    patches = torch.zeros(num_windows, num_rows * num_columns, parcels_per_patch * STEP, dtype=values_BPT.dtype)
    for b in range(num_windows):
        for r in range(num_rows):
            for c in range(num_columns):
                for i in range(parcels_per_patch):
                    place = r * parcels_per_patch + i
                    for t in range(STEP):
                        if place < num_parcels:
                            value = values_BPT[b, order[place], c * STEP + t]
                            patches[b, r * num_columns + c, i * STEP + t] = value
    return patches


@SIZES
@ORDERS
def test_patches_agree_with_nested_loops(num_parcels: int, parcels_per_patch: int, order: str):
    tokenizer = tokenizer_of(num_parcels, parcels_per_patch, order)
    values_BPT = torch.randn(2, num_parcels, LENGTH, generator=torch.Generator().manual_seed(0))
    expected = reference_patches(values_BPT, order_of(order, num_parcels), parcels_per_patch)
    assert torch.equal(tokenizer.patches(values_BPT), expected)
    assert expected.shape[1:] == (tokenizer.num_tokens, tokenizer.values_per_patch)


@SIZES
@ORDERS
def test_windows_are_what_they_were_before_they_were_cut(num_parcels: int, parcels_per_patch: int, order: str):
    tokenizer = tokenizer_of(num_parcels, parcels_per_patch, order)
    values_BPT = torch.randn(3, num_parcels, LENGTH)
    assert torch.equal(tokenizer.windows(tokenizer.patches(values_BPT)), values_BPT)


@SIZES
@ORDERS
def test_padding_is_never_valid(num_parcels: int, parcels_per_patch: int, order: str):
    tokenizer = tokenizer_of(num_parcels, parcels_per_patch, order)
    patches_BNV = tokenizer.patches(torch.ones(2, num_parcels, LENGTH, dtype=torch.bool))
    assert patches_BNV.dtype == torch.bool
    assert int(patches_BNV.sum()) == 2 * num_parcels * LENGTH
    places_BNKT = patches_BNV.unflatten(2, (parcels_per_patch, STEP))
    num_padded = -num_parcels % parcels_per_patch
    assert tokenizer.padding == (0, 0, 0, num_padded)
    last_row = places_BNKT[:, -tokenizer.num_columns :]
    assert not last_row[:, :, parcels_per_patch - num_padded :].any()


@SIZES
@ORDERS
def test_a_flag_is_expanded_to_every_value_of_its_patch(num_parcels: int, parcels_per_patch: int, order: str):
    tokenizer = tokenizer_of(num_parcels, parcels_per_patch, order)
    flag_BN = torch.rand(2, tokenizer.num_tokens, generator=torch.Generator().manual_seed(3)) < 0.5
    expanded_BPT = tokenizer.expand(flag_BN)
    rows = tokenizer.rows_of_parcels()
    for b in range(2):
        for p in range(num_parcels):
            for t in range(LENGTH):
                assert expanded_BPT[b, p, t] == flag_BN[b, rows[p] * tokenizer.num_columns + t // STEP]


@SIZES
@ORDERS
def test_each_parcel_knows_its_row(num_parcels: int, parcels_per_patch: int, order: str):
    tokenizer = tokenizer_of(num_parcels, parcels_per_patch, order)
    parcels = order_of(order, num_parcels).tolist()
    expected = [parcels.index(parcel) // parcels_per_patch for parcel in range(num_parcels)]
    assert tokenizer.rows_of_parcels().tolist() == expected


def test_a_window_of_another_length_is_refused():
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        tokenizer_of(5, 2, "atlas").patches(torch.zeros(1, 5, LENGTH + 1))


def positions_of(tokenizer: Tokenizer, coordinates: torch.Tensor | None = None, **settings) -> Positions:
    config = ModelConfig(num_timepoints=LENGTH, timepoints_per_patch=STEP, encoder_width=8, **settings)
    return Positions(config, 8, tokenizer, coordinates)


def test_learned_positions_are_a_part_for_space_plus_a_part_for_time():
    tokenizer = tokenizer_of(5, 2, "shuffled")
    positions = positions_of(tokenizer)
    found_ND = positions()
    for r in range(3):
        for c in range(3):
            assert torch.equal(found_ND[r * 3 + c], positions.space_RD[r] + positions.time_CD[c])
    assert len(found_ND.unique(dim=0)) == 9


@ORDERS
def test_positions_from_coordinates_are_a_linear_map_of_each_patchs_centre(order: str):
    tokenizer = tokenizer_of(5, 2, order)
    coordinates = 50 * torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    positions = positions_of(tokenizer, coordinates, spatial_positions="coordinates")
    parcels = order_of(order, 5)
    for r, members in enumerate((parcels[:2], parcels[2:4], parcels[4:])):
        expected = positions.project(coordinates[members].mean(dim=0) / 100)
        for c in range(3):
            torch.testing.assert_close(positions()[r * 3 + c], expected + positions.time_CD[c])


def test_sinusoidal_positions_follow_the_formula_and_are_not_trained():
    positions = positions_of(tokenizer_of(5, 2, "atlas"), temporal_positions="sinusoidal")
    for c in range(3):
        for pair in range(4):
            angle = c / 10_000 ** (2 * pair / 8)
            assert float(positions.time_CD[c, 2 * pair]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(positions.time_CD[c, 2 * pair + 1]) == pytest.approx(math.cos(angle), abs=1e-6)
    assert [name for name, _ in positions.named_parameters()] == ["space_RD"]
    assert "time_CD" not in positions.state_dict()


def test_raw_millimetres_are_divided_by_one():
    tokenizer = tokenizer_of(5, 1, "reversed")
    coordinates = 50 * torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    positions = positions_of(tokenizer, coordinates, spatial_positions="coordinates", coordinate_unit_mm=1.0)
    assert torch.equal(positions.coordinates_R3, coordinates.flip(0))


GRID = {"spatial_positions": "grid", "temporal_positions": "grid"}


def grid_reference(num_rows: int, num_columns: int, width: int) -> np.ndarray:
    """He et al. 2022 (MAE), patch by patch: sines and cosines of the column, then sines and cosines of the row."""
    out = np.empty((num_rows * num_columns, width))
    for row in range(num_rows):
        for column in range(num_columns):
            for frequency in range(width // 4):
                rate = 1 / 10_000 ** (frequency / (width / 4))
                angles = (column * rate, row * rate)
                values = [f(angle) for angle in angles for f in (math.sin, math.cos)]
                out[row * num_columns + column, frequency :: width // 4] = values
    return out


@pytest.mark.parametrize("width", [8, 12, 48])
def test_grid_positions_follow_the_formula_and_are_stored_but_not_trained(width: int):
    tokenizer = tokenizer_of(5, 2, "atlas")
    positions = Positions(ModelConfig(num_timepoints=LENGTH, timepoints_per_patch=STEP, **GRID), width, tokenizer, None)
    np.testing.assert_allclose(positions(), grid_reference(3, 3, width), atol=1e-6)
    assert list(positions.parameters()) == []
    assert list(positions.state_dict()) == ["grid_ND"]


@pytest.mark.parametrize(("name", "image_size", "patch"), [("111M", 432, 16), ("650M", 434, 14)])
def test_grid_positions_are_those_that_the_published_files_hold(shared, name: str, image_size: int, patch: int):
    path = shared / "fixtures" / "official" / f"vitmae_{name}_tiny" / "pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    config = ModelConfig(image_size=image_size, parcels_per_patch=patch, timepoints_per_patch=patch, **GRID)
    tokenizer = Tokenizer(config, torch.arange(424))
    for key in ("vit.embeddings.position_embeddings", "decoder.decoder_pos_embed"):
        stored_ND = weights[key][0]
        computed_ND = Positions(config, stored_ND.shape[1], tokenizer, None)()
        torch.testing.assert_close(computed_ND, stored_ND[1:], atol=1e-6, rtol=0)
        assert not stored_ND[0].any()


# A window of 7 parcels x 12 time points in the middle of 20 x 20 pixels: 6 rows above and 7 below it, 4 columns of
# pixels on each side; and one whose square is no larger than it must be.
IMAGES = pytest.mark.parametrize(("num_parcels", "image_size", "patch"), [(7, 20, 4), (7, 20, 5), (12, 12, 4)])


def image_tokenizer(num_parcels: int, image_size: int, patch: int, order: str = "atlas", **settings) -> Tokenizer:
    config = ModelConfig(
        num_timepoints=LENGTH,
        timepoints_per_patch=patch,
        parcels_per_patch=patch,
        image_size=image_size,
        encoder_width=8,
        **settings,
    )
    return Tokenizer(config, order_of(order, num_parcels))


def image_of(values_BPT: torch.Tensor, order: torch.Tensor, image_size: int, fill) -> torch.Tensor:
    """The window in the middle of its square, value by value."""
    num_windows, num_parcels, length = values_BPT.shape
    image = torch.full((num_windows, image_size, image_size), fill, dtype=values_BPT.dtype)
    above, before = (image_size - num_parcels) // 2, (image_size - length) // 2
    for place, parcel in enumerate(order.tolist()):
        for time in range(length):
            image[:, above + place, before + time] = values_BPT[:, parcel, time]
    return image


@IMAGES
@ORDERS
def test_an_image_is_cut_into_square_patches_row_by_row(num_parcels: int, image_size: int, patch: int, order: str):
    tokenizer = image_tokenizer(num_parcels, image_size, patch, order)
    values_BPT = torch.randn(2, num_parcels, LENGTH, generator=torch.Generator().manual_seed(0))
    image = image_of(values_BPT, order_of(order, num_parcels), image_size, -1.0)
    patches_BNV = tokenizer.patches(values_BPT)
    side = image_size // patch
    assert patches_BNV.shape == (2, side * side, patch * patch) == (2, tokenizer.num_tokens, tokenizer.values_per_patch)
    for row in range(side):
        for column in range(side):
            square = image[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            assert torch.equal(patches_BNV[:, row * side + column], square.flatten(1))
    assert torch.equal(tokenizer.windows(patches_BNV), values_BPT)


@IMAGES
@ORDERS
def test_outside_the_window_nothing_is_valid(num_parcels: int, image_size: int, patch: int, order: str):
    tokenizer = image_tokenizer(num_parcels, image_size, patch, order)
    flag_BPT = torch.rand(2, num_parcels, LENGTH, generator=torch.Generator().manual_seed(2)) < 0.5
    patches_BNV = tokenizer.patches(flag_BPT)
    assert patches_BNV.dtype == torch.bool
    assert int(patches_BNV.sum()) == int(flag_BPT.sum())
    assert torch.equal(tokenizer.windows(patches_BNV), flag_BPT)


def test_an_image_may_be_filled_with_something_else():
    tokenizer = image_tokenizer(7, 20, 4, image_fill=2.5)
    patches_BNV = tokenizer.patches(torch.zeros(1, 7, LENGTH))
    assert set(patches_BNV.unique().tolist()) == {0.0, 2.5}
    assert int((patches_BNV == 0).sum()) == 7 * LENGTH


@IMAGES
@ORDERS
def test_each_parcel_knows_its_row_of_the_image(num_parcels: int, image_size: int, patch: int, order: str):
    tokenizer = image_tokenizer(num_parcels, image_size, patch, order)
    rows = tokenizer.rows_of_parcels().tolist()
    for parcel in range(num_parcels):
        values_BPT = torch.zeros(1, num_parcels, LENGTH, dtype=torch.bool)
        values_BPT[:, parcel] = True
        touched = tokenizer.patches(values_BPT).any(dim=2).view(tokenizer.num_rows, tokenizer.num_columns)
        assert touched.any(dim=1).nonzero().flatten().tolist() == [rows[parcel]]
        columns = touched.any(dim=0).nonzero().flatten().tolist()
        assert columns == list(tokenizer.columns_with_signal)


def test_parcels_that_do_not_fit_into_the_image_are_refused():
    with pytest.raises(ConfigError, match=r"do not fit into the image(.|\n)*at most image_size=12(.|\n)*13"):
        image_tokenizer(13, 12, 4)
