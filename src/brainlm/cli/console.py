"""How verbs speak: one console, tables, progress, lists of failures, and the next command to run."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from brainlm.cli.endings import DONE, SOME_FAILED, in_words, write_traceback
from brainlm.data.exclusions import PLACE, group_reasons
from brainlm.errors import Failure
from brainlm.processes import is_first_process

LINE_EVERY_S = 60.0  # where there is no terminal to draw a bar on, such as in the log of a cluster's job
MEASURE_S = 5.0  # of work, before its time is estimated
MOST_REASONS = 20  # for which inputs were left out, on screen; all are in the store's manifest

UNLIMITED = 100_000  # columns of a file
PADDING = 2  # columns between two of a table
NARROWEST_NAME = 20

# Without emoji: `schaefer:100:7` is no picture of a hundred.
console = Console(highlight=False, emoji=False)


def say(text: str) -> None:
    """One line to the user."""
    console.print(escape(text), soft_wrap=True)


def step(text: str) -> None:
    """What is done now."""
    console.print(f"[bold]{escape(text)}[/bold]", soft_wrap=True)


def next_command(*commands: str) -> None:
    """End with what to run next."""
    for number, command in enumerate(commands):
        console.print(
            f"[dim]{'next:' if number == 0 else '     '}[/dim] [cyan]{escape(command)}[/cyan]", soft_wrap=True
        )


def print_table(table: Table) -> None:
    """A table with all of its columns: in parts below each other where a terminal is too narrow, whole in a file."""
    width = Measurement.get(console, console.options.update(max_width=UNLIMITED), table).maximum
    if console.is_terminal or "COLUMNS" in os.environ:
        for part in _parts(table) if width > console.width else [table]:
            console.print(part)
    else:
        usual, console.width = console.width, max(width, console.width)
        console.print(table)
        console.width = usual


def _parts(table: Table) -> list[Table]:
    """The first column with as many of the others as fit, until all are there; no number is broken."""
    options = console.options.update(max_width=UNLIMITED)
    first, *others = table.columns
    widths = [
        max(Measurement.get(console, options, cell).maximum for cell in (column.header, *column._cells))
        for column in (first, *others)
    ]
    room = console.width - PADDING - min(widths[0], max(NARROWEST_NAME, console.width - PADDING - max(widths[1:])))
    groups: list[list[int]] = []
    left = 0
    for number, width in enumerate(widths[1:], start=1):
        if width + PADDING > left:
            groups.append([])
            left = room
        groups[-1].append(number)
        left -= width + PADDING
    parts: list[Table] = []
    for group in groups:
        part = Table(
            title=None if parts else table.title, title_justify="left", title_style=table.title_style, box=None
        )
        part.header_style = table.header_style
        for number in (0, *group):
            column = table.columns[number]
            part.add_column(column.header, justify=column.justify, no_wrap=number > 0, overflow="fold")
        for number, row in enumerate(table.rows):
            part.add_row(*(table.columns[place]._cells[number] for place in (0, *group)), style=row.style)
        parts.append(part)
    return parts


def show_table(title: str, frame: pd.DataFrame, *, note: str = "") -> None:
    """A data frame as a table, numbers to the right; ``note`` goes below."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", header_style="dim", box=None)
    for column in frame.columns:
        text = not pd.api.types.is_numeric_dtype(frame[column])
        table.add_column(escape(str(column)), justify="left" if text else "right", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(_cell(value)) for value in row))
    print_table(table)
    if note:
        console.print(f"[yellow]{escape(note)}[/yellow]", soft_wrap=True)
    console.print()


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def number_text(value: float | None, *, digits: int = 3) -> str:
    """A score for a table; a dash where it is undefined."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval_text(interval: Mapping[str, float | None] | None, *, sign: bool = False, digits: int = 3) -> str:
    """A score with its limits for a table: ``value``, ``low`` and ``high``; as much of them as there is."""
    if interval is None or interval["value"] is None:
        return "-"
    form = f"{'+' if sign else ''}.{digits}f"
    text = format(interval["value"], form)
    if interval["low"] is None:
        return text
    return escape(f"{text} [{interval['low']:{form}}, {interval['high']:{form}}]")


def show_failures(failures: Sequence[Failure], *, all_in: Path | None = None, heading: bool = True) -> None:
    """The inputs that were left out, by reason: each reason and remedy once, then the inputs."""
    if not failures:
        return
    if heading:
        console.print(f"[bold red]{len(failures)} left out:[/bold red]")
    groups = group_reasons([asdict(failure) for failure in failures])
    for group in groups[:MOST_REASONS]:
        if group.num_inputs == 1:
            console.print(f"  [red]{escape(group.sources[0])}[/red]: {escape(group.reason)}", soft_wrap=True)
        else:
            reason = group.reason.removeprefix(PLACE).lstrip(": ")
            console.print(f"  [red]{group.num_inputs} inputs[/red]: {escape(reason)}", soft_wrap=True)
        if group.remedy:
            console.print(f"    [dim]remedy: {escape(group.remedy)}[/dim]", soft_wrap=True)
        if group.num_inputs > 1:
            console.print(f"    [dim]which: {escape(group.examples)}[/dim]", soft_wrap=True)
    if len(groups) > MOST_REASONS:
        console.print(f"  ... for {len(groups) - MOST_REASONS} more reasons")
    if all_in is not None and len(failures) > len(groups[:MOST_REASONS]):
        console.print(f"  [dim]each is listed in {escape(str(all_in))}[/dim]", soft_wrap=True)


class Parts:
    """What a verb does once its results are written: a part that fails is named, and the others are done all the same.

    Pictures, pages, further models and the tables on screen are parts; none of them may cost what was computed.
    """

    def __init__(self) -> None:
        self._failures: list[Failure] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Do the part called ``name``."""
        try:
            yield
        except Exception as error:
            self.failed(name, error)

    def failed(self, name: str, error: Exception) -> None:
        """Remember that a part failed."""
        ours = in_words(error)
        if ours is not None:
            self._failures.append(Failure.from_error(name, ours))
            return
        try:
            remedy = f"the rest is done; report this with its traceback, {write_traceback(name, error)}"
        except OSError:
            remedy = "the rest is done; report this"
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        self._failures.append(Failure(name, f"a fault of brainlm, {type(error).__name__}: {reason}", remedy))

    def status(self) -> int:
        """The exit status; the parts that failed are listed."""
        if not self._failures:
            return DONE
        console.print(f"[bold red]{len(self._failures)} of the parts failed, the rest is done:[/bold red]")
        show_failures(self._failures, heading=False)
        return SOME_FAILED


