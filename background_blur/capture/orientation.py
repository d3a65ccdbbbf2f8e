"""Rotates and flips a video's frames as its display matrix says."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame


def display_matrix(raw: "VideoFrame") -> np.ndarray:
    """The rotation and flip that a decoded `av.VideoFrame` asks for, as float [2,2].

    It maps (x, y) in the frame to where that is shown, with y pointing down: the `tkhd` matrix of
    ISO/IEC 14496-12 without its offset. The identity if the frame asks for nothing.
    """
    data = side_data(raw, "DISPLAYMATRIX")
    if len(data) < 36:
        angle = np.radians(raw.rotation)  # anticlockwise
        return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.frombuffer(data[:36], np.int32).reshape(3, 3)
    return matrix[:2, :2].T / 65536  # transposed, since the file's matrix multiplies row vectors


def side_data(raw: "VideoFrame", kind: str) -> bytes:
    """A frame's side data of this kind, by its FFmpeg name; empty if it has none."""
    try:
        return bytes(raw.side_data.get(kind) or b"")
    except ValueError:  # a single kind unknown to PyAV makes all side data unreadable
        return b""


def turn_upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Applies the quarter turns and flips nearest to `matrix` to a uint8 [H,W,3] image."""
    (a, b), (c, d) = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):  # x and y are swapped
        image, a, d = cv2.transpose(image), b, c
    if a < 0 and d < 0:
        return cv2.flip(image, -1)
    if a < 0:
        return cv2.flip(image, 1)
    return cv2.flip(image, 0) if d < 0 else image
