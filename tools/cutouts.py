"""People cut out of photographs and blue-screen clips, to be placed in rooms."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from background_blur.capture import open_file
from background_blur.frames import Size
from tools.photos import UNKNOWN, Photo, known


def standing(mask: np.ndarray, size: Size, rise: float, x: float, shown: float = 1) -> np.ndarray:
    """The affine map, [2,3], that puts a person on the bottom edge of a view.

    Args:
        mask: uint8 [h,w], with a person; size: (width, height) of the view.
        rise: how tall the person becomes, in view heights.
        x: where the person stands, in view widths.
        shown: how much of the person's height is above the edge, 0..1.
    """
    person = mask > UNKNOWN
    rows, columns = np.flatnonzero(person.any(1)), person.sum(0).cumsum()
    tall = shown * (rows[-1] + 1 - rows[0])
    scale = rise * size[1] / tall
    to_x = x * size[0] - scale * np.searchsorted(columns, columns[-1] / 2)  # the median column
    return np.array([[scale, 0, to_x], [0, scale, size[1] - 1 - scale * (rows[0] + tall - 1)]])


def warped(
    photo: Photo, colours: np.ndarray, matrix: np.ndarray, size: Size, softness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Maps a person into a view: (uint8 [h,w,3], what they cover of it, float32 [h,w], 0..1).

    A drawn mask shrinks by a pixel, to hide the old background; a true alpha is not changed.

    Args:
        colours: uint8 [h,w,3], the person's.
        softness: sigma of the outline's blur, in pixels of the view.
    """
    if matrix[0, 0] < 0.67:  # bilinear sampling would alias
        colours = cv2.GaussianBlur(colours, (0, 0), 0.3 / matrix[0, 0])
    layer = cv2.warpAffine(colours, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    if photo.soft:
        cut = photo.mask.astype(np.float32) / 255
    else:
        cut = cv2.erode((photo.mask > 0).astype(np.float32), np.ones((3, 3)))
    cover = cv2.warpAffine(cut, matrix, size)
    return layer, cv2.GaussianBlur(cover, (0, 0), softness) if softness > 0.2 else cover


def paste(
    rng: Generator, image: np.ndarray, photo: Photo, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Puts a person into a picture.

    Returns:
        the picture, uint8 [h,w,3]; how much the person covers, float32 [h,w], 0..1; where that is
        unknown, bool [h,w].
    """
    size = image.shape[1::-1]
    softness = rng.uniform(0, 0.6) if photo.soft else rng.uniform(0.4, 1.0)
    layer, cover = warped(photo, photo.colours, matrix, size, softness)
    layer = match_light(rng, layer, image, cover)
    blend = cover[..., None] * layer + (1 - cover[..., None]) * image
    unknown = cv2.warpAffine((photo.mask == UNKNOWN).astype(np.float32), matrix, size)
    return np.clip(blend, 0, 255).astype(np.uint8), cover, unknown > 0.05


def lay(masks: np.ndarray, cover: np.ndarray, blank: np.ndarray, behind: bool) -> np.ndarray:
    """Lays another person over masks, uint8 [h,w,2] of person and front.

    If `behind`, those already there are behind the new person; otherwise that is unknown.
    """
    front = np.where(masks[..., 1] > 0, 0 if behind else UNKNOWN, 0).astype(np.uint8)
    out = []
    for mask in (masks[..., 0], front):
        unknown = mask == UNKNOWN
        share = known(cover * 255 + (1 - cover) * np.where(unknown, 0, mask))
        share[blank | (unknown & (cover < 0.99))] = UNKNOWN
        out.append(share)
    return np.stack(out, -1)


def match_light(
    rng: Generator, layer: np.ndarray, image: np.ndarray, cover: np.ndarray
) -> np.ndarray:
    """Moves the person's mean colour towards the room's, by a random amount."""
    weight = cover[..., None] / max(float(cover.sum()), 1)
    person, room = (layer * weight).sum((0, 1)), image.mean((0, 1))
    gain = np.clip((room + 20) / (person + 20), 0.4, 2.0) ** rng.uniform(0, 0.8)
    return np.clip(layer * gain, 0, 255)


def keyed(path: Path, every: int = 12) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (image, mask) for frames of a person before a blue screen; the mask is a soft alpha.

    The key is min(blue, green) - red, relative to the screen nearby. Everything inside the person's
    outline counts as person, since a shirt may look like the screen.
    """
    with open_file(str(path)) as video:
        for frame in islice(video, 0, None, every):
            image = frame.image[2:-26, 4:-4]  # without the black rim and the table
            mask = key(image)
            yield without_spill(image, mask), mask


def without_spill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Removes the screen's light from the rim: lowers blue and green till the weaker is <= red."""
    inner = cv2.erode(mask, ellipse(15))
    rim = cv2.GaussianBlur((inner < 250).astype(np.float32), (0, 0), 2)[..., None]
    blue, green, red = np.moveaxis(image.astype(np.float32), -1, 0)
    spill = np.maximum(np.minimum(blue, green) - red, 0)
    clean = np.stack([blue - spill, green - spill, red], -1)
    return np.rint(rim * clean + (1 - rim) * image).astype(np.uint8)


def key(image: np.ndarray) -> np.ndarray:
    """uint8 [h,w,3] BGR before a blue screen -> uint8 [h,w], the alpha."""
    blue, green, red = np.moveaxis(cv2.GaussianBlur(image, (0, 0), 0.5).astype(np.float32), -1, 0)
    strength = np.minimum(blue, green) - red
    screen = strength > 0.6 * np.quantile(strength[: len(strength) // 6], 0.5)
    weight = cv2.erode(screen.astype(np.float32), np.ones((5, 5)))
    nearby = cv2.GaussianBlur(strength * weight, (0, 0), 25)
    nearby /= cv2.GaussianBlur(weight, (0, 0), 25) + 1e-3
    alpha = 1 - np.clip((strength / np.maximum(nearby, 8) - 0.2) / 0.65, 0, 1)
    body = cv2.morphologyEx((alpha > 0.5).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    outlines, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    solid = np.zeros_like(body)
    cv2.drawContours(solid, [max(outlines, key=cv2.contourArea)], -1, 1, -1)
    inner = cv2.erode(solid, ellipse(9), borderValue=1)
    near = cv2.dilate(solid, ellipse(17))
    return known(255 * np.where(near > 0, np.maximum(alpha, inner), 0))


def ellipse(side: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
