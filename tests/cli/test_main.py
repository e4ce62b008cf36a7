"""From words to a call: help, defaults, overrides, and complaints that name what was meant."""

import re

import numpy as np
import pytest
import yaml

import brainlm
from brainlm.cli.data_verbs import import_recordings
from brainlm.cli.main import KEEPS_PIECES, VERBS, _tidied, parser_of
from brainlm.cli.model_verbs import pretrain
from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.store_writer import StoreWriter
from brainlm.model.config import PRESETS

NEAREST = r"did you mean {}\?"


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("main") / "small.store"
    with StoreWriter(path, Parcels.unnamed(3), atlas="three") as writer:
        bold = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
        writer.add(Recording(bold, 2.0, "01"), split="train")
    return path


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",)])
def test_help_lists_every_verb_and_examples(speak, words):
    spoken = speak(*words)
    assert spoken.status == 0
    for name, verb in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.summary)}$", spoken.out, flags=re.MULTILINE)
    assert "brainlm import my_tables/ study.store" in spoken.out


def test_no_words_show_the_help_and_are_wrong_usage(speak):
    spoken = speak()
    assert spoken.status == 2
    assert spoken.out == speak("--help").out


def test_the_version_is_the_packages(speak):
    spoken = speak("--version")
    assert (spoken.status, spoken.out) == (0, f"brainlm {brainlm.__version__}\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_every_argument(speak, verb):
    spoken = speak(verb, "--help")
    assert spoken.status == 0
    assert "--config" in spoken.out
    parser = parser_of(verb, VERBS[verb].load())
    silent = [action.dest for action in parser._actions if not action.help]
    assert silent == []


@pytest.mark.parametrize(("word", "meant"), [("inspekt", "inspect"), ("pre-train", "pretrain"), ("Report", "report")])
def test_an_unknown_verb_is_answered_with_the_nearest(speak, word, meant):
    spoken = speak(word, "a.store")
    assert spoken.status == 2
    assert f"no verb {word!r}; did you mean {meant!r}?" in spoken.err
    assert "demo, import, parcellate, merge, inspect" in spoken.err


def test_a_verb_like_nothing_is_answered_with_all(speak):
    spoken = speak("xyzzy")
    assert spoken.status == 2
    assert "did you mean" not in spoken.err
    assert "demo, import, parcellate, merge, inspect" in spoken.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("inspect", "a.store", "--verifi"), "--verify"),
        (("pretrain", "a.store", "--out", "r", "--training.epoch", "3"), r"--training\.epochs"),
        (("pretrain", "a.store", "--out", "r", "--model.encoder_widht=3"), r"--model\.encoder_width"),
        (("pretrain", "a.store", "--out", "r", "--modle.encoder_width=3"), r"--model\.encoder_width"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(speak, words, meant):
    spoken = speak(*words)
    assert spoken.status == 2
    assert re.search(NEAREST.format(meant), spoken.err)
    assert f"see: brainlm {words[0]} --help" in spoken.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model: {encoder_depht: 2}", NEAREST.format(r"--model\.encoder_depth")),
        ("trainig: {epochs: 2}", NEAREST.format(r"--training\.epochs")),
        ("presett: tiny", NEAREST.format("--preset")),
        ("a: [1,", "Problems parsing config"),
        ("- 1", "Unexpected config"),
        ("preset: huge", "unknown preset 'huge'"),
        ("model: {encoder_width: wide}", "model.encoder_width: expected a whole number, found wide"),
    ],
)
def test_a_configuration_file_with_a_mistake_is_wrong_usage(speak, tmp_path, text, complaint):
    (tmp_path / "c.yaml").write_text(text)
    spoken = speak("pretrain", "a.store", "--out", "r", "--config", tmp_path / "c.yaml")
    assert spoken.status == 2
    assert re.search(complaint, spoken.err)


def test_a_configuration_file_that_is_not_there_is_wrong_usage(speak, tmp_path):
    spoken = speak("pretrain", "a.store", "--out", "r", "--config", tmp_path / "c.yaml")
    assert spoken.status == 2
    assert "File does not exist" in spoken.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("inspect",), "required: store"),
        (("pretrain", "a.store"), "required: out"),
        (("inspect", "a.store", "b.store"), "unrecognized arguments: b.store"),
        (
            ("pretrain", "a.store", "--out", "r", "--model.num_timepoints", "many"),
            "--model.num_timepoints: expected a whole number, found many",
        ),
        (("import", "a", "b", "--tr", "x"), "--tr: expected a number, found x"),
        (("bench", "--threads", "x"), "--threads: expected a whole number, found x"),
        (("import", "a", "b", "--orientation", "up"), "expected one of auto, time-first, parcels-first, found up"),
        (("inspect", "a", "--verify=maybe"), "--verify: expected true or false, found maybe"),
        (("pretrain", "a.store", "--out", "r", "--preset", "12m"), "one of tiny, 13m, 111m, 650m"),
        (("pretrain", "a.store", "--out", "r", "--model.num_timepoints", "190"), "use 180 time points"),
        (("pretrain", "a.store", "--out", "r", "--training.epochs", "0"), "epochs is too small"),
    ],
)
def test_wrong_usage_is_explained(speak, words, complaint):
    spoken = speak(*words)
    assert spoken.status == 2
    assert complaint in spoken.err
    assert not any(word in spoken.err for word in ("Traceback", "<class", "typing.", "Subtypes"))


