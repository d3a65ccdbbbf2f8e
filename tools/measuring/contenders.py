"""What is measured: our pipeline and other networks, each as a function from image to alpha."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from background_blur.matting.quality import QualityLevel
from background_blur.matting.segmenter import PersonSegmenter, Segmenter
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings
from tools.command import ToolError
from tools.measuring.recipes import mask_network

AlphaOf = Callable[[np.ndarray], np.ndarray]  # uint8 [h,w,3] BGR -> float32 [h,w], 0..1
Method = Callable[[], AlphaOf]  # starts a new source: a picture, or the frames of one clip
Methods = dict[str, Method]


def ours(
    segmenter: Segmenter,
    is_sequence: bool = True,
    people: str = "front",
    level: QualityLevel | None = None,
) -> Method:
    def begin() -> AlphaOf:
        settings = Settings(view="alpha", people=people)
        blur = BackgroundBlur(segmenter, settings, is_sequence=is_sequence)

        def alpha_of(image: np.ndarray) -> np.ndarray:
            result = blur(image, level)
            if reason := result.fully_blurred_because:
                print(f"a picture was fully blurred: {reason}", file=sys.stderr)
            return result.alpha.astype(np.float32) / 255

        return alpha_of

    return begin


def unrefined(segmenter: PersonSegmenter) -> Method:
    """The network's mask alone, enlarged bilinearly."""
    return lambda: lambda image: cv2.resize(segmenter.segment(image).front, image.shape[1::-1])


def peer(path: Path) -> Method:
    """A network with input [1,h,w,3], RGB 0..1, and output [1,h,w,1], the probability of person.

    Raises:
        ToolError: no such file, or a different kind of network.
    """
    mask_of = mask_network(path, 2)
    return lambda: mask_of


def rvm(folder: Path) -> Methods:
    """Robust Video Matting, run by class RVM of an `rvm.py`, frame by frame and on pictures.

    Raises:
        ToolError: the file does not exist or does not run.
    """
    path = folder / "rvm.py"
    if not path.is_file():
        raise ToolError(f"{folder}: no rvm.py in it")
    try:
        spec = importlib.util.spec_from_file_location("rvm", path)
        assert spec and spec.loader  # every .py has one
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        net = module.RVM(2)
    except Exception as error:  # third-party code may raise anything
        raise ToolError(f"{path}: does not run: {error}") from error

    def begin() -> AlphaOf:
        net.reset()
        return lambda image: net(image, min(1.0, 320 / max(image.shape[:2])))

    return {"RVM": begin, "RVM, pictures": lambda: net.picture}
