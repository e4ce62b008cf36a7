"""A flipped byte of a store or a run is noticed or changes nothing: no traceback, no signal, no other number."""

import os
import subprocess
import sys

import pytest

NUM_FLIPS = int(os.environ.get("BRAINLM_FLIPS", "24"))

# One process does all of it, since starting one takes seconds; whether it ended by a signal is seen from outside.
PROGRAM = """
import random, shutil, sys
from collections import Counter
from pathlib import Path
import numpy as np
from brainlm.data.inspecting import inspect_store
from brainlm.data.store import Store
from brainlm.data.synthetic import synthetic_store
from brainlm.errors import BrainLMError
from brainlm.files import read_parquet
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.stores import EMBEDDINGS_FILE, embed_store, write_embeddings
from brainlm.model.config import ModelConfig
from brainlm.report.run_folder import RunFolder
from brainlm.training.config import TrainingConfig
from brainlm.training.run import pretrain

num_flips, folder = int(sys.argv[1]), Path(sys.argv[2])
synthetic_store(
    folder / "whole" / "s.store", num_subjects=8, runs_per_subject=1, num_parcels=12, num_networks=3, num_timepoints=60
)
store = Store.open(folder / "whole" / "s.store")
small = dict(encoder_width=16, encoder_depth=1, encoder_heads=2, encoder_mlp=16,
             decoder_width=16, decoder_depth=1, decoder_heads=2, decoder_mlp=16)
run = folder / "whole" / "r"
pretrain(store, run, model=ModelConfig(num_timepoints=40, **small), training=TrainingConfig(epochs=1, batch_size=4))
write_embeddings(embed_store(BrainLM.from_pretrained(run), store), run)


def look(where):
    store = Store.open(where / "s.store")
    inspect_store(store)
    table = embed_store(BrainLM.from_pretrained(where / "r"), store).table
    RunFolder.read(where / "r")
    kept = read_parquet(where / "r" / EMBEDDINGS_FILE, what="vectors", remedy="embed again")
    return [np.stack(each["cls"]) for each in (table, kept)]


expected = look(folder / "whole")
rng = random.Random(0)
files = [
    path
    for path in sorted((folder / "whole").rglob("*"))
    if path.is_file() and not {"logs", "checkpoints", "last"} & set(path.parts)
]
outcomes = Counter()
for number in range(num_flips):
    file = files[number % len(files)].relative_to(folder / "whole")
    shutil.rmtree(folder / "flipped", ignore_errors=True)
    shutil.copytree(folder / "whole", folder / "flipped")
    content = bytearray((folder / "flipped" / file).read_bytes())
    position, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
    content[position] ^= bit
    (folder / "flipped" / file).write_bytes(content)
    try:
        found = look(folder / "flipped")
    except BrainLMError as error:
        outcome = "noticed"
    except BaseException as error:
        outcome = f"traceback: {file} byte {position} bit {bit}: {type(error).__name__}: {error}"
    else:
        same = all(np.array_equal(*pair) for pair in zip(found, expected))
        outcome = f"says nothing: {file}" if same else f"other numbers: {file} byte {position} bit {bit}"
    outcomes[outcome] += 1
for outcome, count in sorted(outcomes.items()):
    print(count, outcome)
"""


@pytest.mark.slow
def test_a_flipped_byte_anywhere_is_noticed_or_changes_nothing(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(NUM_FLIPS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "traceback" not in done.stdout, done.stdout
    assert "other numbers" not in done.stdout, done.stdout
    noticed = [line for line in done.stdout.splitlines() if line.endswith("noticed")]
    assert int(noticed[0].split()[0]) > NUM_FLIPS / 2, done.stdout
