"""Frame in, finished frame out: find the mask, refine it to an alpha, render; and fail closed.

This is the one place that decides what may leave: a frame without a trusted mask, whatever the
reason, leaves fully blurred, or as the chosen background alone. What is trusted is decided by
`background_blur.matting.validation`. Nothing carries over from one frame to the next across a cut,
a change of size, a mirroring or an error.
"""

import logging
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from background_blur.frames import Frame, Result
from background_blur.imaging import THUMBNAIL_SIZE, Picture, downscale, to_bgr
from background_blur.matting.masks import MaskFinder
from background_blur.matting.motion import is_cut
from background_blur.matting.quality import QualityLevel
from background_blur.matting.refinement import MaskRefiner
from background_blur.matting.segmenter import Segmenter
from background_blur.matting.validation import NoTrustedMask
from background_blur.rendering.follow import WHOLE, Follower, View, crop, portrait_of
from background_blur.rendering.renderer import Renderer, Scene
from background_blur.settings import HIDDEN, Settings
from background_blur.timing import StageTimer

USUAL_FPS = 30  # of images that come without a time

log = logging.getLogger("background_blur.pipeline")


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
        self.follower = Follower()
        self.renderer = Renderer(self.settings)
        self.timer = StageTimer()  # of this frame
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
        self.timer = StageTimer()
        image = cv2.flip(frame.image, 1) if self.settings.mirror else frame.image
        with self.timer.measure("downscale"):
            picture = Picture(downscale(image))
        alpha, mask_from, reason = self.find_alpha(picture, frame.time, level)
        scene = Scene(picture.image, alpha, frame.time, bool(reason), self.view(alpha, frame.time))
        result = Result(
            self.renderer.render(image, scene, self.timer),
            frame.time,
            frame.path,
            frame.captured_at,
            self.renderer.render_whole(frame.whole, scene, self.timer),
            frame.metadata,
            size=(image.shape[1], image.shape[0]),
            working_alpha=crop(alpha, scene.shown),
            fully_blurred_because=reason,
            mask_from=mask_from,
            seconds=self.timer.seconds,
            seen=tuple(self.masks.seen),
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

    def find_alpha(
        self, picture: Picture, time: float, level: QualityLevel | None
    ) -> tuple[np.ndarray, str | None, str | None]:
        """The alpha of a picture, as (uint8 [h,w], where its mask comes from, None);
        without a trusted mask (all 0, None, the reason)."""
        if self.is_new_scene(picture):
            self.reset(is_cut=True)
        try:
            if self.settings.hide:
                raise NoTrustedMask(HIDDEN)
            with self.timer.measure("segment"):
                mask, mask_from = self.masks.find(picture, time, self.settings.people, level)
            with self.timer.measure("refine"):
                return self.refiner.refine(picture, mask, self.settings.people), mask_from, None
        except NoTrustedMask as why:
            reason = str(why)
        except Exception as error:  # whatever goes wrong in there, nothing sharp may get out
            reason = f"the network failed: {error}"
            self.log_once(error, reason)
        self.reset()
        return np.zeros(picture.image.shape[:2], np.uint8), None, reason

    def is_new_scene(self, picture: Picture) -> bool:
        """Whether earlier frames say nothing about this one; remembers it."""
        last, self.thumbnail = self.thumbnail, picture.thumbnail
        scene, self.scene = self.scene, (picture.image.shape, self.settings.mirror)
        return not self.is_sequence or scene != self.scene or is_cut(self.thumbnail, last)

    def reset(self, is_cut: bool = False) -> None:
        """Drops what is known of earlier frames, after an error or a cut."""
        self.refiner.reset()
        self.masks.reset(is_cut)

    def view(self, alpha: np.ndarray, time: float) -> View:
        """The part of the frame to show."""
        if not self.settings.follow:
            return WHOLE
        return self.follower.follow(alpha, time) if self.is_sequence else portrait_of(alpha)

    def log_once(self, error: Exception, reason: str) -> None:
        """Logs the error being handled with its traceback, once per kind."""
        if type(error) not in self.errors_logged:
            self.errors_logged.add(type(error))
            log.exception("%s; frames are fully blurred meanwhile", reason)


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
