"""Propagates a mask from its key frame to the next frames, by the motion measured between them.

Propagation costs a tenth of the network. The motion of each pixel is found by dense inverse search
(Kroeger et al. 2016, arXiv:1603.03590). It is believed where it explains the new frame: the key
frame, warped by it, must look like the new one wherever there is a person or somebody near.
"""

import math
from functools import lru_cache

import cv2
import numpy as np

from background_blur.imaging import Picture
from background_blur.matting.validation import PERSON

MAX_AGE = 0.25  # seconds from a key frame to the last that its mask is propagated to
MAX_STILL_AGE = 0.15  # seconds for which its mask is reused while nothing moves
CELL = 4  # pixels per side of the cells that are judged, of the picture that motion is measured in
STILL = 4  # grey levels; where no spot of the picture changes by more it is noise alone
ERROR_OVER_NOISE, MAX_ERROR = 6, 14  # grey levels that a warped picture may be off
MAX_WRONG_FRACTION = 0.15  # of the person and their surroundings where the motion is wrong
MOTION_SIDE = 180  # pixels, about; the shorter side of the pictures that motion is measured in
MIN_SIDE = 16  # pixels; motion in smaller pictures is not measured
SURROUNDINGS = np.ones((5, 5), np.uint8)  # in cells

PROPAGATED, REUSED = "propagated", "reused"


class MaskPropagator:
    """Remembers the last key frame and its mask."""

    def __init__(self):
        self.motion = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.mask = np.zeros((1, 1), np.float32)  # of the last key frame,
        self.picture = np.zeros((1, 1, 3), np.uint8)  # which this is a small copy of,
        self.grey = np.zeros((1, 1), np.uint8)  # in grey too
        self.frames_since = 0
        self.reset()

    def reset(self) -> None:
        self.time = -math.inf  # of the key frame; without one, too long ago to propagate

    def set_key_frame(self, picture: Picture, mask: np.ndarray, time: float) -> None:
        """Takes the network's mask, float32 [h,w], of the picture of that second."""
        self.mask, self.time, self.frames_since = mask.copy(), time, 0
        self.picture, self.grey = scaled(picture)

    def __call__(self, picture: Picture, time: float, every: int) -> tuple[np.ndarray, str] | None:
        """The mask of this picture, as (mask, PROPAGATED or REUSED); None if it is a key frame.

        That is every `every`-th frame, and where no mask is young enough or the motion does not
        explain the picture. While nothing moves at all key frames may be further apart.
        """
        if not 0 <= time - self.time <= MAX_AGE:
            return None
        self.frames_since += 1
        image, grey = scaled(picture)
        if time - self.time <= MAX_STILL_AGE and is_still(image, self.picture):
            return self.mask.copy(), REUSED
        if self.frames_since >= every:
            return None
        mask = self.warped_mask(grey)
        return None if mask is None else (mask, PROPAGATED)

    def warped_mask(self, grey: np.ndarray) -> np.ndarray | None:
        """The mask moved as the picture was; None where the motion does not explain that."""
        if min(grey.shape) < MIN_SIDE:
            return None
        # [H,W,2]: where each pixel came from. OpenCV's stubs do not know that the flow may be None.
        flow = self.motion.calc(grey, self.grey, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
        error = cv2.blur(cv2.absdiff(grey, sample(self.grey, flow)), (5, 5))
        mask = sample(self.mask, scaled_flow(flow, self.mask.shape))
        cells = max(1, grey.shape[1] // CELL), max(1, grey.shape[0] // CELL)
        error, after, before = (
            cv2.resize(each, cells, interpolation=cv2.INTER_AREA)
            for each in (error, mask, self.mask)
        )
        limit = min(2 * np.median(error) + ERROR_OVER_NOISE, MAX_ERROR)
        near = cv2.dilate(np.maximum(after, before), SURROUNDINGS) > PERSON
        if (error > limit)[near].sum() > MAX_WRONG_FRACTION * near.sum():
            return None
        return mask


def scaled(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Copies as large as motion is measured at, about: uint8 [h,w,3] BGR, and [h,w] grey."""
    sides = picture.image.shape[:2]
    scale = min(MOTION_SIDE / min(sides), 4 * MOTION_SIDE / max(sides))
    if scale <= 0.6:
        return picture.half, picture.half_grey
    if scale <= 1.2:
        return picture.image.copy(), picture.grey  # the image may be the caller's own
    image = cv2.resize(picture.image, None, fx=scale, fy=scale)
    return image, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def scaled_flow(flow: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A flow [H,W,2] in pixels of a picture [H,W] -> the same for one of another shape."""
    if flow.shape[:2] == shape:
        return flow
    scale = np.divide(shape[::-1], flow.shape[1::-1]).astype(np.float32)
    return cv2.resize(flow, shape[::-1], interpolation=cv2.INTER_AREA) * scale


def is_still(picture: np.ndarray, last: np.ndarray) -> bool:
    return cv2.blur(cv2.absdiff(picture, last), (3, 3)).max() <= STILL


def sample(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """image[y + flow_y, x + flow_x] at each pixel, between pixels bilinearly."""
    places, border = flow + positions(image.shape), cv2.BORDER_REPLICATE
    # OpenCV's stubs do not know that the second map is None where the first holds x and y.
    return cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=border)  # pyright: ignore[reportCallIssue, reportArgumentType]


@lru_cache(2)
def positions(shape: tuple[int, int]) -> np.ndarray:
    """float32 [h,w,2], not to be changed: where each pixel is, (x, y)."""
    y, x = np.indices(shape, np.float32)
    return np.dstack([x, y])
