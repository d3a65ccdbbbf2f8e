"""What the user chose."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np

from background_blur.frames import Size
from background_blur.options import People, View

PEOPLE, VIEWS = get_args(People), get_args(View)
TRANSPARENT = "transparent"
HIDDEN = "hidden"  # the reason why a frame is fully blurred, if the user hid it

# A frame's (width, height) and its time in seconds -> the background, uint8 [H,W,3] BGR.
Background = Callable[[Size, float], np.ndarray]
Backgrounds = Mapping[str, Background | str | None]  # to choose from, by the user's names


@dataclass
class Settings:
    """What the user chose; read for every frame."""

    view: str = "result"  # one of VIEWS
    strength: float = 0.5  # of the blur, 0..1
    mirror: bool = False
    hide: bool = False  # blur everything
    people: str = "front"  # one of PEOPLE
    follow: bool = False  # frame the person
    background: Background | str | None = None  # None: the frame's own, blurred; or TRANSPARENT
