"""Methods one after the other: nothing is computed twice, and what was interrupted goes on."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from brainlm.evaluation.phenotypes import running
from brainlm.evaluation.phenotypes.folds import FoldRule, make_folds
from brainlm.evaluation.phenotypes.predictions import Predictions, predictions_path, save_predictions
from brainlm.evaluation.phenotypes.problem import Problem
from brainlm.evaluation.phenotypes.running import Study, kept_rows, predict_all
from brainlm.evaluation.phenotypes.targets import read_cohort
from brainlm.inference.brainlm import BrainLM
from brainlm.model.config import ModelConfig

NUM_PEOPLE = 12


@dataclass
class Counting:
    """The training mean, and a note of every fold that was asked for; ``breaks_at`` is a fold that fails."""

    name: str = "counting"
    group: str = "chance"
    settings: str = "a"
    seen: str = ""
    in_parallel: bool = False
    breaks_at: int | None = None
    asked: list = field(default_factory=list)

    def predict(self, study, fold):
        if self.breaks_at == len(self.asked):
            raise KeyboardInterrupt
        self.asked.append(fold.name)
        return np.full((len(fold.test_M), 1), study.problem.values_N[fold.train_M].mean())


@pytest.fixture
def study(make_store) -> Study:
    store = make_store(subject=[f"{n:02d}" for n in range(NUM_PEOPLE)], score=[float(n * n) for n in range(NUM_PEOPLE)])
    cohort = read_cohort(store, "score", kind="regression")
    rule = FoldRule.parse("4", repeats=2)
    return Study(store, cohort, rule, make_folds(cohort, rule), Problem.from_cohort(cohort))


def test_everybody_is_predicted_once_a_repeat_from_others(study, tmp_path):
    (found,) = predict_all([Counting()], study, tmp_path)
    assert found.values_RNK.shape == (2, NUM_PEOPLE, 1)
    for fold in study.folds:
        expected = study.problem.values_N[fold.train_M].mean()
        np.testing.assert_allclose(found.values_RNK[fold.repeat, fold.test_M, 0], expected)


def test_what_is_there_is_not_computed_again(study, tmp_path):
    method = Counting()
    first = predict_all([method], study, tmp_path)[0]
    again = predict_all([method], study, tmp_path)[0]
    assert len(method.asked) == len(study.folds)
    np.testing.assert_array_equal(first.values_RNK, again.values_RNK)


def test_other_settings_or_other_labels_are_computed_anew(study, tmp_path):
    predict_all([Counting()], study, tmp_path)
    other = Counting(settings="b")
    predict_all([other], study, tmp_path)
    relabelled = Study(
        study.store, study.cohort, study.rule, study.folds, study.problem.with_values(study.problem.values_N[::-1])
    )
    again = Counting(settings="b")
    predict_all([again], relabelled, tmp_path)
    assert len(other.asked) == len(again.asked) == len(study.folds)


def test_an_interrupted_method_goes_on_with_its_next_fold(study, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "KEEP_AFTER_S", -1.0)
    whole = predict_all([Counting()], study, tmp_path / "whole")[0]
    with pytest.raises(KeyboardInterrupt):
        predict_all([Counting(breaks_at=5)], study, tmp_path)
    rest = Counting()
    found = predict_all([rest], study, tmp_path)[0]
    assert len(rest.asked) == len(study.folds) - 5
    np.testing.assert_array_equal(found.values_RNK, whole.values_RNK)
    assert not list(tmp_path.glob("predictions/*.part.npz"))


def test_several_processes_give_the_same_numbers_as_one(study, tmp_path):
    one = predict_all([Counting(in_parallel=True)], study, tmp_path / "one")[0]
    two = predict_all([Counting(in_parallel=True)], study, tmp_path / "two", jobs=2)[0]
    np.testing.assert_array_equal(one.values_RNK, two.values_RNK)


def test_progress_counts_folds_and_names_methods(study, tmp_path):
    told = []
    predict_all([Counting(), Counting(name="other")], study, tmp_path, on_progress=lambda *what: told.append(what))
    assert told[0] == (0, 16, "counting")
    assert told[-1] == (16, 16, "")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


def test_fine_tuned_rows_of_the_same_folds_are_kept_and_those_of_others_are_not(study, tmp_path):
    values = np.zeros((2, NUM_PEOPLE, 1))
    for name, key in (("same", f"{study.key}-1"), ("other", "another-1")):
        row = Predictions(name, "finetuned", key, 1.0, "", False, values)
        save_predictions(predictions_path(tmp_path, name), row)
    assert [row.method for row in kept_rows(tmp_path, study, but=[])] == ["same"]
    assert kept_rows(tmp_path, study, but=kept_rows(tmp_path, study, but=[])) == []


def test_vectors_of_resampled_recordings_are_other_settings(make_store, tmp_path, monkeypatch):
    from brainlm.evaluation.phenotypes import evidence

    store = make_store(subject=[f"{n:02d}" for n in range(4)], score=[float(n) for n in range(4)])
    vectors = {"mean": np.zeros((4, 3), np.float32)}
    monkeypatch.setattr(evidence, "cached_features", lambda *_, **__: vectors)
    monkeypatch.setattr(evidence, "untrained", lambda model, **_: model)
    monkeypatch.setattr(evidence, "weights_sha256", lambda _: "same")
    model = BrainLM.__new__(BrainLM)
    model.network = SimpleNamespace(config=ModelConfig())
    model.provenance = {"data": {"tr_s": [0.735]}}
    rule = evidence.RowRule(poolings=("mean",))
    made = [
        evidence.Evidence.gather(model, store, rule, cache=tmp_path, resample=resample).identity
        for resample in (False, True)
    ]
    assert made[0] == "same" != made[1]
