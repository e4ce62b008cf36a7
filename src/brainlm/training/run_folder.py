"""The folder of a run: who writes it, whether it holds a run to go on with, and what becomes of one that is replaced.

What is written into it is ``run.py``'s and ``callbacks.py``'s business.
"""

from __future__ import annotations

import difflib
import logging
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from brainlm.atomic import content_of, disk_errors, locked, remove
from brainlm.data.store import Store
from brainlm.errors import CheckpointError, ConfigError, DataError
from brainlm.files import read_yaml
from brainlm.inference.folder import PROVENANCE_FILE, read_provenance
from brainlm.training.callbacks import LAST_STATE, PREVIOUS_STATE

SETTINGS_FILE = "config.yaml"
ASIDE = ".replaced"  # the run that is replaced, until the new one has its first state
MOVING = ".replacing"  # the same while it is moved there or back
PER_STEP = ("batch_size", "accumulate")  # together with the devices they say how many windows make a step

logger = logging.getLogger(__name__)


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Keep other processes out of ``run``, and nothing in it half replaced: neither now, nor when the block ends.

    Raises:
        ConfigError: it holds something that is no run.
        DataError: another process trains there.
    """
    if run.exists() and not (run.is_dir() and (_is_run(run) or not content_of(run))):
        raise ConfigError(
            f"{run} exists and is not a run folder",
            expected="a new folder, or one with a run to go on with",
            found=f"a folder without {SETTINGS_FILE}" if run.is_dir() else "a file",
            remedy="choose another --out",
        )
    with locked(run):
        _settle(run)
        try:
            yield
        finally:
            _settle(run)


def _is_run(run: Path) -> bool:
    return any((run / name).exists() for name in (SETTINGS_FILE, ASIDE, MOVING))


def set_aside(run: Path) -> None:
    """Make room for a new run. The old one comes back unless the new one gets as far as its first state."""
    moving = run / MOVING
    with disk_errors(run):
        old = content_of(run)
        moving.mkdir()
        for path in old:
            path.rename(moving / path.name)
        moving.rename(run / ASIDE)


def forget_replaced(run: Path) -> None:
    """Remove the run that was set aside; the new one has its first state."""
    if (run / ASIDE).is_dir():
        shutil.rmtree(run / ASIDE)


def _settle(run: Path) -> None:
    """End a replacement: with the new run if it has a state to go on from, else with the old one."""
    aside, moving = run / ASIDE, run / MOVING
    if aside.is_dir() and (run / LAST_STATE).is_file():
        forget_replaced(run)
    elif aside.is_dir():
        for path in content_of(run):
            if path != aside:
                remove(path)
        aside.rename(moving)
    if moving.is_dir():
        for path in moving.iterdir():
            path.rename(run / path.name)
        moving.rmdir()
        logger.warning("%s: the new run did not get as far as its first checkpoint; the old one is back", run)


def check_goes_on(run: Path, identity: Mapping[str, Any], store: Store, *, num_devices: int) -> bool:
    """Whether ``run`` holds a run to go on with; False where it is empty.

    The windows of a step belong to a run, not how they are divided among devices and accumulated batches.

    Raises:
        ConfigError: it holds a run with other settings.
        DataError: its run used other data.
        CheckpointError: what it would go on from is damaged.
    """
    if not (run / SETTINGS_FILE).is_file():
        return False
    content = read_yaml(
        run / SETTINGS_FILE,
        what="the settings of a run",
        remedy="restore it, give another --out, or --overwrite to start anew",
        kind=ConfigError,
        needs=dict.fromkeys(identity, dict),
    )
    before = {part: content[part] for part in identity}
    there = (run / PROVENANCE_FILE).is_file()  # not in a run that was killed before its first file
    record = read_provenance(run, needs={"data.fingerprint": str}) if there else {}
    _check_same_settings(run, before, identity, num_devices=num_devices, per_step=record.get("windows_per_step"))
    if record and record["data"]["fingerprint"] != store.fingerprint:
        was = record["data"]["fingerprint"]
        raise DataError(
            f"{run} was trained on other data",
            expected=f"the store with fingerprint {was[:12]}",
            found=f"{store.path} with fingerprint {store.fingerprint[:12]}",
            remedy="give the same store, another --out, or --overwrite to start anew",
        )
    _check_state(run)
    return True


def _check_same_settings(
    run: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, num_devices: int, per_step: int | None
) -> None:
    known, given = dict(before["training"]), dict(now["training"])
    windows = given["batch_size"] * given["accumulate"] * num_devices
    if per_step is not None:  # not recorded before the first files, and by versions before this one
        known, given = ({k: v for k, v in part.items() if k not in PER_STEP} for part in (known, given))
    old, new = {**before, "training": known}, {**now, "training": given}
    if old != new:
        raise ConfigError(
            f"{run} holds a run with other settings",
            expected="the same settings, to go on with it",
            found="\n" + _difference(old, new),
            remedy="give the same settings, another --out, or --overwrite to start anew",
        )
    if per_step is not None and windows != per_step:
        training = now["training"]
        raise ConfigError(
            f"{run} holds a run with another number of windows a step",
            expected=f"{per_step} windows a step: batch_size x accumulate x devices",
            found=f"{training['batch_size']} x {training['accumulate']} x {num_devices} = {windows}",
            remedy="use as many devices as before, or other --training.batch_size or --training.accumulate that give"
            f" {per_step}; another --out or --overwrite start anew",
        )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = (yaml.safe_dump(dict(part), sort_keys=False).splitlines() for part in (before, now))
    return "\n".join(difflib.unified_diff(old, new, "the run in the folder", "this command", lineterm="", n=0))


def _check_state(run: Path) -> None:
    """Make sure that the state to go on from is whole; a damaged one is replaced by the one before it.

    The result is the same: what lies between is done again.
    """
    last, previous = run / LAST_STATE, run / PREVIOUS_STATE
    damage = _damage_of(last) if last.exists() or previous.exists() else None
    if damage is None:
        return
    if _damage_of(previous) is not None:
        raise CheckpointError(
            f"{last} is damaged, and there is no whole state before it",
            expected="the state to go on from, as it was written",
            found=damage,
            remedy="restore it from a backup, or start anew with --overwrite; the models in the folder are"
            " not affected",
        )
    logger.warning("%s is damaged (%s): going on from the state before it", last, damage)
    with disk_errors(run):
        previous.replace(last)


def _damage_of(path: Path) -> str | None:
    """What is wrong with a state; None where it is whole. Reads and checks all of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
        return None if part is None else f"the checksum of {part} does not fit"
    except FileNotFoundError:
        return "it is missing"
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        return f"{path.stat().st_size} bytes that are no whole archive: {error}"
