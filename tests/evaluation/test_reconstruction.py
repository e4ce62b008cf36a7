"""evaluation.json from end to end on a small synthetic store."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from brainlm.baselines.interpolation import Zero
from brainlm.baselines.predictor import ANY_MASK
from brainlm.data.synthetic import synthetic_store
from brainlm.evaluation import fitting
from brainlm.evaluation.fitting import fit_baselines, refit_baselines
from brainlm.evaluation.masking import conditions
from brainlm.evaluation.reconstruction import BootstrapSettings, evaluate_reconstruction
from brainlm.model.masks import Mask

CONDITIONS = conditions(4)
QUICK = BootstrapSettings(num_bootstrap=50)


@dataclass(frozen=True)
class Oracle:
    """Knows the truth."""

    name: str = "Oracle"
    mask_kinds: frozenset[str] = ANY_MASK

    def predict(self, batch):
        return batch.signal_BPT


@dataclass(frozen=True)
class Contrary:
    """Says the opposite of the truth."""

    name: str = "Contrary"
    mask_kinds: frozenset[str] = frozenset({"random"})

    def predict(self, batch):
        return -batch.signal_BPT


@pytest.fixture(scope="module")
def baselines(store, scaler, masked):
    return fit_baselines(store.select(split="train"), masked("validation"), scaler, CONDITIONS)


@pytest.fixture(scope="module")
def result(baselines, masked):
    return evaluate_reconstruction(Oracle(), baselines, masked(), CONDITIONS, bootstrap=QUICK)


def scores(condition: dict) -> dict[str, float]:
    return {method["name"]: method["r2"] for method in condition["methods"]}


def test_the_result_is_plain_json(result):
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_every_condition_is_there_with_the_methods_that_apply(result):
    assert [(entry["mask"], entry["amount"]) for entry in result["conditions"]] == [
        (mask.kind, mask.amount) for mask in CONDITIONS
    ]
    names = {entry["label"]: set(scores(entry)) for entry in result["conditions"]}
    everywhere = {"Oracle", "Zero", "Gaussian (space-time)"}
    own = {
        f"Gaussian ({what}{time})" for what in ("recording", "recording and window") for time in ("", ", space-time")
    }
    in_space = {"Gaussian (space)"} | own
    assert names["random 75 %"] == everywhere | in_space | {"Linear interpolation"}
    assert names["parcel 50 %"] == everywhere | in_space
    future = names["future 1 patch"] - everywhere
    assert "Last value" in future
    assert len(future) == 2
    assert any(name.startswith("AR(") for name in future)


def test_a_perfect_model_has_r2_one_and_beats_every_baseline(result):
    for condition in result["conditions"]:
        model = condition["methods"][0]
        assert model["is_model"]
        assert model["r2"] == model["r2_low"] == model["r2_high"] == 1.0
        assert condition["difference"]["low"] > 0
        others = {name: value for name, value in scores(condition).items() if name != "Oracle"}
        assert condition["best_baseline"] == max(others, key=others.__getitem__)


def test_the_gaussians_find_the_structure_between_parcels(result):
    at_20 = scores(result["conditions"][0])
    assert at_20["Gaussian (space)"] > 0.3
    assert at_20["Gaussian (space-time)"] > at_20["Gaussian (space)"]
    assert at_20["Zero"] < 0.01


def test_parts_have_the_size_of_what_they_describe(result):
    store = result["store"]
    for condition in result["conditions"]:
        for method in condition["methods"]:
            assert len(method["r2_per_parcel"]) == 10
            assert len(method["r2_per_subject"]) == store["num_subjects"]
            if condition["mask"] == "future":
                assert len(method["r2_by_step"]) == 10 * condition["amount"]
            else:
                assert "r2_by_step" not in method


def test_negative_r2_is_shown_as_it_is(masked):
    found = evaluate_reconstruction(Contrary(), [Zero()], masked(), [Mask("random", 0.5)], bootstrap=QUICK)
    condition = found["conditions"][0]
    assert scores(condition)["Contrary"] < -2
    assert condition["difference"]["high"] < -2


def test_batch_size_does_not_change_the_scores(baselines, masked):
    masks = [Mask("random", 0.5), Mask("future", 1.0)]
    one, other = (
        evaluate_reconstruction(None, baselines, masked(batch_size=size), masks, bootstrap=QUICK) for size in (2, 16)
    )
    for left, right in zip(one["conditions"], other["conditions"], strict=True):
        assert left["num_hidden_values"] == right["num_hidden_values"]
        assert scores(left) == pytest.approx(scores(right), abs=1e-5)


def test_the_same_again_gives_the_same_bytes(baselines, masked, result):
    again = evaluate_reconstruction(Oracle(), baselines, masked(), CONDITIONS, bootstrap=QUICK)
    assert json.dumps(again) == json.dumps(result)


def test_without_a_model_there_is_no_difference(baselines, masked):
    found = evaluate_reconstruction(None, baselines, masked(), [Mask("parcel", 0.5)], bootstrap=QUICK)
    assert found["conditions"][0]["difference"] is None
    assert found["conditions"][0]["best_baseline"] is not None


def test_a_single_subject_has_no_intervals_and_a_note(baselines, masked, store):
    alone = store.select(split="test").take(np.array([0]))
    found = evaluate_reconstruction(Oracle(), baselines, masked(of=alone), [Mask("random", 0.5)], bootstrap=QUICK)
    condition = found["conditions"][0]
    assert condition["methods"][0]["r2"] == 1.0
    assert condition["methods"][0]["r2_low"] is None
    assert condition["difference"]["low"] is None
    assert any("one subject" in note for note in found["notes"])


def test_progress_runs_to_its_end(masked):
    seen: list[tuple[int, int]] = []
    windows = masked(batch_size=4)
    masks = [Mask("random", 0.5), Mask("parcel", 0.5)]
    evaluate_reconstruction(
        None, [Zero()], windows, masks, bootstrap=QUICK, on_progress=lambda done, total: seen.append((done, total))
    )
    total = 2 * windows.num_batches
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_values_that_are_not_valid_never_count(masked, monkeypatch):
    windows = masked()
    parcel_2 = torch.arange(10)[:, None] == 2
    original = type(windows.scaler).apply

    def without_parcel_2(self, raw_BPT, statistics):
        scaled = original(self, raw_BPT, statistics)
        valid_BPT = scaled.valid_BPT & ~parcel_2
        return type(scaled)(scaled.signal_BPT * valid_BPT, valid_BPT)

    monkeypatch.setattr(type(windows.scaler), "apply", without_parcel_2)
    found = evaluate_reconstruction(Oracle(), [Zero()], windows, [Mask("random", 0.5)], bootstrap=QUICK)
    for method in found["conditions"][0]["methods"]:
        assert method["r2_per_parcel"][2] is None
        assert all(value is not None for value in method["r2_per_parcel"][3:])


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Another cohort of the same parcels, whose parcels go together in another way."""
    return synthetic_store(
        tmp_path_factory.mktemp("elsewhere") / "elsewhere.store",
        num_subjects=24, num_parcels=10, num_networks=5, num_timepoints=(100, 180), seed=7,
    )  # fmt: skip


