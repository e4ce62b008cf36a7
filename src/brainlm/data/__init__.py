"""From tables on disk to plain tensors: recordings, atlases, stores, splits, scaling and windows."""
