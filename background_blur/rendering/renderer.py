"""Makes the finished image from image and alpha, in the chosen view, over the chosen background."""

from dataclasses import dataclass

import cv2
import numpy as np

from background_blur.imaging import flatten_alpha
from background_blur.rendering.compositing import blur_background, compose, to_bgra, to_depth
from background_blur.rendering.follow import View, crop
from background_blur.rendering.foreground import apply_correction, foreground_correction
from background_blur.settings import TRANSPARENT, Settings
from background_blur.timing import StageTimer

MIN_HIDING_STRENGTH = 0.5  # least strength of the blur of a fully blurred frame


@dataclass(frozen=True)
class Scene:
    """What an image is rendered with.

    Attributes:
        small: uint8 [h,w,3] BGR, the image at the size its alpha was found at.
        alpha: uint8 [h,w], 255 = person.
        time: of the frame, in seconds.
        hidden: the frame is fully blurred; alpha is 0 everywhere.
        shown: the part of the frame to show.
        mirrored: whether the image is, compared with the source.
    """

    small: np.ndarray
    alpha: np.ndarray
    time: float
    hidden: bool
    shown: View
    mirrored: bool = False


class Renderer:
    """Renders images according to the settings, which are read for each one."""

    def __init__(self, settings: Settings):
        self.settings = settings
        # The last blur, with what it was made from; if the alpha is the same, nothing moved.
        self.blurred: tuple[np.ndarray, float, np.ndarray] | None = None

    def render(self, image: np.ndarray, scene: Scene, timer: StageTimer) -> np.ndarray:
        """Renders a uint8 or uint16 [H,W,3] BGR, or [H,W,4] BGRA, in the chosen view."""
        if self.settings.view == "alpha":
            alpha = cv2.resize(scene.alpha, (image.shape[1], image.shape[0]))
            return cv2.cvtColor(crop(alpha, scene.shown), cv2.COLOR_GRAY2BGR)
        result = self.composite(image, scene, timer)
        if self.settings.view != "split":
            return result
        if result.shape[2] == 4:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
        return np.hstack([result if scene.hidden else crop(image, scene.shown), result])

    def render_whole(
        self, whole: np.ndarray | None, scene: Scene, timer: StageTimer
    ) -> np.ndarray | None:
        """Renders all the data of a photo, `Frame.whole`, uint8 or uint16 [H,W,3 or 4].

        Returns:
            The same kind, or None if 8 bits and three channels hold it all.
        """
        transparent = self.settings.background == TRANSPARENT
        if whole is None or self.settings.view == "alpha":
            return None
        if whole.shape[2] == 4 and not transparent:
            whole = flatten_alpha(whole)
        if whole.dtype == np.uint8 and not transparent:
            return None
        return self.render(cv2.flip(whole, 1) if scene.mirrored else whole, scene, timer)

    def composite(self, image: np.ndarray, scene: Scene, timer: StageTimer) -> np.ndarray:
        """Composes the person over the chosen background, or over nothing."""
        background, alpha, shown = self.settings.background, scene.alpha, scene.shown
        if background == TRANSPARENT:
            with timer.measure("compose"):
                person = apply_correction(image, foreground_correction(scene.small, alpha))
                return to_bgra(crop(person, shown), crop(alpha, shown))
        with timer.measure("blur"):
            if callable(background):
                behind = to_depth(background(image.shape[1::-1], scene.time), image.dtype)
            else:
                behind = self.blur(image, scene)
        with timer.measure("compose"):
            # Over the blur, the room's colours in the outline do not show.
            correction = foreground_correction(scene.small, alpha) if callable(background) else None
            return crop(compose(image, behind, alpha, correction=correction), shown)

    def blur(self, image: np.ndarray, scene: Scene) -> np.ndarray:
        strength = self.settings.strength
        if scene.hidden:
            strength = max(strength, MIN_HIDING_STRENGTH)
        if not strength:
            return image
        if self.blurred:
            alpha, last_strength, blurred = self.blurred
            if (strength, image.dtype) == (last_strength, blurred.dtype) and alpha is scene.alpha:
                return blurred
        blurred = blur_background(scene.small, scene.alpha, strength, image.dtype)
        self.blurred = scene.alpha, strength, blurred
        return blurred
