"""Backdrops, and the composite: the sharp person over a blurred background."""

import cv2
import numpy as np
from numpy.typing import DTypeLike

from background_blur.imaging import halve
from background_blur.rendering.foreground import apply_correction

SIGMA_OF_STRENGTH = 0.08  # of the frame's height, at strength 1
ROWS = 64  # per strip; strips are composed one by one, to stay in the processor's cache
# How much a pixel counts as background, by its alpha: not at all from one half on.
BACKGROUND = np.clip(1 - np.arange(256) / 127, 0, 1).astype(np.float32)


def to_bgra(frame: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Puts the person on a transparent ground, black where there is nothing of them.

    Args:
        frame: uint8 or uint16 [H,W,3] BGR, or [H,W,4] BGRA if it is transparent itself.
        alpha: uint8 [h,w], 255 = person, enlarged to the frame.

    Returns:
        [H,W,4] BGRA of the same depth.
    """
    alpha = cv2.resize(alpha, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours, mask = frame[..., :3], alpha
    alpha = to_depth(alpha, frame.dtype)
    if frame.shape[2] == 4:
        most = np.iinfo(frame.dtype).max
        alpha = np.rint(alpha * (frame[..., 3] / most)).astype(frame.dtype)
        mask = np.where(alpha > 0, np.uint8(255), np.uint8(0))
    person = cv2.bitwise_and(colours, colours, mask=mask)
    return cv2.merge([*cv2.split(person), alpha])


def blur_background(
    small: np.ndarray, alpha: np.ndarray, strength: float, depth: DTypeLike = np.uint8
) -> np.ndarray:
    """Blurs the background with a Gaussian, leaving nothing of the person in it.

    A plain blur would smear the person into a halo around them. This one weights each pixel by
    how much background it is: G(frame·(1-α)) / G(1-α). Where the person hides all the background
    within reach, a far wider blur fills in.

    Args:
        small: uint8 [h,w,3] BGR, the frame at any size.
        alpha: uint8 [h,w], 255 = person.
        strength: 0..1; the Gaussian's sigma is 0.08 · strength · the picture's height.
        depth: np.uint8, or np.uint16 for finer steps than `small` has.

    Returns:
        Of that depth, [h',w',3], as small as the blur allows; `compose` enlarges it.
    """
    sigma = strength * SIGMA_OF_STRENGTH * small.shape[0]
    if sigma < 0.3:
        return to_depth(small, depth)
    picture, person = small, alpha
    while sigma >= 6:  # below 3 the enlargement would show
        picture, person, sigma = halve(picture), halve(person), sigma / 2
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA).astype(np.float32)  # [h',w',4], A = 255
    weight = cv2.LUT(cv2.dilate(person, np.ones((3, 3))), BACKGROUND)  # float32 [h',w']
    picture_mean = np.array(cv2.mean(picture), np.float32)
    picture *= cv2.merge([weight] * 4)
    near = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    height, width = weight.shape
    wide = cv2.blur(picture, (width // 2 | 1, height // 2 | 1)) + 1e-4 * picture_mean
    wide *= cv2.merge([2.5 / wide[..., 3]] * 4)  # a hundredth of the near blur's full weight
    near += wide
    *colours, weight = cv2.split(near)
    near = cv2.merge(colours) * cv2.merge([np.iinfo(depth).max / weight] * 3)
    return cv2.convertScaleAbs(near) if depth == np.uint8 else np.rint(near).astype(depth)


def to_depth(picture: np.ndarray, depth: DTypeLike) -> np.ndarray:
    """Returns a uint8 picture as it is, or its values stretched to uint16."""
    return picture if depth == np.uint8 else picture.astype(np.uint16) * 257


def compose(
    frame: np.ndarray,
    backdrop: np.ndarray,
    alpha: np.ndarray,
    correction: np.ndarray | None = None,
) -> np.ndarray:
    """alpha·(frame + correction) + (1-alpha)·backdrop, in integers throughout.

    Pixels with alpha 255 keep the frame's exact values, pixels with 0 the backdrop's; between them
    the rounding is off by one at most.

    Args:
        frame: uint8 or uint16 [H,W,3].
        backdrop: of the same depth, [h,w,3], enlarged to the frame.
        alpha: uint8 [h,w], 255 = frame, enlarged to the frame.
        correction: int16 [h,w,3] of `foreground.foreground_correction`, enlarged to the frame, or
            None.
    """
    size = frame.shape[1], frame.shape[0]
    out = cv2.resize(backdrop, size, interpolation=cv2.INTER_LINEAR)
    if not whole_factor(frame, alpha):
        alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    if correction is not None and not whole_factor(frame, correction):
        correction = cv2.resize(correction, size, interpolation=cv2.INTER_LINEAR)
    factor = whole_factor(frame, alpha)
    step = max(1, ROWS // factor)
    for row in range(0, alpha.shape[0], step):
        top, bottom = row, min(row + step, alpha.shape[0])
        left, middle, end, right = runs(alpha, top, bottom, reach=factor > 1)
        rows = slice(factor * top, factor * bottom)
        solid = np.s_[rows, factor * middle : factor * end]
        np.copyto(out[solid], frame[solid])
        for start, stop in (left, middle), (end, right):
            if start < stop:
                part = np.s_[rows, factor * start : factor * stop]
                person = frame[part]
                if correction is not None:
                    person = apply_correction(person, enlarged(correction, frame, *part))
                blend(person, enlarged(alpha, frame, *part), out[part])
    return out


def enlarged(small: np.ndarray, frame: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Returns those rows and columns of the frame, enlarged from `small` by a whole number."""
    factor = whole_factor(frame, small)
    top, left = max(0, rows.start // factor - 1), max(0, columns.start // factor - 1)
    around = small[top : -(-rows.stop // factor) + 1, left : -(-columns.stop // factor) + 1]
    if factor > 1:
        around = cv2.resize(around, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    y, x = rows.start - factor * top, columns.start - factor * left
    return around[y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]


def whole_factor(large: np.ndarray, small: np.ndarray) -> int:
    """How many times larger one picture is than the other, both ways; 0 if not an integer."""
    height, width = small.shape[:2]
    factor = large.shape[1] // width
    return factor if large.shape[:2] == (factor * height, factor * width) else 0


def runs(alpha: np.ndarray, top: int, bottom: int, reach: bool) -> tuple[int, int, int, int]:
    """Finds the person in a strip of rows: columns (left, middle, end, right).

    The person is only in [left, right), and all of [middle, end), which may be empty, is 255. With
    `reach` that holds for the enlarged strip, where each pixel mixes with its neighbours.
    """
    height, width = alpha.shape
    around = alpha[max(0, top - reach) : min(bottom + reach, height)]
    left, _, wide, _ = cv2.boundingRect(around)
    right = left + wide
    if not wide:
        return 0, 0, 0, 0
    solid = np.flatnonzero(around[:, left:right].min(0) == 255) + left
    left, right = max(0, left - reach), min(right + reach, width)
    if len(solid) == 0 or solid[-1] - solid[0] >= len(solid):  # none, or in several pieces
        return left, right, right, right
    middle, end = int(solid[0]), int(solid[-1]) + 1
    middle, end = middle + reach * (middle > 0), end - reach * (end < width)
    return (left, middle, end, right) if middle < end else (left, right, right, right)


def blend(frame: np.ndarray, alpha: np.ndarray, out: np.ndarray) -> None:
    """Lays alpha·frame over what is in `out`."""
    share = cv2.merge([alpha] * 3)
    depth = cv2.CV_8U if out.dtype == np.uint8 else cv2.CV_16U
    person = cv2.multiply(frame, share, scale=1 / 255, dtype=depth)
    behind = cv2.multiply(out, cv2.bitwise_not(share), scale=1 / 255, dtype=depth)
    cv2.add(person, behind, dst=out)
