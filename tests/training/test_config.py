"""Settings that cannot be are refused when they are made."""

import pytest

from brainlm.errors import ConfigError
from brainlm.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("decode_share", 0.0),
        ("decode_share", 1.5),
        ("warmup_share", -0.1),
        ("seed", -1),
    ],
)
def test_impossible_settings_are_refused(name: str, value: float):
    with pytest.raises(ConfigError, match=name):
        TrainingConfig(**{name: value})
