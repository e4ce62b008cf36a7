"""The scikit-learn transformer: equal to the model's own vectors, obedient to scikit-learn's rules, without leaks."""

import copy
import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from brainlm.data.parcels import Parcels
from brainlm.data.resampling import resampled
from brainlm.data.scaling import Scaler
from brainlm.errors import ConfigError, DataError
from brainlm.inference import features
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.cohort import recordings_of
from brainlm.inference.features import BrainLMFeatures

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
POOLINGS = pytest.mark.parametrize("pooling", ["cls", "mean", "parcels"])


@pytest.fixture(autouse=True)
def _no_model_is_open():
    features._opened.cache_clear()


@pytest.fixture
def recordings(store):
    return [store[index] for index in range(len(store))]


@pytest.fixture
def age(store):
    return store.metadata["age"].to_numpy()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "model"
    model.save_pretrained(path)
    return path


@pytest.fixture
def unscaled(model):
    """A model as it comes with released weights: nobody published the statistics of its scaler."""
    bare = copy.copy(model)
    bare.scaler = Scaler.unfitted(len(model.parcels))
    return bare


@pytest.fixture
def slow_model(model):
    """A model that knows which repetition times it was trained on."""
    slow = copy.copy(model)
    slow.provenance = {"data": {"tr_s": [3.0]}}
    return slow


@POOLINGS
def test_features_are_the_models_vectors(model, store, pooling):
    found = BrainLMFeatures(model, pooling=pooling).fit_transform(store)
    expected = np.stack([getattr(model.embed(store[index]), pooling).ravel() for index in range(len(store))])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 1000])
def test_which_windows_share_a_batch_does_not_matter(model, store, batch_size):
    expected = BrainLMFeatures(model).fit_transform(store)
    np.testing.assert_allclose(BrainLMFeatures(model, batch_size=batch_size).fit_transform(store), expected, **CLOSE)


def test_a_store_recordings_and_arrays_give_the_same(model, store, recordings):
    expected = BrainLMFeatures(model).fit_transform(store)
    arrays = [recording.bold.astype(np.float64) for recording in recordings]
    of_arrays = np.empty(len(arrays), dtype=object)
    of_arrays[:] = arrays
    frames = [pd.DataFrame(array) for array in arrays]
    for given in (recordings, tuple(recordings), arrays, of_arrays, frames):
        assert np.array_equal(BrainLMFeatures(model, tr=2.0).fit_transform(given), expected)


def test_a_folder_gives_what_the_model_in_it_gives(model, folder, store):
    expected = BrainLMFeatures(model).fit_transform(store)
    for path in (folder, str(folder)):
        np.testing.assert_allclose(BrainLMFeatures(path).fit_transform(store), expected, **CLOSE)


def test_the_order_of_recordings_does_not_matter(model, recordings):
    transformer = BrainLMFeatures(model).fit(recordings)
    forward, backward = transformer.transform(recordings), transformer.transform(recordings[::-1])
    np.testing.assert_allclose(backward[::-1], forward, **CLOSE)
    np.testing.assert_allclose(transformer.transform(recordings[2:3]), forward[2:3], **CLOSE)


def test_a_parcel_without_signal_is_nan_in_its_own_columns_only(model, store):
    found = BrainLMFeatures(model, pooling="parcels").set_output(transform="pandas").fit_transform(store)
    missing = found.columns[found.isna().any()]
    assert set(missing) == {f"{model.parcels.table['name'][4]}_{number}" for number in range(16)}
    assert found.isna().any(axis=1).tolist() == [index == 3 for index in range(len(store))]


@POOLINGS
def test_every_column_has_a_name(model, store, pooling):
    transformer = BrainLMFeatures(model, pooling=pooling).fit(store)
    names = transformer.get_feature_names_out()
    assert len(names) == len(set(names)) == transformer.transform(store).shape[1]
    first = model.parcels.table["name"][0] if pooling == "parcels" else pooling
    assert (names[0], names[15]) == (f"{first}_0", f"{first}_15")
    frame = transformer.set_output(transform="pandas").transform(store)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == names.tolist()


