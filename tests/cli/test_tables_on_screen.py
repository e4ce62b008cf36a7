"""Tables of results on narrow screens, wide ones and in files: no column is lost, no number is broken."""

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from brainlm.cli import console

HEADINGS = [f"method {number}" for number in range(8)]
NAME = "Connectivity (correlation) + BrainLM (mean), logistic"


def shown(monkeypatch, *, width=None, terminal=True):
    if width is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    out = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=out, width=width, force_terminal=terminal, color_system=None))
    table = Table(title="scores", box=None)
    table.add_column("", overflow="fold")
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in range(2):
        table.add_row(NAME, *(f"0.{row}{number}1 [-0.100, +0.{row}{number}9]" for number in range(8)))
    console.print_table(table)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_every_column_and_whole_number_is_there(monkeypatch, width):
    text = shown(monkeypatch, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    for number in range(8):
        assert f"method {number}" in text
        assert all(f"0.{row}{number}1 [-0.100, +0.{row}{number}9]" in text for row in range(2))
    assert "…" not in text


def test_a_file_gets_one_table_as_wide_as_it_needs(monkeypatch):
    text = shown(monkeypatch, terminal=False)
    head = next(line for line in text.splitlines() if "method 0" in line)
    assert re.findall(r"method \d", head) == HEADINGS
    assert text.count(NAME) == 2
