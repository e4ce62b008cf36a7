"""The rooms' doors: imports go one way only, and whatever is public says what it is for."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter import api
from importlinter.application import use_cases

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "brainlm"
FILES = sorted(SOURCE.rglob("*.py"))


def test_imports_go_down_the_list_of_rooms(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    kept = use_cases.lint_imports(config_filename="pyproject.toml", cache_dir=None)
    assert kept == use_cases.SUCCESS, capsys.readouterr().out


def test_the_contract_covers_every_room(monkeypatch):
    monkeypatch.chdir(ROOT)
    (contract,) = api.read_configuration("pyproject.toml")["contracts_options"]
    listed = {room.strip() for layer in contract["layers"] for room in layer.split(":")}
    rooms = {path.stem for path in SOURCE.iterdir() if path.stem != "__init__" and path.suffix in ("", ".py")}
    assert listed == {room for room in rooms if not room.startswith(("__", "py"))}
    assert contract["exhaustive"]


def public_definitions(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Functions, classes and their methods whose names do not begin with an underscore."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{inside}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{inside}{node.name}.")


def needs_docstring(node: ast.AST) -> bool:
    """``forward`` is explained by its class; a protocol's member by its protocol."""
    if isinstance(node, ast.FunctionDef):
        only_dots = len(node.body) == 1 and isinstance(node.body[0], ast.Expr) and _is_dots(node.body[0].value)
        return node.name != "forward" and not only_dots
    return True


def _is_dots(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is ...


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_every_public_name_says_what_it_is_for(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [
        name
        for name, node in public_definitions(tree.body)
        if needs_docstring(node) and not ast.get_docstring(node)  # type: ignore[arg-type]
    ]
    assert ast.get_docstring(tree), f"{path} does not say its idea"
    assert silent == []


def test_no_file_is_called_utils():
    assert [path for path in FILES if path.stem in ("utils", "util", "helpers", "misc", "common")] == []
