"""Importing the package and asking for help stay instant: nothing heavy is loaded before it is needed."""

import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "lightning", "pandas", "numpy", "scipy", "sklearn", "nilearn", "matplotlib", "datasets", "pyarrow")
LIMIT_S = 3.0  # one second is what is promised on a machine with nothing else to do

SHOW = "print(sorted(set({heavy!r}) & set(sys.modules)))"


def loaded_by(statement: str) -> list[str]:
    """Which of the heavy packages a fresh interpreter has loaded after ``statement``."""
    program = f"import sys\n{statement}\n{SHOW.format(heavy=HEAVY)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return eval(done.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import brainlm; brainlm.__version__; dir(brainlm)") == []


def test_help_loads_nothing_heavy():
    assert loaded_by("from brainlm.cli import main; assert main(['--help']) == 0") == []


def test_an_unknown_verb_loads_nothing_heavy():
    assert loaded_by("from brainlm.cli import main; sys.stderr = sys.stdout; assert main(['inspekt']) == 2") == []


@pytest.mark.parametrize("verb", ["pretrain", "report"])
def test_the_help_of_a_verb_needs_no_torch(verb):
    statement = f"""
from brainlm.cli import main
try:
    main([{verb!r}, "--help"])
except SystemExit as stop:
    assert stop.code == 0
"""
    assert not {"torch", "lightning", "nilearn", "matplotlib", "datasets"} & set(loaded_by(statement))


def test_the_command_answers_at_once():
    command = [sys.executable, "-c", "from brainlm.cli import main; raise SystemExit(main())", "--help"]
    times = []
    for _ in range(2):  # the first may have to compile
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        times.append(time.perf_counter() - start)
    assert min(times) < LIMIT_S


def test_public_names_are_there_when_asked_for():
    import brainlm

    for name in brainlm.__all__:
        assert getattr(brainlm, name) is not None


def test_the_public_names_are_listed_and_nothing_else():
    import brainlm

    assert dir(brainlm) == sorted(brainlm.__all__)


def test_what_the_documentation_begins_with_is_public():
    import brainlm

    assert {"Atlas", "BrainLM", "Recording", "Store"} <= set(brainlm.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error():
    import brainlm

    with pytest.raises(AttributeError, match="'brainlm' has no attribute 'Recordings'"):
        _ = brainlm.Recordings
