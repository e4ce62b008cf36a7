"""The errors a user can cause, each saying what was expected, what was found and what to do.

Mistakes of the program itself are asserts, not these classes. Every other module may import this one.
"""

from __future__ import annotations

from dataclasses import dataclass


class BrainLMError(Exception):
    """A mistake the user can mend.

    Args:
        problem: one sentence: what went wrong, naming the file, column or setting.
        expected: what would have been right.
        found: what was there instead (value and path).
        remedy: what to do about it.
    """

    def __init__(
        self, problem: str, *, expected: str | None = None, found: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.expected = expected
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.problem]
        for title, text in (("expected", self.expected), ("found", self.found), ("remedy", self.remedy)):
            if text is not None:
                parts.append(f"  {title + ':':<10}{text}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive a trip between processes by default.
        return (_rebuild, (type(self), self.problem, self.expected, self.found, self.remedy))


def _rebuild(
    kind: type[BrainLMError], problem: str, expected: str | None, found: str | None, remedy: str | None
) -> BrainLMError:
    return kind(problem, expected=expected, found=found, remedy=remedy)


class DataError(BrainLMError):
    """Recordings, tables or stores that cannot be used as they are."""


class AtlasError(BrainLMError):
    """An atlas, parcels table or label image that is missing, damaged or does not fit the data."""


class ConfigError(BrainLMError):
    """Settings that contradict each other or the data."""


class CheckpointError(BrainLMError):
    """A model folder that is damaged, incomplete or of another kind."""


@dataclass(frozen=True)
class Failure:
    """One input that was left out while the rest was done; a batch collects these and lists them at its end."""

    source: str
    reason: str
    remedy: str

    @classmethod
    def from_error(cls, source: str, error: BrainLMError) -> Failure:
        """The failure that ``error`` means for the input named ``source``."""
        found = f" (found: {error.found})" if error.found else ""
        return cls(source=source, reason=f"{error.problem}{found}", remedy=error.remedy or "")
