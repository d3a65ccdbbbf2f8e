"""A moving portrait, for trying the program without a camera."""

import math
import time
from collections.abc import Iterator

import cv2
import numpy as np

from background_blur.capture.base import CAMERA_SIZE, RATE, Source
from background_blur.capture.pictures import read_picture
from background_blur.frames import Frame, Size
from background_blur.resources import RESOURCES

PORTRAIT = RESOURCES / "assets" / "portrait.jpg"


class Demo(Source):
    """An endless portrait photograph that gently sways, zooms and turns.

    Frame `i` is the same picture in every run.

    Args:
        size: (width, height).
        fps: frames per second.
        paced: whether it is live: frames come at `fps`, and those due while the consumer was busy
            are dropped. Otherwise they come as fast as they are consumed.
    """

    VIEW = (484, 488)  # the widest and tallest view, in pixels of the photo
    CENTRE = (243, 3)  # the view's horizontal centre and its top, in pixels of the photo

    def __init__(self, size: Size = CAMERA_SIZE, fps: float = RATE, paced: bool = True):
        self.size, self.fps, self.live = size, fps, paced
        self._closed = False
        portrait = read_picture(PORTRAIT)
        wide = min(self.VIEW[0], self.VIEW[1] * size[0] / size[1])
        scale = size[0] / wide
        self._centre = self.CENTRE[0] * scale, self.CENTRE[1] * scale + size[1] / 2
        # Enlarge it once, in high quality, so that each frame needs only a cheap warp.
        self._portrait = cv2.resize(
            portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
        )

    def __iter__(self) -> Iterator[Frame]:
        start, index = time.monotonic(), 0
        while not self._closed:
            if self.live:
                due = max(index, math.floor((time.monotonic() - start) * self.fps))
                self.dropped += due - index
                index = due
                time.sleep(max(0.0, start + index / self.fps - time.monotonic()))
            captured_at = time.monotonic() if self.live else None
            yield Frame(self.picture(index), index / self.fps, captured_at=captured_at)
            index += 1

    def picture(self, index: int) -> np.ndarray:
        """Returns frame `index`, 0 or more, as uint8 [H,W,3] BGR."""
        phase = 2 * math.pi * index / self.fps
        zoom = 0.97 + 0.03 * math.cos(phase / 11)
        degrees = 1.2 * math.sin(phase / 7)
        width, height = self.size
        x = self._centre[0] + 0.012 * width * math.sin(phase / 5)
        y = self._centre[1] + 0.006 * height * math.sin(phase / 3)
        # Maps frame pixels to photo pixels.
        to_photo = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, zoom)
        to_photo[:, 2] += x - width / 2, y - height / 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            self._portrait, to_photo, self.size, flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )

    def unpace(self) -> None:
        self.live = False

    def close(self) -> None:
        self._closed = True
