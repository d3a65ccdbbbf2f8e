"""The interface of sources."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Self

from background_blur.errors import SourceError
from background_blur.frames import Frame, Size
from background_blur.media import Demuxer

CAMERA_SIZE = (1280, 720)
RATE = 30.0  # frames per second, where the real rate is unknown
LIMIT = 10.0  # seconds a source may take to answer
WAIT = 10.0  # seconds to wait for a camera that stopped sending frames
KINDS = "give a camera number, a video, a picture, a folder of pictures, a URL or demo"


class Source(ABC):
    """Where frames come from. A source is open from the start and can be iterated once.

    Attributes:
        size: (width, height) of the first frame.
        fps: the nominal rate, in frames per second; 30 if unknown.
        live: frames arrive in real time; only the newest is kept, and late ones are dropped.
        is_sequence: each frame follows from the last; False for unrelated pictures.
        count: number of frames, estimated; None if endless or unknown.
        dropped: live frames skipped since the iteration began because the consumer was slow.
            Frames skipped to keep to a requested rate do not count.
        idle_seconds: time spent in finished pauses, during which no program read the frames.
        path: the file or folder being read; None if the source is neither.
        tracks: the rest of the file, such as its sound; None if the source is not a video.
        warning: one line about non-fatal problems, complete once the iteration is; or None.
        problem: one line about what is wrong right now, or None.
    """

    size: Size
    fps: float = RATE
    live: bool = False
    is_sequence: bool = True
    count: int | None = None
    dropped: int = 0
    idle_seconds: float = 0.0
    path: Path | None = None
    tracks: Demuxer | None = None
    warning: str | None = None
    problem: str | None = None

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in order; the caller may keep and change them.

        Raises:
            SourceError: a picture is unreadable, or a camera or stream stopped sending frames.
        """

    def leave_out(self, unwanted: Callable[[Path], bool]) -> None:
        """Skips, without reading them, the pictures whose path within the folder is `unwanted`."""

    def unpace(self) -> None:
        """Nobody is watching: from now on, yields frames as fast as possible if the source can."""

    def move(self, steps: int) -> None:
        """Where photos are held on screen, moves forward `steps` photos, or back if negative."""

    @abstractmethod
    def close(self) -> None:
        """Ends the iteration and frees devices, files and threads; may be called repeatedly."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WrappedSource(Source):
    """Wraps another source; attributes that a subclass does not set are the wrapped source's."""

    def __init__(self, source: Source):
        """Takes over an open source."""
        self.source = source

    def close(self) -> None:
        self.source.close()


for name in Source.__annotations__:
    setattr(WrappedSource, name, property(attrgetter(f"source.{name}")))


def check_file(text: str) -> None:
    """Raises SourceError, with a better reason than a decoder's, unless this is a readable file."""
    if not os.path.exists(text):
        raise SourceError(f"{text or 'empty name'}: no such file or folder", KINDS)
    if not os.path.isfile(text):
        raise SourceError(f"{text}: neither a file nor a folder", KINDS)
    try:
        with open(text, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SourceError(f"{text}: cannot be read: {error.strerror}") from error
    if empty:
        raise SourceError(f"{text}: the file is empty", KINDS)


def rate_limiter(fps: float | None) -> Callable[[float], bool]:
    """Returns a predicate over frame times, in seconds, that passes at most `fps` frames per second
    on average; all frames if None."""
    interval = 1 / fps if fps else 0.0
    next_due = 0.0  # a frame that is early by up to a quarter of the interval still counts as due

    def is_due(seconds: float) -> bool:
        nonlocal next_due
        if seconds < next_due - interval / 4:
            return False
        next_due = max(next_due, seconds - interval) + interval
        return True

    return is_due
