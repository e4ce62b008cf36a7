"""Embedding with the released weights: this program beside the authors' code, on the same weights and windows.

Usage: python benchmarks/released_embedding.py --released FOLDER ... --authors CHECKOUT [--authors-python PYTHON]
Each side has a process of its own; they take turns. How the authors' side is set up is in README.md.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

# The authors' process has neither brainlm nor its dependencies: what only one side needs is imported where it is used.
if TYPE_CHECKING:
    from brainlm.bench.results import Measure

BATCH = 8  # windows
SEED = 0
TOLERANCE = 1e-4  # absolute difference of CLS above which the two sides do not compute the same
FASTER, MEMORY = 1.5, 1.0  # aims: times as fast, share of the memory
INPUTS_FILE = "inputs.npz"
PACKAGES = ("torch", "transformers", "numpy")

Embed = Callable[[], torch.Tensor]


def main() -> None:
    """Measure every folder, write the numbers, show them."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        serve(arguments)
        return
    from brainlm.bench.machine import describe_machine
    from brainlm.bench.results import Benchmark

    machine = describe_machine(torch.device("cpu"))
    measures: list[Measure] = []
    for folder in arguments.released:
        rows, versions = measure(folder, arguments)
        measures += rows
        settings = {"batch": BATCH, "repeats": arguments.repeats, "precision": "float32", "packages": versions}
        benchmark = Benchmark(machine, settings, tuple(measures))
        page = benchmark.write(arguments.out)  # after every folder: a large one may be stopped, the others stay
    sys.stdout.write(f"{benchmark.to_markdown()}\nwritten: {arguments.out} and {page}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", type=Path, nargs="+", required=True, help="folders of released weights")
    parser.add_argument("--authors", type=Path, required=True, help="checkout of vandijklab/BrainLM")
    parser.add_argument("--authors-python", default=sys.executable, help="Python that has transformers 4.28")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("released.json"))
    parser.add_argument("--side", choices=("ours", "authors"), help=argparse.SUPPRESS)  # the process of one side
    parser.add_argument("--exchange", type=Path, help=argparse.SUPPRESS)  # folder for what the sides hand over
    return parser.parse_args()


# The process that takes turns.


@dataclass(frozen=True, eq=False)
class Turn:
    """What one embedding of the batch took: seconds, seconds of processors, and the most memory so far in bytes."""

    seconds: float
    processor_seconds: float
    peak: int


class Side:
    """The process of one side: it has loaded the weights, and embeds the batch when told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        ready = self._answer()
        self.versions: dict[str, str] = ready["versions"]
        self.loaded: int = ready["loaded"]

    def embed(self) -> Turn:
        """Embed the batch once."""
        assert self._process.stdin is not None
        self._process.stdin.write("embed\n")
        self._process.stdin.flush()
        return Turn(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a side stopped with exit status {self._process.wait()}: see above")
        return json.loads(line)


@contextmanager
def side(name: str, python: str, folder: Path, exchange: Path, arguments: argparse.Namespace) -> Iterator[Side]:
    """The process of the side called ``name``, ready; it ends with the block."""
    command = [python, str(Path(__file__).resolve()), "--side", name, "--released", str(folder)]
    command += ["--authors", str(arguments.authors), "--exchange", str(exchange), "--threads", str(arguments.threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Side(process)
        finally:
            process.kill()


def measure(folder: Path, arguments: argparse.Namespace) -> tuple[list[Measure], dict[str, dict[str, str]]]:
    """The rows of one folder, and the versions of both sides' packages."""
    with tempfile.TemporaryDirectory() as temporary:
        exchange = Path(temporary)
        with (
            side("ours", sys.executable, folder, exchange, arguments) as ours,  # first: it writes the inputs
            side("authors", arguments.authors_python, folder, exchange, arguments) as authors,
        ):
            sides = {"ours": ours, "authors": authors}
            for one in sides.values():  # a round that does not count
                one.embed()
            rounds = []
            for number in range(arguments.repeats):
                rounds.append({name: one.embed() for name, one in sides.items()})
                taken = ", ".join(f"{name} {turn.seconds:.1f} s" for name, turn in rounds[-1].items())
                sys.stderr.write(f"{folder.name}, round {number + 1} of {arguments.repeats}: {taken}\n")
        cls = {name: np.load(exchange / f"{name}.npy") for name in sides}
    difference = float(np.abs(cls["ours"] - cls["authors"]).max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"{folder.name}: CLS differs by {difference:.2g}, more than {TOLERANCE:g}: not the same model")
    growth = {name: max(turn[name].peak for turn in rounds) - one.loaded for name, one in sides.items()}
    return rows(folder.name, rounds, growth, difference), {name: one.versions for name, one in sides.items()}


