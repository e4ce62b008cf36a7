"""``brainlm demo``: every verb once, on open recordings, with the commands shown as a user would type them."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from brainlm.cli.console import console, next_command, say, step
from brainlm.cli.main import DONE, main

ABOUT = """\
The data: 98 runs of 33 healthy people who felt painful heat in the scanner and, in some runs, tried to raise or lower
the pain by imagination (OpenNeuro ds000140; Woo et al. 2015, PLoS Biology). Signals of 122 parcels (MIST atlas) as they
come with the Python package connattractor 0.1.0 (GPL-3.0); read from there, never redistributed."""

# What `brainlm pretrain` is told in the demo, beside the preset. Windows of 180 points (6 minutes) fit into every run.
# The head starts at the conditional mean that a linear model of space and time makes of the same recordings: a plain
# masked autoencoder (the default) would need far more than these few minutes and people to get there.
TRAINING = """\
--preset tiny --model.num_timepoints 180 --model.head space-time
--model.own_covariance_points 100 --training.mask random:0.75+future:2
--training.epochs 24 --training.batch_size 17 --training.base_learning_rate 8e-3 --training.validate_every 4"""


def demo(folder: Path = Path("demo"), *, overwrite: bool = False) -> int:
    """Import open recordings, pretrain, evaluate, embed and write the report, in a few minutes on two cores.

    Args:
        folder: where the store and the run go.
        overwrite: do it again from the start.
    """
    store, run = folder / "pain.store", folder / "run"
    if (run / "report.html").exists() and not overwrite:
        say(f"The demo has been done: open {(run / 'report.html').absolute()} in a browser.")
        next_command(f"brainlm demo --folder {folder} --overwrite    (all of it again)")
        return DONE
    again = " --overwrite" if overwrite else ""
    commands = [
        f"import demo {store}{again}",
        f"inspect {store}",
        f"pretrain {store} --out {run} {TRAINING}{again}",
        f"evaluate {run} {store} --overwrite",
        f"embed {run} {store} --overwrite",
        f"report {run} --colour_by condition",
    ]
    say(ABOUT)
    begun = time.monotonic()
    for number, command in enumerate(commands, start=1):
        if command.startswith("import") and store.exists() and not overwrite:
            continue  # a demo that was interrupted goes on
        console.print()
        step(f"[{number}/{len(commands)}] brainlm {' '.join(command.split())}")
        status = main(shlex.split(command))
        if status != DONE:
            return status
    say(f"\nThe demo took {(time.monotonic() - begun) / 60:.1f} minutes.")
    step(f"Open {(run / 'report.html').absolute()} in a browser.")
    return DONE
