"""Synthetic photographs with masks."""

from pathlib import Path

import cv2
import numpy as np

from tools.photos import TRUE_ALPHA, UNKNOWN, Photo

PREFIXES = ("selfie", "picsart", "pexels", "vik", "voc", "ccp", "coco", "matte", "keyed")
PREFIXES += ("room", "none")


def rectangle(shape, top, left, bottom, right, value=255) -> np.ndarray:
    picture = np.zeros(shape, np.uint8)
    picture[top:bottom, left:right] = value
    return picture


def draw_photo(name: str, size: tuple[int, int], seed: int = 0) -> Photo:
    """Noise with an oval "person" and an unknown rim around it; nobody in `room` and `none`."""
    rng, (width, height) = np.random.default_rng(seed), size
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    if name.split("_")[0] not in ("room", "none"):
        middle, radii = (width // 2, height * 6 // 10), (width // 4, height * 3 // 10)
        cv2.ellipse(mask, middle, radii, 0, 0, 360, UNKNOWN, -1)
        cv2.ellipse(mask, middle, (radii[0] - 2, radii[1] - 2), 0, 0, 360, 255, -1)
        image[mask == 255] = rng.integers(0, 256, 3)
    if soft := name.startswith(TRUE_ALPHA):
        mask[mask == UNKNOWN] += 1
    return Photo(name, image, mask, soft)


def draw_all(size=(61, 83), each=2) -> list[Photo]:
    return [
        draw_photo(f"{prefix}_{i}", size, seed)
        for seed, (prefix, i) in enumerate((p, i) for p in PREFIXES for i in range(each))
    ]


def write_photo(folder: Path, photo: Photo) -> None:
    cv2.imwrite(str(folder / f"{photo.name}.jpg"), photo.image)
    if photo.mask.any():
        cv2.imwrite(str(folder / f"{photo.name}.png"), photo.mask)
