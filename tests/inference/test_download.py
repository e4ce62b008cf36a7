"""Checkpoints from the Hub: what is fetched, what works without a connection, and what each refusal says."""

import errno
import logging
import os

import pytest
from hub_server import TOKEN, Repository, in_this_process
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from brainlm.errors import CheckpointError
from brainlm.inference import download
from brainlm.inference.download import HubFolder, fetch, needed_files, terms_of
from brainlm.inference.folder import FILES, locate

OWN = {name: f"content of {name}".encode() for name in FILES}
RELEASED = {"config.json": b"{}", "pytorch_model.bin": b"weights"}
PUBLISHED = {
    f"{folder}/{name}": data for folder in ("old_13M", "vitmae_111M", "vitmae_650M") for name, data in RELEASED.items()
} | {"README.md": b"---\nlicense: cc-by-nc-nd-4.0\n---\n"}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with in_this_process(monkeypatch, tmp_path) as hub:
        hub.repositories["lab/model"] = Repository(OWN | {"README.md": b"words", "notes/large.csv": b"1,2"})
        hub.repositories["vandijklab/brainlm"] = Repository(dict(PUBLISHED))
        yield hub


def stop(hub, monkeypatch):
    """No connection from here on: a port where nobody listens."""
    close_session()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    hub.requests.clear()


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("text", "subfolder", "expected"),
    [
        ("lab/model", None, HubFolder("lab/model")),
        ("lab/model/run", None, HubFolder("lab/model", "run")),
        ("lab/model", "runs/one/", HubFolder("lab/model", "runs/one")),
        ("lab/model/run", "last", HubFolder("lab/model", "run/last")),
        *(
            (text, None, None)
            for text in ("model", "./a/b", "/a/b", "~/m", "../a", "a/b/c/d", "a//b", "a b/c", "a/b..c")
        ),
    ],
)
def test_what_is_a_hub_id(text, subfolder, expected):
    assert HubFolder.parse(text, subfolder) == expected


def test_only_the_files_of_the_checkpoint_are_fetched(hub):
    assert files_in(locate("lab/model")) == OWN
    assert hub.asked_for("README|notes") == []


def test_what_is_there_is_not_fetched_again(hub):
    first = fetch(HubFolder("lab/model"))
    hub.requests.clear()
    assert fetch(HubFolder("lab/model")) == first
    assert hub.asked_for("^GET .*resolve") == []


def test_a_changed_file_is_fetched_anew(hub):
    fetch(HubFolder("lab/model"))
    hub.repositories["lab/model"].files["provenance.json"] = b"new"
    assert files_in(fetch(HubFolder("lab/model"))) == OWN | {"provenance.json": b"new"}
    assert len(hub.asked_for("^GET .*resolve.*safetensors")) == 2


@pytest.mark.parametrize(
    ("name", "subfolder"), [("vandijklab/brainlm/old_13M", None), ("vandijklab/brainlm", "old_13M")]
)
def test_one_folder_of_a_repository_is_fetched_alone(hub, name, subfolder):
    assert files_in(locate(name, subfolder=subfolder)) == RELEASED
    assert hub.asked_for("resolve.*vitmae") == []


def test_safetensors_are_preferred_to_a_pickle_and_scores_come_along():
    listing = [
        "a/config.json",
        "a/model.safetensors",
        "a/pytorch_model.bin",
        "a/evaluation.json",
        "a/optimizer.pt",
        "b/x",
    ]
    assert needed_files(listing, "a") == ["a/config.json", "a/model.safetensors", "a/evaluation.json"]
    assert needed_files(["config.json", "tf_model.h5"]) == []
    assert needed_files(["ab/config.json", "ab/model.safetensors"], "a") == []


def test_names_with_special_characters_are_taken_literally(hub):
    hub.repositories["lab/odd"] = Repository({f"[a]*/{name}": data for name, data in RELEASED.items()})
    assert files_in(locate("lab/odd", subfolder="[a]*")) == RELEASED


@pytest.mark.parametrize("name", ["lab/model", "vandijklab/brainlm/old_13M"])
def test_without_a_connection_the_cache_is_used(hub, monkeypatch, name):
    before = locate(name)
    stop(hub, monkeypatch)
    assert locate(name) == before
    assert hub.requests == []


