"""Keeps what libraries written in C say to themselves off the user's terminal."""

import os
import sys
from contextlib import contextmanager


@contextmanager
def suppress_stderr():
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


def open_missing() -> None:
    """Opens to nowhere what it was started without of stdin, stdout and stderr, as services are.

    Else libraries would print into the file that is opened next: the output, perhaps.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
