"""Moves batch norms with frozen statistics into their convolutions for training, and back out.

Such a norm is just a gain and a bias per channel. `fold` makes them part of the convolution before
it, which gives the same function at twice the speed. `unfold` turns what was learned into norms.

A folded network can also be trained with int8 rounding, much as `export` applies it: one scale per
output channel of a kernel and one per feature tensor. Gradients pass straight through (Jacob et al.
2018, arXiv:1712.05877).
"""

from collections.abc import Iterable
from typing import Any, cast

import keras
import numpy as np
from keras import layers

import model
from tools.training.convert_weights import identity_norm

Tensor = Any
ops = cast(Any, keras.ops)  # Keras's annotations let every operation return None
fake_quant = cast(Any, keras.quantizers).fake_quant_with_min_max_vars


class Gained(layers.Layer):
    """A convolution with a gain and a bias per channel: what remains of a frozen batch norm."""

    rounded = False  # whether its kernel is rounded to int8

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        channels = self.compute_output_shape(input_shape)[-1]
        self.gain = self.add_weight(name="gain", shape=(channels,), initializer="ones")
        self.shift = self.add_weight(name="shift", shape=(channels,), initializer="zeros")

    def rescaled(self, kernel: Tensor) -> Tensor:
        """The kernel, output channels last, times the gain; rounded to int8 if `rounded`."""
        kernel = kernel * self.gain
        if not self.rounded:
            return kernel
        limit = ops.stop_gradient(ops.max(ops.abs(kernel), (0, 1, 2))) + 1e-8
        return fake_quant(kernel, -limit, limit, narrow_range=True, axis=-1)


class GainedConv2D(Gained, layers.Conv2D):
    def call(self, x: Tensor) -> Tensor:
        return self.convolution_op(x, self.rescaled(self.kernel)) + self.shift


class GainedDepthwiseConv2D(Gained, layers.DepthwiseConv2D):
    def call(self, x: Tensor) -> Tensor:
        kernel = ops.swapaxes(self.rescaled(ops.swapaxes(self.kernel, 2, 3)), 2, 3)
        x = ops.depthwise_conv(
            x, kernel, self.strides, self.padding, dilation_rate=self.dilation_rate
        )
        return x + self.shift


class GainedConcatProjection(Gained, model.ConcatProjection):
    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (*input_shape[1][:-1], self.channels)

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        pooled, x = inputs
        kernel = self.rescaled(self.kernel)
        x = ops.conv(x, kernel[:, :, self.seam :])
        return x + ops.conv(pooled, kernel[:, :, : self.seam]) + self.shift


class Folded(layers.Layer):
    """Takes the place of a batch norm, and is called like one."""

    def call(self, x: Tensor, mask: Tensor = None) -> Tensor:
        return x


class Rounded(layers.Layer):
    """Rounds features [n,h,w,c] to 256 steps over their range, or over `limits` if set."""

    limits: tuple[float, float] | None = None

    def call(self, x: Tensor) -> Tensor:
        low, high = self.limits or (ops.minimum(ops.min(x), 0), ops.maximum(ops.max(x), 1e-3))
        return fake_quant(x, ops.stop_gradient(low), ops.stop_gradient(high))


def fix_limits(folded: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Sets the limits of each `Rounded` layer to the mean minimum and maximum of its input.

    Args:
        batches: images, float32 [n,h,w,3] RGB 0..255, to take the means over.
    """
    rounded = [layer for layer in folded.layers if isinstance(layer, Rounded)]
    probe = keras.Model(folded.input, [layer.input for layer in rounded])
    extremes = [
        [(min(x.min(), 0), max(x.max(), 1e-3)) for x in map(ops.convert_to_numpy, probe(images))]
        for images in batches
    ]
    for layer, (low, high) in zip(rounded, np.mean(extremes, 0), strict=True):
        layer.limits = (float(low), float(high))


GAINED = {
    layers.Conv2D: GainedConv2D,
    layers.DepthwiseConv2D: GainedDepthwiseConv2D,
    model.ConcatProjection: GainedConcatProjection,
}


def fold(net: keras.Model, rounded: bool = False) -> keras.Model:
    """Returns the same function with every batch norm inside the convolution before it.

    Args:
        rounded: simulate int8 kernels and features.
    """
    normed = {layer.name.removesuffix("_BN") for layer in net.layers if layer.name.endswith("_BN")}

    def clone(layer: Any) -> keras.Layer:
        if layer.name in normed:
            gained = GAINED[type(layer)].from_config(layer.get_config())
            gained.rounded = rounded
            return gained
        if isinstance(layer, layers.BatchNormalization):
            return Folded(name=layer.name)
        return type(layer).from_config(layer.get_config())

    # Norms and activations become part of the convolution before them, so round only after them.
    inner = {id(layer.input) for layer in net.layers if isinstance(layer, layers.ReLU)}
    inner |= {id(net.get_layer(name).output) for name in normed} | {id(net.output)}
    whole = {layer.name for layer in net.layers if id(layer.output) not in inner}

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Tensor:
        x = layer(*args, **kwargs)
        return Rounded()(x) if rounded and layer.name in whole else x

    folded = keras.models.clone_model(net, clone_function=clone, call_function=call)
    for layer in model.layers_with_weights(folded):
        if isinstance(layer, Gained):
            kernel = net.get_layer(layer.name).get_weights()[0]
            norm = net.get_layer(layer.name + "_BN")
            gamma, beta, mean, variance = norm.get_weights()
            gain = gamma / np.sqrt(variance + norm.epsilon)
            set_gained(layer, kernel, gain, beta - mean * gain)
        else:
            layer.set_weights(net.get_layer(layer.name).get_weights())
    return folded


def set_gained(layer: Gained, kernel: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> None:
    """Sets the layer to kernel * gain + shift, moving each channel's size into the gain."""
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    channel = kernel[..., 0] if depthwise else kernel  # channels last
    fan_in = channel[..., 0].size
    size = np.sqrt((channel**2).mean((0, 1) if depthwise else (0, 1, 2)) * fan_in / 2) + 1e-8
    layer.kernel.assign(kernel / (size[:, None] if depthwise else size))
    layer.gain.assign(gain * size)
    layer.shift.assign(shift)


def unfold(folded: keras.Model, net: keras.Model) -> None:
    """Transfers what `folded` learned back into the network with batch norms."""
    for layer in model.layers_with_weights(folded):
        plain = net.get_layer(layer.name)
        if isinstance(layer, Gained):
            kernel, gain, shift = layer.get_weights()
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            plain.set_weights([kernel * (gain[:, None] if depthwise else gain)])
            norm = net.get_layer(layer.name + "_BN")
            norm.set_weights(identity_norm(shift, norm.epsilon))
        else:
            plain.set_weights(layer.get_weights())
