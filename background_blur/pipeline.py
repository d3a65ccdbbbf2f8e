"""Frame in, finished frame out: find the mask, refine it to an alpha, render; and fail closed.

This is the one place that decides what may leave: a frame without a trusted mask, whatever the
reason, leaves fully blurred, or as the chosen background alone. What is trusted is decided by
`background_blur.matting.validation`. Nothing carries over from one frame to the next across a cut,
a change of size, a mirroring or an error.
"""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from background_blur.errors import UserError
from background_blur.frames import Frame, Result
from background_blur.imaging import THUMBNAIL_SIZE, Picture, downscale, to_bgr
from background_blur.matting.masks import NETWORK, MaskFinder
from background_blur.matting.motion import is_cut
from background_blur.matting.propagation import REUSED
from background_blur.matting.quality import LEVELS, QualityLevel
from background_blur.matting.refinement import MaskRefiner
from background_blur.matting.segmenter import Segmenter
from background_blur.matting.validation import NoTrustedMask
from background_blur.rendering.follow import WHOLE, Follower, View, crop, portrait_of
from background_blur.rendering.renderer import Renderer, Scene
from background_blur.settings import HIDDEN, Settings
from background_blur.timing import StageTimer

USUAL_FPS = 30  # of images that come without a time

log = logging.getLogger("background_blur.pipeline")


