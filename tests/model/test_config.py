"""What a model config accepts, and what it says to what it does not."""

import dataclasses
import re

import pytest

from brainlm.errors import ConfigError
from brainlm.model.config import MAY_BE_ZERO, PRESETS, ModelConfig, preset

COUNTS = [field.name for field in dataclasses.fields(ModelConfig) if field.type == "int"]


def test_the_defaults_are_the_papers_13m_model():
    assert preset("13m") == ModelConfig()
    config = ModelConfig()
    assert (config.num_timepoints, config.parcels_per_patch, config.timepoints_per_patch) == (200, 1, 20)
    assert (config.encoder_width, config.encoder_depth, config.encoder_heads, config.encoder_mlp) == (512, 4, 4, 1024)
    assert (config.decoder_width, config.decoder_depth, config.decoder_heads, config.decoder_mlp) == (512, 2, 4, 1024)
    assert (config.parcel_order, config.head) == ("y", "plain")


@pytest.mark.parametrize(("name", "encoder"), [("111m", (768, 12, 12, 3072)), ("650m", (1280, 32, 16, 5120))])
def test_the_scaled_presets_are_the_papers(name: str, encoder: tuple[int, ...]):
    config = preset(name)
    assert (config.encoder_width, config.encoder_depth, config.encoder_heads, config.encoder_mlp) == encoder
    assert (config.decoder_width, config.decoder_depth, config.decoder_heads, config.decoder_mlp) == (512, 8, 16, 2048)
    assert config.num_tokens(424) == 530


def test_an_unknown_preset_is_an_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown preset '12m'(.|\n)*tiny, 13m, 111m, 650m"):
        preset("12m")


@pytest.mark.parametrize("num_parcels", [1, 7, 8, 9, 424])
@pytest.mark.parametrize("parcels_per_patch", [1, 3, 8])
def test_tokens_cover_every_parcel_once(num_parcels: int, parcels_per_patch: int):
    config = ModelConfig(num_timepoints=60, timepoints_per_patch=20, parcels_per_patch=parcels_per_patch)
    rows = len(range(0, num_parcels, parcels_per_patch))
    assert config.num_spatial_patches(num_parcels) == rows
    assert config.num_tokens(num_parcels) == 3 * rows


def test_a_window_that_is_no_whole_number_of_patches_is_refused_with_the_nearest_length():
    with pytest.raises(ConfigError, match="use 180 time points") as caught:
        ModelConfig(num_timepoints=190)
    assert "num_timepoints=190" in str(caught.value)
    with pytest.raises(ConfigError, match="use 20 time points"):
        ModelConfig(num_timepoints=10)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_width_that_does_not_fit_its_heads_is_refused(part: str):
    with pytest.raises(ConfigError, match=f"{part}_width=510, {part}_heads=4"):
        ModelConfig(**{f"{part}_width": 510})


def test_sinusoidal_positions_need_an_even_width():
    odd = {"encoder_width": 15, "encoder_heads": 3}
    assert ModelConfig(**odd).encoder_width == 15
    with pytest.raises(ConfigError, match="of 2 for sinusoidal"):
        ModelConfig(**odd, temporal_positions="sinusoidal")


@pytest.mark.parametrize("name", COUNTS)
def test_no_count_may_be_negative_or_zero(name: str):
    with pytest.raises(ConfigError, match=f"{name} cannot be -1"):
        ModelConfig(**{name: -1})
    if name not in MAY_BE_ZERO:
        with pytest.raises(ConfigError, match=f"{name} cannot be 0"):
            ModelConfig(**{name: 0})


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_share(dropout: float):
    with pytest.raises(ConfigError, match="dropout is not a share"):
        ModelConfig(dropout=dropout)


def test_own_covariances_without_a_gaussian_head_are_refused():
    with pytest.raises(ConfigError, match=r"own_covariance_points=50(.|\n)*head=gaussian"):
        ModelConfig(own_covariance_points=50)


def test_settings_that_contradict_each_other_are_told_apart():
    for settings, message in (
        ({"spatial_positions": "grid"}, r"both positions grid, or neither(.|\n)*grid, learned"),
        ({"temporal_positions": "grid"}, r"both positions grid, or neither(.|\n)*learned, grid"),
        ({"value_convolution": 4}, r"an odd value_convolution(.|\n)*4"),
        ({"head_layers": 3}, r"head_layers 1 or 2(.|\n)*3"),
        ({"coordinate_unit_mm": 0.0}, r"coordinate_unit_mm > 0(.|\n)*0"),
        ({"coordinate_unit_mm": float("nan")}, r"coordinate_unit_mm > 0(.|\n)*nan"),
        ({"norm_epsilon": -1e-5}, r"norm_epsilon > 0(.|\n)*-1e-05"),
        ({"image_fill": float("nan")}, r"a finite image_fill(.|\n)*nan"),
    ):
        with pytest.raises(ConfigError, match=message):
            ModelConfig(**settings)


