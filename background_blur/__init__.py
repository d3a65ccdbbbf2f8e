"""Blurs the background behind people, live."""

import sys

__version__ = "0.1.0"

# Here, before a module is read that an older Python cannot parse.
if sys.version_info < (3, 11):  # noqa: UP036
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit("main.py: needs Python 3.11 or later, this is " + found + "; start a newer one")
