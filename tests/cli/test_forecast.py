"""``brainlm forecast`` on the tutorial's study: the numbers of ``model.forecast``, files, and what it refuses."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from brainlm.data.store import Store
from brainlm.data.synthetic import synthetic_store
from brainlm.evaluation.forecasting.entrants import Span
from brainlm.files import CHECKSUM
from brainlm.inference.brainlm import BrainLM


@pytest.fixture(scope="module")
def forecast_run(study, tmp_path_factory):
    """A copy of the run, which tests may write into."""
    return shutil.copytree(study.run, tmp_path_factory.mktemp("forecast") / "run")


@pytest.fixture(scope="module")
def spoken(study, forecast_run, speak):
    words = ("--methods", "linear", "--num_bootstrap", 20)
    return speak("forecast", forecast_run, study.store, *words)


@pytest.fixture(scope="module")
def results(spoken, forecast_run):
    assert spoken.status == 0, spoken.err
    return json.loads((forecast_run / "forecasts" / "30-10" / "results.json").read_text())


def test_it_ends_with_a_table_the_band_and_the_next_commands(spoken, results):
    for part in ("R²", "AR(1)", "linear ceiling", "filter", "--finetune --overwrite", "brainlm report"):
        assert part in spoken.out
    assert results["conclusion"].split(":")[0] in spoken.out.replace("\n", " ")


def test_the_results_hold_what_the_report_wants(results):
    assert (results["kind"], results["context"], results["horizon"]) == ("forecast", 30, 10)
    (cohort,) = results["cohorts"]
    names = [method["name"] for method in cohort["methods"]]
    assert names[0] == "BrainLM, zero-shot"
    assert names[-2:] == ["Last value", "Context mean"]
    assert cohort["main"] == names[0]
    assert results["facts"]["num_parameters"] > 0
    assert "nobody of them is tested" in results["facts"]["pretraining"]
    assert not any("never seen all parcels hidden" in note for note in results["notes"])  # future:1 was in its masks


def test_the_table_has_a_row_for_each_method(results, forecast_run):
    table = pd.read_csv(forecast_run / "forecasts" / "30-10" / "table.csv")
    assert list(table["method"]) == [method["name"] for method in results["cohorts"][0]["methods"]]
    assert table["r2"].notna().all()


@torch.no_grad()
def test_the_verb_scores_what_the_python_call_gives(study, forecast_run, results):
    model = BrainLM.from_pretrained(forecast_run)
    store = Store.open(study.store).select(split="test")
    windows = Span.of(model).judged(store, model)
    squared, count = 0.0, 0
    for batch in windows.batches():
        for row, (position, start) in enumerate(zip(batch.recording_B, batch.start_B, strict=True)):
            recording = store[int(position)]
            cut = type(recording)(recording.bold[int(start) : int(start) + 30], recording.tr, recording.subject)
            future_TP = model.forecast(cut, horizon=10)
            restored_BPH = model.scaler.restore(batch.future_BPH, batch.statistics)
            spread_P = model.scaler.iqr_P[:, None]
            missed = (future_TP.T - restored_BPH[row].numpy()) / spread_P
            squared, count = squared + float((missed.astype(np.float64) ** 2).sum()), count + missed.size
    (cohort,) = results["cohorts"]
    assert cohort["num_values"] == count
    assert cohort["methods"][0]["scores"]["mse"]["value"] == pytest.approx(squared / count, rel=1e-4)


def test_a_result_is_not_replaced_unasked_and_then_reuses_its_scores(study, forecast_run, results, speak):
    refused = speak("forecast", forecast_run, study.store, "--methods", "linear")
    assert refused.status == 2
    assert "--overwrite" in refused.err
    kept = {path: path.stat().st_mtime_ns for path in (forecast_run / "forecasts" / "30-10" / "scores").iterdir()}
    again = speak("forecast", forecast_run, study.store, "--methods", "linear", "--num_bootstrap", 20, "--overwrite")
    assert again.status == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    found = json.loads((forecast_run / "forecasts" / "30-10" / "results.json").read_text())
    for one in (found, results):
        one["facts"] = one[CHECKSUM] = None  # how long it took
    assert found == results


def test_another_cohort_is_judged_by_the_same_methods(study, forecast_run, speak, tmp_path):
    other = synthetic_store(
        tmp_path / "other.store", num_subjects=10, num_parcels=10, num_networks=2, num_timepoints=80, tr=1.0
    )
    words = (
        "--context",
        20,
        "--horizon",
        15,
        "--methods",
        "linear",
        "--num_bootstrap",
        20,
        "--max_windows_per_recording",
        1,
    )
    found = speak("forecast", forecast_run, study.store, "--test_store", other.path, "--allow_seen", *words)
    assert found.status == 0, found.err
    results = json.loads((forecast_run / "forecasts" / "20-15" / "results.json").read_text())
    test, elsewhere = results["cohorts"]
    assert (test["name"], elsewhere["name"], elsewhere["num_windows"]) == ("test", "other", 10)
    assert [m["name"] for m in test["methods"]] == [m["name"] for m in elsewhere["methods"]]
    assert any("repetition time of 1 s; the model was trained on 2 s" in note for note in results["notes"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--context", 25), "--context 20 or 30"),
        (("--context", 40), "at most 30"),
        (("--horizon", 500), "530 time points or more"),
        (("--horizon", -1), "a horizon of at least 1"),
        (("--methods", "linar"), "did you mean linear"),
        (("--learning_rates", "fast"), "numbers joined by commas"),
        (("--split", "train"), "trained on subjects it would be judged on"),
    ],
)
def test_bad_input_is_said_and_nothing_is_written(study, forecast_run, speak, words, said):
    before = sorted(path.name for path in (forecast_run / "forecasts").glob("*"))
    found = speak("forecast", forecast_run, study.store, "--overwrite", *words)
    assert found.status == 2
    assert said in found.err
    assert sorted(path.name for path in (forecast_run / "forecasts").glob("*")) == before


def test_a_store_from_another_atlas_is_refused(study, forecast_run, speak, tmp_path):
    other = synthetic_store(tmp_path / "other.store", num_subjects=10, num_parcels=12, num_networks=2)
    found = speak("forecast", forecast_run, other.path, "--methods", "linear", "--overwrite")
    assert found.status == 2
    assert "12 parcels" in found.err
    found = speak(
        "forecast", forecast_run, study.store, "--test_store", other.path, "--methods", "linear", "--overwrite"
    )
    assert found.status == 2
    assert "12 parcels" in found.err


@pytest.mark.slow
def test_all_methods_together(study, forecast_run, speak):
    words = ("--context", 10, "--horizon", 12, "--finetune", "--epochs", 1, "--num_bootstrap", 20)
    found = speak("forecast", forecast_run, study.store, *words)
    assert found.status == 0, found.err
    folder = forecast_run / "forecasts" / "10-12"
    results = json.loads((folder / "results.json").read_text())
    groups = [method["group"] for method in results["cohorts"][0]["methods"]]
    assert groups == [
        "model",
        "finetuned",
        "neural",
        "neural",
        "neural",
        "scratch",
        "linear",
        "linear",
        "simple",
        "simple",
    ]
    assert results["cohorts"][0]["main"] == "BrainLM, fine-tuned"
    assert "same budget" in results["tuning"]
    model = BrainLM.from_pretrained(folder / "finetuned")
    assert model.forecast(Store.open(study.store)[0], horizon=12, context=10).shape == (12, 10)
