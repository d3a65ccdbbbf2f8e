"""The privacy rule: which masks are trusted. A frame without a trusted mask is fully blurred."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from background_blur.frames import Size
from background_blur.matting.segmenter import nearest_input_size

PERSON = 0.1  # a mask above it lets some of the sharp picture through
FULL = 0.95  # coverage that is only believed where the last second led up to it,
NEARLY_FULL = 0.75  # which is where it averages this
CLOSE_UPS = 6  # frames in a row that prove a close-up, before it is believed
ON_WALL, BESIDE = 0.6, 0.25  # share marked, at least of the picture on the wall, at most beside it
RIM = np.ones((7, 7), np.uint8)  # cells about that picture's border, which count as neither
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
        previous: the network's last mask; None where this one is not just the network's.
        changed: whether the network has seen another picture since it first gave `previous`.
    """

    size: Size
    previous: np.ndarray | None = None
    changed: bool = False


def validate_mask(mask: object, context: Context) -> str | None:
    """Why a mask is not to be trusted, or None.

    A mask is trusted if it is a float [h,w] of numbers from 0 to 1, shaped about as the picture
    is; and is not the last one over again, to the bit, while the picture has changed.
    """
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind != "f":
        return "the network gave no mask"
    if not fits(mask, context.size):
        return "the network gave a mask of another shape"
    if not (mask.min() >= -0.001 and mask.max() <= 1.001):  # but for rounding; NaN fails as well
        return "the network gave numbers outside 0 to 1"
    repeats = context.previous is not None and np.array_equal(mask, context.previous)
    if repeats and context.changed and coverage(mask):  # an empty room may look the same for long
        return "the network gave an old mask again"
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


def hung_up(image: np.ndarray) -> np.ndarray:
    """The picture, uint8 [H,W,3], half as large, in the middle of a grey wall of its own size."""
    height, width = image.shape[:2]
    half, wall = cv2.resize(image, (width // 2, height // 2)), np.full_like(image, 128)
    top, left = height // 4, width // 4
    wall[top : top + half.shape[0], left : left + half.shape[1]] = half
    return wall


def is_close_up(mask: object, size: Size) -> bool:
    """Whether a mask of a picture `hung_up`, that picture's size given, shows a close-up.

    A network that works finds the person in the picture and next to nobody on the wall; a broken
    one that takes everything for a person does so there, too. Of 197 faces that filled a view of
    a validation photograph, 148 are told so.
    """
    if validate_mask(mask, Context(size)):
        return False
    assert isinstance(mask, np.ndarray)
    picture = (hung_up(np.zeros(mask.shape, np.uint8)) == 0).astype(np.uint8)
    inside, around = cv2.erode(picture, RIM), cv2.dilate(picture, RIM)
    marked = mask > PERSON
    return marked[inside == 1].mean() >= ON_WALL and marked[around == 0].mean() <= BESIDE


class MaskHistory:
    """What validation remembers of one source: the network's last mask, and the trusted masks."""

    def __init__(self):
        self.mean_coverage = 0.0
        self.close_ups = 0  # frames in a row that proved one
        self.mask: np.ndarray | None = None  # the network's last
        self.thumbnail: np.ndarray | None = None  # of the picture that it first came with

    def reset(self) -> None:
        """Forgets what led up to now. A frozen network is still found out."""
        self.mean_coverage = 0.0

    def begin_scene(self) -> None:
        """Forgets what was seen of the scene before."""
        self.reset()
        self.close_ups = 0

    def check_output(self, mask: np.ndarray, size: Size, thumbnail: np.ndarray) -> None:
        """Takes what the network made of a picture or a part of one, whose thumbnail is given.

        Raises:
            NoTrustedMask: it is no mask, or an old one.
        """
        changed = False
        if self.thumbnail is not None:
            different = np.count_nonzero(cv2.absdiff(thumbnail, self.thumbnail) > CHANGED)
            changed = bool(different > CHANGED_FRACTION * thumbnail.size)
        reject_untrusted(mask, Context(size, self.mask, changed))
        if self.mask is None or not np.array_equal(mask, self.mask):
            self.mask, self.thumbnail = mask.copy(), thumbnail

    def check_mask(self, mask: np.ndarray, size: Size, look_again: Callable[[], object]) -> None:
        """Takes the mask of a whole frame in a sequence, wherever it comes from.

        One that covers the frame is trusted if the masks before it led up to that, or if the
        picture is a close-up: `look_again` gives the network's mask of the picture `hung_up`.

        Raises:
            NoTrustedMask: it is no mask, or covers everything from the start, or after a fault.
        """
        reject_untrusted(mask, Context(size))
        if coverage(mask) <= FULL or self.mean_coverage >= NEARLY_FULL:
            self.close_ups = 0
        else:
            self.close_ups = self.close_ups + 1 if is_close_up(look_again(), size) else 0
            if self.close_ups < CLOSE_UPS:
                raise NoTrustedMask("the mask suddenly covers everything")
            self.mean_coverage = 1.0
        self.mean_coverage += EMA_RATE * (coverage(mask) - self.mean_coverage)


def reject_untrusted(mask: np.ndarray, context: Context) -> None:
    if reason := validate_mask(mask, context):
        raise NoTrustedMask(reason)
