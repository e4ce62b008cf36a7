"""Of all images of one run, the one that is read: by what the user selects, then by a fixed order; never two.

The order within a layout is that layout's; what the order cannot decide is a failure that lists the files.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from brainlm.data.planned import listed
from brainlm.data.scan import Scan
from brainlm.errors import ConfigError, DataError, Failure

# What users and programs call the entities of BIDS.
SHORT_NAMES: Mapping[str, str] = {
    "subject": "sub",
    "participant": "sub",
    "participant_label": "sub",
    "session": "ses",
    "resolution": "res",
    "density": "den",
    "direction": "dir",
    "acquisition": "acq",
    "reconstruction": "rec",
    "seg": "atlas",
}
SELECTABLE = ("sub", "ses", "task", "run", "space", "res", "den", "desc", "acq", "ce", "dir", "rec", "cohort", "atlas")
OPTIONS = {"sub": "subject", "ses": "session"}  # of `brainlm parcellate`, where they are not called like the entity
ACQUISITION = ("sub", "ses", "task", "run", "acq", "ce", "dir")  # what tells one run from another, not its images


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image that could be read for its run.

    Attributes:
        scan: as far as names and folders say.
        entities: by short name, what a user may select by; ``sub`` and ``ses`` without their prefix.
        rank: smaller is better, among candidates of one layout.
        standard: False for an image in the subject's own space, which is read only when its space is selected.
        sidecar: where the repetition time may be: a JSON file, "" for those beside and above, None for nowhere.
        root: the data set it belongs to, where tables about people may lie; "" for none.
    """

    scan: Scan
    entities: Mapping[str, str]
    rank: tuple[int, ...]
    standard: bool = True
    sidecar: str | None = ""
    root: str = ""

    @property
    def variant(self) -> str:
        """What it is among the images of its run, such as ``space-MNI152NLin6Asym_res-2_desc-preproc``."""
        parts = [f"{key}-{value}" for key, value in self.entities.items() if key not in ACQUISITION and value]
        return "_".join(parts) or {"nifti": "volumes", "cifti": "CIFTI", "table": "tables"}[self.scan.kind]


@dataclass(frozen=True)
class Selection:
    """Which values of which entities are wanted; an entity that is not named is not restricted."""

    wanted: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, entities: Mapping[str, Sequence[str]]) -> Selection:
        """The selection of ``entities``, with long or short names, values with or without ``sub-`` and ``ses-``.

        Raises:
            ConfigError: an entity that nothing can be selected by.
        """
        wanted: dict[str, frozenset[str]] = {}
        for name, values in entities.items():
            key = SHORT_NAMES.get(name.lower(), name.lower())
            if key not in SELECTABLE:
                nearest = difflib.get_close_matches(key, [*SELECTABLE, *SHORT_NAMES], n=2, cutoff=0.5)
                raise ConfigError(
                    f"scans cannot be selected by {name!r}",
                    expected=", ".join(SELECTABLE),
                    found=f"{name} (nearest: {', '.join(nearest)})" if nearest else name,
                    remedy="name one of the entities of BIDS",
                )
            texts = [values] if isinstance(values, str) else values
            wanted[key] = frozenset(str(value).removeprefix(f"{key}-") for value in texts)
        return cls({key: values for key, values in wanted.items() if values})

    def matches(self, candidate: Candidate) -> bool:
        """Whether the candidate has a wanted value of each entity that is restricted."""
        return all(candidate.entities.get(key, "") in values for key, values in self.wanted.items())

    def admits(self, candidate: Candidate, *, atlas: str) -> bool:
        """Whether it may be read: an image in a standard space or the selected one, a table of the atlas, if any."""
        if not candidate.standard and "space" not in self.wanted:
            return False
        said = candidate.entities.get("atlas", "")
        of_another = bool(said and atlas) and "atlas" not in self.wanted and not same_atlas(said, atlas)
        return not of_another and self.matches(candidate)

    def describe(self) -> str:
        """As on a command line."""
        return " ".join(
            f"--{OPTIONS.get(key, key)} {' '.join(sorted(values))}" for key, values in sorted(self.wanted.items())
        )


