"""The figures that README.md and docs/results.md quote of the demo are those that ``make demo`` writes.

Tables are compared cell by cell, sentences by the table ``SENTENCES``. These tests skip by name where the demo was not
run in this checkout; ``.ci/run`` runs it before.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "demo" / "run"
NUMBER = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?")
# Processors round differently: a quoted figure may be one unit of its last digit away from what was written, rounded,
UNITS = 1
# and the area under a curve over 13 + 13 runs by one pair of people who change places.
PAIR = 0.03

pytestmark = pytest.mark.skipif(not (RUN / "report.html").is_file(), reason="the demo was not run here: make demo")


@cache
def results(name: str) -> dict:
    """A file of results in the run's folder."""
    return json.loads((RUN / name).read_text(encoding="utf-8"))


def filled() -> dict[str, dict]:
    """The conditions of the evaluation by their labels, each with its methods by name."""
    return {
        condition["label"]: {**condition, "methods": {method["name"]: method for method in condition["methods"]}}
        for condition in results("evaluation.json")["conditions"]
    }


def scored(name: str) -> dict[str, dict]:
    """The methods of a study by name."""
    study = results(name)
    return {method["name"]: method for method in (study["cohorts"][0] if "cohorts" in study else study)["methods"]}


def interval(found: dict, scale: float = 1.0) -> list[float]:
    """A value with its interval."""
    return [scale * found[name] for name in ("r2" if "r2" in found else "value", "low", "high")]


def probed() -> dict:
    return results("phenotypes/condition.5-fold/results.json")


def forecast() -> dict:
    return results("forecasts/160-20/results.json")["cohorts"][0]


def looked() -> dict:
    return results("attention/condition.up-down/results.json")


def named() -> dict:
    return results("networks/network/results.json")


def accuracy(method: str) -> list[float]:
    return interval(scored("networks/network/results.json")[method]["scores"]["accuracy"], 100)


def relative_attention() -> list[float]:
    shares = [share / looked()["uniform"] for share in looked()["parcels"]["attention"]]
    return [min(shares), max(shares)]


def model_and_difference(label: str) -> list[float]:
    condition = filled()[label]
    return [condition["methods"]["BrainLM"]["r2"], *interval(condition["difference"])]


def people() -> dict:
    return results("provenance.json")["data"]


# Page, sentence with # for every figure in it, and where the figures come from.
SENTENCES = [
    ("README.md", "(R² #, # [#, #])", lambda: model_and_difference("future 1 patch")),
    ("README.md", "(# at 75 %, # [#, #])", lambda: model_and_difference("random 75 %")),
    ("README.md", "trains a small model on # of them, evaluates it on # others",
     lambda: [people()["num_subjects"][split] for split in ("train", "test")]),
    ("README.md", "98 recordings of 33 subjects in demo/pain.store (test #, train #, validation #)",
     lambda: [people()["num_recordings"][split] for split in ("test", "train", "validation")]),
    ("docs/results.md", "# people for training, # for validation, # for the test.",
     lambda: [people()["num_subjects"][split] for split in ("train", "validation", "test")]),
    ("docs/results.md", "# test recordings, one window each",
     lambda: [results("evaluation.json")["store"]["num_windows"]]),
    ("docs/results.md", "The last patch and the last two (40 and 80 s): **a win** of # and #.",
     lambda: [filled()[label]["difference"]["r2"] for label in ("future 1 patch", "future 2 patches")]),
    ("docs/results.md", "No evidence that the model does better than the best baseline (# [#, #])",
     lambda: interval(probed()["baseline_difference"])),
    ("docs/results.md", "(p = #, labels shuffled within people)", lambda: [probed()["permutation"]["p"]]),
    ("docs/results.md", "No clear difference from AR(28) (paired p #).", lambda: [forecast()["p_paired"]]),
    ("docs/results.md", "The verb finds the band pass (# to # Hz, # % of the power above)",
     lambda: [band * scale for band, scale in zip(
         (results("forecasts/160-20/results.json")["bands"][0][name] for name in ("low_hz", "high_hz", "share_above")),
         (1, 1, 100), strict=True)]),
    ("docs/results.md", "no parcel differs (smallest q #).", lambda: [looked()["contrast"]["smallest_q"]]),
    ("docs/results.md", "The map is nearly flat (# to # times equal attention)", relative_attention),
    ("docs/results.md", "has a rank correlation of # with it", lambda: [looked()["sanity"]["silent_r"]["value"]]),
    ("docs/results.md", "more than hiding random ones (# [#, #], eight recordings)",
     lambda: interval(looked()["sanity"]["deletion"]["embedding"]["most_minus_random"])),
    ("docs/results.md", "than hiding the least attended (# [#, #])",
     lambda: interval(looked()["sanity"]["deletion"]["embedding"]["most_minus_least"])),
    ("docs/results.md", "attention profiles name # % [#, #] rightly", lambda: accuracy("attention profile")),
    ("docs/results.md", "raw series # % (difference # points [#, #])",
     lambda: [accuracy("raw series")[0], *interval(named()["difference"], 100)]),
    ("docs/results.md", "connectivity # %, mirrored coordinates # %",
     lambda: [accuracy(name)[0] for name in ("functional connectivity", "MNI coordinates, halves mirrored")]),
    ("docs/results.md", "the same network untrained # % (# points [#, #] for pretraining)",
     lambda: [accuracy("attention profile, random weights")[0], *interval(named()["pretraining_difference"], 100)]),
    ("docs/results.md", "surrogate labels # % (p #)",
     lambda: [scale * scored("networks/network/results.json")["attention profile"]["null"][name]
              for name, scale in (("mean_accuracy", 100), ("p_accuracy", 1))]),
    ("docs/results.md", "Attention rows reach # %, parcel embeddings # %.",
     lambda: [accuracy(name)[0] for name in ("attention rows", "parcel embeddings")]),
]  # fmt: skip


