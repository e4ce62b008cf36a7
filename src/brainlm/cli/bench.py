"""``brainlm bench``."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import pandas as pd

from brainlm.bench.plan import PARTS, run_benchmark
from brainlm.bench.results import Benchmark, Part, cells
from brainlm.cli.console import progress_bar, say, show_failures, show_table, step
from brainlm.cli.main import DONE
from brainlm.errors import ConfigError

COLUMNS = ("measure", "median", "lowest to highest", "unit", "aim", "reached")


def bench(
    *,
    parts: str = "parcellation,windows,training,embedding,attention,connectome",
    quick: bool = False,
    device: Literal["cpu", "cuda"] = "cpu",
    threads: int | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Measure how fast this machine parcellates, reads, trains, embeds and correlates, in ten to fifteen minutes.

    Alternatives are timed in turn, so that ratios hold even on a machine that has other things to do; for the rest, let
    it be quiet. About 1.5 GB of random numbers are written into the temporary folder (TMPDIR) and removed again.

    Args:
        parts: what to measure, joined by commas.
        quick: small sizes, to see in seconds that everything works; the numbers mean nothing.
        device: where networks compute.
        threads: processor threads of one operation; as many as torch chooses by default.
        out: JSON file for the numbers; the table is written beside it (.md).
        overwrite: replace the file if it is there.
    """
    chosen = _parts(parts)
    if threads is not None and threads < 1:
        raise ConfigError("nothing computes without a thread", expected="--threads 1 or more", found=str(threads))
    if out is not None:
        _check_free(out, overwrite=overwrite)
    step(f"measuring {', '.join(chosen)} on {device}")
    with progress_bar("measuring") as bar:
        benchmark = run_benchmark(chosen, quick=quick, device=device, num_threads=threads, on_progress=bar.update)
    if out is not None:
        say(f"written: {out} and {benchmark.write(out)}")
    _show(benchmark)
    return DONE


def _parts(words: str) -> tuple[Part, ...]:
    asked = [word.strip() for word in words.split(",")]
    for word in asked:
        if word not in PARTS:
            near = difflib.get_close_matches(word, PARTS, n=1)
            raise ConfigError(
                f"there is no part {word!r} to measure",
                expected=f"one or more of {', '.join(PARTS)}, joined by commas",
                found=words,
                remedy=f"did you mean {near[0]!r}?" if near else None,
            )
    return tuple(part for part in PARTS if part in asked)


def _check_free(out: Path, *, overwrite: bool) -> None:
    taken = [path for path in (out, out.with_suffix(".md")) if path.exists()]
    if out.suffix == ".md" or out.is_dir():
        raise ConfigError(f"{out} cannot be the JSON file", expected="a name such as speed.json", found=str(out))
    if taken and not overwrite:
        raise ConfigError(f"{taken[0]} exists", remedy="give --overwrite to replace it, or another --out")


def _show(benchmark: Benchmark) -> None:
    say(", ".join(f"{name} {value}" for name, value in benchmark.machine.items()))
    for part in dict.fromkeys(measure.part for measure in benchmark.measures):
        rows = [cells(measure) for measure in benchmark.measures if measure.part == part]
        note = "quick: too small to judge by" if benchmark.settings["quick"] else ""
        show_table(part, pd.DataFrame(rows, columns=list(COLUMNS)), note=note)
    show_failures(benchmark.left_out)
