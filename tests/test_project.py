"""The project as a whole: its parts agree with each other, and nothing is left lying around."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch

import brainlm
from brainlm.cli.main import VERBS
from brainlm.extras import EXTRAS
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import PRESETS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TEXT = {".py", ".md", ".toml", ".html", ".svg", ".yml", ".yaml", ".json", ".txt", ".cfg", ""}
DISTRIBUTIONS = packages_distributions()  # which distribution an import comes from
# In pieces, so that this file does not find itself.
LEFT_OVER = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "<!-- " + "figure")
MACHINE_PATHS = re.compile("/(" + "work|root|home/" + r"\w+|Users/\w+)/\w")


def project_files() -> list[Path]:
    """Everything git tracks or would track; without git, the files that a release has."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        found = {ROOT / line for line in listing.stdout.splitlines()}
    else:
        found = {path for folder in ("src", "tests", "docs") for path in (ROOT / folder).rglob("*")} | set(PAGES)
    return sorted(path for path in found if path.is_file() and path.suffix in TEXT)


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """The anchors GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_version_is_the_same_everywhere():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert {pyproject()["project"]["version"], newest[1]} == {brainlm.__version__}


def test_every_public_name_can_be_had():
    for name in brainlm.__all__:
        assert getattr(brainlm, name) is not None


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, brainlm; print([name for name in ('torch', 'lightning', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb):
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert f"brainlm {verb}" in text or f"make {verb}" in text


def test_the_entry_page_names_every_page():
    entry = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.parent.name == "docs" and f"({page.name})" not in entry][1:] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    broken = []
    for target in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == []


def test_no_file_names_a_path_of_somebodys_machine():
    found = {str(path.relative_to(ROOT)) for path in project_files() if MACHINE_PATHS.search(read(path))}
    assert found == set()


def test_nothing_is_marked_as_unfinished():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in project_files()
        for number, line in enumerate(read(path).splitlines(), start=1)
        if any(mark in line for mark in LEFT_OVER)
    ]
    assert found == []


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def test_extras_that_messages_and_pages_name_exist():
    named = {name for path in project_files() for name in re.findall(r"(?:brainlm|\.)\[([a-z]+)\]", read(path))}
    extras = pyproject()["project"]["optional-dependencies"]
    assert named <= extras.keys(), named - extras.keys()
    assert "dev" in named


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """The packages that a file imports, and whether it does so when it is loaded and not only in a function."""
    tree = ast.parse(read(path))
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from ((name.partition(".")[0], id(node) in at_once) for name in names)


def providers(requirements: list[str]) -> set[str]:
    """The distributions that requirements name (``dask[distributed]`` brings both), their names written in one way."""
    return {name.replace("_", "-").lower() for line in requirements for name in re.findall(r"[\w-]+", line)}


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda path: path.name)
def test_what_a_file_imports_is_a_dependency_or_lazily_of_an_extra_that_it_names(path):
    project = pyproject()["project"]
    base, extras = providers(project["dependencies"]), project["optional-dependencies"]
    own = {"brainlm", *sys.stdlib_module_names}
    for package, at_once in imports_of(path):
        found = {name.replace("_", "-").lower() for name in (package, *DISTRIBUTIONS.get(package, ()))}
        if package in own or found & base:
            continue
        (extra,) = [name for name, lines in extras.items() if name != "dev" and found & providers(lines)] or [None]
        assert extra is not None, f"{package} is declared nowhere"
        assert not at_once, f"{package} must not be imported when the module is loaded"
        asked = EXTRAS.get(package) == extra and f'"{package}"' in read(path)  # by check_extra
        assert asked or f"brainlm[{extra}]" in read(path), f"{package} is of the extra {extra}, which no message names"


def test_what_nilearn_draws_surfaces_with_is_a_dependency():
    assert "plotly" in providers(pyproject()["project"]["dependencies"])


def test_ci_runs_both_commands_of_the_readme_in_its_order():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    commands = re.findall(r"^make (\w+)", read(script), re.MULTILINE)
    (readme,) = [match for match in re.findall(r"```sh\n(.*?)```", read(PAGES[0]), re.DOTALL) if "make test" in match]
    assert [name for name in commands if name in readme] == re.findall(r"^make (\w+)", readme, re.MULTILINE)
    planned = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for check in ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"):
        assert check in planned


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_presets_agrees_with_the_code(name):
    (row,) = re.findall(rf"^\| `{name}` \|(.+)\|$", read(ROOT / "docs" / "model.md"), re.MULTILINE)
    config = PRESETS[name]
    with torch.device("meta"):  # sizes without memory
        network = MaskedAutoencoder(config, torch.arange(424, device="cpu"))
    sizes = [
        f"{config.parcels_per_patch} x {config.timepoints_per_patch}",
        f"{config.num_tokens(424):,}",
        f"{config.encoder_width}, {config.encoder_depth}, {config.encoder_heads}, {config.encoder_mlp}",
        f"{config.decoder_width}, {config.decoder_depth}, {config.decoder_heads}, {config.decoder_mlp}",
        f"{network.num_parameters:,}",
    ]
    assert [cell.strip() for cell in row.split("|")] == sizes
