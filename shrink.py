"""Smaller copies of pictures, by halves: OpenCV averages 2x2 pixels many times faster than more."""

import cv2
import numpy as np

WORK_SIDE = 400  # pixels; the shorter side of the pictures that alpha and backdrop are made at


def halve(picture: np.ndarray) -> np.ndarray:
    """uint8 [h,w] or [h,w,3] -> [h/2,w/2] of the same kind, each pixel the mean of four."""
    size = max(1, picture.shape[1] // 2), max(1, picture.shape[0] // 2)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def shrink_to_work(frame: np.ndarray) -> np.ndarray:
    """The frame, shrunk by a whole number so that its shorter side is about 400 pixels."""
    height, width = frame.shape[:2]
    factor = max(1, round(min(height, width) / WORK_SIDE))
    size = max(1, width // factor), max(1, height // factor)
    while factor >= 2:
        frame, factor = halve(frame), factor / 2
    return cv2.resize(frame, size) if frame.shape[1::-1] != size else frame