def test_parcels_of_one_name_are_told_apart(model, store):
    alike = copy.copy(model)
    alike.parcels = type(model.parcels)(model.parcels.table.assign(name=["V1", "V1", *"abcdefgh"]))
    names = BrainLMFeatures(alike, pooling="parcels").fit(store).get_feature_names_out()
    assert names[[0, 16, 32]].tolist() == ["V1-1_0", "V1-2_0", "a_0"]


def test_names_of_other_input_are_refused(model, store):
    transformer = BrainLMFeatures(model, pooling="parcels").fit(store)
    assert transformer.n_features_in_ == store.num_parcels
    assert transformer.get_feature_names_out(list("abcdefghij"))[-1] == "j_15"
    with pytest.raises(ValueError, match="should have length equal to number of features: 10 parcels, found 3"):
        transformer.get_feature_names_out(["a", "b", "c"])


APPLICABLE = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_estimators_unfitted,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_mixin_order,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_set_params,
    estimator_checks.check_transformers_unfitted,
    estimator_checks.check_valid_tag_types,
]


@pytest.mark.parametrize("check", APPLICABLE, ids=lambda check: check.__name__)
def test_scikit_learns_own_checks_that_need_no_table_pass(check):
    # The others fit on a 2-D table of numbers, which is a single recording here.
    check("BrainLMFeatures", BrainLMFeatures("runs/13m", pooling="mean", batch_size=8))


def test_what_is_not_fitted_says_so(model, store):
    transformer = BrainLMFeatures(model)
    for use in (lambda: transformer.transform(store), transformer.get_feature_names_out):
        with pytest.raises(NotFittedError):
            use()
    transformer.fit(store).transform(store)


def test_fitting_again_forgets_the_first_fit(unscaled, recordings):
    twice = BrainLMFeatures(unscaled).fit(recordings[:4]).fit(recordings[4:])
    once = BrainLMFeatures(unscaled).fit(recordings[4:])
    assert np.array_equal(twice.transform(recordings), once.transform(recordings))


def test_a_clone_is_unfitted_and_shares_the_open_model(model, store):
    fitted = BrainLMFeatures(model, pooling="mean", tr=2.0, batch_size=3).set_output(transform="pandas").fit(store)
    other = clone(fitted)
    assert other.get_params() == fitted.get_params()
    assert other.model is model
    assert not hasattr(other, "model_")
    assert isinstance(other.fit_transform(store), pd.DataFrame)


@pytest.mark.parametrize("given", ["folder", "model"])
def test_a_pickle_gives_the_same_features(given, store, request):
    transformer = BrainLMFeatures(request.getfixturevalue(given), pooling="parcels")
    unfitted = pickle.loads(pickle.dumps(transformer))
    expected = transformer.fit_transform(store)
    fitted = pickle.loads(pickle.dumps(transformer))
    assert np.array_equal(fitted.transform(store), expected, equal_nan=True)
    assert np.array_equal(unfitted.fit_transform(store), expected, equal_nan=True)
    assert fitted.get_feature_names_out().tolist() == transformer.get_feature_names_out().tolist()


def test_a_pickle_holds_a_network_once_and_a_fitted_one_needs_no_folder(model, store, tmp_path):
    moved = tmp_path / "elsewhere"
    model.save_pretrained(moved)
    of_path = BrainLMFeatures(moved).fit(store)
    pickled = pickle.dumps(of_path)
    for file in moved.iterdir():
        file.unlink()
    assert np.array_equal(pickle.loads(pickled).transform(store), of_path.transform(store))
    # The open model stands in the transformer twice, as what was given and as what computes.
    assert len(pickle.dumps(BrainLMFeatures(model).fit(store))) < 1.2 * len(pickled)


