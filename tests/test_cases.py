"""Scripts of situations that once failed, each a user's commands on input of its own making.

They lie with the development data (``../shared/cases``) and need only the command and a Python that has the package; a
script exits with 0 where all is right.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
ABSENT = pytest.param(CASES, marks=pytest.mark.skip(reason="development data (../shared) is not here"))
SCRIPTS = sorted(CASES.glob("[0-9]*.sh")) or [ABSENT]
LIMIT_S = 900  # on a machine that has other things to do
ORPHANS_S = 10  # how long a script waits for processes to end (WAIT)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_situation_that_once_failed_is_right(script, tmp_path):
    settings = {
        "BRAINLM": str(Path(sysconfig.get_path("scripts")) / "brainlm"),
        "PY": sys.executable,
        "TMPDIR": str(tmp_path),
        "WAIT": str(ORPHANS_S),
    }
    done = subprocess.run(
        ["bash", script], env={**os.environ, **settings}, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
