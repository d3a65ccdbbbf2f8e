"""What a source is."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from background_blur.errors import SourceError
from background_blur.frames import Frame, Size

CAMERA_SIZE = (1280, 720)
RATE = 30.0  # frames per second, where nobody knows better
LIMIT = 10.0  # seconds a source may take to answer
WAIT = 10.0  # seconds to wait for a camera that stopped sending frames
KINDS = "give a camera number, a video, a picture, a folder of pictures, a URL or demo"


class Source:
    """Where frames come from. Open already, and to be iterated once.

    Attributes:
        size: (width, height) of the first frame.
        fps: the nominal rate, frames per second; 30 where unknown.
        live: frames come at the world's pace: the newest wins, late ones are dropped.
        is_sequence: each frame follows from the last; False for unrelated pictures.
        count: number of frames; an estimate, None where there is no end or it is unknown.
        dropped: live frames never handed out since the iteration began, because their taker was
            slow. Those left out to keep to an asked rate do not count.
        idle_seconds: in which no frames came because nobody wanted them.
        path: of the file or folder itself; None where it is none.
        sound: the file whose sound belongs to the frames, should it have any; None where none can.
        warning: one line about what went wrong without an error, final when the iteration is.
        problem: one line about what is wrong right now, None while all is well.
    """

    size: Size
    fps: float = RATE
    live: bool = False
    is_sequence: bool = True
    count: int | None = None
    dropped: int = 0
    idle_seconds: float = 0.0
    path: Path | None = None
    sound: Path | None = None
    warning: str | None = None
    problem: str | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in order; each is the taker's to keep and change.

        Raises:
            SourceError: a picture is unreadable, a camera or stream fell silent.
        """
        raise NotImplementedError

    def leave_out(self, unwanted: Callable[[Path], bool]) -> None:
        """Leaves out, unread, the pictures whose paths within their folder are `unwanted`."""

    def unpace(self) -> None:
        """Nobody watches: frames may come as fast as they are taken, where the source can do it."""

    def advance(self) -> None:
        """Goes on to the next of pictures that are held; does nothing elsewhere."""

    def close(self) -> None:
        """Ends the iteration, frees devices and files, leaves no thread; again does no harm."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def check_file(text: str) -> None:
    """Refuses what no decoder needs to look at, with a better reason than a decoder would give."""
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
    """A test that passes frames, by their times in seconds, on average at most `fps` a second."""
    step = 1 / fps if fps else 0.0
    beat = 0.0  # when the next frame is due; a quarter of a step early is early enough

    def due(seconds: float) -> bool:
        nonlocal beat
        if seconds < beat - step / 4:
            return False
        beat = max(beat, seconds - step) + step
        return True

    return due
