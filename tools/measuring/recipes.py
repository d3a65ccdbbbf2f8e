"""Other ways to blur a background, which ours is timed against, each a function of a frame.

Each takes uint8 [H,W,3] BGR and returns a finished frame of the same kind.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from background_blur.system import suppress_stderr
from tools.command import ToolError

Recipe = Callable[[np.ndarray], np.ndarray]

ORIGINAL_WIDTH, ORIGINAL_INPUT = 512, 512  # pixels


def original(threads: int) -> Recipe:
    """What this program began as: Keras `predict` of the 21-class network at output stride 8.

    Every class but background is kept. The weights are random, which does not affect the time.
    """
    import imutils

    try:
        import tensorflow as tf

        import model
    except ImportError as error:
        hint = "pip install -r requirements.txt"
        raise ToolError("--original needs TensorFlow and Keras", hint) from error

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    net = model.build("voc", 8)

    def run(image: np.ndarray) -> np.ndarray:
        frame = imutils.resize(image, width=ORIGINAL_WIDTH)
        square = cv2.resize(frame, (ORIGINAL_INPUT, ORIGINAL_INPUT))
        square = cv2.cvtColor(square, cv2.COLOR_BGR2RGB)
        batch = square[None].astype(np.float32)
        # [512,512,21]. Keras has no annotation of `verbose`, and its default is a string.
        logits = net.predict(batch, verbose=0)[0]  # pyright: ignore[reportArgumentType]
        labels = logits.argmax(-1).astype(np.uint8)
        labels = cv2.resize(labels, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        blurred = cv2.GaussianBlur(frame, (81, 81), 0)
        frame[labels == 0] = blurred[labels == 0]
        return frame

    return run


def mediapipe(path: Path, threads: int) -> Recipe:
    """The documented recipe of MediaPipe Selfie Segmentation, at full size.

    Raises:
        ToolError: a different kind of network.
    """
    mask_of = mask_network(path, threads)
    return lambda image: composite(image, mask_of(image) > 0.1)


def rvm(alpha_of: Callable[[np.ndarray], np.ndarray]) -> Recipe:
    """Robust Video Matting, given its alpha, float32 [H,W]; composited as in `mediapipe`."""
    return lambda image: composite(image, alpha_of(image) > 0.5)


def load(path: Path, threads: int) -> Any:
    """Loads a network into LiteRT's interpreter.

    Raises:
        ToolError: not a network that LiteRT can run.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        with suppress_stderr():
            net = Interpreter(str(path), num_threads=threads)
            net.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ToolError(f"{path}: not a .tflite that LiteRT can run") from error
    return net


def mask_network(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Loads a network from [1,h,w,3] RGB 0..1 to [1,h,w,1], for frames of any size.

    Returns:
        A function from uint8 [H,W,3] BGR to float32 [H,W], the probability of a person, 0..1.

    Raises:
        ToolError: a different kind of network.
    """
    net = load(path, threads)
    (given, *more_given), (made, *more_made) = net.get_input_details(), net.get_output_details()
    shape, shape_made = list(given["shape"]), list(made["shape"])
    if more_given or more_made or shape != [1, *shape[1:3], 3] or shape_made != [*shape[:3], 1]:
        raise ToolError(f"{path}: takes {shape} and gives {shape_made}, not a picture and a mask")

    def mask_of(image: np.ndarray) -> np.ndarray:
        small = cv2.cvtColor(cv2.resize(image, (shape[2], shape[1])), cv2.COLOR_BGR2RGB)
        net.set_tensor(given["index"], small[None].astype(np.float32) / 255)
        net.invoke()
        return cv2.resize(net.get_tensor(made["index"])[0, ..., 0], image.shape[1::-1])

    return mask_of


def composite(image: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Puts the person, bool [H,W] or [H,W,1], over the blurred frame, as MediaPipe's guide does."""
    person = np.broadcast_to(person.reshape(*image.shape[:2], 1), image.shape)
    return np.where(person, image, cv2.GaussianBlur(image, (55, 55), 0))
