"""From the words typed to a call: finds the verb, parses its arguments from its own signature, reports errors.

Nothing heavy is imported before it is known which verb is meant, so that help stays instant. The verbs themselves are
in the modules that ``VERBS`` names.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Literal, Union, get_args, get_origin

from brainlm.cli.endings import DEBUG, DONE, SOME_FAILED, WRONG_USAGE, complain, run_verb
from brainlm.errors import BrainLMError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["DONE", "SOME_FAILED", "VERBS", "main", "parser_of"]

# What is safe when a signal stops a verb, and how to go on: of the verbs that keep what is finished, and of the others.
GOES_ON = "what is finished is kept; the same command goes on from there"
AGAIN = "files are written whole or not at all; run the same command again"
KEEPS_PIECES = ("demo", "parcellate", "pretrain", "probe", "finetune", "forecast", "networks")


@dataclass(frozen=True)
class Verb:
    """A verb: where its function is and what it is for."""

    module: str
    function: str
    summary: str

    def load(self) -> Callable[..., int]:
        """The function that does it; it returns the exit status."""
        function: Callable[..., int] = getattr(importlib.import_module(f"brainlm.cli.{self.module}"), self.function)
        return function


VERBS = {
    "demo": Verb("demo", "demo", "do everything below once, on open data, in a few minutes"),
    "import": Verb("data_verbs", "import_recordings", "tables of parcel signals -> a store"),
    "parcellate": Verb("scan_verbs", "parcellate", "preprocessed scans (fMRIPrep, HCP, UK Biobank, ...) -> a store"),
    "merge": Verb("scan_verbs", "merge", "the parts of an array of parcellate jobs -> one store"),
    "inspect": Verb("data_verbs", "inspect", "what is in a store, and what was left out and why"),
    "pretrain": Verb("model_verbs", "pretrain", "train a masked autoencoder on a store"),
    "evaluate": Verb("result_verbs", "evaluate", "how well it fills in hidden signal, beside its baselines"),
    "embed": Verb("model_verbs", "embed", "recordings -> vectors, and where the model looks"),
    "probe": Verb("probe_verb", "probe", "does it predict a clinical variable better than connectivity does?"),
    "finetune": Verb("finetune_verbs", "finetune", "train the encoder on a clinical variable, in the same folds"),
    "predict": Verb("finetune_verbs", "predict", "a fine-tuned model applied to new people"),
    "forecast": Verb("forecast_verb", "forecast", "the next time points, beside linear and neural forecasts"),
    "attention": Verb("attention_verb", "attention", "where the model looks, contrasted between conditions or groups"),
    "networks": Verb("networks_verb", "networks", "tell a parcel's functional network from attention and embeddings"),
    "convert": Verb("released", "convert", "a published checkpoint -> a folder of our own, checked"),
    "report": Verb("result_verbs", "report", "one HTML page of everything a run has"),
    "bench": Verb("bench", "bench", "how fast this machine reads, trains and embeds"),
}

EXAMPLES = """\
  brainlm parcellate derivatives/fmriprep/ study.store --atlas A424 --jobs 8
  brainlm import my_tables/ study.store --atlas A424 --tr 0.735
  brainlm pretrain study.store --out runs/13m --preset 13m
  brainlm evaluate runs/13m study.store
  brainlm probe runs/13m study.store --target age --folds leave-site-out --seen leave_out
  brainlm forecast runs/13m study.store --context 180 --horizon 20 --finetune
  brainlm attention runs/13m study.store --contrast task --levels rest,movie
  brainlm networks runs/13m study.store --labels yeo7
  brainlm report runs/13m"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: all done. 1: some inputs or parts failed, the rest is done. 2: wrong usage or input. 3: a fault of ours.
    128 + n: stopped by signal n. ``--debug`` anywhere among the words shows tracebacks.
    """
    words = list(sys.argv[1:] if words is None else words)
    debug = DEBUG in words
    words = [word for word in words if word != DEBUG]
    if not words or words[0] in ("-h", "--help", "help"):
        _overview()
        return DONE if words else WRONG_USAGE
    if words[0] == "--version":
        import brainlm

        sys.stdout.write(f"brainlm {brainlm.__version__}\n")
        return DONE
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    name = words[0]
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        complain(f"no verb {name!r}{f'; did you mean {near[0]!r}?' if near else ''}\n  verbs: {', '.join(VERBS)}")
        return WRONG_USAGE
    when_stopped = GOES_ON if name in KEEPS_PIECES else AGAIN
    return run_verb(name, lambda: _run(name, words[1:]), when_stopped=when_stopped, debug=debug)


def _run(name: str, words: list[str]) -> int:
    function = VERBS[name].load()
    parser = parser_of(name, function, words)
    try:
        arguments = parser.parse_args(_tidied(words, parser))
    except argparse.ArgumentError as error:
        complain(
            f"brainlm {name}: {_with_nearest(error, _tidied(words, parser), parser)}\n  see: brainlm {name} --help"
        )
        return WRONG_USAGE
    try:
        values = parser.instantiate(arguments)
    except ValueError as error:
        complaint = _own_complaint(error)
        if complaint is None:
            raise
        raise complaint from error
    values.pop("config", None)
    return function(**vars(values))


def parser_of(name: str, function: Callable[..., int], words: Sequence[str] = ()) -> ArgumentParser:
    """The parser of a verb, made from its function's signature and docstring.

    With a ``preset`` among ``words`` (or in the configuration file they name), the preset's values are the defaults of
    ``model``, so that single settings can be changed on top of it.
    """
    from jsonargparse import ArgumentParser

    class VerbParser(ArgumentParser):
        """Names types as people do."""

        def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
            return super().format_help(formatter).replace("<class 'Path'>", "Path")

    parser = VerbParser(
        prog=f"brainlm {name}",
        exit_on_error=False,
        allow_abbrev=False,
        description=VERBS[name].summary,
        epilog=f"{DEBUG}, anywhere among the words: show the traceback of an error.",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these settings")
    added = parser.add_function_arguments(function, as_positional=True, fail_untyped=True)
    for action in parser._actions:
        if not action.option_strings and getattr(action, "_typehint", None) == list[str]:
            vars(action).update(nargs="+", _typehint=str)  # words in a row, not one list in brackets
    if "preset" in added:
        from dataclasses import asdict

        from brainlm.model.config import preset

        chosen = _preset_in(words, parser.get_default("preset"))
        parser.set_defaults({f"model.{key}": value for key, value in asdict(preset(chosen)).items()})
    return parser


def _own_complaint(error: BaseException | None) -> BrainLMError | None:
    """What one of our settings said when it was made; the parser wraps it where the setting may be left out."""
    while error is not None and not isinstance(error, BrainLMError):
        error = error.__cause__ or error.__context__
    return error


def _preset_in(words: Sequence[str], default: str) -> str:
    """The preset that the words ask for, looked up before they are parsed because it sets other settings' defaults."""
    chosen = default
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        key, equals, value = word.partition("=")
        value = value if equals else following
        if key == "--preset":
            return value
        if key == "--config" and Path(value).is_file():
            import yaml

            with suppress(yaml.YAMLError, UnicodeDecodeError):  # the parser will complain of the file itself
                content = yaml.safe_load(Path(value).read_text(encoding="utf-8"))
                chosen = content.get("preset", chosen) if isinstance(content, dict) else chosen
    return chosen


