"""People cut out of photographs and of blue-screen clips, to be put before rooms."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

UNKNOWN = 128


@dataclass
class Cutout:
    colours: np.ndarray  # uint8 [h,w,3] BGR, the person's own, also where the rim mixed with others
    mask: np.ndarray  # uint8 [h,w]: share of person, 128 don't know
    soft: bool  # the mask is a true or nearly true alpha
    whole: bool  # head to foot: to be cut off somewhere, as before a webcam


@dataclass
class Spot:
    """Where a cutout goes: its own pixels to those of the view, by an affine map."""

    cutout: Cutout
    matrix: np.ndarray  # [2,3]
    scale: float


def place(rng, cutout: Cutout, shape, rise: float, x: float) -> Spot:
    """Stands somebody on the lower border, `rise` of the view tall, around the column `x`."""
    ys, xs = np.nonzero(cutout.mask[::4, ::4])
    top, tall = 4 * ys.min(), 4 * np.ptp(ys) + 4
    tall *= rng.uniform(0.25, 0.7) if cutout.whole else rng.uniform(0.8, 1)
    scale = shape[0] * rise / tall
    to_x, to_y = x - 4 * np.median(xs) * scale, shape[0] - (top + tall) * scale + 1
    return Spot(cutout, np.array([[scale, 0, to_x], [0, scale, to_y]]), scale)


def paste(rng, image, spot: Spot):
    """Puts a cutout into a picture.

    Returns:
        the picture, uint8 [h,w,3]; how much the person covers, float32 [h,w], 0..1; where that is
        not known, bool [h,w].
    """
    height, width = image.shape[:2]
    colours, mask = spot.cutout.colours, spot.cutout.mask
    if spot.scale < 0.67:
        colours = cv2.GaussianBlur(colours, (0, 0), 0.3 / spot.scale)
    size = (width, height)
    layer = cv2.warpAffine(colours, spot.matrix, size, borderMode=cv2.BORDER_REPLICATE)
    unknown = mask == UNKNOWN
    if spot.cutout.soft:
        cut = mask.astype(np.float32) / 255
        softness = rng.uniform(0, 0.6)
    else:
        cut = cv2.erode((mask > 0).astype(np.float32), np.ones((3, 3)))
        softness = rng.uniform(0.4, 1.0)
    cover = cv2.warpAffine(cut, spot.matrix, size)
    if softness > 0.2:
        cover = cv2.GaussianBlur(cover, (0, 0), softness)
    layer = match_light(rng, layer, image, cover[..., None])
    blend = cover[..., None] * layer + (1 - cover[..., None]) * image
    blank = np.zeros(image.shape[:2], bool)
    if unknown.any():
        blank = cv2.warpAffine(unknown.astype(np.float32), spot.matrix, size) > 0.05
    return np.clip(blend, 0, 255).astype(np.uint8), cover, blank


def lay(masks, cover, blank, others: str) -> np.ndarray:
    """Masks, uint8 [h,w,2] of person and front, with somebody laid over them.

    `others` says what those there before are to the new person: "behind", or "unsure", so that
    whether they belong to the front becomes unknown.
    """
    front = masks[..., 1].copy()
    if others == "behind":
        front[:] = 0
    else:
        front[front > 0] = UNKNOWN
    out = []
    for mask in (masks[..., 0], front):
        unknown = mask == UNKNOWN
        share = np.rint(cover * 255 + (1 - cover) * np.where(unknown, 0, mask)).astype(np.uint8)
        share[share == UNKNOWN] += 1
        share[blank | (unknown & (cover < 0.99))] = UNKNOWN
        out.append(share)
    return np.stack(out, -1)


def match_light(rng, layer, image, alpha) -> np.ndarray:
    """Moves the person's mean colour some random way towards the room's."""
    weight = alpha / max(float(alpha.sum()), 1)
    person, room = (layer * weight).sum((0, 1)), image.mean((0, 1))
    gain = np.clip((room + 20) / (person + 20), 0.4, 2.0) ** rng.uniform(0, 0.8)
    return np.clip(layer * gain, 0, 255)


def foreground(image, mask) -> np.ndarray:
    """The person's own colours, by blur fusion (Forte 2021, arXiv:2006.14970), uint8 [h,w,3].

    Args:
        image: uint8 [h,w,3]; mask: uint8 [h,w], the share of person, 128 don't know (taken whole).
    """
    alpha = np.where(mask == UNKNOWN, 255, mask).astype(np.float32)[..., None] / 255
    picture = image.astype(np.float32)
    colours = picture
    for reach in (45, 7):
        blur = lambda x: cv2.blur(x, (reach, reach)).reshape(*x.shape[:2], -1)  # noqa: B023, E731
        inside = blur(colours * alpha) / (blur(alpha) + 1e-3)
        outside = blur(picture * (1 - alpha)) / (blur(1 - alpha) + 1e-3)
        colours = inside + alpha * (picture - alpha * inside - (1 - alpha) * outside)
        colours = np.clip(colours, 0, 255)
    return np.rint(colours).astype(np.uint8)


def keyed(path: Path, every: int = 12):
    """Yields (image, mask) of frames of somebody before a blue screen, the mask a soft alpha.

    The key is min(blue, green) - red over that of the screen nearby; inside the person, where a
    shirt may look like the screen, everything is person.
    """
    video, index = cv2.VideoCapture(str(path)), 0
    try:
        while (read := video.read())[0]:
            if index % every == 0:
                image = read[1][2:-26, 4:-4]  # without a black rim, and a table
                mask = key(image)
                yield without_spill(image, mask), mask
            index += 1
    finally:
        video.release()


def without_spill(image, mask) -> np.ndarray:
    """Takes the screen's light out of the rim: blue and green become at most as strong as red."""
    inner = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15)))
    rim = cv2.GaussianBlur((inner < 250).astype(np.float32), (0, 0), 2)[..., None]
    blue, green, red = np.moveaxis(image.astype(np.float32), -1, 0)
    spill = np.maximum(np.minimum(blue, green) - red, 0)
    clean = np.stack([blue - spill, green - spill, red], -1)
    return np.rint(rim * clean + (1 - rim) * image).astype(np.uint8)


def key(image) -> np.ndarray:
    """uint8 [h,w,3] BGR before a blue screen -> uint8 [h,w], the alpha; a true 128 becomes 129."""
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
    inner = cv2.erode(solid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)), borderValue=1)
    near = cv2.dilate(solid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17)))
    alpha = np.where(near > 0, np.maximum(alpha, inner), 0)
    out = np.rint(alpha * 255).astype(np.uint8)
    out[out == UNKNOWN] += 1
    return out
