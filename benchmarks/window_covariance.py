"""What the visible part of a window adds to the strongest linear fill-in: docs/results.md.

Usage: python benchmarks/window_covariance.py STORE [POINTS PATCH]

Baselines are fitted on the training split, their settings on the validation split; recordings are z-scored.
"""

import sys
from pathlib import Path

import torch

from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.windows import Windows
from brainlm.evaluation.fitting import fit_baselines
from brainlm.evaluation.masking import MaskedWindows
from brainlm.evaluation.reconstruction import evaluate_reconstruction
from brainlm.model.masks import Mask, hide

MASKS = (Mask("random", 0.2), Mask("random", 0.5), Mask("random", 0.75), Mask("random", 0.9))

path, num_timepoints, patch = Path(sys.argv[1]), *(map(int, sys.argv[2:] or (100, 10)))
torch.set_num_threads(1)


def make_hidden(mask: Mask, seeds_B: torch.Tensor, valid_BPT: torch.Tensor) -> torch.Tensor:
    """Patches of one parcel and ``patch`` time points."""
    present_BPC = valid_BPT.unflatten(2, (-1, patch)).any(dim=3)
    return hide((mask,), seeds_B, present_BPC).repeat_interleave(patch, dim=2) & valid_BPT


store = Store.open(path)
training = store.select(split="train")
scaler = Scaler.fit(training, "zscore")
validation, test = (
    MaskedWindows(Windows(store.select(split=split), num_timepoints), scaler, make_hidden, max_per_recording=1)
    for split in ("validation", "test")
)
*others, whole, whole_in_time = fit_baselines(training, validation, scaler, MASKS)
results = evaluate_reconstruction(whole_in_time, [*others, whole], test, MASKS)
sys.stdout.write(f"{results['store']['num_subjects']} people, {results['store']['num_windows']} windows\n")
for entry in results["conditions"]:
    sys.stdout.write(f"{entry['label']}\n")
    for method in entry["methods"]:
        sys.stdout.write(f"  {method['name']:<45}{method['r2']:.4f}\n")
    difference = entry["difference"]
    sys.stdout.write(
        f"  minus the best other: {difference['r2']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]\n"
    )
