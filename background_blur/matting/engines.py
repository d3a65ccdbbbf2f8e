"""Loads the person network: the compiled copy (LiteRT) or the original (Keras)."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from background_blur.errors import WeightsError
from background_blur.frames import Size
from background_blur.matting.segmenter import (
    COMPILED_SIZES,
    Engine,
    PersonSegmenter,
    ThoroughSegmenter,
)
from background_blur.resources import RESOURCES
from background_blur.system import suppress_stderr

WEIGHTS = RESOURCES / "weights"
DEFAULT_WEIGHTS = {"litert": WEIGHTS / "person.tflite", "keras": WEIGHTS / "person.weights.h5"}
NOT_COMPILED = "not the compiled person network; give a .tflite written by tools/training/export.py"

SIZES_READY = 4  # input sizes: one for the whole frame and one for the people, at two scales each

# The field numbers in the tables `Model` and `SignatureDef` of LiteRT's schema.fbs.
SUBGRAPHS, SIGNATURE_DEFS = 2, 7
KEY, SUBGRAPH_INDEX = 2, 4


def open_segmenter(
    engine: str = "litert",
    weights: Path | None = None,
    threads: int = 2,
    thorough: bool = False,
) -> PersonSegmenter:
    """Checks the weights and loads them into an engine.

    Args:
        thorough: run the network four times on each picture, for unrelated ones.

    Raises:
        WeightsError: no such file, a damaged one, or one of another network.
    """
    path = weights or DEFAULT_WEIGHTS[engine]
    if engine == "keras" and not (weights or path.exists()):
        hint = "clone the repository, which has it, and run --engine keras there"
        raise WeightsError(f"{path.name}: not installed", hint)
    content = read_weights(path)
    kind = ThoroughSegmenter if thorough else PersonSegmenter
    if engine == "litert":
        return kind(open_litert(path, content, threads))
    return kind(open_keras(path, threads))


def read_weights(path: Path) -> bytes:
    """Reads the file, and checks it against the `SHA256SUMS` next to it if that lists it."""
    hint = "give --weights or fetch the repository again"
    if not path.is_file():
        what = "not a file" if path.exists() else "no such weights file"
        raise WeightsError(f"{path}: {what}; {hint}")
    sums = path.with_name("SHA256SUMS")
    try:
        content = path.read_bytes()
        lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}; {hint}") from error
    sums_of = (line.partition(" ") for line in lines)  # "DIGEST  NAME" or "DIGEST *NAME"
    known = {name.lstrip(" *"): digest for digest, _, name in sums_of}
    digest = hashlib.sha256(content).hexdigest()
    if known.get(path.name, digest) != digest:
        raise WeightsError(
            f"{path}: damaged (its sha256 is not the one in {sums.name}); fetch it again"
        )
    return content


def open_litert(path: Path, content: bytes, threads: int) -> Engine:
    """Opens a compiled network, which has a signature for each input size, in LiteRT.

    A size is prepared on first use, in about 10 ms, and the last few are kept. Left to itself,
    LiteRT prepares all 15 at once, and packs the weights anew for each.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        signatures = Interpreter(model_content=content).get_signature_list()
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: {NOT_COMPILED}") from error
    if not signatures.keys() >= {signature_name(size) for size in COMPILED_SIZES}:
        raise WeightsError(f"{path}: {NOT_COMPILED}")

    @lru_cache(SIZES_READY)
    def runner(name: str) -> Callable[..., dict[str, np.ndarray]]:
        model = with_one_signature(content, name)
        with suppress_stderr():
            interpreter = Interpreter(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
        return interpreter.get_signature_runner(name)

    def run(image: np.ndarray) -> np.ndarray:
        return runner(signature_name(image.shape[1::-1]))(image=image[None])["logits"][0]

    return run


def signature_name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def with_one_signature(model: bytes, name: str) -> bytes:
    """Reduces a LiteRT file with many signatures to this one, keeping its length.

    The file is a FlatBuffer. Its root table, `Model` in LiteRT's schema.fbs, has the vectors
    `subgraphs` and `signature_defs`; each is cut down to one entry, the one that is wanted.
    """
    from flatbuffers import encode, packer
    from flatbuffers.table import Table

    data = bytearray(model)
    root = Table(data, encode.Get(packer.uoffset, data, 0))

    def entries(field: int) -> list[int]:
        """Returns the positions of the entries of the vector in that field of the root table."""
        offset = root.Offset(4 + 2 * field)
        start = root.Vector(offset)
        return [start + 4 * index for index in range(root.VectorLen(offset))]

    def keep(places: list[int], index: int) -> None:
        target = root.Indirect(places[index])
        encode.Write(packer.uoffset, data, places[0], target - places[0])
        encode.Write(packer.uoffset, data, places[0] - 4, 1)  # the vector's length

    signatures = entries(SIGNATURE_DEFS)
    for number, place in enumerate(signatures):
        signature = Table(data, root.Indirect(place))
        if signature.String(signature.Pos + signature.Offset(4 + 2 * KEY)) == name.encode():
            index = signature.Offset(4 + 2 * SUBGRAPH_INDEX)  # 0: omitted, since the index is 0
            at = signature.Pos + index
            keep(entries(SUBGRAPHS), encode.Get(packer.uint32, data, at) if index else 0)
            keep(signatures, number)
            if index:
                encode.Write(packer.uint32, data, at, 0)
            break
    return bytes(data)


def open_keras(path: Path, threads: int) -> Engine:
    """The original network, in Keras on TensorFlow. Raises WeightsError."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with suppress_stderr():  # TensorFlow reports each GPU that it does not find
            import tensorflow as tf
    except ImportError as error:
        hint = "in a clone of the repository run: pip install -r requirements.txt"
        raise WeightsError("--engine keras needs TensorFlow", hint) from error
    with suppress(RuntimeError):  # too late if TensorFlow is already running
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    with suppress_stderr():
        from background_blur.network import load_person

        net, _ = load_person(path)

    @tf.function(autograph=False)
    def run(images: tf.Tensor) -> tf.Tensor:
        return net(images, training=False)[0]

    return lambda image: run(tf.constant(image[None])).numpy()
