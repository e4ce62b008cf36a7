"""``brainlm networks`` from the command line: a whole study, and what cannot be asked."""

import json

import pandas as pd
import pytest
import yaml

from brainlm.data.synthetic import synthetic_store
from brainlm.files import CHECKSUM

NUM_PARCELS = 48
QUICK = ("--folds", 3, "--repeats", 1, "--surrogates", 5, "--num_bootstrap", 20, "--subject_bootstrap", 2)
QUICK += ("--methods", "model,controls")
CONFIG = {
    "preset": "tiny",
    "model": {
        "num_timepoints": 40,
        "timepoints_per_patch": 10,
        "encoder_width": 16,
        "encoder_depth": 1,
        "encoder_heads": 2,
        "encoder_mlp": 16,
        "decoder_width": 16,
        "decoder_heads": 2,
        "decoder_mlp": 16,
    },
    "training": {"epochs": 1, "batch_size": 4, "mask": "random:0.5"},
}


@pytest.fixture(scope="module")
def told(speak, tmp_path_factory):
    """A run, a store of three planted networks, and what the verb said of them."""
    folder = tmp_path_factory.mktemp("told")
    store = synthetic_store(
        folder / "people.store",
        num_subjects=16,
        num_parcels=NUM_PARCELS,
        num_networks=3,
        num_timepoints=90,
        autoregression=0.3,
    )
    (folder / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    trained = speak("pretrain", store.path, "--out", folder / "run", "--config", folder / "small.yaml")
    assert trained.status == 0, trained.err
    return folder / "run", store.path, speak("networks", folder / "run", store.path, "--labels", "network", *QUICK)


def test_a_study_is_written_and_its_conclusion_said(told):
    run, _, spoken = told
    assert (spoken.status, spoken.err) == (0, "")
    results = json.loads((run / "networks" / "network" / "results.json").read_text())
    assert results["conclusion"][:40] in " ".join(spoken.out.split())
    assert f"brainlm report {run}" in " ".join(spoken.out.split())
    found = {method["name"]: method["scores"]["accuracy"]["value"] for method in results["methods"]}
    assert found["functional connectivity"] > 0.9
    assert len(pd.read_csv(run / "networks" / "network" / "table.csv")) == len(found)
    assert len(results["facts"]["model"]["weights_sha256"]) == 64


def test_results_that_are_there_are_replaced_on_request_only(told, speak):
    run, store, _ = told
    path = run / "networks" / "network" / "results.json"
    before = json.loads(path.read_text())
    refused = speak("networks", run, store, "--labels", "network", *QUICK)
    assert refused.status == 2
    assert "--overwrite" in refused.err
    assert speak("networks", run, store, "--labels", "network", *QUICK, "--overwrite").status == 0
    after = json.loads(path.read_text())
    other = {"facts": None, CHECKSUM: None}  # how long it took
    assert after | other == before | other


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--labels", "yeo7"), "one of network"),
        (("--labels", "network", "--split", "train"), "trained on subjects"),
        (("--labels", "network", "--methods", "controls"), "model's features"),
        (("--labels", "network", "--methods", "model,contrls"), "did you mean controls?"),
        (("--labels", "network", "--folds", 40), "cut into these folds"),
        (("--labels", "network", "--min_parcels", 100), "tell networks apart"),
        (("--labels", "network", "--max_recordings", 0), "max_recordings"),
        (("--labels", "network", "--layer", 7), "7"),
        (("--labels", "network", "--select", "site=nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_remedy(told, speak, words, complaint):
    run, store, _ = told
    spoken = speak("networks", run, store, *QUICK, *words, "--overwrite")
    assert spoken.status == 2
    assert complaint in spoken.err


def test_a_store_of_another_atlas_is_refused(told, study, speak):
    spoken = speak("networks", told[0], study.store, "--labels", "network", "--overwrite")
    assert spoken.status == 2
    assert "10 parcels" in spoken.err


def test_networks_too_small_for_folds_are_named(study, speak):
    spoken = speak("networks", study.run, study.store, "--labels", "network")
    assert spoken.status == 2
    assert "too small" in spoken.err
