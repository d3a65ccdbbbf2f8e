"""picture -> mask: runs the network, or propagates its last mask, and trusts neither blindly."""

from functools import partial

import numpy as np

from background_blur.imaging import Picture
from background_blur.matting.propagation import MaskPropagator
from background_blur.matting.quality import QualityLevel
from background_blur.matting.segmenter import FINE, Segmenter
from background_blur.matting.tracking import PersonTracker
from background_blur.matting.validation import MaskHistory, hang_up

NETWORK = "network"


class MaskFinder:
    """Finds the masks of one source's pictures, in order.

    Attributes:
        seen: the share of the last picture that the network saw, each time it ran.
    """

    def __init__(self, segmenter: Segmenter, is_sequence: bool, track: bool):
        """See `BackgroundBlur`."""
        self.segmenter, self.is_sequence = segmenter, is_sequence
        self.tracker = PersonTracker() if track and is_sequence else None
        self.propagator = MaskPropagator()
        self.history = MaskHistory()
        self.seen: list[float] = []

    def reset(self, is_cut: bool = False) -> None:
        """Drops what was remembered of earlier pictures, at a cut or after an error."""
        self.propagator.reset()
        self.history.reset(is_cut)
        if self.tracker:
            self.tracker.reset()

    def find(
        self, picture: Picture, time: float, who: str, level: QualityLevel | None
    ) -> tuple[np.ndarray, str]:
        """Finds the mask of a picture, and says where it comes from.

        Args:
            time: of the picture, in seconds.
            who: who is to be in the mask, one of `settings.PEOPLE`.
            level: how often the network runs, and at what scale; None: on every picture.

        Returns:
            float32 [h,w] of any size, 0..1, and NETWORK, PROPAGATED or REUSED.

        Raises:
            NoTrustedMask: the mask cannot be trusted.
        """
        self.seen = []
        scale = level.scale if level else FINE
        propagated = self.propagator.propagate(picture, time, level.every) if level else None
        mask, origin = propagated or (self.look(picture, time, who, scale), NETWORK)
        if self.is_sequence:
            look_again = partial(self.segment, hang_up(picture.image), who, scale)
            self.history.check_mask(mask, picture.size, look_again)
        if self.tracker:
            self.tracker.follow(mask, time)
        if level and not propagated:
            self.propagator.set_key_frame(picture, mask, time)
        return mask, origin

    def look(self, picture: Picture, time: float, who: str, scale: float) -> np.ndarray:
        """Runs the network on a picture, or on the part where the people are."""

        def predict(image: np.ndarray) -> np.ndarray:
            self.seen.append(image.size / picture.image.size)
            mask, part = self.segment(image, who, scale), Picture(image)
            self.history.check_output(mask, part.size, part.thumbnail)
            return mask

        if not self.tracker:
            return predict(picture.image)
        return self.tracker.segment(picture, time, predict)

    def segment(self, image: np.ndarray, who: str, scale: float) -> np.ndarray:
        """Returns the network's mask of those who may stay."""
        masks = self.segmenter.segment(image, scale)
        return masks.person if who == "all" else masks.solid_front()
