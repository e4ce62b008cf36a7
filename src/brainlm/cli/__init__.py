"""The command line: ``brainlm VERB ...``. It parses, calls and prints; what the verbs do lives in the rooms below."""

from __future__ import annotations

from brainlm.cli.main import main

__all__ = ["main"]
