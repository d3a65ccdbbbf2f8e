"""Resizing and flattening pictures."""

from functools import cached_property

import cv2
import numpy as np

from background_blur.frames import Size

WORK_SIDE = 400  # pixels; the shorter side of the working size
THUMBNAIL_SIZE = 32, 18  # pixels, (width, height)


def crop_to_fill(image: np.ndarray, size: Size | None) -> np.ndarray:
    """Scales the picture to cover `size`, and crops around the centre, as webcams do."""
    height, width = image.shape[:2]
    if size is None or size == (width, height):
        return np.ascontiguousarray(image)
    wide = min(width, max(1, round(height * size[0] / size[1])))
    high = min(height, max(1, round(width * size[1] / size[0])))
    left, top = (width - wide) // 2, (height - high) // 2
    image = image[top : top + high, left : left + wide]
    shrinks = wide > size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def flatten_alpha(image: np.ndarray, ground: np.ndarray | int | None = None) -> np.ndarray:
    """Lays a uint8 or uint16 [H,W,4] BGRA over a ground of the same depth -> [H,W,3] BGR.

    The colours of transparent pixels do not show.

    Args:
        image: the picture.
        ground: a grey level, [H,W,1] or [H,W,3]; white if None.
    """
    most = np.iinfo(image.dtype).max
    wide = image.astype(np.uint32 if most > 255 else np.uint16)
    alpha = wide[..., 3:]
    ground = most if ground is None else ground
    mixed = (wide[..., :3] * alpha + (most - alpha) * ground + most // 2) // most
    return mixed.astype(image.dtype)


def make_placeholder(image: np.ndarray) -> np.ndarray:
    """Blurs the picture, at its own size, to a dozen soft spots."""
    size = image.shape[1], image.shape[0]
    spots = cv2.resize(image, (4, 3), interpolation=cv2.INTER_AREA)
    return cv2.resize(spots, size, interpolation=cv2.INTER_LINEAR)


def to_bgr(image: np.ndarray | None) -> np.ndarray | None:
    """Converts uint8 [H,W], [H,W,1], [H,W,3] or [H,W,4] to [H,W,3]; anything else to None."""
    if image is None or image.dtype != np.uint8 or image.size == 0:
        return None
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 3:
        return np.ascontiguousarray(image)
    codes = {1: cv2.COLOR_GRAY2BGR, 4: cv2.COLOR_BGRA2BGR}
    return cv2.cvtColor(image, codes[channels]) if channels in codes else None


def halve(picture: np.ndarray) -> np.ndarray:
    """uint8 [h,w] or [h,w,3] -> [h/2,w/2] of the same kind, each pixel the mean of four."""
    size = max(1, picture.shape[1] // 2), max(1, picture.shape[0] // 2)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def downscale(frame: np.ndarray) -> np.ndarray:
    """Shrinks the frame by a whole number, so that its shorter side is about 400 pixels."""
    height, width = frame.shape[:2]
    factor = max(1, round(min(height, width) / WORK_SIDE))
    size = max(1, width // factor), max(1, height // factor)
    while factor >= 2:
        frame, factor = halve(frame), factor / 2
    return cv2.resize(frame, size) if frame.shape[1::-1] != size else frame


class Picture:
    """A frame at its working size, and smaller copies of it, each made on first use.

    The stages share them, so they must not be changed.
    """

    def __init__(self, image: np.ndarray):
        """Takes a uint8 [h,w,3] BGR."""
        self.image = image

    @property
    def size(self) -> Size:
        """(width, height)"""
        return self.image.shape[1], self.image.shape[0]

    @cached_property
    def grey(self) -> np.ndarray:
        """uint8 [h,w]"""
        return cv2.cvtColor(self.image, cv2.COLOR_BGR2GRAY)

    @cached_property
    def half(self) -> np.ndarray:
        """uint8 [h/2,w/2,3] BGR"""
        return halve(self.image)

    @cached_property
    def half_grey(self) -> np.ndarray:
        """uint8 [h/2,w/2]"""
        return halve(self.grey)

    @cached_property
    def thumbnail(self) -> np.ndarray:
        """uint8 [18,32], grey, for measuring how much the whole frame changes"""
        return cv2.resize(self.half_grey, THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)


def over_checkerboard(image: np.ndarray) -> np.ndarray:
    """Lays a uint8 [H,W,4] over grey squares, so that a window shows what is transparent."""
    height, width = image.shape[:2]
    side = max(1, min(height, width) // 24)
    light = np.add.outer(np.arange(height) // side, np.arange(width) // side) % 2
    return flatten_alpha(image, (150 + 60 * light[..., None]).astype(np.uint16))


def letterbox(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a picture to fit (width, height), keeping its aspect ratio; the rest is empty."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(scale * width)), max(1, round(scale * height))
    image = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    canvas = np.zeros((size[1], size[0], image.shape[2]), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = image
    return canvas


def fill_outlines(shape: np.ndarray) -> np.ndarray:
    """Fills the holes of a uint8 [h,w] of 0 and 1; returns a copy."""
    outlines, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(np.zeros_like(shape), outlines, -1, 1, cv2.FILLED)
