"""How good an alpha is: pure functions of arrays.

An alpha is float32 [h,w], 0..1, 1 = person; what is above 0.5 counts as person. The truth of a
photograph is uint8 [h,w]: 255 person, 128 don't know (left out of every score), 0 background; that
of a composite is an alpha. A figure that a picture has no say in is NaN.
"""

import cv2
import numpy as np

from tools.photos import UNKNOWN

TOLERANCE = 0.004  # of the picture's diagonal: how far off an outline may be
FAR = 1e9  # pixels; the distance if there is nothing
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def iou(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union: |A and T| / |A or T|; NaN where neither holds a person."""
    marked, person = (alpha > 0.5) & (truth != UNKNOWN), truth == 255
    return share(marked & person, marked | person)


def mae(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean of |alpha - truth| over what is known, 0..1."""
    return mean(np.abs(alpha - truth.astype(np.float32) / 255)[truth != UNKNOWN])


def leak(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true background that is left sharp: alpha > 0.5."""
    return share((alpha > 0.5) & (truth == 0), truth == 0)


def boundary_f(alpha: np.ndarray, truth: np.ndarray) -> float:
    """How well the outlines lie on one another: F = 2PR / (P + R).

    An outline is every person pixel with a 4-neighbour that is none; the picture's border makes no
    outline. Precision P is the share of the alpha's outline no farther than 0.4 % of the picture's
    diagonal from the true one; recall R the share of the true outline as near to the alpha's.
    Unknown seams up to twice that wide, drawn around some data sets' objects, are cut along their
    middle; outlines inside wider unknown parts, or within the tolerance of one, are left out.
    NaN where no outline is left.
    """
    tolerance = TOLERANCE * np.hypot(*truth.shape)
    person, ignored = fill_seams(truth, tolerance)
    marked = outline(alpha > 0.5)
    person = outline(person)
    to_marked, to_person = distance(marked), distance(person)
    marked, person = marked & ~ignored, person & ~ignored
    if not marked.any() and not person.any():
        return float("nan")
    precision = share(to_person[marked] <= tolerance, marked[marked])
    recall = share(to_marked[person] <= tolerance, person[person])
    both = np.nan_to_num(precision) + np.nan_to_num(recall)
    return float(2 * precision * recall / both) if both else 0.0


def fill_seams(truth: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Gives every unknown pixel to the nearer of person and background.

    Returns:
        bool [h,w], person; bool [h,w], within `tolerance` of an unknown part too wide for a seam.
    """
    unknown = truth == UNKNOWN
    to_person, to_background = distance(truth == 255), distance(truth == 0)
    core = unknown & (np.minimum(to_person, to_background) > tolerance)
    person = np.where(unknown, to_person < to_background, truth == 255)
    return person, distance(core) <= 2 * tolerance


def outline(binary: np.ndarray) -> np.ndarray:
    """bool [h,w]: the pixels of ones with a zero above, below, left or right."""
    return binary & (cv2.erode(binary.astype(np.uint8), CROSS) == 0)


def distance(binary: np.ndarray) -> np.ndarray:
    """float32 [h,w]: pixels to the nearest one."""
    if not binary.any():
        return np.full(binary.shape, FAR, np.float32)
    return cv2.distanceTransform((~binary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def mad(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute difference of two alphas, times 1000."""
    return mean(np.abs(alpha - truth)) * 1e3


def rim(alpha: np.ndarray, truth: np.ndarray) -> float:
    """MAD along the outline: no farther from it than 0.8 % of the diagonal, and 2 pixels.

    There a viewer sees a bright or dark rim, or hair cut off.
    """
    reach = max(2, 2 * TOLERANCE * np.hypot(*truth.shape))
    person = truth > 0.5
    band = np.maximum(distance(person), distance(~person)) <= reach
    return mean(np.abs(alpha - truth)[band]) * 1e3


def mse(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared difference of two alphas, times 1000."""
    return mean(np.square(alpha - truth)) * 1e3


def grad(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Gradient error: sum of (|∇alpha| - |∇truth|)², divided by 1000.

    ∇ is taken with first derivatives of a Gaussian, sigma 1.4, 9x9, each filter of unit energy. As
    in RobustVideoMatting's evaluation, but that the alphas are not stretched to 0..1 before. It is
    a sum, so it compares only pictures of one size.
    """
    return float(np.square(steepness(alpha) - steepness(truth)).sum()) / 1e3


def steepness(alpha: np.ndarray) -> np.ndarray:
    x = np.arange(-4, 5)
    bell = np.exp(-np.square(x / 1.4) / 2)
    slope = x * bell
    bell, slope = bell / np.linalg.norm(bell), slope / np.linalg.norm(slope)
    alpha = alpha.astype(np.float32)
    along = cv2.sepFilter2D(alpha, cv2.CV_32F, slope, bell, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, bell, slope, borderType=cv2.BORDER_REPLICATE)
    return np.hypot(along, down)


def dtssd(
    alpha: np.ndarray, last_alpha: np.ndarray, truth: np.ndarray, last_truth: np.ndarray
) -> float:
    """Unsteadiness: root mean square of (change of alpha - true change), times 100."""
    return mean(np.square((alpha - last_alpha) - (truth - last_truth))) ** 0.5 * 1e2


def flicker(alpha: np.ndarray, last_alpha: np.ndarray, still: np.ndarray) -> float:
    """Mean of |change of alpha| where the picture stood still (bool [h,w]), times 1000."""
    return mean(np.abs(alpha - last_alpha)[still]) * 1e3


def centre(alpha: np.ndarray) -> float:
    """x of the alpha's centre of gravity, in pixels."""
    columns = alpha.sum(0, dtype=np.float64)
    return share(columns * np.arange(len(columns)), columns)


def lag(positions: np.ndarray, true_positions: np.ndarray) -> float:
    """Frames by which one movement comes after another: where their correlation is highest.

    Tried from 3 frames ahead to 8 behind in steps of 1/20, the true positions between frames
    taken from a straight line, those before the first and after the last held. NaN where one of
    them does not move.
    """
    if not np.isfinite(positions).all() or np.ptp(positions) == 0 or np.ptp(true_positions) == 0:
        return float("nan")
    times = np.arange(len(true_positions))
    lags = np.arange(-60, 161) / 20
    delayed = [np.interp(times - lag, times, true_positions) for lag in lags]
    return float(lags[np.argmax([np.corrcoef(positions, track)[0, 1] for track in delayed])])


def mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64)) if np.size(values) else float("nan")


def share(part: np.ndarray, whole: np.ndarray) -> float:
    """sum of part / sum of whole, NaN of nothing."""
    total = float(np.sum(whole))
    return float(np.sum(part)) / total if total else float("nan")
