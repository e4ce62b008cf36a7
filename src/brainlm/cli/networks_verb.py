"""``brainlm networks``: which functional network does a parcel belong to?"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape
from rich.table import Table

from brainlm.cli.console import (
    Parts,
    console,
    interval_text,
    next_command,
    number_text,
    print_table,
    progress_bar,
    say,
    step,
)
from brainlm.cli.next_steps import report_on
from brainlm.cli.phenotype_desk import FEATURES, chosen_words, command_typed, pretraining_of
from brainlm.cli.released import check_output, fit_if_needed, open_model, results_folder
from brainlm.cli.result_verbs import part_of

if TYPE_CHECKING:
    from brainlm.data.store import Store
    from brainlm.inference.brainlm import BrainLM

FOLDER = "networks"
WIDE = 130  # columns of a terminal that show all scores; all are in table.csv
NAME_WIDTH = 24
COLOURS = {"model": "bold", "random-init": "dim"}


def networks(
    run: str,
    store: Path,
    *,
    labels: str,
    split: Literal["train", "validation", "test", "all"] = "test",
    select: list[str] = [],
    max_recordings: int = 300,
    folds: int = 5,
    repeats: int = 5,
    surrogates: int = 200,
    num_bootstrap: int = 1000,
    subject_bootstrap: int = 50,
    min_parcels: int = 0,
    methods: str = "model,controls,neural",
    layer: int = -1,
    seed: int = 0,
    batch_size: int = 8,
    device: str = "cpu",
    resample: bool = False,
    allow_seen: bool = False,
    overwrite: bool = False,
) -> int:
    """Tell the functional network of a parcel from attention and embeddings, by k-nearest neighbours as in the paper.

    The same classifier gets connectivity, raw series, coordinates, embeddings of other networks and of the same network
    with random weights. Folds are over parcels and keep left-right pairs together; k and metric are chosen within them.

    Args:
        run: a run folder, a checkpoint folder, a published folder or a Hugging Face Hub id.
        store: the recordings.
        labels: the true networks, a column of the store's parcels.tsv such as yeo7.
        split: which recordings features are computed from.
        select: narrow them further by columns of the store, such as --select site=YALE,USM.
        max_recordings: of as many people as possible.
        folds: over parcels.
        repeats: how often folds are drawn anew.
        surrogates: label maps as smooth as the true one, for p; 0 for none.
        num_bootstrap: resamples of parcels for the 95 % intervals.
        subject_bootstrap: resamples of subjects, each with features combined and settings chosen anew; 0 for none.
        min_parcels: leave out networks of fewer parcels.
        methods: joined by commas: model (always, with its random-weight twin), controls, neural (VAE and GCN; minutes).
        layer: the encoder block whose attention counts, from 0; -1 is the last.
        seed: of folds, resamples, surrogates and whatever is trained.
        batch_size: windows at a time; changes no result.
        device: where the model computes.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        allow_seen: take recordings of people the model was trained on, too.
        overwrite: replace results that are there.
    """
    from brainlm.data.homologues import homologues
    from brainlm.data.store import Store
    from brainlm.evaluation.model_method import unseen
    from brainlm.evaluation.networks.gathering import FAMILIES, FeatureRule
    from brainlm.evaluation.networks.labels import read_labels, tied_by_patches
    from brainlm.evaluation.networks.model_features import Passing
    from brainlm.evaluation.networks.parcel_folds import draw_folds
    from brainlm.evaluation.networks.study import RESULTS_FILE, NetworkRule, study_networks
    from brainlm.inference.cohort import check_recordings
    from brainlm.model.attention import layer_number

    begun = time.monotonic()
    results = results_folder(run, store)
    folder = results / FOLDER / re.sub(r"[^\w.-]+", "-", labels)
    check_output(folder / RESULTS_FILE, overwrite=overwrite)
    rule = NetworkRule(
        max_recordings=max_recordings,
        folds=folds,
        repeats=repeats,
        surrogates=surrogates,
        num_bootstrap=num_bootstrap,
        subject_bootstrap=subject_bootstrap,
        features=FeatureRule(
            families=chosen_words("methods", methods, FAMILIES, verb="networks"),
            passing=Passing(layer=layer, batch_size=batch_size, resample=resample),
            seed=seed,
        ),
        seed=seed,
    )
    opened = Store.open(store)
    chosen = part_of(opened, split, select)
    train = opened.take([row for row, part in enumerate(opened.metadata["split"]) if part == "train"])
    model = open_model(run, device=device)
    layer_number(model.network, layer)  # refuses what there is not
    check_recordings(chosen, model, resample=resample)
    _, remark = unseen(model, chosen, "allow" if allow_seen else "refuse", learned=(train,))
    true = read_labels(
        opened.parcels,
        labels,
        homologues=homologues(opened.parcels),
        patch_P=tied_by_patches(model.network),
        min_parcels=min_parcels,
    )
    draw_folds(true.units, true.numbers, folds=folds, repeats=min(repeats, 1), seed=seed)  # refuses what it cannot draw
    fit_if_needed(model, opened, resample=resample)
    step(f"networks of {labels} from {' '.join([split, *select])} recordings of {store}")
    with progress_bar("telling networks") as bar:
        content = study_networks(
            model,
            chosen,
            train,
            true,
            rule=rule,
            folder=folder,
            cache=results / FEATURES,
            facts=lambda: _facts(model, chosen, run, begun, remark),
            on_progress=bar.update,
        )
    parts = Parts()
    with parts.part("the table on screen"):
        _show(content)
        console.print(f"[bold]{escape(content['conclusion'])}[/bold]")
    say(f"written: {folder}")
    next_command(*report_on(run, results))
    return parts.status()


def _facts(model: BrainLM, store: Store, run: str, begun: float, remark: str) -> dict[str, Any]:
    import brainlm
    from brainlm.inference.checks import learned_nothing
    from brainlm.inference.identity import weights_sha256

    return {
        "program": f"brainlm {brainlm.__version__}",
        "command": command_typed(),
        "run": Path(run).name,
        "store": {"name": store.path.name, "fingerprint": store.fingerprint},
        "model": {
            "preset": model.provenance.get("preset", ""),
            "num_parameters": model.network.num_parameters,
            "weights_sha256": weights_sha256(model),
            "learned_nothing": learned_nothing(model.provenance),
        },
        "pretraining": pretraining_of(model, remark),
        "wall_time_s": round(time.monotonic() - begun, 1),
    }


def _show(results: Mapping[str, Any]) -> None:
    """One row a kind of features."""
    table = Table(
        title=f"{results['labels']}: {len(results['networks'])} networks, {results['num_parcels']} parcels "
        f"({results['num_missing']} without), {results['num_subjects']} people",
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="dim",
    )
    others = ("balanced", "k, metric", "smooth labels", "p", "ARI") if console.width >= WIDE else ()
    table.add_column("", overflow="fold", min_width=NAME_WIDTH)
    for heading in ("accuracy [95 %]", "minus best baseline", *others):
        table.add_column(heading, justify="right", no_wrap=True)
    for method in results["methods"]:
        mark = " (main)" if method["name"] == results["main"] else ""
        table.add_row(
            escape(method["name"] + mark),
            interval_text(method["scores"]["accuracy"]),
            interval_text(method["minus_best_baseline"], sign=True),
            *(_others(method) if others else ()),
            style=COLOURS.get(method["group"], ""),
        )
    print_table(table)
    for note in results["notes"]:
        console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True)


def _others(method: Mapping[str, Any]) -> tuple[str, ...]:
    null, clusters = method["null"] or {}, method["clustering"] or {}
    return (
        number_text(method["scores"]["balanced_accuracy"]["value"]),
        f"{method['k']}, {method['metric']}" if method["k"] else "-",
        number_text(null.get("mean_accuracy")),
        number_text(null.get("p_accuracy")),
        number_text(clusters.get("ari", {}).get("value")),
    )
