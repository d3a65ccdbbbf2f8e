"""Turns the Coral DeepLabV3 `.tflite` into Keras weights, from which training starts.

The file holds Google's DeepLabV3 with MobileNetV2, trained on PASCAL VOC 2012, as uint8 with one
scale and zero point per tensor, and with batch norms folded into kernels and biases:

    python -m tools.training.convert_weights deeplabv3_mnv2_pascal_quant.tflite voc.weights.h5
"""

import re
import sys
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

import model
from background_blur.errors import WeightsError
from tools.command import ToolError, command_line, existing_file, reports_errors


def load_coral(net: keras.Model, path: str | Path) -> list[str]:
    """Sets every layer of `net` that is in the file; returns the names of the layers it set.

    A folded bias becomes the beta of the batch norm after its kernel, whose gamma is set to 1,
    mean to 0 and variance to 1 - epsilon, which leaves x + beta.

    Raises:
        WeightsError: not a `.tflite`, or a kernel whose shape is not the layer's.
    """
    kernels, biases = read_coral(path)
    layers = {layer.name: layer for layer in net.layers}
    done = []
    for name in sorted(kernels.keys() & layers.keys()):
        layer, kernel = layers[name], kernels[name]
        if kernel.shape != tuple(layer.weights[0].shape):
            raise WeightsError(f"{path}: {name} is {kernel.shape}")
        if len(layer.weights) == 2:
            layer.set_weights([kernel, biases[name]])
        else:
            layer.set_weights([kernel])
            norm = layers[name + "_BN"]
            norm.set_weights(identity_norm(biases[name], norm.epsilon))
            done.append(norm.name)
        done.append(name)
    return done


def read_coral(path: str | Path) -> tuple[dict, dict]:
    """Returns ({layer: kernel}, {layer: bias}) as float32.

    Kernels [out,h,w,in] become [h,w,in,out]; likewise, depthwise ones [1,h,w,c] become [h,w,c,1].
    """
    try:
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: not a .tflite that can be read") from error
    kernels, biases = {}, {}
    for tensor in interpreter.get_tensor_details():
        first = tensor["name"].split(";")[0]
        name = re.match(
            r"(?:MobilenetV2/)?((?:\w+?/)*?\w+)/[^/]*(?:Fold|fold|BiasAdd|Conv2D)", first
        )
        is_kernel = "weights_quant" in tensor["name"] and len(tensor["shape"]) == 4
        is_bias = tensor["dtype"] is np.int32 and len(tensor["shape"]) == 1
        if name and (is_kernel or is_bias):
            value = dequantise(interpreter.get_tensor(tensor["index"]), tensor["quantization"])
            if is_kernel:
                kernels[name[1].replace("/", "_")] = value.transpose(1, 2, 3, 0)
            else:
                biases[name[1].replace("/", "_")] = value
    return kernels, biases


def dequantise(value: np.ndarray, quantization: tuple[float, int]) -> np.ndarray:
    scale, zero_point = quantization
    return (scale * (value.astype(np.float64) - zero_point)).astype(np.float32)


def identity_norm(beta: np.ndarray, epsilon: float) -> list[np.ndarray]:
    """Weights [gamma, beta, mean, variance] of a batch norm that only adds `beta`."""
    one, zero = np.ones_like(beta), np.zeros_like(beta)
    return [one, beta, zero, one - np.float32(epsilon)]


@reports_errors("training.convert_weights")
def main(argv: list[str] | None = None) -> int:
    parser = command_line("training.convert_weights", __doc__)
    parser.add_argument("tflite", type=existing_file)
    parser.add_argument("out", type=Path, help="a .weights.h5 file for model.build('voc')")
    args = parser.parse_args(argv)
    net = model.build("voc")
    done = load_coral(net, args.tflite)
    missing = {layer.name for layer in model.layers_with_weights(net)} - set(done)
    if missing:
        raise ToolError(f"{args.tflite}: no weights for {', '.join(sorted(missing))}")
    net.save_weights(args.out)
    print(f"{len(done)} layers -> {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
