"""Packages that only some commands need: which extra has them, and whether they are here."""

from __future__ import annotations

import importlib.util

from brainlm.errors import ConfigError

# By the name that is imported; the extras are those of pyproject.toml.
EXTRAS = {
    "combatlearn": "baselines",
    "distributed": "distributed",
    "peft": "finetune",
    "brainmarks": "brainmarks",
}


def missing_extra(package: str, *, what: str, otherwise: str = "") -> ConfigError:
    """The error that says that ``what`` needs a package that is not installed, and which extra has it.

    Args:
        package: a key of ``EXTRAS``.
        what: the work that needs it, as a plural: "harmonised features".
        otherwise: what to do instead of installing it: "leave them out".
    """
    remedy = f"pip install 'brainlm[{EXTRAS[package]}]'"
    return ConfigError(
        f"{what} need the package {package}",
        expected=f"the extra {EXTRAS[package]}",
        found=f"{package} is not installed",
        remedy=f"{remedy}, or {otherwise}" if otherwise else remedy,
    )


def check_extra(package: str, *, what: str, otherwise: str = "") -> None:
    """Refuse, before anything is computed or imported, what cannot be done without a package that is not here.

    Raises:
        ConfigError: it is not installed; see ``missing_extra``.
    """
    try:
        found = importlib.util.find_spec(package) is not None
    except ValueError:  # in ``sys.modules`` without a specification
        found = False
    if not found:
        raise missing_extra(package, what=what, otherwise=otherwise)
