"""``brainlm forecast``: the next time points, by the model and by everything it should be compared with."""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import brainlm
from brainlm.cli.console import Parts, ProgressBar, next_command, progress_bar, say, show_failures, step
from brainlm.cli.forecast_results import show
from brainlm.cli.next_steps import report_on
from brainlm.cli.phenotype_desk import chosen_words, command_typed, pretraining_of
from brainlm.cli.released import check_output, fit_if_needed, open_model, results_folder
from brainlm.cli.result_verbs import part_of
from brainlm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from brainlm.data.store import Store
    from brainlm.inference.brainlm import BrainLM
    from brainlm.training.forecast_config import ForecastConfig

FORECASTS = "forecasts"  # folder of all forecast studies, below that of results


def forecast(
    run: str,
    store: Path,
    *,
    context: int = 0,
    horizon: int = 0,
    finetune: bool = False,
    test_store: Path | None = None,
    methods: str = "linear,neural",
    split: Literal["train", "validation", "test", "all"] = "test",
    select: list[str] = [],
    epochs: int = 20,
    learning_rates: str = "1e-3",
    max_windows_per_recording: int | None = None,
    num_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "cpu",
    allow_seen: bool = False,
    overwrite: bool = False,
) -> int:
    """How well are the next time points forecast, on people that no method has seen?

    The model hides the future and fills it in; simple, linear and neural forecasts get the same windows. All that is
    fitted learns from the store's training recordings and is tuned on its validation recordings. What is there already
    is not computed again.

    Args:
        run: a run folder, a checkpoint folder, a published folder or a Hugging Face Hub id.
        store: the recordings.
        context: time points that are seen, whole patches of the model; 0 for as many as it can see.
        horizon: time points that are forecast; 0 for one patch of the model.
        finetune: also train the model on forecasting, and the same network from random weights.
        test_store: another cohort of the same parcels; the same fitted methods are judged on all of it, too.
        methods: joined by commas: linear, neural (LSTM, Neural ODE, Latent ODE, the same Transformer not pretrained;
            minutes to hours). Last value and context mean are always there.
        split: which recordings to judge on.
        select: narrow these further by columns of the store, such as --select site=YALE,USM.
        epochs: what every network may train at most, for each learning rate.
        learning_rates: joined by commas; every network tries all of them and keeps the best on validation.
        max_windows_per_recording: judge at most this many windows of each recording; as many as fit by default.
        num_bootstrap: resamples of people for the 95 % intervals.
        seed: of resamples, signs, training and random weights.
        batch_size: windows at a time when forecasting; changes no result.
        device: where to compute.
        allow_seen: judge on people the model was trained on, too; no evaluation, only a look.
        overwrite: replace a result that is there; what it shares with the new one is not computed again.
    """
    from brainlm.data.store import Store
    from brainlm.evaluation.forecasting.entrants import Field, Span
    from brainlm.evaluation.forecasting.running import (
        RESULTS_FILE,
        CohortWindows,
        score_cohorts,
        study_results,
        write_study,
    )
    from brainlm.evaluation.reconstruction import BootstrapSettings

    begun = time.monotonic()
    families = chosen_words("methods", methods, ("linear", "neural"), verb="forecast")
    config = _budget(epochs, learning_rates, seed, device)
    model, opened = open_model(run, device=device), Store.open(store)
    span = Span.of(model, context, horizon, max_per_recording=max_windows_per_recording, batch_size=batch_size)
    folder = results_folder(run, store) / FORECASTS / f"{span.context}-{span.horizon}"
    check_output(folder / RESULTS_FILE, overwrite=overwrite)
    parts: dict[str, Store] = {split: part_of(opened, split, select)}
    if test_store is not None:
        name = test_store.resolve().name.removesuffix(".store")
        parts[name if name != split else f"{name}, another store"] = Store.open(test_store)
    training, validation = _learning_parts(opened)
    for part in (opened, *parts.values()):
        model.check_store(part)
    for part in (training, validation):
        span.windows(part, model)  # refuses recordings that have no window
    for part in parts.values():
        show_failures(span.windows(part, model).excluded)
    remark = _seen(model, parts, learned=(training, validation), allow_seen=allow_seen)
    fit_if_needed(model, opened, strict=False)  # last, for it is long work
    step(
        f"forecasting {span.horizon} time points from {span.context}: {run} on {len(parts[split])} recordings of "
        f"{store} ({' '.join([split, *select])})"
    )
    with progress_bar("forecasting") as bar:
        field = Field(
            model,
            training,
            validation,
            span,
            folder,
            families,
            finetune,
            config,
            on_fit=lambda done, total: bar.update(done, total, "fitting linear methods"),
            on_epoch=_epochs_on(bar),
        )
        scored = score_cohorts(
            field.entrants(),
            [
                CohortWindows(name, span.judged(part, model), _tr_remark(model, name, part))
                for name, part in parts.items()
            ],
            field.validation_windows,
            folder,
            scaling=field.identity,
            on_progress=bar.update,
        )
    results = study_results(
        scored,
        bootstrap=BootstrapSettings(num_bootstrap=num_bootstrap, seed=seed),
        settings={
            "max_windows_per_recording": max_windows_per_recording,
            "scaler": model.scaler.kind,
            "split": split,
            "select": select,
            "methods": list(families),
            "finetune": finetune,
        },
        facts={
            "program": f"brainlm {brainlm.__version__}",
            "command": command_typed(),
            "run": str(Path(run).name),
            "store": opened.path.name,
            "store_fingerprint": opened.fingerprint,
            "test_store": None if test_store is None else test_store.name,
            "weights_sha256": field.identity,
            "num_parameters": model.network.num_parameters,
            "preset": model.provenance.get("preset", ""),
            "pretraining": pretraining_of(model, remark),
            "versions": _versions(),
            "wall_time_s": round(time.monotonic() - begun, 1),
        },
        tuning=field.tuning,
        remarks=field.remarks,
    )
    write_study(folder, results)
    after = Parts()
    with after.part("the tables on screen"):
        show(results)
    say(f"written: {folder}")
    again = ["brainlm", "forecast", run, str(store), "--context", str(span.context), "--horizon", str(span.horizon)]
    more = [] if finetune else [shlex.join([*again, "--finetune", "--overwrite"])]
    next_command(*more, *report_on(run, results_folder(run, store)))
    return after.status()


