"""frame -> mask: runs the person network on one frame.

Two engines run the same network: LiteRT the compiled copy (default; TensorFlow is never imported)
and Keras the original. Both are plain functions from an image to logits.
"""

import hashlib
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from quiet import hushed

# The network's input sizes, (width, height): the shapes of cameras and photographs, all of about
# the same area, multiples of 16. A frame goes to the one nearest in shape, hardly squashed.
GRIDS = ((320, 176), (272, 208), (240, 240), (208, 272), (176, 320))
SMALL, USUAL, LARGE = SCALES = 0.7, 1.0, 2.0  # sides over those: in need, live, for pictures

Engine = Callable[[np.ndarray], np.ndarray]  # float32 [h,w,3] RGB 0..255 -> logits [h/4,w/4]

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_WEIGHTS = {"litert": WEIGHTS / "person.tflite", "keras": WEIGHTS / "person.weights.h5"}


class WeightsError(Exception):
    """Weights that are missing, damaged or another network's; one line fit for the user."""


class PersonSegmenter:
    """Tells which part of a frame is person."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def __call__(self, frame: np.ndarray, scale: float = USUAL) -> np.ndarray:
        """uint8 [H,W,3] BGR -> float32 [h,w], the probability of person, a quarter of a grid."""
        return sigmoid(self.logits(frame, scale))

    def thorough(self, frame: np.ndarray) -> np.ndarray:
        """The same at a quarter of a large grid, by four looks, where there is time for them.

        The usual grid knows best what is whole, the large one finds the small and far; of each
        the mean with its mirror image is steadier.
        """
        mirrored = cv2.flip(frame, 1)
        usual, large = (
            self.logits(frame, scale) + self.logits(mirrored, scale)[:, ::-1]
            for scale in (USUAL, LARGE)
        )
        return sigmoid((cv2.resize(usual, large.shape[::-1]) + large) / 4)

    def logits(self, frame: np.ndarray, scale: float) -> np.ndarray:
        grid = nearest_grid((frame.shape[1], frame.shape[0]), scale)
        much = frame.shape[1] > 2.5 * grid[0]
        image = cv2.resize(frame, grid, interpolation=cv2.INTER_AREA if much else cv2.INTER_LINEAR)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32)  # [h,w,3]
        return self.engine(image)  # [h/4,w/4]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def nearest_grid(size: tuple[int, int], scale: float = USUAL) -> tuple[int, int]:
    """The input size whose shape is nearest to that of `size`, both (width, height)."""
    aspect = np.log(size[0] / size[1])
    grid = min(GRIDS, key=lambda grid: abs(np.log(grid[0] / grid[1]) - aspect))
    return scaled(grid, scale)


def scaled(grid: tuple[int, int], scale: float) -> tuple[int, int]:
    """The grid with its sides times `scale`, as multiples of 16."""
    width, height = (round(side * scale / 16) * 16 for side in grid)
    return width, height


# What the network is compiled for.
SIZES = [scaled(grid, scale) for grid in GRIDS for scale in SCALES]


def open_segmenter(engine="litert", weights: Path | None = None, threads=2) -> PersonSegmenter:
    """Loads the weights, checked, into an engine.

    Raises:
        WeightsError: no such file, a damaged one, or one of another network.
    """
    path = weights or DEFAULT_WEIGHTS[engine]
    check_weights(path)
    opener = {"litert": open_litert, "keras": open_keras}[engine]
    return PersonSegmenter(opener(path, threads))


def check_weights(path: Path) -> None:
    """Compares the file with the `SHA256SUMS` beside it, where that names it."""
    hint = "give --weights or fetch the repository again"
    if not path.is_file():
        what = "not a file" if path.exists() else "no such weights file"
        raise WeightsError(f"{path}: {what}; {hint}")
    sums = path.with_name("SHA256SUMS")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}; {hint}") from error
    sums_of = (line.partition(" ") for line in lines)  # "DIGEST  NAME" or "DIGEST *NAME"
    known = {name.lstrip(" *"): digest for digest, _, name in sums_of}
    if known.get(path.name, digest) != digest:
        raise WeightsError(
            f"{path}: damaged (its sha256 is not the one in {sums.name}); fetch it again"
        )


def open_litert(path: Path, threads: int) -> Engine:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with hushed():
            interpreter = Interpreter(str(path), num_threads=threads)
            interpreter.allocate_tensors()
        runners = {size: interpreter.get_signature_runner(f"{size[0]}x{size[1]}") for size in SIZES}
    except (ValueError, RuntimeError) as error:
        hint = "give a .tflite written by tools/export.py"
        raise WeightsError(f"{path}: not the compiled person network; {hint}") from error

    def run(image: np.ndarray) -> np.ndarray:
        size = image.shape[1], image.shape[0]
        return runners[size](image=image[None])["logits"][0, ..., 0]

    return run


def open_keras(path: Path, threads: int) -> Engine:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise WeightsError(
            "--engine keras needs TensorFlow: pip install -r requirements.txt"
        ) from error
    import model

    with suppress(RuntimeError):  # too late where TensorFlow runs already
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    net = model.build("person")
    try:
        with warnings.catch_warnings(action="ignore"):  # the error says it once, in one line
            net.load_weights(path)
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        hint = "give a .weights.h5 written by tools/train.py"
        raise WeightsError(f"{path}: not weights of the person network; {hint}") from error

    @tf.function(autograph=False)
    def run(image):
        return net(image[None], training=False)[0, ..., 0]

    return lambda image: run(tf.constant(image)).numpy()
