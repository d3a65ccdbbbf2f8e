"""What a sink is."""

from pathlib import Path
from time import monotonic


class Sink:
    """Where finished frames go.

    Once a frame has been written, only the user's own wish removes it: as a context a sink is
    closed, and what came so far kept, whatever ends the run.
    """

    warning: str | None = None  # one line on what was left out, known once the sink is open

    def write(self, frame) -> None:
        """Takes one `source.Frame`: image uint8 [H,W,3] BGR, which it neither keeps nor changes.

        Raises:
            SinkError: it cannot be written; says what is kept of those before it.
        """

    def is_unwanted(self, name: Path) -> bool:
        """Whether nothing is to be made of the source's picture of that path in its folder."""
        return False

    def close(self) -> None:
        """Ends it: what was written is complete and readable. Again does nothing.

        Without a frame nothing is left behind.

        Raises:
            SinkError: it could not be completed; says what is kept, and where.
        """

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class PacedSink(Sink):
    """A sink that people watch: each frame is due at its time."""

    began = None

    def seconds_until(self, time: float) -> float:
        """Seconds until a frame of that time is due, the first one asked for being due at once.

        Below 0: late.
        """
        if self.began is None:
            self.began = monotonic() - time
        return self.began + time - monotonic()
