"""``brainlm attention``: where the model looks, whether that differs, and whether it means anything."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from rich.markup import escape

from brainlm.cli.console import Parts, ProgressBar, console, next_command, progress_bar, say, show_table, step
from brainlm.cli.next_steps import command_line
from brainlm.cli.phenotype_desk import command_typed
from brainlm.cli.released import check_output, fit_if_needed, open_model, results_folder
from brainlm.cli.result_verbs import part_of
from brainlm.errors import ConfigError
from brainlm.evaluation.statistics import SIGNIFICANT

if TYPE_CHECKING:
    from brainlm.data.store import Store
    from brainlm.evaluation.attention.running import AttentionStudy
    from brainlm.inference.brainlm import BrainLM

SHOWN = 8  # parcels of a table on screen; all are in table.csv


def attention(
    run: str,
    store: Path,
    *,
    contrast: str = "",
    levels: str = "",
    within: str = "",
    layer: str = "-1",
    head: int | None = None,
    split: Literal["train", "validation", "test", "all"] = "all",
    select: list[str] = [],
    networks: str = "",
    permutations: int = 10_000,
    num_bootstrap: int = 1000,
    deletion_recordings: int = 40,
    attribution_recordings: int = 20,
    name: str = "",
    out: Path | None = None,
    seed: int = 0,
    batch_size: int = 8,
    device: str = "cpu",
    resample: bool = False,
    overwrite: bool = False,
) -> int:
    """Where does the model look, does that differ between conditions or groups, and does it mean anything?

    Writes maps of CLS attention with intervals over subjects, a contrast with permutation tests on subjects, means by
    network, and the checks that such a map needs: its correlation with amplitude and connectivity, deletion and
    insertion of parcels, and gradients.

    Args:
        run: a run folder, a checkpoint folder, a published folder or a Hugging Face Hub id.
        store: the recordings.
        contrast: column of the store to contrast: conditions within people, or groups of people.
        levels: the two values to compare, joined by a comma, the second is subtracted; low,high of a column of
            numbers are below and above its median over people.
        within: column (site) within which groups are compared.
        layer: an encoder block from 0, or from -1 at the end; mean of all; or rollout through all.
        head: one head of that block, from 0; the mean over heads by default.
        split: which recordings.
        select: narrow them by columns of the store, such as --select site=NYU,UM.
        networks: network column of parcels.tsv; the first one by default.
        permutations: of the contrast; the smallest p is one over their number.
        num_bootstrap: resamples of people for the 95 % intervals.
        deletion_recordings: recordings in which parcels are hidden and shown; 0 for none.
        attribution_recordings: recordings of which gradients are taken; 0 for none.
        name: of the result's folder; contrast and levels by default.
        out: folder that gets attention/NAME; the run folder by default, and for what is no run folder one beside the
            store.
        seed: of hiding, permutations and resamples.
        batch_size: windows at a time; changes no result.
        device: where the model computes.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        overwrite: replace results that are there.
    """
    from brainlm.data.store import Store
    from brainlm.evaluation.attention.rule import AttentionRule, MapChoice
    from brainlm.evaluation.attention.running import (
        RESULTS_FILE,
        STUDIES,
        attention_study,
        check_question,
        write_images,
        write_study,
    )

    begun = time.monotonic()
    rule = AttentionRule(
        choice=MapChoice.parse(layer, head),
        contrast=contrast,
        levels=tuple(word.strip() for word in levels.split(",")) if levels else (),
        within=within,
        networks=networks,
        permutations=permutations,
        num_bootstrap=num_bootstrap,
        deletion_recordings=deletion_recordings,
        attribution_recordings=attribution_recordings,
        seed=seed,
        batch_size=batch_size,
        resample=resample,
    )
    folder = (results_folder(run, store) if out is None else out) / STUDIES / _folder_name(name or rule.name)
    check_output(folder / RESULTS_FILE, overwrite=overwrite, otherwise="--name for another folder")
    opened = Store.open(store)
    chosen = part_of(opened, split, select)
    check_question(chosen, rule)
    model = open_model(run, device=device)
    model.check_store(chosen)
    fit_if_needed(model, opened, resample=resample)
    step(f"attention of {run} in {len(chosen)} recordings of {store} ({' '.join([split, *select])})")
    with _Bars() as bars:
        study = attention_study(
            model,
            chosen,
            rule,
            folder=folder,
            facts=lambda: _facts(run, model, chosen, begun),
            on_progress=bars.update,
        )
    study = replace(study, results=study.results | {"name": folder.name})
    write_study(study)
    parts = Parts()
    atlas = _atlas(run, opened)
    files: dict[str, Any] = {"nifti": [], "surface": None, "view": None}
    with parts.part("NIfTI images of the maps"):
        files["nifti"] = write_images(study, atlas)
    for kind, draw in (("surface", _surface), ("view", _view)):
        with parts.part(f"the picture ({kind})"):
            files[kind] = draw(study, atlas)
    study = replace(study, results=study.results | {"files": files})
    write_study(study)
    with parts.part("the tables on screen"):
        _show(study)
    if atlas is None:
        say("the store has no label image: maps are in table.csv, pictures show markers, and there are no NIfTI images")
    say(f"written: {folder}")
    next_command(command_line("report", run))
    return parts.status()


def _folder_name(name: str) -> str:
    if name in (".", "..") or "/" in name or name == "maps":
        raise ConfigError("this cannot be the name of a result", expected="a plain name", found=f"--name {name}")
    return name


def _atlas(run: str, store: Store) -> Path | None:
    """The label image of the store, else that of the run folder."""
    from brainlm.data.manifest import ATLAS_IMAGE

    beside = Path(run) / ATLAS_IMAGE
    return store.atlas_image or (beside if beside.is_file() else None)


def _surface(study: AttentionStudy, atlas: Path | None) -> str | None:
    """A still picture; None where there is nothing to draw on."""
    from brainlm.report.attention_pictures import write_surface

    name, shown = "maps/surface.png", _shown(study)
    drawn = write_surface(
        study.folder / name, study.parcels, atlas, shown.values_P, label=shown.label, centre=shown.centre
    )
    return name if drawn else None


def _view(study: AttentionStudy, atlas: Path | None) -> str | None:
    """A brain that can be turned; None where there is nothing to draw on."""
    from brainlm.report.attention_pictures import write_view

    name, shown = "view.html", _shown(study)
    drawn = write_view(
        study.folder / name, study.parcels, atlas, shown.values_P, label=shown.label, centre=shown.centre
    )
    return name if drawn else None


@dataclass(frozen=True, eq=False)
class _Shown:
    """A map to draw: its label and the value in the middle of its colours."""

    values_P: np.ndarray
    label: str
    centre: float


def _shown(study: AttentionStudy) -> _Shown:
    """The contrast's t where there is one, else attention."""
    t_P = study.t_P
    if t_P is None:
        return _Shown(study.relative_P, "attention / uniform", 1.0)
    contrast = study.results["contrast"]
    num_parcels = sum(t is not None for t in contrast["t"])
    # A map of t looks vivid also where nothing is to be seen.
    found_in = f"{contrast['num_significant'] or 'no'} of {num_parcels} parcels with q ≤ {SIGNIFICANT:g}"
    return _Shown(t_P, f"t, {contrast['direction']} ({found_in})", 0.0)


