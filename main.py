"""Blurs the background behind you in real time: `python main.py` starts it, `q` quits.

The program itself, from the command line to the exit code, is in background_blur/app.py.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  before any import that it cannot parse
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit("main.py: needs Python 3.11 or later, this is " + found + "; run it with a newer one")
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # `python -I` omits it

from background_blur.app import main, program  # noqa: E402

__all__ = ["main", "program"]

if __name__ == "__main__":
    program()
