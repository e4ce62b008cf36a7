"""A model that is pushed comes back the same, with its card, and takes nobody's name along."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hub_server import TOKEN, Handler, Repository, in_this_process
from huggingface_hub import ModelCard
from synthetic_run import make_evaluation

from brainlm.errors import CheckpointError, ConfigError
from brainlm.files import sealed
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.folder import FILES, Checkpoint, write_checkpoint
from brainlm.inference.hub import push_to_hub

# huggingface_hub sends files in a way that its HTTP client wants spelled otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

RECORD = {
    "command": "brainlm pretrain /data/ana/a.store --out runs/a",
    "data": {
        "store": "a.store",
        "fingerprint": "ab12",
        "atlas": "synthetic",
        "source": {"description": "our study", "terms": "non-commercial research", "notes": "sub-OTTO has no scan"},
        "training_subjects": ["sub-KARL"],
        "exclusions": [{"source": "sub-OTTO_bold.tsv", "reason": "short", "remedy": ""}],
    },
}
# What a user does on another machine: the model by its name, a recording of their own.
EMBED = """
import sys
import numpy as np
from brainlm import BrainLM, Recording

from brainlm.files import sealed
model = BrainLM.from_pretrained(sys.argv[1])
recording = Recording(np.load(sys.argv[2]), tr=2.0, subject="sub-1")
np.save(sys.argv[3], model.embed(recording).cls)
"""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with in_this_process(monkeypatch, tmp_path) as hub:
        yield hub


@pytest.fixture
def checkpoint(model, rng) -> Checkpoint:
    evaluation = make_evaluation(model.parcels, rng)
    evaluation["model"]["num_parameters"] = model.network.num_parameters
    evaluation["store"]["path"] = "/data/ana/a.store"
    return Checkpoint(model.network, model.scaler, model.parcels, RECORD, evaluation)


@pytest.fixture
def run(checkpoint, tmp_path):
    """A run folder: a checkpoint, its scores, and files that stay at home."""
    folder = tmp_path / "runs" / "a"
    write_checkpoint(folder, checkpoint)
    (folder / "embeddings.parquet").write_bytes(b"of people")
    return folder


def in_another_process(code, *words, endpoint, home):
    """Run Python as a user of ``home`` would whose Hub is ``endpoint``."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "theirs"), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=os.environ | settings | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_pushed_model_opens_elsewhere_by_its_name_and_again_without_the_hub(model, run, store, tmp_path, monkeypatch):
    np.save(tmp_path / "bold.npy", store[0].bold)
    with in_this_process(monkeypatch, tmp_path) as hub:
        push_to_hub(run, "lab/pushed", token=TOKEN)
        assert len(hub.asked_for("^PUT /upload")) == 2
        words = "lab/pushed", tmp_path / "bold.npy"
        online = in_another_process(EMBED, *words, tmp_path / "online.npy", endpoint=hub.endpoint, home=tmp_path)
        assert online.returncode == 0, online.stderr
    offline = in_another_process(EMBED, *words, tmp_path / "offline.npy", endpoint=hub.endpoint, home=tmp_path)
    assert offline.returncode == 0, offline.stderr
    expected = model.embed(store[0]).cls
    for name in ("online.npy", "offline.npy"):
        np.testing.assert_array_equal(np.load(tmp_path / name), expected)