@dataclass
class Found:
    """A frame, and the mask found in it, or the reason why none is trusted."""

    frame: Frame
    image: np.ndarray  # the frame's, mirrored where that is set
    picture: Picture
    is_new_scene: bool
    timer: StageTimer
    mask: np.ndarray | None = None
    mask_from: str | None = None
    reason: str | None = None
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
                people are, instead of the whole.
            **choices: single `Settings` instead of `settings`, such as `strength=0.8`; a background
                may be named as `--background` takes it: a picture, a video, "#00b140".

        Raises:
            WeightsError: the network's weights are missing or damaged.
            BackgroundError: no such background.
            TypeError: no such setting.
        """
        self.settings = settings or make_settings(**choices)
        self.is_sequence = is_sequence
        self.masks = MaskFinder(segmenter or open_default(is_sequence), is_sequence, track)
        self.refiner = MaskRefiner()
        self.key_alpha: tuple[np.ndarray, str] | None = None  # of the last key frame, and of whom
        self.follower = Follower()
        self.renderer = Renderer(self.settings)
        self.scene: tuple | None = None  # of the last frame: its shape, and whether mirrored;
        self.thumbnail = np.zeros(THUMBNAIL_SIZE[::-1], np.uint8)  # and its thumbnail
        self.errors_logged: set[type[Exception]] = set()
        self.last: tuple[Frame, Settings, Result] | None = None

    def __call__(self, frame: Frame | np.ndarray, level: QualityLevel | None = None) -> Result:
        """Finishes one frame.

        Args:
            frame: a Frame, or just its image, uint8 [H,W,3] BGR (or [H,W] grey, or [H,W,4] BGRA,
                whose alpha is left out), of 30 frames/s then.
            level: how often to run the network, masks being propagated in between; None: at every
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
        """Finishes frames in order; a second thread finds the next one's mask meanwhile.

        Where nothing moves from frame to frame a mask is reused. Settings take effect one frame
        late, except for hiding. Whatever `frames` raises comes after the last result.
        """
        level = LEVELS[0] if self.is_sequence else None
        coming: Future[Found] | None = None
        error = None
        with ThreadPoolExecutor(1) as looking:
            try:
                for frame in frames:
                    found, coming = coming, looking.submit(self.find_mask, frame, level)
                    if found:
                        yield self.finish(found.result())
            except UserError as why:
                error = why
            if coming:
                yield self.finish(coming.result())
        if error:
            raise error

    def find_mask(self, frame: Frame, level: QualityLevel | None = None) -> Found:
        """Finds the mask of a frame; see `__call__`."""
        mirror, timer = self.settings.mirror, StageTimer()
        image = cv2.flip(frame.image, 1) if mirror else frame.image
        with timer.measure("downscale"):
            picture = Picture(downscale(image))
        found = Found(frame, image, picture, self.is_new_scene(picture, mirror), timer)
        if found.is_new_scene:
            self.masks.reset(is_cut=True)
        try:
            if self.settings.hide:
                raise NoTrustedMask(HIDDEN)
            with timer.measure("segment"):
                who = self.settings.people
                found.mask, found.mask_from = self.masks.find(picture, frame.time, who, level)
                found.seen = self.masks.seen
        except Exception as error:  # whatever goes wrong in there, nothing sharp may get out
            found.reason = self.reason(error)
            self.masks.reset()
        return found

    def finish(self, found: Found) -> Result:
        """Refines the mask to an alpha, and renders the frame."""
        frame, image, timer = found.frame, found.image, found.timer
        alpha, reason = self.refine(found)
        shown = self.view(alpha, frame.time)
        scene = Scene(found.picture.image, alpha, frame.time, bool(reason), shown)
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
        """The frame of an image that comes without a time."""
        bgr = to_bgr(image) if isinstance(image, np.ndarray) else None
        if bgr is None:
            raise ValueError(
                "not an image: give a uint8 array [H,W,3] BGR; cv2.imread returns None for a file "
                "that it cannot read"
            )
        return Frame(bgr, self.last[0].time + 1 / USUAL_FPS if self.last else 0.0)

    def is_same_as_last(self, frame: Frame) -> bool:
        """Whether a photo that stays on screen comes again."""
        assert self.last
        return (frame, self.settings) == self.last[:2] and not self.is_sequence

    def refine(self, found: Found) -> tuple[np.ndarray, str | None]:
        """The alpha of a frame, uint8 [h,w], and None; without a trusted mask 0, and the reason."""
        if found.is_new_scene:
            self.refiner.reset()
            self.key_alpha = None
        reason = HIDDEN if self.settings.hide else found.reason
        try:
            if found.mask is not None and not reason:
                with found.timer.measure("refine"):
                    return self.refined(found, found.mask), None
        except Exception as error:  # as in `find_mask`
            reason = self.reason(error)
        self.refiner.reset()
        self.key_alpha = None
        return np.zeros(found.picture.image.shape[:2], np.uint8), reason

    def refined(self, found: Found, mask: np.ndarray) -> np.ndarray:
        """The alpha of a trusted mask; that of the key frame again while nothing moves."""
        who = self.settings.people
        if found.mask_from == REUSED and self.key_alpha and self.key_alpha[1] == who:
            return self.key_alpha[0]
        alpha = self.refiner.refine(found.picture, mask, who)
        if found.mask_from == NETWORK:
            self.key_alpha = alpha, who
        return alpha

    def is_new_scene(self, picture: Picture, mirror: bool) -> bool:
        """Whether earlier frames say nothing about this one; remembers it."""
        last, self.thumbnail = self.thumbnail, picture.thumbnail
        scene, self.scene = self.scene, (picture.image.shape, mirror)
        return not self.is_sequence or scene != self.scene or is_cut(self.thumbnail, last)

    def view(self, alpha: np.ndarray, time: float) -> View:
        """The part of the frame to show."""
        if not self.settings.follow:
            return WHOLE
        return self.follower.follow(alpha, time) if self.is_sequence else portrait_of(alpha)

    def reason(self, error: Exception) -> str:
        """Why a frame has no mask; what is unexpected is logged, with its traceback once."""
        if isinstance(error, NoTrustedMask):
            return str(error)
        reason = f"the network failed: {error}"
        if type(error) not in self.errors_logged:
            self.errors_logged.add(type(error))
            log.exception("%s; frames are fully blurred meanwhile", reason)
        return reason


def make_settings(**choices: Any) -> Settings:
    """Settings, whose background may be named as `--background` takes it."""
    from background_blur.capture import open_file
    from background_blur.rendering.backgrounds import open_background

    if isinstance(background := choices.get("background"), str):
        choices["background"] = open_background(background, open_file)
    return Settings(**choices)


def open_default(is_sequence: bool) -> Segmenter:
    """The bundled person network; photos get the more thorough predictions."""
    from background_blur.matting.engines import open_segmenter

    return open_segmenter(thorough=not is_sequence)
