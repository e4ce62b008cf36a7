"""What training added to a model with a linear head: it against itself with the last layer set back to zero.

Usage: python benchmarks/linear_start.py RUN STORE
"""

import sys

from brainlm.data.store import Store
from brainlm.data.windows import Windows
from brainlm.evaluation.masking import MaskedWindows
from brainlm.evaluation.model_method import ModelMethod, PatchHider
from brainlm.evaluation.reconstruction import evaluate_reconstruction
from brainlm.inference.brainlm import BrainLM
from brainlm.model.masks import Mask

run, store = sys.argv[1:]
trained, start = BrainLM.from_pretrained(run), BrainLM.from_pretrained(run)
start.network.head.weight.data.zero_()
start.network.head.bias.data.zero_()
windows = Windows(Store.open(store).select(split="test"), trained.config.num_timepoints)
results = evaluate_reconstruction(
    ModelMethod(trained),
    [ModelMethod(start, name="start")],
    MaskedWindows(windows, trained.scaler, PatchHider(trained)),
    (Mask("random", 0.75), Mask("future", 1)),
)
for entry in results["conditions"]:
    scores = ", ".join(f"{method['name']} {method['r2']:.4f}" for method in entry["methods"])
    difference = entry["difference"]
    interval = f"{difference['r2']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
    sys.stdout.write(f"{entry['label']}: {scores}, difference {interval}\n")
