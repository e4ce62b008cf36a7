"""``brainlm convert``, and what other verbs do with the published weights: their terms, their scaling, their results.

What the weights are is in ``inference/released.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from brainlm.atomic import check_writable, locked, replacing_folder
from brainlm.cli.console import next_command, print_table, progress_bar, say, step
from brainlm.cli.endings import DONE, SOME_FAILED, until_the_end
from brainlm.cli.next_steps import command_line
from brainlm.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from brainlm.data.store import Store
    from brainlm.inference.brainlm import BrainLM


def convert(
    official: str,
    out: Path,
    *,
    subfolder: str | None = None,
    parcels: Path | None = None,
    check: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Write a published checkpoint (old_13M, vitmae_111M, vitmae_650M) as one of our checkpoint folders.

    Args:
        official: the published folder, or its Hub id (vandijklab/brainlm).
        out: the checkpoint folder to write.
        subfolder: of a Hub id or a folder, such as old_13M.
        parcels: parcels.tsv of weights of the same layout that belong to other parcels than A424.
        check: .npz file with inputs and the authors' outputs, to compare with what the written folder computes.
        overwrite: replace a folder that is there.
    """
    from brainlm.data.parcels import Parcels
    from brainlm.inference.brainlm import BrainLM
    from brainlm.inference.folder import locate
    from brainlm.inference.parity import check_inputs, read_expected
    from brainlm.inference.released import parcels_of
    from brainlm.model.official import read_official

    if out.is_file():
        raise ConfigError(f"{out} is a file", expected="the checkpoint folder to write", remedy="give another name")
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise ConfigError(f"{out} exists", remedy="give --overwrite to replace it, or another folder")
    expected = None if check is None else read_expected(check)
    terms_shown = show_terms_of(official)
    folder = locate(official, subfolder=subfolder)
    found = read_official(folder)
    if found is None:
        raise CheckpointError(
            f"{folder} is no published checkpoint",
            expected="config.json with model_type brainlm_mae (13M) or vit_mae (111M, 650M), and its weights",
            found=", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing",
            remedy="give one of the folders old_13M, vitmae_111M, vitmae_650M; our own checkpoints need no conversion",
        )
    if out.exists() and out.samefile(folder):
        raise ConfigError(
            f"{out} is the published checkpoint itself, and would be lost", remedy="give another folder to write"
        )
    if expected is not None:
        check_inputs(expected, found.config, found.num_parcels)
    step(f"converting {folder} -> {out}")
    table = Parcels.read(parcels) if parcels is not None else parcels_of(found, expected)
    model = BrainLM.from_pretrained(folder, parcels=table)
    with replacing_folder(out, kind=CheckpointError) as written:
        model.save_pretrained(written)
    say(f"{found.layout}, {model.network.num_parameters:,} parameters, {found.num_parcels} parcels")
    if not terms_shown:
        show_terms(model)
    say("its scaling statistics were never published: they are fitted on your recordings when it is used")
    agrees = expected is None or _compare(out, expected, found.mask_ratio)
    next_command(command_line("embed", out, "STORE"))
    return DONE if agrees else SOME_FAILED


def _compare(out: Path, expected: Mapping[str, Tensor], mask_ratio: float) -> bool:
    """Show how far the written folder is from the authors' outputs; True if nowhere too far."""
    from brainlm.inference.brainlm import BrainLM
    from brainlm.inference.parity import TOLERANCE, differences

    table = Table(title="largest difference from the authors' outputs", title_justify="left", box=None)
    table.add_column("")
    for name in ("difference", "mean absolute value"):
        table.add_column(name, justify="right")
    found = differences(BrainLM.from_pretrained(out).network, expected, mask_ratio)
    for one in found:
        colour = "green" if one.is_same else "red"
        table.add_row(one.quantity, f"[{colour}]{one.largest:.2e}[/{colour}]", f"{one.typical:.3g}")
    print_table(table)
    too_far = [one.quantity for one in found if not one.is_same]
    say(f"more than {TOLERANCE:g} apart: {', '.join(too_far)}" if too_far else f"all within {TOLERANCE:g}")
    return not too_far


def open_model(path_or_id: str, *, device: str = "cpu") -> BrainLM:
    """The model, on the device; the terms of published weights are said once: of a Hub id before it is downloaded."""
    from brainlm.inference.brainlm import BrainLM

    terms_shown = show_terms_of(path_or_id)
    model = BrainLM.from_pretrained(path_or_id).to(device)
    if not terms_shown:
        show_terms(model)
    return model


