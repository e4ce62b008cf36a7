"""What ``brainlm probe`` and ``brainlm finetune`` share: opening model and store, the studies and their judging.

What is computed is in ``evaluation/phenotypes/``; how it is shown is in ``phenotype_results.py``.
"""

from __future__ import annotations

import difflib
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from brainlm.atomic import check_writable
from brainlm.cli.console import progress_bar, say
from brainlm.cli.released import fit_if_needed, hold, open_model, results_folder
from brainlm.cli.result_verbs import selection
from brainlm.errors import ConfigError
from brainlm.extras import check_extra

if TYPE_CHECKING:
    from brainlm.data.missing_values import MissingRule
    from brainlm.data.store import Store
    from brainlm.evaluation.phenotypes.adjusting import Adjustment
    from brainlm.evaluation.phenotypes.evidence import Evidence, RowRule
    from brainlm.evaluation.phenotypes.probing import JudgingRule, Verdict
    from brainlm.evaluation.phenotypes.running import Study
    from brainlm.evaluation.phenotypes.targets import Cohort
    from brainlm.inference.brainlm import BrainLM

Level = Literal["subject", "recording"]
Seen = Literal["refuse", "leave_out", "allow"]

FEATURES = "features"  # folder of vectors, below that of results
MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class Desk:
    """Model and recordings as both verbs want them; ``remark`` says who of them was seen in pretraining."""

    model: BrainLM
    store: Store
    results: Path
    level: Level
    transform: Literal["none", "log"]
    remark: str
    everybody: Store
    missing: MissingRule

    @classmethod
    def open(
        cls,
        run: str,
        store: Path,
        *,
        select: Sequence[str],
        seen: Seen,
        level: Level,
        resample: bool,
        device: str,
        missing: Sequence[str],
        transform: Literal["none", "log"] = "none",
    ) -> Desk:
        """Open both and check that they fit; who was seen in pretraining is refused, left out or remembered.

        Raises:
            DataError: they do not fit, or people were seen and that is not allowed.
        """
        from brainlm.data.missing_values import MissingRule
        from brainlm.data.store import Store
        from brainlm.evaluation.model_method import unseen
        from brainlm.inference.cohort import check_recordings

        opened = Store.open(store)
        model = open_model(run, device=device)
        chosen = opened.select(**selection(select))
        check_recordings(chosen, model, resample=resample)
        kept, remark = unseen(model, chosen, seen)
        results = results_folder(run, store)
        check_writable(results / FEATURES)
        return cls(model, kept, results, level, transform, remark, opened, MissingRule.parse(missing))

    def fit_scaler(self, *, resample: bool) -> None:
        """Make the model ready: long work for published weights, so that all that can be refused comes before it."""
        fit_if_needed(self.model, self.everybody, resample=resample)

    def study(
        self,
        target: str,
        folds: str,
        repeats: int,
        seed: int,
        group: str | None,
        *,
        kind: Literal["auto", "regression", "binary", "multiclass"],
        positive: Sequence[str],
        classes: Sequence[str],
        rows: RowRule,
    ) -> tuple[Study, Path]:
        """The study of one target and its folder, which no other process may write until the verb ends; how the target
        is taken, and what the nuisance is, is told.
        """
        from brainlm.data.planned import listed
        from brainlm.evaluation.phenotypes.blocks import nuisance_columns
        from brainlm.evaluation.phenotypes.folds import FoldRule
        from brainlm.evaluation.phenotypes.probing import RESULTS_FILE, open_study
        from brainlm.evaluation.phenotypes.targets import read_cohort

        column = self.store.metadata.get(target)
        here = set() if column is None else set(column.dropna().astype(str))
        named = next((word for word in positive if word in here), None)
        cohort = read_cohort(
            self.store, target, kind=kind, positive=named, level=self.level, classes=classes, missing=self.missing
        )
        if cohort.copies:
            pairs = listed([f"{one} = {other}" for one, other in cohort.copies], MOST_NAMED)
            say(f"{len(cohort.copies)} pairs of people share a recording, and stay in one fold: {pairs}")
        nuisance = nuisance_columns(cohort, rows.nuisance)
        cohort.check_codes([*nuisance, *rows.adjustment.confounds, *rows.adjustment.keep])
        say(taken_as(cohort))
        say(f"nuisance: {', '.join(nuisance) or 'no column of age, sex, site or motion'}")
        rule = FoldRule.parse(folds, repeats=repeats, seed=seed, group=group)
        study, folder = open_study(
            self.store, cohort, rule, self.results, transform=self.transform, adjustment=rows.adjustment
        )
        hold(folder / RESULTS_FILE)
        return study, folder

    def gather(self, rows: RowRule, *, batch_size: int, resample: bool = False) -> Evidence:
        """The vectors and all that the baselines are made of."""
        from brainlm.evaluation.phenotypes.evidence import Evidence

        with progress_bar("gathering   ") as bar:
            return Evidence.gather(
                self.model,
                self.store,
                rows,
                cache=self.results / FEATURES,
                resample=resample,
                batch_size=batch_size,
                seen=self.remark,
                on_progress=bar.update,
            )

    def judge(
        self, evidence: Evidence, study: tuple[Study, Path], *, rows: RowRule, judging: JudgingRule, begun: float
    ) -> Verdict:
        """All rows of one study, those that are there already as they are; ``begun``: when the verb did."""
        from brainlm.evaluation.phenotypes.probing import probe

        with progress_bar("predicting  ") as bar:
            return probe(
                evidence,
                *study,
                rows=rows,
                judging=judging,
                facts=lambda: self.facts(rows.adjustment, begun),
                on_progress=bar.update,
            )

    @cached_property
    def identity(self) -> str:
        """Of the weights and the scaler; hashing takes seconds for the largest models."""
        from brainlm.inference.identity import weights_sha256

        return weights_sha256(self.model)

    def facts(self, adjustment: Adjustment, begun: float) -> dict[str, Any]:
        """For the record of a result."""
        import brainlm
        from brainlm.inference.checks import learned_nothing

        return {
            "program": f"brainlm {brainlm.__version__}",
            "command": command_typed(),
            "model": {
                "preset": self.model.provenance.get("preset", ""),
                "num_parameters": self.model.network.num_parameters,
                "weights_sha256": self.identity,
                "learned_nothing": learned_nothing(self.model.provenance),
            },
            "pretraining": pretraining_of(self.model, self.remark),
            "store": {"name": self.store.path.name, "fingerprint": self.store.fingerprint},
            "confounds": list(adjustment.confounds),
            "harmonised": adjustment.harmonise,
            "wall_time_s": round(time.monotonic() - begun, 1),
        }


