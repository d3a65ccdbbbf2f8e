"""Photographs with masks.

A photograph is `NAME.jpg` or `.webp`; its mask `NAME.png` is 8-bit grey: 255 person, 128 don't
know, 0 background. A photograph without a mask shows nobody. The prefix before `_` says what it is:
for `matte_`, `keyed_` and `cutout_`, the PNG is the true alpha, 0..255, all of it known.

In memory a mask is a share, 0..255 in uint8, where exactly UNKNOWN means "don't know"; `known` adds
one to a share that happens to equal UNKNOWN.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from background_blur.rendering.foreground import apply_correction, foreground_correction, separate
from tools.command import ToolError

UNKNOWN = 128
SUFFIXES = (".jpg", ".webp")
TRUE_ALPHA = ("matte_", "keyed_", "cutout_")
SINGLE = ("selfie", "picsart", "matte", "keyed", "cutout", "ccp")  # mostly one person, in front
WHOLE = "ccp"  # photographs of whole figures
MIXED = ("pexels", "vik", "cutout")  # may contain some whole figures

Item = TypeVar("Item")


@dataclass
class Photo:
    name: str
    image: np.ndarray  # uint8 [h,w,3] BGR
    mask: np.ndarray  # uint8 [h,w]: 255, 128 or 0; a share where `soft`
    soft: bool = False  # whether the mask's edges are a true or nearly true alpha

    @property
    def prefix(self) -> str:
        return self.name.split("_")[0]

    @cached_property
    def front(self) -> np.ndarray:
        """The mask of those in front; known where one person is clearly in front of the others."""
        return self.mask if self.prefix in SINGLE else front_of(self.mask)

    @cached_property
    def colours(self) -> np.ndarray:
        """The person's own colours, uint8 [h,w,3], even where the outline mixes in the room's."""
        return own_colours(self.image, np.where(self.mask == UNKNOWN, np.uint8(255), self.mask))

    @cached_property
    def whole(self) -> bool:
        """Whether it shows a person from head to foot."""
        return self.prefix == WHOLE or self.prefix in MIXED and is_tall(self.mask)


def read_photos(folder: Path, limit: int | None = None) -> list[Photo]:
    """Reads the photographs in a folder, sorted by prefix and name.

    Args:
        limit: the most to read per prefix, evenly spread.

    Raises:
        ToolError: there are none.
        OSError: no such folder, or a file that is not a picture.
    """
    by_prefix: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES):
        by_prefix.setdefault(path.name.split("_")[0], []).append(path)
    if not by_prefix:
        raise ToolError(f"{folder}: no photographs (NAME.jpg or .webp)", "give another --data")
    return [read_photo(path) for paths in by_prefix.values() for path in spread(paths, limit)]


def read_photo(path: Path) -> Photo:
    image = read_image(path)
    mask_path = path.with_suffix(".png")
    if not mask_path.exists():
        return Photo(path.stem, image, np.zeros(image.shape[:2], np.uint8))
    mask = read_image(mask_path, cv2.IMREAD_GRAYSCALE)
    soft = path.name.startswith(TRUE_ALPHA)
    return Photo(path.stem, image, known(mask) if soft else mask, soft)


def read_image(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Reads a picture file as uint8 [h,w,3] BGR, or [h,w] with `cv2.IMREAD_GRAYSCALE`.

    Raises:
        OSError: missing, damaged, or not a picture.
    """
    image = cv2.imread(str(path), flags)
    if image is None:
        raise OSError(f"{path}: missing, damaged, or not a picture")
    return image


def spread(items: list[Item], limit: int | None) -> list[Item]:
    """At most `limit` of the items, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def known(share: np.ndarray) -> np.ndarray:
    """Turns a share, 0..255 and known everywhere, into a mask: uint8, never UNKNOWN."""
    mask = np.rint(share).astype(np.uint8)
    mask[mask == UNKNOWN] += 1
    return mask


def own_colours(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A person's own colours, found by the program's blur fusion and spread into the room.

    Args:
        image: uint8 [h,w,3]; alpha: uint8 [h,w], 255 = person.
    """
    person, _ = separate(image, alpha)
    spread_out = cv2.resize(person, image.shape[1::-1])
    colours = apply_correction(image, foreground_correction(image, alpha))
    return np.where(alpha[..., None] > 0, colours, spread_out)


def front_of(mask: np.ndarray) -> np.ndarray:
    """Decides who is in front by height alone; where that is not clear, the mask is unknown.

    Regions at least 0.8 times as tall as the tallest are in front with it, regions under half its
    height are behind it, and all others are unknown, as are specks, which may be anyone's.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    if count <= 2:
        return mask
    heights, areas = stats[1:, cv2.CC_STAT_HEIGHT], stats[1:, cv2.CC_STAT_AREA]
    front, largest = mask.copy(), heights.max()
    for part, (height, area) in enumerate(zip(heights, areas, strict=True), 1):
        if height < 0.8 * largest:
            behind = height < 0.5 * largest and area > 0.01 * areas.max()
            front[parts == part] = 0 if behind else UNKNOWN
    return front


def is_tall(mask: np.ndarray) -> bool:
    ys, xs = np.nonzero(mask)
    return bool(np.ptp(ys) > 1.9 * np.ptp(xs))
