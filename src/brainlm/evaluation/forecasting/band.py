"""Whether recordings were filtered in time: a filter smears each value over its neighbours, the future's included.

From the power spectrum alone, since headers do not say. What follows for a forecast is said here, and decided nowhere.

Shapes: T time points, P parcels, F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy.signal import welch

from brainlm.data.store import Store

RESOLUTION_HZ = 0.005  # of the spectrum where recordings are long enough: half of the usual lower edge
MAX_RECORDINGS = 200  # of each repetition time, evenly spaced; a mean spectrum needs no more
LOWEST_EDGE_HZ = 0.04  # an upper edge below is not looked for: that is where natural spectra fall
# The density above an edge (1.3 to 2 times its frequency) against that below (0.5 to 0.9 times). A first-order
# autoregressive process falls by a factor of 5 there at most, two of them in a row by 27; a Butterworth filter of order
# 2 that is run forwards and backwards by 50, one of order 5 by 1,000.
BELOW, ABOVE = (0.5, 0.9), (1.3, 2.0)
DROP = 40.0
# The density up to the first frequency against that of 0.015 to 0.05 Hz. White noise whose mean was removed keeps 0.83
# of it, natural spectra rise towards 0; high-passed ones keep a tenth or less.
HIGH_PASSED = 0.3
PLATEAU_HZ = (0.015, 0.05)
USUAL_EDGE_HZ = 0.1  # above which power is counted where no upper edge is found


@dataclass(frozen=True)
class BandLimit:
    """What the spectrum says.

    Attributes:
        is_limited: most recordings have next to no power above some frequency.
        low_hz, high_hz: the edges of the pass band; None where there is none.
        share_above: of the power (without the mean), above ``high_hz``, or above 0.1 Hz where there is no such edge.
    """

    is_limited: bool
    low_hz: float | None
    high_hz: float | None
    share_above: float

    @property
    def sentence(self) -> str:
        """What one should know before one looks at forecasts."""
        share = f"{100 * self.share_above:.2g} %"
        if self.high_hz is None:
            high_pass = f", but next to none below {self.low_hz:.3g} Hz" if self.low_hz is not None else ""
            return f"No low-pass filter is seen: {share} of the power lies above {USUAL_EDGE_HZ:g} Hz{high_pass}."
        edges = f"above {self.high_hz:.2g} Hz"
        if self.low_hz is not None:
            edges = f"outside {self.low_hz:.2g} to {self.high_hz:.2g} Hz"
        return (
            f"These recordings look filtered: next to no power {edges} ({share} above). The filter spreads each value "
            f"over its neighbours in time, so that part of any forecast is the filter's doing and not the brain's."
        )


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean power density over recordings and parcels, each parcel's total being 1; without frequency 0."""

    frequency_hz_F: Float64[np.ndarray, "F"]
    density_F: Float64[np.ndarray, "F"]

    def between(self, low_hz: float, high_hz: float) -> float:
        """The mean density from one frequency to another; NaN where the spectrum has no point."""
        inside_F = (self.frequency_hz_F >= low_hz) & (self.frequency_hz_F <= high_hz)
        return float(self.density_F[inside_F].mean()) if inside_F.any() else np.nan

    def share_above(self, edge_hz: float) -> float:
        """The share of the power above a frequency."""
        return float(self.density_F[self.frequency_hz_F > edge_hz].sum() / self.density_F.sum())