def test_offline_mode_uses_the_cache_and_asks_nobody(hub, monkeypatch):
    before = locate("lab/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert locate("lab/model") == before
    with pytest.raises(CheckpointError, match=r"found: +HF_HUB_OFFLINE is set"):
        locate("lab/other")
    assert hub.requests == []


def test_without_a_connection_and_with_nothing_cached_the_error_says_what_to_download(hub, monkeypatch):
    stop(hub, monkeypatch)
    with pytest.raises(CheckpointError) as caught:
        locate("vandijklab/brainlm/old_13M")
    text = str(caught.value)
    assert "vandijklab/brainlm/old_13M is not on this computer and cannot be downloaded now" in text
    assert (
        "download config.json and pytorch_model.bin from http://127.0.0.1:9/vandijklab/brainlm/tree/main/old_13M"
        in text
    )
    assert "give that folder's path in place of vandijklab/brainlm/old_13M" in text
    assert "CC BY-NC-ND 4.0" in text
    assert "Connect" in text
    with pytest.raises(
        CheckpointError, match=r"scaler\.safetensors \(if there\)(.|\n)*/lab/model/tree/main into one folder"
    ):
        locate("lab/model")
    with pytest.raises(CheckpointError, match=r"one of its folders old_13M, vitmae_111M, vitmae_650M"):
        locate("vandijklab/brainlm")


def test_half_a_download_is_not_used(hub, monkeypatch):
    folder = locate("lab/model")
    (folder / "model.safetensors").unlink()
    stop(hub, monkeypatch)
    with pytest.raises(CheckpointError, match="cannot be downloaded now"):
        locate("lab/model")


def test_what_of_a_repository_is_in_the_cache_is_named_without_a_connection(hub, monkeypatch):
    locate("vandijklab/brainlm/old_13M")
    stop(hub, monkeypatch)
    with pytest.raises(CheckpointError, match=r"not a checkpoint itself(.|\n)*found: +old_13M\n"):
        locate("vandijklab/brainlm")


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_not_there_is_told_from_a_lost_connection():
    with pytest.raises(CheckpointError, match=r"there is no lab/nothing, neither(.|\n)*no token is set(.|\n)*spelling"):
        locate("lab/nothing")


def test_a_private_repository_opens_with_a_token_only(hub, monkeypatch):
    hub.repositories["lab/model"].private = True
    with pytest.raises(CheckpointError, match=r"there is no lab/model(.|\n)*if the repository is private, log in"):
        locate("lab/model")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert files_in(locate("lab/model")) == OWN


@pytest.mark.usefixtures("hub")
def test_a_token_without_access_is_said_so(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(CheckpointError, match=r"there is no lab/nothing(.|\n)*your token has no access"):
        locate("lab/nothing")


@pytest.mark.usefixtures("hub")
def test_a_token_that_is_not_valid_is_said_so(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(CheckpointError, match=r"does not accept your token(.|\n)*mend or unset HF_TOKEN"):
        locate("lab/model")


def test_a_gated_repository_says_where_to_ask(hub, monkeypatch):
    hub.repositories["lab/model"].gated = True
    with pytest.raises(
        CheckpointError, match=r"only to people whom its owners let in(.|\n)*ask for access on http://127"
    ) as e:
        locate("lab/model")
    assert "hf auth login" in str(e.value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert files_in(locate("lab/model")) == OWN


@pytest.mark.usefixtures("hub")
def test_a_folder_that_is_not_in_the_repository_is_told_with_those_that_are():
    with pytest.raises(
        CheckpointError, match=r"has no folder old_12M(.|\n)*old_13M, vitmae_111M, vitmae_650M(.|\n)*brainlm/old_13M"
    ):
        locate("vandijklab/brainlm/old_12M")


@pytest.mark.usefixtures("hub")
def test_a_repository_of_several_checkpoints_names_them():
    with pytest.raises(
        CheckpointError,
        match=r"not a checkpoint itself(.|\n)*old_13M, vitmae_111M, vitmae_650M(.|\n)*choose one, such as",
    ):
        locate("vandijklab/brainlm")


def test_a_repository_without_a_checkpoint_says_what_it_holds(hub):
    hub.repositories["lab/words"] = Repository({"config.json": b"{}", "tf_model.h5": b""})
    with pytest.raises(
        CheckpointError, match=r"lab/words on http(.|\n)*is not a checkpoint(.|\n)*config\.json, tf_model\.h5"
    ):
        locate("lab/words")
    hub.repositories["lab/words"].files = {"run/notes.txt": b""}
    with pytest.raises(CheckpointError, match=r"lab/words/run on http(.|\n)*is not a checkpoint(.|\n)*run/notes\.txt"):
        locate("lab/words/run")
    hub.repositories["lab/words"].files = {}
    with pytest.raises(CheckpointError, match=r"no files"):
        locate("lab/words")


def test_a_hub_out_of_order_is_said_so_and_the_cache_used(hub):
    before = locate("lab/model")
    hub.broken = True
    assert locate("lab/model") == before
    with pytest.raises(CheckpointError, match=r"cannot be downloaded now(.|\n)*out of order"):
        locate("vandijklab/brainlm/old_13M")


def test_a_log_in_page_in_between_is_no_hub(hub):
    hub.portal = True
    with pytest.raises(CheckpointError, match=r"cannot be downloaded now(.|\n)*JSONDecodeError"):
        locate("lab/model")


@pytest.mark.usefixtures("hub")
def test_a_full_disk_is_said_so(monkeypatch):
    real = download.snapshot_download

    def full(*names, local_files_only=False, **settings):
        if local_files_only:
            return real(*names, local_files_only=True, **settings)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "snapshot_download", full)
    with pytest.raises(CheckpointError, match=r"lab/model cannot be stored in(.|\n)*No space left(.|\n)*set HF_HOME"):
        locate("lab/model")


def test_size_and_licence_are_said_before_the_download(hub, caplog):
    hub.repositories["lab/model"].card = {"license": "other", "license_name": "consortium-only"}
    with caplog.at_level(logging.INFO, logger="brainlm"):
        locate("lab/model")
        locate("vandijklab/brainlm/old_13M")
    own, published = caplog.messages
    assert "5 files, 0.0 MB" in own
    assert "licence: consortium-only" in own
    assert "CC BY-NC-ND 4.0" in published


def test_the_terms_of_the_published_weights_are_known_before_they_are_had(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("vandijklab/brainlm/old_13M", "vandijklab/brainlm"):
        assert "CC BY-NC-ND 4.0" in terms_of(name)
    assert terms_of("lab/model") is None
    (tmp_path / "vandijklab" / "brainlm").mkdir(parents=True)
    assert terms_of("vandijklab/brainlm") is None  # a folder here, whatever is in it
