"""Tries an installed wheel: every module, the help of every verb, and a small run of each that needs no extra.

``make wheel`` runs it with the Python of an environment that holds the wheel and what it depends on, nothing else, so
it uses no test package. What the other tests see is a checkout with all extras.
"""

import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path += [str(TESTS / "data"), str(TESTS / "inference")]  # painted images, a folder of published weights

MODEL = """--preset tiny --model.num_timepoints 40 --model.timepoints_per_patch 10 --model.encoder_width 16
--model.encoder_depth 1 --model.encoder_heads 2 --model.encoder_mlp 16 --model.decoder_width 16
--model.decoder_heads 2 --model.decoder_mlp 16 --training.epochs 2 --training.batch_size 8"""
PROBE = "--target sex --permutations 10 --num_bootstrap 20 --jobs 1 --folds 3 --methods linear"
# In the order of a study; each works on what those before it wrote.
RUNS = f"""\
import tables t.store --parcels parcels.tsv --participants participants.tsv --tr 2
inspect t.store --verify
parcellate images i.store --atlas atlas/small.nii.gz --part 1/2
parcellate images i.store --atlas atlas/small.nii.gz --part 2/2
merge i.store.partial --out i.store
pretrain s.store --out run {" ".join(MODEL.split())}
evaluate run s.store --num_bootstrap 20
embed run s.store
probe run s.store {PROBE} --seen allow
finetune run s.store {PROBE} --seen allow --head linear --train head --tuning.supervised.epochs 2
predict run/phenotypes/sex.3-fold/model t.store --out predicted.tsv
forecast run s.store --epochs 1 --learning_rates 1e-3 --num_bootstrap 20
attention run s.store --contrast sex --levels F,M --permutations 50 --num_bootstrap 20 \
--deletion_recordings 2 --attribution_recordings 1
networks run s.store --labels network --folds 3 --repeats 1 --surrogates 0 \
--num_bootstrap 20 --subject_bootstrap 2
report run --colour_by sex
convert published converted --parcels published.tsv
bench --quick --parts windows,training"""
# What an extra is for is refused by that extra's name.
REFUSED = f"""\
parcellate images d.store --atlas atlas/small.nii.gz --dask tcp://127.0.0.1:1
probe run s.store {PROBE} --seen allow --harmonise site
finetune run s.store {PROBE} --seen allow --train lora"""


def main() -> None:
    """Stops at the first thing that does not work, with what it said."""
    check_environment()
    files = [file for file in metadata.files("brainlm") or [] if file.suffix == ".py"]
    modules = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    assert {"brainlm.cli.main", "brainmarks.models.brainlm_checkpoint"} <= set(modules), modules
    for name in modules:
        import_or_name_extra(name)
    say(f"{len(modules)} modules import, or name the extra they lack")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        from brainlm.cli.main import VERBS

        for verb in VERBS:
            print_help(verb)
        write_study()
        ran = [run_verb(words) and words.split()[0] for words in RUNS.splitlines()]
        missing = set(VERBS) - set(ran) - {"demo"}  # `make demo` has run that one
        assert not missing, f"verbs that were not run: {missing}"
        say(f"{len(VERBS)} verbs print their help, {len(set(ran))} of them did a small job")
        for words in REFUSED.splitlines():
            assert "brainlm[" in run_verb(words, status=2), words
        say(f"{len(REFUSED.splitlines())} jobs that need an extra name it")


def say(text: str) -> None:
    """One line for whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check_environment() -> None:
    """The wheel's files, not a checkout's; and nothing that only an extra brings."""
    import brainlm

    assert Path(sysconfig.get_path("purelib")) in Path(brainlm.__file__).resolve().parents, brainlm.__file__
    requirements = metadata.requires("brainlm") or []
    extras = {re.match(r"[\w-]+", line)[0] for line in requirements if "extra ==" in line} - {"brainlm"}
    there = {found.name for found in metadata.distributions()}
    assert len(extras) > 10, requirements
    assert not extras & there, f"installed, although only an extra names it: {extras & there}"


def import_or_name_extra(name: str) -> None:
    """Import a module; what an extra brings may be missing if the error says which extra that is."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        if "brainlm[" not in str(error):
            raise


def print_help(verb: str) -> None:
    """In this process, since starting another for each takes longer than the help itself."""
    from brainlm.cli.main import main as brainlm

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        brainlm([verb, "--help"])
    assert "usage:" in printed.getvalue().lower(), verb


def run_verb(words: str, *, status: int = 0) -> str:
    """What ``brainlm WORDS`` printed."""
    say(f"  brainlm {words[:110]}")
    command = Path(sysconfig.get_path("scripts")) / "brainlm"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([command, *words.split()], capture_output=True, text=True, check=False, env=environment)
    printed = done.stdout + done.stderr
    assert done.returncode == status, f"brainlm {words}\nexit {done.returncode} instead of {status}\n{printed}"
    return printed


def write_study() -> None:
    """Made-up input of every kind: a store, tables with participants and parcels, images, published weights."""
    import numpy as np
    from derivatives import small_atlas, write_fmriprep_tree
    from published_folder import SEQUENCE, write_published

    from brainlm.data.synthetic import synthetic_population, synthetic_store

    store = synthetic_store(Path("s.store"), num_subjects=40, num_parcels=24, num_networks=2, num_timepoints=80)
    Path("tables").mkdir()
    for recording in store:
        np.savetxt(f"tables/sub-{recording.subject}_task-rest_timeseries.tsv", recording.bold, delimiter="\t")
    people = store.metadata[["site", *store.phenotypes]]
    people.insert(0, "participant_id", "sub-" + store.metadata["subject"])
    people.to_csv("participants.tsv", sep="\t", index=False)
    store.parcels.write("parcels.tsv")
    write_fmriprep_tree(Path("images"), small_atlas(Path("atlas")), subjects=("01", "02"), tasks=("rest",))
    write_published(Path("published"), SEQUENCE)
    synthetic_population(num_parcels=6, num_networks=3).parcels.write("published.tsv")


if __name__ == "__main__":
    main()
