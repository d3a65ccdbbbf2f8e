"""Propagates a mask from its key frame to the next frames, by the motion measured between them.

Propagation costs a tenth of running the network. The motion is trusted if it explains the new
frame: the key frame, moved by it, must look like the new one on and around the person.
"""

import math

import cv2
import numpy as np

from background_blur.imaging import Picture
from background_blur.matting.motion import (
    FlowSearch,
    flow_error_limit,
    flow_errors,
    is_still,
    move,
)
from background_blur.matting.validation import PERSON

MAX_AGE = 0.25  # seconds from a key frame to the last frame that its mask is propagated to
MAX_STILL_AGE = 0.15  # seconds for which its mask is reused while nothing moves
CELL = 4  # side of the cells that are judged, in pixels of the pictures that motion is measured in
MAX_WRONG_FRACTION = 0.15  # of the person and their surroundings where the motion is wrong
MOTION_SIDE = 180  # pixels, about: the shorter side of the pictures that motion is measured in
MIN_SIDE = 16  # pixels; motion in smaller pictures is not measured
SURROUNDINGS = np.ones((5, 5), np.uint8)  # in cells

PROPAGATED, REUSED = "propagated", "reused"


class MaskPropagator:
    """Remembers the last key frame and its mask."""

    def __init__(self):
        self.flow = FlowSearch()
        self.mask = np.zeros((1, 1), np.float32)  # of the last key frame,
        self.picture = np.zeros((1, 1, 3), np.uint8)  # of which this is a small copy,
        self.grey = np.zeros((1, 1), np.uint8)  # and this the same in grey
        self.frames_since = 0
        self.reset()

    def reset(self) -> None:
        self.time = -math.inf  # of the key frame; without one, too long ago to propagate

    def set_key_frame(self, picture: Picture, mask: np.ndarray, time: float) -> None:
        """Takes a key frame: its picture, the network's mask, float32 [h,w], and its time."""
        self.mask, self.time, self.frames_since = mask.copy(), time, 0
        self.picture, self.grey = scale(picture)

    def propagate(self, picture: Picture, time: float, every: int) -> tuple[np.ndarray, str] | None:
        """Returns this picture's (mask, PROPAGATED or REUSED); None if it is a key frame.

        Key frames are every `every`-th frame, and those for which no mask is recent enough or the
        motion does not explain the picture. While nothing moves they may be further apart.
        """
        if not 0 <= time - self.time <= MAX_AGE:
            return None
        self.frames_since += 1
        image, grey = scale(picture)
        if time - self.time <= MAX_STILL_AGE and is_still(image, self.picture):
            return self.mask.copy(), REUSED
        if self.frames_since >= every:
            return None
        mask = self.move_mask(grey)
        return None if mask is None else (mask, PROPAGATED)

    def move_mask(self, grey: np.ndarray) -> np.ndarray | None:
        """Moves the mask with the picture; returns None if the motion does not explain it."""
        if min(grey.shape) < MIN_SIDE:
            return None
        flow = self.flow.measure(grey, self.grey)
        error, mask = flow_errors(grey, self.grey, flow), move(self.mask, flow)
        cells = max(1, grey.shape[1] // CELL), max(1, grey.shape[0] // CELL)
        error, after, before = (
            cv2.resize(each, cells, interpolation=cv2.INTER_AREA)
            for each in (error, mask, self.mask)
        )
        near = cv2.dilate(np.maximum(after, before), SURROUNDINGS) > PERSON
        wrong = (error > flow_error_limit(error))[near].sum()
        return None if wrong > MAX_WRONG_FRACTION * near.sum() else mask


def scale(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Returns copies of about the size to measure motion at: uint8 [h,w,3] BGR and [h,w] grey."""
    sides = picture.image.shape[:2]
    factor = min(MOTION_SIDE / min(sides), 4 * MOTION_SIDE / max(sides))
    if factor <= 0.6:
        return picture.half, picture.half_grey
    if factor <= 1.2:
        return picture.image.copy(), picture.grey  # the image may be the caller's own
    image = cv2.resize(picture.image, None, fx=factor, fy=factor)
    return image, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
