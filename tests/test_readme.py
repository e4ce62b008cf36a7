"""The code in README.md and docs/: Python is executed, YAML written, commands parsed (docs/README.md says how)."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from brainlm.cli import demo
from brainlm.cli.main import VERBS, _tidied, parser_of
from brainlm.data.synthetic import synthetic_store

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a shell block may call beside brainlm and make; whoever types these knows them.
OTHER_COMMANDS = {"source", "tensorboard"}
LAUNCHERS = {"torchrun", "srun"}  # in front of a brainlm command


@dataclass(frozen=True)
class Block:
    """A fenced piece of a page; ``line`` is where its content begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path, *languages: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [Block(page, text[: m.start(2)].count("\n") + 1, m[1], m[2]) for m in FENCE.finditer(text)]
    return [block for block in found if block.language in languages]


def commands_of(block: Block) -> list[list[str]]:
    """The commands of a shell block, as words: lines joined at a backslash, comments dropped."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


SHELL = [block for page in PAGES for block in blocks_of(page, "sh")]
WITH_PYTHON = [page for page in PAGES if blocks_of(page, "python")]


# A model that trains in a second or two, on recordings to match.
SHAPE = "--model.encoder_width 16 --model.encoder_depth 1 --model.encoder_heads 2 --model.encoder_mlp 16"
SHAPE += " --model.decoder_width 16 --model.decoder_heads 2 --model.decoder_mlp 16"
SHAPE += " --model.num_timepoints 40 --model.timepoints_per_patch 10"
TRAINING = "--training.epochs 1 --training.batch_size 4 --device.accelerator cpu"
STEPS = (
    f"pretrain demo/pain.store --out demo/run --preset tiny {SHAPE} {TRAINING}",
    "evaluate demo/run demo/pain.store --max_windows_per_recording 1 --num_bootstrap 20",
    "embed demo/run demo/pain.store",
)
RUN_STEPS = "import sys; from brainlm.cli import main; sys.exit(any(main(step.split()) for step in sys.argv[1:]))"


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory) -> Path:
    """What the pages call demo/pain.store and demo/run, small and made as a user would make them."""
    folder = tmp_path_factory.mktemp("readme")
    synthetic_store(
        folder / "demo" / "pain.store", num_subjects=16, runs_per_subject=2, num_parcels=12, num_timepoints=(70, 90)
    )
    done = subprocess.run(
        [sys.executable, "-c", RUN_STEPS, *STEPS], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_python_on_a_page_runs_from_top_to_bottom(page, demo_folder, monkeypatch):
    monkeypatch.chdir(demo_folder)
    names: dict = {}
    for block in blocks_of(page, "python"):
        # Line numbers of the page, so that a traceback points into it.
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
        exec(code, names)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_and_option_exists(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_yaml_of(block.page)
    for words in commands_of(block):
        check_command(words)


def write_yaml_of(page: Path) -> None:
    """The YAML of a page, under the names in its blocks' first lines; and what earlier runs would have left."""
    for block in blocks_of(page, "yaml"):
        name = block.text.splitlines()[0].removeprefix("# ")
        Path(name).write_text(block.text, encoding="utf-8")
    settings = Path("runs/13m/config.yaml")
    settings.parent.mkdir(parents=True)
    settings.write_text("store: a.store\nout: runs/13m\npreset: 13m\n", encoding="utf-8")


def check_command(words: list[str]) -> None:
    if words[0] in LAUNCHERS:
        words = words[words.index("brainlm") :]
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        assert set(targets) <= make_targets(), words
    elif words[0] == "brainlm" and words[1:2] != ["--help"]:
        parse(words[1:])
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), words
    else:
        assert words[0] in OTHER_COMMANDS | {"brainlm"}, words


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def parse(words: list[str]) -> None:
    """Parse as the command line does; what only asks for help or settings ends in an exit with status 0."""
    verb, *rest = words
    parser = parser_of(verb, VERBS[verb].load(), rest)
    if {"--help", "--print_config"} & set(rest):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(_tidied(rest, parser))
        assert not ended.value.code, words
    else:
        parser.instantiate(parser.parse_args(_tidied(rest, parser)))


def test_the_tutorial_is_what_the_demo_runs(monkeypatch, tmp_path):
    ran: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "main", lambda words: ran.append([w for w in words if w != "--overwrite"]) or 0)
    for step in ("_paint_images", "_say_how_alike"):
        monkeypatch.setattr(demo, step, lambda *_: None)
    assert demo.demo() == 0
    typed = [words[1:] for block in blocks_of(ROOT / "README.md", "sh") for words in commands_of(block)]
    assert [words for words in ran if words not in typed] == []
