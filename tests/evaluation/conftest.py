"""A small synthetic store, and windows of its test split with patch masks."""

import pytest
import torch

from brainlm.data.scaling import Scaler
from brainlm.data.splits import SplitRule
from brainlm.data.synthetic import synthetic_store
from brainlm.data.windows import Windows
from brainlm.evaluation.masking import MaskedWindows
from brainlm.model.masks import hide

PATCH = 10  # time points


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """These tensors are so small that threads waiting for each other cost ten times the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_hidden(mask, seeds_B, valid_BPT):
    """Patches of one parcel and ten time points."""
    present_BRC = valid_BPT.unflatten(2, (-1, PATCH)).any(dim=3)
    return hide((mask,), seeds_B, present_BRC).repeat_interleave(PATCH, dim=2)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return synthetic_store(
        tmp_path_factory.mktemp("evaluation") / "synthetic.store",
        num_subjects=24,
        num_parcels=10,
        num_networks=2,
        num_timepoints=(100, 180),
        split_rule=SplitRule(validation=0.25, test=0.4),
    )


@pytest.fixture(scope="session")
def scaler(store):
    return Scaler.fit(store.select(split="train"))


@pytest.fixture(scope="session")
def masked(store, scaler):
    """A maker of masked windows of one split, with settings of choice."""

    def make(split: str = "test", *, of=None, num_timepoints: int = 40, **settings) -> MaskedWindows:
        windows = Windows((of or store).select(split=split), num_timepoints)
        return MaskedWindows(windows, scaler, make_hidden, **settings)

    return make
