"""The network: DeepLabV3 with a MobileNetV2 backbone, in Keras. Importing it imports Keras.

    import model

    net = model.build("person")  # float32 [n,h,w,3] RGB 0..255 -> logits [n,h/2,w/2,2]
    net, design = model.load_person("weights/person.weights.h5")

The code that builds it is in background_blur/network.py.
"""

from background_blur.network import (
    COARSE,
    FULL,
    SLIM,
    VOC_CLASSES,
    VOC_PERSON,
    ConcatProjection,
    Design,
    build,
    layers_with_weights,
    load_person,
    save_person,
)

__all__ = [
    "COARSE",
    "FULL",
    "SLIM",
    "VOC_CLASSES",
    "VOC_PERSON",
    "ConcatProjection",
    "Design",
    "build",
    "layers_with_weights",
    "load_person",
    "save_person",
]
