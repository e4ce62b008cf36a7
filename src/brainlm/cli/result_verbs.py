"""``brainlm evaluate`` and ``brainlm report``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape
from rich.table import Table

from brainlm.cli.console import Parts, console, next_command, print_table, progress_bar, say, show_failures, step
from brainlm.cli.next_steps import embedding_of, probe_of, report_on
from brainlm.cli.released import check_output, fit_if_needed, open_model, results_folder
from brainlm.errors import ConfigError
from brainlm.files import write_json

if TYPE_CHECKING:
    from brainlm.data.store import Store


def evaluate(
    run: str,
    store: Path,
    *,
    split: Literal["train", "validation", "test", "all"] = "test",
    select: list[str] = [],
    test_store: Path | None = None,
    out: Path | None = None,
    max_windows_per_recording: int | None = None,
    num_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "cpu",
    allow_seen: bool = False,
    overwrite: bool = False,
) -> int:
    """Judge how well a model fills in hidden signal, beside its baselines, on subjects it has not seen.

    Every method gets the same windows and masks. Baselines are fitted to the store's training recordings, and their
    settings chosen on its validation recordings.

    Args:
        run: the run folder, a checkpoint folder, a published folder or a Hugging Face Hub id.
        store: the recordings.
        split: which recordings to judge on.
        select: narrow them further by columns of the store, such as --select site=YALE,USM.
        test_store: another cohort of the same parcels to judge on, all of it, with everything fitted to ``store``; more
            rows show what the baselines are when refitted to one half of that cohort and judged on the other.
        out: the JSON file to write; evaluation.json in the run folder by default; for what is no run folder, and for
            another store than the run's own, in a folder beside the store.
        max_windows_per_recording: at most this many windows of each recording.
        num_bootstrap: resamples of subjects for the 95 % intervals.
        seed: of masks and resamples.
        batch_size: windows at a time; changes no result.
        device: where to compute.
        allow_seen: judge on subjects the model was trained on, too; no evaluation, only a look.
        overwrite: replace an evaluation that is there.
    """
    import numpy as np

    from brainlm.data.store import Store
    from brainlm.data.windows import Windows
    from brainlm.evaluation.examples import EXAMPLES_FILE, write_examples
    from brainlm.evaluation.fitting import fit_baselines, refit_baselines
    from brainlm.evaluation.masking import MaskedWindows, conditions
    from brainlm.evaluation.model_method import ModelMethod, PatchHider, refuse_seen_subjects
    from brainlm.evaluation.reconstruction import BootstrapSettings, evaluate_reconstruction
    from brainlm.inference.checks import warn_of_tr
    from brainlm.inference.folder import EVALUATION_FILE
    from brainlm.inference.identity import weights_sha256

    opened = Store.open(store)
    judged = opened if test_store is None else Store.open(test_store)
    folder = results_folder(run, store if test_store is None else test_store, of=judged)
    path = folder / EVALUATION_FILE if out is None else out
    check_output(path, overwrite=overwrite, otherwise="--out for another file")
    chosen = part_of(judged, split if test_store is None else "all", select)
    model = open_model(run, device=device)
    model.check_store(opened)
    model.check_store(judged)
    warn_of_tr(map(float, chosen.metadata["tr"]), model.trained_tr_s, what=f"the store {judged.path}")
    if not allow_seen:
        refuse_seen_subjects(model, chosen, learned=(opened.take(np.flatnonzero(opened.metadata["split"] != "test")),))
    fit_if_needed(model, opened, strict=False)  # last, for it is long work
    which = " ".join([split if test_store is None else "all", *select])
    step(f"evaluating {run} on {len(chosen)} recordings of {judged.path} ({which})")
    length, hider = model.config.num_timepoints, PatchHider(model)

    def masked(part: Store) -> MaskedWindows:
        return MaskedWindows(
            Windows(part, length),
            model.scaler,
            hider,
            seed=seed,
            max_per_recording=max_windows_per_recording,
            batch_size=batch_size,
            device=device,
        )

    windows = masked(chosen)
    show_failures(windows.windows.excluded)
    masks = conditions(model.config.num_temporal_patches)
    with progress_bar("fitting baselines") as bar:
        baselines = fit_baselines(
            opened.select(split="train"),
            masked(opened.select(split="validation")),
            model.scaler,
            masks,
            on_progress=bar.update,
        )
    refitted = []
    if test_store is not None:
        with progress_bar("refitting     ") as bar:
            refitted = refit_baselines(windows, masks, on_progress=bar.update)
    with progress_bar("filling in    ") as bar:
        results = evaluate_reconstruction(
            ModelMethod(model),
            baselines,
            windows,
            masks,
            refitted=refitted,
            bootstrap=BootstrapSettings(num_bootstrap=num_bootstrap, seed=seed),
            model_facts={
                "run": str(run),
                "preset": model.provenance.get("preset", ""),
                "num_parameters": model.network.num_parameters,
                "weights_sha256": weights_sha256(model),
            },
            on_progress=bar.update,
        )
    write_json(path, results)
    parts = Parts()
    if out is None:
        with parts.part(EXAMPLES_FILE):
            write_examples(folder / EXAMPLES_FILE, ModelMethod(model), baselines, windows, results)
    with parts.part("the tables on screen"):
        _show_results(results)
    say(f"written: {path}")
    more = [] if test_store is not None else [*embedding_of(run, store), *probe_of(run, store)]
    next_command(*more, *report_on(run, folder))
    return parts.status()


def part_of(store: Store, split: str, select: Sequence[str] = ()) -> Store:
    """The recordings of a split, or of all of them, narrowed by what ``--select`` says."""
    return (store if split == "all" else store.select(split=split)).select(**selection(select))


def selection(select: Sequence[str]) -> dict[str, list[str]]:
    """``site=YALE,USM`` as {"site": ["YALE", "USM"]}."""
    chosen = {}
    for part in select:
        column, equals, values = part.partition("=")
        if not equals or not column or not values:
            raise ConfigError(
                f"cannot read the selection {part!r}",
                expected="column=value or column=value,value",
                remedy="for example --select site=YALE,USM",
            )
        chosen[column] = values.split(",")
    return chosen


def _show_results(results: Mapping[str, Any]) -> None:
    """R2 of every method, a table for each kind of mask; then the model's lead over the best baseline."""
    facts = results["store"]
    say(f"{facts['num_windows']} windows of {facts['num_recordings']} recordings, {facts['num_subjects']} subjects")
    entries = results["conditions"]
    for kind in dict.fromkeys(entry["mask"] for entry in entries):
        print_table(_methods_table([entry for entry in entries if entry["mask"] == kind]))
        console.print()
    lead = Table(title="R2 of the model minus the best baseline [95 % interval]", title_justify="left", box=None)
    for name in ("hidden", "best baseline"):
        lead.add_column(name)
    for name in ("its R2", "model", "difference"):
        lead.add_column(name, justify="right")
    for entry in entries:
        by_name = {method["name"]: method for method in entry["methods"]}
        best, model = by_name.get(entry["best_baseline"]), next((m for m in entry["methods"] if m["is_model"]), None)
        name = escape(entry["best_baseline"] or "-")
        lead.add_row(escape(entry["label"]), name, _score(best), _score(model), _lead(entry["difference"]))
    print_table(lead)


