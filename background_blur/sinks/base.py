"""The interface of sinks."""

from abc import ABC, abstractmethod
from pathlib import Path
from time import monotonic
from typing import Self

from background_blur.frames import Frame


class Sink(ABC):
    """Where finished frames go.

    A frame once written is kept, however the run ends: as a context manager, a sink closes itself
    and keeps what was written so far.
    """

    warning: str | None = None  # one line about what was left out
    saved: str | None = None  # what is complete, such as "out.mp4: 300 frames, 10.0 s"

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Takes a finished frame. Its image, uint8 [H,W,3] BGR, is neither kept nor changed.

        Raises:
            SinkError: it cannot be written; the message says what is kept of earlier frames.
        """

    def is_unwanted(self, name: Path) -> bool:
        """Whether to skip the source's picture with this path, relative to its folder."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Completes what was written, leaving no file if there was no frame; may be called twice.

        Raises:
            SinkError: it could not be completed; the message says what is kept, and where.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.close()


class PacedSink(Sink):
    """A sink that shows frames in real time: each is due at its own time."""

    began: float | None = None  # `monotonic` time at which a frame with time 0 was due

    def seconds_until(self, time: float) -> float:
        """Seconds until a frame with this time is due, negative if late. The first is due now."""
        if self.began is None:
            self.began = monotonic() - time
        return self.began + time - monotonic()
