"""Settings that make no sense are refused where they are made, and help texts need no torch."""

import subprocess
import sys

import pytest

from brainlm.errors import ConfigError
from brainlm.model.head_config import HeadConfig
from brainlm.training.finetune_config import FinetuneConfig, SupervisedConfig


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"patience": -1}, {"learning_rate": -1.0}, {"warmup_share": 1.0}, {"batch_size": 0}]
)
def test_settings_of_a_training_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SupervisedConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"layer_decay": 0.0}, {"lora_rank": 0}, {"hidden_share": 1.0}])
def test_settings_of_a_fine_tuning_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FinetuneConfig(**wrong)


@pytest.mark.parametrize("part", ["last:0", "last", "everything", "last:-1"])
def test_an_unknown_part_of_the_encoder_is_refused(part):
    with pytest.raises(ConfigError, match="unknown part"):
        FinetuneConfig(train=part)


@pytest.mark.parametrize("wrong", [{"layers": "deep"}, {"pooling": "max"}, {"dropout": 1.0}])
def test_settings_of_a_head_that_make_no_sense_are_refused(wrong):
    # The types are checked in tests (beartype), by ourselves otherwise.
    with pytest.raises(Exception, match=next(iter(wrong))):
        HeadConfig(**wrong)


def test_importing_the_settings_needs_no_torch():
    code = "import sys, brainlm.training.finetune_config; assert not {'torch', 'lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
