"""Shapes and types of every public signature are checked while the tests run (jaxtyping + beartype)."""

from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("brainlm", "beartype.beartype").__enter__()

# The tensors of tests are small: more threads would only wait for each other.
torch.set_num_threads(1)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data beside the checkout; tests that need it skip by name where it is absent."""
    if not (SHARED / "data" / "abide" / "participants.tsv").is_file():
        pytest.skip("development data (../shared) is not here")
    return SHARED


@pytest.fixture
def rng():
    """A seeded generator."""
    import numpy as np

    return np.random.default_rng(0)
