"""Blurs the background behind you, live: `python main.py`; `q` quits.

What happens from the command line to the exit code: read on in background_blur/app.py.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  before a module that an older one cannot parse
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit("main.py: needs Python 3.11 or later, this is " + found + "; start a newer one")
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # `python -I` leaves it out

from background_blur.app import main, program  # noqa: E402

__all__ = ["main", "program"]

if __name__ == "__main__":
    program()
