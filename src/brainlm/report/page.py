"""Builds the report: reads the run folder, has the sections made, and writes one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from brainlm.errors import BrainLMError, ConfigError
from brainlm.inference.checks import LEARNED_NOTHING, learned_nothing
from brainlm.report import (
    attention_section,
    forecast_section,
    forecast_words,
    network_section,
    network_words,
    packed_views,
    phenotype_sections,
    phenotype_words,
    provenance,
    score_sections,
    sections,
)
from brainlm.report.blocks import Section, Sentence, View
from brainlm.report.brain_maps import Brain, choose_brain
from brainlm.report.evaluation_file import Evaluation
from brainlm.report.rendering import render, write_page
from brainlm.report.run_folder import RunFolder, TrainingLog
from brainlm.report.sentences import (
    VERDICT_MARKS,
    bounds,
    counted,
    duration,
    headline,
    method_note,
    number,
    parameters,
    tally,
)

REPORT_NAME = "report.html"
GENERIC_NAMES = ("run", "out", "last")  # say nothing without the folder they are in
Progress = Callable[[int, int, str], None]


def build_report(
    run: Path,
    *,
    out: Path | None = None,
    colour_by: str | None = None,
    on_progress: Progress | None = None,
    on_failure: Callable[[str, Exception], None] | None = None,
) -> Path:
    """Write the report of the RUN folder to ``out`` (default: ``report.html`` in it) and return its path.

    Same files, same bytes. An existing report is replaced whole.

    Args:
        run: the folder `brainlm pretrain --out` wrote; whatever else is missing in it is said in the page.
        out: where the page goes.
        colour_by: the metadata column that colours the embeddings; default: the first phenotype with 2 to 10 levels.
        on_progress: called with (steps done, steps in all, what comes next).
        on_failure: called with the name of a section that cannot be made, and why; the page then has a notice in its
            place. Without it the error is raised.

    Raises:
        DataError: no run folder, a damaged file in it, or ``out`` cannot be written.
        AtlasError: the label image or the parcels table is damaged.
        ConfigError: ``colour_by`` is not a column of the embeddings.
    """
    drawn = ("training", "examples", "masks", "parcels", "forecasting", "forecasts", "embeddings", "attention")
    steps = ("reading", *drawn, "networks", "phenotypes", "writing")

    def tell(step: str) -> None:
        if on_progress is not None:
            on_progress(steps.index(step), len(steps), step)

    tell("reading")
    folder = RunFolder.read(run)
    marks = score_sections.marks_of(folder)
    makers: dict[str, Callable[[], Sequence[Section]]] = {
        "training": lambda: [sections.training(folder)],
        "examples": lambda: [sections.examples(folder, marks)],
        "masks": lambda: [score_sections.masks(folder, marks)],
        "parcels": lambda: [sections.parcels(folder, brain)],
        "forecasting": lambda: [score_sections.forecasting(folder, marks)],
        "forecasts": lambda: forecast_section.sections(folder, brain),
        "embeddings": lambda: [sections.embedding_map(folder, colour_by)],
        "attention": lambda: _attention(folder, brain),
        "networks": lambda: network_section.sections(folder, brain),
        "phenotypes": lambda: phenotype_sections.sections(folder),
    }
    brain = choose_brain(folder.parcels, folder.atlas)
    made: list[Section] = []
    for step, make in makers.items():
        tell(step)
        try:
            made += make()
        except ConfigError:
            raise  # the command is wrong, not the section
        except Exception as error:
            if on_failure is None:
                raise
            on_failure(f"the section {step}", error)
            made.append(failed(step, error))
    tell("writing")
    return write_page(_render(folder, made), Path(out) if out is not None else Path(run) / REPORT_NAME)


def failed(step: str, error: Exception) -> Section:
    """What stands in the page for a section that cannot be made."""
    reason = error.problem if isinstance(error, BrainLMError) else f"{type(error).__name__}: {error}"
    text = f"This section could not be made: {reason}. The results it shows are in the run folder all the same."
    return Section(step, step.capitalize(), (Sentence(text, warning=True),))


def _attention(run: RunFolder, brain: Brain | None) -> Sequence[Section]:
    """The studies of attention; the mean over embedded recordings only where there is none."""
    return attention_section.sections(run, brain) or [sections.attention(run, brain)]


def _render(run: RunFolder, made: list[Section]) -> str:
    evaluation = run.evaluation
    settings = evaluation.settings if evaluation is not None else {}
    return render(
        "run_page.html",
        eyebrow="BrainLM report",
        first_number=2,
        title=_title(run.path.resolve()),
        summary=summary(run),
        glance=glance(run),
        provenance=provenance.describe(run.provenance or {}, {**settings, **_judged(run)}),
        no_provenance=None if run.provenance is not None else run.missing("provenance"),
        config=run.config,
        no_config=run.missing("config"),
        sections=made,
        views=packed_views.pack(
            [block.document for section in made for block in section.blocks if isinstance(block, View)]
        ),
        evaluation_notes=evaluation.notes if evaluation is not None else (),
        notes=_method_notes(evaluation) if evaluation is not None else (),
        next_steps=next_steps(run),
        has_studies=bool(run.studies),
        has_forecasts=bool(run.forecasts),
        has_attention=bool(run.attention_studies),
        has_networks=bool(run.network_studies),
        confidence=evaluation.confidence_percent if evaluation is not None else "95 %",
    )


def _judged(run: RunFolder) -> dict[str, str]:
    """Which weights the evaluation is of, for those that came with none in their name."""
    found = run.evaluation.model.get("weights_sha256") if run.evaluation is not None else None
    return {"weights_sha256": str(found)} if found else {}


def _title(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.name in GENERIC_NAMES else path.name


def summary(run: RunFolder) -> tuple[str, ...]:
    """What was run on what and what came out, as sentences; a loss is called a loss."""
    studied = (
        forecast_words.tally(run.forecasts),
        attention_section.tally(run.attention_studies),
        network_words.tally(run.network_studies),
        phenotype_words.tally(run.studies),
    )
    sentences = (_what_was_not_learned(run), _what_was_run(run), *_what_came_out(run), *studied)
    return tuple(sentence for sentence in sentences if sentence)


def _what_was_not_learned(run: RunFolder) -> str:
    return f"{LEARNED_NOTHING}." if learned_nothing(run.provenance or {}) else ""


def _what_was_run(run: RunFolder) -> str:
    preset = _preset(run)
    count = _num_parameters(run)
    wall_time = provenance.find(run.provenance, "Wall time")
    known = ", ".join([f"preset “{preset}”"] * bool(preset) + [f"{parameters(count or 0)} parameters"] * bool(count))
    text = f"A BrainLM masked autoencoder{f' ({known})' if known else ''} was pretrained"
    text += f" for {_how_long(run.log)}" if run.log is not None else ""
    taken = f" in {duration(float(wall_time))}" if isinstance(wall_time, int | float) else ""
    if run.log is not None and run.log.kept_steps is not None and run.log.kept_steps < run.log.num_steps:
        steps = f"{run.log.kept_steps:,} of {counted(run.log.num_steps, 'step')}"
        text += f"; its weights are those after {steps}" + (f", reached{taken}" if taken else "")
    else:
        text += taken
    data = provenance.find(run.provenance, "Data")
    return f"{text}. Data: {str(data).rstrip('.')}." if data else f"{text}."


def _how_long(log: TrainingLog) -> str:
    if log.steps_per_epoch is None:
        return counted(log.num_steps, "step")
    epochs = round(log.num_steps / log.steps_per_epoch, 1)
    return f"{epochs:g} epoch" + ("" if epochs == 1 else "s")


def _what_came_out(run: RunFolder) -> tuple[str, ...]:
    if run.evaluation is None:
        if run.has_studies:
            return ("How well it fills in hidden signal has not been evaluated.",)
        return ("It has not been evaluated: nothing is known yet of how well it does on people it has not seen.",)
    return headline(run.evaluation), tally(run.evaluation)


def _preset(run: RunFolder) -> str | None:
    evaluated = run.evaluation.model.get("preset") if run.evaluation is not None else None
    found = evaluated or provenance.find(run.provenance, "Preset")
    return str(found) if found else None


def _num_parameters(run: RunFolder) -> int | None:
    evaluated = run.evaluation.model.get("num_parameters") if run.evaluation is not None else None
    found = evaluated or provenance.find(run.provenance, "Parameters")
    return int(found) if isinstance(found, int | float) else None


def glance(run: RunFolder) -> tuple[tuple[str, str, str], ...]:
    """Up to four (title, number, remark) for the strip below the summary."""
    evaluation = run.evaluation
    condition = evaluation.headline if evaluation is not None else None
    if evaluation is None or condition is None or condition.model is None:
        return ()
    found = [(f"R², {condition.label}", number(condition.model.r2.value), bounds(condition.model.r2))]
    if condition.baseline is not None and condition.difference is not None:
        remark = f"{bounds(condition.difference, sign=True)} {VERDICT_MARKS[condition.verdict]}"
        found.append(("minus the best baseline", number(condition.difference.value, sign=True), remark))
    if "num_subjects" in evaluation.store:
        split = evaluation.store.get("split", "")
        title = "held-out subjects" if split == "test" else f"subjects ({split} split)"
        recordings = evaluation.store.get("num_recordings")
        remark = counted(int(recordings), "recording") if recordings is not None else ""
        found.append((title, f"{int(evaluation.store['num_subjects']):,}", remark))
    count = _num_parameters(run)
    if count:
        preset = _preset(run)
        found.append(("parameters", parameters(count), f"preset {preset}" if preset else ""))
    return tuple(found)


def _method_notes(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    models = {m.name for condition in evaluation.conditions for m in condition.methods if m.is_model}
    notes = ((name, method_note(name, is_model=name in models)) for name in evaluation.method_names)
    return tuple((name, note) for name, note in notes if note)


def next_steps(run: RunFolder) -> tuple[str, ...]:
    """What to run next: what is missing first, then what follows from the result."""
    verbs = {"evaluation": "brainlm evaluate RUN STORE", "embeddings": "brainlm embed RUN STORE"}
    steps = [f"`{verb}`, then this report again" for part, verb in verbs.items() if getattr(run, part) is None]
    questions = {
        "forecasts": "`brainlm forecast RUN STORE`, then this report again: are linear models beaten?",
        "attention_studies": "`brainlm attention RUN STORE --contrast COLUMN`: where does the model look, and when?",
        "network_studies": "`brainlm networks RUN STORE --labels COLUMN`: does it know functional networks?",
        "studies": "`brainlm probe RUN STORE --target COLUMN`: is a clinical variable predicted?",
    }
    steps += [step for part, step in questions.items() if not getattr(run, part)]
    condition = run.evaluation.headline if run.evaluation is not None else None
    if condition is not None and condition.verdict in ("worse", "level"):
        steps.append(
            "The model is not ahead of a linear baseline: train longer or on more subjects (`brainlm pretrain "
            "STORE --out RUN`), or start from the baseline: the Gaussian residual head, see the model page of the docs."
        )
    if run.embeddings is not None:
        steps.append("`brainlm report RUN --colour_by COLUMN` colours the embeddings by another column.")
    if run.parcels is not None and run.atlas is None:
        steps.append(
            "Copy the atlas's label image to RUN/atlas.nii.gz and build this page again for painted brain maps."
        )
    return tuple(steps)
