"""How good an alpha is: pure functions of arrays.

An alpha is float32 [h,w], 0..1, 1 = person; values above 0.5 count as person. The truth of a
photograph is uint8 [h,w]: 255 person, 128 don't know (excluded from every score), 0 background; the
truth of a composite is an alpha. A figure that a picture cannot provide is NaN.
"""

import cv2
import numpy as np

from tools.photos import UNKNOWN

TOLERANCE = 0.004  # how far off an outline may be, as a fraction of the picture's diagonal
FAR = 1e9  # pixels; the distance to nothing
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def iou(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union: |A and T| / |A or T|; NaN if neither holds a person."""
    marked, person = (alpha > 0.5) & (truth != UNKNOWN), truth == 255
    return share(marked & person, marked | person)


def mae(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean of |alpha - truth| over what is known, 0..1."""
    return mean(np.abs(alpha - truth.astype(np.float32) / 255)[truth != UNKNOWN])


def leak(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true background that is left sharp: alpha > 0.5."""
    return share((alpha > 0.5) & (truth == 0), truth == 0)


def boundary_f(alpha: np.ndarray, truth: np.ndarray) -> float:
    """How well the outlines coincide: F = 2PR / (P + R).

    An outline is every person pixel with a 4-neighbour that is not person; the picture's border is
    no outline. Precision P is the share of the alpha's outline within 0.4 % of the picture's
    diagonal of the true one; recall R is the share of the true outline that near to the alpha's.
    Unknown seams up to twice as wide, which some data sets draw around objects, are split along
    their middle; outlines inside wider unknown parts, or within the tolerance of one, are ignored.
    NaN if no outline is left.
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
    """Assigns every unknown pixel to the nearer of person and background.

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
    """MAD along the outline: within 0.8 % of the diagonal of it, or 2 pixels if that is more.

    That is where a viewer sees a bright or dark rim, or hair cut off.
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

    ∇ uses first derivatives of a Gaussian, sigma 1.4, 9x9, each filter of unit energy. This is as
    in RobustVideoMatting's evaluation, except that the alphas are not stretched to 0..1 first. It
    is a sum, so only pictures of the same size can be compared.
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
    """Mean of |change of alpha| where the picture is still (bool [h,w]), times 1000."""
    return mean(np.abs(alpha - last_alpha)[still]) * 1e3


def centre(alpha: np.ndarray) -> float:
    """The x coordinate of the alpha's centre of gravity, in pixels."""
    columns = alpha.sum(0, dtype=np.float64)
    return share(columns * np.arange(len(columns)), columns)


def lag(positions: np.ndarray, true_positions: np.ndarray) -> float:
    """Frames by which one movement lags behind another: where their correlation is highest.

    Lags from 3 frames ahead to 8 behind are tried in steps of 1/20. The true positions are
    interpolated linearly between frames, and held before the first and after the last. NaN if
    either does not move.
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
    """Sum of part / sum of whole; NaN if the whole is zero."""
    total = float(np.sum(whole))
    return float(np.sum(part)) / total if total else float("nan")
