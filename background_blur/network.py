"""DeepLabV3 with a MobileNetV2 backbone, in Keras 3: two networks from one builder.

`voc` is the original network for 21 PASCAL VOC classes, with the layers of the well-known Keras
port, so that its weights load. `person`, which the program runs, keeps that backbone and head
and adds the decoder of DeepLabV3+. A `Design` says how wide it is, how fine its mask is and what it
outputs.

Papers: MobileNetV2, arXiv:1801.04381. DeepLabV3, arXiv:1706.05587. DeepLabV3+, arXiv:1802.02611.
Importing this module imports Keras; by default the program runs a compiled copy instead.
"""

import json
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import keras
from keras import layers, ops

from background_blur.errors import WeightsError

TRAIN_HINT = "give a .weights.h5 written by tools/training/train.py or tools/training/export.py"
VOC_CLASSES = 21
VOC_PERSON = 15

Tensor = Any  # symbolic (keras.KerasTensor) while a network is built; untyped in Keras
Shape = tuple[Any, ...]  # None for a side, in pixels, that may have any length

# (channels, stride, expansion) of blocks `expanded_conv_0..16`; table 2 of the MobileNetV2 paper.
BLOCKS = (
    [(16, 1, 1)]
    + [(24, 2, 6), (24, 1, 6)]
    + [(32, 2, 6), (32, 1, 6), (32, 1, 6)]
    + [(64, 2, 6), (64, 1, 6), (64, 1, 6), (64, 1, 6)]
    + [(96, 1, 6), (96, 1, 6), (96, 1, 6)]
    + [(160, 2, 6), (160, 1, 6), (160, 1, 6)]
    + [(320, 1, 6)]
)


@dataclass(frozen=True)
class Design:
    """What a person network looks like.

    `width` scales the channels of the backbone (MobileNetV2's alpha). `mask_stride`, 4 or 2, is how
    much coarser the mask is than the input. `outputs` names the logits: "person" is anyone,
    "front" the person or people nearest to the camera, without those behind them.
    """

    width: float = 1.0
    mask_stride: int = 4
    outputs: tuple[str, ...] = ("person",)


COARSE = Design()
FULL = Design(mask_stride=2, outputs=("person", "front"))  # of the bundled weights
SLIM = replace(FULL, width=0.5)


def build(
    network: str = "person",
    output_stride: int = 16,
    size: tuple[int | None, int | None] = (None, None),
    design: Design = FULL,
) -> keras.Model:
    """Builds a network without weights.

    Args:
        network: `"person"` or `"voc"`.
        output_stride: 8, 16 or 32, how much coarser the deepest features are than the input.
            Dilation makes up for the omitted strides without changing any kernel's shape, so one
            set of weights serves all three.
        size: (width, height) of the input in pixels, multiples of `output_stride`; None for any.
        design: for `person`; `voc` uses only its width.

    Returns:
        A model from float32 [n,h,w,3] RGB in 0..255 to float32 logits: [n,h/s,w/s,outputs] for
        `person`, s its `mask_stride`; [n,h,w,21] for `voc`.
    """
    width, height = size
    image = layers.Input((height, width, 3), name="image")
    x = layers.Rescaling(1 / 127.5, -1, name="normalise")(image)
    x, skips = backbone(x, output_stride, design.width)  # [n,h/os,w/os,320 * width]
    x = head(x)  # [n,h/os,w/os,256]
    if network == "voc":
        x = layers.Dropout(0.1)(x)
        x = layers.Conv2D(VOC_CLASSES, 1, name="logits_semantic")(x)
        x = layers.UpSampling2D(output_stride, interpolation="bilinear", name="upsample")(x)
    elif network == "person":
        x = decoder(x, skips, output_stride, design)  # [n,h/s,w/s,outputs]
    else:
        raise ValueError(f"unknown network {network!r}: use 'person' or 'voc'")
    return keras.Model(image, x, name=network)


def backbone(x: Tensor, output_stride: int, width: float = 1.0) -> tuple[Tensor, dict[int, Tensor]]:
    """MobileNetV2; returns its last features and the skips {stride: features} at 2, 4 and 8."""
    x = conv_bn(x, "Conv", round(32 * width), 3, stride=2, relu=6)  # [n,h/2,w/2,32]
    stem, stride, rate, skips = x, 2, 1, {}
    for i, (channels, block_stride, expansion) in enumerate(BLOCKS):
        channels = round(channels * width)
        if stride * block_stride > output_stride:
            x = inverted_residual(x, i, channels, 1, rate, expansion)
            rate *= block_stride  # from the next block on
        else:
            stride *= block_stride
            x = inverted_residual(x, i, channels, block_stride, rate, expansion)
        skips[i] = x
    return x, {2: stem, 4: skips[2], 8: skips[5]}


def inverted_residual(
    x: Tensor, i: int, channels: int, stride: int, rate: int, expansion: int
) -> Tensor:
    """Expand 1x1, depthwise 3x3, project 1x1 without an activation; figure 4 of the paper."""
    prefix = f"expanded_conv_{i}_" if i else "expanded_conv_"
    shortcut = x
    if expansion > 1:
        x = conv_bn(x, prefix + "expand", expansion * x.shape[-1], relu=6)
    x = depthwise_bn(x, prefix + "depthwise", stride, rate, relu=6)
    x = conv_bn(x, prefix + "project", channels)
    if stride == 1 and shortcut.shape[-1] == channels:
        x = layers.Add(name=prefix + "add")([shortcut, x])
    return x


