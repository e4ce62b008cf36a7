"""What every verb costs at many recordings: processor time, wall time and memory, as a table for docs/scale.md.

    python benchmarks/scale.py FOLDER [--people 20000] [--verbs inspect,embed,probe]

Made-up recordings of 20 parcels x 60 time points, one a person, and a model of the preset `tiny` with windows of 40
points. Memory is the most that one process of a verb held; processor time is of all its processes.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from brainlm.data.store import Store
from brainlm.data.synthetic import synthetic_store

NUM_PARCELS, NUM_TIMEPOINTS, WINDOW = 20, 60, 40
LIMIT_S = 3600


def verbs(folder: Path) -> dict[str, list[str]]:
    """The commands, by name, in an order in which each finds what it needs."""
    store, run, tables = folder / "people.store", folder / "run", folder / "tables"
    few = "--min_parcels 5 --folds 2 --surrogates 0"  # 20 parcels are few for it
    commands = {
        "import": f"import {tables} {folder}/imported.store --tr 2 --parcels {store}/parcels.tsv",
        "inspect": f"inspect {store}",
        "inspect --html": f"inspect {store} --html {folder}/people.html",
        "pretrain": f"pretrain {store} --out {run} --preset tiny --model.num_timepoints {WINDOW} --training.epochs 1",
        "embed": f"embed {run} {store}",
        "evaluate": f"evaluate {run} {store}",
        "networks": f"networks {run} {store} --labels network --methods model,controls {few}",
        "attention": f"attention {run} {store}",
        "forecast": f"forecast {run} {store} --methods linear",
        "report": f"report {run}",
        "probe age": f"probe {run} {store} --target age --seen allow",
        "probe sex": f"probe {run} {store} --target sex --seen allow",
        "finetune": f"finetune {run} {store} --target sex --seen allow --folds 2 --tuning.epochs 1",
    }
    return {name: command.split() for name, command in commands.items()}


def write_tables(store: Store, folder: Path) -> None:
    """Each recording as a table of its own."""
    folder.mkdir()
    header = "\t".join(store.parcels.table["name"])
    for index in range(len(store)):
        path = folder / f"sub-{store.metadata['subject'][index]}_task-rest_timeseries.tsv"
        np.savetxt(path, store.bold(index), fmt="%.2f", delimiter="\t", header=header, comments="")


def measured(words: list[str]) -> tuple[int, float, float, float]:
    """Exit status, wall time in s, processor time in s, and memory in GB."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-c", PROGRAM, *words]
    try:
        status = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=LIMIT_S, check=False).returncode
    except subprocess.TimeoutExpired:
        status = -1
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return status, time.monotonic() - begun, used, after.ru_maxrss / 2**20


# The most memory among children is of all that ended so far: every verb is measured in a process of its own.
PROGRAM = "import sys; from brainlm.cli.main import main; sys.exit(main(sys.argv[1:]))"


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make the store, run the verbs, print a row of the table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--verbs", default="")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    commands = verbs(options.folder)
    if options.one:
        status, wall_s, used_s, memory_gb = measured(commands[options.one])
        command = " ".join(commands[options.one]).replace(f"{options.folder}/", "")
        outcome = "" if status == 0 else f" (exit {status})"
        say(f"| `{command}`{outcome} | {used_s:,.0f} s | {wall_s:,.0f} s | {memory_gb:.1f} GB |")
        return
    chosen = options.verbs.split(",") if options.verbs else list(commands)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "people.store"
    if not path.exists():
        synthetic_store(
            path, num_subjects=options.people, num_parcels=NUM_PARCELS, num_networks=4, num_timepoints=NUM_TIMEPOINTS
        )
    if "import" in chosen and not (options.folder / "tables").exists():
        write_tables(Store.open(path), options.folder / "tables")
    say(f"{options.people:,} recordings, {os.environ.get('OMP_NUM_THREADS', 'all')} thread(s) a process")
    say("| command | processor time | wall time | memory |\n|---|---|---|---|")
    for name in chosen:
        subprocess.run([sys.executable, __file__, str(options.folder), "--one", name], check=True)
    shutil.rmtree(options.folder / "tables", ignore_errors=True)


if __name__ == "__main__":
    main()
