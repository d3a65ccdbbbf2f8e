"""What may stand behind the person instead of a blur: a colour, a picture, a video, or nothing."""

import math

import cv2
import numpy as np

from background_blur.rendering.compositing import compose
from source import (
    KINDS,
    PICTURES,
    Decoder,
    Frame,
    Size,
    SourceError,
    check_file,
    cover,
    read_picture,
)

BACKGROUNDS = "give blur, a picture, a video, a colour such as #00b140, or transparent"
TRANSPARENT = "transparent"
SMOOTH = 30  # frames a second; all that is decoded of a video that has more


class BackdropError(Exception):
    """A background that cannot be had; one line fit for the user."""


class Picture:
    """One picture; of a single pixel, a colour."""

    def __init__(self, image: np.ndarray):
        """Takes a uint8 [h,w,3] BGR of any size."""
        self.image = image
        self.covering = None  # the picture as it was last asked for

    def __call__(self, size: Size, time: float) -> np.ndarray:
        """The background of a frame.

        Args:
            size: (width, height) of the frame, which the picture covers, undistorted.
            time: seconds since the first frame.

        Returns:
            uint8 [H,W,3] BGR, not to be changed.
        """
        if self.covering is None or self.covering.shape[1::-1] != size:
            self.covering = cover(self.image, size)
        return self.covering


class Video(Picture):
    """A video, looped at its own pace. Where it cannot be read again its last picture stays."""

    def __init__(self, path: str):
        """Raises SourceError if it cannot be read."""
        self.path = path
        self.began = 0.0  # when this round began, in the taker's seconds
        self.coming = self.rewind()
        super().__init__(self.coming.image)

    def __call__(self, size: Size, time: float) -> np.ndarray:
        while time >= self.began + self.coming.time:
            self.image, self.covering = self.coming.image, None
            self.coming = next(self.frames, None) or self.again(self.coming, time)
        return super().__call__(size, time)

    def rewind(self) -> Frame:
        decoder = Decoder(self.path, fps=SMOOTH)
        self.frames, self.step = decoder.frames(), 1 / decoder.fps
        first = next(self.frames, None)
        if first is None:
            raise SourceError(f"{self.path}: damaged; none of its frames can be decoded")
        return first

    def again(self, last: Frame, time: float) -> Frame:
        """Begins the next round after its last frame, or now where that is long past."""
        length = last.time + self.step
        end = self.began + length
        self.began = end if time - end < length else time
        try:
            return self.rewind()
        except SourceError:
            return Frame(last.image, math.inf)


def open_background(text: str) -> Picture | str | None:
    """Opens the background that the user named: None for the blur, TRANSPARENT for nothing.

    Raises:
        BackdropError: no such file, or none that can be read.
    """
    if text in ("blur", TRANSPARENT):
        return None if text == "blur" else TRANSPARENT
    if text.startswith("#"):
        return Picture(np.frombuffer(bytes.fromhex(text[1:]), np.uint8)[None, None, ::-1])
    try:
        check_file(text)
        is_picture = text.lower().endswith(PICTURES)
        return Picture(read_picture(text)) if is_picture else Video(text)
    except SourceError as error:
        raise BackdropError(f"--background {error}".replace(KINDS, BACKGROUNDS)) from error


def cut_out(frame: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The person on nothing, black where nothing of them is.

    Args:
        frame: uint8 [H,W,3] BGR.
        alpha: uint8 [h,w], 255 = person, enlarged to the frame.

    Returns:
        uint8 [H,W,4] BGRA.
    """
    alpha = cv2.resize(alpha, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    person = cv2.bitwise_and(frame, frame, mask=alpha)
    return cv2.merge([*cv2.split(person), alpha])


def on_squares(image: np.ndarray) -> np.ndarray:
    """Lays a uint8 [H,W,4] over grey squares, as a window shows what is transparent."""
    height, width = image.shape[:2]
    side = max(1, min(height, width) // 24)
    light = np.add.outer(np.arange(height) // side, np.arange(width) // side) % 2
    squares = cv2.cvtColor((150 + 60 * light).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    return compose(np.ascontiguousarray(image[..., :3]), squares, image[..., 3])
