"""Animated AVIF, PNG and WebP pictures, read as videos; FFmpeg reads GIFs."""

import itertools
import math
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np

from background_blur.capture.base import Source, rate_limiter
from background_blur.capture.kinds import open_picture
from background_blur.capture.video import MAX_PIXELS
from background_blur.errors import SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import crop_to_fill, flatten_alpha

DEFAULT_DURATION = 0.1  # seconds to show a frame that states no duration, as browsers do


class Animation(Source):
    """An animated AVIF, PNG or WebP, played once."""

    def __init__(self, path: Path, size: Size | None = None, fps: float | None = None):
        """Opens the file; `size` and `fps` are as in `open_source`. Raises SourceError."""
        self.path, self._asked = path, size
        self._picture = open_picture(path)
        frames: int = getattr(self._picture, "n_frames", 1)  # only some Pillow formats have it
        self._stored_frames = frames
        self._frames = self._decoded()
        first = next(self._frames, None)
        if first is None:
            raise SourceError(f"{path}: damaged, or too large; none of its frames can be decoded")
        self._all = itertools.chain([first], self._frames)
        self.size = first.image.shape[1::-1]
        own = min(1000.0, 1 / (first.duration or DEFAULT_DURATION))
        self.fps = min(fps, own) if fps else own
        self.count = math.ceil(frames * self.fps / own)
        self._due = rate_limiter(self.fps if self.fps < own else None)

    def _decoded(self) -> Generator[Frame]:
        picture, time = self._picture, 0.0
        if picture.width * picture.height > MAX_PIXELS:
            return
        for index in range(self._stored_frames):
            try:
                picture.seek(index)
                pixels = np.asarray(picture.convert("RGBA"))
            except Exception:  # Pillow raises many exception types
                what = f"damaged after {index} of {self._stored_frames} frames; the rest is missing"
                self.warning = f"{self.path}: {what}"
                return
            image = flatten_alpha(cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))
            seconds = picture.info.get("duration", 0) / 1000 or DEFAULT_DURATION
            yield Frame(crop_to_fill(image, self._asked), time, duration=seconds)
            time += seconds

    def __iter__(self) -> Iterator[Frame]:
        return (frame for frame in self._all if self._due(frame.time))

    def close(self) -> None:
        self._all = iter(())
        self._frames.close()
        self._picture.close()
