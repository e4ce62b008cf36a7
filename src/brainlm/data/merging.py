"""The parts of an array of jobs -> one store, the same as if one process had done it all: what ``brainlm merge`` does.

What a part is, is in ``partial.py``; here they are only compared. ``assembling.py`` writes the store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from brainlm.data.assembling import assemble
from brainlm.data.manifest import MANIFEST_FILE
from brainlm.data.partial import LEDGER_SUFFIX, Part, Partial, differences
from brainlm.data.planned import ImportSummary, Progress, listed
from brainlm.data.store_writer import check_destination
from brainlm.errors import DataError

# What all parts must say alike, with the option that decides it.
COMMON = {
    "split": "--split",
    "dtype": "--dtype",
    "phenotypes": "--participants and --phenotypes",
    "layout": "--layout",
}


def merge_parts(
    parts: Sequence[str | Path], out: str | Path, *, overwrite: bool = False, progress: Progress | None = None
) -> ImportSummary:
    """Put the parts together that ``parcellate_scans(..., part=...)`` has left, as the store ``out``.

    People are divided into splits here, over all parts. The parts stay as they are.

    Args:
        parts: ledgers, or folders of them such as ``study.store.partial``; in any order.
        out: the store's folder.
        overwrite: replace a store that is there.
        progress: called with each part that was checked, then with each recording that was written.

    Raises:
        DataError: parts that are missing, there twice, unfinished, at work, or made with other settings or of other
            scans; or a store that cannot be written.
    """
    out = Path(out)
    check_destination(out, overwrite=overwrite)
    ledgers = _ledgers(parts)
    with ExitStack() as stack:
        opened = []
        for number, ledger in enumerate(ledgers, start=1):
            opened.append(stack.enter_context(Partial(ledger, writable=False)))
            if progress is not None:
                progress(number, len(ledgers), f"checking {ledger.name}")
        _check_begun(opened)
        _check_alike(opened)
        ordered = _each_once(opened)
        _check_finished(ordered)
        return assemble(ordered, out, overwrite=overwrite, progress=progress)


def _ledgers(parts: Sequence[str | Path]) -> list[Path]:
    """The ledgers given, and those in the folders given, each once."""
    found: dict[Path, Path] = {}
    for given in map(Path, parts):
        inside = sorted(given.glob(f"*{LEDGER_SUFFIX}")) if given.is_dir() else [given]
        if not inside or not inside[0].is_file():
            is_store = (given / MANIFEST_FILE).is_file()
            raise DataError(
                f"no part of a store at {given}",
                expected=f"a file *{LEDGER_SUFFIX} that `brainlm parcellate --part` wrote, or a folder with such files",
                found="a finished store" if is_store else "a folder without" if given.is_dir() else "nothing there",
                remedy="it needs no merging" if is_store else "correct the path: parts of STORE are in STORE.partial",
            )
        found |= {path.resolve(): path for path in inside}
    if not found:
        raise DataError("no parts were given", remedy="give the folder with the parts, such as study.store.partial")
    return list(found.values())


def _check_begun(parts: Sequence[Partial]) -> None:
    if empty := [str(part.path) for part in parts if not (part.header and part.plan)]:
        raise DataError(
            f"{len(empty)} parts were not even begun",
            expected="parts of which all scans are done",
            found=listed(empty, 5),
            remedy="run their jobs again",
        )


def _check_alike(parts: Sequence[Partial]) -> None:
    first = parts[0]
    for other in parts[1:]:
        changed = differences(_common(first.header), _common(other.header), (str(first.path), str(other.path)))
        if changed:
            raise DataError(
                "the parts were made with different settings",
                expected="the same atlas, settings and program for all parts of a store",
                found="; ".join(changed),
                remedy=f"run the job of {other.path.name} again with the settings of the others and --overwrite",
            )
        if other.plan["scans"] != first.plan["scans"]:
            counts = [f"{part.plan['scans']['num']} in {part.path}" for part in (first, other)]
            raise DataError(
                "the jobs of the parts did not find the same scans, so that parts overlap or leave gaps",
                expected="the same inputs and options for all jobs, and no files that come or go between them",
                found=", ".join(counts),
                remedy="run these jobs again with the same inputs: what is finished and still wanted is not done again",
            )
        if wrong := [option for name, option in COMMON.items() if other.plan[name] != first.plan[name]]:
            raise DataError(
                "the jobs of the parts were started with different options",
                expected="the same options for all parts of a store",
                found=f"others in {other.path} than in {first.path}: {', '.join(wrong)}",
                remedy="run one of the jobs again with the options of the other: what is finished is not done again",
            )


def _common(header: Mapping[str, Any]) -> dict[str, Any]:
    return {**header, "part": f"one of {Part.parse(header['part']).of}"}


def _each_once(parts: Sequence[Partial]) -> list[Partial]:
    """The parts in their order, none missing and none twice."""
    found: dict[int, list[Partial]] = defaultdict(list)
    for part in parts:
        found[Part.parse(part.header["part"]).number].append(part)
    of = Part.parse(parts[0].header["part"]).of
    if twice := [places for places in found.values() if len(places) > 1]:
        shown = [f"{places[0].header['part']} in {' and '.join(str(part.path) for part in places)}" for places in twice]
        raise DataError(
            "parts overlap",
            expected="each part once",
            found=listed(shown, 5),
            remedy="leave one of each out",
        )
    if missing := [f"{number}/{of}" for number in range(1, of + 1) if number not in found]:
        raise DataError(
            f"{len(missing)} of {of} parts are missing",
            expected=f"the parts 1/{of} to {of}/{of}",
            found=f"no {listed(missing)}",
            remedy="give them, too, or run their jobs",
        )
    return [found[number][0] for number in sorted(found)]


def _check_finished(parts: Sequence[Partial]) -> None:
    unfinished = []
    for part in parts:
        names = [item["name"] for item in part.plan["recordings"]]
        if num_missing := sum(name not in part.outcomes for name in names):
            unfinished.append(f"{part.header['part']} ({num_missing} of {len(names)} scans are missing)")
    if unfinished:
        raise DataError(
            f"{len(unfinished)} parts are not finished",
            expected="parts of which all scans are done",
            found=listed(unfinished),
            remedy="run their jobs again with the same command: what is finished is kept",
        )
