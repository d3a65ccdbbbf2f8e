"""Frame in, finished frame out: find the mask, refine it to an alpha, render; and fail closed.

This is the only place that decides what gets out: a frame without a trusted mask, for whatever
reason, comes out fully blurred, or as the chosen background alone. Which masks are trusted is
decided by `background_blur.matting.validation`. Nothing carries over from one frame to the next
across a cut, an error, or a change of size, of who stays sharp or of mirroring.
"""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from background_blur.frames import Frame, Result
from background_blur.imaging import THUMBNAIL_SIZE, Picture, downscale, to_bgr
from background_blur.matting.masks import MaskFinder
from background_blur.matting.motion import is_cut
from background_blur.matting.quality import LEVELS, QualityLevel
from background_blur.matting.refinement import MaskRefiner
from background_blur.matting.segmenter import Segmenter
from background_blur.matting.validation import NoTrustedMask
from background_blur.rendering.follow import WHOLE, Follower, View, crop, portrait_of
from background_blur.rendering.renderer import Renderer, Scene
from background_blur.settings import HIDDEN, Settings
from background_blur.timing import StageTimer

USUAL_FPS = 30  # for images that come without a time

log = logging.getLogger("background_blur.pipeline")


@dataclass
class Found:
    """A frame with the mask found in it, or the error that prevented one."""

    frame: Frame
    image: np.ndarray  # the frame's, mirrored if that is set
    picture: Picture
    people: str  # who is in the mask, one of `settings.PEOPLE`
    mirrored: bool
    is_new_scene: bool
    timer: StageTimer
    mask: np.ndarray | None = None
    mask_from: str = ""
    error: Exception | None = None
    seen: list[float] = field(default_factory=list)


