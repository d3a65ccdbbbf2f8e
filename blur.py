"""One frame in, one finished frame out: segment -> refine -> compose, and fail closed.

This is the one place that decides what may leave: a frame without a mask to trust, whatever the
reason, leaves wholly blurred, or as the chosen background alone. A mask is trusted if it

- is a [h,w] of numbers from 0 to 1, shaped about as the frame is;
- is not the last frame's over again while the picture has changed;
- does not cover the frame, unless the second of trusted masks before it led up to that. So one
  that covers everything from the start, after a cut or after a fault, never is. Unrelated pictures
  are spared this: a face may fill a photograph.

A live source's mask may be the network's last one, carried to this very frame by measured motion
(`carry.py`); it has to stand the same test. Nothing is carried from one frame to the next over a
cut, a change of size, a mirroring or a fault.
"""

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

import cv2
import numpy as np

from background_blur.imaging import downscale
from background_blur.matting.propagation import PERSON, MaskPropagator
from background_blur.matting.refinement import MaskRefiner
from background_blur.matting.segmenter import Masks, nearest_input_size
from background_blur.rendering.compositing import blur_background, compose, to_bgra
from background_blur.settings import TRANSPARENT, Settings

HIDING_STRENGTH = 0.5  # the least blur of a frame that is hidden wholly
FULL, USUAL = 0.95, 0.75  # share of such pixels to be led up to, and what leads up to it
PACE = 0.06  # weight of a frame in the usual share: an average over about a second
SMALLEST, SQUASH = 8, 1.5  # pixels a side of a mask; how much its shape may differ from the frame's
THUMB = (32, 18)  # pixels, (width, height), that changes of the picture are measured at
CUT = 8  # grey levels that half of the picture changes by, at a cut
MOVED = 4, 0.01  # grey levels, and the share that changes by them where a mask must change too