def _facts(run: str, model: BrainLM, store: Store, begun: float) -> dict[str, Any]:
    import brainlm
    from brainlm.evaluation.model_method import unseen
    from brainlm.inference.identity import weights_sha256

    return {
        "program": f"brainlm {brainlm.__version__}",
        "command": command_typed(),
        "run": Path(run).name,
        "store": {"name": store.path.name, "fingerprint": store.fingerprint},
        "weights_sha256": weights_sha256(model),
        "preset": model.provenance.get("preset", ""),
        "num_parameters": model.network.num_parameters,
        "seen": f"{seen}." if (seen := unseen(model, store, "allow")[1]) else "",
        "wall_time_s": round(time.monotonic() - begun, 1),
    }


class _Bars:
    """One bar after the other, each for one kind of work."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._what = ""
        self._bar: ProgressBar | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def update(self, what: str, done: int, total: int) -> None:
        """Say how far this kind of work is."""
        if self._bar is None or what != self._what:
            self._stack.close()
            self._bar, self._what = self._stack.enter_context(progress_bar(what)), what
        self._bar.update(done, total)


def _show(study: AttentionStudy) -> None:
    """The parcels that stand out, the networks, and the conclusion."""
    table = study.table()
    columns = ["name", "network", "relative_to_uniform"]
    if study.t_P is None:
        top = table.sort_values("relative_to_uniform", ascending=False, kind="stable")
        title = f"{study.results['what']}: the most attended parcels"
    else:
        columns += ["t", "p", "q", "p_fwe"]
        top = table.iloc[table["t"].abs().fillna(0.0).argsort(kind="stable")[::-1]]
        title = f"{study.results['contrast']['direction']}: the largest differences of {study.results['what']}"
    top = top.drop_duplicates("patch") if "patch" in top else top  # parcels of a patch have one attention
    show_table(title, top[columns].head(SHOWN).rename(columns={"relative_to_uniform": "relative"}))
    if study.results["networks"]:
        show_table("by network", pd.DataFrame(map(_network_row, study.results["networks"])))
    console.print(f"[bold]{escape(study.results['conclusion'])}[/bold]", soft_wrap=True)
    for one in (study.results["contrast"] or {}).get("confounds", ()):
        if one["p"] <= SIGNIFICANT:
            console.print(f"[yellow]{escape(one['sentence'])}[/yellow]", soft_wrap=True)
    for note in study.results["notes"]:
        say(f"- {note}")


def _network_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    relative, tested = entry["attention_relative"], entry["contrast"]
    limits = "" if relative["low"] is None else f"{relative['low']:.3f} to {relative['high']:.3f}"
    row = {"network": entry["name"], "parcels": entry["num_parcels"], "relative": relative["value"], "95 %": limits}
    return row | ({} if tested is None else {"t": tested["t"], "p": tested["p"], "q": tested["q"]})
