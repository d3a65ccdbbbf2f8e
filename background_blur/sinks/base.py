"""What a sink is."""

from pathlib import Path
from time import monotonic

from background_blur.errors import SinkError, SourceError


class Sink:
    """Where finished frames go.

    As a context it is closed at a normal end, at Ctrl-C and where the source or another sink
    fails, what came so far being wanted, and discarded at any other exception.
    """

    warning: str | None = None  # one line on what was left out, known once the sink is open

    def write(self, frame) -> None:
        """Takes one `source.Frame`: image uint8 [H,W,3] BGR, which it neither keeps nor changes.

        Raises:
            SinkError: it cannot be written, and was discarded.
        """

    def is_unwanted(self, name: Path) -> bool:
        """Whether nothing is to be made of the source's picture of that path in its folder."""
        return False

    def close(self) -> None:
        """Ends it: what was written is complete and readable. Again does nothing.

        Raises:
            SinkError: it could not be completed, and was discarded.
        """

    def discard(self) -> None:
        """Gives up: leaves nothing half-written behind, raises nothing. Again does nothing."""

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None or issubclass(kind, (KeyboardInterrupt, SourceError, SinkError)):
            self.close()
        else:
            self.discard()


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
