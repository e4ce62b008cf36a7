"""Probe, fine-tune and predict through the command line: a planted signal, a label that means nothing, bad input."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from brainlm.data.recording import Recording
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import synthetic_population, synthetic_recordings
from brainlm.files import CHECKSUM

NUM_PARCELS, NUM_PEOPLE = 10, 60
QUICK = ("--permutations", 30, "--num_bootstrap", 100, "--jobs", 1, "--methods", "linear")
TARGETS = ("--target", "dx", "--target", "coin", "--positive", "patient", *QUICK)


def write_people(path, *, first: int, num: int, tr: float = 2.0, num_parcels: int = NUM_PARCELS) -> Store:
    """People whose first two parcels go together if they are patients; ``coin`` means nothing."""
    population = synthetic_population(num_parcels=num_parcels, num_networks=2)
    rng = np.random.default_rng(first)
    labels = ("dx", "coin", "age", "level", "words")
    with StoreWriter(path, population.parcels, atlas="synthetic", phenotypes=labels) as writer:
        drawn = list(synthetic_recordings(population, num_subjects=num, num_timepoints=90, seed=first))
        for number, recording in enumerate(drawn):
            patient = bool(number % 2)
            bold = recording.bold.copy()
            shared = rng.normal(size=len(bold)).astype(np.float32) * bold.std()
            bold[:, 0] += 2 * shared
            bold[:, 1] += 2 * shared if patient else rng.normal(size=len(bold)).astype(np.float32) * 2 * bold.std()
            values = {
                "dx": "patient" if patient else "control",
                "coin": str(rng.choice(["heads", "tails"])),
                "age": float(20 + rng.integers(50)),
                "level": 1.0,
                "words": f"w{number}",
            }
            site = ("north", "south", "west")[number % 3]
            writer.add(
                Recording(bold, tr, f"p{first + number}", site=site, atlas="synthetic", source="", phenotypes=values),
                split="test",
            )
    return Store.open(path)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A store of people that the run of ``study`` has never seen."""
    return write_people(tmp_path_factory.mktemp("people") / "people.store", first=1000, num=NUM_PEOPLE)


@pytest.fixture(scope="module")
def probed(study, people, speak, tmp_path_factory):
    """A copy of the run with one probe of two targets in it, and what was said."""
    run = tmp_path_factory.mktemp("probed") / "run"
    shutil.copytree(study.run, run)
    return run, speak("probe", run, people.path, *TARGETS)


def results_of(run, name: str) -> dict:
    return json.loads((run / "phenotypes" / name / "results.json").read_text())


def scores(results: dict) -> dict[str, dict]:
    return {method["name"]: method["scores"]["auroc"] for method in results["methods"]}


def test_a_planted_signal_is_found_by_connectivity_and_not_by_nuisance(probed):
    run, spoken = probed
    assert (spoken.status, spoken.err) == (0, "")
    auroc = scores(results_of(run, "dx.5-fold"))
    assert auroc["Connectivity (correlation), logistic"]["low"] > 0.7
    nuisance = next(value for name, value in auroc.items() if name.startswith("Nuisance"))
    assert nuisance["low"] < 0.5 < nuisance["high"]


def test_a_label_that_means_nothing_is_found_nowhere(probed):
    results = results_of(probed[0], "coin.5-fold")
    found = [name for name, score in scores(results).items() if score["low"] > 0.5]
    assert len(found) <= 1, found  # at 95 %, among a dozen rows
    assert results["permutation"]["p"] > 0.05


def test_every_control_has_a_row(probed):
    found = {method["group"] for method in results_of(probed[0], "dx.5-fold")["methods"]}
    assert found == {"chance", "nuisance", "signal", "connectivity", "random-init", "model", "fusion"}


def test_several_targets_have_their_p_adjusted_and_the_site_is_judged(probed):
    for name in ("dx.5-fold", "coin.5-fold"):
        results = results_of(probed[0], name)
        assert results["permutation"]["p_adjusted"] >= results["permutation"]["p"] > 0
        assert results["site_prediction"]["num_sites"] == 3
    assert results_of(probed[0], "dx.5-fold")["target"]["positive"] == "patient"


def test_predictions_are_a_table_of_every_person_and_method(probed, people):
    run, _ = probed
    folder = run / "phenotypes" / "dx.5-fold"
    table = pd.read_csv(folder / "predictions.csv", dtype={"fold": str})
    results = json.loads((folder / "results.json").read_text())
    assert list(table.columns) == [
        *("subject", "site", "target", "method", "repeat", "fold", "observed", "predicted", "probability_patient")
    ]
    assert set(table["method"]) == {method["name"] for method in results["methods"]}
    assert (table.groupby("method")["subject"].nunique() == NUM_PEOPLE).all()
    assert len(table) == NUM_PEOPLE * len(results["methods"])
    truth = dict(zip(people.metadata["subject"].astype(str), people.metadata["dx"], strict=True))
    assert (table["observed"] == table["subject"].map(truth)).all()
    main = table[table["method"] == results["main"]]
    assert ((main["probability_patient"] > 0.5) == (main["predicted"] == "patient")).all()
    connectome = table[table["method"] == "Connectivity (correlation), logistic"]
    assert (connectome["predicted"] == connectome["observed"]).mean() > 0.7


def test_the_conclusion_is_said_and_the_table_written(probed):
    run, spoken = probed
    results = results_of(run, "dx.5-fold")
    assert results["conclusion"].split(":")[0][:40] in " ".join(spoken.out.split())
    table = pd.read_csv(run / "phenotypes" / "dx.5-fold" / "table.csv")
    assert list(table["method"]) == [method["name"] for method in results["methods"]]


