"""What the page is made of: sections of pictures, tables and sentences, ready for the template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from brainlm.report.style import Mark, Panel


@dataclass(frozen=True)
class Picture:
    """Panels under one caption; ``layout`` is ``panels`` (three a row) or ``brain`` (tiles beside a chart)."""

    kind: ClassVar[str] = "picture"
    panels: tuple[Panel, ...]
    caption: str
    layout: str = "panels"
    heading: str = ""
    key: tuple[Mark, ...] = ()
    bar: Panel | None = None
    side: Panel | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a number, what stands small beneath it, and a class for its look."""

    text: str
    small: str = ""
    look: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a caption; ``folded`` ones open on a click, those of ``words`` read from the left but for numbers."""

    kind: ClassVar[str] = "table"
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    folded: bool = False
    words: bool = False


@dataclass(frozen=True)
class Sentence:
    """A paragraph; ``missing`` marks the one that stands for an absent part, the others say how it is set."""

    kind: ClassVar[str] = "sentence"
    text: str
    missing: bool = False
    conclusion: bool = False
    warning: bool = False


@dataclass(frozen=True)
class View:
    """A whole HTML document in a fold, drawn only when it is opened; it must need no network."""

    kind: ClassVar[str] = "view"
    title: str
    document: str
    caption: str


Block = Picture | Table | Sentence | View


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