def test_baselines_refitted_within_a_cohort_stand_beside_and_are_not_compared_with(baselines, masked, elsewhere):
    windows = masked().of(elsewhere)
    masks = [Mask("random", 0.5)]
    refitted = refit_baselines(windows, masks)
    found = evaluate_reconstruction(Oracle(), baselines, windows, masks, refitted=refitted, bootstrap=QUICK)
    reached = scores(found["conditions"][0])
    assert reached["Gaussian (space), refitted"] > reached["Gaussian (space)"] + 0.05
    assert "refitted" not in found["conditions"][0]["best_baseline"]


def test_nobody_is_filled_in_by_what_was_fitted_to_him(masked, elsewhere, monkeypatch):
    taught = []

    def fit(training, validation, *_, **__):
        taught.append((training, validation))
        return [Zero()]

    monkeypatch.setattr(fitting, "fit_baselines", fit)
    (method,) = refit_baselines(masked().of(elsewhere), [Mask("random", 0.5)])
    people = elsewhere.metadata["subject"].to_numpy()
    for half, (training, validation) in enumerate(taught):
        learned = {*training.metadata["subject"], *validation.windows.store.metadata["subject"]}
        assert learned == set(people[method.half_N != half])
        assert not learned & set(people[method.half_N == half])
        assert not set(training.metadata["subject"]) & set(validation.windows.store.metadata["subject"])


def test_a_cohort_of_few_people_is_not_divided(masked, elsewhere):
    assert refit_baselines(masked().of(elsewhere.take(np.arange(12))), [Mask("random", 0.5)]) == []