@contextmanager
def progress_bar(description: str) -> Iterator[ProgressBar]:
    """How far some work is: a bar on a terminal, shown from its first update on; elsewhere plain lines.

    The lines (of a cluster's job, say) are: one when it begins; an estimate of the whole time once the first pieces are
    measured; one at least each minute, even while nothing is finished; and one at the end of work that took longer.
    """
    bar = _Bar(description.strip()) if console.is_terminal else _Lines(description.strip())
    try:
        yield bar
    finally:
        bar.stop()


class ProgressBar(ABC):
    """``update`` fits the callbacks of all rooms."""

    @abstractmethod
    def update(self, done: int, total: int, note: str = "") -> None:
        """Say how far it is."""

    @abstractmethod
    def stop(self) -> None:
        """End it."""


class _Bar(ProgressBar):
    def __init__(self, description: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TextColumn("[dim]left[/dim]"),
            TimeRemainingColumn(),
            TextColumn(
                "[dim]{task.fields[note]}[/dim]", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            console=console,
            expand=True,
        )
        self._task = self._progress.add_task(f"{description:<12}", total=None, start=False, note="")

    def update(self, done: int, total: int, note: str = "") -> None:
        if not self._progress.live.is_started:
            self._progress.start()
            self._progress.start_task(self._task)
        self._progress.update(self._task, completed=done, total=total, note=escape(note))

    def stop(self) -> None:
        self._progress.stop()


class _Lines(ProgressBar):
    def __init__(self, description: str) -> None:
        self._description = description
        self._begun = self._measured_from = self._last_line = time.monotonic()
        self._done = self._first_done = self._total = 0
        self._note = ""
        self._is_estimated = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._ticker.start()

    def update(self, done: int, total: int, note: str = "") -> None:
        with self._lock:
            is_first = not self._total
            if total != self._total or done < self._done:  # another kind of pieces: measured anew
                self._measured_from, self._first_done, self._is_estimated = time.monotonic(), done, False
            self._done, self._total, self._note = done, total, note
            if is_first:
                self._say(f"{done:,} of {total:,}, begun")
            measured_s = time.monotonic() - self._measured_from
            if not self._is_estimated and measured_s >= MEASURE_S and self._first_done < done < total:
                self._is_estimated = True
                pieces, seconds = done - self._first_done, duration_text(measured_s)
                self._say(
                    f"{done:,} of {total:,}, about {duration_text(measured_s + self._left_s)} in all "
                    f"(estimated from {pieces:,} in {seconds})"
                )

    def stop(self) -> None:
        self._stopped.set()
        self._ticker.join()
        seconds = time.monotonic() - self._begun
        if self._total and seconds >= LINE_EVERY_S:
            self._say(f"{self._done:,} of {self._total:,} in {duration_text(seconds)}")

    def _tick(self) -> None:
        while not self._stopped.wait(max(0.0, self._last_line + LINE_EVERY_S - time.monotonic())):
            with self._lock:
                if time.monotonic() - self._last_line >= LINE_EVERY_S:
                    self._say(self._standing())

    def _standing(self) -> str:
        gone = duration_text(time.monotonic() - self._begun)
        if not self._total:
            return f"at work for {gone}"
        left = f", about {duration_text(self._left_s)} left" if self._first_done < self._done < self._total else ""
        return f"{self._done:,} of {self._total:,}, {gone} gone{left}" + (f" ({self._note})" if self._note else "")

    @property
    def _left_s(self) -> float:
        seconds = time.monotonic() - self._measured_from
        return seconds / (self._done - self._first_done) * (self._total - self._done)

    def _say(self, text: str) -> None:
        self._last_line = time.monotonic()
        if is_first_process():  # all processes of a run on several devices are equally far
            say(f"{self._description}: {text}")


def duration_text(seconds: float) -> str:
    """Seconds, minutes, or hours and minutes, whole."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