class BackgroundBlur:
    """Blurs the background of one source's frames, in order."""

    def __init__(self, segmenter, settings: Settings, independent: bool = False, beat=None):
        """Takes what makes a mask of a frame, as `segment.PersonSegmenter` does.

        `independent` frames are unrelated pictures: nothing is carried from one to the next.
        With a `beat.Beat` the network looks at as many frames, and as closely, as that says, and
        rests while the picture stands still; without one it looks at every frame.
        """
        self.segmenter = segmenter
        self.settings = settings
        self.independent = independent
        self.beat = beat
        self.carrier = MaskPropagator()
        self.refiner = MaskRefiner()
        self.usual_share = 0.0  # of what the trusted masks of the last second cover
        self.thumb = self.shape = None  # of the last frame; its size, and whether mirrored
        self.mask = self.mask_thumb = None  # the last mask, and the picture it first came with
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
            time: seconds since the first frame, for what moves.

        Returns:
            A new uint8 [H,W,3] BGR in the chosen view, [H,2W,3] for `split`; with a fourth
            channel, alpha, where the background is transparent.
        """
        if self.settings.mirror:
            image = cv2.flip(image, 1)
        with self.timed("shrink"):
            small = downscale(image)
        alpha = self.alpha(small, time)
        if self.settings.view == "alpha":
            alpha = cv2.resize(alpha, (image.shape[1], image.shape[0]))
            return cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR)
        result = self.composite(image, small, alpha, time)
        if self.settings.view != "split":
            return result
        if result.shape[2] == 4:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
        return np.hstack([result if self.hidden_because else image, result])

    def alpha(self, small: np.ndarray, time: float) -> np.ndarray:
        """uint8 [h,w,3] -> uint8 [h,w], all 0 where there is no mask to trust."""
        if self.is_new_scene(small):
            self.forget()
        try:
            with self.timed("segment"):
                mask, self.hidden_because = self.trusted_mask(small, time)
            if mask is not None:
                with self.timed("refine"):
                    return self.refiner(small, mask, self.settings.people)
        except Exception as error:  # whatever goes wrong in there, nothing may get out
            self.hidden_because = f"the network failed: {error}"
        self.hidden_frames += 1
        self.forget()
        return np.zeros(small.shape[:2], np.uint8)

    def is_new_scene(self, small: np.ndarray) -> bool:
        """Whether nothing seen so far says anything about this picture."""
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        last, self.thumb = self.thumb, cv2.resize(grey, THUMB, interpolation=cv2.INTER_AREA)
        shape, self.shape = self.shape, (small.shape, self.settings.mirror)
        if self.independent or last is None or shape != self.shape:
            return True
        return np.median(cv2.absdiff(last, self.thumb)) > CUT

    def forget(self) -> None:
        self.refiner.reset()
        self.carrier.forget()
        self.usual_share = 0.0

    def composite(self, image, small, alpha, time) -> np.ndarray:
        background = self.settings.background
        with self.timed("blur"):
            if background is None:
                backdrop = self.blurred(image, small, alpha)
            elif background != TRANSPARENT:
                backdrop = background(image.shape[1::-1], time)
        with self.timed("compose"):
            if background == TRANSPARENT:
                return to_bgra(image, alpha)
            return compose(image, backdrop, alpha)

    def blurred(self, image, small, alpha) -> np.ndarray:
        strength = self.settings.strength
        if self.hidden_because:
            strength = max(strength, HIDING_STRENGTH)
        return blur_background(small, alpha, strength) if strength else image

    def trusted_mask(self, small: np.ndarray, time: float):
        """Returns (mask, None), or (None, why there is none)."""
        if self.settings.hide:
            return None, "hidden"
        mask = self.carrier(small, time, self.beat.step.every) if self.beat else None
        fresh = mask is None
        if fresh:
            mask = self.look(small)
        problem = self.distrust(mask, small, fresh)
        if problem:
            return None, problem
        if fresh and self.beat:
            self.carrier.remember(small, mask, time)
        return mask, None

    def look(self, small: np.ndarray) -> np.ndarray:
        scale = {"scale": self.beat.step.scale} if self.beat else {}
        masks = self.segmenter(small, **scale)
        if not isinstance(masks, Masks):  # what tells no one apart; or no mask at all
            return masks
        return masks.person if self.settings.people == "all" else masks.front

    def distrust(self, mask, small: np.ndarray, fresh: bool) -> str | None:
        """Why this mask, `fresh` from the network or carried, is not to be believed, or None."""
        if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind != "f":
            return "the network gave no mask"
        if not fits(mask, small):
            return "the network gave a mask of another shape"
        if not (abs(mask - 0.5) <= 0.501).all():  # 0..1, but for rounding; NaN is nowhere
            return "the network gave numbers that are no shares"
        share = float((mask > PERSON).mean())
        if fresh and self.is_stale(mask) and share:  # that nobody is there, for long, is no fault
            return "the network gave an old mask again"
        if share > FULL and self.usual_share < USUAL and not self.independent:
            return "the mask suddenly covers everything"
        self.usual_share += PACE * (share - self.usual_share)
        return None

    def is_stale(self, mask: np.ndarray) -> bool:
        """Whether the mask is the network's last one to the bit, though the picture is not."""
        if self.mask is None or not np.array_equal(mask, self.mask):
            self.mask, self.mask_thumb = mask.copy(), self.thumb
            return False
        return (cv2.absdiff(self.thumb, self.mask_thumb) > MOVED[0]).mean() > MOVED[1]

    @contextmanager
    def timed(self, stage: str):
        began = perf_counter()
        yield
        self.seconds[stage] += perf_counter() - began


def fits(mask: np.ndarray, small: np.ndarray) -> bool:
    """Whether a mask has about the shape that the network sees this picture in."""
    height, width = mask.shape
    if min(height, width) < SMALLEST:
        return False
    grid = nearest_input_size((small.shape[1], small.shape[0]))
    return abs(np.log(width / height * grid[1] / grid[0])) < np.log(SQUASH)