def text_of(page: str) -> str:
    """A page in one line; of the results, the part about the demo."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page == "docs/results.md":
        text = re.search(r"^## The demo$.*?(?=^## )", text, re.MULTILINE | re.DOTALL)[0]
    return text


def check(quoted: list[str], written: list[float], *, least: float = 0.0) -> None:
    """Every quoted figure is the written one, rounded; ``least`` widens the tolerance."""
    assert len(quoted) == len(written), (quoted, written)
    for figure, value in zip(quoted, written, strict=True):
        plain = figure.replace("−", "-").replace(",", "")
        digits = len(plain.partition(".")[2])
        tolerance = max((UNITS + 0.5) * 10.0**-digits if digits else 0.0, least)
        assert abs(float(plain) - value) <= tolerance, f"quoted {figure}, but the demo wrote {value:.5g}"


@pytest.mark.parametrize(("page", "sentence", "written"), SENTENCES, ids=[sentence for _, sentence, _ in SENTENCES])
def test_a_sentence_quotes_what_the_demo_wrote(page, sentence, written):
    words = re.escape(" ".join(sentence.split())).replace(r"\#", f"({NUMBER.pattern})")
    found = re.findall(words, " ".join(text_of(page).split()))
    assert len(found) == 1, f"{page} does not say this once: {sentence}"
    check([found[0]] if isinstance(found[0], str) else list(found[0]), written())


def tables() -> Iterator[tuple[list[str], list[list[str]]]]:
    """The tables about the demo: header and rows."""
    for table in re.findall(r"(?:^\|.*\n)+", text_of("docs/results.md"), re.MULTILINE):
        header, _, *rows = [
            [cell.strip(" *") for cell in line.strip().strip("|").split("|")] for line in table.splitlines()
        ]
        yield header, rows


def test_the_table_of_every_kind_of_mask_quotes_what_the_demo_wrote():
    seen = set()
    for header, rows in tables():
        for label in header[1:]:
            if label not in filled():
                continue
            seen.add(label)
            condition, column = filled()[label], header.index(label)
            assert [row[0] for row in rows] == [*condition["methods"], "BrainLM minus best baseline"]
            for row in rows:
                minus = row[0] == "BrainLM minus best baseline"
                found = condition["difference"] if minus else {
                    name.replace("r2_", ""): condition["methods"][row[0]][name] for name in ("r2", "r2_low", "r2_high")
                }  # fmt: skip
                quoted = NUMBER.findall(row[column])
                check(quoted, interval(found)[: len(quoted)])
    assert seen == set(filled())


def test_the_table_of_the_probe_quotes_what_the_demo_wrote():
    (rows,) = [rows for header, rows in tables() if header[0] == "AUROC"]
    for label, cell in rows:
        name = label.removesuffix(" (best baseline)").removesuffix(" (best connectivity)")
        method = scored("phenotypes/condition.5-fold/results.json")[name]
        check(NUMBER.findall(cell.replace("*", "")), interval(method["scores"]["auroc"]), least=PAIR)
        for word in ("baseline", "connectivity"):
            if label.endswith(f"(best {word})"):
                assert probed()[f"best_{word}"] == name


def test_the_table_of_forecasts_quotes_what_the_demo_wrote():
    (found,) = [(header, rows) for header, rows in tables() if "40 s" in header]
    header, rows = found
    for label, *cells in rows:
        ceiling = label == "linear ceiling, own past"
        method = {} if ceiling else scored("forecasts/160-20/results.json")[label]
        by_step = forecast()["ceiling"]["r2_by_step"] if ceiling else [x["value"] for x in method["by_step"]["r2"]]
        for column, cell in zip(header[1:], cells, strict=True):
            quoted = NUMBER.findall(cell)
            if column.endswith(" s"):
                written = [by_step[int(column.removesuffix(" s")) // 2 - 1]]
            elif ceiling:
                written = [forecast()["ceiling"]["r2"]]
            elif column == "r":
                written = [method["scores"]["r"]["value"]]
            else:
                score = method["scores"]["r2"] if column.startswith("R²") else method["minus_best_baseline"]
                written = interval(score) if quoted else []
            check(quoted, written[: len(quoted)])
