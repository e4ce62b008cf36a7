"""``brainlm finetune`` and ``brainlm predict``: the encoder trained on a clinical variable, then used on new people."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Literal

from brainlm.atomic import write_text
from brainlm.cli.console import Parts, next_command, progress_bar, say, step
from brainlm.cli.main import DONE
from brainlm.cli.next_steps import command_line, report_on
from brainlm.cli.phenotype_desk import Desk, check_positive, cohort_size, command_typed, processes, row_rule
from brainlm.cli.phenotype_results import conclude
from brainlm.cli.released import check_output
from brainlm.cli.result_verbs import selection
from brainlm.errors import ConfigError
from brainlm.extras import check_extra
from brainlm.files import csv_text
from brainlm.training.finetune_config import FinetuneConfig


def finetune(
    run: str,
    store: Path,
    *,
    target: str,
    folds: str = "5",
    repeats: int = 1,
    seed: int = 0,
    group: str | None = None,
    kind: Literal["auto", "regression", "binary", "multiclass"] = "auto",
    positive: list[str] = [],
    classes: list[str] = [],
    missing: list[str] = [],
    level: Literal["subject", "recording"] = "subject",
    select: list[str] = [],
    seen: Literal["refuse", "leave_out", "allow"] = "refuse",
    head: Literal["mlp", "linear"] | None = None,
    train: str | None = None,
    tuning: FinetuneConfig = FinetuneConfig(),
    pooling: str = "mean,cls,parcels",
    methods: str = "linear,nonlinear",
    permutations: int = 200,
    num_bootstrap: int = 1000,
    final: bool = True,
    batch_size: int = 32,
    device: str = "cpu",
    jobs: int | None = None,
) -> int:
    """Train the encoder with a head on a clinical variable, in the folds and the table of ``brainlm probe``.

    Rows that the probe has made of the same people, labels and folds are taken as they are; those that are missing are
    made. In the end a model is trained on everybody and kept, for ``brainlm predict``.

    Args:
        run: a run folder, a checkpoint folder, a published folder or a Hugging Face Hub id.
        store: the recordings, with the variable among their columns.
        target: column to predict.
        folds: a number, leave-site-out, leave-COLUMN-out, or the column that has the folds.
        repeats: how often random folds are drawn anew.
        seed: of folds, weights, windows and resamples.
        group: column whose members (families) stay together.
        kind: what the values are; auto takes numbers for numbers, and words and two values for classes.
        positive: of two classes the one whose probability is predicted; the second in order by default.
        classes: keep only people with these values of the target.
        missing: values that mean missing, such as -9999; none if what looks like such a code is a value.
        level: one row and vote a person; or one row a recording, for what changes within a person.
        select: narrow the store by its columns, such as --select split=test.
        seen: people that the model was pretrained on: refuse, leave_out, or allow (marked in red).
        head: the layers on top; short for --tuning.head.layers.
        train: what of the encoder learns: all, last:K blocks, head or lora; short for --tuning.train.
        tuning: the head, how much of the encoder learns, and how.
        pooling: vectors of the frozen rows, see ``brainlm probe``.
        methods: of the frozen rows, see ``brainlm probe``.
        permutations: of the labels, for the p of the frozen main row; 0 for none.
        num_bootstrap: resamples of people for the 95 % intervals.
        final: train a model on everybody in the end.
        batch_size: windows at a time for the frozen rows; changes no result.
        device: where the frozen model computes; training chooses by itself (--tuning.supervised.accelerator).
        jobs: processes for folds and permutations; as many as there are cores by default. Changes no result.
    """
    from brainlm.evaluation.phenotypes.finetuned import FinetunedMethod
    from brainlm.evaluation.phenotypes.probing import JudgingRule
    from brainlm.evaluation.phenotypes.running import predict_all

    begun = time.monotonic()
    rows = row_rule(pooling, methods, seed=seed)
    judging = JudgingRule(permutations=permutations, num_bootstrap=num_bootstrap, seed=seed, jobs=processes(jobs))
    tuning = dataclasses.replace(
        tuning,
        head=tuning.head if head is None else dataclasses.replace(tuning.head, layers=head),
        train=tuning.train if train is None else train,
    )
    if tuning.train == "lora":
        check_extra("peft", what="low-rank adapters", otherwise="choose another part of the encoder with --train")
    desk = Desk.open(run, store, select=select, seen=seen, level=level, resample=False, device=device, missing=missing)
    study, folder = desk.study(
        target, folds, repeats, seed, group, kind=kind, positive=positive, classes=classes, rows=rows
    )
    check_positive(positive, [(study, folder)])
    desk.fit_scaler(resample=False)
    method = FinetunedMethod(desk.model, desk.identity, tuning, seen=desk.remark)
    step(f"fine-tuning {run} on {target}: {cohort_size(study.cohort)}, {study.rule.name}, {method.name}")
    with progress_bar("folds       ") as bar:
        predict_all([method], study, folder, on_progress=bar.update)
    evidence = desk.gather(rows, batch_size=batch_size)
    verdict = desk.judge(evidence, (study, folder), rows=rows, judging=judging, begun=begun)
    parts = Parts()
    conclude([verdict], parts)
    commands = report_on(run, desk.results)
    if final:
        step("training a model on everybody")
        with parts.part("the model of everybody"), progress_bar("training"):
            written = method.write_final(study, folder / "model", {"study": folder.name, "command": command_typed()})
            say(f"the fine-tuned model: {written}")
            commands.append(command_line("predict", written, "STORE"))
    next_command(*commands)
    return parts.status()


def predict(
    run: str,
    store: Path,
    *,
    out: Path | None = None,
    level: Literal["subject", "recording"] = "subject",
    select: list[str] = [],
    resample: bool = False,
    batch_size: int = 32,
    device: str = "cpu",
    overwrite: bool = False,
) -> int:
    """Apply a fine-tuned model to recordings: a table with one row a person.

    Args:
        run: the model that ``brainlm finetune`` wrote, or a Hub id of one.
        store: recordings of the model's parcels.
        out: the table, .tsv or .csv; TARGET.tsv beside the store by default.
        level: one row a person, or one a recording.
        select: narrow the store by its columns, such as --select split=test.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        batch_size: windows at a time; changes no result.
        device: where to compute.
        overwrite: replace a table that is there.
    """
    from brainlm.data.store import Store
    from brainlm.inference.folder import locate
    from brainlm.inference.predicting import predict_store, target_of

    folder = locate(run)
    name = target_of(folder).name
    path = store.with_name(f"{store.name.removesuffix('.store')}.{name}.tsv") if out is None else out
    if path.suffix not in (".tsv", ".csv"):
        raise ConfigError("no such kind of table", expected="a name that ends with .tsv or .csv", found=str(path))
    check_output(path, overwrite=overwrite, otherwise="--out for another file")
    chosen = Store.open(store).select(**selection(select))
    step(f"predicting {name} of {len(chosen)} recordings of {store} with {run}")
    with progress_bar("recordings") as bar:
        table = predict_store(
            folder, chosen, level=level, batch_size=batch_size, resample=resample, device=device, on_progress=bar.update
        )
    write_text(path, csv_text(table, sep="\t" if path.suffix == ".tsv" else ","))
    say(f"{len(table)} rows: {path}")
    return DONE
