"""Keeps what libraries written in C say to themselves off the user's terminal."""

import os
import sys
from contextlib import contextmanager


@contextmanager
def hushed():
    """Sends everything written to file 2, which is stderr even to C, nowhere meanwhile."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
