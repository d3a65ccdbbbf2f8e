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
RATE = 30.0  # frames per second, unless known better
LIMIT = 10.0  # seconds a source may take to answer
WAIT = 10.0  # seconds to wait for a camera that stopped sending frames
KINDS = "give a camera number, a video, a picture, a folder of pictures, a URL or demo"


class Source(ABC):
    """Where frames come from. It is open from the start, and iterated once.

    Attributes:
        size: (width, height) of the first frame.
        fps: the nominal rate, frames per second; 30 if unknown.
        live: frames come in real time: only the newest is kept, late ones are dropped.
        is_sequence: each frame follows from the last; False for unrelated pictures.
        count: number of frames, estimated; None if endless or unknown.
        dropped: live frames skipped since the iteration began, because the consumer was slow.
            Those left out to keep to a requested rate do not count.
        idle_seconds: spent in pauses that are over, in which no program read the frames.
        path: the file or folder that is read; None if the source is neither.
        tracks: what lies beside the frames in their file, sound for one; None if it is no video.
        warning: one line about what went wrong without an error, complete once the iteration is.
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
            SourceError: a picture is unreadable, a camera or stream fell silent.
        """

    def leave_out(self, unwanted: Callable[[Path], bool]) -> None:
        """Leaves out, unread, the pictures whose paths within their folder are `unwanted`."""

    def unpace(self) -> None:
        """Nobody is watching: yields frames as fast as they are consumed, if the source can."""

    def move(self, steps: int) -> None:
        """Moves on by that many photos, or back if negative, where photos are held on screen."""

    @abstractmethod
    def close(self) -> None:
        """Ends the iteration and frees devices, files and threads; may be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WrappedSource(Source):
    """Another source, changed: all attributes that a subclass does not set are that source's."""

    def __init__(self, source: Source):
        """Takes over an open source."""
        self.source = source

    def close(self) -> None:
        self.source.close()


for name in Source.__annotations__:
    setattr(WrappedSource, name, property(attrgetter(f"source.{name}")))


def check_file(text: str) -> None:
    """Raises SourceError, with a better reason than a decoder has, for what is no readable file."""
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
    """A predicate over frame times, in seconds, that lets through at most `fps` frames per second
    on average; all of them if None."""
    interval = 1 / fps if fps else 0.0
    next_due = 0.0  # a frame up to a quarter of the interval early still counts as due

    def is_due(seconds: float) -> bool:
        nonlocal next_due
        if seconds < next_due - interval / 4:
            return False
        next_due = max(next_due, seconds - interval) + interval
        return True

    return is_due
