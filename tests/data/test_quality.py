"""The columns that say how good a scan was: optional in a store, and no phenotypes."""

import datasets
import numpy as np
import pytest

from brainlm.data.parcels import Parcels
from brainlm.data.quality import QUALITY_COLUMNS, Quality
from brainlm.data.store import Store, StoreAppender, StoreWriter
from brainlm.errors import DataError

COVERAGE = np.array([1, 0.5, 1, 1, 0, 0.25], np.float32)


def quality(number=0, **changes):
    known = {"num_volumes": 30 + number, "num_censored": number, "mean_fd": 0.1, "max_fd": 0.5, "tsnr": 50.0}
    return Quality(**(known | {"parcel_coverage": COVERAGE} | changes))


@pytest.fixture
def store(tmp_path, make_recording):
    """Three recordings, nothing known of the motion of the second."""
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6", phenotypes=["age"], has_quality=True) as out:
        for number in range(3):
            unknown = {"mean_fd": np.nan, "max_fd": np.nan} if number == 1 else {}
            recording = make_recording(f"{number:02d}", phenotypes={"age": 30.0 + number})
            out.add(recording, quality=quality(number, **unknown))
    return Store.open(tmp_path / "a.store")


def test_every_recording_has_its_columns(store):
    metadata = store.metadata
    assert store.quality_columns == tuple(QUALITY_COLUMNS)
    assert metadata["num_volumes"].tolist() == [30, 31, 32]
    assert metadata["num_censored"].tolist() == [0, 1, 2]
    assert metadata["mean_fd"].isna().tolist() == [False, True, False]
    assert metadata["coverage"].tolist() == [0.625] * 3
    np.testing.assert_array_equal(store.parcel_coverage, np.tile(COVERAGE, (3, 1)))
    np.testing.assert_array_equal(store.take([2]).parcel_coverage, COVERAGE[None])
    assert "parcel_coverage" not in metadata


def test_they_are_no_phenotypes(store):
    assert store.phenotypes == ("age",)
    assert dict(store[0].phenotypes) == {"age": 30.0}


def test_the_parcels_have_their_mean_coverage(store):
    assert store.parcels.table["coverage"].tolist() == COVERAGE.tolist()
    assert "coverage" not in store.parcels.networks
    Store.open(store.path, verify=True)


def test_statistics_stay_what_they_were(store, make_recording):
    np.testing.assert_allclose(store.statistics.mean[0], make_recording("00").bold.mean(axis=0), rtol=1e-6)


def test_datasets_opens_the_store_without_this_package(store):
    opened = datasets.load_from_disk(str(store.path))
    assert opened[0]["num_volumes"] == 30
    assert opened[1]["mean_fd"] is None
    assert opened[2]["parcel_coverage"] == COVERAGE.tolist()


def test_a_store_without_them_is_as_before(recordings, make_store):
    store = make_store(recordings)
    assert store.quality_columns == ()
    assert store.parcel_coverage.shape == (len(recordings), 6)
    assert np.isnan(store.parcel_coverage).all()
    assert not set(QUALITY_COLUMNS) & set(store.metadata)


def test_a_phenotype_of_the_same_name_is_one_where_there_are_no_such_columns(make_recording, make_store):
    store = make_store([make_recording(phenotypes={"mean_fd": 0.3})], phenotypes=["mean_fd"])
    assert store.phenotypes == ("mean_fd",)
    with StoreAppender(store.path) as appender:
        appender.add(make_recording("02", phenotypes={"mean_fd": 0.4}), split="train")
    assert Store.open(store.path)[1].phenotypes["mean_fd"] == 0.4


def test_a_phenotype_cannot_have_such_a_name_where_there_are(tmp_path):
    with pytest.raises(DataError, match=r"cannot have these names(.|\n)*mean_fd"):
        StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6", phenotypes=["mean_fd"], has_quality=True)


def test_what_is_appended_without_them_has_none(store, make_recording):
    with StoreAppender(store.path) as appender:
        appender.add(make_recording("09"), split="test")
    longer = Store.open(store.path, verify=True)
    assert longer.phenotypes == ("age",)
    assert longer.metadata["num_volumes"].isna().tolist() == [False, False, False, True]
    assert np.isnan(longer.parcel_coverage[3]).all()
    assert len(datasets.load_from_disk(str(store.path))) == 4