def show_terms_of(path_or_id: str) -> bool:
    """Say under which terms the published weights that a Hub id names are, and their atlas, before they are had.

    True if anything was said; nothing is for a folder, of which only its content tells what it is (``show_terms``).
    """
    if Path(path_or_id).exists():  # the Hub's client is not loaded for it
        return False
    from brainlm.data.named_atlases import A424_TERMS
    from brainlm.inference.download import terms_of

    terms = terms_of(path_or_id)
    if terms is None:
        return False
    say(terms)
    say(f"atlas: {A424_TERMS}")
    return True


def show_terms(model: BrainLM) -> None:
    """Say under which terms the published weights in an open model and their atlas are; nothing for other models."""
    from brainlm.data.named_atlases import A424_TERMS
    from brainlm.inference.download import PUBLISHED_TERMS
    from brainlm.inference.released import ATLAS

    if "released" not in model.provenance:
        return
    say(PUBLISHED_TERMS)
    if model.provenance["data"]["atlas"] == ATLAS:
        say(f"atlas: {A424_TERMS}")


def scaling_cohort(model: BrainLM, store: Store) -> Store | None:
    """The recordings that the scaler of published weights is fitted on: those for training, or all where none are.

    None for a model that has its scaler. Worth checking before the long work of fitting.
    """
    if model.scaler.fitted:
        return None
    training = bool((store.metadata["split"] == "train").any())
    return store.select(split="train") if training else store


def fit_if_needed(model: BrainLM, store: Store, *, resample: bool = False, strict: bool = True) -> bool:
    """Fit the scaler of published weights on the ``scaling_cohort`` of a store, resampled as it will be used.

    True if that was needed; it is said and recorded. With ``strict`` the cohort is checked before the long work of
    fitting; verbs that only warn of another repetition time do without.

    Raises:
        DataError: (strict) a recording of the cohort has another repetition time than the weights expect.
    """
    from brainlm.inference.cohort import check_recordings

    cohort = scaling_cohort(model, store)
    if cohort is None:
        return False
    if strict:
        check_recordings(cohort, model, resample=resample)
    training = bool((store.metadata["split"] == "train").any())
    which = "training recordings" if training else "recordings; it has no training split"
    say(f"scaling fitted on the store's {len(cohort)} {which} (the statistics of these weights were never published)")
    with progress_bar("fitting the scaling"):
        model.fit_scaler(cohort, resample=resample)
    model.provenance["scaler_fitted_on"] = {
        "store": store.path.name,
        "fingerprint": cohort.fingerprint,
        "num_recordings": len(cohort),
        "split": "train" if training else "all",
        "resample": resample,
    }
    return True


def check_output(path: Path, *, overwrite: bool, otherwise: str = "") -> None:
    """Refuse, before anything is computed, results that would replace others or cannot be written.

    Until the verb ends, other processes are refused that would write the same.

    Raises:
        ConfigError: they are there already, or the folder cannot be written.
        DataError: another process is writing them.
    """
    hold(path)
    if path.exists() and not overwrite:
        remedy = "give --overwrite to replace it" + (f", or {otherwise}" if otherwise else "")
        raise ConfigError(f"{path} exists", remedy=remedy)


def hold(path: Path) -> None:
    """Keep other processes from writing ``path`` until the verb ends.

    Raises:
        ConfigError: the folder cannot be written.
        DataError: another process is writing there.
    """
    check_writable(path)
    until_the_end(locked(path.parent, of=path.name))


def results_folder(model: str | Path, store: Path, *, of: Store | None = None) -> Path:
    """Where results go unless said: a run or checkpoint folder of our own, else a folder beside the store.

    Results that a folder has room for once are there of the store that the model was trained on: ``of`` another store,
    they go beside that. For published weights and Hub ids that is, for ``study.store`` and ``old_13M``,
    ``study.old_13M``: they stay as they are, and what is fitted to one study stays with that study.
    """
    from brainlm.inference.folder import PROVENANCE_FILE, read_provenance

    folder = Path(model)
    there = (folder / PROVENANCE_FILE).is_file()
    record: dict[str, Any] = read_provenance(folder) if there else {"released": True}
    known = [record.get(part, {}).get("fingerprint") for part in ("data", "finetuned")]
    if "released" not in record and (of is None or of.fingerprint in known):
        return folder
    if store.name in ("", ".."):  # the folder that one is in has its name all the same
        store = store.resolve()
    return store.with_name(f"{store.name.removesuffix('.store')}.{folder.resolve().name}")
