"""``brainlm demo``: every verb once, on open recordings, with the commands shown as a user would type them."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import numpy as np

from brainlm.cli.console import console, next_command, say, step
from brainlm.cli.main import DONE, main
from brainlm.cli.next_steps import command_line

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


# Whether somebody was asked to turn the pain up or down, in people that pretraining has not seen: a row a run.
PROBE = "--target condition --classes up --classes down --level recording --seen leave_out"

# The same question of where the model looks: the same people in both conditions.
CONTRAST = "--contrast condition --levels up,down --deletion_recordings 8 --attribution_recordings 4"


def demo(folder: Path = Path("demo"), *, overwrite: bool = False) -> int:
    """Import open recordings, pretrain, ask the model everything once and write the report, in minutes on two cores.

    Args:
        folder: where the store and the run go.
        overwrite: do it again from the start.
    """
    store, run = folder / "pain.store", folder / "run"
    images, from_images = folder / "images", folder / "images.store"
    if (run / "report.html").exists() and not overwrite:
        say(f"The demo has been done: open {(run / 'report.html').absolute()} in a browser.")
        next_command(command_line("demo", "--folder", folder, "--overwrite"))
        return DONE
    again = " --overwrite" if overwrite else ""
    store_, run_, images_, from_images_ = (shlex.quote(str(path)) for path in (store, run, images, from_images))
    commands = [
        f"import demo {store_}{again}",
        f"inspect {store_}",
        f"parcellate {images_} {from_images_} --atlas {store_}{again}",
        f"pretrain {store_} --out {run_} {TRAINING}{again}",
        f"evaluate {run_} {store_} --overwrite",
        f"embed {run_} {store_} --overwrite",
        f"probe {run_} {store_} {PROBE}",
        f"forecast {run_} {store_} --methods linear --overwrite",
        f"attention {run_} {store_} {CONTRAST} --overwrite",
        f"networks {run_} {store_} --labels network --methods model,controls --overwrite",
        f"report {run_} --colour_by condition",
    ]
    say(ABOUT)
    begun = time.monotonic()
    for number, command in enumerate(commands, start=1):
        written = {"import": store, "parcellate": from_images}.get(command.split()[0])
        if written is not None and written.exists() and not overwrite:
            continue  # a demo that was interrupted goes on
        console.print()
        if written == from_images:
            _paint_images(store, images)
        step(f"[{number}/{len(commands)}] {command_line(*shlex.split(command))}")
        status = main(shlex.split(command))
        if status != DONE:
            return status
        if written == from_images:
            _say_how_alike(store, from_images)
    say(f"\nThe demo took {(time.monotonic() - begun) / 60:.1f} minutes.")
    step(f"Open {(run / 'report.html').absolute()} in a browser.")
    return DONE


def _paint_images(store: Path, images: Path) -> None:
    """Images to start from: the package of the demo's data has none."""
    from brainlm.data.sources.demo_images import write_demo_images
    from brainlm.data.store import Store

    say("Two of these recordings painted into 4-D images, with noise in every voxel, to start from images as well:")
    for path in write_demo_images(Store.open(store), images):
        say(f"  {path}")


def _say_how_alike(store: Path, from_images: Path) -> None:
    """How well the series that were painted come back."""
    from brainlm.data.store import Store

    painted, read = Store.open(store), Store.open(from_images)
    names = list(painted.metadata[["subject", "session", "task", "run"]].itertuples(index=False, name=None))
    alike: list[float] = []
    for index in range(len(read)):
        pair = np.stack([read[index].bold, painted[names.index(read[index].key)].bold])
        z = (pair - pair.mean(axis=1, keepdims=True)) / pair.std(axis=1, keepdims=True)
        alike += z.prod(axis=0).mean(axis=0).tolist()
    say(
        f"the series come back from the images: correlation with what was painted {np.nanmedian(alike):.3f} in the "
        f"middle of the parcels, {np.nanmin(alike):.3f} at worst"
    )
