"""How verbs speak: one console, tables, progress, lists of failures, and the next command to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from brainlm.data.exclusions import PLACE, group_reasons
from brainlm.errors import Failure

MOST_REASONS = 20  # for which inputs were left out, on screen; all are in the store's manifest

console = Console(highlight=False)


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


def show_table(title: str, frame: pd.DataFrame, *, note: str = "") -> None:
    """A data frame as a table, numbers to the right; ``note`` goes below."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", header_style="dim", box=None)
    for column in frame.columns:
        text = not pd.api.types.is_numeric_dtype(frame[column])
        table.add_column(escape(str(column)), justify="left" if text else "right", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(_cell(value)) for value in row))
    console.print(table)
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


def show_failures(failures: Sequence[Failure], *, all_in: Path | None = None) -> None:
    """The inputs that were left out, by reason: each reason and remedy once, then the inputs."""
    if not failures:
        return
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


@contextmanager
def progress_bar(description: str) -> Iterator[ProgressBar]:
    """A bar with a count and the time left, shown from its first update on."""
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=24),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("[dim]left[/dim]"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}[/dim]", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    progress = Progress(*columns, console=console, expand=True)
    try:
        yield ProgressBar(progress, progress.add_task(description, total=None, start=False, note=""))
    finally:
        progress.stop()


class ProgressBar:
    """One bar; ``update`` fits the callbacks of all rooms."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def update(self, done: int, total: int, note: str = "") -> None:
        """Say how far it is."""
        if not self._progress.live.is_started:
            self._progress.start()
            self._progress.start_task(self._task)
        self._progress.update(self._task, completed=done, total=total, note=escape(note))
