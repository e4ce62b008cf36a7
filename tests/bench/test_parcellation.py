"""What is compared for speed computes the same."""

import nibabel as nib
import numpy as np
import pytest

from brainlm.bench import parcellation
from brainlm.bench.parcellation import (
    ParcellationSizes,
    by_loop,
    by_masker,
    decompress,
    growth_of_process,
    measure_loop,
    measure_masker,
    write_image,
)
from brainlm.bench.plan import FULL
from brainlm.data.parcellate import read_nifti
from brainlm.errors import DataError

SIZES = ParcellationSizes(shape=(20, 24, 18), num_volumes=15, num_parcels=12, repeats=1, slow_repeats=1)


def test_the_loop_and_the_masker_compute_what_we_compute(tmp_path):
    image, atlas = write_image(tmp_path, SIZES)
    ours = read_nifti(image, atlas)
    assert ours.how == "same grid"
    assert (ours.coverage == 1).all()
    for theirs in (by_loop(image, atlas), by_masker(image, atlas), by_masker(image, atlas, integers=True)):
        assert (np.abs(ours.bold - theirs).max(axis=0) / theirs.std(axis=0)).max() < 1e-4
    decompress(image)


def test_the_full_image_has_as_many_voxels_as_a_brain_and_its_parcels_as_a424():
    shape = FULL.parcellation.shape
    num_brain = parcellation._ellipsoid(shape, parcellation.BRAIN_SIZE).sum()
    num_labelled = parcellation._ellipsoid(shape, parcellation.PARCELS_SIZE).sum()
    assert num_brain == pytest.approx(250_000, rel=0.02)
    assert num_labelled == pytest.approx(133_743, rel=0.02)


def test_an_image_is_written_once_and_looks_like_one(tmp_path):
    image, _ = write_image(tmp_path, SIZES)
    written = image.stat().st_mtime_ns
    assert write_image(tmp_path, SIZES)[0].stat().st_mtime_ns == written
    loaded = nib.load(image)
    assert loaded.shape == (*SIZES.shape, SIZES.num_volumes)
    assert loaded.get_data_dtype() == np.int16
    values = np.asanyarray(loaded.dataobj)
    assert (values[0, 0, 0] == 0).all()
    assert values[10, 12, 9].std() > 0


def test_growth_is_counted_from_before_the_image(tmp_path):
    image, atlas = write_image(tmp_path, SIZES)
    if parcellation.resident_memory() is None:
        pytest.skip("the system does not tell own from mapped memory")
    assert growth_of_process(image, atlas) < 2**33


def test_what_does_not_fit_into_memory_is_not_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(parcellation, "available_memory", lambda: 1)
    for measure in (measure_loop, measure_masker):
        with pytest.raises(DataError, match="needs more memory"):
            measure(tmp_path, SIZES)
