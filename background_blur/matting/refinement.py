"""mask -> alpha: steady over time, without holes, with its edges on those of the picture."""

import cv2
import numpy as np

from background_blur.imaging import Picture, fill_outlines
from background_blur.matting.masks import NETWORK
from background_blur.matting.people import PeopleSelector, connected_components
from background_blur.matting.propagation import REUSED

SURE = 0.25  # a mask below it is surely background
FRINGE = 1 / 100  # share of the mask's width, along outlines, where a mask may be in doubt
NOBODY = 0.01  # a mask below it makes an alpha of 0
RIM = 1 / 40  # share of the mask's width: a rim around those who do not stay, which goes with them


class MaskRefiner:
    """Turns one source's masks into alphas, in order; `reset` between unrelated pictures."""

    def __init__(self):
        self.people = PeopleSelector()
        self.reset()

    def reset(self) -> None:
        self.last: tuple[np.ndarray, np.ndarray] | None = None  # mask and grey picture
        self.key_alpha: np.ndarray | None = None  # of the last key frame
        self.skipped = 0  # frames since the last mask that was refined
        self.people.reset()

    def refine(
        self, picture: Picture, mask: np.ndarray, who: str = "front", mask_from: str = NETWORK
    ) -> np.ndarray:
        """Makes the alpha of a picture, uint8 [h,w].

        Args:
            picture: of that size.
            mask: float32 of any size, 0..1, the person in this very picture.
            who: who is to stay, one of `settings.PEOPLE`.
            mask_from: as in `Result`; if nothing moved, the key frame's alpha is reused too.

        Returns:
            uint8 [h,w], 255 = person.
        """
        if mask_from == REUSED and self.key_alpha is not None:
            self.skipped += 1
            return self.key_alpha
        alpha = sharpen(picture, self.clean(self.steady(picture.half_grey, mask), who))
        if mask_from == NETWORK:
            self.key_alpha = alpha
        return alpha

    def steady(self, grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Averages the mask over time where the picture, a uint8 [h,w], stands still.

        Where the picture moves, the new mask takes over at once, so that nothing trails behind;
        the picture's own median change tells noise from movement. Where the new mask is in doubt,
        the last one is held longer.
        """
        grey = cv2.resize(grey, mask.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        if self.last and self.last[0].shape == mask.shape:
            last_mask, last_grey = self.last
            change = cv2.blur(cv2.absdiff(grey, last_grey), (3, 3))
            change = cv2.dilate(change, np.ones((3, 3), np.uint8))
            noise = min(3 * median(change[::2, ::2]) + 4, 14)  # more is a camera that pans
            doubt = 1 - np.abs(2 * mask - 1)
            hold = (0.95 + 0.045 * doubt) * np.exp(-np.square(change / noise))
            mask = mask + hold ** (1 + self.skipped) * (last_mask - mask)
        self.last, self.skipped = (mask, grey), 0
        return mask

    def clean(self, mask: np.ndarray, who: str) -> np.ndarray:
        """Drops specks and those who are not to stay; makes the rest solid."""
        person = (mask > 0.5).view(np.uint8)
        labels, sizes = connected_components(person)
        kept = self.people.select(who, labels, sizes)
        if sizes[kept].sum() < np.count_nonzero(person):
            away = ~kept[labels] & (person == 1)
            side = 2 * max(1, round(RIM * mask.shape[1])) + 1
            around = cv2.dilate(away.astype(np.uint8), np.ones((side, side), np.uint8)) == 1
            mask = np.where(away | (around & (person == 0)), 0, mask)
            person[away] = 0
        return make_solid(mask, person)


def sharpen(picture: Picture, mask: np.ndarray) -> np.ndarray:
    """Makes a picture's alpha, uint8 [h,w], from its mask; filters only where people are near."""
    grey, half = picture.grey, picture.half_grey
    cell = max(1, round(half.shape[1] / mask.shape[1]))  # wider windows blur the mask
    if mask.shape != half.shape or grey.shape != (2 * half.shape[0], 2 * half.shape[1]):
        return cv2.LUT(fast_guided_filter(grey, half, mask, radius=cell), EDGE)
    alpha = np.zeros(grey.shape, np.uint8)
    left, top, width, height = cv2.boundingRect((mask > NOBODY).view(np.uint8))
    reach = 2 * cell + 2  # of the filter's two windows and of the enlargement
    rows = slice(max(0, top - reach), top + height + reach)
    columns = slice(max(0, left - reach), left + width + reach)
    here = np.s_[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
    if width:
        near = half[rows, columns], mask[rows, columns]
        cv2.LUT(fast_guided_filter(grey[here], *near, radius=cell), EDGE, dst=alpha[here])
    return alpha


def make_solid(mask: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Fills a mask, float32 [h,w], inside the person, uint8 [h,w] of 0 and 1, where it is in doubt.

    Nobody can be seen through, but hands in front of the body and prints on clothes often are in
    doubt. Away from any outline, only cells that are surely background stay background. This lowers
    the flicker on webcam clips from 0.43 to 0.37; in photographs 0.01 % more of the picture that is
    background stays sharp, and 0.01 % that is person, so their IoU stays the same.
    """
    side = 2 * max(1, round(FRINGE * mask.shape[1])) + 1
    window, sure = np.ones((side, side), np.uint8), (mask < SURE).view(np.uint8)
    solid = cv2.erode(fill_outlines(person), window) > cv2.dilate(sure, window)
    return np.where(solid, np.float32(1), mask)


def median(x: np.ndarray) -> float:
    """The upper median; five times as fast as NumPy's."""
    return np.partition(x, x.size // 2, axis=None)[x.size // 2]


def fast_guided_filter(
    grey: np.ndarray,
    small_grey: np.ndarray,
    mask: np.ndarray,
    radius: int = 4,
    epsilon: float = 13.0,
) -> np.ndarray:
    """Fast guided filter: enlarges the mask and moves its edges onto those of the picture.

    In each window alpha = a·grey + b, fitted to the mask by least squares (He & Sun 2015,
    arXiv:1505.00996); a and b are computed on a smaller copy, then enlarged.

    Args:
        grey: uint8 [h,w].
        small_grey: uint8 [h',w'], the same picture, smaller.
        mask: float32 of any size, 0..1.
        radius: of the window, in pixels of `small_grey`.
        epsilon: variance of grey below which an edge does not count.

    Returns:
        uint8 [h,w], 255 where the mask is 1.
    """
    size, small_size = grey.shape[::-1], small_grey.shape[::-1]
    window = (2 * radius + 1, 2 * radius + 1)
    g = small_grey.astype(np.float32)
    m = cv2.resize(mask * 255, small_size)
    mean_g, mean_m = cv2.blur(g, window), cv2.blur(m, window)
    variance = cv2.blur(g * g, window)
    variance -= mean_g * mean_g
    variance += epsilon
    a = cv2.blur(g * m, window)
    a -= mean_g * mean_m  # their covariance
    a /= variance
    b = mean_m - a * mean_g
    a, b = cv2.resize(cv2.blur(a, window), size), cv2.resize(cv2.blur(b, window), size)
    return cv2.add(cv2.multiply(a, grey, dst=a, dtype=cv2.CV_32F), b, dtype=cv2.CV_8U)


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, 3t²-2t³ between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


# What the guided filter leaves just above 0 or below 1 counts as background or person.
EDGE = np.round(255 * smoothstep(np.arange(256) / 255, 0.12, 0.88)).astype(np.uint8)
