"""Loads the person network: the compiled copy (LiteRT) or the original (Keras)."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from background_blur.errors import WeightsError
from background_blur.matting.segmenter import COMPILED_SIZES, Engine, PersonSegmenter
from background_blur.resources import RESOURCES
from background_blur.system import suppress_stderr

WEIGHTS = RESOURCES / "weights"
DEFAULT_WEIGHTS = {"litert": WEIGHTS / "person.tflite", "keras": WEIGHTS / "person.weights.h5"}


def open_segmenter(
    engine: str = "litert",
    weights: Path | None = None,
    threads: int = 2,
    load_network: Callable[[Path], Any] | None = None,
) -> PersonSegmenter:
    """Loads the weights, checked, into an engine.

    `load_network` makes the Keras network with the weights of a file, for the engine "keras".

    Raises:
        WeightsError: no such file, a damaged one, or one of another network.
    """
    path = weights or DEFAULT_WEIGHTS[engine]
    check_weights(path)
    if engine == "litert":
        return PersonSegmenter(open_litert(path, threads))
    assert load_network is not None, "the Keras engine needs load_network"
    return PersonSegmenter(open_keras(path, threads, load_network))


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
        with suppress_stderr():
            interpreter = Interpreter(str(path), num_threads=threads)
            interpreter.allocate_tensors()
        runners = {
            size: interpreter.get_signature_runner(f"{size[0]}x{size[1]}")
            for size in COMPILED_SIZES
        }
    except (ValueError, RuntimeError) as error:
        hint = "give a .tflite written by tools/export.py"
        raise WeightsError(f"{path}: not the compiled person network; {hint}") from error

    def run(image: np.ndarray) -> np.ndarray:
        return runners[image.shape[1], image.shape[0]](image=image[None])["logits"][0]

    return run


def open_keras(path: Path, threads: int, load_network: Callable[[Path], Any]) -> Engine:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with suppress_stderr():  # TensorFlow tells of each GPU that it does not find
            import tensorflow as tf
    except ImportError as error:
        raise WeightsError(
            "--engine keras needs TensorFlow: pip install -r requirements.txt"
        ) from error
    with suppress(RuntimeError):  # too late where TensorFlow runs already
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    with suppress_stderr():
        net = load_network(path)

    @tf.function(autograph=False)
    def run(images: tf.Tensor) -> tf.Tensor:
        return net(images, training=False)[0]

    return lambda image: run(tf.constant(image[None])).numpy()