@pytest.mark.gpu
def test_a_pickle_made_on_a_gpu_opens_without_one(folder, store):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_gpu = BrainLM.from_pretrained(folder).to("cuda")
    expected = BrainLMFeatures(folder).fit_transform(store)
    for transformer in (BrainLMFeatures(folder, device="cuda"), BrainLMFeatures(on_gpu)):
        np.testing.assert_allclose(transformer.fit_transform(store), expected, atol=1e-3)
        assert transformer.model_.device.type == "cuda"
        opened = pickle.loads(pickle.dumps(transformer))
        assert opened.model_.device.type == "cpu"
        assert all(device.type == "cpu" for device in opened.model_.scaler._on_device)
        np.testing.assert_allclose(opened.transform(store), expected, **CLOSE)
        assert transformer.model_.device.type == "cuda"
    np.testing.assert_allclose(BrainLMFeatures(on_gpu, device="cpu").fit_transform(store), expected, **CLOSE)
    assert on_gpu.device.type == "cuda"


def test_a_folder_is_opened_once_for_all_folds_and_again_when_it_changes(model, store, age, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path)
    opened = []
    monkeypatch.setattr(features.BrainLM, "from_pretrained", lambda path: opened.append(path) or model)
    pipeline = make_pipeline(BrainLMFeatures(tmp_path), Ridge())
    search = GridSearchCV(pipeline, {"brainlmfeatures__pooling": ["cls", "mean"]}, cv=KFold(2))
    search.fit(store, age)
    assert len(opened) == 1
    (tmp_path / "provenance.json").write_text('{"retrained": "with other settings"}')
    BrainLMFeatures(tmp_path).fit(store)
    assert len(opened) == 2


def test_a_grid_search_chooses_a_pooling(model, store, age):
    pipeline = make_pipeline(BrainLMFeatures(model), SimpleImputer(), StandardScaler(), Ridge())
    grid = {"brainlmfeatures__pooling": ["cls", "mean", "parcels"], "ridge__alpha": [1.0, 100.0]}
    search = GridSearchCV(pipeline, grid, cv=KFold(2), error_score="raise").fit(store, age)
    assert search.best_params_["brainlmfeatures__pooling"] in {"cls", "mean", "parcels"}
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 6
    assert search.predict(store).shape == (8,)
    assert search.n_features_in_ == store.num_parcels


def test_cross_validation_keeps_the_recordings_of_a_person_together(model, store, age):
    people = np.repeat(["a", "b", "c", "d"], 2)
    pipeline = make_pipeline(BrainLMFeatures(model), StandardScaler(), Ridge())
    found = cross_val_predict(pipeline, store, age, groups=people, cv=GroupKFold(4))
    by_hand = np.empty(len(store))
    vectors = BrainLMFeatures(model).fit_transform(store)
    for person in np.unique(people):
        ridge = make_pipeline(StandardScaler(), Ridge()).fit(vectors[people != person], age[people != person])
        by_hand[people == person] = ridge.predict(vectors[people == person])
    np.testing.assert_allclose(found, by_hand, rtol=1e-4)


def test_a_missing_scaler_is_fitted_on_the_training_fold_alone(unscaled, store, recordings, age):
    pipeline = make_pipeline(BrainLMFeatures(unscaled), Ridge())
    folds = KFold(4)
    found = cross_validate(pipeline, store, age, cv=folds, return_estimator=True)["estimator"]
    for (train, _), fitted in zip(folds.split(recordings), found, strict=True):
        scaler = fitted[0].model_.scaler
        expected = Scaler.fit_recordings([recordings[index].bold for index in train], "robust")
        assert np.array_equal(scaler.median_P, expected.median_P)
        assert np.array_equal(scaler.iqr_P, expected.iqr_P)
        assert fitted[0].model_.network is unscaled.network
    assert not unscaled.scaler.fitted


def test_a_test_recording_does_not_shape_the_features_of_another(unscaled, recordings):
    transformer = BrainLMFeatures(unscaled).fit(recordings[:6])
    louder = dataclasses.replace(recordings[7], bold=recordings[7].bold * 50)
    first = transformer.transform(recordings[6:])
    assert np.array_equal(transformer.transform([recordings[6], louder])[0], first[0])


def test_a_scaler_that_came_with_the_model_stays(model, recordings):
    assert BrainLMFeatures(model).fit(recordings[:2]).model_.scaler is model.scaler


