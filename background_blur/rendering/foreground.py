"""The person's own colours along the outline, where a pixel mixes person and room.

A pixel of the outline is I = αF + (1-α)B. If it keeps its colour I over another background, it
brings the old room along as a light or dark rim. Blur fusion (Forte 2021, "Approximate fast
foreground colour estimation", doi:10.1109/ICIP42928.2021.9506164) finds F and B: the means of the
colours nearby, weighted by α and by 1-α, then moved so that they explain the pixel; first over a
wide neighbourhood, then over a narrow one.

Two things are taken from multi-level estimation (Germer et al. 2020, arXiv:2006.14970): the wide
means are made on smaller pictures, and what is left unexplained, I - αF - (1-α)B, is shared between
F and B by least squares: F takes α / (α² + (1-α)²) of it, B takes (1-α) / (α² + (1-α)²).
"""

import cv2
import numpy as np

from background_blur.imaging import halve

STEPS = (4, 5), (4, 3), (4, 2), (3, 2), (3, 1), (2, 1)  # (times halved, radius of the box there)
LEAST = 1e-6  # weight; less in a box counts as nothing

# By α in 1/255: the shares of F, I and B in the outline's colour.
ALPHA = np.arange(256, dtype=np.float32) / 255
OF_PICTURE = ALPHA / (ALPHA**2 + (1 - ALPHA) ** 2)
OF_PERSON = 1 - OF_PICTURE * ALPHA
OF_ROOM = OF_PICTURE * (1 - ALPHA)


def foreground_correction(small: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Computes the correction that gives a picture the person's own colours along the outline.

    Args:
        small: uint8 [h,w,3] BGR.
        alpha: uint8 [h,w], 255 = person.

    Returns:
        int16 [h,w,3], -255..255: F - I where alpha is between 0 and 255, elsewhere exactly 0.
    """
    correction = np.zeros(small.shape, np.int16)
    outline = np.flatnonzero((alpha - np.uint8(1)).ravel() < 254)
    if outline.size == 0:
        return correction
    person, room = separate(small, alpha)
    size = small.shape[1::-1]
    person = cv2.resize(person, size).reshape(-1, 3).take(outline, axis=0)
    room = cv2.resize(room, size).reshape(-1, 3).take(outline, axis=0)
    picture = small.reshape(-1, 3).take(outline, axis=0)
    share = alpha.ravel().take(outline)
    colours = OF_PERSON.take(share)[:, None] * person  # float32 [n,3]
    colours += OF_PICTURE.take(share)[:, None] * picture
    colours -= OF_ROOM.take(share)[:, None] * room
    np.clip(colours, 0, 255, out=colours)
    colours -= picture
    correction.reshape(-1, 3)[outline] = np.rint(colours, out=colours)
    return correction


def apply_correction(image: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """Adds a correction to the picture it was made from, at any size and depth.

    Args:
        image: uint8 or uint16 [H,W,3], or [H,W,4] with an alpha, which is kept.
        correction: int16 [h,w,3], enlarged to the image.

    Returns:
        A new image of the same shape and depth.
    """
    if image.shape[2] == 4:
        return np.dstack([apply_correction(image[..., :3], correction), image[..., 3]])
    if correction.shape != image.shape:
        correction = cv2.resize(correction, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if image.dtype == np.uint8:
        return cv2.add(image, correction, dtype=cv2.CV_8U)
    return cv2.add(image, 257 * correction.astype(np.int32), dtype=cv2.CV_16U)


def separate(small: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates the colours of the person and of the room, each extended over the other.

    Args:
        small: uint8 [h,w,3] BGR.
        alpha: uint8 [h,w], 255 = person.

    Returns:
        Two uint8 [h',w',3], a quarter as wide and high: smooth means, to be refined per pixel.
    """
    pyramid = [(small, alpha)]
    while len(pyramid) <= STEPS[0][0]:
        pyramid.append((halve(pyramid[-1][0]), halve(pyramid[-1][1])))
    person = room = pyramid[-1][0].astype(np.float32)
    for halvings, radius in STEPS:
        picture, share = pyramid[halvings]
        share = cv2.merge([share] * 3) * np.float32(1 / 255)  # [h',w',3]
        person, room = explain(picture, share, person, room)
        person, room = weighted_means(person, room, share, radius)
    return cv2.convertScaleAbs(person), cv2.convertScaleAbs(room)


def explain(
    picture: np.ndarray, share: np.ndarray, person: np.ndarray, room: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moves both colours by least squares so that share·person + (1-share)·room equals the picture.

    Args:
        picture: uint8 [h,w,3].
        share: float32 [h,w,3], 0..1, of the person in each pixel.
        person, room: float32 of any size, enlarged to the picture.

    Returns:
        Two float32 [h,w,3], 0..255.
    """
    if person.shape != picture.shape:
        person, room = (cv2.resize(each, picture.shape[1::-1]) for each in (person, room))
    rest = 1 - share
    unexplained = picture - share * person - rest * room
    unexplained /= share * share + rest * rest
    person = person + share * unexplained
    room = room + rest * unexplained
    return np.clip(person, 0, 255, out=person), np.clip(room, 0, 255, out=room)


def weighted_means(
    person: np.ndarray, room: np.ndarray, share: np.ndarray, radius: int
) -> tuple[np.ndarray, np.ndarray]:
    """The means of both colours in a box around each pixel, weighted by how much of each there is.

    All are float32 [h,w,3]; `share`, 0..1, is that of the person in each pixel, `radius` in pixels.
    Where all weights in the box are 0, so is the mean.
    """
    weights = mean(share[..., 0], radius)
    weights = cv2.merge([weights] * 3)
    person = mean(person * share, radius) / (weights + LEAST)
    room = mean(room * (1 - share), radius) / (1 + LEAST - weights)
    return person, room


def mean(image: np.ndarray, radius: int) -> np.ndarray:
    size = (2 * radius + 1, 2 * radius + 1)
    return cv2.blur(image, size, borderType=cv2.BORDER_REPLICATE)
