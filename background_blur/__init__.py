"""Blurs the background behind people, live: `from background_blur import BackgroundBlur`."""

import os
import sys
from importlib import import_module

__version__ = "0.1.0"

# How the user called the program, for its messages.
CALLED = sys.argv[0] if sys.argv else ""
PROGRAM = "main.py" if os.path.basename(CALLED) == "main.py" else "background-blur"
COMMAND = "python main.py" if PROGRAM == "main.py" else PROGRAM

# Here, before a module is read that an older Python cannot parse.
if sys.version_info < (3, 11):  # noqa: UP036
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit(PROGRAM + ": needs Python 3.11 or later, this is " + found + "; start a newer one")


def __getattr__(name):  # the library, imported late: `--help` has no time for it
    if name not in ("BackgroundBlur", "Result"):
        raise AttributeError(name)
    return getattr(import_module("background_blur.pipeline"), name)
