"""Numbers as text and the words for wins and losses."""

import math

import pytest
from synthetic_run import evaluation_with

from brainlm.report import sentences
from brainlm.report.embedding import Share


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4123, "0.412"), (-0.06, "−0.060"), (0.0, "0.000"), (0.00031, "0.0003"), (-1e-9, "0.000"), (math.nan, "n/a")],
)
def test_numbers_have_a_true_minus_and_keep_a_digit(value: float, text: str) -> None:
    assert sentences.number(value) == text


def test_a_sign_is_shown_on_request_but_not_for_zero() -> None:
    assert sentences.number(0.02, sign=True) == "+0.020"
    assert sentences.number(0.0, sign=True) == "0.000"


def scored(low: int, high: int) -> dict:
    """A condition whose difference has this interval."""
    return {"difference": {"r2": (low + high) / 2, "low": low, "high": high}}


def test_a_tally_of_one_kind_is_said_in_one_piece() -> None:
    losses = evaluation_with(scored(-2, -1), scored(-2, -1))
    assert sentences.tally(losses) == "In all 2 conditions the model is worse than the best baseline."
    level = evaluation_with(scored(-1, 1), scored(-1, 1))
    assert "In none of the 2 conditions" in sentences.tally(level)


def test_a_mixed_tally_counts_wins_losses_and_neither() -> None:
    mixed = evaluation_with(scored(1, 2), scored(-2, -1), scored(-2, -1), scored(-1, 1))
    assert sentences.tally(mixed) == (
        "Over all 4 conditions the model is better than the best baseline in 1, worse in 2 "
        "and not clearly different from it in 1."
    )


def test_a_model_below_zero_is_not_said_to_explain_anything() -> None:
    method = {"name": "BrainLM", "is_model": True, "r2": -0.05, "r2_low": -0.1, "r2_high": -0.01}
    text = sentences.headline(evaluation_with({"methods": [method]}))
    assert "does not predict the hidden signal: R² is −0.050 [−0.100, −0.010]" in text
    assert "explains" not in text


def test_the_embeddings_are_said_to_vary_with_the_column_and_the_subject() -> None:
    found = (Share("subject", 0.79, 0.33, 33, 99), Share("sex", 0.012, 0.025, 2, 99))
    assert sentences.dominance(found, "sex") == (
        "Of the variance of the embeddings, subject accounts for 79 % (33 % by chance); "
        "sex accounts for 1.2 % (2.5 % by chance)."
    )


def test_the_column_that_accounts_for_most_is_named_first_whatever_was_asked_for() -> None:
    found = (
        Share("mean_fd", 0.23, 0.01, None, 90),
        Share("subject", 0.4, 0.38, 30, 90),
        Share("sex", 0.02, 0.03, 2, 90),
    )
    for order in (found, found[::-1]):
        said = sentences.dominance(order, "sex")
        assert said.startswith(
            "Of the variance of the embeddings, mean_fd accounts for 23 % (1.0 % by chance), the most"
        )
        assert said.index("mean_fd") < said.index("sex") < said.index("subject")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Zero", "predicts 0"),
        ("Linear interpolation", "straight line"),
        ("Last value", "repeats"),
        ("AR(3)", "its own recent past"),
        ("Gaussian (space)", "same time"),
        ("Gaussian (space-time)", "decays in time"),
        ("Gaussian (recording)", "own points"),
        ("Gaussian (recording, space-time)", "as Gaussian (recording)"),
        ("Gaussian (recording and window)", "part of the window"),
        ("Gaussian (recording and window, space-time)", "as Gaussian (recording and window)"),
        ("something new", ""),
    ],
)
def test_each_baseline_is_explained_by_its_own_line(name: str, words: str) -> None:
    note = sentences.method_note(name, is_model=False)
    assert words in note
    assert bool(note) == bool(words)


@pytest.mark.parametrize(
    ("seconds", "text"), [(42.0, "42 s"), (312.0, "5 min"), (3725.0, "1 h 2 min"), (3599.0, "1 h 0 min")]
)
def test_durations_are_said_in_their_own_unit(seconds: float, text: str) -> None:
    assert sentences.duration(seconds) == text
