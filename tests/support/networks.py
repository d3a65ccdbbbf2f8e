"""Small networks that stand in for other people's."""

from collections.abc import Callable
from pathlib import Path

import pytest


def write_network(path: Path, run: Callable, shape: tuple[int, ...]) -> None:
    """Writes a `.tflite` that runs a function of one float32 tensor; skips without TensorFlow."""
    tf = pytest.importorskip("tensorflow")
    signature = tf.TensorSpec(shape, tf.float32)
    module = tf.Module()
    module.run = tf.function(run, autograph=False, input_signature=[signature])
    concrete = module.run.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    path.write_bytes(converter.convert())
