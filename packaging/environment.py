"""Runs first in the bundle so that programs it starts, such as GStreamer, use system libraries."""

import os

os.environ.pop("LD_LIBRARY_PATH", None)
if original := os.environ.pop("LD_LIBRARY_PATH_ORIG", None):
    os.environ["LD_LIBRARY_PATH"] = original
