"""Batch norms with frozen statistics move into their convolutions for training, and back out.

Such a norm is no more than a gain and a bias per channel. `fold` makes them part of the convolution
before it: the same function at twice the speed. `unfold` turns what was learned back into norms.
"""

from typing import Any, cast

import keras
import numpy as np
from keras import layers

import model
from tools.convert_weights import identity_norm

ops = cast(Any, keras.ops)  # Keras's annotations let every operation return None


class Gained(layers.Layer):
    """A convolution with a gain and a bias per channel: what is left of a frozen batch norm."""

    def build(self, input_shape):
        super().build(input_shape)
        channels = self.compute_output_shape(input_shape)[-1]
        self.gain = self.add_weight(name="gain", shape=(channels,), initializer="ones")
        self.shift = self.add_weight(name="shift", shape=(channels,), initializer="zeros")


class GainedConv2D(Gained, layers.Conv2D):
    def call(self, x):
        return self.convolution_op(x, self.kernel * self.gain) + self.shift


class GainedDepthwiseConv2D(Gained, layers.DepthwiseConv2D):
    def call(self, x):
        kernel = self.kernel * self.gain[:, None]  # [3,3,channels,1]
        x = ops.depthwise_conv(
            x, kernel, self.strides, self.padding, dilation_rate=self.dilation_rate
        )
        return x + self.shift


class GainedConcatProjection(Gained, model.ConcatProjection):
    def compute_output_shape(self, input_shape):
        return (*input_shape[1][:-1], self.channels)

    def call(self, inputs):
        pooled, x = inputs
        kernel = self.kernel * self.gain
        x = ops.conv(x, kernel[:, :, self.seam :])
        return x + ops.conv(pooled, kernel[:, :, : self.seam]) + self.shift


class Folded(layers.Layer):
    """Stands where a batch norm was, and is called as that was."""

    def call(self, x, mask=None):
        return x


GAINED = {
    layers.Conv2D: GainedConv2D,
    layers.DepthwiseConv2D: GainedDepthwiseConv2D,
    model.ConcatProjection: GainedConcatProjection,
}


def fold(net: keras.Model) -> keras.Model:
    """The same function with every batch norm inside the convolution before it."""
    normed = {layer.name.removesuffix("_BN") for layer in net.layers if layer.name.endswith("_BN")}

    def clone(layer):
        if layer.name in normed:
            return GAINED[type(layer)].from_config(layer.get_config())
        if isinstance(layer, layers.BatchNormalization):
            return Folded(name=layer.name)
        return type(layer).from_config(layer.get_config())

    folded = keras.models.clone_model(net, clone_function=clone)
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


def set_gained(layer: Gained, kernel, gain, shift) -> None:
    """Sets the layer to kernel * gain + shift, the size of each channel moved into the gain."""
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    channel = kernel[..., 0] if depthwise else kernel  # channel last
    fan_in = channel[..., 0].size
    size = np.sqrt((channel**2).mean((0, 1) if depthwise else (0, 1, 2)) * fan_in / 2) + 1e-8
    layer.kernel.assign(kernel / (size[:, None] if depthwise else size))
    layer.gain.assign(gain * size)
    layer.shift.assign(shift)


def unfold(folded: keras.Model, net: keras.Model) -> None:
    """Puts what `folded` learned back into the network with batch norms."""
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