def test_a_setting_that_refuses_its_values_says_so_without_a_traceback(speak):
    spoken = speak("import", "tables", "out.store", "--split.test", "1", "--split.validation", "0")
    assert spoken.status == 2
    assert spoken.err.startswith("error: the fractions of the splits leave nothing to train on\n  expected:")


@pytest.mark.parametrize("value", ['{"train": 0.8, "valid": 0.3}', "most", '{"validation": "x"}', "80,10,10"])
def test_a_split_that_cannot_be_read_is_answered_with_fractions(speak, value):
    for words in (("--split", value), (f"--split={value}",)):
        spoken = speak("import", "tables", "out.store", *words)
        assert spoken.status == 2
        assert "sum to 1" in spoken.err
        assert "Union" not in spoken.err


def test_hyphens_are_as_good_as_underscores_and_never_complained_of(speak):
    spoken = speak("import", "--ignore-header", "--drop-columns", "time")
    assert spoken.status == 2
    assert "required: source, store" in spoken.err
    assert "did you mean" not in spoken.err


def test_our_errors_go_to_the_error_stream_with_their_parts(speak, tmp_path):
    spoken = speak("inspect", tmp_path / "nowhere")
    assert spoken.status == 2
    assert spoken.out == ""
    for part in ("error: ", "  expected: ", "  found:    ", "  remedy:   "):
        assert part in spoken.err


def test_a_flag_may_stand_alone_or_say_true_or_false(speak, small_store):
    for words in (("--verify", small_store), (small_store, "--verify"), (small_store, "--verify", "false")):
        spoken = speak("inspect", *words)
        assert (spoken.status, spoken.err) == (0, "")
    assert speak("inspect", small_store, "--verify=maybe").status == 2


def test_words_are_tidied_for_the_parser():
    parser = parser_of("import", import_recordings)
    for words, expected in (
        ("--overwrite a b", "--overwrite true a b"),
        ("a b --overwrite false", "a b --overwrite false"),
        ("a b --drop-columns time --drop-columns=x", "a b --drop_columns+ time --drop_columns+=x"),
        ("a b --drop_columns+ time", "a b --drop_columns+ time"),
        ("a b --drop_columns [time,x]", "a b --drop_columns [time,x]"),
        ("a-b c-d --split.hold-out x-y", "a-b c-d --split.hold_out x-y"),
        ("a b --pattern -9999,n/a", "a b --pattern=-9999,n/a"),
        ("a b --tr -2", "a b --tr=-2"),
    ):
        assert _tidied(words.split(), parser) == expected.split()


def parse(*words: str):
    return parser_of("pretrain", pretrain, words).parse_args(["a.store", "--out", "r", *words])


def test_the_presets_settings_are_the_models_defaults(tmp_path):
    assert parse().model.as_dict() == vars(PRESETS["13m"])
    for name, config in PRESETS.items():
        assert parse("--preset", name).model.as_dict() == vars(config)
        assert parse(f"--preset={name}").model.as_dict() == vars(config)
    (tmp_path / "c.yaml").write_text("preset: 111m\nmodel: {dropout: 0.5}\n")
    expected = vars(PRESETS["111m"]) | {"dropout": 0.5}
    assert parse("--config", str(tmp_path / "c.yaml")).model.as_dict() == expected
    tiny = vars(PRESETS["tiny"]) | {"dropout": 0.5}
    assert parse("--config", str(tmp_path / "c.yaml"), "--preset", "tiny").model.as_dict() == tiny


def test_the_printed_configuration_is_a_file_that_gives_the_same_again(speak, tmp_path):
    words = ("--preset", "tiny", "--training.epochs", "7", "--model.dropout", "0.1")
    spoken = speak("pretrain", "a.store", "--out", "r", *words, "--print_config")
    assert spoken.status == 0
    content = yaml.safe_load(spoken.out)
    assert content["training"]["epochs"] == 7
    assert content["model"]["encoder_width"] == PRESETS["tiny"].encoder_width
    (tmp_path / "c.yaml").write_text(spoken.out)
    again = parser_of("pretrain", pretrain, ("--config", str(tmp_path / "c.yaml"))).parse_args(
        ["--config", str(tmp_path / "c.yaml")]
    )
    first = parse(*words)
    for part in ("model", "training", "device"):
        assert again[part].as_dict() == first[part].as_dict()
    assert str(again.store) == "a.store"


def test_verbs_that_keep_what_is_finished_exist():
    assert set(KEEPS_PIECES) < set(VERBS)
