"""One self-contained HTML page from the files of a RUN folder: what was run, what came out, beside its baselines.

``run_folder`` reads; ``embedding`` and ``sentences`` compute and word; ``*figures``, ``parcel_charts`` and
``brain_maps`` draw; ``*sections`` make blocks; ``page`` writes the file. Nothing here opens a store or a model.
"""
