"""Frame in, finished frame out: find the person, refine the mask, render; and fail closed.

    from blur import BackgroundBlur

    result = BackgroundBlur()(frame)  # uint8 [H,W,3] BGR

This is the one place that decides what may leave: a frame without a mask to trust, whatever the
reason, leaves fully blurred, or as the chosen background alone. What is trusted is decided by
`background_blur.matting.validation`. Nothing carries over from one frame to the next across a cut,
a change of size, a mirroring or a fault.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from background_blur.frames import Frame, Result
from background_blur.imaging import THUMBNAIL_SIZE, Picture, downscale
from background_blur.matting.propagation import MaskPropagator
from background_blur.matting.quality import QualityLevel
from background_blur.matting.refinement import MaskRefiner
from background_blur.matting.segmenter import Masks, PersonSegmenter
from background_blur.matting.tracking import TrackingSegmenter
from background_blur.matting.validation import MaskHistory, NoTrustedMask
from background_blur.rendering.follow import WHOLE, Follower, View, crop, portrait_of
from background_blur.rendering.renderer import Matte, Renderer
from background_blur.settings import HIDDEN, Settings
from background_blur.timing import StageTimer

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
        self.render = Renderer(self.settings)
        self.thumbnail = np.zeros(THUMBNAIL_SIZE[::-1], np.uint8)  # of the last frame
        # Of the last frame: its shape, and whether it was mirrored.
        self.shape: tuple[tuple[int, ...], bool] | None = None
        self.timer = StageTimer()  # of this frame
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
        self.timer, self.seen = StageTimer(), []
        image = cv2.flip(frame.image, 1) if self.settings.mirror else frame.image
        with self.timer("downscale"):
            picture = Picture(downscale(image))
        alpha, mask_from, reason = self.find_alpha(picture, frame.time, level)
        shown = self.view_of(alpha, frame.time)
        matte = Matte(picture.image, alpha, frame.time, bool(reason), shown)
        self.last_frame, self.last_settings = frame, replace(self.settings)
        self.last_result = Result(
            self.render(image, matte, self.timer),
            frame.time,
            frame.path,
            frame.captured_at,
            self.render.whole(frame.whole, matte, self.timer),
            frame.metadata,
            working_alpha=crop(alpha, shown),
            fully_blurred_because=reason,
            mask_from=mask_from,
            seconds=self.timer.seconds,
            seen=tuple(self.seen),
            duration=frame.duration,
        )
        return self.last_result

    def is_same_as_last(self, frame: Frame) -> bool:
        """Whether a photo that stays on screen comes again."""
        is_same = frame is self.last_frame and self.settings == self.last_settings
        return is_same and not self.is_sequence

    def find_alpha(
        self, picture: Picture, time: float, level: QualityLevel | None
    ) -> tuple[np.ndarray, str | None, str | None]:
        """The alpha of a picture, as (uint8 [h,w], where its mask comes from, None);
        without a trusted mask (all 0, None, the reason)."""
        if self.is_new_scene(picture):
            self.reset()
        try:
            with self.timer("segment"):
                mask, mask_from = self.trusted_mask(picture, time, level)
            with self.timer("refine"):
                return self.refiner(picture, mask, self.settings.people), mask_from, None
        except NoTrustedMask as why:
            reason = str(why)
        except Exception as error:  # whatever goes wrong in there, nothing may get out
            reason = f"the network failed: {error}"
            self.log_once(reason)
        self.reset()
        return np.zeros(picture.image.shape[:2], np.uint8), None, reason

    def trusted_mask(
        self, picture: Picture, time: float, level: QualityLevel | None
    ) -> tuple[np.ndarray, str]:
        """Returns (mask, where it comes from). Raises NoTrustedMask."""
        if self.settings.hide:
            raise NoTrustedMask(HIDDEN)
        propagated = self.propagator(picture, time, level.every) if level else None
        mask, mask_from = propagated or (self.new_mask(picture, time, level), "network")
        height, width = picture.image.shape[:2]
        self.history.check_mask(mask, (width, height), self.is_sequence)
        if self.tracker:
            self.tracker.follow(mask, self.settings.people, time)
        if level and not propagated:
            self.propagator.set_key_frame(picture, mask, time)
        return mask, mask_from

    def new_mask(self, picture: Picture, time: float, level: QualityLevel | None) -> np.ndarray:
        """The mask that the network makes of a frame, or of the part where the people are."""

        def predict(part: np.ndarray) -> np.ndarray:
            self.seen.append(part.size / picture.image.size)
            mask = self.run_network(part, level)
            thumbnail = Picture(part).thumbnail
            self.history.check_output(mask, (part.shape[1], part.shape[0]), thumbnail)
            return mask

        if not self.tracker:
            return predict(picture.image)
        return self.tracker(picture.image, picture.thumbnail, self.settings.people, time, predict)

    def run_network(self, image: np.ndarray, level: QualityLevel | None) -> np.ndarray:
        """The mask of who is to stay, as far as the network tells people apart."""
        masks = self.segmenter(image, scale=level.scale) if level else self.segmenter(image)
        if not isinstance(masks, Masks):  # one mask, of everybody
            return masks
        return masks.person if self.settings.people == "all" else masks.front

    def is_new_scene(self, picture: Picture) -> bool:
        """Whether nothing seen so far says anything about this image."""
        last, self.thumbnail = self.thumbnail, picture.thumbnail
        shape, self.shape = self.shape, (picture.image.shape, self.settings.mirror)
        if not self.is_sequence or shape != self.shape:
            return True
        changed = np.count_nonzero(cv2.absdiff(last, self.thumbnail) > CUT)
        return bool(2 * changed >= last.size)

    def reset(self) -> None:
        """Forgets the frames so far."""
        self.refiner.reset()
        self.propagator.reset()
        self.history.reset()
        if self.tracker:
            self.tracker.reset()

    def view_of(self, alpha: np.ndarray, time: float) -> View:
        """The part of the frame to show."""
        if not self.settings.follow:
            return WHOLE
        return self.follower(alpha, time) if self.is_sequence else portrait_of(alpha)

    def log_once(self, reason: str) -> None:
        """Logs the exception being handled with its traceback, the same reason only once."""
        if reason not in self.errors_logged:
            self.errors_logged.add(reason)
            log.exception("%s; frames are fully blurred meanwhile", reason)


def open_default(is_sequence: bool) -> Segmenter:
    """The person network that comes along; photos get the more thorough predictions."""
    from background_blur.matting.engines import open_segmenter

    segmenter = open_segmenter()
    return segmenter if is_sequence else segmenter.predict_tta
