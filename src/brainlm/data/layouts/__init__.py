"""Where scans lie in folders of derivatives: one file a layout, each from names alone, without opening an image.

``scans.py`` is the front door; which of several images of one run is read is decided in ``candidates.py``.
"""