def test_grid_positions_need_a_width_of_four_parts():
    grid = {"spatial_positions": "grid", "temporal_positions": "grid"}
    fits = {"encoder_width": 12, "encoder_heads": 3, "decoder_width": 16, "decoder_heads": 2}
    assert ModelConfig(**grid, **fits).encoder_width == 12
    for part in ("encoder", "decoder"):
        with pytest.raises(ConfigError, match=f"the {part}'s width(.|\n)*4 for grid"):
            ModelConfig(**grid, **fits | {f"{part}_width": 18, f"{part}_heads": 2})


# Image and patch of the published checkpoints; where the window of 424 x 200 begins in it; the columns it touches; and
# how many of its time points lie in the last of them. Worked out by hand: (432 - 200) / 2 = 116 = 7 x 16 + 4, and
# 116 + 200 = 316 = 19 x 16 + 12; (434 - 200) / 2 = 117 = 8 x 14 + 5, and 117 + 200 = 317 = 22 x 14 + 9.
IMAGES = {
    (432, 16): {"first_parcel": 4, "first_timepoint": 116, "columns": range(7, 20), "last_patch": 12, "side": 27},
    (434, 14): {"first_parcel": 5, "first_timepoint": 117, "columns": range(8, 23), "last_patch": 9, "side": 31},
}


@pytest.mark.parametrize(("image_size", "patch"), IMAGES)
def test_a_window_lies_in_the_middle_of_its_image(image_size: int, patch: int):
    config = ModelConfig(image_size=image_size, parcels_per_patch=patch, timepoints_per_patch=patch)
    expected = IMAGES[image_size, patch]
    assert config.parcel_offset(424) == expected["first_parcel"]
    assert config.time_offset == expected["first_timepoint"]
    assert config.columns_with_signal == expected["columns"]
    assert config.num_temporal_patches == len(expected["columns"])
    assert config.last_patch == expected["last_patch"]
    assert config.num_columns == config.num_spatial_patches(424) == expected["side"]
    assert config.num_tokens(424) == expected["side"] ** 2


def test_without_an_image_every_column_holds_signal():
    config = ModelConfig()
    assert config.columns_with_signal == range(10)
    assert (config.num_columns, config.num_temporal_patches, config.last_patch, config.time_offset) == (10, 10, 20, 0)
    assert config.parcel_offset(424) == 0


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"image_size": 430, "parcels_per_patch": 16, "timepoints_per_patch": 16}, 430),
        ({"image_size": 432, "parcels_per_patch": 16, "timepoints_per_patch": 20}, 432),
        ({"image_size": 160, "parcels_per_patch": 16, "timepoints_per_patch": 16}, 160),  # the window has 200
    ],
)
def test_an_image_is_whole_patches_and_larger_than_the_window(settings, found):
    with pytest.raises(ConfigError, match=rf"the image is not a whole number(.|\n)*image_size={found}"):
        ModelConfig(**settings)


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRESETS["tiny"].encoder_width = 1


def test_a_config_written_before_there_were_images_means_the_same_model():
    written = {
        **{"num_timepoints": 200, "parcels_per_patch": 1, "timepoints_per_patch": 20, "parcel_order": "y"},
        **{"encoder_width": 512, "encoder_depth": 4, "encoder_heads": 4, "encoder_mlp": 1024},
        **{"decoder_width": 512, "decoder_depth": 2, "decoder_heads": 4, "decoder_mlp": 1024},
        **{"spatial_positions": "learned", "temporal_positions": "learned", "dropout": 0.0, "head": "plain"},
        "own_covariance_points": 0,
    }
    config = ModelConfig(**written)
    assert config == ModelConfig()
    assert (config.norm, config.norm_epsilon, config.coordinate_unit_mm) == ("before", 1e-5, 100.0)
    assert (config.image_size, config.value_convolution, config.head_layers) == (0, 0, 1)


def test_every_setting_is_explained():
    explained = re.findall(r"^        (\w+): ", ModelConfig.__doc__, flags=re.MULTILINE)
    assert explained == [field.name for field in dataclasses.fields(ModelConfig)]
