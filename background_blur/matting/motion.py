"""Measures what changed from one picture to another, and how it moved.

All thresholds for changes are here, since what stays sharp depends on them: when a new scene
begins, when a mask may be reused, and when the network must run again.
"""

from functools import lru_cache

import cv2
import numpy as np

from background_blur.frames import Size
from background_blur.matting.boxes import Box

# Grey levels, of thumbnails
CUT = 8  # at a cut, half of a thumbnail changes by more
CHANGED, CHANGED_FRACTION = 4, 0.01  # another picture: more change, in more of a thumbnail
OUTSIDE = 5  # change of a spot outside a box, beyond the whole picture's own change
# Grey levels, of pictures of about 180 rows
STILL = 4  # if no spot changes by more, it is only noise
ERROR_OVER_NOISE, MAX_ERROR = 6, 14  # how far off a picture moved by a flow may be


def is_cut(now: np.ndarray, last: np.ndarray) -> bool:
    """Whether two thumbnails, uint8 [h,w], show different scenes."""
    return bool(2 * np.count_nonzero(cv2.absdiff(now, last) > CUT) >= now.size)


def has_changed(now: np.ndarray, last: np.ndarray) -> bool:
    """Whether two thumbnails, uint8 [h,w], differ by more than noise."""
    changed = np.count_nonzero(cv2.absdiff(now, last) > CHANGED)
    return bool(changed > CHANGED_FRACTION * now.size)


def has_changed_outside(now: np.ndarray, last: np.ndarray, box: Box, size: Size) -> bool:
    """Whether some spot outside a box changed by itself between two thumbnails, uint8 [h,w].

    Args:
        box: in pixels of a mask whose (width, height) is `size`.
    """
    if last.shape != now.shape:
        return True
    change = cv2.subtract(now, last, dtype=cv2.CV_16S)
    outside = np.ones(now.shape, bool)
    across, down = now.shape[1] / size[0], now.shape[0] / size[1]
    left, right = int(box.left * across), int(np.ceil(box.right * across))
    top, bottom = int(box.top * down), int(np.ceil(box.bottom * down))
    outside[top:bottom, left:right] = False
    if not outside.any():
        return False
    change = change[outside]
    return bool(np.abs(change - np.median(change)).max() > OUTSIDE)


def is_still(now: np.ndarray, last: np.ndarray) -> bool:
    """Whether nothing but noise differs in two small pictures, uint8 [h,w,3]."""
    return cv2.blur(cv2.absdiff(now, last), (3, 3)).max() <= STILL


class FlowSearch:
    """Measures motion by dense inverse search (Kroeger et al. 2016, arXiv:1603.03590)."""

    def __init__(self):
        self.search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def measure(self, now: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Where each pixel of `now` was in `last`, both uint8 [h,w]: float32 [h,w,2], (x, y)."""
        # OpenCV's stubs do not know that the initial flow may be None.
        return self.search.calc(now, last, None)  # pyright: ignore[reportCallIssue, reportArgumentType]


def flow_errors(now: np.ndarray, last: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """How far `last`, moved by the flow, is from `now`, both uint8 [h,w]: uint8 [h,w], smoothed."""
    return cv2.blur(cv2.absdiff(now, move(last, flow)), (5, 5))


def flow_error_limit(errors: np.ndarray) -> float:
    """The error above which a flow is wrong there: the noise, judged by the median, plus some."""
    return min(2 * np.median(errors) + ERROR_OVER_NOISE, MAX_ERROR)


def move(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Returns image[y + flow_y, x + flow_x] at each pixel, interpolated bilinearly.

    A flow [H,W,2] measured on pictures of another size is scaled to the image's.
    """
    if flow.shape[:2] != image.shape[:2]:
        size = image.shape[1::-1]
        scale = np.divide(size, flow.shape[1::-1]).astype(np.float32)
        flow = cv2.resize(flow, size, interpolation=cv2.INTER_AREA) * scale
    places, border = flow + positions(image.shape[:2]), cv2.BORDER_REPLICATE
    # OpenCV's stubs do not know that the second map is None where the first holds x and y.
    return cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=border)  # pyright: ignore[reportCallIssue, reportArgumentType]


@lru_cache(2)
def positions(shape: tuple[int, int]) -> np.ndarray:
    """float32 [h,w,2], not to be changed: the (x, y) of each pixel."""
    y, x = np.indices(shape, np.float32)
    return np.dstack([x, y])
