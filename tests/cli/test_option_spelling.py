"""Options are spelled in one way (``--drop_columns``) by help, pages, messages and the commands that they recommend."""

import re
from pathlib import Path

from brainlm.cli.main import VERBS, parser_of

ROOT = Path(__file__).resolve().parents[2]
HYPHENATED = re.compile(r"(?<![\w-])--[a-z][a-z0-9.]*(?:[-_][a-z0-9.]+)+")


def options():
    """All that the help of any verb shows."""
    actions = (action for name, verb in VERBS.items() for action in parser_of(name, verb.load())._actions)
    return {option for action in actions for option in action.option_strings}


def test_pages_and_messages_spell_options_as_the_help_does():
    known = options()
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]
    wrong = {
        f"{path.relative_to(ROOT)}: {word}"
        for path in files
        for word in HYPHENATED.findall(path.read_text(encoding="utf-8"))
        if word not in known and word.replace("-", "_").replace("__", "--", 1) in known
    }
    assert not wrong


def test_the_test_knows_what_it_looks_for():
    assert "--drop_columns" in options()
    assert HYPHENATED.findall("give --drop-columns time") == ["--drop-columns"]
