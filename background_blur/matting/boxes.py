"""Parts of a frame, as boxes in its mask."""

from dataclasses import dataclass

import cv2
import numpy as np

from background_blur.frames import Size


@dataclass(frozen=True)
class Box:
    """A part of a mask, in its pixels; right and bottom are the first outside it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        return self.right - self.left, self.bottom - self.top

    @property
    def area(self) -> int:
        return self.size[0] * self.size[1]

    def covers(self, size: Size) -> bool:
        """Whether the box covers the whole of a mask of that (width, height)."""
        return self.size == tuple(size)

    def of(self, image: np.ndarray, size: Size) -> np.ndarray:
        """Returns the part of an image [H,W,...] in the box, given its mask's (width, height)."""
        across, down = image.shape[1] / size[0], image.shape[0] / size[1]
        left, right = round(self.left * across), round(self.right * across)
        top, bottom = round(self.top * down), round(self.bottom * down)
        return image[top:bottom, left:right]

    def place(self, part: np.ndarray, size: Size) -> np.ndarray:
        """Makes a float32 [h,w] mask of that (width, height): `part` in the box, 0 outside."""
        shrinks = part.shape[1] > self.size[0]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        part = cv2.resize(part, self.size, interpolation=way)
        if self.covers(size):
            return part
        mask = np.zeros(size[::-1], np.float32)
        mask[self.top : self.bottom, self.left : self.right] = part
        return mask


def whole(size: Size) -> Box:
    return Box(0, 0, *size)


def mask_size(frame: np.ndarray) -> Size:
    """(width, height) of the masks of a frame [H,W,3]: half its own, at which the refiner works."""
    height, width = frame.shape[:2]
    return max(1, width // 2), max(1, height // 2)
