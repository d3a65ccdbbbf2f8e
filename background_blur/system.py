"""What is printed: kept off the user's terminal where libraries talk to themselves, and harmless
where it cannot be printed."""

import os
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress


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


class Unbreakable:
    """A text stream that never raises: from its first failure on, what is printed is dropped.

    The terminal may be closed, the pipe read by nobody any more, the disk of the log full.

    Attributes:
        error: the first failure, an OSError or ValueError (closed, or characters that its encoding
            lacks), or None.
    """

    def __init__(self, stream):
        self.stream = stream
        self.error: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        self._attempt(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def _attempt(self, do, *arguments) -> None:
        if self.error:
            return
        try:
            do(*arguments)
        except (OSError, ValueError) as error:
            self.error = error
            with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                # What is still buffered would fail once more, at Python's exit.
                os.dup2(nowhere.fileno(), self.stream.fileno())

    def __getattr__(self, name):  # isatty, fileno, encoding, ...
        return getattr(self.stream, name)


@contextmanager
def unbreakable_printing():
    """Makes sys.stdout and sys.stderr `Unbreakable` meanwhile; yields both, flushes them."""
    out, err = Unbreakable(sys.stdout), Unbreakable(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield out, err
        finally:
            out.flush()
            err.flush()


def open_missing() -> None:
    """Opens to nowhere what it was started without of stdin, stdout and stderr, as services are.

    Else libraries would print into the file that is opened next: the output, perhaps.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
