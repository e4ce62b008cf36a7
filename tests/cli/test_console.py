"""Progress in the log of a job: plain lines, early, with an estimate, and one at least each minute."""

import re
import time

import pytest

from brainlm.cli import console
from brainlm.cli.console import duration_text, progress_bar


@pytest.fixture
def lines(monkeypatch, capsys):
    """What was said so far, with a minute and the time to measure made short."""
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.2)
    monkeypatch.setattr(console, "MEASURE_S", 0.05)
    assert not console.console.is_terminal
    said = []

    def lines():
        said.extend(capsys.readouterr().out.splitlines())
        return said

    return lines


def test_the_first_line_comes_at_once_and_the_estimate_after_the_first_pieces(lines):
    with progress_bar("windows") as bar:
        bar.update(0, 100)
        assert lines() == ["windows: 0 of 100, begun"]
        time.sleep(0.06)
        bar.update(3, 100)
        assert re.fullmatch(r"windows: 3 of 100, about \d+ s in all \(estimated from 3 in 0 s\)", lines()[1])
        bar.update(4, 100)
    assert len(lines()) == 2


def test_a_line_at_least_each_minute_even_while_nothing_is_finished(lines):
    with progress_bar("hashing"):
        time.sleep(0.5)
    assert len(lines()) >= 2
    assert all(re.fullmatch(r"hashing: at work for \d+ s", line) for line in lines())


def test_lines_say_how_far_it_is_how_long_it_took_and_what_is_done_now(lines):
    with progress_bar("folds") as bar:
        bar.update(0, 8)
        time.sleep(0.1)
        bar.update(2, 8, "ridge")
        time.sleep(0.25)
    assert any(re.fullmatch(r"folds: 2 of 8, 0 s gone, about 1 s left \(ridge\)", line) for line in lines())
    assert re.fullmatch(r"folds: 2 of 8 in \d s", lines()[-1])
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", "\n".join(lines()))


def test_what_was_done_in_an_earlier_attempt_is_not_measured(lines):
    with progress_bar("windows") as bar:
        bar.update(900, 1000)
        time.sleep(0.1)
        bar.update(901, 1000)
    (estimate,) = [line for line in lines() if "in all" in line]
    assert 8 <= int(re.search(r"about (\d+) s", estimate)[1]) <= 30


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.2, "5 s"), (99.0, "99 s"), (3600.0, "60 min"), (7500.0, "2 h 05 min")]
)
def test_durations_are_read_by_people(seconds, text):
    assert duration_text(seconds) == text
