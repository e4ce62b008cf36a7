"""Self-contained HTML pages: of a RUN folder what was run and what came out, of a store what is in it.

For a run, ``run_folder`` reads and ``page`` writes; for a store, ``looked`` holds what was computed and ``store_page``
writes. ``embedding`` and ``sentences`` compute and word; ``*figures``, ``carpet``, ``parcel_charts`` and ``brain_maps``
draw; ``*section*`` and ``*tables`` make blocks; ``rendering`` fills the templates. ``brain_views`` and ``packed_views``
make brains that can be turned, ``attention_pictures`` writes maps as files. Nothing here opens a model.
"""