def test_a_second_run_gives_the_same_numbers_and_computes_nothing(probed, people, speak):
    run, _ = probed
    before = results_of(run, "dx.5-fold")
    made = {path: path.stat().st_mtime_ns for path in run.rglob("*.np?")}
    assert speak("probe", run, people.path, *TARGETS).status == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.np?")} == made
    after = results_of(run, "dx.5-fold")
    other = {"facts": None, CHECKSUM: None}  # how long it took
    assert after | other == before | other


def test_taking_confounds_off_and_harmonising_is_another_study(probed, people, speak):
    run, _ = probed
    before = results_of(run, "dx.5-fold")
    words = ("--target", "dx", "--positive", "patient", *QUICK)
    assert speak("probe", run, people.path, *words, "--confounds", "age", "--harmonise", "site").status == 0
    results = results_of(run, "dx.5-fold.without-age.harmonised-site")
    assert (results["facts"]["confounds"], results["facts"]["harmonised"]) == (["age"], "site")
    assert scores(results)["Connectivity (correlation), logistic"]["low"] > 0.6
    assert results_of(run, "dx.5-fold") == before
    shutil.rmtree(run / "phenotypes" / "dx.5-fold.without-age.harmonised-site")


def test_the_report_has_the_studies(probed, speak):
    run, _ = probed
    assert speak("report", run).status == 0
    assert results_of(run, "dx.5-fold")["conclusion"][:30] in (run / "report.html").read_text()


def test_people_seen_in_pretraining_are_refused_left_out_or_marked(study, speak, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(study.run, run)
    words = ("probe", run, study.store, "--target", "sex", "--folds", 2, "--permutations", 0, "--num_bootstrap", 20)
    words += ("--jobs", 1)
    refused = speak(*words, "--methods", "linear")
    assert refused.status == 2
    assert "trained on subjects it would be judged on" in refused.err
    assert speak(*words, "--methods", "linear", "--seen", "allow").status == 0
    results = results_of(run, "sex.2-fold")
    assert {method["group"] for method in results["methods"] if method["seen"]} == {"model", "fusion"}
    assert "seen in pretraining" in results["facts"]["pretraining"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--target", "dxx"), "nearest: dx"),
        (("--target", "level"), "level"),
        (("--target", "words"), "words"),
        (("--target", "dx", "--folds", 100), "folds"),
        (("--target", "dx", "--confounds", "dx"), "the target itself"),
        (("--target", "dx", "--confounds", "agee"), "nearest: age"),
        (("--target", "dx", "--harmonise", "site", "--keep", "dx"), "the target itself"),
        (("--target", "site", "--folds", "leave-site-out"), "another column than the target"),
        (("--target", "dx", "--folds", "leave-site-out", "--harmonise", "site"), "exclude one another"),
        (("--target", "dx", "--methods", "nonlinear"), "main row"),
        (("--target", "dx", "--methods", "linaer"), "did you mean linear?"),
        (("--target", "dx", "--positive", "patent"), "no target has the class"),
        (("--target", "dx", "--group", "family"), "family"),
        (("--target", "dx", "--jobs", 0), "--jobs"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_remedy(study, people, speak, words, complaint):
    spoken = speak("probe", study.run, people.path, "--permutations", 0, "--num_bootstrap", 10, "--jobs", 1, *words)
    assert spoken.status == 2
    assert complaint in spoken.err
    shutil.rmtree(study.run / "phenotypes", ignore_errors=True)
    shutil.rmtree(study.run / "features", ignore_errors=True)


def test_a_store_of_other_parcels_or_another_repetition_time_is_refused(study, speak, tmp_path):
    for settings, complaint in (({"num_parcels": 9}, "9 parcels"), ({"tr": 0.7}, "repetition time")):
        store = write_people(tmp_path / f"{complaint}.store", first=5000, num=4, **settings)
        spoken = speak("probe", study.run, store.path, "--target", "dx")
        assert spoken.status == 2
        assert complaint in spoken.err


def test_a_fine_tuned_model_joins_the_table_and_predicts_people_it_has_never_seen(probed, people, speak, tmp_path):
    run, _ = probed
    spoken = speak(
        "finetune", run, people.path, "--target", "dx", "--positive", "patient", *QUICK,
        "--head", "linear", "--train", "last:1",
        "--tuning.supervised.epochs", 4, "--tuning.supervised.learning_rate", 3e-3,
    )  # fmt: skip
    assert (spoken.status, spoken.err) == (0, "")
    results = results_of(run, "dx.5-fold")
    rows = {method["group"]: method["name"] for method in results["methods"]}
    assert rows["finetuned"] == "Fine-tuned (last:1, cls, linear head)"
    made = [path.stat().st_mtime_ns for path in (run / "phenotypes" / "dx.5-fold" / "predictions").iterdir()]
    assert speak("probe", run, people.path, "--target", "dx", "--positive", "patient", *QUICK).status == 0
    assert [path.stat().st_mtime_ns for path in (run / "phenotypes/dx.5-fold/predictions").iterdir()] == made
    assert results_of(run, "dx.5-fold")["methods"] == results["methods"]
    store = write_people(tmp_path / "new.store", first=9000, num=5)
    model = run / "phenotypes" / "dx.5-fold" / "model"
    assert speak("predict", model, store.path, "--out", tmp_path / "dx.tsv").status == 0
    table = pd.read_csv(tmp_path / "dx.tsv", sep="\t")
    assert set(table["predicted"]) <= {"patient", "control"}
    assert len(table) == 5
    assert table["probability of patient"].between(0, 1).all()
    again = speak("predict", model, store.path, "--out", tmp_path / "dx.tsv")
    assert again.status == 2
    assert "--overwrite" in again.err
    nothing = speak("predict", run, store.path)
    assert nothing.status == 2
    assert "no head" in nothing.err
