"""The privacy rule: which masks are trusted. A frame without a trusted mask is fully blurred."""

from collections.abc import Callable

import cv2
import numpy as np

from background_blur.frames import Size
from background_blur.matting.motion import has_changed
from background_blur.matting.segmenter import nearest_input_size

PERSON = 0.1  # a mask above it lets some of the sharp picture through
FULL = 0.95  # coverage above it is only believed if the last second led up to it,
NEARLY_FULL = 0.75  # that is, averaged at least this
EMA_RATE = 0.06  # weight of a frame in the mean coverage: about a second's average
CLOSE_UPS = 6  # frames in a row that must show a close-up before it is believed
ON_WALL, BESIDE = 0.6, 0.25  # share marked: at least, of the picture hung up; at most, of the wall
RIM = np.ones((7, 7), np.uint8)  # cells around that picture's border, which count as neither
MIN_SIDE = 8  # cells per side of a mask
MAX_SQUASH = 1.5  # how much a mask's aspect ratio may differ from the network's input


class NoTrustedMask(Exception):
    """Why a frame has no mask."""


def mask_problem(mask: object, size: Size) -> str | None:
    """Says why something is no mask at all of a picture of that (width, height); None if it is.

    A mask is a float [h,w] of numbers from 0 to 1, with about the shape of the picture.
    """
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind != "f":
        return "the network gave no mask"
    if not fits(mask, size):
        return "the network gave a mask of another shape"
    if not (mask.min() >= -0.001 and mask.max() <= 1.001):  # allows for rounding; NaN fails as well
        return "the network gave numbers outside 0 to 1"
    return None


def fits(mask: np.ndarray, size: Size) -> bool:
    """Whether a mask has about the aspect ratio in which the network sees such a picture."""
    height, width = mask.shape
    if min(height, width) < MIN_SIDE:
        return False
    input_width, input_height = nearest_input_size(size)
    return bool(abs(np.log(width / height * input_height / input_width)) < np.log(MAX_SQUASH))


def coverage(mask: np.ndarray) -> float:
    """The fraction of the frame that a mask, float [h,w], lets through."""
    return np.count_nonzero(mask > PERSON) / mask.size


def hang_up(image: np.ndarray) -> np.ndarray:
    """Puts the picture, uint8 [H,W,3], half as large, in the middle of a grey wall of its size."""
    height, width = image.shape[:2]
    half, wall = cv2.resize(image, (width // 2, height // 2)), np.full_like(image, 128)
    top, left = height // 4, width // 4
    wall[top : top + half.shape[0], left : left + half.shape[1]] = half
    return wall


def is_close_up(mask: object, size: Size) -> bool:
    """Whether the mask of a picture of that size, which was hung up, shows a close-up.

    A working network finds the person in the picture and almost nobody on the wall; a broken one
    that takes everything for a person does so there too. Of 197 faces that filled a view of a
    validation photograph, 148 are recognised.
    """
    if mask_problem(mask, size):
        return False
    assert isinstance(mask, np.ndarray)
    picture = (hang_up(np.zeros(mask.shape, np.uint8)) == 0).astype(np.uint8)
    inside, around = cv2.erode(picture, RIM), cv2.dilate(picture, RIM)
    marked = mask > PERSON
    return marked[inside == 1].mean() >= ON_WALL and marked[around == 0].mean() <= BESIDE


class MaskHistory:
    """Decides which of one source's masks are trusted, by those before."""

    def __init__(self):
        self.mean_coverage = 0.0  # of the trusted masks of the last second
        self.close_ups = 0  # frames in a row that showed one
        self.mask: np.ndarray | None = None  # the network's last
        self.thumbnail = np.zeros((0, 0), np.uint8)  # of the picture that it first came with

    def reset(self, is_cut: bool = False) -> None:
        """Drops what was remembered of earlier masks, at a cut or after an error, except what
        detects a frozen network."""
        self.mean_coverage = 0.0
        if is_cut:
            self.close_ups = 0

    def check_output(self, mask: np.ndarray, size: Size, thumbnail: np.ndarray) -> None:
        """Checks what the network made of a picture, or of part of one, with that thumbnail.

        Raises:
            NoTrustedMask: it is not a mask, or it is the last one again, bit for bit, although the
                picture changed.
        """
        if problem := mask_problem(mask, size):
            raise NoTrustedMask(problem)
        if self.mask is None or not np.array_equal(mask, self.mask):
            self.mask, self.thumbnail = mask.copy(), thumbnail
        elif has_changed(thumbnail, self.thumbnail) and mask.max() > PERSON:
            # An empty mask may well stay the same: nobody is there.
            raise NoTrustedMask("the network gave an old mask again")

    def check_mask(self, mask: np.ndarray, size: Size, look_again: Callable[[], object]) -> None:
        """Checks the mask of a whole frame in a sequence, wherever it comes from.

        One that covers the frame is trusted if the masks before it led up to that, or if the
        picture is a close-up: `look_again` returns the network's mask of the picture, hung up.

        Raises:
            NoTrustedMask: it is not a mask, or covers everything from the start or after a fault.
        """
        if problem := mask_problem(mask, size):
            raise NoTrustedMask(problem)
        if coverage(mask) <= FULL or self.mean_coverage >= NEARLY_FULL:
            self.close_ups = 0
        else:
            self.close_ups = self.close_ups + 1 if is_close_up(look_again(), size) else 0
            if self.close_ups < CLOSE_UPS:
                raise NoTrustedMask("the mask suddenly covers everything")
            self.mean_coverage = 1.0
        self.mean_coverage += EMA_RATE * (coverage(mask) - self.mean_coverage)
