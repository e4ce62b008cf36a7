"""What verbs say at their end."""

from pathlib import Path

from brainlm.cli.console import MOST_REASONS, show_failures
from brainlm.errors import Failure


def test_equal_complaints_are_one_with_the_inputs_below(capsys):
    failures = [
        Failure(f"in/sub-{n:02d}.tsv", f"does not fit 200 parcels (found: {n} rows)", "use 200") for n in range(26)
    ]
    show_failures([*failures, Failure("in/x.tsv", "is empty", "write it again")], all_in=Path("a.store/manifest.json"))
    shown = capsys.readouterr().out
    assert shown.count("remedy: use 200") == 1
    assert shown.count("does not fit 200 parcels") == 1
    assert "26 inputs: does not fit 200 parcels (found: … rows)" in shown
    assert "in/sub-00.tsv, in/sub-01.tsv, in/sub-02.tsv, and 23 more" in shown
    assert "in/x.tsv: is empty" in shown
    assert "each is listed in a.store/manifest.json" in shown


def test_many_reasons_are_cut_off_and_said(capsys):
    words = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(MOST_REASONS + 5)]
    show_failures([Failure(f"{word}.tsv", f"fault {word * 4}", "mend") for word in words])
    assert "for 5 more reasons" in capsys.readouterr().out
