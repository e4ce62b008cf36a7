"""What a model config accepts, and what it says to what it does not."""

import dataclasses
import re

import pytest

from brainlm.errors import ConfigError
from brainlm.model.config import PRESETS, ModelConfig, preset

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
    with pytest.raises(ConfigError, match="even, for sinusoidal positions"):
        ModelConfig(**odd, temporal_positions="sinusoidal")


@pytest.mark.parametrize("name", COUNTS)
def test_no_count_may_be_negative_or_zero(name: str):
    with pytest.raises(ConfigError, match=f"{name} cannot be -1"):
        ModelConfig(**{name: -1})
    if name != "own_covariance_points":
        with pytest.raises(ConfigError, match=f"{name} cannot be 0"):
            ModelConfig(**{name: 0})


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_share(dropout: float):
    with pytest.raises(ConfigError, match="dropout is not a share"):
        ModelConfig(dropout=dropout)


def test_own_covariances_without_a_gaussian_head_are_refused():
    with pytest.raises(ConfigError, match=r"own_covariance_points=50(.|\n)*head=gaussian"):
        ModelConfig(own_covariance_points=50)


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRESETS["tiny"].encoder_width = 1


def test_every_setting_is_explained():
    explained = re.findall(r"^        (\w+): ", ModelConfig.__doc__, flags=re.MULTILINE)
    assert explained == [field.name for field in dataclasses.fields(ModelConfig)]