def check_positive(positive: Sequence[str], studies: Sequence[tuple[Study, Path]]) -> None:
    """Refuse a positive class that none of the targets has.

    Raises:
        ConfigError: there is one.
    """
    classes = [word for study, _ in studies for word in study.cohort.target.classes]
    for word in positive:
        if word not in classes:
            raise ConfigError(
                f"no target has the class {word!r}",
                expected=f"one of {', '.join(classes)}" if classes else "a target that has classes",
                found=f"--positive {word}",
                remedy="correct the spelling, or leave --positive out",
            )


def row_rule(
    pooling: str, methods: str, *, seed: int, nuisance: Sequence[str] = (), adjustment: Adjustment | None = None
) -> RowRule:
    """Which rows a study has, from the words that were typed.

    Raises:
        ConfigError: a word is unknown, or a package is not installed.
    """
    from brainlm.evaluation.phenotypes.adjusting import Adjustment
    from brainlm.evaluation.phenotypes.evidence import RowRule

    rule = RowRule(
        poolings=chosen_words("pooling", pooling, ("mean", "cls", "parcels")),
        families=chosen_words("methods", methods, ("linear", "nonlinear", "neural")),
        nuisance=tuple(nuisance),
        adjustment=adjustment or Adjustment(),
        seed=seed,
    )
    if rule.adjustment.harmonise:
        check_extra("combatlearn", what="harmonised features", otherwise="leave --harmonise out")
    return rule


def chosen_words(option: str, text: str, known: Sequence[str], *, verb: str = "probe") -> tuple[Any, ...]:
    """Words joined by commas, each of them a known one."""
    found = tuple(dict.fromkeys(text.split(",")))
    for word in found:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            raise ConfigError(
                f"no such {option}",
                expected=f"some of {', '.join(known)}, joined by commas",
                found=repr(word),
                remedy=f"did you mean {near[0]}?" if near else f"brainlm {verb} --help says what --{option} takes",
            )
    return found


def processes(jobs: int | None) -> int:
    """As many as asked for, or as there are cores."""
    if jobs is not None and jobs < 1:
        raise ConfigError("nothing can be done without a process", expected="--jobs 1 or more", found=str(jobs))
    return jobs or os.cpu_count() or 1


def pretraining_of(model: BrainLM, remark: str) -> str:
    """On whom a model was pretrained, and whether they are tested, unless ``remark`` says that."""
    data = model.provenance.get("data", {})
    number, store = data.get("num_subjects", {}).get("train"), data.get("store", "")
    on_whom = f"on {number} people of {store}" if number is not None and store else "on people not recorded by name"
    known = "training_subjects" in data or "training_subjects_sha256" in data
    tested = "nobody of them is tested" if known else "whether they are tested is not known"
    return f"{on_whom}; {remark or tested}"


def command_typed() -> str:
    """The command of this process, for the record."""
    return shlex.join(["brainlm", *sys.argv[1:]])


def cohort_size(cohort: Cohort) -> str:
    """How many there are with the target, and how many without."""
    people = f"{cohort.num_subjects} people"
    units = f", {len(cohort)} recordings" if cohort.level == "recording" else ""
    missing = f", {cohort.num_missing} without it" if cohort.num_missing else ""
    return people + units + missing


def taken_as(cohort: Cohort) -> str:
    """Whether the target is a number or classes, and how to change that where it could be either."""
    from brainlm.data.missing_values import is_number

    target = cohort.target
    if not target.classes:
        return f"{target.name}: a number, {target.values_N.min():g} to {target.values_N.max():g}"
    sizes = ", ".join(f"{word} ({int((target.values_N == code).sum())})" for code, word in enumerate(target.classes))
    text = f"{target.name}: {len(target.classes)} classes, {sizes}"
    if target.kind == "binary":
        text += f"; the probability of {target.classes[1]} is predicted (--positive for the other)"
    if not all(map(is_number, target.classes)):
        return text
    names = ",".join(f"{word}=NAME" for word in target.classes)
    return f"{text}; --kind regression takes it as a number, and import --value_labels {target.name}:{names} names them"
