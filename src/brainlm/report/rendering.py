"""From sections to one HTML file that needs nothing else: what the pages have in common is in ``base.html``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from brainlm.atomic import disk_errors, write_text


def render(template: str, **values: Any) -> str:
    """The text of a page: ``template`` is one of the HTML files of this folder, each value in it escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("brainlm", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    environment.filters["file_name"] = _file_name
    return environment.get_template(template).render(**values)


def write_page(text: str, path: Path) -> Path:
    """Write the page, replacing an older one whole, and return its path.

    Raises:
        DataError: it cannot be written.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return path


def _code(text: str) -> Markup:
    """Escaped text with its `backticks` as code."""
    pieces = str(escape(text)).split("`")
    return Markup("".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces)))


def _file_name(text: str) -> str:
    """Words as a file's name that every system takes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80]
