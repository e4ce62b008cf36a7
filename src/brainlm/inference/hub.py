"""A model put on the Hugging Face Hub, with its card and without anybody's name.

What leaves the house is decided in ``disclosure.py``, what the card says in ``card.py``; downloading is in
``download.py``. The weights published by BrainLM's authors are never sent anywhere.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from brainlm.errors import CheckpointError, ConfigError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.card import CARD_FILE, write_card
from brainlm.inference.disclosure import Disclosure, public_evaluation, public_provenance
from brainlm.inference.download import TROUBLE, said, status_of
from brainlm.inference.folder import EVALUATION_FILE, FILES, Checkpoint, read_checkpoint, write_checkpoint
from brainlm.model.official import read_official

logger = logging.getLogger(__name__)


def push_to_hub(
    model: BrainLM | Checkpoint | str | Path,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    commit_message: str | None = None,
    license: str | None = None,
    subjects: Disclosure = "hashed",
) -> str:
    """Upload a model with its card to ``repo_id`` (``name/model``), made if it is not there; returns its address.

    The repository then holds a checkpoint folder that ``BrainLM.from_pretrained(repo_id)`` opens, the scores of
    ``brainlm evaluate`` where the run has them, and README.md. Records leave without subjects' identifiers and paths.

    Args:
        model: a model, or the folder of a run or checkpoint; a README.md there that someone wrote is taken along.
        repo_id: where to.
        private: visible to you only. A repository that exists keeps what it is; one that is public is refused.
        token: of an account that may write there; the one of ``hf auth login`` or HF_TOKEN by default.
        commit_message: of the upload.
        license: of the weights, as the Hub names it (``cc-by-nc-4.0``), for the card; none is chosen for you.
        subjects: what becomes of the identifiers of the training subjects, see ``public_provenance``.

    Raises:
        CheckpointError: the weights are the published ones, which may not be passed on; or the Hub refuses.
        ConfigError: the name is no Hub id, or the repository is public and ``private`` is set.
    """
    _check_name(repo_id)
    folder = None if isinstance(model, BrainLM | Checkpoint) else Path(model)
    checkpoint = _public(_checkpoint(model), subjects=subjects)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "checkpoint"
        write_checkpoint(staged, checkpoint)
        if folder is not None and (folder / CARD_FILE).is_file():
            shutil.copy(folder / CARD_FILE, staged / CARD_FILE)
        write_card(staged, checkpoint, name=repo_id, license=license)
        with _hub_errors(repo_id):
            url = str(api.create_repo(repo_id, private=private, exist_ok=True))
            if private and not api.model_info(repo_id).private:
                raise _is_public(repo_id)
            api.upload_folder(
                repo_id=repo_id,
                folder_path=staged,
                commit_message=commit_message or f"Upload a {checkpoint.network.num_parameters:,}-parameter BrainLM",
                # What an earlier model had and this one has not (its scores) must not stay beside it.
                delete_patterns=[*FILES, EVALUATION_FILE],
            )
    logger.info("%s holds the model; its card says where it comes from: %s", repo_id, url)
    return url


def _checkpoint(model: BrainLM | Checkpoint | str | Path) -> Checkpoint:
    if isinstance(model, Checkpoint):
        return model
    if isinstance(model, BrainLM):
        return Checkpoint(model.network, model.scaler, model.parcels, model.provenance, model.evaluation)
    if read_official(Path(model)) is not None:
        raise _not_ours(str(model))
    return read_checkpoint(model)


def _public(checkpoint: Checkpoint, *, subjects: Disclosure) -> Checkpoint:
    """What may leave the house."""
    if _holds_released(checkpoint.provenance):
        raise _not_ours("this model")
    evaluation = checkpoint.evaluation
    return replace(
        checkpoint,
        provenance=public_provenance(checkpoint.provenance, subjects=subjects),
        evaluation=None if evaluation is None else public_evaluation(evaluation),
    )


def _holds_released(record: Any) -> bool:
    """True if the published weights stand anywhere in the record, such as what a model was fine-tuned from."""
    if isinstance(record, Mapping):
        return bool(record.get("released")) or any(_holds_released(entry) for entry in record.values())
    return isinstance(record, list | tuple) and any(_holds_released(entry) for entry in record)


def _not_ours(what: str) -> CheckpointError:
    return CheckpointError(
        f"{what} holds the weights that BrainLM's authors published, which brainlm passes on to nobody",
        expected="a model that was trained here",
        found="weights under CC BY-NC-ND 4.0, or made from them",
        remedy="point others to vandijklab/brainlm and tell them the settings; they convert their own copy",
    )


def _check_name(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
        well_formed = repo_id.count("/") == 1
    except HFValidationError:
        well_formed = False
    if not well_formed:
        raise ConfigError(
            f"{repo_id!r} is no name of a Hub repository",
            expected="name/model, of letters, digits, '-', '_' and '.'",
            found=repo_id,
        )


def _is_public(repo_id: str) -> ConfigError:
    return ConfigError(
        f"{repo_id} is there already and everybody can see it",
        expected="a repository that only you can see, for private is set",
        found="a public one; nothing was uploaded",
        remedy="give another name, make that one private on its page, or pass private=False to publish the model",
    )


@contextmanager
def _hub_errors(repo_id: str) -> Iterator[None]:
    """Turn what the Hub refuses into an error of ours that says what to do."""
    try:
        yield
    except (*TROUBLE, RuntimeError) as error:
        # A RuntimeError of the Hub's client is about a file that could not be sent; what it comes from says why.
        why = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        remedies = {
            401: "log in with `hf auth login`, or set HF_TOKEN to a token that may write",
            403: f"use a token that may write to {repo_id.split('/')[0]}, or a name of your own",
        }
        raise CheckpointError(
            f"{HfApi().endpoint} did not take the model as {repo_id}",
            found=said(why),
            remedy=remedies.get(status_of(why) or 0, "mend what it says, then push again"),
        ) from error
