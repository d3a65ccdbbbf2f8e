"""One frame in, one finished frame out: segment -> refine -> compose, and fail closed.

This is the one place that decides what may leave: a frame without a mask to trust, whatever the
reason, leaves wholly blurred, or as the chosen background alone.
"""

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import cv2
import numpy as np

from backdrop import TRANSPARENT, Picture, cut_out
from blur import blur_backdrop, compose
from refine import Refiner, shrink_to_work

VIEWS = ("result", "alpha", "split")
HIDING_STRENGTH = 0.5  # the least blur of a frame that is hidden wholly
FULL, USUAL = 0.95, 0.75  # share of person that is no longer believed at once, and what is


@dataclass
class Settings:
    """What the user chose; read anew for every frame."""

    view: str = "result"  # one of VIEWS
    strength: float = 0.5  # of the blur, 0..1
    mirror: bool = False
    hide: bool = False  # blur everything
    background: Picture | str | None = None  # None: the frame's own, blurred; or TRANSPARENT


class Line:
    """Blurs the background of one source's frames, in order."""

    def __init__(self, segmenter, settings: Settings, independent: bool = False):
        """`independent` frames are unrelated pictures: nothing is carried from one to the next."""
        self.segmenter = segmenter
        self.settings = settings
        self.independent = independent
        self.refiner = Refiner()
        self.usual_share = None
        self.hidden_because = None  # why the last frame left wholly blurred, or None
        self.hidden_frames = 0
        self.seconds = Counter()  # spent a stage

    def finish(self, frame):
        """The `source.Frame`, finished: a new one."""
        return replace(frame, image=self(frame.image, frame.time))

    def __call__(self, image: np.ndarray, time: float = 0.0) -> np.ndarray:
        """Finishes one picture.

        Args:
            image: uint8 [H,W,3] BGR.
            time: seconds since the first frame, for a background that moves.

        Returns:
            A new uint8 [H,W,3] BGR in the chosen view, [H,2W,3] for `split`; with a fourth
            channel, alpha, where the background is transparent.
        """
        if self.settings.mirror:
            image = cv2.flip(image, 1)
        with self.timed("shrink"):
            small = shrink_to_work(image)
        alpha = self.alpha(small)
        if self.settings.view == "alpha":
            alpha = cv2.resize(alpha, (image.shape[1], image.shape[0]))
            return cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR)
        result = self.composite(image, small, alpha, time)
        if self.settings.view != "split":
            return result
        if result.shape[2] == 4:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
        return np.hstack([result if self.settings.hide else image, result])

    def alpha(self, small: np.ndarray) -> np.ndarray:
        """uint8 [h,w,3] -> uint8 [h,w], all 0 where there is no mask to trust."""
        if self.independent:
            self.refiner.reset()
        with self.timed("segment"):
            mask, self.hidden_because = self.trusted_mask(small)
        if mask is None:
            self.hidden_frames += 1
            self.refiner.reset()
            return np.zeros(small.shape[:2], np.uint8)
        with self.timed("refine"):
            return self.refiner(small, mask)

    def composite(self, image, small, alpha, time) -> np.ndarray:
        background = self.settings.background
        with self.timed("blur"):
            if background is None:
                backdrop = self.blurred(small, alpha)
            elif background != TRANSPARENT:
                backdrop = background(image.shape[1::-1], time)
        with self.timed("compose"):
            if background == TRANSPARENT:
                return cut_out(image, alpha)
            return compose(image, backdrop, alpha)

    def blurred(self, small, alpha) -> np.ndarray:
        strength = self.settings.strength
        if self.hidden_because:
            strength = max(strength, HIDING_STRENGTH)
        return blur_backdrop(small, alpha, strength)

    def trusted_mask(self, small: np.ndarray):
        """Returns (mask, None), or (None, why there is none)."""
        if self.settings.hide:
            return None, "hidden"
        try:
            mask = self.segmenter(small)
        except Exception as error:  # whatever goes wrong in there, nothing may get out
            return None, f"the network failed: {error}"
        return (None, problem) if (problem := self.distrust(mask)) else (mask, None)

    def distrust(self, mask) -> str | None:
        """Why this mask is not to be believed, or None."""
        if not isinstance(mask, np.ndarray) or mask.ndim != 2 or not mask.size:
            return "the network gave no mask"
        if not np.isfinite(mask).all():
            return "the network gave numbers that are none"
        share = float((mask > 0.5).mean())
        if self.usual_share is None or self.independent:
            self.usual_share = share
        sudden = share > FULL and self.usual_share < USUAL
        self.usual_share += 0.05 * (share - self.usual_share)
        return "the mask suddenly covers everything" if sudden else None

    @contextmanager
    def timed(self, stage: str):
        began = perf_counter()
        yield
        self.seconds[stage] += perf_counter() - began