def _methods_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Methods by conditions of one kind of mask; the best of each condition in bold."""
    table = Table(title="R2 of hidden values", title_justify="left", box=None)
    table.add_column("")
    for entry in entries:
        table.add_column(escape(entry["label"]), justify="right")
    best = [max((m["r2"] for m in entry["methods"] if m["r2"] is not None), default=None) for entry in entries]
    for name in dict.fromkeys(method["name"] for entry in entries for method in entry["methods"]):
        methods = [next((m for m in entry["methods"] if m["name"] == name), None) for entry in entries]
        table.add_row(escape(name), *(_score(method, best=top) for method, top in zip(methods, best, strict=True)))
    return table


def _score(method: Mapping[str, Any] | None, *, best: float | None = None) -> str:
    if method is None or method["r2"] is None:
        return "-"
    return f"[bold]{method['r2']:.3f}[/bold]" if method["r2"] == best else f"{method['r2']:.3f}"


def _lead(difference: Mapping[str, float] | None) -> str:
    if difference is None:
        return "-"
    if difference["low"] is None:
        return f"{difference['r2']:+.3f}"
    text = f"{difference['r2']:+.3f}" + escape(f" [{difference['low']:+.3f}, {difference['high']:+.3f}]")
    from brainlm.evaluation.statistics import Interval

    verdict = Interval.read({**difference, "value": difference["r2"]}).verdict
    colour = {"better": "green", "worse": "red"}.get(verdict, "yellow")
    return f"[{colour}]{text}[/{colour}]"


def report(run: Path, *, out: Path | None = None, colour_by: str | None = None) -> int:
    """Write one HTML page of everything a run has: provenance, training, reconstruction, brain maps, embeddings.

    Args:
        run: the run folder.
        out: the page; report.html in the run folder by default.
        colour_by: phenotype that colours the map of embeddings; the first suitable one by default.
    """
    from brainlm.report.page import build_report

    if out is not None:
        check_output(out, overwrite=True)
    step(f"writing the report of {run}")
    with progress_bar("sections") as bar:
        parts = Parts()
        written = build_report(run, out=out, colour_by=colour_by, on_progress=bar.update, on_failure=parts.failed)
    say(f"open it in a browser: {written}")
    return parts.status()
