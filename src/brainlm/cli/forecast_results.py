"""The results of a forecast on the console: three tables a cohort, what the spectrum says, the conclusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from brainlm.cli.console import console, interval_text, number_text, print_table, say

STEPS_SHOWN = (1, 2, 3, 5, 10, 20, 40)


def show(results: Mapping[str, Any]) -> None:
    """The tables of each cohort, then what follows from them."""
    for cohort in results["cohorts"]:
        say(
            f"{cohort['name']}: {cohort['num_windows']} windows of {cohort['num_recordings']} recordings, "
            f"{cohort['num_subjects']} people"
        )
        for table in (_overall_table(cohort), _lead_table(cohort), _step_table(cohort)):
            print_table(table)
            console.print()
    for band in results["bands"]:
        colour = "yellow" if band["is_limited"] else "dim"
        console.print(f"[{colour}]{escape(band['cohort'])}: {escape(band['sentence'])}[/{colour}]", soft_wrap=True)
    console.print(f"[bold]{escape(results['conclusion'])}[/bold]", soft_wrap=True)


def _overall_table(cohort: Mapping[str, Any]) -> Table:
    table = Table(title="all steps together [95 % interval over people]", title_justify="left", box=None)
    table.add_column("")
    for name in ("R²", "MSE", "r"):
        table.add_column(name, justify="right", no_wrap=True)
    for method in cohort["methods"]:
        scores = method["scores"]
        cells = (interval_text(scores["r2"], digits=4), number_text(scores["mse"]["value"], digits=4))
        table.add_row(escape(method["name"]), *cells, number_text(scores["r"]["value"], digits=3))
    table.add_row("linear ceiling (own past)", number_text(cohort["ceiling"]["r2"], digits=4), style="dim")
    return table


def _lead_table(cohort: Mapping[str, Any]) -> Table:
    best = cohort["best_baseline"] or "none"
    table = Table(title=f"R² minus that of the best baseline ({escape(best)})", title_justify="left", box=None)
    table.add_column("")
    for name in ("difference", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for method in cohort["methods"]:
        lead = method["minus_best_baseline"]
        if lead is not None:
            table.add_row(escape(method["name"]), _lead(lead), _p(method["p_paired"]))
    return table


def _step_table(cohort: Mapping[str, Any]) -> Table:
    horizon = len(cohort["ceiling"]["r2_by_step"])
    steps = [number for number in STEPS_SHOWN if number <= horizon]
    table = Table(title="R² by step", title_justify="left", box=None)
    table.add_column("")
    for number in steps:
        table.add_column(str(number), justify="right")
    for method in cohort["methods"]:
        row = [method["by_step"]["r2"][number - 1]["value"] for number in steps]
        table.add_row(escape(method["name"]), *(number_text(value, digits=3) for value in row))
    row = [cohort["ceiling"]["r2_by_step"][number - 1] for number in steps]
    table.add_row("linear ceiling (own past)", *(number_text(value, digits=3) for value in row), style="dim")
    return table


def _lead(lead: Mapping[str, Any]) -> str:
    text = interval_text(lead, sign=True, digits=4)
    if lead["value"] is None or lead["low"] is None:
        return text
    colour = "green" if lead["low"] > 0 else "red" if lead["high"] < 0 else "yellow"
    return f"[{colour}]{text}[/{colour}]"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
