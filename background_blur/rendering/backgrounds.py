"""Backgrounds other than the blur: a colour, a picture or a looped video."""

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol

import numpy as np

from background_blur.errors import BackgroundError, SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import crop_to_fill
from background_blur.settings import TRANSPARENT, Background

BACKGROUNDS = "give blur, a picture, a video, a colour such as #00b140, or transparent"
MAX_FPS = 30.0  # of a video; frames beyond that are not decoded


class Media(Protocol):
    """An open picture or video, as `capture.open_file` returns it."""

    fps: float
    is_sequence: bool

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


OpenFile = Callable[..., Media]  # (path, fps=...), raises SourceError; `capture.open_file`


class StillBackground:
    """One picture, or a colour as a picture of a single pixel."""

    def __init__(self, image: np.ndarray):
        """Takes a uint8 [h,w,3] BGR of any size."""
        self.image = image
        self.covering: np.ndarray | None = None  # the picture at the size last asked for

    def __call__(self, size: Size, time: float) -> np.ndarray:
        """Returns the background of a frame.

        Args:
            size: (width, height) of the frame, which the picture covers, undistorted.
            time: seconds since the first frame.

        Returns:
            uint8 [H,W,3] BGR, not to be changed.
        """
        if self.covering is None or self.covering.shape[1::-1] != size:
            self.covering = crop_to_fill(self.image, size)
        return self.covering


class VideoBackground(StillBackground):
    """A video, looped at its own pace. If it cannot be read again, its last picture stays."""

    def __init__(self, video: Media, reopen: Callable[[], Media]):
        """Takes an open video, and a function that reopens it or raises SourceError."""
        self.reopen = reopen
        self.began = 0.0  # when this round began, in the time of the frames
        self.coming = self.start(video)
        super().__init__(self.coming.image)

    def __call__(self, size: Size, time: float) -> np.ndarray:
        while time >= self.began + self.coming.time:
            self.image, self.covering = self.coming.image, None
            self.coming = next(self.frames, None) or self.again(self.coming, time)
        return super().__call__(size, time)

    def start(self, video: Media) -> Frame:
        self.video, self.frames, self.step = video, iter(video), 1 / video.fps
        return next(self.frames)

    def again(self, last: Frame, time: float) -> Frame:
        """Begins the next round after the last frame, or now if that is long past."""
        length = last.time + self.step
        end = self.began + length
        self.began = end if time - end < length else time
        self.video.close()
        try:
            return self.start(self.reopen())
        except SourceError:
            return Frame(last.image, math.inf)


def open_background(text: str, open_file: OpenFile) -> Background | str | None:
    """Opens the background that the user named: None for the blur, TRANSPARENT for nothing.

    Raises:
        BackgroundError: no such file, or it cannot be read.
    """
    if text in ("blur", TRANSPARENT):
        return None if text == "blur" else TRANSPARENT
    if text.startswith("#"):
        return StillBackground(np.frombuffer(bytes.fromhex(text[1:]), np.uint8)[None, None, ::-1])

    def reopen() -> Media:
        return open_file(text, fps=MAX_FPS)

    try:
        media = reopen()
        if media.is_sequence:
            return VideoBackground(media, reopen)
        with closing(media):
            return StillBackground(next(iter(media)).image)
    except SourceError as error:
        hint = BACKGROUNDS if error.hint else ""
        raise BackgroundError(f"--background {error.problem}", hint) from error