def test_the_repository_holds_the_checkpoint_its_scores_and_the_card(hub, run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push_to_hub(run, "lab/model") == f"{hub.endpoint}/lab/model"
    found = hub.repositories["lab/model"]
    assert sorted(found.files) == sorted([*FILES, "evaluation.json", "README.md"])
    assert found.files["model.safetensors"] == (run / "model.safetensors").read_bytes()
    card = ModelCard(found.files["README.md"].decode())
    assert 'BrainLM.from_pretrained("lab/model")' in card.text
    assert "Gaussian (space)" in card.text
    assert card.data.license == "other"
    assert found.commits == [f"Upload a {BrainLM.from_pretrained(run).network.num_parameters:,}-parameter BrainLM"]


def test_a_model_is_private_unless_said_otherwise(hub, model):
    push_to_hub(model, "lab/mine", token=TOKEN)
    push_to_hub(model, "lab/open", token=TOKEN, private=False, license="cc-by-nc-4.0", commit_message="first")
    assert hub.repositories["lab/mine"].private
    assert not hub.repositories["lab/open"].private
    assert hub.repositories["lab/open"].commits == ["first"]
    assert ModelCard(hub.repositories["lab/open"].files["README.md"].decode()).data.license == "cc-by-nc-4.0"


def test_a_private_push_into_a_public_repository_is_refused_before_anything_is_sent(hub, model):
    hub.repositories["lab/open"] = Repository({"old": b""})
    with pytest.raises(ConfigError, match=r"everybody can see it(.|\n)*nothing was uploaded(.|\n)*private=False"):
        push_to_hub(model, "lab/open", token=TOKEN)
    assert hub.repositories["lab/open"].files == {"old": b""}
    assert hub.asked_for("upload|commit|batch") == []


def test_nobodys_name_is_pushed(hub, run):
    push_to_hub(run, "lab/model", token=TOKEN)
    everything = b"".join(hub.repositories["lab/model"].files.values())
    for name in (b"KARL", b"OTTO", b"sub-01", b"/data", b"runs/"):
        assert name not in everything, name
    assert b"of people" not in everything
    provenance = json.loads(hub.repositories["lab/model"].files["provenance.json"])
    assert len(provenance["data"]["training_subjects_sha256"]["hashes"]) == 1
    assert json.loads((run / "provenance.json").read_text(encoding="utf-8")) == sealed(RECORD)  # at home all stays


def test_hashes_can_be_left_out(hub, run):
    push_to_hub(run, "lab/model", token=TOKEN, subjects="omitted")
    assert b"subjects_sha256" not in hub.repositories["lab/model"].files["provenance.json"]


def test_scores_of_an_earlier_model_do_not_stay_beside_a_new_one(hub, run, model):
    push_to_hub(run, "lab/model", token=TOKEN)
    hub.repositories["lab/model"].files["notes.txt"] = b"of the owner"
    push_to_hub(model, "lab/model", token=TOKEN)
    files = hub.repositories["lab/model"].files
    assert "evaluation.json" not in files
    assert files["notes.txt"] == b"of the owner"
    assert b"There are no scores of it here" in files["README.md"]


def test_a_card_that_someone_wrote_goes_along(hub, run):
    (run / "README.md").write_text("---\nlicense: mit\n---\nMy own words.\n", encoding="utf-8")
    push_to_hub(run, "lab/model", token=TOKEN)
    assert hub.repositories["lab/model"].files["README.md"].endswith(b"My own words.\n")


def test_a_card_that_the_hub_does_not_take_is_an_error(hub, run):
    (run / "README.md").write_text("No metadata.\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"did not take the model as lab/model(.|\n)*Invalid metadata"):
        push_to_hub(run, "lab/model", token=TOKEN)
    assert hub.repositories["lab/model"].files == {}


@pytest.mark.parametrize("record", [{"released": {"licence": "x"}}, {"tuned": [{"from": {"released": {"a": 1}}}]}])
def test_weights_that_are_not_ours_are_passed_on_to_nobody(hub, checkpoint, record):
    with pytest.raises(CheckpointError, match=r"passes on to nobody(.|\n)*CC BY-NC-ND"):
        push_to_hub(dataclasses.replace(checkpoint, provenance=record), "lab/model", token=TOKEN)
    assert hub.requests == []


def test_a_published_folder_is_passed_on_to_nobody(hub, shared):
    with pytest.raises(CheckpointError, match=r"old_13M_tiny holds the weights(.|\n)*passes on to nobody"):
        push_to_hub(shared / "fixtures" / "official" / "old_13M_tiny", "lab/model", token=TOKEN)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["model", "a/b/c", "lab/mo del", "lab/model--x"])
def test_a_name_that_is_none_is_refused(hub, model, name):
    with pytest.raises(ConfigError, match=r"is no name of a Hub repository(.|\n)*name/model"):
        push_to_hub(model, name, token=TOKEN)
    assert hub.requests == []


def test_a_file_that_the_hub_does_not_take_is_told_with_the_reason(hub, model, monkeypatch):
    monkeypatch.setattr(Handler, "upload", lambda handler, _: handler.refuse(400, "", "the disk of the Hub is full"))
    with pytest.raises(CheckpointError, match=r"did not take(.|\n)*the disk of the Hub is full"):
        push_to_hub(model, "lab/model", token=TOKEN)
    assert hub.repositories["lab/model"].files == {}


@pytest.mark.usefixtures("hub")
def test_without_a_token_the_error_says_how_to_get_one(model):
    with pytest.raises(CheckpointError, match=r"did not take the model(.|\n)*hf auth login"):
        push_to_hub(model, "lab/model")


def test_a_token_that_may_not_write_is_said_so(hub, model):
    hub.is_read_only = True
    with pytest.raises(CheckpointError, match=r"rights to create(.|\n)*a token that may write to lab"):
        push_to_hub(model, "lab/model", token=TOKEN)


def test_a_hub_that_is_not_there_is_said_so(hub, model):
    hub.broken = True
    with pytest.raises(CheckpointError, match=r"did not take(.|\n)*out of order(.|\n)*push again"):
        push_to_hub(model, "lab/model", token=TOKEN)
