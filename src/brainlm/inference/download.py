"""Checkpoints on the Hugging Face Hub: the files a model needs, downloaded once and kept in the Hub's own cache.

Without a connection the cache is used as it is; with nothing in it, the error says what to download from where. Putting
a model on the Hub is in ``hub.py``.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from brainlm.errors import CheckpointError
from brainlm.inference.folder import EVALUATION_FILE, FILES, no_such_folder, several
from brainlm.inference.released import LICENCE, REPOSITORY
from brainlm.model.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from brainlm.model.official import PICKLE_FILE

PUBLISHED_FOLDERS = ("old_13M", "vitmae_111M", "vitmae_650M")
PUBLISHED_TERMS = (
    f"The published BrainLM weights are their authors', under {LICENCE}: for non-commercial use, with attribution, not "
    f"to be shared in changed form. You download them from {REPOSITORY}; brainlm never passes them on."
)
TIMEOUT_S = 10.0  # until the Hub has answered; the same as the Hub's client waits for a file
# What says that the Hub cannot be had: its own errors, the network's, the disk's, and an answer that is no JSON (the
# log-in page of a guest network).
TROUBLE = (HTTPError, OSError, ValueError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubFolder:
    """A repository of the Hub, ``name/model``, and the folder in it; ``folder`` is empty for the repository's root."""

    repository: str
    folder: str = ""

    @classmethod
    def parse(cls, text: str, subfolder: str | None = None) -> HubFolder | None:
        """What ``name/model`` or ``name/model/folder`` means; None for a text that is no Hub id."""
        parts = text.split("/")
        if text.startswith((".", "/", "~")) or len(parts) not in (2, 3) or not all(parts):
            return None
        repository = "/".join(parts[:2])
        try:
            validate_repo_id(repository)
        except HFValidationError:
            return None
        return cls(repository, "/".join([*parts[2:], *([subfolder.strip("/")] if subfolder else [])]))

    def __str__(self) -> str:
        return f"{self.repository}/{self.folder}" if self.folder else self.repository

    @property
    def url(self) -> str:
        """The page that shows the files."""
        return f"{HfApi().endpoint}/{self.repository}/tree/main/{self.folder}".rstrip("/")

    @property
    def is_published(self) -> bool:
        """True for the weights that the authors of BrainLM published."""
        return self.repository.lower() == REPOSITORY


def terms_of(path_or_id: str | Path) -> str | None:
    """The terms of the weights that a Hub id names, one line to show before they are downloaded.

    None for a folder, and for repositories whose terms are known only to their own pages.
    """
    named = None if Path(path_or_id).exists() else HubFolder.parse(str(path_or_id))
    return PUBLISHED_TERMS if named is not None and named.is_published else None


def fetch(named: HubFolder) -> Path:
    """The local folder with the files of the checkpoint that ``named`` is, downloaded or brought up to date.

    Where the Hub cannot be asked, what the cache holds counts.

    Raises:
        CheckpointError: it is neither on the Hub, for this user, nor in the cache; or it is not a checkpoint.
    """
    try:
        info = HfApi().model_info(named.repository, files_metadata=True, timeout=TIMEOUT_S)
    except TROUBLE as error:
        return _from_cache(named, because=error)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    files = needed_files(sizes, named.folder)
    if not files:
        raise _no_checkpoint(named, sizes)
    licence = PUBLISHED_TERMS if named.is_published else f"licence: {_licence(info.card_data)}"
    megabytes = sum(sizes[file] for file in files) / 1e6
    logger.info("%s: %d files, %.1f MB, from %s. %s", named, len(files), megabytes, named.url, licence)
    try:
        snapshot = snapshot_download(named.repository, allow_patterns=[glob.escape(file) for file in files])
    except TROUBLE as error:
        return _from_cache(named, because=error, files=files)
    return Path(snapshot) / named.folder


def needed_files(listing: Iterable[str], folder: str = "") -> list[str]:
    """Which files of a repository make up the checkpoint in ``folder``, of ours or as published; none if there is none.

    Weights that are there in both formats are taken as safetensors, and nothing else of the folder is.
    """
    prefix = f"{folder}/" if folder else ""
    inside = {name.removeprefix(prefix) for name in listing if name.startswith(prefix)}
    weights = WEIGHTS_FILE if WEIGHTS_FILE in inside else PICKLE_FILE
    if not {CONFIG_FILE, weights} <= inside:
        return []
    return [prefix + name for name in dict.fromkeys((*FILES, weights, EVALUATION_FILE)) if name in inside]


def _checkpoints_in(listing: Iterable[str]) -> list[str]:
    """The folders of a repository that hold a checkpoint, without its root."""
    names = list(listing)
    folders = sorted({name.rpartition("/")[0] for name in names} - {""})
    return [folder for folder in folders if needed_files(names, folder)]