@dataclass(frozen=True, eq=False)
class Chosen:
    """One candidate a run at most, sorted by the recordings' names."""

    candidates: list[Candidate]
    failures: list[Failure]
    notes: list[str]


def choose(candidates: Iterable[Candidate], selection: Selection, *, atlas: str = "") -> Chosen:
    """The best candidate of every run.

    Args:
        candidates: of one folder given.
        selection: what the user wants.
        atlas: the name of the atlas asked for; tables of other atlases are passed over. "" leaves them in.
    """
    runs: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        runs[candidate.scan.recording_name].append(candidate)
    chosen: list[Candidate] = []
    failures: list[Failure] = []
    others: Counter[str] = Counter()
    num_deselected = 0
    for name in sorted(runs):
        matching = [item for item in runs[name] if selection.matches(item)]
        if not matching:
            num_deselected += 1
            continue
        admitted = [item for item in matching if selection.admits(item, atlas=atlas)]
        if not admitted:
            failures.append(_none_fits(name, matching, atlas))
            continue
        best = min(item.rank for item in admitted)
        equals = [item for item in admitted if item.rank == best]
        if len(equals) > 1:
            failures.append(_cannot_decide(name, equals))
            continue
        chosen.append(equals[0])
        others.update(item.variant for item in runs[name] if item is not equals[0])
    notes = [f"read as: {_counted(Counter(item.variant for item in chosen))}"] if chosen else []
    if others:
        notes.append(f"{others.total()} other images of the same runs were not chosen: {_counted(others)}")
    if num_deselected:
        notes.append(f"{num_deselected} runs were left out by {selection.describe()}")
    return Chosen(chosen, failures, notes)


def same_atlas(one: str, other: str) -> bool:
    """Whether two names of atlases are the same but for case and punctuation."""
    return _letters(one) == _letters(other)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _none_fits(name: str, candidates: Sequence[Candidate], atlas: str) -> Failure:
    spaces = sorted({item.entities.get("space") or "the scanner's" for item in candidates if not item.standard})
    tables = sorted({item.entities.get("atlas", "") for item in candidates if item.standard})
    found = [f"images in {listed(spaces)} space"] if spaces else []
    found += [f"tables of {listed(tables)}, not of {atlas}"] if tables else []
    remedy = "run the preprocessing again with MNI152NLin6Asym among its output spaces"
    if "the scanner's" in spaces:
        remedy += "; or, if they are in a standard space though no name says so, read them with --layout plain"
    remedy = "name the atlas that the tables are of, and select it with --atlas" if tables else remedy
    return Failure(candidates[0].scan.path, f"{name} has only {' and '.join(found)}", remedy)


def _cannot_decide(name: str, candidates: Sequence[Candidate]) -> Failure:
    paths = sorted(item.scan.path for item in candidates)
    keys = sorted({key for item in candidates for key in item.entities})
    differing = [key for key in keys if len({item.entities.get(key, "") for item in candidates}) > 1]
    remedy = (
        f"select one with --{OPTIONS.get(differing[0], differing[0])}" if differing else "move all but one of them away"
    )
    return Failure(
        paths[0], f"{len(paths)} files are the same run, {name}, and none was read: {listed(paths, 5)}", remedy
    )


def _counted(variants: Counter[str]) -> str:
    return listed([f"{variant} ({number})" for variant, number in sorted(variants.items())], 10)


def nothing_selected(candidates: Sequence[Candidate], selection: Selection) -> DataError:
    """The error that a selection leaves none of the candidates, with the values that there are."""
    there = {key: sorted({item.entities.get(key, "") for item in candidates} - {""}) for key in selection.wanted}
    return DataError(
        "no scan is left by the selection",
        expected=selection.describe(),
        found="; ".join(f"{key}: {listed(values, 10) or 'not said by any name'}" for key, values in there.items()),
        remedy="select other values, or leave the selection out",
    )
