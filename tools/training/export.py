"""Compiles the person network's Keras weights for LiteRT, with one entry point per input size.

    python -m tools.training.export weights/person.weights.h5 weights/person.tflite --data DIR

Given several weights, from runs that began alike, it takes the mean, which often does better than
each (Wortsman et al. 2022, arXiv:2203.05482); `a.weights.h5:0.75 b.weights.h5:0.25` weights it.

The compiled copy computes in int8, in half the time of floats on processors with instructions for
it. That requires the range of each layer's output, taken from pictures in `DIR/train`. Only the
projection that joins the image-level branch stays in floats. The weights become constants shared by
all entry points. They are also saved for Keras next to the output, in floats, as `.weights.h5`;
`SHA256SUMS` in the same folder holds the checksums of both.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

import model
from background_blur.errors import WeightsError
from background_blur.frames import Size
from background_blur.matting.segmenter import COMPILED_SIZES
from tools.command import command_line, existing_folder, reports_errors
from tools.photos import read_photos
from tools.training.dataset import Batches
from tools.training.fold import fix_limits, fold, unfold

LOGITS = (-8, 8)  # outside, the probability is 0 or 1; inside, it has steps of at most 0.016


def weighted(text: str) -> tuple[Path, float]:
    """ "FILE:WEIGHT", or "FILE" with a weight of 1."""
    path, _, weight = text.rpartition(":")
    if not path or not re.fullmatch(r"\d*\.?\d+", weight):
        return Path(text), 1.0
    if not float(weight):
        raise argparse.ArgumentTypeError(f"{text}: the weight must not be 0")
    return Path(path), float(weight)


def load_mean(files: list[tuple[Path, float]]) -> tuple[keras.Model, model.Design]:
    """The person network with the weighted mean of the files' weights, and its design.

    Equivalent networks may have different weights, if their norms and kernels are scaled inversely.
    So each is first brought into a form in which its norms only add a bias.

    Raises:
        WeightsError: the weights cannot be read, or are for different designs.
    """
    loaded = [model.load_person(path) for path, _ in files]
    net, design = loaded[0]
    for (path, _), (other, its_design) in zip(files, loaded, strict=True):
        if its_design != design:
            raise WeightsError(f"{path}: of a different design than {files[0][0]}")
        unfold(fold(other), other)
    same = zip(*(other.get_weights() for other, _ in loaded), strict=True)
    shares = [share for _, share in files]
    net.set_weights([np.average(weights, 0, shares) for weights in same])
    return net, design


def pictures(data: Path) -> list[np.ndarray]:
    """A batch of training pictures for each input size, float32 [8,h,w,3] RGB 0..255."""
    batches = Batches(read_photos(data / "train"), 8)
    return [batches.batch(i, size)[0] for i, size in enumerate(COMPILED_SIZES)]


def compile_network(
    net: keras.Model, batches: Iterable[np.ndarray], sizes: Sequence[Size] = COMPILED_SIZES
) -> bytes:
    """The network in int8, as a LiteRT file with a signature `WxH` for each of `sizes`.

    Each maps `image`, float32 [1,h,w,3] RGB 0..255, to `logits`, float32 [1,h/s,w/s,outputs].

    Args:
        batches: images, float32 [n,h,w,3] RGB 0..255, from which to take the ranges of features.
    """
    rounded = fold(net, rounded=True)
    fix_limits(rounded, batches)
    module = tf.Module()  # saving finds variables in its attributes, whatever their names
    module.weights = [weight.value for weight in rounded.weights]  # pyright: ignore[reportAttributeAccessIssue]
    signatures = {f"{w}x{h}": entry_point(rounded, w, h) for w, h in sizes}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures)
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return without_repetition(converter.convert())


class Once:
    """A FlatBuffer table that is written once, however many others refer to it."""

    def __init__(self, table: Any):
        self.table, self.place = table, 0

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802, as generated classes name it
        self.place = self.place or self.table.Pack(builder)
        return self.place


def without_repetition(file: bytes) -> bytes:
    """Shrinks a LiteRT file to a third: its entry points share equal quantisation tables.

    Tensor names are removed, too.
    """
    content, shared = schema.ModelT.InitFromPackedBuf(file, 0), {}
    for graph in content.subgraphs or ():
        for tensor in graph.tensors or ():
            tensor.name = ""
            table = tensor.quantization
            if table and table.scale is not None and table.zeroPoint is not None:
                key = (tuple(table.scale), tuple(table.zeroPoint), table.quantizedDimension)
                tensor.quantization = shared.setdefault(key, Once(table))
    builder = flatbuffers.Builder(len(file))
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def entry_point(net: keras.Model, width: int, height: int) -> Any:
    given = keras.layers.Input((height, width, 3))
    sized = keras.Model(given, net(given))
    spec = tf.TensorSpec((1, height, width, 3), tf.float32, "image")

    @tf.function(input_signature=[spec], autograph=False)
    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = sized(image, training=False)
        return {"logits": tf.quantization.fake_quant_with_min_max_args(logits, *LOGITS)}

    return call.get_concrete_function()


def write_sums(*files: Path) -> None:
    """Writes `SHA256SUMS` next to the files, in the format of `sha256sum`."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    files[0].with_name("SHA256SUMS").write_text("".join(lines))


@reports_errors("training.export")
def main(argv: list[str] | None = None) -> int:
    parser = command_line("training.export", __doc__)
    what = "a .weights.h5 of the person network; given several, their mean is used"
    add = parser.add_argument
    add("weights", type=weighted, nargs="+", metavar="WEIGHTS[:SHARE]", help=what)
    add("out", type=Path, help="the .tflite to write")
    what = "data set whose train/ provides the ranges for int8"
    add("--data", type=existing_folder, required=True, metavar="DIR", help=what)
    args = parser.parse_args(argv)
    net, design = load_mean(args.weights)
    compiled = compile_network(net, pictures(args.data))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(compiled)
    original = args.out.with_suffix(".weights.h5")
    model.save_person(net, design, original)
    write_sums(args.out, original)
    return 0


if __name__ == "__main__":
    sys.exit(main())
