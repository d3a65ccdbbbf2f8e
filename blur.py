"""Frame in, finished frame out: find the person, refine the mask, render; and fail closed.

    from blur import BackgroundBlur

    result = BackgroundBlur()(frame)  # uint8 [H,W,3] BGR

This is the one place that decides what may leave: a frame without a mask to trust, whatever the
reason, leaves fully blurred, or as the chosen background alone. What is trusted is decided by
`background_blur.matting.validation`. Nothing carries over from one frame to the next across a cut,
a change of size, a mirroring or a fault.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import perf_counter

import cv2
import numpy as np

from background_blur.frames import Frame, Result
from background_blur.imaging import downscale, flatten_alpha
from background_blur.matting.propagation import MaskPropagator
from background_blur.matting.quality import QualityLevel
from background_blur.matting.refinement import MaskRefiner
from background_blur.matting.segmenter import Masks, PersonSegmenter
from background_blur.matting.tracking import TrackingSegmenter
from background_blur.matting.validation import MaskHistory, NoTrustedMask
from background_blur.rendering.compositing import blur_background, compose, to_bgra, to_depth
from background_blur.rendering.follow import WHOLE, Follower, View, crop, portrait_of
from background_blur.rendering.foreground import apply_correction, foreground_correction
from background_blur.settings import HIDDEN, TRANSPARENT, Settings

MIN_HIDING_STRENGTH = 0.5  # the least blur of a frame that is fully blurred
THUMBNAIL_SIZE = (32, 18)  # pixels, (width, height), that changes of the picture are measured at
USUAL_FPS = 30  # of images that come without a time
CUT = 8  # grey levels that half of the thumbnail changes by at a cut

log = logging.getLogger("background_blur.pipeline")

# An image, uint8 [H,W,3] BGR, and for live sources the `scale` of the network's input -> Masks, or
# one mask, float32 [h,w], the probability of person.
Segmenter = Callable[..., Masks | np.ndarray]


class BackgroundBlur:
    """Blurs the background of one source's frames, in order."""

    def __init__(
        self,
        segmenter: Segmenter | None = None,
        settings: Settings | None = None,
        is_sequence: bool = True,
        track: bool | None = None,
    ):
        """Loads the network, unless it is given one.

        Args:
            segmenter: such as a `PersonSegmenter`; None opens the weights that come along.
            settings: read anew for every frame, so that they may be changed in between.
            is_sequence: False if the frames are unrelated pictures, such as a folder of photos.
            track: whether, in a sequence, the segmenter is shown the part of each frame where the
                people are, instead of the whole; None: if it is a `PersonSegmenter`.

        Raises:
            WeightsError: the network's weights are missing or damaged.
        """
        self.segmenter = segmenter or open_default(is_sequence)
        self.settings = settings or Settings()
        self.is_sequence = is_sequence
        self.propagator = MaskPropagator()
        self.refiner = MaskRefiner()
        self.history = MaskHistory()
        if track is None:
            track = isinstance(self.segmenter, PersonSegmenter)
        self.tracker = TrackingSegmenter() if track and is_sequence else None
        self.follower = Follower()
        self.shown = WHOLE  # the part of the frame that is shown
        self.thumbnail = np.zeros(THUMBNAIL_SIZE[::-1], np.uint8)  # of the last frame
        # Of the last frame: its shape, and whether it was mirrored.
        self.shape: tuple[tuple[int, ...], bool] | None = None
        self.seconds = defaultdict[str, float](float)  # spent per stage on this frame
        self.seen: list[float] = []  # share of this frame that the network saw, at each run
        self.errors_logged: set[str] = set()
        self.last_frame: Frame | None = None
        self.last_settings: Settings | None = None
        self.last_result: Result | None = None

    def __call__(self, frame: Frame | np.ndarray, level: QualityLevel | None = None) -> Result:
        """Finishes one frame.

        Args:
            frame: a Frame, or just its image, uint8 [H,W,3] BGR, of 30 frames/s then.
            level: how often to run the network, masks being propagated in between; None: at every
                frame.

        Returns:
            The finished frame in the chosen view, [H,2W,3] for "split", with a fourth channel,
            alpha, where the background is transparent.
        """
        if not isinstance(frame, Frame):
            frame = Frame(frame, self.last_frame.time + 1 / USUAL_FPS if self.last_frame else 0.0)
        if self.last_result and self.is_same_as_last(frame):
            return self.last_result
        self.seconds, self.seen = defaultdict(float), []
        image = cv2.flip(frame.image, 1) if self.settings.mirror else frame.image
        with self.timed("downscale"):
            small = downscale(image)
        alpha, mask_from, reason = self.find_alpha(small, frame.time, level)
        self.shown = self.view_of(alpha, frame.time)
        render = partial(
            self.render, small=small, alpha=alpha, time=frame.time, hidden=bool(reason)
        )
        self.last_frame, self.last_settings = frame, replace(self.settings)
        self.last_result = Result(
            render(image),
            frame.time,
            frame.path,
            frame.captured_at,
            self.render_whole(frame.whole, render),
            frame.metadata,
            working_alpha=crop(alpha, self.shown),
            fully_blurred_because=reason,
            mask_from=mask_from,
            seconds=self.seconds,
            seen=tuple(self.seen),
        )
        return self.last_result

    def is_same_as_last(self, frame: Frame) -> bool:
        """Whether a photo that stays on screen comes again."""
        is_same = frame is self.last_frame and self.settings == self.last_settings
        return is_same and not self.is_sequence

    def find_alpha(
        self, small: np.ndarray, time: float, level: QualityLevel | None
    ) -> tuple[np.ndarray, str | None, str | None]:
        """The alpha of an image, uint8 [h,w,3], as (uint8 [h,w], where its mask comes from, None);
        without a trusted mask (all 0, None, the reason)."""
        if self.is_new_scene(small):
            self.reset()
        try:
            with self.timed("segment"):
                mask, mask_from = self.trusted_mask(small, time, level)
            with self.timed("refine"):
                return self.refiner(small, mask, self.settings.people), mask_from, None
        except NoTrustedMask as why:
            reason = str(why)
        except Exception as error:  # whatever goes wrong in there, nothing may get out
            reason = f"the network failed: {error}"
            self.log_once(reason)
        self.reset()
        return np.zeros(small.shape[:2], np.uint8), None, reason

    def trusted_mask(
        self, small: np.ndarray, time: float, level: QualityLevel | None
    ) -> tuple[np.ndarray, str]:
        """Returns (mask, where it comes from). Raises NoTrustedMask."""
        if self.settings.hide:
            raise NoTrustedMask(HIDDEN)
        propagated = self.propagator(small, time, level.every) if level else None
        mask, mask_from = propagated or (self.new_mask(small, time, level), "network")
        size = (small.shape[1], small.shape[0])
        self.history.check_mask(mask, size, self.is_sequence)
        if self.tracker:
            self.tracker.follow(mask, self.settings.people, time)
        if level and not propagated:
            self.propagator.set_key_frame(small, mask, time)
        return mask, mask_from

    def new_mask(self, small: np.ndarray, time: float, level: QualityLevel | None) -> np.ndarray:
        """The mask that the network makes of a frame, or of the part where the people are."""

        def predict(part: np.ndarray) -> np.ndarray:
            self.seen.append(part.size / small.size)
            mask = self.run_network(part, level)
            self.history.check_output(mask, (part.shape[1], part.shape[0]), thumbnail_of(part))
            return mask

        if not self.tracker:
            return predict(small)
        return self.tracker(small, self.thumbnail, self.settings.people, time, predict)

    def run_network(self, image: np.ndarray, level: QualityLevel | None) -> np.ndarray:
        """The mask of who is to stay, as far as the network tells people apart."""
        masks = self.segmenter(image, scale=level.scale) if level else self.segmenter(image)
        if not isinstance(masks, Masks):  # one mask, of everybody
            return masks
        return masks.person if self.settings.people == "all" else masks.front

    def is_new_scene(self, small: np.ndarray) -> bool:
        """Whether nothing seen so far says anything about this image."""
        last, self.thumbnail = self.thumbnail, thumbnail_of(small)
        shape, self.shape = self.shape, (small.shape, self.settings.mirror)
        if not self.is_sequence or shape != self.shape:
            return True
        return bool(np.median(cv2.absdiff(last, self.thumbnail)) > CUT)

    def reset(self) -> None:
        """Forgets the frames so far."""
        self.refiner.reset()
        self.propagator.reset()
        self.history.reset()
        if self.tracker:
            self.tracker.reset()

    def render(
        self,
        image: np.ndarray,
        small: np.ndarray,
        alpha: np.ndarray,
        time: float,
        hidden: bool,
    ) -> np.ndarray:
        """The image in the chosen view."""
        if self.settings.view == "alpha":
            alpha = cv2.resize(alpha, (image.shape[1], image.shape[0]))
            return cv2.cvtColor(crop(alpha, self.shown), cv2.COLOR_GRAY2BGR)
        result = self.composite(image, small, alpha, time, hidden)
        if self.settings.view != "split":
            return result
        if result.shape[2] == 4:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
        return np.hstack([result if hidden else crop(image, self.shown), result])

    def view_of(self, alpha: np.ndarray, time: float) -> View:
        """The part of the frame to show."""
        if not self.settings.follow:
            return WHOLE
        return self.follower(alpha, time) if self.is_sequence else portrait_of(alpha)

    def render_whole(
        self, whole: np.ndarray | None, render: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray | None:
        """A photo as its file has it whole, finished by `render`.

        Returns:
            uint8 or uint16 [H,W,3 or 4], or None where 8 bits and three channels hold it all.
        """
        transparent = self.settings.background == TRANSPARENT
        if whole is None or self.settings.view == "alpha":
            return None
        if whole.shape[2] == 4 and not transparent:
            whole = flatten_alpha(whole)
        if whole.dtype == np.uint8 and not transparent:
            return None
        return render(cv2.flip(whole, 1) if self.settings.mirror else whole)

    def composite(
        self,
        image: np.ndarray,
        small: np.ndarray,
        alpha: np.ndarray,
        time: float,
        hidden: bool,
    ) -> np.ndarray:
        background = self.settings.background
        if background == TRANSPARENT:
            with self.timed("compose"):
                person = apply_correction(image, foreground_correction(small, alpha))
                return to_bgra(crop(person, self.shown), crop(alpha, self.shown))
        with self.timed("blur"):
            if callable(background):
                behind = to_depth(background(image.shape[1::-1], time), image.dtype)
            else:
                behind = self.blurred(image, small, alpha, hidden)
        with self.timed("compose"):
            correction = foreground_correction(small, alpha) if callable(background) else None
            return crop(compose(image, behind, alpha, correction=correction), self.shown)

    def blurred(
        self, image: np.ndarray, small: np.ndarray, alpha: np.ndarray, hidden: bool
    ) -> np.ndarray:
        strength = self.settings.strength
        if hidden:
            strength = max(strength, MIN_HIDING_STRENGTH)
        return blur_background(small, alpha, strength, image.dtype) if strength else image

    def log_once(self, reason: str) -> None:
        """Logs the exception being handled with its traceback, the same reason only once."""
        if reason not in self.errors_logged:
            self.errors_logged.add(reason)
            log.exception("%s; frames are fully blurred meanwhile", reason)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = perf_counter()
        yield
        self.seconds[stage] += perf_counter() - began


def thumbnail_of(image: np.ndarray) -> np.ndarray:
    """uint8 [h,w,3] -> uint8 [18,32], grey."""
    small = cv2.resize(image, THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)


def open_default(is_sequence: bool) -> Segmenter:
    """The person network that comes along; photos get the more thorough predictions."""
    from background_blur.matting.engines import open_segmenter

    segmenter = open_segmenter()
    return segmenter if is_sequence else segmenter.predict_tta