def head(x: Tensor) -> Tensor:
    """ASPP with its image-level branch and one 1x1 branch, as in the mobile DeepLabV3."""
    pooled = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)  # [n,1,1,320]
    pooled = conv_bn(pooled, "image_pooling", 256, epsilon=1e-5, relu=True)
    x = conv_bn(x, "aspp0", 256, epsilon=1e-5, relu=True)
    x = ConcatProjection(256, name="concat_projection")([pooled, x])
    return norm(x, "concat_projection_BN", epsilon=1e-5, relu=True)


def decoder(x: Tensor, skips: dict[int, Tensor], output_stride: int, design: Design) -> Tensor:
    """DeepLabV3+'s decoder, upsampling in small steps to stride 8, 4 and, for a fine mask, 2."""
    x = conv_bn(x, "decoder_project", 64, relu=True)
    x = layers.UpSampling2D(output_stride // 8, interpolation="bilinear", name="up_8")(x)
    x = fuse(x, skips[8], "decoder_8", skip_channels=32, channels=64)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="up_4")(x)
    x = fuse(x, skips[4], "decoder_4", skip_channels=24, channels=48)
    channels = 48
    if design.mask_stride == 2:
        channels = 24
        x = conv_bn(x, "decoder_narrow", channels, relu=True)
        x = layers.UpSampling2D(2, interpolation="bilinear", name="up_2")(x)
        x = fuse(x, skips[2], "decoder_2", skip_channels=16, channels=channels)
    x = depthwise_bn(x, "decoder_refine_depthwise")
    x = conv_bn(x, "decoder_refine", channels, relu=True)
    name = "person_logit" if len(design.outputs) == 1 else "logits"
    return layers.Conv2D(len(design.outputs), 1, name=name)(x)


def fuse(x: Tensor, skip: Tensor, name: str, skip_channels: int, channels: int) -> Tensor:
    """Joins features with the backbone's finer ones; a separable 3x3 mixes them."""
    skip = conv_bn(skip, name + "_skip", skip_channels, relu=True)
    x = layers.Concatenate(name=name + "_concat")([x, skip])
    x = depthwise_bn(x, name + "_depthwise")
    return conv_bn(x, name, channels, relu=True)


def conv_bn(
    x: Tensor,
    name: str,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    epsilon: float = 1e-3,
    relu: bool | int = False,
) -> Tensor:
    """A convolution without a bias, followed by `norm`."""
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return norm(x, name + "_BN", epsilon, relu)


def depthwise_bn(
    x: Tensor,
    name: str,
    stride: int = 1,
    rate: int = 1,
    epsilon: float = 1e-3,
    relu: bool | int = False,
) -> Tensor:
    """A depthwise 3x3 convolution without a bias, followed by `norm`."""
    conv = layers.DepthwiseConv2D(
        3, stride, padding="same", dilation_rate=rate, use_bias=False, name=name
    )
    return norm(conv(x), name + "_BN", epsilon, relu)


def norm(x: Tensor, name: str, epsilon: float = 1e-3, relu: bool | int = False) -> Tensor:
    """Batch norm, then ReLU (True), ReLU6 (6) or nothing.

    It is frozen, so it uses its stored statistics even in training: `tools/training/fold.py` folds
    what remains of it, a gain and a bias per channel, into the preceding convolution.
    """
    x = layers.BatchNormalization(epsilon=epsilon, trainable=False, name=name)(x)
    return layers.ReLU(max_value=6 if relu == 6 else None)(x) if relu else x


@keras.saving.register_keras_serializable("deeplab")
class ConcatProjection(layers.Layer):
    """1x1 convolution of [pooled, x] along channels, without spreading `pooled` over the plane.

    The pooled branch is the same at every pixel, so with the kernel split at the seam,
    conv(concat(pooled, x)) = x·K_x + pooled·K_pooled exactly: cheaper, and for any input size.
    """

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, input_shape: tuple[Shape, Shape]) -> None:
        pooled, x = input_shape
        self.seam = pooled[-1]
        shape = (1, 1, pooled[-1] + x[-1], self.channels)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        pooled, x = inputs  # [n,1,1,c], [n,h,w,d]
        return ops.add(
            ops.conv(x, self.kernel[:, :, self.seam :]),
            ops.conv(pooled, self.kernel[:, :, : self.seam]),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


def layers_with_weights(model: keras.Model) -> list[layers.Layer]:
    return [layer for layer in model.layers if layer.weights]


def save_person(net: keras.Model, design: Design, path: str | Path) -> None:
    """Writes the weights of a person network, and its design, as a `.weights.h5`."""
    net.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.attrs["design"] = json.dumps(asdict(design))


def read_design(path: str | Path) -> Design:
    """Reads the design of the network stored in a `.weights.h5`; COARSE if none is stored.

    Raises:
        WeightsError: not such a file.
    """
    try:
        with h5py.File(path, "r") as file:
            stored = json.loads(file.attrs.get("design", "{}"))
        return Design(**{**stored, "outputs": tuple(stored.get("outputs", COARSE.outputs))})
    except (OSError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not weights of the person network", TRAIN_HINT) from error


def load_person(path: str | Path) -> tuple[keras.Model, Design]:
    """Loads the person network with the weights of a `.weights.h5`, and its design.

    Raises:
        WeightsError: not such a file, or the weights of another network.
    """
    design = read_design(path)
    net = build("person", design=design)
    try:
        with warnings.catch_warnings(action="error"):  # Keras only warns about layers it skips
            net.load_weights(path)
    except (OSError, KeyError, ValueError, RuntimeError, UserWarning) as error:
        raise WeightsError(f"{path}: not weights of the person network", TRAIN_HINT) from error
    return net, design