def _tidied(words: Sequence[str], parser: ArgumentParser) -> list[str]:
    """The words as the parser wants them.

    Options may be written with hyphens instead of underscores, flags may stand alone (``--overwrite``), and an option
    that takes several values may be given once for each.
    """
    kinds = {
        option: getattr(action, "_typehint", None) for action in parser._actions for option in action.option_strings
    }
    words = _with_values(words, kinds)
    out: list[str] = []
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if kinds.get(name) == list[str] and not name.endswith("+") and not (value or following).startswith("["):
            name += "+"
        out.append(name + equals + value)
        if not equals and _stands_alone(kinds.get(name), following):
            out.append("true")
    return out


def _with_values(words: Sequence[str], kinds: Mapping[str, object]) -> list[str]:
    """The words with options in their own spelling, joined to a value that would not be read as one.

    Such as ``--missing -9999,n/a``, which begins like an option, and ``--split 0.8,0.1,0.1``, which its settings parse.
    """
    out: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name.startswith("--") and name not in kinds:
            name = "--" + name[2:].replace("-", "_")
        parse = next((part.parse for part in get_args(kinds.get(name)) if hasattr(part, "parse")), None)
        if name in kinds and not equals and rest and (parse or re.match(r"-[\d.]", rest[0])):
            equals, value = "=", rest.pop(0)
        if parse and equals and value not in ("null", "None") and not Path(value).is_file():
            value = parse(value).as_words()
        out.append(name + equals + value if name.startswith("--") else word)
    return out


def _stands_alone(kind: object, following: str) -> bool:
    """Whether an option of this type means "yes" here: a flag, or one whose value may be left out (``--html``)."""
    if kind is bool:
        return following.lower() not in ("true", "false")
    return bool in get_args(kind) and (not following or following.startswith("-"))


def _with_nearest(error: argparse.ArgumentError, words: Sequence[str], parser: ArgumentParser) -> str:
    """The parser's complaint, with the nearest known names for settings that do not exist."""
    known = [option for action in parser._actions for option in action.option_strings]
    unknown = [word.split("=")[0] for word in words if word.startswith("--") and word.split("=")[0] not in known]
    # Settings of a configuration file are only known from the complaint itself.
    group = re.search(r"Group '([\w.]+)'", str(error))
    prefix = f"--{group[1]}." if group else "--"
    unknown += [prefix + name for name in re.findall(r"[Oo]ption '([\w.]+)'", str(error))]
    hints = [
        f"{word}: did you mean {near[0]}?" for word in unknown if (near := difflib.get_close_matches(word, known, n=1))
    ]
    return "\n  ".join([_in_a_line(str(error), parser), *hints])


def _in_a_line(complaint: str, parser: ArgumentParser) -> str:
    """The parser's complaint of a value, without its dump of Python types: where, what was expected, what was found."""
    key = re.search(r'Parser key "([\w.]+)":', complaint)
    value = re.search(r"(?:Got value|Given value): (.*)", complaint)
    action = next((one for one in parser._actions if key and one.dest == key[1]), None)
    kind = _kind(getattr(action, "_typehint", None))
    if key is None or value is None or action is None or not kind:
        return complaint
    where = action.option_strings[0] if action.option_strings else key[1]
    return f"{where}: expected {kind}, found {value[1]}"


def _kind(hint: object) -> str:
    """A type in words; empty where there are none for it."""
    if hint in _KINDS:
        return _KINDS[hint]
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) in (list, tuple):
        return "words, the option given once for each"
    if get_origin(hint) in (Union, UnionType):
        kinds = [_kind(one) for one in get_args(hint) if one is not type(None)]
        return " or ".join(kinds) if all(kinds) else ""
    return ""


_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    Path: "a path",
}


def _overview() -> None:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    sys.stdout.write(
        "brainlm: masked autoencoders over parcellated fMRI recordings\n\n"
        "usage: brainlm VERB ...        (brainlm VERB --help says more)\n\n"
        "verbs, in the order of a study:\n" + "\n".join(lines) + f"\n\nfor example:\n{EXAMPLES}\n"
    )
