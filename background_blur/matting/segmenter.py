"""frame -> mask: runs the person network on one frame.

Two engines run the same network: LiteRT the compiled copy (default; TensorFlow is never imported)
and Keras the original. Both are plain functions from an image to logits.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from background_blur.imaging import fill_outlines

# The network's input sizes, (width, height): the shapes of cameras and photographs, all of about
# the same area, in multiples of 16. A frame takes the nearest in shape, so it is hardly squashed.
INPUT_SIZES = ((320, 176), (272, 208), (240, 240), (208, 272), (176, 320))
# Scales of their sides: live, for recordings (and live if asked for the best), for pictures.
NORMAL, FINE, LARGE = SCALES = 1.0, 1.25, 2.0


# float32 [h,w,3] RGB 0..255 -> float32 [h/s,w/s,n]: n logits, person and, if the network has it,
# front.
Engine = Callable[[np.ndarray], np.ndarray]


class Masks(NamedTuple):
    """Who is where in a frame: float32 [h,w] each, 0..1, a half or a quarter of the input's size.

    `person` is anyone, `front` the person or people nearest to the camera, without those behind
    them. Both are the same if the network does not tell them apart.
    """

    person: np.ndarray
    front: np.ndarray

    def solid_front(self) -> np.ndarray:
        """Returns `front` and any `person` inside its outline: nobody is seen through another.

        This closes the holes left by faces printed on clothes, which the network takes for people
        behind. On stock photographs boundary F gains 0.008, and 0.001 more of the background stays
        sharp. The frame's lower border, which cuts people off, counts as part of the outline.
        """
        front = cv2.copyMakeBorder(
            (self.front > 0.5).view(np.uint8), 0, 1, 0, 0, cv2.BORDER_CONSTANT, value=[1]
        )
        inside = fill_outlines(front)[:-1]
        return np.where(inside == 1, np.maximum(self.front, self.person), self.front)


class Segmenter(Protocol):
    """Anything that finds the people in a frame."""

    def segment(self, frame: np.ndarray, scale: float) -> Masks: ...


class PersonSegmenter:
    """Finds the people in a frame by running the network once."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def segment(self, frame: np.ndarray, scale: float = FINE) -> Masks:
        """Returns the masks of one frame.

        Args:
            frame: uint8 [H,W,3] BGR, or a part of a frame.
            scale: one of SCALES.
        """
        return masks_of(self.logits(frame, scale))

    def logits(self, frame: np.ndarray, scale: float) -> np.ndarray:
        grid = nearest_input_size((frame.shape[1], frame.shape[0]), scale)
        much = frame.shape[1] > 2.5 * grid[0]
        image = cv2.resize(frame, grid, interpolation=cv2.INTER_AREA if much else cv2.INTER_LINEAR)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32)  # [h,w,3]
        return self.engine(image)  # [h/s,w/s,n]


class ThoroughSegmenter(PersonSegmenter):
    """Finds them by running the network four times, for pictures, which leave time for it.

    The usual grid keeps people whole best, the large one finds the small and distant; averaging
    each with its mirror image is steadier.
    """

    def segment(self, frame: np.ndarray, scale: float = LARGE) -> Masks:
        mirrored = cv2.flip(frame, 1)
        usual, large = (
            self.logits(frame, side) + self.logits(mirrored, side)[:, ::-1]
            for side in (NORMAL, LARGE)
        )
        enlarged = cv2.resize(usual, large.shape[1::-1]).reshape(large.shape)
        return masks_of((enlarged + large) / 4)


def masks_of(logits: np.ndarray) -> Masks:
    """float [h,w,n] -> the masks; from one logit, the same mask twice."""
    shares = sigmoid(logits)
    return Masks(np.ascontiguousarray(shares[..., 0]), np.ascontiguousarray(shares[..., -1]))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def nearest_input_size(size: tuple[int, int], scale: float = NORMAL) -> tuple[int, int]:
    """The input size whose shape is nearest to that of `size`, both (width, height)."""
    aspect = np.log(size[0] / size[1])
    grid = min(INPUT_SIZES, key=lambda grid: abs(np.log(grid[0] / grid[1]) - aspect))
    return scaled_size(grid, scale)


def scaled_size(grid: tuple[int, int], scale: float) -> tuple[int, int]:
    """The grid with its sides times `scale`, rounded to multiples of 16."""
    width, height = (round(side * scale / 16) * 16 for side in grid)
    return width, height


# What the network is compiled for.
COMPILED_SIZES = [scaled_size(grid, scale) for grid in INPUT_SIZES for scale in SCALES]
