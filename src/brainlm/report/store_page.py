"""Builds the page about a store: looks at its recordings, has the sections made, and writes one HTML file.

The same machinery makes the page about a run, in ``page.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from brainlm.data.inspecting import Inspection, inspect_store
from brainlm.data.outliers import LEAST_RATIO, MAX_READ, THRESHOLD, find_outliers
from brainlm.data.splits import SPLITS
from brainlm.data.store import Store
from brainlm.errors import ConfigError
from brainlm.report import outlier_section, store_sections, store_tables
from brainlm.report.blocks import Section
from brainlm.report.brain_maps import choose_brain
from brainlm.report.looked import Looked
from brainlm.report.rendering import render, write_page
from brainlm.report.sentences import counted, joined, number

Progress = Callable[[int, int, str], None]


def page_path(store: Path, out: Path | None = None) -> Path:
    """Where the page about a store goes: to ``out``, else to ``study.html`` beside ``study.store``.

    Raises:
        ConfigError: ``out`` does not end in .html: it may be data, which a page must not replace.
    """
    path = store.with_name(f"{store.name.removesuffix('.store')}.html") if out is None else out
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise ConfigError(
            "the page cannot go there",
            expected="a file that ends in .html",
            found=str(path),
            remedy="give another name; `--html` behind the store writes beside it",
        )
    return path


def build_store_page(
    store: Store,
    *,
    inspection: Inspection | None = None,
    out: Path | None = None,
    max_read: int = MAX_READ,
    on_progress: Progress | None = None,
) -> Path:
    """Write the page about ``store`` and return its path. Same store, same bytes; an older page is replaced whole.

    Args:
        store: the recordings.
        inspection: what ``inspect_store`` found, where that was done already.
        out: where the page goes; default: ``study.html`` beside ``study.store``.
        max_read: read the signals of at most this many recordings to compare their connectivity; 0: of all.
        on_progress: called with (steps done, steps in all, what comes next).

    Raises:
        ConfigError: ``out`` does not end in .html, or ``max_read`` is negative.
        DataError: the page cannot be written.
        AtlasError: the store's label image is damaged.
    """
    path = page_path(store.path, out)
    steps = ("counting", "comparing", "coverage", "motion", "carpets", "writing")

    def tell(step: str, detail: str = "") -> None:
        if on_progress is not None:
            on_progress(steps.index(step), len(steps), f"{step}{detail}")

    tell("counting")
    inspection = inspect_store(store) if inspection is None else inspection
    tell("comparing")
    outliers = find_outliers(
        store, max_read=max_read, on_progress=lambda done, total: tell("comparing", f", {100 * done // total} %")
    )
    looked = Looked.at(store, inspection, outliers)
    made = [store_sections.contents(looked)]
    tell("coverage")
    made.append(store_sections.coverage(looked, choose_brain(store.parcels, store.atlas_image)))
    tell("motion")
    made.append(store_sections.motion(looked))
    tell("carpets")
    made += [outlier_section.outliers(looked), store_tables.left_out(looked)]
    made += [store_tables.people(looked), store_tables.origin(looked)]
    tell("writing")
    written = write_page(_render(looked, made), path)
    if on_progress is not None:
        on_progress(len(steps), len(steps), "")
    return written


def _render(looked: Looked, made: list[Section]) -> str:
    return render(
        "store_page.html",
        eyebrow="BrainLM store",
        first_number=1,
        title=looked.store.path.name,
        summary=summary(looked),
        glance=glance(looked),
        sections=made,
        threshold=f"{THRESHOLD:g}",
        least=f"{100 * (LEAST_RATIO - 1):.0f}",
        next_steps=next_steps(looked),
    )


def summary(looked: Looked) -> tuple[str, ...]:
    """What the store holds and what to look at in it, as sentences."""
    return tuple(
        sentence for sentence in (_what_it_holds(looked), _how_divided(looked), _what_to_look_at(looked)) if sentence
    )


def _what_it_holds(looked: Looked) -> str:
    metadata, store = looked.metadata, looked.store
    people = counted(looked.inspection.num_subjects, "person", "people")
    text = f"{counted(len(metadata), 'recording')} of {people}, {_hours(looked)} of signal in "
    text += f"{store.num_parcels:,} parcels ({store.manifest.atlas})"
    text += f", from {len(looked.sites):,} sites" if len(looked.sites) > 1 else ""
    low, high = metadata["tr"].min(), metadata["tr"].max()
    tr = f"every {low:g} s" if low == high else f"every {low:g} to {high:g} s"
    return f"{text}; a volume {tr}."


def _hours(looked: Looked) -> str:
    minutes = looked.minutes.sum()
    return f"{minutes / 60:,.0f} hours" if minutes >= 600 else f"{minutes:,.0f} minutes"


def _how_divided(looked: Looked) -> str:
    metadata = looked.metadata
    counts = metadata["split"].value_counts()
    names = [name for name in SPLITS if name in counts] + sorted(set(counts.index) - set(SPLITS))
    text = f"They are divided into {joined([f'{counts[name]:,} for {_purpose(name)}' for name in names])}."
    if len(names) == 1:
        text = f"All of them are for {_purpose(names[0])}: nothing is held out."
    torn = int((metadata.groupby("subject")["split"].nunique() > 1).sum())
    if torn:
        text += (
            f" {counted(torn, 'person', 'people')} {'has' if torn == 1 else 'have'} recordings in more than one split: "
        )
        text += "what is held out has been seen."
    return text


def _purpose(split: str) -> str:
    return {"train": "training", "validation": "validation", "test": "testing"}.get(split, f"“{split}”")


def _what_to_look_at(looked: Looked) -> str:
    found, num_left_out = looked.outliers, len(looked.store.manifest.exclusions)
    num = len(found.flagged)
    text = f"{counted(num, 'recording')} {'stands' if num == 1 else 'stand'} out ({_ways(looked)}). " if num else ""
    if not num:
        text = "No recording stands out from the others. " if np.isfinite(found.spread_z).any() else ""
    return text + (f"{counted(num_left_out, 'input')} were left out." if num_left_out > 1 else
                   "One input was left out." if num_left_out else "Nothing was left out.")  # fmt: skip


def _ways(looked: Looked) -> str:
    """In what ways recordings stand out, and how many in each."""
    found = looked.outliers
    whose = "its" if len(found.flagged) == 1 else "their"
    compared = "" if found.read.all() else f", {int(found.read.sum()):,} compared"
    ways = {
        f"by {whose} spread": found.by_spread.sum(),
        f"by how {whose} parcels go together{compared}": found.by_connectivity.sum(),
        "with the same signal as another": (found.twin >= 0).sum(),
    }
    several = len(found.flagged) > 1
    return joined([f"{count:,} {way}" if several else way for way, count in ways.items() if count])


def glance(looked: Looked) -> tuple[tuple[str, str, str], ...]:
    """(title, number, remark) for the strip below the summary."""
    metadata, coverage = looked.metadata, looked.inspection.coverage
    found = [("recordings", f"{len(metadata):,}", counted(looked.inspection.num_subjects, "person", "people"))]
    median = looked.minutes.median()
    found.append(
        ("hours", number(looked.minutes.sum() / 60, digits=1 if len(metadata) < 500 else 0), f"median {median:.1f} min")
    )
    whole = int((coverage.num_without_signal == 0).sum())
    found.append(("parcels", f"{looked.store.num_parcels:,}", f"{whole:,} with signal in every recording"))
    if looked.mean_fd is not None:
        found.append(("motion", f"{number(looked.mean_fd.median(), digits=2)} mm", "median of the mean FD"))
    else:
        found.append(("stand out", f"{len(looked.outliers.flagged):,}", "recordings to look at"))
    return tuple(found)


def next_steps(looked: Looked) -> tuple[str, ...]:
    """What to do after having looked."""
    steps = []
    if len(looked.outliers.flagged):
        steps.append(
            "Look at the recordings that stand out. To leave some out, make the store without their files, or with "
            "rules (`brainlm parcellate --max_fd`, `--min_coverage`, `--min_volumes`): the manifest then says so."
        )
    if looked.store.manifest.exclusions:
        steps.append("Mend what was left out by the remedies above, and make the store again.")
    steps.append("`brainlm pretrain STORE --out runs/first --preset tiny`")
    return tuple(steps)
