"""All methods of one target on the same people and the same resamples of them: scores, differences, who is best.

What a score is, is in ``scores.py``; which comparisons are reported, in ``judging.py``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.scores import Scoring
from brainlm.evaluation.statistics import Interval, SubjectBootstrap


class Contest:
    """All methods on the same people and the same resamples of them."""

    def __init__(self, scoring: Scoring, methods: Sequence[Predictions], bootstrap: SubjectBootstrap) -> None:
        self.scoring, self.methods, self.bootstrap = scoring, tuple(methods), bootstrap
        self._draws = {method.method: scoring.draws(method.values_RNK, bootstrap) for method in methods}
        assert len(self._draws) == len(methods), "two methods have the same name"

    def __getitem__(self, name: str) -> Predictions:
        return next(method for method in self.methods if method.method == name)

    def value(self, name: str) -> float:
        """The main metric of a method."""
        return float(self._draws[name][self.scoring.main_metric][0])

    def scores(self, name: str) -> dict[str, Interval]:
        """Every metric of a method with its interval."""
        return {metric: self._interval(draws) for metric, draws in self._draws[name].items()}

    def difference(self, name: str, other: str | None) -> Interval | None:
        """The main metric of a method minus that of another, both on the same resamples; None without another one."""
        if other is None or other == name:
            return None
        main = self.scoring.main_metric
        return self._interval(self._draws[name][main] - self._draws[other][main])

    def best(self, groups: Collection[str]) -> str | None:
        """The method of these groups with the highest main metric, the first of equals; None where there is none."""
        names = [method.method for method in self.methods if method.group in groups]
        known = [name for name in names if math.isfinite(self.value(name))]
        return max(known, key=self.value, default=None)

    def first(self, group: str) -> str | None:
        """The first method of a group in the order given: chosen before its score was known."""
        return next((method.method for method in self.methods if method.group == group), None)

    def undefined(self) -> dict[str, float]:
        """Share of the resamples in which the main metric of a method is NaN, though it is known of all people."""
        main = self.scoring.main_metric
        known = {name: draws[main] for name, draws in self._draws.items() if math.isfinite(draws[main][0])}
        return {name: float(np.isnan(draws[1:]).mean()) if len(draws) > 1 else 0.0 for name, draws in known.items()}

    def by_site(self, name: str, sites: Sequence[str]) -> list[dict[str, Any]]:
        """The main metric among the people of each site."""
        main, site_N = self.scoring.main_metric, np.asarray(sites)
        rows = []
        for site in sorted(set(sites)):
            here_N = site_N == site
            draws_B = self.scoring.draws(self[name].values_RNK, self.bootstrap, metrics=[main], units_N=here_N)[main]
            num_drawn = len(np.unique(self.scoring.cluster_N[here_N]))
            interval = self.bootstrap.interval_of(float(draws_B[0]), draws_B[1:], num_subjects=num_drawn)
            found = _without_false_certainty(interval).as_dict()
            rows.append({"site": site, "num": int((site_N == site).sum()), **found})
        return rows

    def _interval(self, draws: np.ndarray) -> Interval:
        return self.bootstrap.interval_of(float(draws[0]), draws[1:])


def _without_false_certainty(interval: Interval) -> Interval:
    """No limits where resampling changes nothing: three people in the right order are no proof of more."""
    return Interval(interval.value) if interval.low == interval.high else interval