def rows(layout: str, rounds: list[dict[str, Turn]], growth: dict[str, int], difference: float) -> list[Measure]:
    """The numbers of one layout; ratios are taken within rounds."""
    from brainlm.bench.machine import MIB
    from brainlm.bench.results import Aim, Measure

    def row(name: str, unit: str, values: Any, aim: Aim | None = None) -> Measure:
        return Measure.of("embedding", f"{layout} {name}", unit, values, aim)

    def column(name: str, what: str) -> np.ndarray:
        return np.array([getattr(turn[name], what) for turn in rounds])

    ours, authors = column("ours", "seconds"), column("authors", "seconds")
    processors = column("authors", "processor_seconds") / column("ours", "processor_seconds")
    return [
        row("authors", "s", authors),
        row("ours", "s", ours),
        row("authors / ours", "times", authors / ours, Aim(FASTER)),
        row("authors / ours, fastest rounds", "times", authors.min() / ours.min(), Aim(FASTER)),
        row("authors / ours, processor time", "times", processors, Aim(FASTER)),
        row("memory, authors", "MiB", growth["authors"] / MIB),
        row("memory, ours", "MiB", growth["ours"] / MIB),
        row("memory, ours / authors", "", growth["ours"] / growth["authors"], Aim(MEMORY, at_most=True)),
        row("largest difference of CLS", "", difference, Aim(TOLERANCE, at_most=True)),
    ]


# The process of one side.


def serve(arguments: argparse.Namespace) -> None:
    """Load the weights, then embed the batch for every line that comes in; answers are lines of JSON."""
    (folder,) = arguments.released
    prepare = _prepare_ours if arguments.side == "ours" else _prepare_authors
    with torch.inference_mode():
        embed = prepare(folder, arguments.exchange, arguments.authors)
        _give_back_memory()
        _tell({"versions": _versions(), "loaded": _status("VmRSS")})
        for _ in sys.stdin:
            begun, begun_processor = time.perf_counter(), time.process_time()
            cls_BD = embed()
            seconds, processor_seconds = time.perf_counter() - begun, time.process_time() - begun_processor
            np.save(arguments.exchange / f"{arguments.side}.npy", cls_BD.numpy())
            _tell({"seconds": seconds, "processor_seconds": processor_seconds, "peak": _status("VmHWM")})


def _prepare_ours(folder: Path, exchange: Path, _: Path) -> Embed:
    from brainlm.inference.brainlm import BrainLM

    model = BrainLM.from_pretrained(folder)
    parcels = model.parcels
    shape = (BATCH, len(parcels), model.config.num_timepoints)
    signal_BPT = torch.from_numpy(np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32))
    np.savez(
        exchange / INPUTS_FILE,
        signal=signal_BPT.numpy(),
        coordinates=parcels.coordinates,
        order=parcels.order(model.config.parcel_order),
    )
    return lambda: model.network.encode(signal_BPT).cls_BD


def _prepare_authors(folder: Path, exchange: Path, checkout: Path) -> Embed:
    sys.path.insert(0, str(checkout))
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with np.load(exchange / INPUTS_FILE) as inputs:
        signal_BPT = torch.from_numpy(inputs["signal"][:, inputs["order"]])
        coordinates_P3 = torch.from_numpy(inputs["coordinates"][inputs["order"]])
    if settings["model_type"] == "brainlm_mae":
        return _sequence_of_authors(folder, settings, signal_BPT, coordinates_P3)
    return _image_of_authors(folder, settings, signal_BPT)


def _sequence_of_authors(
    folder: Path, settings: dict[str, Any], signal_BPT: torch.Tensor, coordinates_P3: torch.Tensor
) -> Embed:
    from brainlm_mae.configuration_brainlm import BrainLMConfig
    from brainlm_mae.modeling_brainlm import BrainLMForPretraining

    encoder = _loaded(BrainLMForPretraining(BrainLMConfig(**settings)), folder).vit
    batch, num_parcels, num_timepoints = signal_BPT.shape
    coordinates_BP3 = coordinates_P3.expand(batch, -1, -1)
    # Tokens go in the order of this "noise": their natural one, which CLS depends on.
    num_tokens = num_parcels * num_timepoints // settings["timepoint_patching_size"]
    noise_BN = torch.arange(num_tokens, dtype=torch.float32).expand(batch, -1)
    return lambda: encoder(signal_BPT, coordinates_BP3, noise=noise_BN).last_hidden_state[:, 0]


def _image_of_authors(folder: Path, settings: dict[str, Any], signal_BPT: torch.Tensor) -> Embed:
    from brainlm_mae.modeling_vit_mae_with_padding import ViTMAEForPreTraining
    from transformers import ViTMAEConfig

    # Their other modes take what is hidden from their own forward pass; this one hides a share, here none.
    settings = {**settings, "train_mode": "auto_encode"}
    model = _loaded(ViTMAEForPreTraining(ViTMAEConfig(**settings)), folder)
    side_length = model.resize_target_size
    above, before = ((side_length - length) // 2 for length in signal_BPT.shape[1:])

    def embed() -> torch.Tensor:
        image_B3PT = signal_BPT[:, None].repeat(1, 3, 1, 1)
        padded_B3LL = torch.nn.functional.pad(image_B3PT, (before, before, above, above), value=-1)
        # It shuffles the tokens whatever it is given; this CLS does not depend on their order.
        return model.vit(padded_B3LL).last_hidden_state[:, 0]

    return embed


def _loaded(model: Any, folder: Path) -> Any:
    """The authors' model with the folder's weights, nothing masked."""
    model.load_state_dict(torch.load(folder / "pytorch_model.bin", weights_only=True))
    model.config.mask_ratio = 0.0
    return model.eval()


def _tell(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _give_back_memory() -> None:
    """Return what loading left over to the system, and let the peak begin here."""
    if os.name == "posix" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: forget the highest memory so far


def _status(name: str) -> int:
    """Bytes of this process: ``VmRSS`` in memory now, ``VmHWM`` at most so far (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("memory can be measured on Linux only")


if __name__ == "__main__":
    main()
