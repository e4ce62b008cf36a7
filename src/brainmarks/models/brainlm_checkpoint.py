"""Registers our checkpoints with the benchmark suite Brainmarks, which finds this file by its place.

The folders ``brainmarks`` and ``brainmarks/models`` are namespace packages that the suite and this project share, so
they have no ``__init__.py``. What is registered is in ``brainlm.inference.brainmarks``.
"""

try:
    from brainmarks.models.registry import register_model
except ImportError as error:
    raise ImportError("the suite itself is not installed: pip install 'brainlm[brainmarks]'") from error

from brainlm.inference.brainmarks import EmbeddingModule, SampleTransform, checkpoint_model


@register_model
def brainlm_checkpoint(
    checkpoint: str | None = None,
    *,
    space: str | None = None,
    resample: bool = True,
    refit: bool = False,
    num_windows: int | None = None,
) -> tuple[SampleTransform, EmbeddingModule]:
    """Any checkpoint of ours, named by ``checkpoint`` or the environment variable BRAINLM_CHECKPOINT."""
    return checkpoint_model(checkpoint, space=space, resample=resample, refit=refit, num_windows=num_windows)
