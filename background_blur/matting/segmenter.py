"""frame -> mask: runs the person network on one frame.

Two engines run the same network: LiteRT the compiled copy (default; TensorFlow is never imported)
and Keras the original. Both are plain functions from an image to logits.
"""

from collections.abc import Callable

import cv2
import numpy as np

# The network's input sizes, (width, height): the shapes of cameras and photographs, all of about
# the same area, multiples of 16. A frame goes to the one nearest in shape, hardly squashed.
INPUT_SIZES = ((320, 176), (272, 208), (240, 240), (208, 272), (176, 320))
SMALL, NORMAL, LARGE = SCALES = 0.7, 1.0, 2.0  # sides over those: in need, live, for pictures


Engine = Callable[[np.ndarray], np.ndarray]  # float32 [h,w,3] RGB 0..255 -> logits [h/4,w/4]


class PersonSegmenter:
    """Tells which part of a frame is person."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def __call__(self, frame: np.ndarray, scale: float = NORMAL) -> np.ndarray:
        """uint8 [H,W,3] BGR -> float32 [h,w], the probability of person, a quarter of a grid."""
        return sigmoid(self.logits(frame, scale))

    def predict_tta(self, frame: np.ndarray) -> np.ndarray:
        """The same at a quarter of a large grid, by four looks, where there is time for them.

        The usual grid knows best what is whole, the large one finds the small and far; of each
        the mean with its mirror image is steadier.
        """
        mirrored = cv2.flip(frame, 1)
        usual, large = (
            self.logits(frame, scale) + self.logits(mirrored, scale)[:, ::-1]
            for scale in (NORMAL, LARGE)
        )
        return sigmoid((cv2.resize(usual, large.shape[::-1]) + large) / 4)

    def logits(self, frame: np.ndarray, scale: float) -> np.ndarray:
        grid = nearest_input_size((frame.shape[1], frame.shape[0]), scale)
        much = frame.shape[1] > 2.5 * grid[0]
        image = cv2.resize(frame, grid, interpolation=cv2.INTER_AREA if much else cv2.INTER_LINEAR)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32)  # [h,w,3]
        return self.engine(image)  # [h/4,w/4]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def nearest_input_size(size: tuple[int, int], scale: float = NORMAL) -> tuple[int, int]:
    """The input size whose shape is nearest to that of `size`, both (width, height)."""
    aspect = np.log(size[0] / size[1])
    grid = min(INPUT_SIZES, key=lambda grid: abs(np.log(grid[0] / grid[1]) - aspect))
    return scaled_size(grid, scale)


def scaled_size(grid: tuple[int, int], scale: float) -> tuple[int, int]:
    """The grid with its sides times `scale`, as multiples of 16."""
    width, height = (round(side * scale / 16) * 16 for side in grid)
    return width, height


# What the network is compiled for.
COMPILED_SIZES = [scaled_size(grid, scale) for grid in INPUT_SIZES for scale in SCALES]
