"""A study goes on where it was killed, and makes anew what depends on what has changed."""

import json

import pytest

from brainlm.evaluation.forecasting.running import (
    CohortWindows,
    Entrant,
    score_cohorts,
    study_results,
    write_study,
)
from brainlm.evaluation.reconstruction import BootstrapSettings
from brainlm.files import sealed


class Counted:
    """Makes a method, and counts how often it was asked to."""

    def __init__(self, forecaster):
        self.forecaster, self.calls = forecaster, 0

    def __call__(self):
        self.calls += 1
        return self.forecaster


@pytest.fixture
def methods(make_guess):
    return [
        Counted(make_guess("BrainLM", "model", factor=0.5)),
        Counted(make_guess("Last", "simple", factor=1.0)),
    ]


@pytest.fixture
def run(tmp_path, judged, methods):
    """``run(**changes)``: score both methods, again."""

    def once(*, scaling="weights", identities=("a", "b"), windows=None, on_progress=None):
        entrants = [
            Entrant(f"method {number}", identity, make)
            for number, (identity, make) in enumerate(zip(identities, methods, strict=True))
        ]
        cohorts = [CohortWindows("test", windows or judged())]
        return score_cohorts(
            entrants, cohorts, judged("validation"), tmp_path, scaling=scaling, on_progress=on_progress
        )

    return once


def results_of(cohorts):
    return study_results(cohorts, bootstrap=BootstrapSettings(num_bootstrap=20), settings={}, facts={}, tuning="")


def test_what_is_there_is_not_made_again_and_gives_the_same_results(run, methods):
    first, again = results_of(run()), results_of(run())
    assert [one.calls for one in methods] == [1, 1]
    assert first == again


def test_a_killed_study_goes_on_with_the_method_it_was_at(run, methods):
    def die():
        raise KeyboardInterrupt

    alive, methods[1] = methods[1], die
    with pytest.raises(KeyboardInterrupt):
        run()
    methods[1] = alive
    run()
    assert [one.calls for one in methods] == [1, 1]


def test_another_model_method_or_window_is_made_anew(run, methods, judged):
    run()
    run(scaling="other weights")
    assert [one.calls for one in methods] == [2, 2]
    run(scaling="other weights", identities=("a", "changed"))
    assert [one.calls for one in methods] == [2, 3]
    run(scaling="other weights", identities=("a", "changed"), windows=judged(max_per_recording=1))
    assert [one.calls for one in methods] == [3, 4]


def test_the_batch_size_changes_no_score(run, judged):
    by_size = []
    for number, batch_size in enumerate((3, 64)):
        (cohort,) = run(scaling=str(number), windows=judged(batch_size=batch_size))
        by_size.append(results_of([cohort]))
    first, second = (results["cohorts"][0]["methods"] for results in by_size)
    for one, other in zip(first, second, strict=True):
        assert one["scores"]["r2"]["value"] == pytest.approx(other["scores"]["r2"]["value"], abs=1e-9)
        assert one["r2_per_parcel"] == pytest.approx(other["r2_per_parcel"], abs=1e-9)


def test_progress_is_told_to_its_end(run):
    told = []
    run(on_progress=lambda done, total, name: told.append((done, total, name)))
    assert told[-1][0] == told[-1][1]
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


def test_what_is_written_can_be_read(run, tmp_path):
    results = results_of(run())
    write_study(tmp_path / "out", results)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == sealed(results)
    lines = (tmp_path / "out" / "table.csv").read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("cohort,method,group,r2,r2_low,r2_high")
