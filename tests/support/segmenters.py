"""Fake networks whose one mask is a function of the picture."""

from collections.abc import Callable
from typing import Any

import numpy as np

from background_blur.frames import Result
from background_blur.matting.segmenter import Masks
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings


def left_half(picture: np.ndarray) -> np.ndarray:
    """A mask of the left half, a little different for each picture, or it would not be trusted."""
    mask = np.repeat([[1.0, 0.0]], 20, axis=1).repeat(30, axis=0).astype(np.float32)
    mask[0, 0] -= picture[0, 0, 0] / 1e6
    return mask


def fails(picture: np.ndarray):
    raise RuntimeError("no such tensor")


class OneMask(Masks):
    """The same mask for all people and for those in front; it may be no mask at all."""

    def solid_front(self) -> np.ndarray:
        return self.front


class FakeSegmenter:
    """Calls `mask_of(picture)`, which tests may replace, and counts successful calls."""

    def __init__(self, mask_of: Callable[[np.ndarray], Any]):
        self.mask_of = mask_of
        self.looks, self.scales = 0, set()

    def segment(self, frame: np.ndarray, scale: float) -> Masks:
        mask = self.mask_of(frame)
        self.looks += 1
        self.scales.add(scale)
        return OneMask(mask, mask)


class FakeBlur(BackgroundBlur):
    """The pipeline with a fake network, which sees whole frames unless `track` is set."""

    def __init__(
        self,
        mask_of: Callable[[np.ndarray], Any],
        settings: Settings | None = None,
        is_sequence: bool = True,
        track: bool = False,
    ):
        self.network = FakeSegmenter(mask_of)
        super().__init__(self.network, settings or Settings(), is_sequence=is_sequence, track=track)

    @property
    def last_result(self) -> Result:
        assert self.last
        return self.last[2]
