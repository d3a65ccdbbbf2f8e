"""Loads the weights of the well-known Keras port into `model.build("voc")`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from background_blur.errors import WeightsError
from model import layers_with_weights


def load_port_weights(model: keras.Model, path: str | Path) -> None:
    """Loads a Keras 1/2 `.h5` by layer name, all of it or nothing.

    This is the layout of the port's `deeplabv3_mobilenetv2_tf_dim_ordering_tf_kernels.h5`. Keras'
    own `by_name` skips what does not match in silence; here that is an error.

    Raises:
        WeightsError: not such a file, or layers that are missing, left over or of another shape.
    """
    try:
        with h5py.File(path, "r") as file:
            stored = dict(read_port_layers(file))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: not a Keras .h5 weights file ({error})") from error
    wanted = {layer.name: layer for layer in layers_with_weights(model)}
    shapes = {name: [tuple(w.shape) for w in layer.weights] for name, layer in wanted.items()}
    given = {name: [value.shape for value in values] for name, values in stored.items()}
    misfits = [f"{n} missing" for n in wanted if n not in given]
    misfits += [f"{n} unknown" for n in given if n not in wanted]
    misfits += [
        f"{n} is {given[n]}, not {shapes[n]}"
        for n in wanted
        if n in given and given[n] != shapes[n]
    ]
    if misfits:
        fitting = sum(given.get(name) == shape for name, shape in shapes.items())
        raise WeightsError(
            f"{path}: {fitting} of {len(wanted)} layers fit; these do not: {'; '.join(misfits)}"
        )
    for name, layer in wanted.items():
        layer.set_weights(stored[name])


def read_port_layers(file: h5py.File) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yields (layer name, arrays) of a Keras 1/2 weights file, except layers without weights.

    Raises:
        KeyError, TypeError: it is laid out in another way.
    """
    root = group(file, "model_weights") if "model_weights" in file else file
    for name in as_text(root.attrs["layer_names"]):
        layer = group(root, name)
        arrays = [array(layer, w) for w in as_text(layer.attrs["weight_names"])]
        if arrays:
            yield name, arrays


def group(parent: h5py.Group, name: str) -> h5py.Group:
    found = parent[name]
    if not isinstance(found, h5py.Group):
        raise TypeError(f"{name} is not a group")
    return found


def array(parent: h5py.Group, name: str) -> np.ndarray:
    found = parent[name]
    if not isinstance(found, h5py.Dataset):
        raise TypeError(f"{name} is not a dataset")
    return found[()]


def as_text(names: Any) -> list[str]:
    """The strings of an attribute, which h5py gives as str or bytes."""
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]