class BackgroundBlur:
    """Blurs the background of one source's frames, in order.

    Attributes:
        settings: read for every frame, so that they may be changed in between.
    """

    def __init__(
        self,
        segmenter: Segmenter | None = None,
        settings: Settings | None = None,
        *,
        is_sequence: bool = True,
        track: bool = True,
        **choices: Any,
    ):
        """Loads the network, unless it is given one.

        Args:
            segmenter: what finds people; None opens the bundled weights.
            settings: what to do with the frames.
            is_sequence: False if the frames are unrelated pictures, such as a folder of photos.
            track: whether, in a sequence, the segmenter is shown the part of each frame where the
                people are, rather than the whole frame.
            **choices: individual `Settings` instead of `settings`, such as `strength=0.8`; a
                background may be named as for `--background`: a picture, a video, "#00b140".

        Raises:
            WeightsError: the network's weights are missing or damaged.
            BackgroundError: no such background.
            TypeError: no such setting.
        """
        self.settings = settings or make_settings(**choices)
        self.is_sequence = is_sequence
        self.masks = MaskFinder(segmenter or open_default(is_sequence), is_sequence, track)
        self.refiner = MaskRefiner()
        self.has_failed = False  # whether refining did, since the last search for a mask
        self.follower = Follower()
        self.renderer = Renderer(self.settings)
        self.scene: tuple | None = None  # of the last frame: shape, people, whether mirrored;
        self.thumbnail = np.zeros(THUMBNAIL_SIZE[::-1], np.uint8)  # and its thumbnail
        self.errors_logged: set[type] = set()
        self.last: tuple[Frame, Settings, Result] | None = None

    def __call__(self, frame: Frame | np.ndarray, level: QualityLevel | None = None) -> Result:
        """Finishes one frame.

        Args:
            frame: a Frame, or just its image, uint8 [H,W,3] BGR (or [H,W] grey, or [H,W,4] BGRA,
                whose alpha is ignored), taken to come at 30 frames/s.
            level: how often to run the network, propagating masks in between; None: on every
                frame.

        Returns:
            The finished frame in the chosen view, [H,2W,3] for "split", with a fourth channel,
            alpha, where the background is transparent.

        Raises:
            ValueError: not an image.
        """
        if not isinstance(frame, Frame):
            frame = self.make_frame(frame)
        if self.last and self.is_same_as_last(frame):
            return self.last[2]
        return self.finish(self.find_mask(frame, level))

    def process(self, frames: Iterable[Frame]) -> Iterator[Result]:
        """Finishes frames in order, while a second thread finds the next one's mask.

        A mask is reused while nothing moves from frame to frame. `mirror` and `people` take effect
        one frame late, the other settings at once. Whatever `frames` raises is raised after the
        last result.
        """
        level, frames = LEVELS[0] if self.is_sequence else None, iter(frames)
        coming: Future[Found] | None = None
        with ThreadPoolExecutor(1) as looking:
            while True:
                try:
                    frame = next(frames)
                except StopIteration:
                    break
                except Exception:
                    if coming:
                        yield self.finish(coming.result())
                    raise
                found, coming = coming, looking.submit(self.find_mask, frame, level)
                if found:
                    yield self.finish(found.result())
                del found, frame  # so that at most two are in memory
            if coming:
                yield self.finish(coming.result())

    def find_mask(self, frame: Frame, level: QualityLevel | None = None) -> Found:
        """Finds the mask of a frame; see `__call__`."""
        people, mirror, timer = self.settings.people, self.settings.mirror, StageTimer()
        image = cv2.flip(frame.image, 1) if mirror else frame.image
        with timer.measure("downscale"):
            picture = Picture(downscale(image))
        is_new = self.is_new_scene(picture, people, mirror)
        found = Found(frame, image, picture, people, mirror, is_new, timer)
        if is_new:
            self.masks.reset(is_cut=True)
        if self.settings.hide or self.has_failed:
            self.masks.reset()
            self.has_failed = False
        if self.settings.hide:
            found.error = NoTrustedMask(HIDDEN)
            return found
        try:
            with timer.measure("segment"):
                found.mask, found.mask_from = self.masks.find(picture, frame.time, people, level)
        except Exception as error:  # whatever goes wrong in there, nothing sharp may get out
            found.error = error
            self.masks.reset()
        found.seen = self.masks.seen
        return found

    def finish(self, found: Found) -> Result:
        """Refines the mask to an alpha, and renders the frame."""
        frame, image, timer = found.frame, found.image, found.timer
        alpha, reason = self.find_alpha(found)
        shown, hidden = self.view(alpha, frame.time), bool(reason)
        scene = Scene(found.picture.image, alpha, frame.time, hidden, shown, found.mirrored)
        result = Result(
            self.renderer.render(image, scene, timer),
            frame.time,
            frame.path,
            frame.captured_at,
            self.renderer.render_whole(frame.whole, scene, timer),
            frame.metadata,
            size=(image.shape[1], image.shape[0]),
            working_alpha=crop(alpha, scene.shown),
            fully_blurred_because=reason,
            mask_from=None if reason else found.mask_from,
            seconds=timer.seconds,
            seen=tuple(found.seen),
            duration=frame.duration,
        )
        self.last = frame, replace(self.settings), result
        return result

    def make_frame(self, image: np.ndarray) -> Frame:
        """Makes a frame from an image that comes without a time."""
        bgr = to_bgr(image) if isinstance(image, np.ndarray) else None
        if bgr is None:
            raise ValueError(
                "not an image: give a uint8 array [H,W,3] BGR; cv2.imread returns None for a file "
                "that it cannot read"
            )
        return Frame(bgr, self.last[0].time + 1 / USUAL_FPS if self.last else 0.0)

    def is_same_as_last(self, frame: Frame) -> bool:
        """Whether the frame is the last photo again, staying on screen."""
        assert self.last
        return (frame, self.settings) == self.last[:2] and not self.is_sequence

    def find_alpha(self, found: Found) -> tuple[np.ndarray, str | None]:
        """Returns (alpha, uint8 [h,w], None), or (zeros, the reason) without a trusted mask."""
        if found.is_new_scene:
            self.refiner.reset()
        error = NoTrustedMask(HIDDEN) if self.settings.hide else found.error
        try:
            if found.mask is not None and not error:
                with found.timer.measure("refine"):
                    return self.refiner.refine(
                        found.picture, found.mask, found.people, found.mask_from
                    ), None
        except Exception as why:  # as in `find_mask`
            error, self.has_failed = why, True
        self.refiner.reset()
        return np.zeros(found.picture.image.shape[:2], np.uint8), self.reason(error)

    def is_new_scene(self, picture: Picture, people: str, mirror: bool) -> bool:
        """Whether earlier frames say nothing about this one; remembers this one."""
        last, self.thumbnail = self.thumbnail, picture.thumbnail
        scene, self.scene = self.scene, (picture.image.shape, people, mirror)
        return not self.is_sequence or scene != self.scene or is_cut(self.thumbnail, last)

    def view(self, alpha: np.ndarray, time: float) -> View:
        """The part of the frame to show."""
        if not self.settings.follow:
            return WHOLE
        return self.follower.follow(alpha, time) if self.is_sequence else portrait_of(alpha)

    def reason(self, error: Exception | None) -> str:
        """Says why a frame has no mask; logs each type of unexpected error once, with traceback."""
        if isinstance(error, NoTrustedMask):
            return str(error)
        reason = f"the network failed: {error}"
        if type(error) not in self.errors_logged:
            self.errors_logged.add(type(error))
            log.error("%s; frames are fully blurred meanwhile", reason, exc_info=error)
        return reason


def make_settings(**choices: Any) -> Settings:
    """Makes settings; a background may be named as for `--background`."""
    from background_blur.capture import open_file
    from background_blur.rendering.backgrounds import open_background

    if isinstance(background := choices.get("background"), str):
        choices["background"] = open_background(background, open_file)
    return Settings(**choices)


def open_default(is_sequence: bool) -> Segmenter:
    """Opens the bundled person network; photos get the more thorough predictions."""
    from background_blur.matting.engines import open_segmenter

    return open_segmenter(thorough=not is_sequence)
