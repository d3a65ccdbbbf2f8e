"""Standard streams and signals."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from io import TextIOWrapper
from threading import RLock, Timer, get_ident
from time import monotonic
from types import FrameType
from typing import Any, TextIO

# How the user called the program, for its messages.
CALLED = sys.argv[0] if sys.argv else ""
PROGRAM = "main.py" if os.path.basename(CALLED) == "main.py" else "background-blur"
COMMAND = "python main.py" if PROGRAM == "main.py" else PROGRAM

PASSWORD = re.compile(r"(?<=\w\w)(:/+)[^\n]*@")  # in a URL, with the user name before it
# The last message if the user does not want to wait; bytes, for a signal handler.
STOPPED = f"{PROGRAM}: stopped; the next run will name what is left of a recording\n".encode()

swapping = RLock()  # held while file descriptor 2 is redirected


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Discards what is written to file descriptor 2, which is stderr to C libraries as well."""
    with swapping:
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
    """A text stream that never raises: after its first failure, what is printed is dropped.

    The terminal may be closed, the pipe may have lost its reader, the disk may be full.
    Characters missing from its encoding become question marks; a URL's user and password, dots.

    Attributes:
        error: the first failure, an OSError or ValueError (the stream is closed), or None.
    """

    def __init__(self, stream: TextIO):
        self.stream = stream
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
        self.error: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        self._attempt(self.stream.write, PASSWORD.sub(r"\1...@", text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def _attempt(self, do: Callable[..., object], *arguments: object) -> None:
        if self.error:
            return
        try:
            do(*arguments)
        except (OSError, ValueError) as error:
            self.error = error
            with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                # What is still buffered would fail again when Python exits.
                os.dup2(nowhere.fileno(), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:  # isatty, fileno, encoding, ...
        return getattr(self.stream, name)


@contextmanager
def unbreakable_printing() -> Iterator[Unbreakable]:
    """Makes sys.stdout and sys.stderr `Unbreakable`, and flushes them at the end; yields stdout."""
    out, err = Unbreakable(sys.stdout), Unbreakable(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield out
        finally:
            out.flush()
            err.flush()


def open_missing() -> None:
    """Opens /dev/null for closed standard streams, which some services start with.

    Otherwise libraries might print into the next file opened, such as the output.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def is_importing(frame: FrameType | None) -> bool:
    """Whether that stack frame is inside an import."""
    while frame and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


class SignalGuard:
    """Ends a run on SIGINT, SIGTERM or SIGHUP as Ctrl-C does: files are completed first.

    The first signal raises KeyboardInterrupt(number): at once, or in the next `check` if it
    arrives inside `shielded`. During an import it waits until that is done, because C libraries
    turn any exception there into an error of their own. Further signals change nothing, so that
    they cannot disturb the shutdown. If that hangs, however, one that arrives after `PATIENCE`
    ends the process; what was written of a recording is then left in a part, which plays.

    An exception raised while a library calls back into Python may get lost in there, so the
    signal is also remembered for `check`.
    """

    RETRY = 0.02  # seconds until a signal that arrived during an import is handled again
    PATIENCE = 5.0  # seconds after the first signal; a later one then ends the process
    NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self):
        self.first: int | None = None  # the first signal,
        self.came = 0.0  # and when it arrived
        self.is_shielded = False
        self.is_over = False

    def install(self) -> None:
        for name in self.NAMES:
            number = getattr(signal, name, None)
            ignored = name == "SIGHUP" and number and signal.getsignal(number) == signal.SIG_IGN
            if number and not ignored:  # as nohup sets it
                signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        if self.is_over:
            return
        self.came = self.came or monotonic()
        if monotonic() - self.came > self.PATIENCE:
            with suppress(OSError):  # this may have interrupted a print()
                os.write(2, STOPPED)
            os._exit(128 + number)
        if self.first is None and sys.platform != "win32" and is_importing(frame):
            # To this thread, the main one, where handlers run.
            Timer(self.RETRY, partial(signal.pthread_kill, get_ident(), number)).start()
        elif self.first is None:
            self.first = number
            if not self.is_shielded:
                raise KeyboardInterrupt(number)

    def begin(self) -> None:
        """Lets signals stop the run again after `shielded`; raises as `check` does."""
        self.is_shielded = False
        self.check()

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal has arrived that has not stopped the run yet."""
        if self.first:
            raise KeyboardInterrupt(self.first)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Only remembers signals that arrive inside the block.

        This continues after an error in it, so that nothing disturbs closing what is open.
        """
        self.is_shielded = True
        yield
        self.is_shielded = False

    def shield_from_now_on(self) -> None:
        self.is_shielded = True

    def ignore_from_now_on(self) -> None:
        """Ignores signals: there is nothing left to stop."""
        self.is_over = True