def _licence(card: Mapping[str, object] | object | None) -> str:
    licence = getattr(card, "license", None)
    return str(getattr(card, "license_name", None) or licence) if licence else "not stated"


def _from_cache(named: HubFolder, *, because: Exception, files: list[str] | None = None) -> Path:
    """What an earlier download left, if it is all there; otherwise the error that ``because`` means."""
    prefix = f"{named.folder}/" if named.folder else ""
    patterns = files or [prefix + name for name in (*FILES, EVALUATION_FILE)]
    try:
        snapshot = Path(
            snapshot_download(
                named.repository, allow_patterns=[glob.escape(name) for name in patterns], local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        raise _unreachable(named, because) from because
    there = {str(path.relative_to(snapshot).as_posix()) for path in snapshot.rglob("*") if path.is_file()}
    wanted = files or needed_files(there, named.folder)
    if wanted and there.issuperset(wanted):
        logger.info("%s: used as it is in the cache, for the Hub cannot be asked (%s)", named, said(because))
        return snapshot / named.folder
    if not named.folder and (inside := _checkpoints_in(there)):
        raise several(named.repository, inside) from because
    raise _unreachable(named, because) from because


def _no_checkpoint(named: HubFolder, listing: Iterable[str]) -> CheckpointError:
    """The Hub has the repository, but no checkpoint in this place."""
    names = sorted(listing)
    inside = _checkpoints_in(names)
    here = [name for name in names if name.startswith(f"{named.folder}/")] if named.folder else names
    if named.folder and not here:
        return no_such_folder(named.repository, named.folder, inside)
    if not named.folder and inside:
        return several(named.repository, inside)
    return CheckpointError(
        f"{named} on {HfApi().endpoint} is not a checkpoint",
        expected=f"{CONFIG_FILE} with {WEIGHTS_FILE} or {PICKLE_FILE}",
        found=", ".join(here[:8]) or "no files",
        remedy=f"look at {named.url}",
    )


def _unreachable(named: HubFolder, error: Exception) -> CheckpointError:
    """Why the Hub does not give out what is not in the cache either, in the user's words."""
    if isinstance(error, GatedRepoError):
        return CheckpointError(
            f"{named.repository} is given out only to people whom its owners let in",
            expected="a token of an account with access",
            found=_token_state(),
            remedy=f"ask for access on {named.url}, then log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, RepositoryNotFoundError):
        return CheckpointError(
            f"there is no {named.repository}, neither as a folder here nor on {HfApi().endpoint}",
            expected="a path, or the name of a repository that you may read",
            found=f"none of that name that the Hub shows you ({_token_state()})",
            remedy="check the spelling; if the repository is private, log in with `hf auth login` or set HF_TOKEN",
        )
    if status_of(error) in (401, 403):
        return CheckpointError(
            f"{HfApi().endpoint} does not accept your token",
            expected="a valid token that may read the repository, or none",
            found=said(error),
            remedy="log in anew with `hf auth login`, or mend or unset HF_TOKEN",
        )
    if isinstance(error, OSError) and error.errno is not None:
        return CheckpointError(
            f"{named} cannot be stored in {constants.HF_HUB_CACHE}",
            found=said(error),
            remedy="free space there, or set HF_HOME to a folder on another disk",
        )
    return CheckpointError(
        f"{named} is not on this computer and cannot be downloaded now",
        expected=f"a folder of that path, a copy in {constants.HF_HUB_CACHE}, or a connection to {HfApi().endpoint}",
        found=said(error),
        remedy=_by_hand(named),
    )


def _by_hand(named: HubFolder) -> str:
    """How to bring the files here from a computer that has internet."""
    files = ", ".join(f"{name} (if there)" for name in (*FILES[2:], EVALUATION_FILE))
    files = f"{CONFIG_FILE}, {WEIGHTS_FILE} or {PICKLE_FILE}, {files}"
    choice = ""
    if named.is_published:
        files = f"{CONFIG_FILE} and {PICKLE_FILE}"
        choice = "" if named.folder else f" (one of its folders {', '.join(PUBLISHED_FOLDERS)})"
    terms = f". {PUBLISHED_TERMS}" if named.is_published else ""
    return (
        f"where there is internet, download {files} from {named.url}{choice} into one folder; bring it here and give "
        f"that folder's path in place of {named}{terms}"
    )


def status_of(error: BaseException) -> int | None:
    """The HTTP status the Hub answered with, None where it did not answer."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None


def _token_state() -> str:
    return "your token has no access" if get_token() else "no token is set"


def said(error: BaseException) -> str:
    """One line of what went wrong: the Hub's own words where it has any."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, so nothing is asked for"
    server = getattr(error, "server_message", None)
    lines = [line.strip() for line in str(server or error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no more is known'}"
