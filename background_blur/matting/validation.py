"""The privacy rule: which masks are trusted. A frame without a trusted mask is fully blurred."""

from dataclasses import dataclass

import cv2
import numpy as np

from background_blur.frames import Size
from background_blur.matting.segmenter import nearest_input_size

PERSON = 0.1  # a mask above it lets some of the sharp picture through
FULL = 0.95  # coverage that is only believed where the last second led up to it,
NEARLY_FULL = 0.75  # which is where it averages this
EMA_RATE = 0.06  # weight of a frame in the mean coverage: about a second's average
MIN_SIDE = 8  # cells per side of a mask
MAX_SQUASH = 1.5  # how much a mask's aspect ratio may differ from the network's input
CHANGED = 4  # grey levels by which a pixel of the thumbnail has changed
CHANGED_FRACTION = 0.01  # of the thumbnail, from which on the mask has to change too


class NoTrustedMask(Exception):
    """Why a frame has no mask."""


@dataclass(frozen=True)
class Context:
    """What a mask is judged by, besides itself.

    Attributes:
        size: of the picture it belongs to.
        mean_coverage: of the trusted masks of the last second; None for unrelated pictures, and
            for a part of a frame, which a face may fill.
        previous: the network's last mask; None where this one is not just the network's.
        changed: whether the network has seen another picture since it first gave `previous`.
    """

    size: Size
    mean_coverage: float | None = None
    previous: np.ndarray | None = None
    changed: bool = False


def validate_mask(mask: object, context: Context) -> str | None:
    """Why a mask is not to be trusted, or None.

    A mask is trusted if it is a float [h,w] of numbers from 0 to 1, shaped about as the picture
    is; is not the last one over again, to the bit, while the picture has changed; and does not
    cover the frame, unless the masks before it led up to that. So a mask that covers everything
    from the start, after a cut or after a fault is never trusted.
    """
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind != "f":
        return "the network gave no mask"
    if not fits(mask, context.size):
        return "the network gave a mask of another shape"
    if not (mask.min() >= -0.001 and mask.max() <= 1.001):  # but for rounding; NaN fails as well
        return "the network gave numbers outside 0 to 1"
    covered = coverage(mask)
    repeats = context.previous is not None and np.array_equal(mask, context.previous)
    if repeats and context.changed and covered:  # an empty room may well look the same for long
        return "the network gave an old mask again"
    mean = context.mean_coverage
    if covered > FULL and mean is not None and mean < NEARLY_FULL:
        return "the mask suddenly covers everything"
    return None


def coverage(mask: np.ndarray) -> float:
    """The fraction of the frame that a mask, float [h,w], lets through."""
    return np.count_nonzero(mask > PERSON) / mask.size


def fits(mask: np.ndarray, size: Size) -> bool:
    """Whether a mask has about the aspect ratio that the network sees such a picture in."""
    height, width = mask.shape
    if min(height, width) < MIN_SIDE:
        return False
    input_width, input_height = nearest_input_size(size)
    return bool(abs(np.log(width / height * input_height / input_width)) < np.log(MAX_SQUASH))


class MaskHistory:
    """What validation remembers of one source: the network's last mask, and the trusted masks."""

    def __init__(self):
        self.mean_coverage = 0.0
        self.mask: np.ndarray | None = None  # the network's last
        self.thumbnail: np.ndarray | None = None  # of the picture that it first came with

    def reset(self) -> None:
        """Forgets what led up to now. A frozen network is still found out."""
        self.mean_coverage = 0.0

    def check_output(self, mask: np.ndarray, size: Size, thumbnail: np.ndarray) -> None:
        """Takes what the network made of a picture or a part of one, whose thumbnail is given.

        Raises:
            NoTrustedMask: it is no mask, or an old one.
        """
        changed = False
        if self.thumbnail is not None:
            different = np.count_nonzero(cv2.absdiff(thumbnail, self.thumbnail) > CHANGED)
            changed = bool(different > CHANGED_FRACTION * thumbnail.size)
        reject_untrusted(mask, Context(size, None, self.mask, changed))
        if self.mask is None or not np.array_equal(mask, self.mask):
            self.mask, self.thumbnail = mask.copy(), thumbnail

    def check_mask(self, mask: np.ndarray, size: Size, is_sequence: bool) -> None:
        """Takes the mask of a whole frame, wherever it comes from. Raises NoTrustedMask."""
        reject_untrusted(mask, Context(size, self.mean_coverage if is_sequence else None))
        self.mean_coverage += EMA_RATE * (coverage(mask) - self.mean_coverage)


def reject_untrusted(mask: np.ndarray, context: Context) -> None:
    if reason := validate_mask(mask, context):
        raise NoTrustedMask(reason)
