"""The results of clinical variables on the console: one table a study, its conclusion, where it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from brainlm.cli.console import Parts, console, interval_text, number_text, print_table, say

if TYPE_CHECKING:
    from brainlm.evaluation.phenotypes.probing import Verdict

WIDE = 130  # columns of a terminal that show all scores; all are in table.csv
SHOWN = {"r2": "R²", "auroc": "AUROC", "auprc": "AUPRC", "mae": "MAE"}
COLOURS = {"model": "bold", "fusion": "bold", "finetuned": "bold"}


def conclude(verdicts: Sequence[Verdict], parts: Parts) -> None:
    """Adjust for the number of targets, write, show."""
    from brainlm.evaluation.phenotypes.conclusion import adjust
    from brainlm.evaluation.phenotypes.probing import Verdict, write_verdict

    results = [verdict.results for verdict in verdicts]
    adjusted = adjust(results) if len(results) > 1 else results
    for verdict, content in zip(verdicts, adjusted, strict=True):
        if len(results) > 1:
            write_verdict(Verdict(verdict.folder, content))
        with parts.part(f"the table of {content['target']['name']} on screen"):
            _show(content)
            console.print(f"[bold]{escape(content['conclusion'])}[/bold]")
        say(f"written: {verdict.folder}\n")


def _show(results: Mapping[str, Any]) -> None:
    """One row a method; who has seen test people in red."""
    main, metrics = results["main_metric"], results["metrics"]
    table = Table(
        title=f"{results['target']['name']}, {results['folds']['name']}: {results['target']['num_subjects']} people",
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="dim",
    )
    others = metrics[1:] if console.width >= WIDE else []
    table.add_column("", overflow="fold")
    for heading in (f"{SHOWN.get(main, main)} [95 %]", *(SHOWN.get(metric, metric) for metric in others)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("minus best baseline", justify="right", no_wrap=True)
    for method in results["methods"]:
        scores = method["scores"]
        style = "red" if method["seen"] else COLOURS.get(method["group"], "")
        mark = " (main)" if method["name"] == results["main"] else ""
        table.add_row(
            escape(method["name"] + mark + ("†" if method["seen"] else "")),
            interval_text(scores[main]),
            *(number_text(scores[metric]["value"]) for metric in others),
            interval_text(method["minus_best_baseline"], sign=True),
            style=style,
        )
    print_table(table)
    for note in dict.fromkeys(method["note"] for method in results["methods"] if method["seen"]):
        console.print(f"[red]† {escape(note)}[/red]")
    site = results["site_prediction"]
    if site is not None:
        say(
            f"the same vectors tell the site ({site['num_sites']} sites): balanced accuracy "
            f"{interval_text(site['balanced_accuracy'])}, chance {site['chance']:.3f}"
        )
