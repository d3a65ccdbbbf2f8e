"""Compiles the person network's Keras weights for LiteRT, one entry point an input size.

    python -m tools.export weights/person.weights.h5 weights/person.tflite

Of several weights, of runs that began alike, it takes the mean, which often does better than each
(Wortsman et al. 2022, arXiv:2203.05482).

The weights become constants, stored once as float16, which all entry points share. Rounded so,
they are also saved for Keras beside the output, as `.weights.h5`: the two files are then the same
network to within 0.001 of a probability. Last, the `SHA256SUMS` there are renewed.
"""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

import model
from background_blur.errors import WeightsError
from background_blur.matting.segmenter import COMPILED_SIZES


def load_mean(paths: list[Path]) -> tuple[keras.Model, model.Design]:
    """The person network with the mean of the weights in the files, and its design.

    Raises:
        WeightsError: weights that cannot be read, or of different designs.
    """
    net, design = model.load_person(paths[0])
    loaded = [net.get_weights()]
    for path in paths[1:]:
        other, its_design = model.load_person(path)
        if its_design != design:
            raise WeightsError(f"{path}: of another design than {paths[0]}")
        loaded.append(other.get_weights())
    net.set_weights([np.mean(same, axis=0) for same in zip(*loaded, strict=True)])
    return net, design


def round_to_half(net: keras.Model) -> None:
    """Rounds the weights to what float16 can hold.

    The variances stay, since with them a norm that `tools/fold.py` unfolded multiplies by 1.
    """
    for weight in net.weights:
        if weight.name != "moving_variance":
            weight.assign(keras.ops.cast(keras.ops.cast(weight, "float16"), "float32"))


def compile_network(net: keras.Model, sizes=COMPILED_SIZES) -> bytes:
    """The network as a LiteRT file with a signature `WxH` for each (width, height) of `sizes`.

    Each maps `image`, float32 [1,h,w,3] RGB 0..255, to `logits`, float32 [1,h/s,w/s,outputs].
    """
    module = tf.Module()  # saving finds the variables in its attributes, whatever their names
    module.weights = [weight.value for weight in net.weights]  # pyright: ignore[reportAttributeAccessIssue]
    signatures = {f"{w}x{h}": entry_point(net, w, h) for w, h in sizes}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures)
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        return without_names(converter.convert())


def without_names(file: bytes) -> bytes:
    """A LiteRT file without the names of its tensors, a seventh of it; signatures stay."""
    content = schema.ModelT.InitFromPackedBuf(file, 0)
    for graph in content.subgraphs or ():
        for tensor in graph.tensors or ():
            tensor.name = ""
    builder = flatbuffers.Builder(len(file))
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def entry_point(net: keras.Model, width: int, height: int):
    given = keras.layers.Input((height, width, 3))
    sized = keras.Model(given, net(given))
    spec = tf.TensorSpec((1, height, width, 3), tf.float32, "image")

    @tf.function(input_signature=[spec], autograph=False)
    def call(image):
        return {"logits": sized(image, training=False)}

    return call.get_concrete_function()


def write_sums(folder: Path) -> None:
    """Writes `SHA256SUMS` of the weights in a folder, in the form of `sha256sum`."""
    files = sorted([*folder.glob("*.h5"), *folder.glob("*.tflite")])
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = "a .weights.h5 of the person network; several: their mean"
    parser.add_argument("weights", type=Path, nargs="+", help=what)
    parser.add_argument("out", type=Path, help="the .tflite to write")
    args = parser.parse_args()
    try:
        net, design = load_mean(args.weights)
    except WeightsError as error:
        raise SystemExit(str(error)) from error
    round_to_half(net)
    model.save_person(net, design, args.out.with_suffix(".weights.h5"))
    args.out.write_bytes(compile_network(net))
    write_sums(args.out.parent)


if __name__ == "__main__":
    main()
