"""A planted leak: one test person is a copy of a training person, with another name, twice as large, as float16."""

import json
import shutil

import numpy as np
import pytest

from brainlm.data.recording import Recording
from brainlm.data.store import Store, StoreWriter
from brainlm.data.synthetic import synthetic_population, synthetic_recordings

COPY = "somebody-else"
PROBE = ("--target", "age", "--folds", 2, "--permutations", 0, "--num_bootstrap", 20, "--jobs", 1)


@pytest.fixture(scope="module", params=["train", "validation"])
def leak(study, tmp_path_factory, request):
    """People the run has not seen, and one whom it trained or validated on."""
    known = Store.open(study.store)
    population = synthetic_population(num_parcels=known.num_parcels, num_networks=2)
    fresh = list(synthetic_recordings(population, num_subjects=12, num_timepoints=90, seed=7))
    path = tmp_path_factory.mktemp("leak") / "leak.store"
    with StoreWriter(path, known.parcels, atlas=known.manifest.atlas, dtype="float16", phenotypes=["age"]) as writer:
        for number, made in enumerate(fresh):
            split = ("train", "validation", "test", "test")[number % 4]
            age = {"age": 20.0 + 3 * number}
            writer.add(Recording(made.bold, 2.0, f"new{number}", phenotypes=age), split=split)
        copied = known.select(split=request.param)[0]
        writer.add(Recording(2 * copied.bold, 2.0, COPY, phenotypes={"age": 50.0}), split="test")
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "RUN", "LEAK"),
        ("probe", "RUN", "LEAK", *PROBE),
        ("finetune", "RUN", "LEAK", "--target", "age", "--folds", 2),
        ("forecast", "RUN", "LEAK", "--methods", "linear"),
        ("forecast", "RUN", "STORE", "--methods", "linear", "--test_store", "LEAK"),
        ("evaluate", "RUN", "STORE", "--test_store", "LEAK"),
        ("networks", "RUN", "LEAK", "--labels", "network"),
    ],
    ids=lambda words: " ".join(map(str, words[:3])) + " --test_store" * ("--test_store" in words),
)
def test_every_verb_that_scores_people_refuses_the_copy_by_name(study, leak, speak, words):
    places = {"RUN": study.run, "LEAK": leak, "STORE": study.store}
    spoken = speak(*(places.get(word, word) for word in words))
    assert spoken.status == 2
    assert COPY in spoken.err
    assert "new" not in spoken.err.split("found:")[1].split("remedy:")[0]


def test_evaluate_judges_another_cohort_beside_its_store(study, leak, speak, tmp_path):
    """Nobody of it is in training or validation there: everything fitted comes from the run's own store."""
    fresh = Store.open(leak)
    others = fresh.take(np.flatnonzero(fresh.metadata["subject"] != COPY))
    path = tmp_path / "cohort.store"
    with StoreWriter(path, others.parcels, atlas=others.manifest.atlas, phenotypes=["age"]) as writer:
        for recording in others:
            writer.add(recording, split="test")
    spoken = speak("evaluate", study.run, study.store, "--test_store", path, "--num_bootstrap", 20)
    assert spoken.status == 0, spoken.err
    (found,) = tmp_path.rglob("evaluation.json")
    results = json.loads(found.read_text())
    assert results["store"]["num_subjects"] == 12
    assert results["store"]["fingerprint"] == Store.open(path).fingerprint


def test_probe_leaves_the_copy_out(study, leak, speak, tmp_path, caplog):
    run = shutil.copytree(study.run, tmp_path / "run")
    spoken = speak("probe", run, leak, *PROBE, "--methods", "linear", "--seen", "leave_out")
    assert spoken.status == 0, spoken.err
    assert "left out: 1 of the 13 people were seen in pretraining (of them 1 as copies" in caplog.text
    assert COPY in caplog.text
    (found,) = tmp_path.rglob("age.2-fold/results.json")
    assert json.loads(found.read_text())["target"]["num_subjects"] == 12


def test_attention_says_that_the_copy_was_seen(study, leak, speak, tmp_path):
    words = ("--out", tmp_path, "--num_bootstrap", 20, "--deletion_recordings", 0, "--attribution_recordings", 0)
    spoken = speak("attention", study.run, leak, *words)
    assert spoken.status == 0, spoken.err
    (found,) = tmp_path.rglob("results.json")
    assert COPY in json.loads(found.read_text())["facts"]["seen"]


def test_inspect_lists_copies_within_a_store(study, speak, tmp_path):
    known = Store.open(study.store)
    with StoreWriter(tmp_path / "a.store", known.parcels, atlas="", dtype="float16") as writer:
        writer.add(Recording(known[0].bold, 2.0, "one"), split="train")
        writer.add(Recording(2 * known[0].bold, 2.0, COPY), split="test")
    spoken = speak("inspect", tmp_path / "a.store")
    assert COPY in spoken.out
    assert "1 pairs" in spoken.out


def test_pretrain_and_probe_name_copies_within_a_store(study, speak, tmp_path):
    known = Store.open(study.store)
    path = tmp_path / "a.store"
    with StoreWriter(path, known.parcels, atlas=known.manifest.atlas, phenotypes=["age"]) as writer:
        for number in range(12):
            split = ("train", "validation", "test")[number % 3]
            age = {"age": 20.0 + 3 * number}
            writer.add(Recording(known[number].bold, 2.0, f"p{number}", phenotypes=age), split=split)
        writer.add(Recording(2 * known[0].bold, 2.0, COPY, phenotypes={"age": 50.0}), split="test")
    run = tmp_path / "run"
    spoken = speak("pretrain", path, "--out", run, "--config", study.config, "--training.epochs", 1)
    assert spoken.status == 0, spoken.err
    assert f"1 recordings have copies in another split (import again): p0 = {COPY}" in " ".join(spoken.out.split())
    spoken = speak("probe", run, path, *PROBE, "--methods", "linear", "--seen", "allow")
    assert spoken.status == 0, spoken.err
    assert f"1 pairs of people share a recording, and stay in one fold: p0 = {COPY}" in " ".join(spoken.out.split())