def band_limit(store: Store) -> BandLimit:
    """The pass band of the recordings of ``store``; those of each repetition time are looked at together."""
    trs_N = np.round(store.metadata["tr"].to_numpy(np.float64), 3)
    groups = []
    for tr_s in np.unique(trs_N):
        positions = np.flatnonzero(trs_N == tr_s)
        chosen = positions[:: -(-len(positions) // MAX_RECORDINGS)]
        groups.append((len(positions), limit_of(spectrum_of([store.bold(int(one)) for one in chosen], float(tr_s)))))
    limited = [(count, limit) for count, limit in groups if limit.is_limited]
    is_limited = 2 * sum(count for count, _ in limited) > len(store)
    counted = limited if is_limited else [(count, limit) for count, limit in groups if not limit.is_limited]
    return BandLimit(
        is_limited=is_limited,
        low_hz=_median_edge([(count, limit.low_hz) for count, limit in counted]),
        high_hz=_median_edge([(count, limit.high_hz) for count, limit in counted]) if is_limited else None,
        share_above=float(
            np.average([limit.share_above for _, limit in counted], weights=[count for count, _ in counted])
        ),
    )


def spectrum_of(recordings: Sequence[Float[np.ndarray, "_ P"]], tr_s: float) -> Spectrum:
    """The mean spectrum by Welch's method, in segments as long as ``RESOLUTION_HZ`` asks for or the shortest allows."""
    num_points = min(round(1 / (RESOLUTION_HZ * tr_s)), *(len(bold_TP) for bold_TP in recordings))
    total_F = np.zeros(num_points // 2)
    for bold_TP in recordings:
        varying_TP = np.asarray(bold_TP, np.float64)[:, np.isfinite(bold_TP).all(axis=0)]
        frequency_hz_F, density_PF = welch(varying_TP.T, fs=1 / tr_s, nperseg=num_points, detrend="constant")
        density_PF = density_PF[:, 1 : num_points // 2 + 1]
        power_P = density_PF.sum(axis=1)
        total_F += (density_PF[power_P > 0] / power_P[power_P > 0, None]).sum(axis=0)
    return Spectrum(frequency_hz_F[1 : num_points // 2 + 1], total_F / total_F.sum())


def limit_of(spectrum: Spectrum) -> BandLimit:
    """The pass band that a spectrum shows."""
    high_hz = _upper_edge(spectrum)
    low_hz = _lower_edge(spectrum)
    share_above = spectrum.share_above(USUAL_EDGE_HZ if high_hz is None else high_hz)
    return BandLimit(high_hz is not None, low_hz, high_hz, share_above)


def _upper_edge(spectrum: Spectrum) -> float | None:
    """The frequency (Hz) where the density drops most steeply, if it drops as only filters do and stays down."""
    frequencies = spectrum.frequency_hz_F
    highest_hz = frequencies[-1]
    drops = {}
    for edge_hz in frequencies[(frequencies >= LOWEST_EDGE_HZ) & (frequencies * ABOVE[0] < highest_hz)]:
        below = spectrum.between(BELOW[0] * edge_hz, BELOW[1] * edge_hz)
        above = spectrum.between(ABOVE[0] * edge_hz, ABOVE[1] * edge_hz)
        beyond = spectrum.between(ABOVE[0] * edge_hz, highest_hz)
        if np.isfinite(below) and max(above, beyond) < below / DROP:
            drops[float(edge_hz)] = below / max(above, beyond, np.finfo(float).tiny)
    if not drops:
        return None
    # The lowest frequency at which the fall is complete is not yet the edge, where the density is a quarter to a half
    # of that below.
    first_hz = min(drops)
    below = spectrum.between(BELOW[0] * first_hz, BELOW[1] * first_hz)
    passed = frequencies[(spectrum.density_F > below / 4) & (frequencies <= ABOVE[0] * first_hz)]
    return float(passed[-1]) if len(passed) else first_hz


def _lower_edge(spectrum: Spectrum) -> float | None:
    """The lowest frequency (Hz) with half of the density of the plateau, if there is next to nothing below."""
    plateau = spectrum.between(*PLATEAU_HZ)
    frequencies, density_F = spectrum.frequency_hz_F, spectrum.density_F
    if not np.isfinite(plateau) or frequencies[0] > 1.5 * RESOLUTION_HZ or density_F[0] > HIGH_PASSED * plateau:
        return None
    passed = frequencies[density_F >= plateau / 2]
    return float(passed[0])


def _median_edge(edges: Sequence[tuple[int, float | None]]) -> float | None:
    """The median over recordings; None where most of them have no such edge."""
    values = np.concatenate([np.full(count, np.nan if edge is None else edge) for count, edge in edges])
    return float(np.nanmedian(values)) if 2 * int(np.isfinite(values).sum()) > len(values) else None