def test_fitting_leaves_a_given_model_as_it_was(unscaled, store):
    before = copy.copy(vars(unscaled))
    weights = {name: value.clone() for name, value in unscaled.network.state_dict().items()}
    transformer = BrainLMFeatures(unscaled, device="cpu").fit(store)
    transformer.transform(store)
    assert vars(unscaled) == before
    assert all(torch.equal(value, weights[name]) for name, value in unscaled.network.state_dict().items())
    assert transformer.model is unscaled


def test_a_model_that_is_elsewhere_is_copied_and_not_moved(model):
    moved = features._moved(model, "meta")
    assert (moved.device.type, model.device.type) == ("meta", "cpu")
    assert features._moved(model, "cpu") is model


def test_another_repetition_time_is_refused_or_resampled(slow_model, store, recordings):
    with pytest.raises(DataError, match="another repetition time"):
        BrainLMFeatures(slow_model).fit(store)
    with pytest.raises(DataError, match=r"\(item 1\) has another repetition time"):
        BrainLMFeatures(slow_model).fit(recordings)
    found = BrainLMFeatures(slow_model, resample=True).fit_transform(store)
    expected = np.stack([slow_model.embed(resampled(recording, 3.0)).cls for recording in recordings])
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_a_scaler_is_fitted_on_resampled_recordings_where_they_are_resampled(unscaled, recordings):
    unscaled.provenance = {"data": {"tr_s": [3.0]}}
    found = BrainLMFeatures(unscaled, resample=True).fit(recordings).model_.scaler
    expected = Scaler.fit_recordings([resampled(recording, 3.0).bold for recording in recordings])
    np.testing.assert_array_equal(found.iqr_P, expected.iqr_P)


def test_units_far_from_the_weights_are_warned_of_once(model, recordings, caplog):
    louder = [dataclasses.replace(recording, bold=recording.bold * 50) for recording in recordings]
    BrainLMFeatures(model).fit_transform(recordings)
    assert caplog.messages == []
    BrainLMFeatures(model).fit_transform(louder)
    assert len(caplog.messages) == 1
    assert "times as large as the model's input should be" in caplog.messages[0]


def test_what_does_not_fit_the_model_is_refused_when_fitting_and_when_transforming(model, recordings):
    transformer = BrainLMFeatures(model, tr=2.0)
    for given, message in ((recordings[0], "one recording"), ([np.ones((50, 9))], "does not fit the model")):
        with pytest.raises(DataError, match=message):
            transformer.fit(given)
        with pytest.raises(DataError, match=message):
            transformer.fit(recordings).transform(given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "max"}, r"no such pooling\n.*cls, mean, parcels\n.*'max'"),
        ({"batch_size": 0}, "at least one window"),
        ({"device": "abacus"}, "no such device[\\s\\S]*'abacus'"),
    ],
)
def test_settings_are_checked_when_fitting(model, store, settings, message):
    transformer = BrainLMFeatures(model).set_params(**settings)
    with pytest.raises(ConfigError, match=message):
        transformer.fit(store)


@pytest.mark.parametrize("layout", ["old_13M_tiny", "vitmae_111M_tiny", "vitmae_650M_tiny"])
def test_weights_in_the_published_layouts_work_with_a_scaler_of_the_training_recordings(layout, shared, rng):
    folder = shared / "fixtures" / "official" / layout
    num_parcels = np.load(folder / "expected.npz")["signal"].shape[1]
    table = pd.DataFrame({"label": np.arange(num_parcels) + 1, "name": "p", "x": 1.0, "y": np.arange(num_parcels) / 4})
    model = BrainLM.from_pretrained(folder, parcels=Parcels(table.assign(z=2.0)))
    arrays = [rng.normal(10_000, 50, (length, num_parcels)) for length in (210, 420, 150)]
    transformer = BrainLMFeatures(model, tr=0.735).fit(arrays[:2])
    scaled = copy.copy(model)
    scaled.scaler = Scaler.fit_recordings(arrays[:2], "robust", divisor=model.scaler.divisor)
    expected = [scaled.embed(recording).cls for recording in recordings_of(arrays, tr=0.735)]
    np.testing.assert_allclose(transformer.transform(arrays), expected, **CLOSE)
