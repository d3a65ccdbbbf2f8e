"""Backdrops, and the composite: the sharp person over a blurred background."""

import cv2
import numpy as np
from numpy.typing import DTypeLike

from background_blur.imaging import halve
from background_blur.rendering.foreground import apply_correction


def to_bgra(frame: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The person on nothing, black where nothing of them is.

    Args:
        frame: uint8 or uint16 [H,W,3] BGR, or [H,W,4] BGRA of what is transparent itself.
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


SIGMA_OF_STRENGTH = 0.08  # of the frame's height, at strength 1
ROWS = 64  # of the strips the composite is made in: they stay in the processor's cache


def blur_background(
    small: np.ndarray, alpha: np.ndarray, strength: float, depth: DTypeLike = np.uint8
) -> np.ndarray:
    """The background alone, Gaussian-blurred, with nothing of the person in it.

    A plain blur would smear the person into a halo around them. This one weighs each pixel with
    how much background it is: G(frame·(1-α)) / G(1-α). Where the person hides all the background
    in reach, a far wider blur fills in.

    Args:
        small: uint8 [h,w,3] BGR, the frame at any size.
        alpha: uint8 [h,w], 255 = person.
        strength: 0..1; the Gaussian's sigma is 0.08 times that of the picture's height.
        depth: np.uint8, or np.uint16 for finer steps than `small` has.

    Returns:
        Of that depth, [h',w',3], as small as the blur allows; `compose` enlarges it.
    """
    sigma = strength * SIGMA_OF_STRENGTH * small.shape[0]
    if sigma < 0.3:
        return to_depth(small, depth)
    picture, person = small, alpha
    while sigma >= 6:  # below 3 the enlarging would show
        picture, person, sigma = halve(picture), halve(person), sigma / 2
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA).astype(np.float32)  # [h',w',4], A = 255
    weight = cv2.LUT(cv2.dilate(person, np.ones((3, 3))), BACKGROUND)  # float32 [h',w']
    picture_mean = np.array(cv2.mean(picture), np.float32)
    picture *= cv2.merge([weight] * 4)
    near = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    height, width = weight.shape
    wide = cv2.blur(picture, (width // 2 | 1, height // 2 | 1)) + 1e-4 * picture_mean
    near += wide * (2.5 / wide[..., 3:])  # a hundredth of the near blur's full weight
    near = near[..., :3] * (np.iinfo(depth).max / near[..., 3:])
    return cv2.convertScaleAbs(near) if depth == np.uint8 else np.rint(near).astype(depth)


# How much background a pixel is, by its alpha: none from one half on.
BACKGROUND = np.clip(1 - np.arange(256) / 127, 0, 1).astype(np.float32)


def to_depth(picture: np.ndarray, depth: DTypeLike) -> np.ndarray:
    """A uint8 picture, or its values stretched to uint16."""
    return picture if depth == np.uint8 else picture.astype(np.uint16) * 257


def compose(
    frame: np.ndarray,
    backdrop: np.ndarray,
    alpha: np.ndarray,
    out: np.ndarray | None = None,
    correction: np.ndarray | None = None,
) -> np.ndarray:
    """alpha·(frame + correction) + (1-alpha)·backdrop, in whole numbers throughout.

    Pixels with alpha 255 keep the frame's exact values, pixels with 0 the backdrop's; between them
    the rounding is off by one at most.

    Args:
        frame: uint8 or uint16 [H,W,3].
        backdrop: of the same depth, [h,w,3], enlarged to the frame.
        alpha: uint8 [h,w], 255 = frame, enlarged to the frame.
        out: of the same depth, [H,W,3], to write to; or None.
        correction: int16 [h,w,3] of `foreground.foreground_correction`, enlarged to the frame, or
            None.
    """
    size = frame.shape[1], frame.shape[0]
    out = cv2.resize(backdrop, size, dst=out, interpolation=cv2.INTER_LINEAR)
    alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    if correction is not None and not whole_factor(frame, correction):
        correction = cv2.resize(correction, size, interpolation=cv2.INTER_LINEAR)
    for row in range(0, size[1], ROWS):
        rows = slice(row, min(row + ROWS, size[1]))
        left, middle, end, right = runs(alpha[rows])
        np.copyto(out[rows, middle:end], frame[rows, middle:end])
        for columns in (slice(left, middle), slice(end, right)):
            if columns.start < columns.stop:
                person = corrected(frame, correction, rows, columns)
                blend(person, alpha[rows, columns], out[rows, columns])
    return out


def corrected(
    frame: np.ndarray, correction: np.ndarray | None, rows: slice, columns: slice
) -> np.ndarray:
    """Those rows and columns of frame + correction, which is a whole number of times smaller."""
    part = frame[rows, columns]
    if correction is None:
        return part
    factor = whole_factor(frame, correction)
    top, left = rows.start // factor, columns.start // factor
    small = correction[top : -(-rows.stop // factor), left : -(-columns.stop // factor)]
    large = cv2.resize(small, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    y, x = rows.start - top * factor, columns.start - left * factor
    large = large[y : y + part.shape[0], x : x + part.shape[1]]
    return apply_correction(part, large)


def whole_factor(large: np.ndarray, small: np.ndarray) -> int:
    """How many times one picture is larger than the other on both sides; 0 for no whole number."""
    height, width = small.shape[:2]
    factor = large.shape[1] // width
    return factor if large.shape[:2] == (factor * height, factor * width) else 0


def runs(alpha: np.ndarray) -> tuple[int, int, int, int]:
    """Columns (left, middle, end, right) of a strip: person only in [left, right), all of it 255 in
    [middle, end), which may be empty."""
    left, _, width, _ = cv2.boundingRect(alpha)
    right = left + width
    solid = np.flatnonzero(alpha[:, left:right].min(0) == 255) + left
    if len(solid) == 0 or solid[-1] - solid[0] >= len(solid):  # none, or in several pieces
        return left, right, right, right
    return left, int(solid[0]), int(solid[-1]) + 1, right


def blend(frame: np.ndarray, alpha: np.ndarray, out: np.ndarray) -> None:
    """Lays alpha·frame over what is in `out`."""
    share = cv2.merge([alpha] * 3)
    depth = cv2.CV_8U if out.dtype == np.uint8 else cv2.CV_16U
    person = cv2.multiply(frame, share, scale=1 / 255, dtype=depth)
    behind = cv2.multiply(out, cv2.bitwise_not(share), scale=1 / 255, dtype=depth)
    cv2.add(person, behind, dst=out)
