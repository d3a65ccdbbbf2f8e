"""Backdrops, and the composite: the sharp person over a blurred background."""

import cv2
import numpy as np

SIGMA_OF_STRENGTH = 0.08  # of the frame's height, at strength 1
ROWS = 64  # of the strips the composite is made in: they stay in the processor's cache


def blur_backdrop(small: np.ndarray, alpha: np.ndarray, strength: float) -> np.ndarray:
    """The background alone, Gaussian-blurred, with nothing of the person in it.

    A plain blur would smear the person into a halo around them. This one weighs each pixel with
    how much background it is: G(frame·(1-α)) / G(1-α). Where the person hides all the background
    in reach, a far wider blur fills in.

    Args:
        small: uint8 [h,w,3] BGR, the frame at any size.
        alpha: uint8 [h,w], 255 = person.
        strength: 0..1; the Gaussian's sigma is 0.08 times that of the picture's height.

    Returns:
        uint8 [h',w',3], as small as the blur allows; `compose` enlarges it.
    """
    sigma = strength * SIGMA_OF_STRENGTH * small.shape[0]
    if sigma < 0.3:
        return small
    shrink = min(max(1.0, sigma / 3), 8.0)  # a sigma of 3 pixels hides the enlarging
    sigma /= shrink
    size = max(1, round(small.shape[1] / shrink)), max(1, round(small.shape[0] / shrink))
    picture = cv2.resize(small, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    person = cv2.dilate(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.ones((3, 3)))
    weight = np.clip(1 - person.astype(np.float32) / 127, 0, 1)  # [h',w']
    layers = np.dstack([picture * weight[..., None], weight])  # [h',w',4]
    near = cv2.GaussianBlur(layers, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    wide = cv2.blur(layers, (size[0] | 1, size[1] | 1), borderType=cv2.BORDER_REPLICATE)
    own = cv2.GaussianBlur(picture, (0, 0), sigma)
    wide = wide + 1e-4 * np.dstack([own, np.ones_like(weight)])
    total = near + 0.01 * wide / np.maximum(wide[..., 3:], 1e-6)
    return cv2.convertScaleAbs(total[..., :3] / total[..., 3:])


def compose(frame, backdrop, alpha, out=None) -> np.ndarray:
    """alpha·frame + (1-alpha)·backdrop, in whole numbers throughout.

    Pixels with alpha 255 keep the frame's exact values, pixels with 0 the backdrop's; between them
    the rounding is off by one at most.

    Args:
        frame: uint8 [H,W,3].
        backdrop: uint8 [h,w,3], enlarged to the frame.
        alpha: uint8 [h,w], 255 = frame, enlarged to the frame.
        out: uint8 [H,W,3] to write to, or None.
    """
    size = frame.shape[1], frame.shape[0]
    out = cv2.resize(backdrop, size, dst=out, interpolation=cv2.INTER_LINEAR)
    alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    left, top, width, height = cv2.boundingRect(alpha)
    for row in range(top, top + height, ROWS):
        box = np.s_[row : min(row + ROWS, top + height), left : left + width]
        share = cv2.merge([alpha[box]] * 3)
        person = cv2.multiply(frame[box], share, scale=1 / 255)
        behind = cv2.multiply(out[box], cv2.bitwise_not(share), scale=1 / 255)
        cv2.add(person, behind, dst=out[box])
    return out