def _budget(epochs: int, learning_rates: str, seed: int, device: str) -> ForecastConfig:
    """What every network may train.

    Raises:
        ConfigError: a learning rate that is no number, or a budget of nothing.
    """
    from brainlm.training.forecast_config import ForecastConfig

    try:
        rates = tuple(float(word) for word in learning_rates.split(","))
    except ValueError:
        raise ConfigError(
            f"cannot read the learning rates {learning_rates!r}",
            expected="numbers joined by commas",
            remedy="for example --learning_rates 1e-3,3e-3",
        ) from None
    accelerator = "cpu" if device == "cpu" else "auto"
    return ForecastConfig(epochs=epochs, learning_rates=rates, seed=seed, accelerator=accelerator)


def _learning_parts(store: Store) -> tuple[Store, Store]:
    """The recordings to learn from, and those to choose settings on.

    Raises:
        DataError: there are none.
    """
    for split in ("train", "validation"):
        if not (store.metadata["split"] == split).any():
            raise DataError(
                f"{store.path} has no {split} recordings",
                expected="people to learn from, others to choose settings on, and others to judge on",
                found=f"splits {', '.join(sorted(set(store.metadata['split'])))}",
                remedy="import it with a split rule that leaves some for training, validation and test",
            )
    return store.select(split="train"), store.select(split="validation")


def _seen(model: BrainLM, parts: Mapping[str, Store], *, learned: Sequence[Store], allow_seen: bool) -> str:
    """What is to be said of judged people whom the model has seen.

    Raises:
        DataError: there are some, and that is not allowed.
    """
    from brainlm.evaluation.model_method import unseen

    rule: Literal["allow", "refuse"] = "allow" if allow_seen else "refuse"
    remarks = {name: unseen(model, part, rule, learned=learned)[1] for name, part in parts.items()}
    return "; ".join(f"{name}: {remark}" for name, remark in remarks.items() if remark)


def _tr_remark(model: BrainLM, name: str, part: Store) -> str:
    """A sentence, and a warning, if a cohort's time runs otherwise than what the model was trained on."""
    from brainlm.inference.checks import is_trained_tr, warn_of_tr

    trs = sorted({round(float(tr), 4) for tr in part.metadata["tr"]})
    warn_of_tr(trs, model.trained_tr_s, what=f"the store {part.path}")
    far = [tr for tr in trs if not is_trained_tr(tr, model.trained_tr_s)]
    if not far:
        return ""
    found, trained = (", ".join(f"{tr:g}" for tr in values) for values in (far, sorted(set(model.trained_tr_s))))
    return f"{name} has recordings with a repetition time of {found} s; the model was trained on {trained} s."


def _epochs_on(bar: ProgressBar) -> Callable[[str, Mapping[str, float]], None]:
    """Counts epochs; how many there will be is not known, for training may stop early."""
    done = 0

    def tell(name: str, figures: Mapping[str, float]) -> None:
        nonlocal done
        done += 1
        loss = next((value for key, value in figures.items() if "loss" in key or "mse" in key), None)
        bar.update(done, done, f"{name}, epoch {done}" + ("" if loss is None else f", {loss:.4g}"))

    return tell


def _versions() -> dict[str, str]:
    import numpy as np
    import torch

    return {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
