"""``brainlm probe``: frozen vectors and all baselines in the same folds."""

from __future__ import annotations

import shlex
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from brainlm.cli.console import Parts, next_command, step
from brainlm.cli.next_steps import report_on
from brainlm.cli.phenotype_desk import Desk, check_positive, cohort_size, processes, row_rule
from brainlm.cli.phenotype_results import conclude


def probe(
    run: str,
    store: Path,
    *,
    target: list[str],
    folds: str = "5",
    repeats: int = 1,
    seed: int = 0,
    group: str | None = None,
    kind: Literal["auto", "regression", "binary", "multiclass"] = "auto",
    positive: list[str] = [],
    classes: list[str] = [],
    missing: list[str] = [],
    level: Literal["subject", "recording"] = "subject",
    transform: Literal["none", "log"] = "none",
    select: list[str] = [],
    seen: Literal["refuse", "leave_out", "allow"] = "refuse",
    pooling: str = "mean,cls,parcels",
    methods: str = "linear,nonlinear",
    nuisance: list[str] = [],
    confounds: list[str] = [],
    harmonise: str = "",
    keep: list[str] = [],
    permutations: int = 200,
    num_bootstrap: int = 1000,
    resample: bool = False,
    batch_size: int = 32,
    device: str = "cpu",
    jobs: int | None = None,
) -> int:
    """Does a model predict a clinical variable better than connectivity does, on people it has never seen?

    Frozen vectors and all baselines go through the same folds into one table. What is there already is not computed
    again. The main row is that of the first pooling with the linear estimator.

    Args:
        run: a run folder, a checkpoint folder, a published folder or a Hugging Face Hub id.
        store: the recordings, with the variable among their columns.
        target: column to predict; several are several studies, with p adjusted for their number.
        folds: a number, leave-site-out, leave-COLUMN-out, or the column that has the folds.
        repeats: how often random folds are drawn anew.
        seed: of folds, permutations, resamples and the untrained network.
        group: column whose members (families) stay together.
        kind: what the values are; auto takes numbers for numbers, and words and two values for classes.
        positive: of two classes the one whose probability is predicted; the second in order by default.
        classes: keep only people with these values of the target.
        missing: values that mean missing, such as -9999; none if what looks like such a code is a value.
        level: one row and vote a person; or one row a recording, for what changes within a person.
        transform: log fits the logarithm of the target; scores are in its own units all the same.
        select: narrow the store by its columns, such as --select split=test or --select site=NYU,UM.
        seen: people that the model was pretrained on: refuse, leave_out, or allow (marked in red).
        pooling: vectors of a recording: mean and cls over its windows, parcels parcel by parcel; joined by
            commas, the first is the main one.
        methods: joined by commas: linear, nonlinear (support vector machines and MLP), neural (LSTM and GCN; minutes).
        nuisance: columns of the nuisance row; by default those of age, sex, site and motion, such as
            AGE_AT_SCAN or func_mean_fd, as far as they are there.
        confounds: columns whose linear effect is taken off all features, in the fold.
        harmonise: column (site, scanner) for ComBat, in the fold.
        keep: columns whose effect ComBat leaves in.
        permutations: of the labels, for the p of the main row; 0 for none.
        num_bootstrap: resamples of people for the 95 % intervals.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        batch_size: windows at a time; changes no result.
        device: where the model computes.
        jobs: processes for folds and permutations; as many as there are cores by default. Changes no result.
    """
    from brainlm.evaluation.phenotypes.adjusting import Adjustment
    from brainlm.evaluation.phenotypes.design import check_confounds
    from brainlm.evaluation.phenotypes.probing import JudgingRule

    adjustment = Adjustment(tuple(confounds), harmonise, tuple(keep))
    rows = row_rule(pooling, methods, seed=seed, nuisance=nuisance, adjustment=adjustment)
    judging = JudgingRule(permutations=permutations, num_bootstrap=num_bootstrap, seed=seed, jobs=processes(jobs))
    desk = Desk.open(
        run,
        store,
        select=select,
        seen=seen,
        level=level,
        resample=resample,
        device=device,
        missing=missing,
        transform=transform,
    )
    studies = [
        desk.study(name, folds, repeats, seed, group, kind=kind, positive=positive, classes=classes, rows=rows)
        for name in dict.fromkeys(target)
    ]
    check_positive(positive, studies)
    for study, _ in studies:
        of = study.cohort.target
        check_confounds(study.cohort.table, [*confounds, *keep], target=of.name, values_N=of.values_N)
    desk.fit_scaler(resample=resample)
    begun = time.monotonic()
    evidence = desk.gather(rows, batch_size=batch_size, resample=resample)
    parts, verdicts = Parts(), []
    for study, folder in studies:
        step(f"{study.cohort.target.name}: {cohort_size(study.cohort)}, {study.rule.name}")
        # One target among several that fails does not cost the others.
        with parts.part(f"the target {study.cohort.target.name}") if len(studies) > 1 else nullcontext():
            verdicts.append(desk.judge(evidence, (study, folder), rows=rows, judging=judging, begun=begun))
    conclude(verdicts, parts)
    same: dict[str, list[str]] = {
        "folds": [folds],
        "repeats": [str(repeats)] if repeats > 1 else [],
        "level": [level] if level != "subject" else [],
        "seen": [seen] if seen != "refuse" else [],
        "select": select,
        "classes": classes,
        "positive": positive,
        "missing": missing,
    }
    words = ["brainlm", "finetune", str(run), str(store), "--target", target[0]]
    words += [part for option, values in same.items() for value in values for part in (f"--{option}", value)]
    next_command(shlex.join(words), *report_on(run, desk.results))
    return parts.status()
