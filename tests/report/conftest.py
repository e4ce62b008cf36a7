"""RUN folders for the tests of the report."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import fill_run, make_atlas, make_parcels


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Writes a full RUN folder: ``write_run(folder, num_parcels=.., advantage=.., atlas=..)``."""

    def write(folder: Path, *, num_parcels: int = 40, advantage: float = -0.06, atlas: bool = True) -> Path:
        rng = np.random.default_rng(0)
        folder.mkdir(parents=True, exist_ok=True)
        parcels = make_parcels(num_parcels, rng)
        parcels.write(folder / "parcels.tsv")
        if atlas:
            make_atlas(parcels, folder / "atlas.nii.gz")
        fill_run(folder, parcels, rng, advantage=advantage)
        return folder

    return write


@pytest.fixture(scope="session")
def template_run(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> Path:
    """A RUN folder with every part that nobody may change."""
    return write_run(tmp_path_factory.mktemp("template") / "demo")


@pytest.fixture
def full_run(tmp_path: Path, template_run: Path) -> Path:
    """A RUN folder with every part, to change at will."""
    return Path(shutil.copytree(template_run, tmp_path / "demo"))
